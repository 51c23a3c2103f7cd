"""What the training loop trains: a protocol that pretraining and every task fill in."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from interbert.batch import Batch


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
