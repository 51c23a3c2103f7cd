"""What a task is: data, head, loss and metric behind one protocol. `finetuning.py` trains any, `table.py` lists them.

Enters: what a run and a command give (`Given`). Leaves: batches, losses as sums with their counts, figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from interbert.batch import Batch, Regions
from interbert.config import ModelConfig
from interbert.draws import generator_for
from interbert.metrics import bootstrap_interval
from interbert.model.alone import without_projections
from interbert.model.interbert import InterBert
from interbert.text.tokenizer import Tokenizer
from interbert.training.parallel import Parallel
from interbert.training.report import Shown
from interbert.vision.provenance import ExtractorInfo

Example = TypeVar("Example")


class TaskModel(nn.Module):
    """An InterBERT and the head of a task; head None where the task reads the matching head of pretraining."""

    def __init__(self, backbone: InterBert, head: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head


@dataclass(frozen=True)
class Given:
    """What a task is opened with, besides its data and its options.

    name: of the task ("retrieval").  out: the run's folder while finetuning, else None.  store: a region store, for
    data that name pictures.  facts: what `Task.facts` gave when the run was finetuned (an answer vocabulary); None
    while finetuning, where the task makes them of its training data.
    """

    name: str
    tokenizer: Tokenizer
    extractor: ExtractorInfo
    config: ModelConfig
    seed: int = 0
    min_regions: int = 1
    max_regions: int | None = None
    store: Path | None = None
    out: Path | None = None
    facts: Mapping[str, Any] | None = None

    def taken(self, regions: Regions) -> Regions:
        """The best `max_regions` of a picture's regions."""
        return best_regions(regions, self.max_regions)


@dataclass(frozen=True)
class Asked:
    """How an evaluation is asked for.

    split: which part of the data.  queries: so many texts, not all.  processes: that score at once; None: one a core.
    parts: where what is scored is kept, so that the same command goes on.  submission: the official file to write.
    run: the folder of the model, for other processes to load it.  precision: "fp32" or
    "bf16".
    """

    run: Path
    split: str = "test"
    seed: int = 0
    queries: int | None = None
    processes: int | None = None
    precision: str = "fp32"
    parts: Path | None = None
    submission: Path | None = None
    progress: bool = False


class Task(Protocol):
    """A downstream task. Subclass it, and give it a line in `table.py`."""

    metric: ClassVar[str]  # of `validate`: the checkpoint that has most of it is the best one
    options: Any  # what it was opened with
    judged_by: ClassVar[tuple[str, ...]] = ()  # options that say among what an example is judged: two runs share them
    published: ClassVar[Mapping[str, Mapping[str, float]]]  # {"paper, Table 3": {"recall_at_1": 0.619}}, for the report

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [N]: positions of every training example; alike ones are put into one batch."""

    def make(self, examples: NDArray[np.int64], generators: Sequence[Generator], epoch: int) -> Batch:
        """The batch of training examples (places in `lengths`), one generator each. Called in a thread, so it may
        depend on nothing else, but on what `begin_epoch` left on disk."""

    def head(self, config: ModelConfig) -> nn.Module | None:
        """A new head, or None where the matching head is the task's."""
        return None

    @staticmethod
    def prepared(model: InterBert) -> InterBert:
        """The model that a finetuning begins with. A prefilter's projections go: the weights they fit will change."""
        return without_projections(model)

    @staticmethod
    def carry_over(start: Path, out: Path) -> None:
        """Takes into a finetuned run's folder what still holds of the one it was started from."""

    def begin_epoch(self, model: TaskModel, epoch: int, parallel: Parallel, give_way: Callable[[], None]) -> None:
        """What an epoch needs of the model as it is then, kept in the run's folder: called once, on every process.

        give_way: called every second or so of long work, see `Legs`.
        """

    def counts(self, batch: Batch) -> dict[str, float]:
        """What each sum of `losses` is divided by."""

    def losses(self, model: TaskModel, batch: Batch) -> dict[str, Tensor]:
        """The losses as sums over the batch."""

    def validate(self, model: TaskModel) -> dict[str, float]:
        """Figures of the validation split while training, `metric` among them; none where there is no such split."""

    def evaluate(self, model: TaskModel, asked: Asked) -> dict[str, Any]:
        """Figures of a split: {"metrics": {name: {"value", "interval"}}, …} and counts of what was left out."""

    def examples(self, model: TaskModel, count: int) -> list[Shown]:
        """Up to `count` validation examples that the model has right and as many that it has wrong, for the report."""
        return []

    def facts(self) -> dict[str, Any]:
        """JSON values that a finetuned run keeps in its `task.json` and gets back at evaluation."""
        return {}

    def digest(self, split: str) -> str | None:
        """Equal for equal examples of a split; None where a split never has those of another, as in a corpus."""
        return None

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that say which data it is: equal for an exact resume."""


@dataclass(eq=False)
class ChoiceBatch(Batch):
    """Pairs in groups of `choices` neighbours, one of them right. right: int64 [G], its place in each group."""

    choices: int = 4
    right: Tensor | None = None


def choice_loss(scores: Tensor, batch: ChoiceBatch) -> Tensor:
    """Cross-entropy over each group's scores, summed over the groups. scores: [B], B = G * choices.

    >>> import torch
    >>> batch = ChoiceBatch(["a", "b", "c", "d"], choices=4, right=torch.tensor([0]))
    >>> round(float(choice_loss(torch.zeros(4), batch)), 3)      # ln 4
    1.386
    """
    assert batch.right is not None
    return cross_entropy(scores.float().view(-1, batch.choices), batch.right, reduction="sum")


def best_regions(regions: Regions, most: int | None) -> Regions:
    """The best so many of a picture's regions; None: all."""
    return regions if most is None or len(regions) <= most else regions.select(slice(0, most))


