"""What forks share must not let one that is killed stop the others."""

from __future__ import annotations

import os
import signal

from tqdm import tqdm

from faults.children import in_a_child


def test_a_child_that_dies_in_tqdms_lock_does_not_stop_the_next() -> None:
    def die() -> None:
        with tqdm.get_lock():
            os.kill(os.getpid(), signal.SIGKILL)

    tqdm.get_lock()  # made before the forks, as a first bar makes it
    assert in_a_child(die)[0] == -9
    assert in_a_child(lambda: list(tqdm(range(2), disable=True)), kill_after=10.0)[0] == 0
