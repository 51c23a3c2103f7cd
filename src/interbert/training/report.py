"""`report.html` of a run: its losses and accuracies as curves, its figures beside published ones, and examples.

Enters: a run's folder with its `training.jsonl`, and what was scored. Leaves: one file that needs no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import torch

from interbert.batch import make_batch
from interbert.corpus.corpus import Corpora, Corpus
from interbert.model.interbert import InterBert
from interbert.training.journal import Line, read_journal
from interbert.webpage import chart, figure, picture_uri, write_page

SHOWN_PIXELS = 288  # of the longer side of an example's picture, so that its boxes can be told apart


@dataclass(frozen=True)
class Example:
    """A pair and its score. picture: a file, or None where it is not known.  belongs: whether they belong together."""

    text: str
    picture: Path | None
    score: float
    belongs: bool


@dataclass(frozen=True)
class Picture:
    """A picture beside an example. file: None where it is not known.  note: what it is there for.

    boxes: (x1, y1, x2, y2) as shares of the picture's sides, drawn into it.
    """

    file: Path | None
    note: str = ""
    score: float | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True)
class Shown:
    """An example of a task: what was asked, what the model said, and whether that is right.

    score: the probability that the model gives what it said; None where each picture has its own, or there is none.
    """

    asked: str
    said: str
    right: bool
    pictures: tuple[Picture, ...] = ()
    score: float | None = None


@dataclass(frozen=True)
class Table:
    """Figures beside each other. rows: (name, a cell for each of the columns); a cell's further lines are small."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def write_report(
    run: Path,
    examples: Sequence[Example] = (),
    table: Table | None = None,
    shown: Sequence[Shown] = (),
    about: str = "",
) -> Path:
    """Writes `report.html` into the run's folder and returns its path. Without `training.jsonl` it has no curves.

    about: what the run is, beside the name of its folder.
    """
    journal = run / "training.jsonl"
    lines = read_journal(journal) if journal.is_file() else []
    name = f"{run.name}: {about}" if about else run.name
    parts = ["<h1>Training report</h1>", f"<p class=soft>{escape(name)}</p>", _numbers(lines), _curves(lines)]
    if table is not None and table.rows:
        parts.append(_table(table))
    if examples:
        parts.append(_examples(examples))
    parts += [_shown(shown, right) for right in (True, False)]
    write_page(run / "report.html", f"Training report: {run.name}", "\n".join(filter(None, parts)))
    return run / "report.html"


def example_pairs(
    model: InterBert, corpus: Corpus | Corpora, *, split: str = "validation", count: int = 6, seed: int = 0
) -> list[Example]:
    """Texts of a split, each scored with its own picture and with another text's. At most 2 * count pairs."""
    texts = corpus.split(split)
    order = texts[torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed)).numpy()]
    chosen: list[int] = []
    images: set[int] = set()
    for text in order.tolist():
        if corpus.image_of(text) not in images and len(chosen) < count:
            chosen.append(text)
            images.add(corpus.image_of(text))
    if not chosen:
        return []
    own = [corpus.image_of(text) for text in chosen]
    shown = [(text, image) for pair in zip(chosen, own, own[1:] + own[:1], strict=True) for text, image in _both(*pair)]
    batch = make_batch(
        [str(text) for text, _ in shown],
        [corpus.words(text).tolist() for text, _ in shown],
        [corpus.regions(image) for _, image in shown],
    )
    with torch.inference_mode():
        output = model.eval()(batch.to(next(model.parameters()).device))
        assert output.text_vector is not None
        assert output.image_vector is not None
        scores = model.match_probability(output.text_vector, output.image_vector).tolist()
    return [
        Example(corpus.text(text), picture_file(corpus, image), score, corpus.image_of(text) == image)
        for (text, image), score in zip(shown, scores, strict=True)
    ]


def _both(text: int, own: int, other: int) -> list[tuple[int, int]]:
    return [(text, own)] if own == other else [(text, own), (text, other)]


def picture_file(corpus: Corpus | Corpora, image: int) -> Path | None:
    """The file a picture's regions were made of, as it was found, or None where the store does not know it."""
    if isinstance(corpus, Corpora):
        for part in corpus.corpora:
            if image < part.images:
                return picture_file(part, image)
            image -= part.images
        raise IndexError(f"the corpora have {corpus.images} images, counted from 0")
    info = corpus.store.info(corpus.image_id(image))
    return None if info is None else Path(info.source)


