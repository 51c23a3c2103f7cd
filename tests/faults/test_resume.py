"""kill -9 at any moment, and a disk that fills: the same command again ends with the bits of the unbroken run.

More kills than these few: `python tests/faults/killed_training.py FOLDER 200 1`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("killed_training.py")
KILLS, SEED = 8, 0


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), str(tmp_path_factory.mktemp("killed")), str(KILLS), str(SEED)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"stderr": done.stderr}  # type: ignore[no-any-return]


def test_runs_were_really_killed(results: dict[str, Any]) -> None:
    statuses = [status for run in results["runs"] for _, status in run["killed"]]
    assert set(statuses) <= {-9, 0}
    assert statuses.count(-9) >= KILLS / 2  # one that was killed by the clock may have been done before


def test_a_killed_run_ends_as_the_unbroken_one(results: dict[str, Any]) -> None:
    assert len(results["runs"]) == KILLS
    assert [run for run in results["runs"] if run["status"] != 0 or not run["equal"] or run["leftovers"]] == []


def test_a_full_disk_ends_the_run_with_its_last_checkpoint_whole(results: dict[str, Any]) -> None:
    full = results["full_disk"]
    assert (full["status"], full["names"]) == (1, [".lock", "step-00000003"])
    assert "step-00000006: the checkpoint could not be written" in results["stderr"]
    assert full["afterwards"] == 0
