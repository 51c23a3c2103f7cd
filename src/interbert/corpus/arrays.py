"""Arrays on disk: written as a stream, opened as memory maps. Little-endian numbers without a header; docs/formats.md.

In and out: numpy arrays of one axis. What each file holds (type, length, CRC-32) is described by a plain dict, which
the corpus keeps in its corpus.json.
"""

from __future__ import annotations

import json
import os
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interbert.errors import InterbertError, UsageError
from interbert.text.grams import scrambled

FORMAT = "interbert corpus"
FORMAT_VERSION = 3
_PENDING = 1 << 16  # numbers kept before they are written
_BLOCK = 1 << 22  # bytes read at once by a check
_SEQUENCES = 1 << 20  # looked at at once, where a whole array would double the memory


class ArrayWriter:
    """Writes one array of `dtype` ("<u2") to FOLDER/NAME.bin, piece by piece."""

    def __init__(self, folder: Path, name: str, dtype: str) -> None:
        self.length = 0
        self._dtype, self._crc, self._pending = np.dtype(dtype), 0, array("q")
        self._file = open(folder / f"{name}.bin", "wb")  # noqa: SIM115 (closed by `close`)

    def append(self, number: int) -> None:
        """Adds one number."""
        self._pending.append(number)
        self.length += 1
        if len(self._pending) >= _PENDING:
            self._flush()

    def extend(self, numbers: Sequence[int] | bytes) -> None:
        """Adds numbers; bytes are numbers below 256."""
        self._pending.extend(numbers)
        self.length += len(numbers)
        if len(self._pending) >= _PENDING:
            self._flush()

    def close(self) -> dict[str, Any]:
        """Flushes to disk. Returns the description of the array. Raises OverflowError for a number beyond the type."""
        self._flush()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return {"dtype": self._dtype.str, "length": self.length, "crc32": f"{self._crc:08x}"}

    def abandon(self) -> None:
        """Closes the file as it is."""
        self._file.close()

    def _flush(self) -> None:
        given = np.array(self._pending, np.int64)
        piece = given.astype(self._dtype)
        if not np.array_equal(piece.astype(np.int64), given):
            raise OverflowError(f"'{self._file.name}': a number does not fit {self._dtype}")
        self._crc = zlib.crc32(piece.tobytes(), self._crc)
        self._file.write(piece.tobytes())
        self._pending = array("q")


def checked(index: int, count: int, what: str) -> int:
    """A number that counts something of a corpus. Raises IndexError outside 0 … count - 1."""
    if not 0 <= index < count:
        raise IndexError(f"{what} {index}: the corpus has {count}, counted from 0")
    return int(index)


def open_array(folder: Path, name: str, description: dict[str, Any]) -> NDArray[Any]:
    """The array as a read-only memory map. Raises InterbertError where its file is missing or has another size."""
    path, dtype, length = folder / f"{name}.bin", np.dtype(description["dtype"]), int(description["length"])
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InterbertError(
            f"'{path}' is missing or cannot be read ({error.strerror}); build the corpus again"
        ) from error
    if size != length * dtype.itemsize:
        raise InterbertError(f"'{path}': got {size} bytes, wanted {length * dtype.itemsize}; build the corpus again")
    if not length:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, "r"))


def check_array(folder: Path, name: str, description: dict[str, Any]) -> None:
    """Reads the whole file. Raises InterbertError where its CRC-32 is not the described one."""
    crc = 0
    with open(folder / f"{name}.bin", "rb") as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    if f"{crc:08x}" != description["crc32"]:
        raise InterbertError(
            f"'{folder / name}.bin' is damaged (CRC-32 {crc:08x}, wanted {description['crc32']}); build again"
        )


def read_description(folder: Path) -> dict[str, Any]:
    """corpus.json. Raises UsageError where it is not there, InterbertError where it is not one or a newer one."""
    path = folder / "corpus.json"
    if not path.is_file():
        raise UsageError(
            f"'{folder}' is not a corpus: it has no corpus.json. Make one with  "
            "interbert corpus SOURCE --format FORMAT --regions STORE --out FOLDER"
        )
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        form, version = value["format"], value["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise InterbertError(f"'{path}' is damaged ({error!r}); build the corpus again") from error
    if form != FORMAT or version > FORMAT_VERSION:
        raise InterbertError(
            f"'{path}': got {form!r} {version}, wanted {FORMAT!r} up to {FORMAT_VERSION}; update interbert"
        )
    return dict(value)


def lengths_of(offsets: NDArray[np.int64]) -> NDArray[np.int32]:
    """int32 [N]: how long each of N sequences is. offsets: [N + 1], where each begins."""
    lengths = np.empty(len(offsets) - 1, np.int32)
    for first in range(0, len(lengths), _SEQUENCES):
        lengths[first : first + _SEQUENCES] = np.diff(offsets[first : first + _SEQUENCES + 1])
    return lengths


def sequence_hashes(numbers: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """uint64 [N]: equal where the numbers between two offsets are. offsets: [N + 1]; no sequence is empty."""
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for first in range(0, len(hashes), _SEQUENCES):
        part = offsets[first : first + _SEQUENCES + 1]
        starts = part[:-1] - part[0]
        places = np.arange(part[-1] - part[0]) - np.repeat(starts, np.diff(part))
        mixed = scrambled(numbers[part[0] : part[-1]].astype(np.uint64) + (places.astype(np.uint64) << np.uint64(32)))
        hashes[first : first + _SEQUENCES] = np.add.reduceat(mixed, starts)
    return hashes
