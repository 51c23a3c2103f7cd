"""interbert.training.interruption: see also test_loop.py."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from interbert.training import interruption
from interbert.training.interruption import Interruption, stopped_by


def test_the_first_signal_is_a_wish_and_the_second_an_order(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "SAME_WISH_SECONDS", 0.0)
    with Interruption() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
        assert "once more to stop at once" in capfd.readouterr().err
        with pytest.raises(SystemExit, match="143"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_what_a_terminal_and_torchrun_send_together_is_one_wish(capfd: pytest.CaptureFixture[str]) -> None:
    with Interruption() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT
    assert capfd.readouterr().err.count("once more to stop at once") == 1


def test_ctrl_c_ends_as_ctrl_c() -> None:
    assert isinstance(stopped_by(signal.SIGINT), KeyboardInterrupt)


def test_in_another_thread_no_handler_is_set() -> None:
    handlers = []

    def work() -> None:
        with Interruption():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
