"""Image-text matching (3.3, "ITM") on labelled pairs: does this text fit this picture, by what people said of it?

In: pairs of `matching_files`, those that fit and those that do not, and the regions of their pictures. Trained as ITM
is, by the cross-entropy of match and no match, with the matching head of pretraining, so that all pairs share one
scale: what a threshold over many topics needs. Out: average precision, accuracy and log loss.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from interbert.batch import Batch, make_batch
from interbert.errors import InterbertError, UsageError
from interbert.metrics import accuracy, average_precision
from interbert.model.matching import margin
from interbert.pretraining.objectives import matching_loss
from interbert.tasks.matching_files import LabelledPair, read_pairs_of
from interbert.tasks.pictures import StoredPictures
from interbert.tasks.rows import Examples
from interbert.tasks.task import Asked, Given, Measured, Task, TaskModel, drawn, longest_first, measured, some_of_both
from interbert.tasks.texts import encoded
from interbert.training.report import Shown

log = logging.getLogger(__name__)
BATCH = 64  # pairs at a time where nothing is trained
Metric = Callable[[NDArray[np.float64], NDArray[np.bool_]], float]


@dataclass(frozen=True)
class MatchingOptions:
    """Settings of the task."""

    validation_pairs: int = 5000  # of the validation split, drawn by the seed, judged while training

    def __post_init__(self) -> None:
        if self.validation_pairs < 1:
            raise UsageError(f"validation_pairs: got {self.validation_pairs}, wanted at least 1")


@dataclass(frozen=True)
class Reading:
    """A pair as the model reads it. picture: the id of its regions."""

    pair: LabelledPair
    words: list[int]
    picture: str


@dataclass
class Part:
    """The pairs of a split that can be read, how many texts are cut, and why others cannot be read: reason -> count."""

    readings: list[Reading] = field(default_factory=list)
    cut: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class Matching(Task):
    """The task on its pairs."""

    metric: ClassVar[str] = "average_precision"
    published: ClassVar = {}  # the paper has no figures of it

    def __init__(self, found: Examples[LabelledPair], options: MatchingOptions, given: Given) -> None:
        if given.store is None:
            raise InterbertError("matching: no region store was given; give --store with the regions of the pictures")
        self.found, self.options, self.given = found, options, given
        self.pictures = StoredPictures(given.store, given)
        self._parts: dict[str, Part] = {}

    @classmethod
    def open(cls, data: Path, options: MatchingOptions, given: Given) -> Self:
        """The task on a file or folder that `read_pairs_of` reads, with the pictures of given.store."""
        return cls(read_pairs_of(data), options, given)

    def part(self, split: str) -> Part:
        """The pairs of a split, read once. Raises InterbertError where none is left."""
        if split not in self._parts:
            part = self._read(self.found.part(split))
            for reason, count in part.left_out.items():
                log.warning("%d of the %s pairs left out: %s", count, split, reason)
            if not part.readings:
                raise InterbertError(f"no pair of the {split} split is left: {', '.join(part.left_out)}")
            self._parts[split] = part
        return self._parts[split]

    def _read(self, pairs: Sequence[LabelledPair]) -> Part:
        part, texts = Part(), list(dict.fromkeys(pair.text for pair in pairs))
        words, part.cut = encoded(texts, self.given.config.max_text_tokens, self.given.tokenizer, "texts")
        read = dict(zip(texts, words, strict=True))
        for pair in pairs:
            if (picture := self.pictures.find([pair.picture], part.left_out)) is not None:
                part.readings.append(Reading(pair, read[pair.text], picture))
        return part

    def _size(self, reading: Reading) -> int:
        return len(reading.words) + 1 + self.pictures.count(reading.picture)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [N]: tokens and regions of every training pair."""
        return np.array([self._size(reading) for reading in self.part("train").readings], np.int64)

    def make(self, examples: NDArray[np.int64], generators: Sequence[Generator], epoch: int) -> Batch:
        """Training pairs with their labels; nothing is drawn."""
        readings = self.part("train").readings
        return self._batch([readings[at] for at in examples.tolist()])

    def _batch(self, readings: Sequence[Reading]) -> Batch:
        regions = [self.pictures.regions(one.picture) for one in readings]
        ids = [f"{one.pair.text}:{one.picture}" for one in readings]
        batch = make_batch(ids, [one.words for one in readings], regions, pad_id=self.given.tokenizer.pad_id)
        batch.is_match = torch.tensor([one.pair.belongs for one in readings])
        return batch

    def counts(self, batch: Batch) -> dict[str, float]:
        """Pairs."""
        return {"matching": float(len(batch))}

    def losses(self, model: TaskModel, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of match and no match, summed (0.693 a pair at first)."""
        return {"matching": matching_loss(model.backbone, model.backbone(batch, 1), batch)}

    def predict(self, model: TaskModel, readings: Sequence[Reading]) -> NDArray[np.float64]:
        """float64 [N]: the margin of every pair, the log odds of a match."""
        found = np.zeros(len(readings))
        device = next(model.parameters()).device
        with torch.inference_mode():
            for which in longest_first([self._size(one) for one in readings], BATCH):
                output = model.backbone(self._batch([readings[at] for at in which]).to(device), 1)
                assert output.text_vector is not None
                assert output.image_vector is not None
                margins = margin(model.backbone, output.text_vector, output.image_vector)
                found[which] = margins.double().cpu().numpy()
        return found

    def validate(self, model: TaskModel) -> dict[str, float]:
        """The figures of some validation pairs."""
        readings = self._validated()
        margins, true = self.predict(model, readings), _true(readings)
        return {name: of(margins, true) for name, of in METRICS.items()} if true.any() else {}

    def _validated(self) -> list[Reading]:
        if "validation" not in self.found.splits:
            return []
        return drawn(self.part("validation").readings, self.options.validation_pairs, self.given.seed)

    def evaluate(self, model: TaskModel, asked: Asked) -> dict[str, Any]:
        """Average precision, accuracy and log loss of a split's pairs, with intervals by resampling pictures.

        chance: of average precision the share of pairs that fit; of accuracy what always saying the commoner gives.
        Raises InterbertError where no pair fits.
        """
        part = self.part(asked.split)
        true = _true(part.readings)
        if not true.any():
            raise InterbertError(f"no pair of the {asked.split} split has label 1, so that there is nothing to find")
        rows = np.stack([self.predict(model, part.readings), true], 1)
        metrics = _by_picture(rows, [one.picture for one in part.readings])
        share = float(true.mean())
        metrics["average_precision"]["chance"] = share
        metrics["accuracy"]["chance"] = max(share, 1 - share)
        return {
            "metrics": metrics,
            "pairs": len(true),
            "that_fit": int(true.sum()),
            "texts": len({one.pair.text for one in part.readings}),
            "pictures": len({one.picture for one in part.readings}),
            "cut": part.cut,
            "left_out": part.left_out.total() + sum(self.found.left_out.values()),
            "left_out_because": dict(part.left_out),
        }

    def examples(self, model: TaskModel, count: int) -> list[Shown]:
        """Validation pairs that the model judges as people do, and as many that it does not; what it recalls first."""
        readings = self._validated()
        margins = self.predict(model, readings)
        order = np.argsort(margins <= 0, kind="stable")
        readings, margins = [readings[at] for at in order.tolist()], margins[order]
        right = (margins > 0) == _true(readings)
        return [self._shown(readings[at], float(margins[at]), bool(right[at])) for at in some_of_both(right, count)]

    def _shown(self, reading: Reading, margin: float, right: bool) -> Shown:
        said, people = ("fits" if one else "does not fit" for one in (margin > 0, reading.pair.belongs))
        text = said if right else f"{said}; people: {people}"
        score = float(1 / (1 + np.exp(-abs(margin))))
        return Shown(reading.pair.text, text, right, (self.pictures.shown(reading.picture),), score)

    def digest(self, split: str) -> str:
        """Of the split's pairs."""
        return self.found.digest(split)

    def fingerprint(self) -> dict[str, Any]:
        """The training pairs, and how many can be read."""
        return {"pairs": self.found.digest("train"), "read": len(self.part("train").readings)}


def _true(readings: Sequence[Reading]) -> NDArray[np.bool_]:
    return np.array([one.pair.belongs for one in readings], bool)


def _log_loss(margins: NDArray[np.float64], true: NDArray[np.bool_]) -> float:
    """Of the probabilities that the margins are the log odds of; also where those round to 0 or 1."""
    return float(np.logaddexp(0, np.where(true, -margins, margins)).mean())


METRICS: dict[str, Metric] = {
    "average_precision": average_precision,
    "accuracy": lambda margins, true: accuracy(margins > 0, true),
    "log_loss": _log_loss,
}


def _by_picture(rows: NDArray[np.float64], pictures: Sequence[str]) -> dict[str, Measured]:
    """Every figure, its interval by drawing pictures with all their pairs. rows: [N, 2], margin and label."""
    _, of = np.unique(pictures, return_inverse=True)
    order = np.argsort(of, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(of))[:-1])

    def statistic(metric: Metric) -> Callable[[NDArray[np.float64]], float]:
        def over(drawn: NDArray[np.float64]) -> float:
            taken = rows[np.concatenate([groups[int(one)] for one in drawn])]
            true = taken[:, 1] > 0
            return metric(taken[:, 0], true) if true.any() else 0.0

        return over

    return {
        name: measured(np.arange(len(groups)), statistic(metric), less_is_better=metric is _log_loss)
        for name, metric in METRICS.items()
    }
