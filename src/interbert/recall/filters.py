"""Filters on a catalogue's columns: `category = 'shoes' and price < 300`. Text in, a parsed `Filter` out; never run.

    filter     := part { "or" part }            part := one { "and" one }
    one        := "not" one | "(" filter ")" | COLUMN comparison
    comparison := ( = | == | != | <> | < | <= | > | >= ) ( VALUE | COLUMN )
                | [ "not" ] "in" "(" VALUE { "," VALUE } ")" | [ "not" ] "like" TEXT | "is" [ "not" ] "null"

A column is a word, or anything in "double quotes"; a text stands in 'single quotes', a quote in it doubled. `like` has
% for any characters and _ for one, and takes capitals and small letters for the same. What is null is as in SQL: no
comparison with it is true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from interbert.errors import UsageError, unknown_name

MAX_CHARACTERS, MAX_DEPTH, MAX_COMPARISONS, MAX_VALUES, MAX_PATTERN = 10_000, 20, 200, 1_000, 200
MAX_DIGITS = 40  # of a number
OPERATORS = {"=": "=", "==": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
KEYWORDS = {"and", "or", "not", "in", "like", "is", "null", "true", "false"}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?!\w))
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<word>[^\W\d]\w*)
    | (?P<sign><=|>=|<>|!=|==|[=<>(),])
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)

Value: TypeAlias = str | int | float
Kinds: TypeAlias = Mapping[str, str]  # column -> "text" or "number"


@dataclass(frozen=True)
class Column:
    """A column by its name in the catalogue."""

    name: str


@dataclass(frozen=True)
class Compare:
    """operator: one of = <> < <= > >=."""

    column: Column
    operator: str
    other: Value | Column


@dataclass(frozen=True)
class In:
    """Whether a column has one of the values."""

    column: Column
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Like:
    """Whether a column's text has the pattern's form."""

    column: Column
    pattern: str


@dataclass(frozen=True)
class IsNull:
    """Whether a column is empty."""

    column: Column


@dataclass(frozen=True)
class Not:
    """The opposite."""

    part: Filter


@dataclass(frozen=True)
class Every:
    """All of the parts."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Some:
    """One of the parts at least."""

    parts: tuple[Filter, ...]


Filter: TypeAlias = Compare | In | Like | IsNull | Not | Every | Some


