"""Pretraining in two processes of torchrun, by DDP and FSDP, against one process: the same losses and weights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pretraining_helpers import few_steps, random_corpus
from safetensors.torch import load_file

from interbert import cli
from interbert.pretraining.job import Pretraining
from interbert.pretraining.run import pretrain
from interbert.training.journal import read_journal

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
FSDP = Path(__file__).resolve().parents[1] / "pretraining_fsdp.py"
WAYS = ("ddp", "fsdp")


def plan_of(**training: object) -> Pretraining:
    plan = few_steps(epochs=2, precision="fp32", learning_rate=1e-4, validate_every=3, **training)
    return replace(plan, model=replace(plan.model, dropout=0.0, attention_dropout=0.0))


def command(corpus: Path, out: Path, *more: str) -> list[str]:
    """`plan_of()` as a command."""
    settings = ["batch_size=8", "stages.epochs=2", "model.dropout=0", "model.attention_dropout=0", *more]
    training = {"precision": "fp32", "learning_rate": "1e-4", "validate_every": "3", "threads": "1"}
    settings += [f"training.{name}={value}" for name, value in training.items()]
    given = [part for setting in settings for part in ("--set", setting)]
    return ["pretrain", str(corpus), "--out", str(out), "--recipe", "tiny", "--json", *given]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and a run by one process, by two with DDP, and by two with FSDP."""
    folder = tmp_path_factory.mktemp("two")
    corpus = random_corpus(folder).folder
    pretrain([corpus], folder / "one", plan_of(), progress=False)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    by_ddp = [*TORCHRUN, "-m", "interbert", *command(corpus, folder / "ddp", "training.checkpoint_every=5")]
    by_fsdp = [*TORCHRUN, str(FSDP), str(corpus), str(folder / "fsdp")]
    for name, started in (("ddp", by_ddp), ("fsdp", by_fsdp)):
        done = subprocess.run(started, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        (folder / f"{name} said").write_text(done.stdout)
    return folder


def numbers(out: Path) -> list[dict[str, Any]]:
    return [line.get("losses") or line["validation"] for line in read_journal(out / "training.jsonl")]


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_log_the_numbers_of_one(place: Path, way: str) -> None:
    ours, theirs = numbers(place / way), numbers(place / "one")
    assert len(ours) == len(theirs) == 8 + 3
    for mine, wanted in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_leave_the_weights_of_one(place: Path, way: str) -> None:
    ours, theirs = load_file(place / way / "model.safetensors"), load_file(place / "one" / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.allclose(tensor, theirs[name], rtol=0, atol=1e-5), name


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_leave_the_files_of_one(place: Path, way: str) -> None:
    assert {path.name for path in (place / way).iterdir()} == {path.name for path in (place / "one").iterdir()}


def test_only_one_of_two_processes_says_what_was_done(place: Path) -> None:
    assert (place / "ddp said").read_text().count('"steps": 8') == 1


def test_a_checkpoint_of_two_processes_goes_on_in_one_where_inexact_is_allowed(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(place / "ddp", out)
    shutil.rmtree(out / "checkpoints" / "step-00000008")
    (out / "model.safetensors").unlink()
    again = command(place / "corpus", out)
    assert cli.run(again) == 1
    assert "machine.processes: 2 in the checkpoint, now 1" in capsys.readouterr().err
    assert cli.run([*again, "--set", "training.allow_inexact=true"]) == 0
    assert '"resumed_from": 5' in capsys.readouterr().out
    ours, theirs = load_file(out / "model.safetensors"), load_file(place / "one" / "model.safetensors")
    assert all(torch.allclose(tensor, theirs[name], rtol=0, atol=1e-5) for name, tensor in ours.items())
