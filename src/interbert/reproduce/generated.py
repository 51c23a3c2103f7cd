"""Data of the scale `tiny`, of the pictures of `interbert sample`: captions, questions and sentences, in real forms.

What is asked can be learned from the pictures and their names, and nothing more: that it runs is what it shows. The
GD-VCR questions of the scale `small` are split here too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Generator, randint, randperm

from interbert.draws import generator_for
from interbert.files import whole_file
from interbert.reproduce.steps import Step
from interbert.sample import PIXELS, make_sample
from interbert.text.tokenizer import Tokenizer
from interbert.weights.bert import find_bert

SPLITS = ("train", "train", "train", "validation", "test")  # of pictures, in turn
FILES = {"train": "train", "validation": "val", "test": "test"}
VCR_PICTURES = 150
SENTENCES = {"train": 120, "dev": 60}
ADJECTIVES = {"1": ("lovely", "charming", "splendid"), "0": ("dull", "ugly", "dreadful")}
LIKENESS = (("id", 5.0), ("kind", 3.0), ("category", 1.5))  # of two pictures that have this in common
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Generate(Step):
    """Pictures of the sample, `captions.jsonl`, and data of every task. bert: whose vocabulary new models take."""

    bert: str

    def command(self) -> list[str]:
        """`interbert sample`, and what is added to it."""
        return ["interbert", "sample", str(self.folder), "(and generated captions, questions, sentences)"]

    def do(self, progress: bool) -> dict[str, Any]:
        """Writes all; what is there is written again, the same."""
        report = make_sample(self.folder)
        lines = report.catalogue.read_text(encoding="utf-8").splitlines()
        products = [
            json.loads(line) | {"split": SPLITS[at % len(SPLITS)]} for at, line in enumerate(lines) if line.strip()
        ]
        _write_jsonl(self.folder / "captions.jsonl", products)
        named = [one for one in products if one["kind"]]
        for split, name in FILES.items():
            _write_jsonl(self.folder / "vqa" / f"{name}.jsonl", vqa_rows(_of(named, split)))
            _write_jsonl(self.folder / "vcr" / f"{name}.jsonl", vcr_rows(_of(named, split)[:VCR_PICTURES]))
        _write_jsonl(self.folder / "vcr" / "metadata" / "drawing.json", [DRAWING])
        for task, (folder, header, rows) in GLUE.items():
            for split, of in (("train", "train"), ("dev", "validation")):
                draw = generator_for("glue", task, split)
                made = rows(_of(named, of), SENTENCES[split], draw)
                lines = ["\t".join(row) for row in [*header, *made]]
                write_lines(self.folder / "glue" / folder / f"{split}.tsv", lines)
        tokenizer = Tokenizer.load(find_bert(self.bert))
        for folder in ("vqa", "vcr", *(f"glue/{folder}" for folder, _, _ in GLUE.values())):
            tokenizer.save(self.folder / folder / "tokenizer.json")
        return {"pictures": report.pictures}


DRAWING = {  # one thing, which fills the picture but for its margin
    "boxes": [[16, 16, PIXELS - 16, PIXELS - 16, 1.0]],
    "names": ["drawing"],
    "width": PIXELS,
    "height": PIXELS,
}


def _of(products: Sequence[Row], split: str) -> list[Row]:
    return [one for one in products if one["split"] == split]


def vqa_rows(products: Sequence[Row]) -> list[Row]:
    """A question about each picture, of which its kind is the answer."""
    return [
        {"id": one["id"], "image": one["id"], "question": "What kind of thing is this?", "answer": one["kind"]}
        for one in products
    ]


def vcr_rows(products: Sequence[Row]) -> list[Row]:
    """A question about each picture, with titles as answers and kinds as reasons, in VCR's form."""
    return [_vcr_row(one, products, generator_for("vcr", one["id"])) for one in products]


def _vcr_row(product: Row, products: Sequence[Row], draw: Generator) -> Row:
    others = [one for one in products if one["kind"] != product["kind"]]
    others = others if len(others) > 2 else [one for one in products if one["id"] != product["id"]]
    wrong = [others[at] for at in randperm(len(others), generator=draw).tolist()[:3]]
    answer, reason = (int(place) for place in randint(4, (2,), generator=draw))
    answers, reasons = list(wrong), list(wrong)
    answers.insert(answer, product)
    reasons.insert(reason, product)
    return {
        "annot_id": f"drawn-{product['id']}",
        "img_fn": product["id"],
        "metadata_fn": "metadata/drawing.json",
        "objects": ["drawing"],
        "question": ["What", "does", "the", [0], "show", "?"],
        "answer_choices": [["The", [0], "shows", one["title"], "."] for one in answers],
        "answer_label": answer,
        "rationale_choices": [["The", [0], "is", "of", one["kind"], "."] for one in reasons],
        "rationale_label": reason,
    }


