"""interbert.training.loop: one process, on a toy. Several: test_parallel.py; kills: faults/test_resume.py."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy import ToyJob, ToyModel, lines_without_timing

from interbert.batch import Batch
from interbert.errors import InterbertError
from interbert.training import interruption
from interbert.training.loop import Legs, Summary, train
from interbert.training.optimizer import learning_rate
from interbert.training.settings import Training

SETTINGS = Training(learning_rate=0.01, precision="fp32", log_every=4, validate_every=6, checkpoint_every=5, ema=0.9)


class Interrupted(ToyJob):
    """A toy job that does something to its own program while step `at` computes."""

    def __init__(self, at: int, act: Callable[[], object], total_steps: int = 12) -> None:
        super().__init__(total_steps)
        self.at, self.act = at, act

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if batch.ids[0] == f"{self.at}-0":
            self.act()
        return super().losses(model, batch)


def crash() -> None:
    raise ZeroDivisionError


def run(job: ToyJob, out: Path, settings: Training = SETTINGS, model: ToyModel | None = None) -> Summary:
    return train(model or ToyModel(), job, settings, out, progress=False)


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(map(torch.equal, weights(one), weights(other)))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[ToyModel, Path]:
    model, out = ToyModel(), tmp_path_factory.mktemp("unbroken")
    run(ToyJob(), out, model=model)
    return model, out


def test_a_run_learns(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    settings = replace(SETTINGS, learning_rate=0.05, log_every=20, checkpoint_every=None, ema=None)
    train(ToyModel(0.0), ToyJob(80), settings, tmp_path, progress=False, on_log=lines.append)
    words = [line["losses"]["words"] for line in lines if "losses" in line]
    assert words[-1] < words[0] / 2


def test_a_warm_up_that_is_longer_than_the_run_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(ToyJob(), tmp_path, replace(SETTINGS, warmup_steps=10_000))
    assert "warmup_steps=10000 is not over at the run's end" in caplog.text


def test_the_log_has_a_line_a_log_step_and_lines_of_validation(unbroken: tuple[ToyModel, Path]) -> None:
    lines = lines_without_timing(unbroken[1])
    assert [(line["step"], "validation" in line) for line in lines] == [
        (4, False), (6, True), (8, False), (12, False), (12, True)
    ]  # fmt: skip
    assert [line["stage"] for line in lines if "stage" in line] == ["first", "second", "second"]
    assert lines[0].keys() == {"step", "stage", "losses", "learning_rate", "gradient_norm"}
    assert lines[0]["learning_rate"] == learning_rate(SETTINGS, 3, 12)


def test_a_logged_loss_is_the_mean_over_all_that_was_counted_since_the_line_before(tmp_path: Path) -> None:
    job, model = ToyJob(2), ToyModel(0.0)
    [batch], [other] = ToyJob(micro_batch=8).batches(0, 0, 1), ToyJob(micro_batch=8).batches(1, 0, 1)
    with torch.no_grad():
        sums = [float(job.losses(model, part)["words"]) for part in (batch, other)]
    counts = [job.counts(part)["words"] for part in (batch, other)]
    run(job, tmp_path, replace(SETTINGS, learning_rate=1e-12, log_every=2), model)
    assert lines_without_timing(tmp_path)[0]["losses"]["words"] == pytest.approx(sum(sums) / sum(counts), rel=1e-6)


def test_micro_batches_change_nothing_without_dropout(tmp_path: Path) -> None:
    one, four = ToyModel(0.0), ToyModel(0.0)
    run(ToyJob(micro_batch=8), tmp_path / "one", model=one)
    run(ToyJob(micro_batch=2), tmp_path / "four", model=four)
    for a, b in zip(weights(one), weights(four), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_an_update_is_that_of_the_plain_formula(tmp_path: Path) -> None:
    ours, theirs, job = ToyModel(0.0), ToyModel(0.0), ToyJob(1, micro_batch=8)
    run(job, tmp_path, replace(SETTINGS, ema=None, weight_decay=0.0, gradient_clip=0.5, warmup_steps=0), ours)
    [batch] = job.batches(0, 0, 1)
    losses, counts = job.losses(theirs, batch), job.counts(batch)
    (losses["words"] / counts["words"] + losses["matching"] / 8).backward()  # type: ignore[no-untyped-call]
    assert nn.utils.clip_grad_norm_(theirs.parameters(), 0.5) > 0.5
    torch.optim.AdamW(theirs.parameters(), 0.01, (0.9, 0.999), 1e-6, 0.0).step()
    for a, b in zip(weights(ours), weights(theirs), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_dropout_depends_on_the_seed_alone(tmp_path: Path) -> None:
    models = [ToyModel(), ToyModel(), ToyModel()]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        torch.manual_seed(id(model) % 1000)  # the caller's random state plays no part
        run(ToyJob(3), tmp_path / str(id(model)), replace(SETTINGS, seed=seed), model)
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])


def test_the_callers_random_numbers_go_on_as_if_there_had_been_no_training(tmp_path: Path) -> None:
    model = ToyModel()
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    run(ToyJob(2), tmp_path, model=model)
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("at", [0, 4, 7, 11])
def test_a_broken_run_ends_as_the_unbroken_one(at: int, tmp_path: Path, unbroken: tuple[ToyModel, Path]) -> None:
    with pytest.raises(ZeroDivisionError):
        run(Interrupted(at, crash), tmp_path)
    model = ToyModel()
    assert run(ToyJob(), tmp_path, model=model).resumed_from == {0: None, 4: None, 7: 5, 11: 10}[at]
    assert equal(model, unbroken[0])
    assert lines_without_timing(tmp_path) == lines_without_timing(unbroken[1])


def test_a_done_run_gives_its_weights_again(tmp_path: Path, unbroken: tuple[ToyModel, Path]) -> None:
    run(ToyJob(), tmp_path)
    model = ToyModel()
    summary = run(ToyJob(), tmp_path, model=model)
    assert (summary.resumed_from, summary.steps, summary.pairs) == (12, 12, 96)
    assert summary.validation == lines_without_timing(unbroken[1])[-1]["validation"]
    assert equal(model, unbroken[0])


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_the_run_after_the_step_with_a_checkpoint(
    number: int, error: type[BaseException], tmp_path: Path, unbroken: tuple[ToyModel, Path]
) -> None:
    with pytest.raises(error) as caught:
        run(Interrupted(7, lambda: os.kill(os.getpid(), number)), tmp_path)
    assert number == signal.SIGINT or caught.value.code == 143  # type: ignore[attr-defined]
    model = ToyModel()
    assert run(ToyJob(), tmp_path, model=model).resumed_from == 8
    assert equal(model, unbroken[0])


def test_a_second_signal_ends_the_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "SAME_WISH_SECONDS", 0.0)

    def insist() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(7, insist), tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*")) == ["step-00000005"]


def test_signals_are_the_callers_again_afterwards(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run(ToyJob(1), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_number_that_is_not_finite_stops_the_run_and_is_never_saved(what: str, tmp_path: Path) -> None:
    class Broken(ToyJob):
        def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            losses = super().losses(model, batch)
            if batch.ids[0] == "7-0":
                zero = losses["matching"] * 0
                losses["matching"] = losses["matching"] + (zero / 0 if what == "loss" else zero.sqrt() * 0)
            return losses

    with pytest.raises(InterbertError, match="step 7.*not finite.*nan-step-7.json"):
        run(Broken(), tmp_path)
    noted = json.loads((tmp_path / "nan-step-7.json").read_text())
    assert noted["step"] == 7
    assert noted["ids"] == [[[f"7-{at}" for at in range(4)], [f"7-{at}" for at in range(4, 8)]]]
    assert ("nan" in noted["losses"]["matching"]) == (what == "loss")
    assert run(ToyJob(), tmp_path).resumed_from == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"settings": replace(SETTINGS, learning_rate=0.02)},
            "training.learning_rate: 0.01 in the checkpoint, now 0.02",
        ),
        ({"job": ToyJob(13)}, "training.total_steps: 12 in the checkpoint, now 13"),
        ({"job": ToyJob(seed=4)}, "job.seed: 3 in the checkpoint, now 4"),
        ({"settings": replace(SETTINGS, precision="bf16")}, "machine.precision: fp32 in the checkpoint, now bf16"),
        ({"settings": replace(SETTINGS, threads=3)}, "machine.threads: . in the checkpoint, now 3"),
    ],
)
def test_a_run_that_differs_is_refused_with_what_differs(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(Interrupted(7, crash), tmp_path)
    with pytest.raises(InterbertError, match=said):
        run(**({"job": ToyJob(), "out": tmp_path} | change))


def test_an_inexact_resume_goes_on_when_it_is_allowed_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError):
        run(Interrupted(7, crash), tmp_path)
    with caplog.at_level(logging.WARNING):
        summary = run(ToyJob(), tmp_path, replace(SETTINGS, weight_decay=0.0, allow_inexact=True))
    assert summary.resumed_from == 5
    assert "weight_decay: 0.01 in the checkpoint, now 0.0" in caplog.text


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run(ToyJob(), tmp_path)
    with pytest.raises(InterbertError, match=r"another model: '\S+' is \[.*16\], here \[.*24\]"):
        run(ToyJob(), tmp_path, model=ToyModel(size=24))


def test_how_often_it_is_logged_and_saved_may_change_between_resumes(
    tmp_path: Path, unbroken: tuple[ToyModel, Path]
) -> None:
    with pytest.raises(ZeroDivisionError):
        run(Interrupted(7, crash), tmp_path)
    model = ToyModel()
    run(ToyJob(), tmp_path, replace(SETTINGS, log_every=1, checkpoint_every=None, keep_checkpoints=5), model)
    assert equal(model, unbroken[0])


def test_a_checkpoint_may_be_due_by_the_clock(tmp_path: Path) -> None:
    run(ToyJob(4), tmp_path, replace(SETTINGS, checkpoint_every=None, checkpoint_minutes=1e-9, keep_checkpoints=9))
    steps = sorted(int(path.name[-8:]) for path in (tmp_path / "checkpoints").glob("step-*"))
    assert steps == [0, 1, 2, 3, 4]


def test_an_error_while_batches_are_made_comes_out(tmp_path: Path) -> None:
    class Faulty(ToyJob):
        def batches(self, step: int, rank: int, world: int) -> list[Batch]:
            if step == 3:
                raise InterbertError("the corpus is damaged")
            return super().batches(step, rank, world)

    with pytest.raises(InterbertError, match="the corpus is damaged"):
        run(Faulty(), tmp_path)


def test_a_step_without_a_batch_is_a_defect_of_the_job(tmp_path: Path) -> None:
    class Empty(ToyJob):
        def batches(self, step: int, rank: int, world: int) -> list[Batch]:
            return []

    with pytest.raises(ValueError, match="batches: got 0"):
        run(Empty(), tmp_path)


def test_a_loss_of_nothing_is_not_in_the_log(tmp_path: Path) -> None:
    class Unmasked(ToyJob):
        def batches(self, step: int, rank: int, world: int) -> list[Batch]:
            batches = super().batches(step, rank, world)
            for batch in batches:
                assert batch.masked_words is not None
                batch.masked_words[:] = False
            return batches

    assert "words" not in run(Unmasked(2), tmp_path).losses


def test_bf16_learns_the_same_thing_roughly(tmp_path: Path) -> None:
    exact = run(ToyJob(), tmp_path / "fp32", replace(SETTINGS, ema=None))
    rounded = run(ToyJob(), tmp_path / "bf16", replace(SETTINGS, precision="bf16", ema=None))
    assert rounded.losses["words"] == pytest.approx(exact.losses["words"], rel=0.05)
    assert rounded.losses != exact.losses


def test_progress_is_one_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(ToyModel(), ToyJob(2), SETTINGS, tmp_path)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "2/2" in captured.err
    assert "pairs/s" in captured.err
    assert captured.err.count("\n") <= 1


def test_curves_for_tensorboard_are_written_where_asked(tmp_path: Path) -> None:
    run(ToyJob(4), tmp_path, replace(SETTINGS, tensorboard=True))
    assert len(list((tmp_path / "tensorboard").glob("events.*"))) == 1


def legs_of(steps: int, *, until: int = 99) -> tuple[Legs, list[tuple[int, bool]]]:
    """Legs that note each beginning and whether the model was in training mode, and do not begin from `until` on."""
    begun: list[tuple[int, bool]] = []

    def begin(model: nn.Module, step: int, give_way: Callable[[], None]) -> bool:
        begun.append((step, model.training))
        return step < until

    return Legs(steps, begin), begun


def test_a_run_in_legs_begins_each_and_ends_as_one_without(tmp_path: Path, unbroken: tuple[ToyModel, Path]) -> None:
    legs, begun = legs_of(5)
    model = ToyModel()
    train(model, ToyJob(), SETTINGS, tmp_path, progress=False, legs=legs)
    assert begun == [(0, False), (5, False), (10, False)]
    assert equal(model, unbroken[0])
    assert lines_without_timing(tmp_path) == lines_without_timing(unbroken[1])


def test_no_batch_of_a_leg_is_made_before_it_begins(tmp_path: Path) -> None:
    made: list[int] = []

    class Noting(ToyJob):
        def batches(self, step: int, rank: int, world: int) -> list[Batch]:
            made.append(step)
            return super().batches(step, rank, world)

    def begin(model: nn.Module, step: int, give_way: Callable[[], None]) -> bool:
        assert made == list(range(step))
        return True

    train(ToyModel(), Noting(), SETTINGS, tmp_path, progress=False, legs=Legs(4, begin))
    assert made == list(range(12))


def test_a_leg_that_does_not_begin_ends_the_run_there(tmp_path: Path) -> None:
    legs, _ = legs_of(4, until=8)
    summary = train(ToyModel(), ToyJob(), SETTINGS, tmp_path, progress=False, legs=legs)
    assert summary.steps == 8
    again = train(ToyModel(), ToyJob(), SETTINGS, tmp_path, progress=False, legs=legs)
    assert (again.steps, again.resumed_from) == (8, 8)


def test_a_wish_to_stop_is_granted_while_a_leg_begins(tmp_path: Path, unbroken: tuple[ToyModel, Path]) -> None:
    begun: list[tuple[int, str]] = []

    def begin(model: nn.Module, step: int, give_way: Callable[[], None]) -> bool:
        give_way()
        if (step, "early") not in begun and step == 4:
            begun.append((step, "early"))
            os.kill(os.getpid(), signal.SIGTERM)
            give_way()
        begun.append((step, "whole"))
        return True

    with pytest.raises(SystemExit, match="143"):
        train(ToyModel(), ToyJob(), SETTINGS, tmp_path, progress=False, legs=Legs(4, begin))
    assert begun == [(0, "whole"), (4, "early")]
    model = ToyModel()
    summary = train(model, ToyJob(), SETTINGS, tmp_path, progress=False, legs=Legs(4, begin))
    assert summary.resumed_from == 4  # though checkpoints are made every five steps
    assert begun[2:] == [(4, "whole"), (8, "whole")]
    assert equal(model, unbroken[0])


def test_a_leg_that_goes_on_is_not_begun_again(tmp_path: Path, unbroken: tuple[ToyModel, Path]) -> None:
    with pytest.raises(ZeroDivisionError):
        train(ToyModel(), Interrupted(7, crash), SETTINGS, tmp_path, progress=False, legs=legs_of(4)[0])
    legs, begun = legs_of(4)
    model = ToyModel()
    train(model, ToyJob(), SETTINGS, tmp_path, progress=False, legs=legs)
    assert [step for step, _ in begun] == [8]
    assert equal(model, unbroken[0])
