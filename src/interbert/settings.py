"""Settings of a run from a TOML file and from `--set a.b=c`, and back to TOML for `--print-config`.

Reaches where `with_settings` does not: into the entries of a tuple of dataclasses, such as the stages of a run.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from interbert.config import with_settings
from interbert.errors import InterbertError, UsageError

Settings = TypeVar("Settings")


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """A copy of a frozen dataclass with fields changed; keys as in `with_settings`, `stages.epochs`, `stages.0.epochs`.

    A tuple of dataclasses is replaced whole by a list of mappings, as TOML's [[stages]] gives it.
    Raises UsageError for a key that does not exist (the nearest is suggested) or a value that does not fit.
    """
    whole: dict[str, Any] = {}
    of_entries: dict[str, dict[str, Any]] = {}  # field -> what is changed in its entries
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        entries = getattr(settings, name, None)
        if isinstance(entries, tuple) and all(dataclasses.is_dataclass(entry) for entry in entries) and entries:
            of_entries.setdefault(name, {})[rest] = value
        else:
            whole[key] = value
    whole |= {name: _entries(settings, name, given) for name, given in of_entries.items()}
    return with_settings(settings, whole)


def _entries(settings: Any, name: str, given: dict[str, Any]) -> tuple[Any, ...]:
    """The tuple of dataclasses in field `name`, replaced ("" is given), and fields of one or of all entries set."""
    entries: list[Any] = list(getattr(settings, name))
    if "" in given:
        tables = given.pop("")
        if not (isinstance(tables, list) and all(isinstance(one, Mapping) for one in tables) and tables):
            raise UsageError(f"{name}: got {tables!r}, wanted [[{name}]] tables in a file, or {name}.0.FIELD=VALUE")
        kind = typing.get_args(typing.get_type_hints(type(settings))[name])[0]
        entries = [with_settings(kind(), dict(one), prefix=f"{name}.") for one in tables]
    changes: list[dict[str, Any]] = [{} for _ in entries]
    called = [f"{name}."] * len(entries)  # in messages
    for rest, value in given.items():
        at, _, field = rest.partition(".")
        if not at.isdigit():
            for of_one in changes:
                of_one[rest] = value
        elif int(at) < len(entries):
            changes[int(at)][field], called[int(at)] = value, f"{name}.{at}."
        else:
            raise UsageError(f"{name}.{at}: there are {len(entries)} of them, counted from 0")
    every = zip(entries, changes, called, strict=True)
    return tuple(with_settings(entry, changed_fields, prefix=prefix) for entry, changed_fields, prefix in every)


def read_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping, in their order. Raises UsageError where there is no "=".

    >>> read_pairs(["training.seed=3", "masking.sides=one"])
    {'training.seed': '3', 'masking.sides': 'one'}
    """
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--set: got '{pair}', wanted KEY=VALUE")
    return {key.strip(): value.strip() for key, _, value in (pair.partition("=") for pair in pairs)}


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's keys with their tables before them: `[training] seed = 3` is {"training.seed": 3}.

    Raises UsageError where it is not there, InterbertError where it is not TOML.
    """
    try:
        return dict(flat(tomllib.loads(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise UsageError(f"--config: '{path}' cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InterbertError(f"'{path}' is not TOML: {error}") from error


def flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as `changed` takes them.

    >>> dict(flat({"training": {"seed": 3}}))
    {'training.seed': 3}
    """
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def to_toml(settings: Any) -> str:
    """A dataclass of settings as TOML that `read_toml` and `changed` take back; None is written as "none"."""
    return "\n".join(_lines(settings, "")).strip() + "\n"


def _lines(settings: Any, table: str) -> Iterator[str]:
    fields = [(field.name, getattr(settings, field.name)) for field in dataclasses.fields(settings)]
    inner = [(name, value) for name, value in fields if dataclasses.is_dataclass(value)]
    lists = [(name, value) for name, value in fields if _is_entries(value)]
    nested = {name for name, _ in (*inner, *lists)}
    yield from (f"{name} = {_value(value)}" for name, value in fields if name not in nested)
    for name, value in inner:
        yield from ("", f"[{table}{name}]", *_lines(value, f"{table}{name}."))
    for name, entries in lists:
        for entry in entries:
            yield from ("", f"[[{table}{name}]]", *_lines(entry, f"{table}{name}."))


def _is_entries(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(dataclasses.is_dataclass(entry) for entry in value)


def _value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps("none" if value is None else value)
