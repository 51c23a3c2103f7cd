"""What the training loop trains: a protocol that pretraining and every task fill in, and how a step is cut."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from interbert.batch import Batch
from interbert.errors import UsageError


class Job(Protocol):
    """What is trained: batches as a pure function of the step, losses as sums with their counts."""

    @property
    def total_steps(self) -> int:
        """How many updates the run has."""

    def stage(self, step: int) -> str:
        """The name of the stage that the step belongs to, for the log."""

    def batches(self, step: int, rank: int, world: int) -> list[Batch]:
        """The rank's micro-batches of a step: one or more, as many on every rank; of all ranks together the same pairs.

        Called in a thread, so it may depend on nothing but its arguments and the job's own seed.
        """

    def counts(self, batch: Batch) -> dict[str, float]:
        """How many things each loss is the sum over: masked words, masked regions, pairs."""

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The losses as sums over the batch, under the names of `counts`; scalars with a gradient."""

    def validate(self, model: nn.Module, step: int) -> dict[str, float]:
        """Metrics by name. Called on every process alike, without gradients, in evaluation mode."""

    def fingerprint(self) -> dict[str, Any]:
        """JSON values that must be equal for an exact resume: the corpus's digest, the recipe, the pairs of a step."""


def micro_batches(size: int, micro: int | None, rank: int, world: int) -> list[range]:
    """The places that a rank's micro-batches have in a step's batch of `size`; micro None: all of its share at once.

    >>> micro_batches(12, 4, rank=1, world=2)
    [range(6, 10), range(10, 12)]
    """
    if size % world:
        raise UsageError(f"batch_size: got {size} for {world} processes, wanted a multiple")
    share = size // world
    first, end, step = rank * share, (rank + 1) * share, min(micro or share, share)
    return [range(start, min(start + step, end)) for start in range(first, end, step)]
