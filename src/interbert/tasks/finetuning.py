"""`interbert finetune`: a task, a start and a recipe in, a run folder out (4.4 and A.2), going on where it stopped.

The loop, its exact resume and the average of the weights are those of pretraining (`training/loop.py`); here are the
batches of a task, its best checkpoint, and what a finetuned run leaves.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor, nn

from interbert.batch import Batch
from interbert.draws import generator_for
from interbert.errors import InterbertError, UsageError
from interbert.files import whole_file, write_json
from interbert.model.interbert import InterBert
from interbert.model.pretrained import HEAD_FILE, NOT_STATED
from interbert.pretraining.batches import epoch_plan
from interbert.pretraining.card import about_finetuning
from interbert.pretraining.run import refuse_finished_run
from interbert.tasks.finetuned import (
    BEFORE_FILE,
    SEEDS_FILE,
    TASK_FILE,
    measuring,
    read_before,
    with_head,
    write_examples,
    write_task_report,
)
from interbert.tasks.starting import Start, start_from
from interbert.tasks.table import task_kind
from interbert.tasks.task import Given, Task, TaskModel
from interbert.training.job import micro_batches
from interbert.training.journal import Line, read_journal
from interbert.training.loop import Legs, Summary, train
from interbert.training.parallel import Parallel, processes, whole_weights
from interbert.training.precision import chosen_precision
from interbert.training.settings import Training

log = logging.getLogger(__name__)
BEST = "best"  # the folder of the best weights while a run goes
SHOWN = 20  # examples right, and as many wrong, in the report


@dataclass(frozen=True)
class Finetuning:
    """A finetuning, whole. `recipes.py` has the named ones. options: the task's own settings, a frozen dataclass."""

    task: str
    options: Any
    epochs: int = 20
    batch_size: int = 32  # training examples a step over all processes
    micro_batch_size: int | None = None  # examples at a time in one process; None: a process's whole share
    min_regions: int = 1  # a picture with fewer is left out, and counted
    max_regions: int | None = 100  # of a picture, the best so many; None: as many as there are
    dropout: float | None = None  # of all layers; None: as the model was pretrained
    early_stop: int | None = None  # epochs end after so many validations without gain; None: never
    training: Training = field(default_factory=lambda: Training(ema=0.9999))

    def __post_init__(self) -> None:
        task_kind(self.task)
        for name in ("epochs", "batch_size", "micro_batch_size", "min_regions", "max_regions", "early_stop"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name}: got {value}, wanted at least 1")
        if self.max_regions is not None and self.max_regions < self.min_regions:
            raise UsageError(f"max_regions: got {self.max_regions}, wanted at least min_regions, {self.min_regions}")


@dataclass(frozen=True)
class Finished:
    """How a finetuning ended. best_step: of the validation whose weights the run has; None where there was none.

    before: the validation of the start, of a task without a head of its own, else empty.
    """

    summary: Summary
    best_step: int | None
    validation: dict[str, float]
    before: dict[str, float]


