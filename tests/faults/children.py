"""Work done in a fork that may be killed: at a time, or before a file operation."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Container
from pathlib import Path

from tqdm import tqdm

from interbert.errors import InterbertError


def in_a_child(act: Callable[[], object], kill_after: float | None = None) -> tuple[int, float]:
    """Runs `act` in a fork. Returns its exit status, or minus the signal that ended it, and the seconds it took."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        tqdm.set_lock(threading.RLock())  # its own is a semaphore that forks share: who dies in it stops all others
        try:
            act()
            os._exit(0)
        except InterbertError as error:
            os.write(2, f"{error}\n".encode())
            os._exit(1)
        finally:
            os._exit(70)
    clock = threading.Timer(kill_after, os.kill, (child, signal.SIGKILL)) if kill_after is not None else None
    if clock is not None:
        clock.start()
    _, status = os.waitpid(child, 0)
    if clock is not None:
        clock.cancel()
    return os.waitstatus_to_exitcode(status), time.monotonic() - began


def killed_before(
    operation: int, operations: Container[str], act: Callable[[], object], count_to: Path | None = None
) -> None:
    """`act`, with kill -9 before its n-th file operation, of those audit events that `operations` names; with
    `count_to`, how many there were is written there."""
    seen = 0

    def note(event: str, _: tuple[object, ...]) -> None:
        nonlocal seen
        if event in operations:
            seen += 1
            if seen == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(note)
    act()
    if count_to is not None:
        count_to.write_text(str(seen))
