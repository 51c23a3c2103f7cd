"""Visual commonsense reasoning (4.2 and A.2, Table 3): of four answers the right one, of four rationales its reason.

In: questions of `vcr_files` and the regions of their pictures. A question with an answer, or a question and its right
answer with a rationale, is one text beside the picture; four of them are one choice. Q->A and QA->R are trained
together, Q->AR is right where both are. A word that names an object is linked to the object's region.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from interbert.batch import Batch, make_batch
from interbert.config import ModelConfig
from interbert.errors import InterbertError, UsageError
from interbert.tasks.pictures import submitted
from interbert.tasks.rows import Examples
from interbert.tasks.task import (
    Asked,
    Given,
    Task,
    TaskModel,
    choice_loss,
    drawn,
    longest_first,
    measured,
    some_of_both,
)
from interbert.tasks.vcr_files import CHOICES, VcrQuestion, names_of, read_vcr, text_of, write_submission
from interbert.tasks.vcr_head import ChoiceHead, LinkedBatch, scores_of
from interbert.tasks.vcr_reading import Choice, Fit, VcrReader
from interbert.training.report import Shown

log = logging.getLogger(__name__)
BATCH = 16  # choices at a time where nothing is trained, four texts each


@dataclass(frozen=True)
class VcrOptions:
    """Settings of the task."""

    choices: Literal["both", "answer", "rationale"] = "both"  # what is trained: Q->A, QA->R, or one model for both
    max_tokens: int = 128  # of a text with its choice, at most what the model reads; longer ones are cut and counted
    stand_ins: bool = False  # a picture that the store lacks gets regions made of its objects' classes and boxes
    metadata: str | None = None  # the folder of the pictures' json files; None: the data's, and beside the pictures
    validation_questions: int = 1000  # of the validation split, drawn by the seed, answered while training

    def __post_init__(self) -> None:
        for name, least in (("max_tokens", 8), ("validation_questions", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}: got {getattr(self, name)}, wanted at least {least}")


@dataclass(frozen=True)
class AskedChoice:
    """A choice to predict. question: its place among those asked.  group: 0 of answers, 1 + the answer before."""

    question: int
    group: int
    choice: Choice
    fit: Fit


@dataclass(frozen=True)
class Reading:
    """A question as it is read. picture: the id of its regions; None for stand-ins."""

    question: VcrQuestion
    picture: str | None


@dataclass
class Part:
    """The questions of a split that can be read, and why others cannot: reason -> how many.

    others: those left out for their picture, which a submission has all the same.  unlinked: how many are read though
    nothing says where their objects are, so that no word is linked to a region.
    """

    readings: list[Reading] = field(default_factory=list)
    others: list[Reading] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    unlinked: int = 0

    @property
    def questions(self) -> list[VcrQuestion]:
        """Those that can be read."""
        return [one.question for one in self.readings]

    @property
    def stand_ins(self) -> int:
        """How many of them are read without their picture."""
        return sum(one.picture is None for one in self.readings)


class Vcr(Task):
    """The task on its questions."""

    metric: ClassVar[str] = "choice_accuracy"
    published: ClassVar = {
        "InterBERT (paper)": {"q_to_a": 0.731, "qa_to_r": 0.748, "q_to_ar": 0.549},
        "R2C (paper)": {"q_to_a": 0.638, "qa_to_r": 0.672, "q_to_ar": 0.431},
        "ViLBERT (paper)": {"q_to_a": 0.724, "qa_to_r": 0.745, "q_to_ar": 0.540},
    }

    def __init__(self, found: Examples[VcrQuestion], reader: VcrReader, options: VcrOptions, given: Given) -> None:
        self.found, self.reader, self.options, self.given = found, reader, options, given
        self._parts: dict[str, Part] = {}

    @classmethod
    def open(cls, data: Path, options: VcrOptions, given: Given) -> Self:
        """The task on a file or folder that `read_vcr` reads, with the pictures of given.store."""
        if given.store is None:
            raise InterbertError(
                "vcr: no region store was given; give --store with the regions of the pictures, or where there are no "
                "pictures, a store of others by the same extractor with  --set options.stand_ins=true"
            )
        folders = [data if data.is_dir() else data.parent]
        folders = [Path(options.metadata), *folders] if options.metadata else folders
        max_tokens = min(options.max_tokens, given.config.max_text_tokens)
        return cls(
            read_vcr(data), VcrReader(given.store, given, folders, max_tokens, options.stand_ins), options, given
        )

    def part(self, split: str) -> Part:
        """The questions of a split, read once; of training, those with a label. Raises InterbertError for none left."""
        if split not in self._parts:
            part = self._part(split)
            for reason, count in part.left_out.items():
                log.warning("%d of the %s questions left out: %s", count, split, reason)
            if part.stand_ins:
                log.warning("%d of the %s questions are read without their picture, with regions made of its objects' "
                            "classes and boxes", part.stand_ins, split)  # fmt: skip
            if part.unlinked:
                log.warning("%d of the %s questions have no readable metadata: no word of theirs is linked to a region",
                            part.unlinked, split)  # fmt: skip
            if not part.readings:
                raise InterbertError(
                    f"no question of the {split} split is left: {', '.join(part.left_out)}. Where there are no "
                    "pictures, finetune with  --set options.stand_ins=true"
                )
            self._parts[split] = part
        return self._parts[split]

    def _part(self, split: str) -> Part:
        part = Part()
        for question in self.found.part(split):
            if split == "train" and question.answer is None:
                part.left_out["it has no label"] += 1
                continue
            readable, picture = self.reader.find(question, part.left_out)
            (part.readings if readable else part.others).append(Reading(question, picture))
            part.unlinked += readable and picture is not None and self.reader.metadata_of(question, picture) is None
        return part

    @cached_property
    def trained(self) -> list[Choice]:
        """Every choice that is trained, rationales after the right answer."""
        found = [
            choice
            for question, picture in ((one.question, one.picture) for one in self.part("train").readings)
            for choice in (Choice(question, picture, "answer"), Choice(question, picture, "rationale", question.answer))
            if self.options.choices in ("both", choice.kind) and choice.right is not None
        ]
        if not found:
            raise InterbertError(f"no training question has four {self.options.choices}s and the right one's place")
        return found

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [N]: positions of the longest text of every training choice."""
        fits = [self.reader.fit(choice) for choice in self.trained]
        self._cut(fits, "train")
        return np.array([fit.positions for fit in fits], np.int64)

    def _cut(self, fits: Sequence[Fit], split: str) -> dict[str, int]:
        """How many choices have texts that are cut, said and given."""
        cut, answers = sum(fit.cut != "" for fit in fits), sum(fit.cut == "choice" for fit in fits)
        if cut:
            log.warning("%d of the %d %s choices are longer than %d tokens: the end of the question is cut, in %d of "
                        "them also that of an answer or rationale",
                        cut, len(fits), split, self.reader.max_tokens, answers)  # fmt: skip
        return {"choices": len(fits), "cut": cut, "cut_answers": answers}

    def make(self, examples: NDArray[np.int64], generators: Sequence[Generator], epoch: int) -> Batch:
        """Four texts a choice, each with the picture; nothing is drawn."""
        return self._batch([self.trained[at] for at in examples.tolist()])

    def _batch(self, choices: Sequence[Choice]) -> LinkedBatch:
        scenes = [self.reader.scene(choice) for choice in choices]
        texts = [
            text
            for choice, scene in zip(choices, scenes, strict=True)
            for text in self.reader.texts(choice, scene.slots)
        ]
        regions = [scene.regions for scene in scenes for _ in range(CHOICES)]
        ids = [f"{choice.question.id}:{choice.kind}:{at}" for choice in choices for at in range(CHOICES)]
        words, types = [text.words for text in texts], [text.types for text in texts]
        batch = LinkedBatch(**vars(make_batch(ids, words, regions, types, self.given.tokenizer.pad_id)))
        assert batch.words is not None
        batch.links = torch.zeros_like(batch.words)
        for row, text in enumerate(texts):
            batch.links[row, : len(text.links)] = torch.tensor(text.links)
        batch.choices = CHOICES
        if all(choice.right is not None for choice in choices):
            batch.right = torch.tensor([choice.right for choice in choices])
        return batch

    def head(self, config: ModelConfig) -> nn.Module:
        """A `ChoiceHead`."""
        return ChoiceHead(config)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Choices."""
        return {"choice": len(batch) / CHOICES}

    def losses(self, model: TaskModel, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the right one of four, summed over the choices (1.386 each at first)."""
        assert isinstance(batch, LinkedBatch)
        return {"choice": choice_loss(scores_of(model, batch), batch)}

    def predict(self, model: TaskModel, readings: Sequence[Reading], after_all: bool = False) -> NDArray[np.float64]:
        """float64 [N, 5, 4]: probabilities of the answers, then of the rationales after each answer.

        NaN where nothing was asked: rationales that there are none, or after other answers than the right one unless
        `after_all`.
        """
        return self._probabilities(model, self._asked(readings, after_all), len(readings))

    def _asked(self, readings: Sequence[Reading], after_all: bool) -> list[AskedChoice]:
        asked: list[tuple[int, int, Choice]] = []
        for at, one in enumerate(readings):
            question = one.question
            asked.append((at, 0, Choice(question, one.picture, "answer")))
            if question.rationales:
                after = range(CHOICES) if after_all else [question.answer] if question.answer is not None else []
                asked += [(at, 1 + before, Choice(question, one.picture, "rationale", before)) for before in after]
        return [AskedChoice(at, group, choice, self.reader.fit(choice)) for at, group, choice in asked]

    def _probabilities(self, model: TaskModel, asked: Sequence[AskedChoice], questions: int) -> NDArray[np.float64]:
        found = np.full((questions, 1 + CHOICES, CHOICES), np.nan)
        device = next(model.parameters()).device
        with torch.inference_mode():
            for which in longest_first([one.fit.positions for one in asked], BATCH):
                batch = self._batch([asked[at].choice for at in which]).to(device)
                probabilities = scores_of(model, batch).view(-1, CHOICES).softmax(-1).double().cpu().numpy()
                for at, row in zip(which, probabilities, strict=True):
                    found[asked[at].question, asked[at].group] = row
        return found

    def validate(self, model: TaskModel) -> dict[str, float]:
        """The accuracies on some validation questions, and their mean over both sorts of choices."""
        readings = self._validated()
        right = right_choices([one.question for one in readings], self.predict(model, readings))
        found = {name: float(rows.mean()) for name, rows in right.items() if len(rows)}
        single = [found[name] for name in ("q_to_a", "qa_to_r") if name in found]
        return found | {"choice_accuracy": float(np.mean(single))} if single else {}

    def _validated(self) -> list[Reading]:
        """Validation questions with labels, drawn by the seed."""
        if "validation" not in self.found.splits:
            return []
        known = [one for one in self.part("validation").readings if one.question.answer is not None]
        return drawn(known, self.options.validation_questions, self.given.seed)

    def evaluate(self, model: TaskModel, asked: Asked) -> dict[str, Any]:
        """Q->A, QA->R and Q->AR of a split; asked.submission: the leaderboard's csv of all its questions."""
        part, submits = self.part(asked.split), asked.submission is not None
        if submits and not all(one.question.rationales for one in [*part.readings, *part.others]):
            raise InterbertError(
                "submission: some questions have no rationales of their own, which the leaderboard wants"
            )
        choices = self._asked(part.readings, after_all=submits)
        found = self._probabilities(model, choices, len(part.readings))
        sent = {} if asked.submission is None else {"submission": self._submit(asked.submission, model, part, found)}
        metrics = {
            name: measured(rows, chance=CHANCE[name])
            for name, rows in right_choices(part.questions, found).items()
            if len(rows)
        }
        return {
            "split": asked.split,
            "reads": _reads(part),
            "metrics": metrics,
            "questions": len(part.readings),
            "with_rationales": sum(bool(question.rationales) for question in part.questions),
            "stand_ins": part.stand_ins,
            "unlinked": part.unlinked,
            **self._cut([one.fit for one in choices], asked.split),
            "left_out": part.left_out.total() + sum(self.found.left_out.values()),
            "left_out_because": dict(part.left_out),
            **sent,
        }

    def _submit(self, file: Path, model: TaskModel, part: Part, found: NDArray[np.float64]) -> dict[str, int]:
        """Writes the leaderboard's csv. Returns what it is made of."""
        others = self.predict(model, part.others, after_all=True)
        ids = [one.question.id for one in [*part.readings, *part.others]]
        write_submission(file, ids, np.concatenate([found, others]))
        return submitted(self.found, len(found), [one.picture for one in part.others])

    def examples(self, model: TaskModel, count: int) -> list[Shown]:
        """Validation questions whose answer the model finds, and as many where it takes another."""
        readings = self._validated()
        found = self.predict(model, readings)[:, 0]
        said, scores = found.argmax(-1), found.max(-1)
        right = np.array([one.question.answer for one in readings]) == said
        return [
            self._shown(readings[at], int(said[at]), float(scores[at]), bool(right[at]))
            for at in some_of_both(right, count)
        ]

    def _shown(self, reading: Reading, said: int, score: float, right: bool) -> Shown:
        question, picture = reading.question, reading.picture
        names = names_of(question.objects)
        text = text_of(question.answers[said], names)
        if not right and question.answer is not None:
            text += f" (wanted: {text_of(question.answers[question.answer], names)})"
        pictures = () if picture is None else (self.reader.pictures.shown(picture),)
        return Shown(text_of(question.question, names), text, right, pictures, score)

    def digest(self, split: str) -> str:
        """Of the split's examples."""
        return self.found.digest(split)

    def fingerprint(self) -> dict[str, Any]:
        """The training questions, how many choices can be read, and how many without pictures."""
        return {
            "questions": self.found.digest("train"),
            "choices": len(self.trained),
            "stand_ins": self.part("train").stand_ins,
        }


CHANCE = {"q_to_a": 1 / CHOICES, "qa_to_r": 1 / CHOICES, "q_to_ar": 1 / CHOICES**2}


def right_choices(questions: Sequence[VcrQuestion], found: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Of every question that has the label: 1 where the most probable choice is right.

    found: [N, 5, 4] of `Vcr.predict`. A rationale is chosen after the right answer, as the leaderboard does.
    """
    right: dict[str, list[float]] = {name: [] for name in CHANCE}
    for question, rows in zip(questions, found, strict=True):
        if question.answer is None:
            continue
        answered = bool(rows[0].argmax() == question.answer)
        right["q_to_a"].append(answered)
        if question.rationale is not None:
            reasoned = bool(rows[1 + question.answer].argmax() == question.rationale)
            right["qa_to_r"].append(reasoned)
            right["q_to_ar"].append(answered and reasoned)
    return {name: np.array(rows, np.float64) for name, rows in right.items()}


def _reads(part: Part) -> str:
    """In words, what the figures are of."""
    if not part.stand_ins:
        return "questions and pictures"
    what = "questions and regions made of the classes and boxes of their pictures' objects"
    return what if part.stand_ins == len(part.readings) else f"{part.stand_ins} of the questions with stand-ins: {what}"
