"""Memory that a training step frees, kept for the next one.

glibc gives large blocks back to the system as soon as they are free, and what the system gives out again it fills with
zeros first, page by page: a part of every step on a CPU, for gradients and activations that are as large in the next
one. Other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # malloc.h
MIB = 1 << 20
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1}
# As glibc would have come to by itself in a process of large blocks; once told, it adapts no more.
USUAL = {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 * MIB, TRIM_THRESHOLD: 64 * MIB}


@contextmanager
def memory_kept() -> Iterator[None]:
    """Inside, what is freed stays with the process; on leaving, what is free then goes back to the system."""
    keep_memory(True)
    try:
        yield
    finally:
        keep_memory(False)
        libc = _glibc()
        if libc is not None:
            libc.malloc_trim(0)


def keep_memory(keep: bool) -> None:
    """From here on freed memory is kept, or goes back as usual; what is kept already stays until then."""
    libc = _glibc()
    if libc is not None:
        for number, value in (KEPT if keep else USUAL).items():
            libc.mallopt(number, value)


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
