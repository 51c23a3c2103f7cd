"""LMDB files, read alone: the file in, keys and values out, in the order of the keys. docs/formats.md has the pages.

LMDB's own library maps the file and trusts it: one that was cut ends the process. Here each page is read and checked,
memory holds one page and one value, nothing is locked or written, and no package is needed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from interbert.errors import InterbertError

MAX_VALUE_BYTES = 1 << 26
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW = 0x01, 0x02, 0x04
_BIG, _NESTED = 0x01, 0x06  # of a node: its value has pages of its own; it is a database or a list of values
_LISTS = 0x04  # of a database: a key may have several values
_MAX_DEPTH = 32  # as LMDB's own
_NONE = 0xFFFF_FFFF_FFFF_FFFF
_HEAD = struct.Struct("<Q 2x H H H")  # number, flags, lower, upper; in overflow pages the last two count the pages
_META = struct.Struct(
    "<II 16x I 44x 4x H H 24x QQQQ"
)  # magic, version, page size, flags, depth, entries, root, last, number
_NODE = struct.Struct("<HHHH")  # low and high half of the size, flags, bytes of the key


@dataclass(frozen=True)
class Entry:
    """A key, and how to read its value."""

    key: bytes
    value: Callable[[], bytes]


class LmdbFile:
    """The unnamed database of an LMDB file or folder; a context manager.

    Raises InterbertError where there is none, it is not LMDB 0.9's format (64 bits, little-endian), or it was cut or
    damaged: at opening, while iterating, or when a value is read.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.path = path / "data.mdb" if path.is_dir() else path
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InterbertError(f"'{self.path}' cannot be read ({error.strerror}); give an LMDB folder") from error
        try:
            self._page_size = 512
            metas = [self._meta(0)]
            self._page_size = metas[0][2]
            metas.append(self._meta(1))
            *_, flags, self._depth, self.entries, self._root, self._last, _ = max(metas, key=lambda meta: meta[-1])
            if flags & _LISTS:
                raise self._damage("has several values for one key; wanted one")
            if os.fstat(self._file).st_size < (self._last + 1) * self._page_size:
                raise self._damage(f"was cut: wanted {(self._last + 1) * self._page_size} bytes")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LmdbFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file; what was not read by then is an error."""
        os.close(self._file)
        self._file = -1

    def __iter__(self) -> Iterator[Entry]:
        """Every entry in the order of the keys. Values are read when asked for."""
        if self._root == _NONE:
            return
        count = 0
        for entry in self._below(self._root, self._depth):
            if count == self.entries:
                raise self._damage(f"has more entries than its {self.entries}")
            count += 1
            yield entry
        if count < self.entries:
            raise self._damage(f"has {count} entries of its {self.entries}")

    def _meta(self, number: int) -> tuple[int, ...]:
        content = self._read(number * self._page_size, _HEAD.size + _META.size)
        meta = _META.unpack_from(content, _HEAD.size)
        if meta[0] != _MAGIC:
            raise InterbertError(f"'{self.path}' is not an LMDB file of a 64-bit little-endian machine")
        page_size = meta[2]
        if meta[1] != _VERSION or not 256 <= page_size <= 1 << 16 or page_size & (page_size - 1):
            raise InterbertError(f"'{self.path}' has LMDB's format {meta[1]}; format 1 (LMDB 0.9) is read")
        return meta

    def _below(self, number: int, depth: int) -> Iterator[Entry]:
        """The entries of a page and of the pages under it."""
        page, flags, nodes = self._page(number)
        if not 1 <= depth <= _MAX_DEPTH or not flags & (_LEAF if depth == 1 else _BRANCH):
            raise self._damage(f"has a wrong page {number}")
        for at in nodes:
            low, high, marks, key_bytes = self._unpacked(_NODE, page, at)
            key, start = page[at + _NODE.size : at + _NODE.size + key_bytes], at + _NODE.size + key_bytes
            if depth > 1:
                yield from self._below(low | high << 16 | marks << 32, depth - 1)
                continue
            size = low | high << 16
            if marks & _NESTED or size > MAX_VALUE_BYTES:
                raise self._damage(f"has a value that is no plain one under the key {key[:80]!r}")
            yield Entry(key, self._value(page, start, size, bool(marks & _BIG)))

    def _value(self, page: bytes, start: int, size: int, big: bool) -> Callable[[], bytes]:
        if not big:
            if start + size > len(page):
                raise self._damage("has a value outside its page")
            return lambda: page[start : start + size]
        (number,) = self._unpacked(struct.Struct("<Q"), page, start)
        return lambda: self._big(number, size)

    def _big(self, number: int, size: int) -> bytes:
        if number > self._last:
            raise self._damage(f"names page {number}, its last is {self._last}")
        content = self._read(number * self._page_size, _HEAD.size + size)
        found, flags, low, high = _HEAD.unpack_from(content)
        if found != number or not flags & _OVERFLOW or (low | high << 16) * self._page_size < len(content):
            raise self._damage(f"has a wrong page {number}")
        return content[_HEAD.size :]

    def _page(self, number: int) -> tuple[bytes, int, tuple[int, ...]]:
        """A page's bytes, its flags, and where its nodes begin."""
        if not 2 <= number <= self._last:
            raise self._damage(f"names page {number}, its last is {self._last}")
        page = self._read(number * self._page_size, self._page_size)
        found, flags, lower, _ = _HEAD.unpack_from(page)
        if found != number or not _HEAD.size <= lower <= len(page) or lower % 2:
            raise self._damage(f"has a wrong page {number}")
        return page, flags, struct.unpack_from(f"<{(lower - _HEAD.size) // 2}H", page, _HEAD.size)

    def _unpacked(self, layout: struct.Struct, page: bytes, at: int) -> tuple[int, ...]:
        try:
            return layout.unpack_from(page, at)
        except struct.error:
            raise self._damage("has a node outside its page") from None

    def _read(self, offset: int, size: int) -> bytes:
        try:
            content = os.pread(self._file, size, offset)
        except OSError as error:
            raise InterbertError(f"'{self.path}' cannot be read ({error.strerror})") from error
        if len(content) < size:
            raise self._damage(f"was cut: it ends before byte {offset + size}")
        return content

    def _damage(self, what: str) -> InterbertError:
        return InterbertError(f"'{self.path}' {what}; fetch it again. What was imported before is kept")
