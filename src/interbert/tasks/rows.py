"""Rows of a task's files. In: csv and tsv with a header, jsonl, gzipped or not. Out: dicts by column or key, by split.

What cannot be read is counted in `Malformed`; more than 1 % of a file stop the reading, as with captions.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from interbert.corpus.readers import SPLIT_NAMES, Malformed, csv_rows, lines_of, split_of, text_file
from interbert.errors import InterbertError, UsageError
from interbert.text.csv_tables import csv_reader

log = logging.getLogger(__name__)

Example = TypeVar("Example")
Row = Mapping[str, Any]
WHOLE = "whole"  # the split of a file that neither its name nor its rows put into one


@dataclass
class Examples(Generic[Example]):
    """What the files of a task hold. splits: split -> examples.  malformed: one a file, what was not readable."""

    splits: dict[str, list[Example]] = field(default_factory=dict)
    malformed: list[Malformed] = field(default_factory=list)

    @property
    def left_out(self) -> dict[str, int]:
        """File -> how many of its entries cannot be read; no file of which all can."""
        return {bad.path.name: bad.count for bad in self.malformed if bad.count}

    def notes(self) -> list[str]:
        """A sentence for each file of which entries were left out."""
        return [
            f"{bad.path.name}: {bad.count} of {bad.seen} entries left out, the first: {bad.examples[0]}"
            for bad in self.malformed
            if bad.count
        ]

    def training(self) -> list[Example]:
        """The training examples: those of the split "train", or a whole file. Raises InterbertError for none."""
        return self.part("train")

    def part(self, split: str) -> list[Example]:
        """The examples of a split; of a file that names none, all. Raises InterbertError where there are none."""
        found = self.splits.get(split) or self.splits.get(WHOLE)
        if not found:
            raise InterbertError(f"there is no {split} split in the data, only {', '.join(self.splits)}; give another")
        return found

    def digest(self, split: str) -> str:
        """Hexadecimal sha256 of a split's examples."""
        digest = hashlib.sha256()
        for example in self.part(split):
            digest.update(repr(example).encode("utf-8", "surrogatepass") + b"\n")
        return digest.hexdigest()


def read_examples(
    data: Path,
    endings: tuple[str, ...],
    read: Callable[[Path, Malformed], Iterator[tuple[str | None, Example]]],
) -> Examples[Example]:
    """The examples of a file, or of every file of a folder whose name ends so and names a split.

    read: (file, malformed) -> (split or None, example) of every good entry. A split that a row names goes before that
    of the file's name ("train.tsv", "questions_val.json"). Raises UsageError where there is no such file,
    InterbertError where more than 1 % of one cannot be read or nothing is left.
    """
    found: Examples[Example] = Examples()
    for path, of_file in _files(data, endings):
        malformed = Malformed(path)
        for of_row, example in read(path, malformed):
            found.splits.setdefault(of_row or of_file or WHOLE, []).append(example)
        malformed.stop_if_too_many()
        found.malformed.append(malformed)
    if not found.splits:
        raise InterbertError(f"'{data}' holds no example; wanted rows as docs/own-data.md has them")
    for note in found.notes():
        log.warning("%s", note)
    return found


def _files(data: Path, endings: tuple[str, ...]) -> Sequence[tuple[Path, str | None]]:
    if data.is_file():
        return [(data, split_of_name(data.name))]
    wanted = ", ".join(f"*{ending}" for ending in endings)
    if not data.is_dir():
        raise UsageError(f"'{data}' does not exist; give a file or a folder of files {wanted}")
    there = sorted(path for path in data.iterdir() if path.name.removesuffix(".gz").endswith(endings))
    named = [(path, split) for path in there if (split := split_of_name(path.name)) is not None]
    if not named:
        raise UsageError(f"folder '{data}' has no {wanted} whose name says train, dev, val or test; give such files")
    return named


def split_of_name(name: str) -> str | None:
    """The split that a file's name says, None where it says none.

    >>> split_of_name("v2_OpenEnded_mscoco_train2014_questions.json"), split_of_name("dev.tsv"), split_of_name("a.csv")
    ('train', 'validation', None)
    """
    for word in re.findall("[a-z]+", name.lower()):
        if word in SPLIT_NAMES and word != "none":
            return SPLIT_NAMES[word]
    return None


def rows_of(path: Path, malformed: Malformed) -> Iterator[tuple[str, Row]]:
    """("line 7", row) of every row of a csv, tsv or jsonl file.

    A csv has quotes as usual; in a tsv a quote is a letter like others. Raises UsageError for another kind of file.
    """
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "jsonl":
        yield from _of_jsonl(path, malformed)
    elif kind == "csv":
        yield from _of_csv(path, malformed)
    elif kind == "tsv":
        lines = ((f"line {number}", line.split("\t")) for number, line in lines_of(path, malformed))
        for _, header in lines:
            malformed.seen -= 1
            yield from of_table(header, lines, malformed)
    else:
        raise UsageError(f"'{path}' is no .jsonl, .csv or .tsv; give one of these")


def of_table(
    header: list[str], lines: Iterator[tuple[str, list[str]]], malformed: Malformed
) -> Iterator[tuple[str, Row]]:
    """(place, row) of every line that has as many columns as the header."""
    names = [name.strip() for name in header]
    for place, columns in lines:
        if len(columns) == len(names):
            yield place, dict(zip(names, columns, strict=True))
        else:
            malformed.add(place, f"got {len(columns)} columns, wanted {len(names)}: {', '.join(names)}")


def _of_jsonl(path: Path, malformed: Malformed) -> Iterator[tuple[str, Row]]:
    for number, line in lines_of(path, malformed):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("it is no JSON object")
        except ValueError as error:
            malformed.add(f"line {number}", str(error))
            continue
        yield f"line {number}", row


def _of_csv(path: Path, malformed: Malformed) -> Iterator[tuple[str, Row]]:
    with text_file(path) as file:
        rows = csv_reader(file, ",")
        try:
            header: list[str] = next(rows, [])
        except csv.Error as error:
            raise InterbertError(f"'{path}': its first line, which names the columns, is no csv ({error})") from error
        lines = ((f"line {row.last}", row.cells) for row in csv_rows(rows, header, malformed))
        yield from of_table(header, lines, malformed)


def split_of_row(row: Row) -> str | None:
    """The split that a row's own `split` says, None where it has none. Raises ValueError for an unknown one."""
    return split_of(row["split"]) if row.get("split") else None


def id_in(row: Row, place: str, *names: str) -> Any:
    """What the row calls itself, under the first of the names that it has; else the number of its line.

    >>> id_in({"id": 0}, "line 7", "id"), id_in({"id": ""}, "line 7", "id")
    (0, '7')
    """
    given = (row[name] for name in names if row.get(name) not in (None, ""))
    return next(given, place.removeprefix("line "))


def text_in(row: Row, *names: str) -> str:
    """The text under the first of the names that the row has. Raises ValueError where it is missing or no text."""
    for name in names:
        if row.get(name) is not None:
            value = row[name]
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{name} is {value!r:.60}, wanted a text")
            return value
    raise ValueError(f"no {' or '.join(names)} among {', '.join(row)}")
