"""Files that change behind one's back, and disks that fill."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def flip_bit(path: Path, byte: int, bit: int) -> None:
    """Inverts one bit of a file, in place. The same call again mends it."""
    with open(path, "r+b") as file:
        file.seek(byte)
        value = file.read(1)[0]
        file.seek(byte)
        file.write(bytes([value ^ 1 << bit]))


def random_flips(path: Path, count: int, seed: int) -> Iterator[tuple[int, int]]:
    """Flips one random bit at a time, yields (byte, bit), mends it."""
    draws = random.Random(seed)
    for _ in range(count):
        byte, bit = draws.randrange(path.stat().st_size), draws.randrange(8)
        flip_bit(path, byte, bit)
        yield byte, bit
        flip_bit(path, byte, bit)


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, name: str, after: int, half: bool = False) -> Iterator[None]:
    """`os.name` fails with "no space left" from call number `after` on. half: a write puts down half of it first."""
    real: Callable[..., Any] = getattr(os, name)
    calls = 0

    def fails(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= after:
            return real(*arguments)
        if half and calls == after + 1:
            return real(arguments[0], arguments[1][: len(arguments[1]) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fails)
        yield