def _drawn(products: Sequence[Row], draw: Generator) -> Row:
    return products[int(randint(len(products), (1,), generator=draw))]


def cola_rows(products: Sequence[Row], count: int, draw: Generator) -> list[list[str]]:
    """Sentences, and sentences whose words have been shuffled: not good English."""
    rows = []
    for at in range(count):
        words = f"there is a picture of {_drawn(products, draw)['title']} here".split()
        shuffled = [words[place] for place in randperm(len(words), generator=draw).tolist()]
        rows.append(["drawn", str(at % 2), "" if at % 2 else "*", " ".join(words if at % 2 else shuffled)])
    return rows


def sst2_rows(products: Sequence[Row], count: int, draw: Generator) -> list[list[str]]:
    """What is lovely, and what is dull."""
    rows = []
    for at in range(count):
        label = str(at % 2)
        adjective = ADJECTIVES[label][int(randint(3, (1,), generator=draw))]
        rows.append([f"a {adjective} picture of {_drawn(products, draw)['title']}", label])
    return rows


def stsb_rows(products: Sequence[Row], count: int, draw: Generator) -> list[list[str]]:
    """Two titles: of one thing 5, of one kind 3, of one category 1.5, else 0."""
    rows = []
    for at in range(count):
        one, other = _drawn(products, draw), _drawn(products, draw)
        if at % 3 == 0:
            other = one
        elif at % 3 == 1:
            other = _drawn([of for of in products if of["kind"] == one["kind"]], draw)
        likeness = next((score for key, score in LIKENESS if one[key] == other[key]), 0.0)
        rows.append([str(at), f"a picture of {one['title']}", f"this shows {other['title']}", f"{likeness:.3f}"])
    return rows


def rte_rows(products: Sequence[Row], count: int, draw: Generator) -> list[list[str]]:
    """A thing, and its kind or another's."""
    rows = []
    for at in range(count):
        one = _drawn(products, draw)
        kind = one["kind"] if at % 2 else _drawn([of for of in products if of["kind"] != one["kind"]], draw)["kind"]
        label = "entailment" if at % 2 else "not_entailment"
        rows.append([str(at), f"this is a picture of {one['title']}", f"this is a picture of {kind}", label])
    return rows


Rows = Callable[[Sequence[Row], int, Generator], list[list[str]]]
GLUE: dict[
    str, tuple[str, list[list[str]], Rows]
] = {  # task -> its folder, first lines, rows, as GLUE's files have them
    "cola": ("CoLA", [], cola_rows),
    "sst2": ("SST-2", [["sentence", "label"]], sst2_rows),
    "stsb": ("STS-B", [["index", "sentence1", "sentence2", "score"]], stsb_rows),
    "rte": ("RTE", [["index", "sentence1", "sentence2", "label"]], rte_rows),
}


@dataclass(frozen=True, kw_only=True)
class SplitQuestions(Step):
    """VCR's jsonl without a training part, split by picture: every fifth one is held out."""

    questions: Path

    def command(self) -> list[str]:
        """In words."""
        return ["(split", str(self.questions), "by picture: four fifths train, one fifth is held out)"]

    def do(self, progress: bool) -> dict[str, Any]:
        """Writes train.jsonl and val.jsonl."""
        lines = [line for line in self.questions.read_text(encoding="utf-8").splitlines() if line.strip()]
        pictures = [str(json.loads(line)["img_fn"]) for line in lines]
        places = {picture: at for at, picture in enumerate(dict.fromkeys(pictures))}
        held_out = [places[picture] % 5 == 4 for picture in pictures]
        for name, wanted in (("train", False), ("val", True)):
            kept = [line for line, held in zip(lines, held_out, strict=True) if held == wanted]
            write_lines(self.folder / f"{name}.jsonl", kept)
        return {"questions": len(lines), "held_out": sum(held_out), "pictures": len(places)}


def _write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    write_lines(path, [json.dumps(row, ensure_ascii=False) for row in rows])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Whole or not at all, with the folders that it takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.writelines(line + "\n" for line in lines)