class FinetuneJob:
    """A task's training examples as a `Job` of the loop. Deterministic in (seed, step)."""

    def __init__(
        self, task: Task, plan: Finetuning, out: Path, parallel: Parallel | None = None, start: str = ""
    ) -> None:
        self.task, self.plan, self.out, self.seed = task, plan, out, plan.training.seed
        self.parallel, self.start = parallel or Parallel(), start
        self.lengths = task.lengths
        self.steps_per_epoch = len(self.lengths) // plan.batch_size
        self._epoch: tuple[int, NDArray[np.int64]] | None = None
        if len(self.lengths) == 0:
            raise InterbertError(f"{plan.task}: no training example is left; what was left out, and why, stands above")
        if self.steps_per_epoch == 0:
            raise InterbertError(
                f"{plan.task}: got {len(self.lengths)} training examples, wanted at least one batch of "
                f"{plan.batch_size}; give a smaller batch_size"
            )

    @property
    def total_steps(self) -> int:
        """Updates of all epochs."""
        return self.steps_per_epoch * self.plan.epochs

    def stage(self, step: int) -> str:
        """The task's name."""
        return self.plan.task

    def batches(self, step: int, rank: int, world: int) -> list[Batch]:
        """The rank's micro-batches of a step."""
        epoch, examples = self.examples_of(step)
        made: list[Batch] = []
        for places in micro_batches(self.plan.batch_size, self.plan.micro_batch_size, rank, world):
            generators = [generator_for(self.seed, "example", step, place) for place in places]
            made.append(self.task.make(examples[places.start : places.stop], generators, epoch))
        return made

    def examples_of(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """The epoch of a step, from 0, and its global batch of training examples."""
        epoch, at = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            order = generator_for(self.seed, "order", epoch)
            examples = np.arange(len(self.lengths))
            self._epoch = epoch, epoch_plan(examples, self.lengths, self.plan.batch_size, order)
        return epoch, self._epoch[1][at]

    def begin(self, model: nn.Module, step: int, give_way: Callable[[], None]) -> bool:
        """Before an epoch: what the task makes with the model; false where validations have long brought no gain."""
        assert isinstance(model, TaskModel)
        if self.parallel.from_leader(self.parallel.leads and self._had_enough()):
            log.info("no gain in %d validations: stopped at step %d", self.plan.early_stop, step)
            return False
        if step == 0 and model.head is None:
            self._measure_the_start(model)
        self.task.begin_epoch(model, step // self.steps_per_epoch, self.parallel, give_way)
        return True

    def counts(self, batch: Batch) -> dict[str, float]:
        """The task's."""
        return self.task.counts(batch)

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The task's."""
        assert isinstance(model, TaskModel)
        return self.task.losses(model, batch)

    def validate(self, model: nn.Module, step: int) -> dict[str, float]:
        """The task's figures; where they are the best so far, the weights are kept in the run's folder."""
        assert isinstance(model, TaskModel)
        found = self.task.validate(model)
        value = found.get(self.task.metric, math.nan)
        before = self._best() if self.parallel.leads else None
        if self.parallel.from_leader(self.parallel.leads and (before is None or value > before[1])):
            weights = whole_weights(model)
            if self.parallel.leads and not math.isnan(value):
                keep_best(self.out, step, weights)
        return found

    def fingerprint(self) -> dict[str, Any]:
        """What a resumed run must share: the data, the start and the plan without the loop's own settings."""
        plan = {name: value for name, value in asdict(self.plan).items() if name not in ("training", "early_stop")}
        return {"plan": plan, "data": self.task.fingerprint(), "start": self.start}

    def validations(self) -> list[tuple[int, float]]:
        """(step, metric) of every validation that the run's log has."""
        journal = self.out / "training.jsonl"
        return metric_of(read_journal(journal), self.task.metric) if journal.is_file() else []

    def _measure_the_start(self, model: TaskModel) -> None:
        """The figures of a model that has the task's head already: what finetuning has to beat."""
        found = self.task.validate(model)
        if self.parallel.leads:
            write_json(self.out / BEFORE_FILE, found)

    def _best(self) -> tuple[int, float] | None:
        return best_of(self.validations())

    def _had_enough(self) -> bool:
        done, best = self.validations(), self._best()
        if self.plan.early_stop is None or best is None:
            return False
        return sum(step > best[0] for step, _ in done) >= self.plan.early_stop


def metric_of(lines: Sequence[Line], metric: str) -> list[tuple[int, float]]:
    """(step, value) of each validation that has a number for the metric."""
    found = [(line["step"], line["validation"].get(metric, math.nan)) for line in lines if "validation" in line]
    return [(int(step), float(value)) for step, value in found if not math.isnan(value)]


def best_of(validations: Sequence[tuple[int, float]]) -> tuple[int, float] | None:
    """The greatest metric, of equals the earliest; None of none.

    >>> best_of([(10, 0.5), (20, 0.7), (30, 0.7)])
    (20, 0.7)
    """
    return max(validations, key=lambda one: (one[1], -one[0]), default=None)


def keep_best(out: Path, step: int, weights: dict[str, Tensor]) -> None:
    """Writes the weights to `best/`; the best before stays beside them, what is older goes."""
    folder = out / BEST
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(_best_file(out, step), "wb") as file:
        file.write(save({name: tensor.contiguous() for name, tensor in weights.items()}))
    others = sorted(path for path in folder.glob("step-*.safetensors") if path != _best_file(out, step))
    for path in others[:-1]:
        path.unlink()


def _best_file(out: Path, step: int) -> Path:
    return out / BEST / f"step-{step:08d}.safetensors"


def finetune(
    name: str,
    data: Path,
    start: str,
    out: Path,
    plan: Finetuning,
    *,
    store: Path | None = None,
    progress: bool = True,
    parallel: Literal["auto", "ddp", "fsdp"] = "auto",
) -> Finished:
    """Finetunes the model that `start` names on the task's data and leaves a run folder.

    start: a run's folder or a new model, see `starting.py`. store: the region store of data that names pictures. Given
    the same again, an unfinished run goes on exactly; of a finished one nothing changes. The weights left are the
    average's at the best validation. Raises as `train`, and what the task's data are refused for.
    """
    _refuse_another_run(out, start)
    begun = start_from(start, plan.training.seed, data, store, plan.dropout)
    begun = replace(begun, model=task_kind(name).prepared(begun.model))
    given = Given(
        name=name,
        tokenizer=begun.tokenizer,
        extractor=begun.extractor,
        config=begun.model.config,
        seed=plan.training.seed,
        min_regions=plan.min_regions,
        max_regions=plan.max_regions,
        store=store,
        out=out,
    )
    task = task_kind(name).open(data, plan.options, given)
    torch.manual_seed(plan.training.seed)
    model = TaskModel(begun.model, task.head(begun.model.config))
    out.mkdir(parents=True, exist_ok=True)
    with processes(parallel) as joined:
        job = FinetuneJob(task, plan, out, joined, begun.identity)
        legs = Legs(job.steps_per_epoch, job.begin)
        settings = _validating(plan.training, job.steps_per_epoch)
        summary = train(model, job, settings, out, parallel=joined, progress=progress, legs=legs)
        weights = whole_weights(model)
        best = job.parallel.from_leader(_chosen(job) if joined.leads else None)
        found = {}
        if joined.leads:
            found = _leave(out, plan, task, begun, weights, best)
            task_kind(name).carry_over(Path(start), out)
            about = about_finetuning(plan, start, begun.extractor, summary, best, found)
            _show(out, plan, task, about, joined.device)
    return Finished(summary, best, found, read_before(out))


def _refuse_another_run(out: Path, start: str) -> None:
    if out.exists() and Path(start).exists() and out.samefile(start):
        raise UsageError(f"--out: got '{out}', the run that is finetuned; give another folder")
    if (out / SEEDS_FILE).exists():
        raise UsageError(f"--out: '{out}' holds the runs of several seeds; give --seeds, or another folder")
    if (out / "config.json").exists() and not (out / TASK_FILE).exists():
        raise InterbertError(f"'{out}' holds a run that was not finetuned; give another --out")
    refuse_finished_run(out)


def _validating(training: Training, steps_per_epoch: int) -> Training:
    """Once an epoch, where nothing else is said."""
    return training if training.validate_every else replace(training, validate_every=steps_per_epoch)


def _chosen(job: FinetuneJob) -> int | None:
    """The step of the best validation whose weights are there."""
    ranked = sorted(job.validations(), key=lambda one: (-one[1], one[0]))
    for step, _ in ranked:
        if _best_file(job.out, step).is_file():
            return step
        log.warning("the weights of the best validation, step %d, are not there; taking the next best", step)
    return None


def _leave(
    out: Path, plan: Finetuning, task: Task, begun: Start, weights: dict[str, Tensor], best: int | None
) -> dict[str, float]:
    """Writes what a finetuned run has beside its log and checkpoints. Returns the figures of the best validation."""
    config = begun.model.config
    model = TaskModel(InterBert(config), task.head(config)).eval()
    model.load_state_dict(weights if best is None else load_file(_best_file(out, best)))
    lines = read_journal(out / "training.jsonl")
    found = {line["step"]: line["validation"] for line in lines if "validation" in line}
    validation: dict[str, float] = {} if best is None else found[best]
    if best is None:
        log.warning("no validation gave a %s to choose by (is there a validation split?): the run has its last weights",
                    task.metric)  # fmt: skip
    regions = {"min_regions": plan.min_regions, "max_regions": plan.max_regions}
    kept = {"task": plan.task, "options": asdict(plan.options), **regions, "facts": task.facts()}
    kept["trained_on"] = task.digest("train")
    write_json(out / TASK_FILE, {**kept, "best_step": best, "validation": validation})  # first: it says whose run it is
    begun.tokenizer.save(out / "tokenizer.json")
    begun.extractor.save(out / "extractor.json")
    model.backbone.save_pretrained(out)
    if model.head is not None:
        with whole_file(out / HEAD_FILE, "wb") as file:
            file.write(save({name: tensor.contiguous() for name, tensor in model.head.state_dict().items()}))
    return validation


def _show(out: Path, plan: Finetuning, task: Task, about: str, device: torch.device) -> None:
    """The model card, and the report with examples of the validation split."""
    model = with_head(InterBert.from_pretrained(out), task, out).to(device).eval()
    model.backbone.write_card(out, about, NOT_STATED)
    with measuring(chosen_precision(plan.training.precision, device), device):
        write_examples(out, task.examples(model, SHOWN))
    write_task_report(out, task.published)
