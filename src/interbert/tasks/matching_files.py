"""Labelled pairs in files: a text, a picture, and whether they belong together; csv, tsv or jsonl.

What `interbert topics --export` writes of a shop's reviews; read by the task `matching` and by calibration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from interbert.corpus.readers import Malformed
from interbert.tasks.rows import Examples, Row, read_examples, rows_of, split_of_row, text_in

ENDINGS = (".jsonl", ".csv", ".tsv")
LABELS = {0: False, 1: True, "0": False, "1": True}


@dataclass(frozen=True)
class LabelledPair:
    """A pair and whether it belongs together. picture: its name in the file, or its id."""

    text: str
    picture: str
    belongs: bool


def read_pairs_of(data: Path) -> Examples[LabelledPair]:
    """The pairs of a file, or of a folder of files whose names say their split.

    A row has `text`, `image`, `label` (1 where they belong together, else 0), and may have a `split`. Raises what
    `read_examples` raises.
    """
    return read_examples(data, ENDINGS, _read)


def _read(path: Path, malformed: Malformed) -> Iterator[tuple[str | None, LabelledPair]]:
    for place, row in rows_of(path, malformed):
        try:
            split, pair = split_of_row(row), LabelledPair(text_in(row, "text"), text_in(row, "image"), _label(row))
        except ValueError as error:
            malformed.add(place, str(error))
            continue
        yield split, pair


def _label(row: Row) -> bool:
    value = row.get("label")
    found = LABELS.get(value.strip() if isinstance(value, str) else value) if isinstance(value, int | str) else None
    if found is None:
        raise ValueError(f"label is {value!r:.60}, wanted 1 where text and picture belong together, else 0")
    return found
