"""The training loop: steps of micro-batches over one or several processes, logged, validated, and resumed to the bit.

What is trained comes in as a `Job`; the model leaves with its last weights, or their average. A step's losses are
sums divided by the counts of all its pairs, so that neither the number of processes nor of micro-batches changes it.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn

from interbert.batch import Batch
from interbert.draws import seed_for
from interbert.errors import InterbertError
from interbert.files import write_json
from interbert.training.average import Average
from interbert.training.checkpoint import Checkpoint, Checkpoints, load_checkpoint
from interbert.training.interruption import Interruption, Stopped, stopped_by
from interbert.training.job import Job
from interbert.training.journal import Journal, Line
from interbert.training.memory import memory_kept
from interbert.training.optimizer import gradient_norm, learning_rate, make_optimizer, set_learning_rate
from interbert.training.parallel import Parallel, Shared, loss_of_a_process_explained
from interbert.training.precision import autocast, chosen_precision, fast_matmul
from interbert.training.prefetch import made_ahead
from interbert.training.settings import Training
from interbert.training.state import differences, machine_facts, restore, tensors_of
from interbert.workers import threads

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """How a run ended. losses: the means of the last line. seconds: of steps alone, over all resumes."""

    steps: int
    pairs: int
    seconds: float
    losses: dict[str, float]
    validation: dict[str, float]
    resumed_from: int | None


@dataclass(frozen=True)
class Legs:
    """A run in legs of so many steps; a leg's batches are made after it has begun.

    begin: called with the model, the step and `give_way` before each leg, on every process alike, without gradients, in
    evaluation mode, with the average's weights; where it returns false the run ends there. What takes long calls
    give_way() every second or so, on every process equally often: it raises Stopped where a wish to stop is to be
    granted. A run that goes on in the middle of a leg does not begin it again.
    """

    steps: int
    begin: Callable[[nn.Module, int, Callable[[], None]], bool]


@dataclass
class Progress:
    """What a run adds up while it goes; saved with each checkpoint, so that a resumed log is the unbroken one."""

    step: int = 0  # done updates
    pairs: int = 0
    seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)  # of the last line
    validation: dict[str, float] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)  # since the last line
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, sums: dict[str, float], counts: dict[str, float]) -> None:
        """Adds a step's sums and counts to those since the last line."""
        _add(self.sums, sums)
        _add(self.counts, counts)

    def means(self) -> dict[str, float]:
        """The losses since the last line; none where nothing was counted."""
        return {name: total / self.counts[name] for name, total in self.sums.items() if self.counts[name]}


def train(
    model: nn.Module,
    job: Job,
    settings: Training,
    out: Path,
    *,
    parallel: Parallel | None = None,
    progress: bool = True,
    on_log: Callable[[Line], None] | None = None,
    legs: Legs | None = None,
) -> Summary:
    """Trains `model` in place, on from the newest whole checkpoint in `out`, until the job's last step.

    Writes `out/training.jsonl` and `out/checkpoints/`. parallel: from `processes()`; None is this process alone, on the
    model's device. on_log is given every line of the log, on rank 0. legs: what is done between stretches of the run.

    A run that was stopped or killed ends with the bits of an unbroken one: on a CPU always, on a GPU where its kernels
    are deterministic. What that takes (threads, processes, libraries, settings, the job's fingerprint) is in the
    checkpoint, and a difference is refused unless settings.allow_inexact. Then the number of processes may change too,
    if the fingerprint, which names the pairs of a step, is the same.

    Raises InterbertError where a loss or gradient is not finite (its batch is in `out/nan-step-N.json`), a checkpoint
    can not be written, or the one found is of a run that differs; KeyboardInterrupt or SystemExit(143), with a
    checkpoint, after a signal.
    """
    parallel = parallel or Parallel(device=next(model.parameters()).device)
    with ExitStack() as stack:
        stack.enter_context(threads(settings.threads))
        stack.enter_context(memory_kept())
        stack.enter_context(_random_state_kept(parallel.device))
        fast = parallel.device.type == "cpu" and stack.enter_context(fast_matmul())
        checkpoints = Checkpoints(out / "checkpoints", settings.keep_checkpoints)
        if parallel.leads:
            stack.enter_context(checkpoints.lock())
        stack.enter_context(loss_of_a_process_explained(parallel))
        stop = stack.enter_context(Interruption())
        if parallel.leads:
            settings.warn_of_long_warmup(job.total_steps)
        run = _Run(model, job, settings, out, parallel, checkpoints, fast)
        resumed_from = run.resume()
        journal = Journal(
            out / "training.jsonl" if parallel.leads else None,
            start=run.at.step,
            total_steps=job.total_steps,
            progress=progress,
            tensorboard=settings.tensorboard,
            on_log=on_log,
        )
        run.go(stack.enter_context(journal), stop, legs)
        if run.average is not None:
            run.average.write_to(model)
    at = run.at
    return Summary(at.step, at.pairs, at.seconds, at.losses, at.validation, resumed_from)