def parse(text: str, columns: Kinds) -> Filter:
    """The filter that a text writes, over `columns` and what they hold.

    Raises UsageError that points at the place: what doesn't parse, a column that there isn't (the nearest is
    suggested), a value of another kind than the column's.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"filter: got {len(text):,} characters, wanted at most {MAX_CHARACTERS:,}")
    parser = _Parser(text, columns)
    found = parser.filter(0)
    parser.take("end", "and, or, or the end")
    return found


def to_sql(
    filter: Filter, places: Mapping[str, str], mark: str = "?", like: str = "{column} LIKE {value}"
) -> tuple[str, list[Value]]:
    """A filter as an SQL condition with its values beside it, none in it.

    places: column -> its name in SQL, of our own making.  mark: how the database writes a value's place.
    like: how it compares with a pattern, taking capitals and small letters for the same.
    """
    values: list[Value] = []

    def placed(value: Value) -> str:
        values.append(value)
        return mark

    def written(part: Filter) -> str:
        match part:
            case Compare(column, operator, other):
                right = places[other.name] if isinstance(other, Column) else placed(other)
                return f"{places[column.name]} {operator} {right}"
            case In(column, several):
                return f"{places[column.name]} IN ({', '.join(map(placed, several))})"
            case Like(column, pattern):
                return like.format(column=places[column.name], value=placed(pattern))
            case IsNull(column):
                return f"{places[column.name]} IS NULL"
            case Not(inner):
                return f"NOT ({written(inner)})"
            case Every(parts):
                return "(" + " AND ".join(map(written, parts)) + ")"
            case Some(parts):
                return "(" + " OR ".join(map(written, parts)) + ")"

    return written(filter), values


class _Token(NamedTuple):
    kind: str  # number, text, quoted, word, sign, end
    text: str
    at: int


class _Parser:
    """Reads tokens one after the other; `depth` bounds what stands in what."""

    def __init__(self, text: str, columns: Kinds) -> None:
        self.text, self.columns = text, columns
        self.comparisons = 0
        self.tokens = list(self._tokens())
        self.next = 0

    def filter(self, depth: int) -> Filter:
        return self._several("or", lambda: self._part(depth), Some, depth)

    def _part(self, depth: int) -> Filter:
        return self._several("and", lambda: self._one(depth), Every, depth)

    def _several(
        self, word: str, read: Callable[[], Filter], join: Callable[[tuple[Filter, ...]], Filter], depth: int
    ) -> Filter:
        if depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} brackets and nots stand in each other")
        parts = [read()]
        while self.took(word):
            parts.append(read())
        return parts[0] if len(parts) == 1 else join(tuple(parts))

    def _one(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} brackets and nots stand in each other")
        if self.took("not"):
            return Not(self._one(depth + 1))
        if self.took("("):
            inner = self.filter(depth + 1)
            self.take(")", "')'")
            return inner
        self.comparisons += 1
        if self.comparisons > MAX_COMPARISONS:
            raise self.error(f"there are more than {MAX_COMPARISONS} comparisons")
        return self._comparison(self._column())

    def _comparison(self, column: Column) -> Filter:
        token = self.tokens[self.next]
        if token.kind == "sign" and token.text in OPERATORS:
            self.next += 1
            return Compare(column, OPERATORS[token.text], self._operand(column))
        if self.took("is"):
            negated = self.took("not")
            self.take("null", "null")
            return Not(IsNull(column)) if negated else IsNull(column)
        negated = self.took("not")
        found: Filter
        if self.took("in"):
            found = In(column, self._values(column))
        elif self.took("like"):
            found = Like(column, self._pattern(column))
        else:
            raise self.error("wanted = != < <= > >= in, like or is null after a column")
        return Not(found) if negated else found

    def _column(self) -> Column:
        token = self.tokens[self.next]
        name = token.text[1:-1].replace('""', '"') if token.kind == "quoted" else token.text
        if token.kind not in ("word", "quoted") or (token.kind == "word" and name.lower() in KEYWORDS):
            raise self.error("wanted a column's name" + (" without ' '" if token.kind == "text" else ""))
        if name not in self.columns:
            raise self.error(unknown_name("column", name, self.columns))
        self.next += 1
        return Column(name)

    def _operand(self, column: Column) -> Value | Column:
        token = self.tokens[self.next]
        if token.kind == "word" and token.text.lower() == "null":
            raise self.error("nothing is equal to null; write  is null  or  is not null")
        if token.kind in ("number", "text") or token.text.lower() in ("true", "false"):
            return self._value(column)
        if token.kind == "word" and token.text not in self.columns and self.columns[column.name] == "text":
            raise self.error(f"a text stands in quotes: '{token.text}'")
        other = self._column()
        if self.columns[other.name] != self.columns[column.name]:
            self.next -= 1
            raise self.error(f"'{column.name}' and '{other.name}' hold different things: a number and a text")
        return other

    def _values(self, column: Column) -> tuple[Value, ...]:
        self.take("(", "'('")
        values = [self._value(column)]
        while self.took(","):
            values.append(self._value(column))
            if len(values) > MAX_VALUES:
                raise self.error(f"there are more than {MAX_VALUES} values in a list")
        self.take(")", "',' or ')'")
        return tuple(values)

    def _pattern(self, column: Column) -> str:
        if self.columns[column.name] != "text":
            raise self.error(f"'{column.name}' holds numbers, which have no like")
        pattern = str(self._value(column))
        if len(pattern) > MAX_PATTERN:
            self.next -= 1
            raise self.error(f"a pattern has at most {MAX_PATTERN} characters")
        return pattern

    def _value(self, column: Column) -> Value:
        token, kind = self.tokens[self.next], self.columns[column.name]
        if token.kind == "word" and token.text.lower() in ("true", "false"):
            value: Value = int(token.text.lower() == "true")
        elif token.kind == "number" and len(token.text) > MAX_DIGITS:
            raise self.error(f"a number has at most {MAX_DIGITS} digits")
        elif token.kind == "number":
            value = float(token.text) if re.search(r"[.eE]", token.text) else int(token.text)
        elif token.kind == "text":
            value = token.text[1:-1].replace("''", "'")
        else:
            raise self.error("wanted a number, or a text in ' '")
        if isinstance(value, str) != (kind == "text"):
            wanted = f"a text: '{token.text}'" if kind == "text" else "a number"
            raise self.error(f"column '{column.name}' holds {kind}s; got {token.text:.40}, wanted {wanted}")
        if not isinstance(value, str) and not -(2**63) <= value < 2**63:
            raise self.error("wanted a number between -2^63 and 2^63")
        self.next += 1
        return value

    def took(self, wanted: str) -> bool:
        """Goes on where the next token is this keyword or sign."""
        token = self.tokens[self.next]
        if token.kind in ("word", "sign") and token.text.lower() == wanted:
            self.next += 1
            return True
        return False

    def take(self, wanted: str, called: str) -> None:
        if wanted == "end" and self.tokens[self.next].kind == "end":
            return
        if not self.took(wanted):
            raise self.error(f"wanted {called}")

    def error(self, what: str) -> UsageError:
        """Points at the next token."""
        return self._error(what, self.tokens[self.next].at)

    def _error(self, what: str, at: int) -> UsageError:
        rest = self.text[at : at + 24]
        place = f'character {at + 1}, at "{rest}"' if rest else "its end"
        return UsageError(f"filter, {place}: {what}")

    def _tokens(self) -> list[_Token]:
        found, at = [], 0
        while True:
            match = _TOKEN.match(self.text, at)
            if match is None:
                start = at + len(self.text[at:]) - len(self.text[at:].lstrip())
                quote = self.text[start] in "'\""
                raise self._error("this quote does not close" if quote else "this is no part of a filter", start)
            kind = str(match.lastgroup)
            found.append(_Token(kind, match[kind], match.start(kind)))
            if kind == "end":
                return found
            at = match.end()
