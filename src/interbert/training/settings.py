"""How a model is trained: the numbers of A.2 and the habits of the run, as one frozen dataclass."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from interbert.errors import UsageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """Settings of `train`. What changes the weights is marked in `exact_facts`; the rest may change between resumes."""

    learning_rate: float = 1e-4  # the peak (A.2)
    faster: tuple[
        str, ...
    ] = ()  # beginnings of parameters' names that learn at `faster_by` times the rate: new weights
    faster_by: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)  # A.2; section 4.4 has 0.9999 for the second
    eps: float = 1e-6  # A.2
    weight_decay: float = 0.01  # A.2; of matrices only, never of biases and norms
    warmup_steps: int | None = None  # the paper: 10,000; None: warmup_share of the run
    warmup_share: float = 0.1
    gradient_clip: float | None = 1.0  # largest global norm of the gradient; None: not clipped; the paper is silent
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 arithmetic where the device has it
    ema: float | None = None  # rate of the average of the weights (A.2: 0.9999 in finetuning); None: no average
    ema_warmup: bool = True  # rate min(ema, (1+t)/(10+t)); False: the pure one, which a short run never leaves
    seed: int = 0
    threads: int | None = None  # of one process; None: as they are
    log_every: int = 10  # steps
    validate_every: int | None = None  # steps; None: at the end only
    checkpoint_every: int | None = 1000  # steps
    checkpoint_minutes: float | None = None
    keep_checkpoints: int = 2
    tensorboard: bool = False
    allow_inexact: bool = False  # resume although something differs that makes the result differ

    def __post_init__(self) -> None:
        for name in ("learning_rate", "faster_by", "eps", "log_every", "keep_checkpoints"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}: got {getattr(self, name)}, wanted more than 0")
        for name in ("gradient_clip", "validate_every", "checkpoint_every", "checkpoint_minutes", "threads"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name}: got {value}, wanted more than 0, or none")
        for name, value in (("warmup_share", self.warmup_share), ("ema", self.ema or 0.0)):
            if not 0 <= value < 1:
                raise UsageError(f"{name}: got {value}, wanted at least 0 and less than 1")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise UsageError(f"betas: got {self.betas}, wanted two numbers of at least 0 and less than 1")
        if self.weight_decay < 0 or (self.warmup_steps or 0) < 0:
            raise UsageError("weight_decay and warmup_steps: wanted at least 0")

    def warn_of_long_warmup(self, total_steps: int) -> None:
        """Says where the rate of a run of so many steps never reaches its peak."""
        if (self.warmup_steps or 0) >= total_steps > 0:
            log.warning("warmup_steps=%d is not over at the run's end, step %d: the rate never reaches %g; give fewer",
                        self.warmup_steps, total_steps, self.learning_rate)  # fmt: skip

    def exact_facts(self) -> dict[str, object]:
        """The settings that a run must share with a checkpoint to go on as if it had never stopped."""
        names = (
            "learning_rate",
            "faster_by",
            "eps",
            "weight_decay",
            "warmup_steps",
            "gradient_clip",
            "ema",
            "ema_warmup",
            "seed",
        )
        share = None if self.warmup_steps is not None else self.warmup_share
        lists = {"betas": list(self.betas), "faster": list(self.faster)}
        return {name: getattr(self, name) for name in names} | lists | {"warmup_share": share}
