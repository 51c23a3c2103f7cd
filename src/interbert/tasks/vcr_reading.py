"""How a question of visual commonsense reasoning is read: its picture's regions, and texts that are linked to them.

In: `VcrQuestion`s and a region store. Out: regions with the slot of each object, and words with the slot of the region
that they name. A picture that the store lacks may get stand-ins, which is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from interbert.batch import Regions
from interbert.tasks.pictures import StoredPictures
from interbert.tasks.task import Given
from interbert.tasks.texts import kept_lengths
from interbert.tasks.vcr_files import Metadata, Tokens, VcrQuestion, named, names_of, read_metadata
from interbert.vision.boxes import box_iou

SAME_OBJECT = 0.5  # IoU from which a region is the one of an object's box
MARKS = 3  # [CLS], and [SEP] after each of two texts
Kind = Literal["answer", "rationale"]
Piece = tuple[int, int]  # a token, and the slot of the region that its word names, 0 for none


@dataclass(frozen=True)
class Choice:
    """One of four. kind: of what.  after: the answer after which rationales are read.  picture: None for stand-ins."""

    question: VcrQuestion
    picture: str | None
    kind: Kind
    after: int | None = None

    @property
    def right(self) -> int | None:
        """The place of the right one; None where it is not known."""
        return self.question.answer if self.kind == "answer" else self.question.rationale


@dataclass(frozen=True)
class Scene:
    """A picture as the model reads it. slots: object -> slot of its region."""

    regions: Regions
    slots: dict[int, int]


@dataclass(frozen=True)
class Linked:
    """A text as the model reads it. links: of each word, the slot of the region that it names, 0 for none."""

    words: list[int]
    types: list[int]
    links: list[int]


@dataclass(frozen=True)
class Fit:
    """How the four texts of a choice fit. positions: of the longest one, with its picture.

    cut: what of them is not read: "" for nothing, the end of the "question", or also the end of a "choice": of an
    answer or a rationale.
    """

    positions: int
    cut: Literal["", "question", "choice"]


@dataclass(frozen=True)
class _Pieces:
    """The four texts of a choice before they are cut. answer: the one before rationales; none before answers."""

    question: list[Piece]
    answer: list[Piece]
    choices: list[list[Piece]]

    @property
    def lengths(self) -> tuple[int, int, int]:
        """Pieces of the question, of the answer before, and of the longest choice."""
        return len(self.question), len(self.answer), max(map(len, self.choices))

    def kept(self, room: int) -> tuple[int, int, int]:
        """How many of `lengths` are read where there is room for so many.

        The question goes first, from its end; then the longer of answer and choice. What stands before the four
        choices is alike in all of them, so it tells nothing of which is right.
        """
        question, before, longest = self.lengths
        answer, choice = kept_lengths(before, longest, room)
        return min(question, room - answer - choice), answer, choice


class VcrReader:
    """Reads questions with the pictures of given.store. metadata: folders in which their json files are looked for.

    stand_ins: whether a question without its picture is read. Raises InterbertError as `StoredPictures`.
    """

    def __init__(self, store: Path, given: Given, metadata: Sequence[Path], max_tokens: int, stand_ins: bool) -> None:
        self.given, self.metadata, self.max_tokens = given, list(metadata), max_tokens
        self.pictures, self.stand_ins = StoredPictures(store, given), stand_ins
        self._pieces: dict[str, list[int]] = {}

    def find(self, question: VcrQuestion, left_out: Counter[str]) -> tuple[bool, str | None]:
        """Whether the question can be read, and its picture's id; None with stand-ins. Else the reason is counted.

        Where it can not, a submission has it all the same: with as few regions as its picture has, or stand-ins.
        """
        missing: Counter[str] = Counter()
        picture = self.pictures.find([question.picture], missing)
        if picture is None and not (self.stand_ins and question.objects):
            left_out.update(missing)
            return False, self.pictures.at_all([question.picture])
        return True, picture

    def scene(self, choice: Choice) -> Scene:
        """The regions of the choice's picture."""
        question, picture = choice.question, choice.picture
        if picture is not None:
            regions = self.pictures.regions(picture)
            return Scene(regions, self._slots(question, picture, regions))
        if not question.objects:
            return Scene(self.pictures.regions(None), {})
        found, make = self.metadata_of(question, None), self.pictures.stand_ins.regions
        if found is None:
            regions = make(question.objects)
        else:
            regions = make(question.objects, found.boxes, found.confidence, found.image_size)
        regions = self.given.taken(regions)
        return Scene(regions, {at: at + 1 for at in range(len(regions))})

    def metadata_of(self, question: VcrQuestion, picture: str | None) -> Metadata | None:
        """Where the question's objects are, as its json says, also one beside its picture; None where there is none."""
        return read_metadata(question, [*self.metadata, *([] if picture is None else self.pictures.folders(picture))])

    def _slots(self, question: VcrQuestion, picture: str, regions: Regions) -> dict[int, int]:
        """The slot of the region that overlaps each object's box most, where it does enough; none without metadata."""
        found = self.metadata_of(question, picture)
        if found is None or not len(found.boxes) or not len(regions):
            return {}
        scale = np.array(regions.image_size, np.float32) / np.array(found.image_size, np.float32)
        boxes = torch.from_numpy(found.boxes * np.concatenate([scale, scale]))
        overlap, best = box_iou(boxes, torch.from_numpy(np.array(regions.boxes))).max(1)
        return {at: int(best[at]) + 1 for at in range(len(boxes)) if float(overlap[at]) >= SAME_OBJECT}

    def texts(self, choice: Choice, slots: dict[int, int]) -> list[Linked]:
        """The question with each of its four choices, cut to `max_tokens`."""
        read = self._read(choice, slots)
        question, answer, most = read.kept(self.max_tokens - MARKS)
        before = read.question[:question] + read.answer[:answer]
        return [self._joined(before, one[:most]) for one in read.choices]

    def fit(self, choice: Choice) -> Fit:
        """How the choice's texts fit."""
        objects, picture = choice.question.objects, choice.picture
        regions = len(objects) if picture is None and objects else self.pictures.count(picture)
        read = self._read(choice, {})
        kept = read.kept(self.max_tokens - MARKS)
        cut: Literal["", "question", "choice"] = "question" if kept[1:] == read.lengths[1:] else "choice"
        return Fit(1 + regions + MARKS + sum(kept), "" if kept == read.lengths else cut)

    def _read(self, choice: Choice, slots: dict[int, int]) -> _Pieces:
        question = choice.question
        names = names_of(question.objects)

        def pieces(tokens: Tokens) -> list[Piece]:
            return [
                (piece, 0 if at is None else slots.get(at, 0))
                for word, at in named(tokens, names)
                for piece in self._pieces_of(word)
            ]

        answers, rationales = question.answers, question.rationales
        return _Pieces(
            question=pieces(question.question),
            answer=[] if choice.after is None else pieces(answers[choice.after]),
            choices=[pieces(one) for one in (answers if choice.kind == "answer" else rationales)],
        )

    def _pieces_of(self, word: str) -> list[int]:
        if word not in self._pieces:
            self._pieces[word] = self.given.tokenizer.encode(word)[1:-1]
        return self._pieces[word]

    def _joined(self, first: list[Piece], second: list[Piece]) -> Linked:
        tokenizer = self.given.tokenizer
        end = (tokenizer.sep_id, 0)
        rows = [(tokenizer.cls_id, 0), *first, end, *second, end]
        types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
        return Linked([word for word, _ in rows], types, [slot for _, slot in rows])