def longest_first(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Places in batches of `size`, the longest first: alike ones together, and what needs most memory at once.

    >>> list(longest_first([3, 9, 4], 2))
    [[1, 2], [0]]
    """
    order = sorted(range(len(lengths)), key=lambda at: -lengths[at])
    return (order[start : start + size] for start in range(0, len(order), size))


def drawn(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """`count` of the examples that are asked while training, by the seed alone."""
    order = torch.randperm(len(examples), generator=generator_for(seed, "validation"))
    return [examples[at] for at in order[:count].tolist()]


def some_of_both(right: NDArray[np.bool_], count: int) -> list[int]:
    """The first `count` places that are right, then as many that are wrong.

    >>> some_of_both(np.array([True, False, True, True]), 2)
    [0, 2, 1]
    """
    return [*np.flatnonzero(right)[:count].tolist(), *np.flatnonzero(~right)[:count].tolist()]


def mean(rows: NDArray[np.float64]) -> float:
    """The mean of all numbers, for `measured`."""
    return float(rows.mean())


class Measured(dict[str, Any]):
    """A figure as JSON holds it, {"value", "interval", …}, which remembers the rows that it was computed from.

    sign: -1 where less is better.
    """

    def __init__(
        self, rows: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], float], sign: int = 1
    ) -> None:
        known = len(rows) > 0
        super().__init__(
            value=statistic(rows) if known else None, interval=bootstrap_interval(rows, statistic) if known else None
        )
        self.rows, self.statistic, self.sign = rows, statistic, sign

    @property
    def count(self) -> int:
        """Of how many rows it is."""
        return len(self.rows)

    def set_gain(self, other: Measured) -> None:
        """Adds "gain": how much better the value is than another's of the same rows, above 0 also where less is better.

        Its interval draws each row for both or for neither.

        >>> ours = measured([1, 1, 0, 1])
        >>> ours.set_gain(measured([1, 0, 0, 0]))
        >>> ours["gain"]["value"]
        0.5
        """

        def difference(drawn: NDArray[np.float64]) -> float:
            at = drawn.astype(np.int64)
            return self.sign * (self.statistic(self.rows[at]) - other.statistic(other.rows[at]))

        self["gain"] = dict(measured(np.arange(self.count), difference))


def measured(
    rows: Any, statistic: Callable[[NDArray[np.float64]], float] = mean, *, less_is_better: bool = False, **also: Any
) -> Measured:
    """A figure and its 95 % bootstrap interval. rows: [N, ...], resampled by row; of no rows both are None.

    also: what stands beside them ("chance").
    """
    found = Measured(np.asarray(rows, np.float64), statistic, -1 if less_is_better else 1)
    found.update(also)
    return found