class _Run:
    """A run between its start and its end: the model, its optimizer and average, and how far they are."""

    def __init__(
        self,
        model: nn.Module,
        job: Job,
        settings: Training,
        out: Path,
        parallel: Parallel,
        checkpoints: Checkpoints,
        fast: bool,
    ) -> None:
        self.job, self.settings, self.out, self.parallel, self.checkpoints = job, settings, out, parallel, checkpoints
        self.precision = chosen_precision(settings.precision, parallel.device)
        self.model = model.to(parallel.device).train()
        self.shared = Shared(self.model, parallel)
        self.optimizer = make_optimizer(self.model, settings)
        self.average = Average(self.model, settings.ema, settings.ema_warmup) if settings.ema else None
        self.facts = {
            "machine": machine_facts(parallel, self.precision, fast),
            "training": settings.exact_facts() | {"total_steps": job.total_steps},
            "job": json.loads(json.dumps(job.fingerprint())),  # as a checkpoint gives it back: tuples are lists
        }
        self.at = Progress()
        self.saved_at: int | None = None
        self.saved_when = time.monotonic()

    def resume(self) -> int | None:
        """Goes on from the newest whole checkpoint. Returns its step, or None where there is none."""
        folder = self.parallel.from_leader(self.checkpoints.newest() if self.parallel.leads else None)
        if folder is None:
            return None
        checkpoint = load_checkpoint(folder)
        self._refuse_differences(checkpoint, folder)
        restore(self.model, self.optimizer, self.average, checkpoint.tensors)
        self.at = Progress(**checkpoint.facts["progress"])
        self.saved_at = self.at.step
        log.info("going on from %s", folder)
        return self.at.step

    def _refuse_differences(self, checkpoint: Checkpoint, folder: Path) -> None:
        found = differences({name: checkpoint.facts[name] for name in self.facts}, self.facts)
        if not found:
            return
        said = "; ".join(found)
        other_processes = checkpoint.facts["machine"]["processes"] != self.parallel.world
        if other_processes and checkpoint.facts["job"] != self.facts["job"]:
            raise InterbertError(f"{folder}: another number of processes must train the same pairs a step ({said})")
        if not self.settings.allow_inexact:
            raise InterbertError(
                f"{folder} is of a run that differs, so going on would not end as it: {said}. Make them equal, start "
                "in another folder, or go on all the same with  --set training.allow_inexact=true"
            )
        log.warning("going on inexactly from %s: %s", folder, said)

    def go(self, journal: Journal, stop: Interruption, legs: Legs | None) -> None:
        """Steps until the last one, or until a leg does not begin."""
        total = self.job.total_steps
        while self.at.step < total:
            if legs is not None and self.at.step % legs.steps == 0 and not self._begins(legs, journal, stop):
                break
            end = total if legs is None else (self.at.step // legs.steps + 1) * legs.steps
            self._steps(min(end, total), journal, stop)
        self._save(journal)

    def _begins(self, legs: Legs, journal: Journal, stop: Interruption) -> bool:
        def give_way() -> None:
            if self.parallel.sum({"stop": stop.signal > 0})["stop"]:
                raise Stopped

        def begin(model: nn.Module) -> bool | None:
            try:
                return legs.begin(model, self.at.step, give_way)
            except Stopped:  # through the model's own call, which FSDP stands around, goes no error
                return None

        with self._averaged(), autocast(self.precision, self.parallel.device):
            begins = self.shared.look(begin)
        if begins is None:
            self._stop(journal, stop)
        return bool(begins)

    def _stop(self, journal: Journal, stop: Interruption) -> NoReturn:
        self._save(journal)
        raise stopped_by(stop.signal or signal.SIGTERM)

    def _steps(self, last: int, journal: Journal, stop: Interruption) -> None:
        """Steps up to `last`. A wish to stop, or a checkpoint due by the clock, is granted before a step."""

        def make(step: int) -> list[Batch]:
            return self.job.batches(step, self.parallel.rank, self.parallel.world)

        pace = _Pace(self.at)
        with made_ahead(make, self.at.step, last) as steps:
            for batches in steps:
                together = self._agreed(batches, stop)
                if together.stop:
                    self._stop(journal, stop)
                if together.save:
                    self._save(journal)
                norm = self._step(batches, together.counts)
                pace.end(self.at, together.pairs)
                journal.advance(sum(self.at.means().values()), pace.pairs_per_second)
                self._after_step(journal, norm, pace)
                pace.begin()

    def _agreed(self, batches: list[Batch], stop: Interruption) -> _Agreed:
        """Adds up, over all processes, what each must know before a step."""
        minutes, limit = (time.monotonic() - self.saved_when) / 60, self.settings.checkpoint_minutes
        due = self.parallel.leads and limit is not None and minutes >= limit
        mine = {"batches": len(batches), "pairs": sum(map(len, batches)), "stop": stop.signal > 0, "save": due}
        counts: dict[str, float] = {}
        for batch in batches:
            _add(counts, self.job.counts(batch))
        everyone = self.parallel.sum({**mine, **{COUNT + name: count for name, count in counts.items()}})
        if not batches or everyone["batches"] != len(batches) * self.parallel.world:
            raise ValueError(
                f"batches: got {len(batches)} on rank {self.parallel.rank}; wanted 1 or more, as many on each"
            )
        return _Agreed(
            counts={name: everyone[COUNT + name] for name in counts},
            pairs=int(everyone["pairs"]),
            stop=everyone["stop"] > 0,
            save=everyone["save"] > 0,
        )

    def _step(self, batches: list[Batch], counts: dict[str, float]) -> float:
        """One update. Returns the gradient's norm before clipping."""
        settings, step = self.settings, self.at.step
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer.zero_grad(set_to_none=True)
        mine: dict[str, float] = {}
        for number, batch in enumerate(batches):
            torch.manual_seed(seed_for(settings.seed, "dropout", step, self.parallel.rank, number))
            _add(mine, self._gradients(batch, counts, last=number == len(batches) - 1))
        sums = self.parallel.sum(mine)
        norm = gradient_norm(parameters)
        if not all(map(math.isfinite, [*sums.values(), float(norm)])):
            self._stop_for_a_number(batches, sums, float(norm))
        if settings.gradient_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, settings.gradient_clip, norm)
        set_learning_rate(self.optimizer, learning_rate(settings, step, self.job.total_steps))
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model, step)
        self.at.add(sums, counts)
        self.at.step += 1
        return float(norm)

    def _gradients(self, batch: Batch, counts: dict[str, float], last: bool) -> dict[str, float]:
        """Adds a micro-batch's gradients to those that are there. Returns its sums."""
        moved = batch.to(self.parallel.device)
        with self.shared.gradients(last):
            with autocast(self.precision, self.parallel.device):
                sums = self.shared.run(lambda model: self.job.losses(model, moved))
            loss = torch.stack([sums[name].float() / max(counts[name], 1.0) for name in sorted(counts)]).sum()
            (loss * self.parallel.world).backward()  # type: ignore[no-untyped-call]  # DDP and FSDP take the mean
        return {name: float(value.detach()) for name, value in sums.items()}

    def _stop_for_a_number(self, batches: list[Batch], sums: dict[str, float], norm: float) -> None:
        """Writes down what the step was made of, and raises. Nothing of it was applied or saved."""
        file = self.out / f"nan-step-{self.at.step}.json"
        ids = self.parallel.gathered([batch.ids for batch in batches])
        if self.parallel.leads:
            numbers = {"losses": {name: repr(value) for name, value in sums.items()}, "gradient_norm": repr(norm)}
            write_json(file, {"step": self.at.step, **numbers, "ids": ids})
        raise InterbertError(
            f"step {self.at.step}: a loss or the gradient is not finite (sums {sums}, gradient norm {norm}). Its "
            f"pairs are in {file}. To go on from the last checkpoint, which is older, give  --set "
            "training.allow_inexact=true  with  --set training.precision=fp32  or a smaller training.learning_rate"
        )

    def _after_step(self, journal: Journal, norm: float, pace: _Pace) -> None:
        step, last, settings = self.at.step, self.at.step == self.job.total_steps, self.settings
        if last or step % settings.log_every == 0:
            self.at.losses = self.at.means()
            self.at.sums, self.at.counts = {}, {}
            line: Line = {"step": step, "stage": self.job.stage(step - 1), "losses": self.at.losses}
            rate = learning_rate(settings, step - 1, self.job.total_steps)
            journal.write(line | {"learning_rate": rate, "gradient_norm": norm} | pace.line(self.at))
        if last or (settings.validate_every is not None and step % settings.validate_every == 0):
            self.at.validation = self._validate()
            journal.write({"step": step, "validation": self.at.validation})
        if settings.checkpoint_every is not None and step % settings.checkpoint_every == 0:
            self._save(journal)

    def _validate(self) -> dict[str, float]:
        """The job's metrics, of the average where there is one."""
        with self._averaged(), autocast(self.precision, self.parallel.device):
            return self.shared.look(lambda model: self.job.validate(model, self.at.step))

    def _averaged(self) -> AbstractContextManager[None]:
        """Inside, the model has the average's weights, where there is an average."""
        return nullcontext() if self.average is None else self.average.in_place_of(self.model)

    def _save(self, journal: Journal) -> None:
        if self.saved_at != self.at.step:
            tensors = tensors_of(self.model, self.optimizer, self.average, self.parallel)
            if self.parallel.leads:
                journal.sync()
                self.checkpoints.save(self.at.step, tensors, {**self.facts, "progress": asdict(self.at)})
        self.saved_at, self.saved_when = self.at.step, time.monotonic()


