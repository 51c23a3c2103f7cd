"""Finetuning in two processes of torchrun, by DDP and FSDP, with mined negatives, against one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finetuning_helpers import drawn_corpus, tiny_run
from safetensors.torch import load_file

from interbert.training.journal import read_journal

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
WAYS = ("ddp", "fsdp")
SETTINGS = ("epochs=2", "dropout=0.0", "batch_size=16", "micro_batch_size=8", "training.precision=fp32",
            "training.threads=1", "training.learning_rate=1e-4", "training.validate_every=4")  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same finetuning by one process, by two with DDP, and by two with FSDP."""
    folder = tmp_path_factory.mktemp("two")
    corpus, run = drawn_corpus(folder), folder / "run"
    tiny_run(run, corpus)
    command = ["-m", "interbert", "finetune", "retrieval", str(corpus.folder), "--from", str(run), "--recipe", "tiny"]
    command += ["--hard-negatives", "--json", *(part for one in SETTINGS for part in ("--set", one))]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    started = {"one": [sys.executable]} | dict.fromkeys(WAYS, TORCHRUN)
    for name, program in started.items():
        parallel = ["--parallel", "auto" if name == "one" else name, "--out", str(folder / name)]
        done = subprocess.run([*program, *command, *parallel], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count('"best_step"') == 1
    return folder


def numbers(out: Path) -> list[dict[str, Any]]:
    return [line.get("losses") or line["validation"] for line in read_journal(out / "training.jsonl")]


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_finetune_as_one(place: Path, way: str) -> None:
    ours, theirs = numbers(place / way), numbers(place / "one")
    assert len(ours) == len(theirs) == 12 + 3
    for mine, wanted in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(wanted, abs=1e-4)
    weights, wanted_weights = (load_file(place / name / "model.safetensors") for name in (way, "one"))
    for name, tensor in weights.items():
        assert torch.allclose(tensor, wanted_weights[name], rtol=0, atol=1e-5), name


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_mine_and_leave_what_one_does(place: Path, way: str) -> None:
    for epoch in range(2):
        mined = [np.load(place / name / "hard-negatives" / f"epoch-{epoch:03d}.npy") for name in (way, "one")]
        assert (mined[0] == mined[1]).mean() > 0.99  # in the second epoch the weights differ in their last bits
    assert {path.name for path in (place / way).iterdir()} == {path.name for path in (place / "one").iterdir()}
