"""Finetuning: what a run leaves, its best weights, its early end, and its resume to the bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finetuning_helpers import drawn_corpus, given_for, small_plan, tiny_run
from safetensors.torch import load_file
from toy import lines_without_timing

import interbert
from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError, UsageError
from interbert.tasks import mining
from interbert.tasks.finetuning import FinetuneJob, Finetuning, best_of, finetune, keep_best, metric_of
from interbert.tasks.retrieval import Retrieval, RetrievalOptions
from interbert.tasks.task import TaskModel
from interbert.training.journal import read_journal


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return drawn_corpus(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def start(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "start", corpus)


PLAN = small_plan(2, {"hard_negatives": 1}, checkpoint_every=5, validate_every=8)


@pytest.fixture(scope="module")
def finished(corpus: Corpus, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finetuned") / "run"
    done(corpus, start, out)
    return out


def done(corpus: Corpus, start: Path, out: Path, plan: Finetuning = PLAN) -> Any:
    return finetune("retrieval", corpus.folder, str(start), out, plan, progress=False)


def job_of(corpus: Corpus, plan: Finetuning, out: Path) -> FinetuneJob:
    return FinetuneJob(Retrieval.open(corpus.folder, plan.options, given_for(corpus, out=out)), plan, out)


def scripted(values: list[float]) -> Callable[[Retrieval, TaskModel], dict[str, float]]:
    """A validation that gives these values one after another, and before the first step 0.1."""
    left = iter([0.1, *values])
    return lambda task, model: {"recall_mean": next(left)}


def test_a_finetuned_runs_card_says_what_it_was_made_of(finished: Path) -> None:
    card = (finished / "README.md").read_text(encoding="utf-8")
    assert "Regions by the extractor" in card
    assert 'task = "retrieval"' in card
    assert "the best:" in card


def test_a_finetuned_run_has_a_runs_files_and_its_task(finished: Path) -> None:
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "extractor.json", "training.jsonl", "report.html"}
    wanted |= {"README.md", "checkpoints", "task.json", "before.json", "examples.json", "best", "hard-negatives"}
    assert {path.name for path in finished.iterdir()} == wanted
    known = json.loads((finished / "task.json").read_text())
    assert (known["task"], known["options"]["hard_negatives"], known["max_regions"]) == ("retrieval", 1, 36)


def test_load_scores_with_the_finetuned_matching_head(finished: Path, start: Path, corpus: Corpus) -> None:
    pair = (corpus.text(0), corpus.regions(0))
    assert interbert.load(finished).predict(pair) != interbert.load(start).predict(pair)


def test_the_run_has_the_weights_of_its_best_validation(finished: Path) -> None:
    validations = metric_of(read_journal(finished / "training.jsonl"), "recall_mean")
    assert [step for step, _ in validations] == [8, 16, 24]
    best = best_of(validations)
    assert best is not None
    kept = load_file(finished / "best" / f"step-{best[0]:08d}.safetensors")
    ours = load_file(finished / "model.safetensors")
    assert all(torch.equal(kept[f"backbone.{name}"], tensor) for name, tensor in ours.items())


def test_the_best_weights_are_the_averages(
    corpus: Corpus, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retrieval, "validate", scripted([0.5]))
    done(corpus, start, tmp_path / "run", small_plan(1, checkpoint_every=None))
    average = load_file(tmp_path / "run" / "checkpoints" / "step-00000012" / "average.safetensors")
    ours = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(average[f"backbone.{name}"], t) for name, t in ours.items() if f"backbone.{name}" in average)


def test_an_earlier_validation_may_be_the_best(
    corpus: Corpus, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retrieval, "validate", scripted([0.2, 0.6, 0.6, 0.5]))
    found = done(corpus, start, tmp_path / "run", small_plan(4))
    assert (found.best_step, found.validation) == (24, {"recall_mean": 0.6})
    assert found.before == {"recall_mean": 0.1}
    assert {path.name for path in (tmp_path / "run" / "best").iterdir()} == {
        "step-00000012.safetensors", "step-00000024.safetensors"
    }  # fmt: skip


def test_a_run_ends_early_where_validations_bring_no_gain(
    corpus: Corpus, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retrieval, "validate", scripted([0.4, 0.6, 0.5, 0.6, 0.9, 0.9]))
    plan = replace(small_plan(6), early_stop=2)
    found = done(corpus, start, tmp_path / "run", plan)
    assert (found.summary.steps, found.best_step) == (48, 24)
    again = done(corpus, start, tmp_path / "run", plan)  # no validation is left that could be made
    assert (again.summary.steps, again.summary.resumed_from, again.best_step) == (48, 48, 24)


def test_no_validation_split_leaves_the_last_weights(start: Path, tmp_path: Path) -> None:
    corpus = drawn_corpus(tmp_path)
    job = job_of(corpus, small_plan(1), tmp_path)
    job.task.validate = lambda model: {}  # type: ignore[method-assign]
    assert job.validate(TaskModel(interbert.InterBert.from_pretrained(start)), 3) == {}
    assert job.validations() == []
    assert not (tmp_path / "best").exists()


def test_a_stopped_run_goes_on_to_the_bits_of_the_unbroken_one(
    finished: Path, corpus: Corpus, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, out = Retrieval.losses, tmp_path / "run"
    steps = iter(range(100))

    def broken(task: Retrieval, model: TaskModel, batch: Any) -> Any:
        if next(steps) == 18:  # in the second epoch, whose hard negatives are mined and must not be mined again
            raise ZeroDivisionError
        return made(task, model, batch)

    monkeypatch.setattr(Retrieval, "losses", broken)
    with pytest.raises(ZeroDivisionError):
        done(corpus, start, out)
    mined = (out / "hard-negatives" / "epoch-001.npy").stat().st_mtime_ns
    found = done(corpus, start, out)
    assert found.summary.resumed_from == 15
    assert (out / "hard-negatives" / "epoch-001.npy").stat().st_mtime_ns == mined
    assert (out / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    assert lines_without_timing(out) == lines_without_timing(finished)
    assert np.array_equal(*(np.load(run / "hard-negatives" / "epoch-001.npy") for run in (out, finished)))


def test_ctrl_c_while_negatives_are_mined_stops_between_blocks_and_loses_nothing(
    finished: Path, corpus: Corpus, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, read, blocks = tmp_path / "run", mining._vector, []

    def interrupted(*given: Any) -> torch.Tensor:
        blocks.append(given)
        if len(blocks) == 8:  # an epoch's mining takes five: three of pictures, two of captions
            os.kill(os.getpid(), signal.SIGINT)
        return read(*given)

    monkeypatch.setattr(mining, "_vector", interrupted)
    with pytest.raises(KeyboardInterrupt):
        done(corpus, start, out)
    assert len(blocks) == 8
    assert [file.name for file in (out / "hard-negatives").glob("*.npy")] == ["epoch-000.npy"]
    assert done(corpus, start, out).summary.resumed_from == 12
    assert (out / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    assert np.array_equal(*(np.load(run / "hard-negatives" / "epoch-001.npy") for run in (out, finished)))


def test_a_finished_run_is_not_trained_again(finished: Path, corpus: Corpus, start: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    found = done(corpus, start, tmp_path / "run")
    assert (found.summary.resumed_from, found.summary.steps) == (24, 24)
    for name in ("model.safetensors", "training.jsonl", "task.json"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 3}, "training.total_steps: 24 in the checkpoint, now 36"),
        ({"options": RetrievalOptions()}, "job.plan.options.hard_negatives: 1 in the checkpoint, now 0"),
        ({"max_regions": 4}, "job.plan.max_regions: 36 in the checkpoint, now 4"),
    ],
)
def test_a_finished_run_asked_for_something_else_says_what_differs(
    change: dict[str, Any], said: str, finished: Path, corpus: Corpus, start: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    with pytest.raises(InterbertError, match=said):
        done(corpus, start, tmp_path / "run", replace(PLAN, **change))
    assert (tmp_path / "run" / "task.json").read_bytes() == (finished / "task.json").read_bytes()


def test_another_start_is_another_run(finished: Path, corpus: Corpus, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    with pytest.raises(InterbertError, match=r"job\.start: "):
        done(corpus, tiny_run(tmp_path / "other", corpus, seed=5), tmp_path / "run")


def test_the_run_that_is_finetuned_is_not_written_over(corpus: Corpus, start: Path) -> None:
    with pytest.raises(UsageError, match="the run that is finetuned"):
        done(corpus, start, start)


def test_a_run_that_was_not_finetuned_is_not_written_over(corpus: Corpus, start: Path, tmp_path: Path) -> None:
    other = tiny_run(tmp_path / "other", corpus, seed=2)
    before = (other / "model.safetensors").read_bytes()
    with pytest.raises(InterbertError, match="holds a run that was not finetuned"):
        done(corpus, start, other)
    assert (other / "model.safetensors").read_bytes() == before


def test_a_finetuned_run_without_checkpoints_is_not_written_over(
    finished: Path, corpus: Corpus, start: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(InterbertError, match="holds a finished run, without checkpoints"):
        done(corpus, start, tmp_path / "run")


def test_several_processes_and_micro_batches_make_the_same_examples(corpus: Corpus, tmp_path: Path) -> None:
    whole = job_of(corpus, small_plan(1), tmp_path)
    parts = job_of(corpus, replace(small_plan(1), micro_batch_size=3), tmp_path)
    (batch,) = whole.batches(7, 0, 1)
    found = [one for rank in range(2) for one in parts.batches(7, rank, 2)]
    assert [len(one) for one in found] == [12, 4, 12, 4]  # three captions and one, of each process
    assert [id for one in found for id in one.ids] == batch.ids


def test_every_example_is_seen_once_an_epoch(corpus: Corpus, tmp_path: Path) -> None:
    job = job_of(corpus, small_plan(2), tmp_path)
    assert (job.steps_per_epoch, job.total_steps) == (12, 24)
    seen = [job.examples_of(step) for step in range(24)]
    assert [epoch for epoch, _ in seen] == [0] * 12 + [1] * 12
    for epoch in (0, 12):
        assert sorted(np.concatenate([examples for _, examples in seen[epoch : epoch + 12]])) == list(range(96))


def test_a_run_is_not_written_among_those_of_several_seeds(corpus: Corpus, start: Path, tmp_path: Path) -> None:
    (tmp_path / "seeds.json").touch()
    with pytest.raises(UsageError, match="holds the runs of several seeds; give --seeds, or another folder"):
        done(corpus, start, tmp_path)


def test_where_no_example_is_left_the_reason_is_said(
    corpus: Corpus, start: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InterbertError, match="retrieval: no training example is left; what was left out"):
        done(corpus, start, tmp_path / "run", replace(PLAN, min_regions=90, max_regions=100))
    assert "96 of 96 training captions left out: their pictures have fewer than 90 regions" in caplog.text


def test_fewer_examples_than_a_batch_are_an_error(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="got 96 training examples, wanted at least one batch of 97"):
        job_of(corpus, replace(small_plan(1), batch_size=97), tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "retreival"}, "there is no task 'retreival'; did you mean 'retrieval'"),
        ({"epochs": 0}, "epochs: got 0"),
        ({"min_regions": 9, "max_regions": 8}, "max_regions: got 8, wanted at least min_regions, 9"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replace(small_plan(), **change)


def test_of_equal_validations_the_earliest_is_best_and_of_none_none() -> None:
    assert best_of([]) is None
    lines = [{"step": 1, "losses": {}}, {"step": 1, "validation": {"a": 0.5}}, {"step": 2, "validation": {"b": 1.0}}]
    assert metric_of(lines, "a") == [(1, 0.5)]
    assert best_of([(4, 0.1), (8, 0.3), (12, 0.3)]) == (8, 0.3)


def test_the_best_before_is_kept_beside_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        keep_best(tmp_path, step, {"weight": torch.full((2,), float(step))})
    files = sorted((tmp_path / "best").iterdir())
    assert [float(load_file(file)["weight"][0]) for file in files] == [2.0, 3.0]
