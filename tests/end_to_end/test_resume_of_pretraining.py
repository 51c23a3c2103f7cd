"""`interbert pretrain`, interrupted and killed at moments of chance: the same command again ends with the same bits."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pretraining_helpers import random_corpus
from toy import lines_without_timing

STEPS, SEED = 80, 0  # of 8 pairs; a checkpoint every third one
SETTINGS = ("batch_size=8", "stages.epochs=20", "training.checkpoint_every=3", "training.ema=0.9", "training.threads=1")


def started(corpus: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "interbert", "pretrain", str(corpus), "--out", str(out), "--recipe", "tiny"]
    for setting in SETTINGS:
        command += ["--set", setting]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, "--json"], env=environment, text=True, stdout=-1, stderr=-1)


def reaches(process: subprocess.Popen[str], out: Path, step: int) -> bool:
    """Waits until the process itself, not one before it, has logged that step; false where it ended before."""
    began, journal = time.time_ns(), out / "training.jsonl"
    while process.poll() is None:
        if journal.exists() and journal.stat().st_mtime_ns > began and journal.read_bytes().count(b"\n") >= step:
            return True
        try:
            process.wait(0.005)
        except subprocess.TimeoutExpired:
            continue
    return False


def sha256(out: Path) -> str:
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run that was stopped once and killed three times, and one that was left alone, both to the end."""
    folder = tmp_path_factory.mktemp("resumed")
    corpus = random_corpus(folder).folder
    unbroken, broken = folder / "unbroken", folder / "broken"
    undisturbed = started(corpus, unbroken)
    moments = sorted(random.Random(SEED).sample(range(4, 60), 4))
    ends = []
    for number, moment in zip((signal.SIGINT, *[signal.SIGKILL] * 3), moments, strict=True):
        process = started(corpus, broken)
        if reaches(process, broken, moment):
            process.send_signal(number)
        ends.append((process.wait(), process.communicate()[1]))
    last = started(corpus, broken)
    said = [process.communicate(timeout=300) for process in (last, undisturbed)]
    assert (last.returncode, undisturbed.returncode) == (0, 0), said
    return {"unbroken": unbroken, "broken": broken, "ends": ends, "said": said[0][0]}


def test_ctrl_c_stops_after_a_step_with_exit_status_130(runs: dict[str, Any]) -> None:
    status, said = runs["ends"][0]
    assert status == 130, said
    assert "stopping after this step, with a checkpoint" in said
    assert "Traceback" not in said


def test_the_run_was_really_killed_three_times(runs: dict[str, Any]) -> None:
    assert [status for status, _ in runs["ends"][1:]] == [-signal.SIGKILL] * 3


def test_the_last_run_went_on_and_did_not_begin_again(runs: dict[str, Any]) -> None:
    assert '"resumed_from": null' not in runs["said"]
    assert f'"steps": {STEPS}' in runs["said"]


def test_the_weights_are_those_of_the_unbroken_run_to_the_bit(runs: dict[str, Any]) -> None:
    assert sha256(runs["broken"]) == sha256(runs["unbroken"])


def test_the_log_is_that_of_the_unbroken_run(runs: dict[str, Any]) -> None:
    ours, theirs = lines_without_timing(runs["broken"]), lines_without_timing(runs["unbroken"])
    assert len(theirs) == STEPS + 1
    assert ours == theirs


def test_nothing_half_written_is_left(runs: dict[str, Any]) -> None:
    names = [{path.name for path in runs[run].iterdir()} for run in ("broken", "unbroken")]
    assert names[0] == names[1]
    checkpoints = [{path.name for path in (runs[run] / "checkpoints").iterdir()} for run in ("broken", "unbroken")]
    assert checkpoints[0] == checkpoints[1]
