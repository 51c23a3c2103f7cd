"""kill -9 at any moment of a change: readers see the version before or after, and the same command ends it.

More kills than these few: `python tests/faults/killed_index.py FOLDER 200 1`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("killed_index.py")


def test_a_killed_change_of_an_index_leaves_a_whole_version(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path), "9", "1"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["products"] == 60
    assert set(found["statuses"]) <= {0, -9}
    assert found["statuses"].count(-9) >= 3
    assert (found["torn"], found["different"]) == (0, 0)
