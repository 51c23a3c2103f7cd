"""Pretraining as a `Job` of the training loop: steps, stages, batches, losses, validation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from interbert.batch import Batch
from interbert.config import ModelConfig, preset
from interbert.draws import generator_for
from interbert.errors import InterbertError, UsageError
from interbert.model.interbert import InterBert
from interbert.pretraining import objectives
from interbert.pretraining.batches import (
    AnyCorpus,
    Augmentation,
    BatchMaker,
    DrawnPairs,
    draw_pairs,
    epoch_plan,
    own_pairs,
)
from interbert.pretraining.evaluation import Pool, quick_validation
from interbert.pretraining.stages import Masking, Stage
from interbert.text.tokenizer import Tokenizer
from interbert.training.job import micro_batches
from interbert.training.settings import Training


@dataclass(frozen=True)
class Pretraining:
    """A pretraining run, whole: the model, the stages, the numbers. `recipes.py` has the named ones."""

    model: ModelConfig = field(default_factory=lambda: preset("paper"))
    stages: tuple[Stage, ...] = (Stage("msm", "mrm", epochs=20),)
    batch_size: int = 512  # pairs a step over all processes (A.2); half of them negatives
    micro_batch_size: int | None = None  # pairs at a time in one process; None: a process's whole share. The contrast
    # of matching "alone" and hard negatives are over a micro-batch, so they depend on it and on the processes
    masking: Masking = field(default_factory=Masking)
    augmentation: Augmentation = field(default_factory=Augmentation)
    training: Training = field(default_factory=Training)
    validation_pairs: int = 512  # of the validation split, half of them negatives
    validation_pool: int = 100  # pictures ranked for a text each while training

    def __post_init__(self) -> None:
        if not self.stages or any(stage.epochs < 1 for stage in self.stages):
            raise UsageError("stages: wanted at least one, each of at least 1 epoch")
        micro = self.micro_batch_size
        least = {"batch_size": (self.batch_size, 2), "micro_batch_size": (1 if micro is None else micro, 1)}
        least |= {"validation_pairs": (self.validation_pairs, 1), "validation_pool": (self.validation_pool, 1)}
        for name, (got, wanted) in least.items():
            if got < wanted:
                raise UsageError(f"{name}: got {got}, wanted at least {wanted}")


@dataclass(eq=False)
class StagedBatch(Batch):
    """A batch that knows the stage it was made for."""

    stage: Stage = field(default_factory=Stage)


class PretrainingJob:
    """Batches of a corpus's training split by a `Pretraining`. Deterministic in (seed, step).

    init: what the model was started from, as a part of the run's identity.
    """

    def __init__(self, corpus: AnyCorpus, tokenizer: Tokenizer, plan: Pretraining, init: str | None = None) -> None:
        self.corpus, self.plan, self.init, self.seed = corpus, plan, init, plan.training.seed
        self.texts = corpus.split("train")
        self.maker = BatchMaker(corpus, tokenizer, plan.masking, plan.augmentation)
        self.pool = Pool.of(corpus, self.maker.plain(), self.seed, plan.validation_pairs, plan.validation_pool)
        self.steps_per_epoch = len(self.texts) // plan.batch_size
        self._epoch: tuple[int, NDArray[np.int64]] | None = None
        if self.steps_per_epoch == 0:
            raise InterbertError(
                f"got {len(self.texts)} training texts, wanted at least one batch of {plan.batch_size}; "
                "give a smaller batch_size"
            )
        longest = int(corpus.lengths.max())
        if longest > plan.model.max_text_tokens:
            raise UsageError(
                f"max_text_tokens: got {plan.model.max_text_tokens}, wanted at least {longest}, "
                "which the longest text of the corpus has"
            )

    @property
    def total_steps(self) -> int:
        """Updates of all stages."""
        return self.steps_per_epoch * sum(stage.epochs for stage in self.plan.stages)

    def stage(self, step: int) -> str:
        """The name of the step's stage."""
        return self.stage_of(step).name

    def stage_of(self, step: int) -> Stage:
        """The stage that a step belongs to; past the end, the last one."""
        epoch = step // self.steps_per_epoch
        for stage in self.plan.stages:
            if epoch < stage.epochs:
                return stage
            epoch -= stage.epochs
        return self.plan.stages[-1]

    def pairs(self, step: int) -> DrawnPairs:
        """The global batch of a step."""
        epoch, at = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            lengths = self.corpus.lengths[self.texts].astype(np.int64)
            order = generator_for(self.seed, "order", epoch)
            self._epoch = epoch, epoch_plan(self.texts, lengths, self.plan.batch_size, order)
        texts = self._epoch[1][at]
        images = np.array([self.corpus.image_of(int(text)) for text in texts], np.int64)
        stage = self.stage_of(step)
        if stage.matching == "none":
            return own_pairs(texts, images)
        pairs = draw_pairs(texts, images, generator_for(self.seed, "negatives", step), self.maker.belonging)
        late = stage.draws_late or stage.matching == "alone"
        return DrawnPairs(texts, images, pairs.is_match) if late else pairs

    def batches(self, step: int, rank: int, world: int) -> list[Batch]:
        """The rank's micro-batches of a step."""
        pairs, stage = self.pairs(step), self.stage_of(step)
        made: list[Batch] = []
        for places in micro_batches(self.plan.batch_size, self.plan.micro_batch_size, rank, world):
            generators = [generator_for(self.seed, "pair", step, place) for place in places]
            batch = self.maker.make(pairs.part(slice(places.start, places.stop)), stage, generators)
            made.append(StagedBatch(**vars(batch), stage=stage))
        return made

    def counts(self, batch: Batch) -> dict[str, float]:
        """Scored words, scored regions, pairs."""
        assert isinstance(batch, StagedBatch)
        return objectives.counts(batch, batch.stage)

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Sums of the stage's objectives."""
        assert isinstance(model, InterBert)
        assert isinstance(batch, StagedBatch)
        return objectives.losses(model, batch, batch.stage)

    def validate(self, model: nn.Module, step: int) -> dict[str, float]:
        """Word, region and matching accuracy and a small retrieval, on pictures that training never saw."""
        assert isinstance(model, InterBert)
        return quick_validation(model, self.pool, self.stage_of(max(step - 1, 0)))

    def fingerprint(self) -> dict[str, Any]:
        """What a resumed run must share: the corpus and the plan without the loop's own settings."""
        plan = asdict(self.plan)
        del plan["training"]
        return {"corpus": self.corpus.digest, "plan": plan, "init": self.init}
