"""interbert.training.memory"""

from __future__ import annotations

import subprocess
import sys

import pytest

from interbert.training import memory
from interbert.training.memory import memory_kept

FAULTS = """
import resource
from interbert.training.memory import memory_kept
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 << 20)
    del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
usual = [faults(), faults()][1]
with memory_kept():
    kept = [faults(), faults()][1]
    during = resident()
assert 10 * kept < usual, (kept, usual)
assert during - resident() > 32 << 10, (during, resident())
assert faults() > 10 * kept
"""


def test_a_block_like_the_last_one_costs_no_new_pages_and_goes_back_at_the_end() -> None:
    if memory._glibc() is None:
        pytest.skip("another C library than glibc")
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with memory_kept():
        pass
