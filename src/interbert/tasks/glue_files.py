"""GLUE's files of CoLA, SST-2, STS-B and RTE, and one's own of their form (4.5, Table 5). Out: sentences with labels.

GLUE's tsv are never quoted: a quote in them is a letter. CoLA's train.tsv and dev.tsv have no first line with names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from interbert.corpus.readers import Malformed, lines_of
from interbert.errors import InterbertError
from interbert.files import whole_file
from interbert.tasks.rows import Examples, Row, id_in, of_table, read_examples, rows_of, split_of_row, text_in


@dataclass(frozen=True)
class Sentences:
    """One sentence or two. label: the class's place in `GlueSet.labels`, or the number wanted; None in a test set."""

    id: str
    first: str
    second: str | None
    label: float | None


@dataclass(frozen=True)
class GlueSet:
    """One of GLUE's tasks. labels: names of the classes, None where a number in `scale` is wanted.

    header: the names of the columns of a tsv whose first line does not name them.
    """

    title: str
    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = ("0", "1")
    label: str = "label"
    scale: tuple[float, float] = (0.0, 5.0)
    header: tuple[str, ...] | None = None

    @property
    def outputs(self) -> int:
        """How many numbers the head gives."""
        return 1 if self.labels is None else len(self.labels)


GLUE: dict[str, GlueSet] = {
    "cola": GlueSet("CoLA", ("sentence",), header=("source", "label", "mark", "sentence")),
    "sst2": GlueSet("SST-2", ("sentence",)),
    "stsb": GlueSet("STS-B", ("sentence1", "sentence2"), labels=None, label="score"),  # 0 to 5; the paper says 1 to 5
    "rte": GlueSet("RTE", ("sentence1", "sentence2"), labels=("entailment", "not_entailment")),
}


def read_glue(data: Path, kind: GlueSet) -> Examples[Sentences]:
    """The sentences of a GLUE folder (train.tsv, dev.tsv, test.tsv), or of one's own csv or jsonl, by split.

    Raises as `read_examples`. A row with an unknown label, a label outside the scale or an empty sentence is malformed.
    """

    def read(path: Path, malformed: Malformed) -> Iterator[tuple[str | None, Sentences]]:
        for place, row in _rows(path, kind, malformed):
            try:
                example = _sentences(row, place, kind)
                split = split_of_row(row)
            except ValueError as error:
                malformed.add(place, str(error))
                continue
            yield split, example

    return read_examples(data, (".tsv", ".csv", ".jsonl"), read)


def _rows(path: Path, kind: GlueSet, malformed: Malformed) -> Iterator[tuple[str, Row]]:
    if not path.name.removesuffix(".gz").endswith(".tsv"):
        yield from rows_of(path, malformed)
        return
    lines = ((f"line {number}", line.split("\t")) for number, line in lines_of(path, malformed))
    for place, first in lines:
        names = [name.strip() for name in first]
        if set(kind.texts) <= set(names):
            malformed.seen -= 1
            yield from of_table(names, lines, malformed)
        elif kind.header is not None:
            yield from of_table(list(kind.header), _put_back((place, first), lines), malformed)
        else:
            raise InterbertError(
                f"'{path}': its first line is {' | '.join(names)!r:.100}, wanted the names of the columns, among them "
                f"{', '.join(kind.texts)}; {kind.title}'s files have them"
            )


def _put_back(first: tuple[str, list[str]], rest: Iterator[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    yield first
    yield from rest


def _sentences(row: Row, place: str, kind: GlueSet) -> Sentences:
    texts = [text_in(row, name).strip() for name in kind.texts]
    id = str(id_in(row, place, "id", "index"))
    given = row.get(kind.label, row.get("label"))
    label = None if given is None or given == "" else _label(given, kind)
    return Sentences(id, texts[0], texts[1] if len(texts) > 1 else None, label)


def _label(given: object, kind: GlueSet) -> float:
    if kind.labels is not None:
        if str(given).strip() not in kind.labels:
            raise ValueError(f"label {given!r:.30} is none of {', '.join(kind.labels)}")
        return float(kind.labels.index(str(given).strip()))
    low, high = kind.scale
    try:
        number = float(str(given))
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise ValueError(f"{kind.label} {given!r:.30} is no number from {low:g} to {high:g}")
    return number


def write_submission(path: Path, ids: Sequence[str], outputs: Sequence[float], kind: GlueSet) -> None:
    """GLUE's form: a tsv of `index` and `prediction`. outputs: the class's place, or the number, one an id."""
    with whole_file(path) as file:
        file.write("index\tprediction\n")
        for id, output in zip(ids, outputs, strict=True):
            shown = f"{output:.3f}" if kind.labels is None else kind.labels[int(output)]
            file.write(f"{id}\t{shown}\n")