def _numbers(lines: Sequence[Line]) -> str:
    """The last numbers of the run as a table."""
    steps = [line for line in lines if "losses" in line]
    if not steps:
        return "<p class=soft>There is no training.jsonl, or nothing in it yet.</p>"
    last, checked = steps[-1], [line["validation"] for line in lines if "validation" in line]
    rows = [("steps", f"{last['step']:,}"), ("minutes", f"{last.get('seconds', 0) / 60:.1f}")]
    rows += [(f"loss of {_words(name)}", f"{value:.3f}") for name, value in last["losses"].items()]
    rows += [(f"{_words(name)}, held out", f"{value:.3f}") for name, value in (checked[-1] if checked else {}).items()]
    cells = "".join(f"<tr><td>{escape(name)}</td><td class=number>{value}</td></tr>" for name, value in rows)
    return f"<section><h2>At the end</h2><table>{cells}</table></section>"


def _curves(lines: Sequence[Line]) -> str:
    """Each loss over the steps, in training and where it was measured in validation, and each held-out accuracy."""
    training = _series(lines, "losses")
    validation = _series(lines, "validation")
    charts = []
    for name, points in training.items():
        measured = validation.pop(f"{name}_loss", [])
        charts.append(chart(f"Loss of {_words(name)}", {"training": points, "validation": measured}))
    charts += [chart(f"{_words(name).capitalize()}, held out", {"": points}) for name, points in validation.items()]
    shown = "".join(f"<div>{one}</div>" for one in charts if one)
    return f"<section><h2>Over the steps</h2><div class=charts>{shown}</div></section>" if shown else ""


def _series(lines: Sequence[Line], kind: str) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for name, value in line.get(kind, {}).items():
            found.setdefault(name, []).append((line["step"], value))
    return found


def _words(name: str) -> str:
    return name.replace("_", " ")


def _examples(examples: Sequence[Example]) -> str:
    kinds = (("Pairs that belong together", True), ("Pairs that do not", False))
    rows = []
    for label, belongs in kinds:
        figures = [
            figure(picture_uri(one.picture) if one.picture else None, one.text, one.score)
            for one in examples
            if one.belongs == belongs
        ]
        rows.append(f"<div class=label>{label}</div><div class=row>{''.join(figures)}</div>")
    return (
        "<section><h2>Examples</h2><p class=soft>Held-out pictures with a text, and the probability that the two "
        f"belong together.</p>{''.join(rows)}</section>"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th class=number>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        f"<tr><td>{escape(_words(name))}</td>"
        + "".join(f"<td class=number>{_cell(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, cells in table.rows
    )
    return (
        "<section><h2>Figures</h2><p class=soft>Below a figure its 95 % interval, by bootstrap. Published figures are "
        "of their own data and sizes.</p><div class=figures>"
        f"<table><tr><th></th>{head}</tr>{rows}</table></div></section>"
    )


def _cell(lines: str) -> str:
    first, *rest = lines.split("\n")
    return escape(first) + "".join(f"<small>{escape(line)}</small>" for line in rest)


def _shown(examples: Sequence[Shown], right: bool) -> str:
    """The examples that the model has right, or those that it has wrong."""
    chosen = [one for one in examples if one.right == right]
    if not chosen:
        return ""
    parts = []
    for one in chosen:
        figures = "".join(_figure(picture, right) for picture in one.pictures)
        row = f"<div class=row>{figures}</div>" if figures else ""
        score = "" if one.score is None else f"<b>{one.score:.2f}</b> "
        said = f"{score}<span class=soft>{escape(one.said)}</span>"
        parts.append(f"<div><p><b>{escape(one.asked)}</b><br>{said}</p>{row}</div>")
    return f"<section><h2>{'Right' if right else 'Wrong'}</h2><div class=cards>{''.join(parts)}</div></section>"


def _figure(picture: Picture, right: bool) -> str:
    uri = None if picture.file is None else picture_uri(picture.file, SHOWN_PIXELS, picture.boxes)
    return figure(uri, picture.note, picture.score, right=right)
