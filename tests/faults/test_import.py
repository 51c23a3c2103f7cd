"""kill -9 at any moment of an import: the same command again ends with the bytes of the unbroken one.

More kills than these few: `python tests/faults/killed_import.py FOLDER 200 1`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("killed_import.py")


def test_a_killed_import_ends_as_the_unbroken_one(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path), "6", "1"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["pictures"] == 287
    assert set(found["statuses"]) <= {0, -9}
    assert found["statuses"].count(-9) >= 3
    assert found["different"] == 0
