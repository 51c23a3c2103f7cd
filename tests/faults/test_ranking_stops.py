"""A ranking that is stopped, killed, or loses a process: what was scored stays, nothing runs on, the rest follows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from finetuning_helpers import drawn_corpus, tiny_run

from faults.ranking import scored
from interbert.corpus.corpus import Corpus
from interbert.tasks.ranking import Scores

PROGRAM = Path(__file__).with_name("ranking.py")
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranking")
    tiny_run(folder / "run", drawn_corpus(folder))
    return folder


@pytest.fixture(scope="module")
def unbroken(place: Path) -> Scores:
    return scored(place / "run", Corpus(place / "corpus"), place / "unbroken", processes=1)


def children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def waited(what: Callable[[], bool]) -> bool:
    """Whether `what` came true before patience ended."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.01)
    return False


def alive(process: int) -> bool:
    """Whether it is there and no mere entry that nobody has read yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def begun(place: Path, parts: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """The program, when it has scored some parts, and the processes that it has started."""
    command = [sys.executable, str(PROGRAM), str(place / "run"), str(place / "corpus"), str(parts)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, stderr=-1)
    assert waited(lambda: len(list(parts.glob("*/part-*.npy"))) > 5 or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process, children(process.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_ranking_leaves_no_process_and_goes_on(
    place: Path, unbroken: Scores, tmp_path: Path, number: signal.Signals
) -> None:
    process, workers = begun(place, tmp_path)
    process.send_signal(number)
    process.communicate()
    assert process.returncode != 0
    assert len(workers) >= 2
    assert waited(lambda: not any(map(alive, workers)))
    done = len(list(tmp_path.glob("*/part-*.npy")))
    assert 5 < done < unbroken.pairs.parts
    again = scored(place / "run", Corpus(place / "corpus"), tmp_path, processes=1)
    np.testing.assert_array_equal(again.matrix(), unbroken.matrix())


def test_a_killed_worker_ends_the_ranking_with_a_sentence(place: Path, unbroken: Scores, tmp_path: Path) -> None:
    process, workers = begun(place, tmp_path)
    os.kill(max(workers), signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "a process that scored was ended from outside" in said
    again = scored(place / "run", Corpus(place / "corpus"), tmp_path, processes=1)
    np.testing.assert_array_equal(again.matrix(), unbroken.matrix())
