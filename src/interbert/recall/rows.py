"""A catalogue's rows as products of an index: which column holds numbers, and what each row's cells are.

In: a `Catalogue`, read twice: once to learn what its columns hold and once for the products. Out: `Row`s, and
`Failure`s for those that cannot be taken.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from interbert.corpus.catalogue import Catalogue, picture_id
from interbert.corpus.catalogue import Product as CatalogueRow
from interbert.errors import InterbertError, UsageError
from interbert.files import whole_file
from interbert.recall.prices import price_of
from interbert.recall.store import OWN_COLUMNS, Cell, Kind
from interbert.vision.shards import is_storable

MAX_ID, MAX_CELL = 500, 100_000  # characters
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(\.[0-9]{3})+")  # of a price; nobody writes 1.299 for 1.30
_ROLES = ("category", "brand", "seller", "price", "split")  # kept as columns of these names
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")  # 007 is a name


@dataclass(frozen=True)
class Failure:
    """A product that was not taken. place: of its row ("line 7"), "" where it is no row's fault."""

    place: str
    id: str
    image: str
    reason: str


@dataclass(frozen=True)
class Row:
    """A product as its row has it; image: the main one, as the catalogue names it."""

    place: str
    id: str
    title: str
    image: str
    cells: Mapping[str, Cell]


class ProductRows:
    """The rows of a catalogue, the same at every reading.

    there: what columns of the index hold already; a catalogue's new columns hold numbers where every cell is one, and
    its prices where most are: a product with another price ("on request") is not taken, and said.
    Raises UsageError where a column has the name of something else that each product has.
    """

    def __init__(self, catalogue: Catalogue, there: Mapping[str, Kind]) -> None:
        self.catalogue, self._there = catalogue, there
        self._typed = catalogue.path.suffix.lower() == ".jsonl"  # whose texts stay texts, also "12"
        self.failures: list[Failure] = []
        self._currency: str | None = None
        self.kinds = self._surveyed()

    def __iter__(self) -> Iterator[Row]:
        """The rows that can be taken. `failures` has the others, of this reading."""
        self.failures = []
        first: dict[str, str] = {}  # id -> the place of its row
        for given in self.catalogue:
            image = given.images[0] if given.images else ""
            id = given.id or picture_id(image)
            try:
                _check_id(id)
                if id in first:
                    raise ValueError(f"its id is that of the product of {first[id]}")
                first[id] = given.place
                if not image:
                    raise ValueError("it has no picture")
                yield Row(given.place, id, _text(given.title, "title"), _text(image, "image"), self._cells(given))
            except ValueError as error:
                self.failures.append(Failure(given.place, id, image, str(error)))
        malformed = self.catalogue.malformed
        self.failures += [Failure("", "", "", example) for example in malformed.examples]
        if len(malformed.examples) < malformed.count:
            more = malformed.count - len(malformed.examples)
            self.failures.append(Failure("", "", "", f"{more} more rows cannot be read"))

    def _surveyed(self) -> dict[str, Kind]:
        """What each column holds: as the index has it, else as all of its cells allow."""
        numbers: dict[str, bool | None] = {}  # None: nothing but empty cells so far
        prices: list[bool] = []  # whether each is one
        for given in self.catalogue:
            for name, cell in _given_cells(given).items():
                if name in OWN_COLUMNS:
                    raise UsageError(
                        f"catalogue '{self.catalogue.path}': its column '{name}' is not the product's {name}, which "
                        "another one holds; rename it"
                    )
                numbers.setdefault(name, None)
                if _is_empty(cell):
                    continue
                if name == "price":
                    prices.append(self._number(name, cell) is not None)
                elif numbers[name] is not False:
                    numbers[name] = self._number(name, cell) is not None
        if prices:
            numbers["price"] = 2 * sum(prices) > len(prices)
        held: dict[str, Kind] = {name: "number" if number else "text" for name, number in numbers.items()}
        if self._currency and held["price"] == "number":
            held.setdefault("currency", "text")
        return {name: self._there.get(name, kind) for name, kind in held.items()}

    def _cells(self, given: CatalogueRow) -> dict[str, Cell]:
        """The cells that aren't empty. Raises ValueError where one does not fit its column."""
        found: dict[str, Cell] = {}
        for name, cell in _given_cells(given).items():
            if _is_empty(cell):
                continue
            if self.kinds.get(name) == "number":
                number = self._number(name, cell)
                if number is None:
                    raise ValueError(f"column '{name}' holds numbers; got {cell!r:.40}")
                found[name] = number
            else:
                found[name] = _text(cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False), name)
        if self._currency and "price" in found and self.kinds.get("currency") == "text":
            found.setdefault("currency", self._currency)
        return found

    def _number(self, name: str, cell: Any) -> int | float | None:
        """A cell as a number; None where it is none, or a price of another currency than the first."""
        plain = isinstance(cell, str) and _NUMBER.fullmatch(cell.strip())
        if name == "price" and isinstance(cell, str) and (not plain or _THOUSANDS.fullmatch(cell.strip())):
            currency, cell = price_of(cell) or ("", None)
            self._currency = self._currency or currency
            return cell if currency in ("", self._currency) else None
        if isinstance(cell, str) and plain and (name in _ROLES or not self._typed):
            cell = json.loads(cell.strip().removeprefix("+"))
        if isinstance(cell, bool):
            return int(cell)
        if not isinstance(cell, int | float) or not math.isfinite(cell):
            return None
        return cell if isinstance(cell, float) or -(2**63) <= cell < 2**63 else float(cell)


def write_failures(path: Path, failures: list[Failure]) -> None:
    """One JSON object a line; no file where there are none. Raises InterbertError where it cannot be written."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    try:
        with whole_file(path) as file:
            file.writelines(json.dumps(asdict(failure), ensure_ascii=True) + "\n" for failure in failures)
    except OSError as error:
        raise InterbertError(f"'{path}' cannot be written ({error.strerror}); the index itself is whole") from error


def _given_cells(given: CatalogueRow) -> dict[str, Any]:
    roles = {role: getattr(given, role) for role in _ROLES}
    return {**given.others, **{role: text for role, text in roles.items() if text}}


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _text(text: str, what: str) -> str:
    """Raises ValueError for a text that cannot be kept."""
    if len(text) > MAX_CELL:
        raise ValueError(f"its {what} has {len(text):,} characters, wanted at most {MAX_CELL:,}")
    if text and not is_storable(text):
        raise ValueError(f"its {what} has a NUL, or half of a character")
    return text.strip()


def _check_id(id: str) -> None:
    if not id or len(id) > MAX_ID or not is_storable(id):
        raise ValueError(f"its id is {id!r:.40}; wanted 1 to {MAX_ID} characters without NUL")