COUNT = "count of "  # keeps the names of losses apart from the other numbers that processes add up


@dataclass(frozen=True)
class _Agreed:
    """What all processes know alike before a step. counts: of each loss, over all pairs of the step."""

    counts: dict[str, float]
    pairs: int
    stop: bool
    save: bool


class _Pace:
    """How fast steps are, without saves and validations: the last one for people, those of a line for the log."""

    def __init__(self, at: Progress) -> None:
        self.pairs_per_second = 0.0
        self._line = (at.seconds, at.pairs)
        self.begin()

    def begin(self) -> None:
        """A step begins, with the wait for its batches."""
        self._began = time.monotonic()

    def end(self, at: Progress, pairs: int) -> None:
        """A step of so many pairs is done."""
        taken = time.monotonic() - self._began
        self.pairs_per_second = pairs / taken
        at.seconds += taken
        at.pairs += pairs

    def line(self, at: Progress) -> Line:
        """The fields of a line, which starts a new stretch."""
        pairs_per_second = (at.pairs - self._line[1]) / (at.seconds - self._line[0])
        self._line = (at.seconds, at.pairs)
        return {"pairs_per_second": round(pairs_per_second, 2), "seconds": round(at.seconds, 3)}


def _add(total: dict[str, float], more: Mapping[str, float]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0.0) + value


@contextmanager
def _random_state_kept(device: torch.device) -> Iterator[None]:
    """The caller's random numbers go on as if there had been no training."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
