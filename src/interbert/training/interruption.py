"""Ctrl-C and SIGTERM as a wish that is granted at the end of a step; the second one is granted at once.

A terminal sends a Ctrl-C to torchrun and to its processes, and torchrun passes it on to them: that is one wish.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

SAME_WISH_SECONDS = 1.0  # a signal so soon after the first says nothing new


class Interruption:
    """A context manager: inside, the first SIGINT or SIGTERM is only noted.

    Signals come to the main thread; in another one it notes none.
    """

    def __init__(self) -> None:
        self.signal = 0  # its number; 0: nobody wants to stop
        self._when = 0.0  # of the first
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            if time.monotonic() - self._when < SAME_WISH_SECONDS:
                return
            raise stopped_by(number)
        self.signal, self._when = number, time.monotonic()
        os.write(2, b"\nstopping after this step, with a checkpoint; once more to stop at once\n")  # safe in a handler


class Stopped(Exception):
    """A wish to stop is granted in the midst of long work, which is begun again when the run goes on."""


def stopped_by(number: int) -> BaseException:
    """What ends the program: KeyboardInterrupt for SIGINT, SystemExit(143) for SIGTERM."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
