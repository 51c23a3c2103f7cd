"""Vectors of pictures in shards on disk: appended in blocks with a checksum each, scanned exactly by memory map.

In: float32 [n, F], appended by one writer. Out: inner products of chosen ones with a query. Who keeps the list of
blocks decides what is there: bytes behind the last block are cut by the next writer. docs/formats.md has the layout.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interbert.errors import InterbertError
from interbert.files import sync_folder
from interbert.sqlite_file import Damaged
from interbert.vision.shards import crc32

SHARD_BYTES = 1 << 30  # a new shard begins when the last has more
ROWS_AT_ONCE = 1 << 15  # of a scan: bounds what is in memory at a time
_FLOAT = np.dtype("<f4")
_HEADER = struct.Struct("<16s I I I 36x")  # magic, version of the layout, the shard's number, F
_GATHERED = 0.25  # of a piece: where fewer of its vectors are wanted, they are picked out before the product


class Block(NamedTuple):
    """Vectors that were appended together. first: the number of the first.  offset: where in the shard, in bytes."""

    first: int
    vectors: int
    shard: int
    offset: int
    checksum: int


class VectorShards:
    """The vectors of `folder`, of `size` numbers each, as far as lists of blocks say. Usable in threads."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self._maps: dict[int, mmap.mmap] = {}
        self._verified: set[int] = set()
        self._lock = threading.Lock()

    def append(self, vectors: NDArray[np.float32], before: Block | None) -> Block:
        """Puts vectors behind block `before` (None: they are the first ones); on disk before this returns.

        The block is part of the store once its row is. Raises InterbertError where they cannot be written.
        """
        shard, offset, first = 0, _HEADER.size, 0
        if before is not None:
            first, shard = before.first + before.vectors, before.shard
            offset = before.offset + before.vectors * self._row_bytes
            if offset >= SHARD_BYTES:
                shard, offset = shard + 1, _HEADER.size
        data = np.ascontiguousarray(vectors, _FLOAT).tobytes()
        try:
            self._write(shard, offset, data)
        except OSError as error:
            raise InterbertError(
                f"'{self.folder}' could not be written ({error.strerror}); what was committed before is safe, make "
                "room and give the same command again"
            ) from error
        return Block(first, len(vectors), shard, offset, crc32(data))

    def products(
        self, blocks: Sequence[Block], query: NDArray[np.float32], wanted: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Inner products with `query`, float32 [F], of the vectors with the numbers `wanted`, int64 [n] ascending.

        Returns float32 [n]. Raises Damaged where bytes are missing or have changed since they were written; checksums
        are compared at the first read by this object.
        """
        found = np.empty(len(wanted), np.float32)
        for first, rows in self._pieces(blocks, wanted):
            low, high = np.searchsorted(wanted, [first, first + len(rows)])
            places = wanted[low:high] - first
            if len(places) < _GATHERED * len(rows):
                found[low:high] = rows[places] @ query
            elif len(places):
                found[low:high] = (rows @ query)[places]
        return found

    def close(self) -> None:
        """Lets go of the files."""
        self._maps.clear()

    @property
    def _row_bytes(self) -> int:
        return self.size * _FLOAT.itemsize

    def _pieces(self, blocks: Sequence[Block], wanted: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(number of the first vector, float32 [n, F] as it is on disk) of what holds anything that is wanted."""
        pending: list[Block] = []
        for block in blocks:
            low, high = np.searchsorted(wanted, [block.first, block.first + block.vectors])
            if low == high:
                continue
            self._verify(block)
            last = pending[-1] if pending else None
            joined = last is not None and last.shard == block.shard and last.first + last.vectors == block.first
            if pending and (not joined or block.first + block.vectors - pending[0].first > ROWS_AT_ONCE):
                yield self._rows(pending)
                pending = []
            pending.append(block)
        if pending:
            yield self._rows(pending)

    def _rows(self, blocks: Sequence[Block]) -> tuple[int, NDArray[np.float32]]:
        """The vectors of neighbouring blocks of one shard."""
        count = sum(block.vectors for block in blocks)
        memory = self._map(blocks[0].shard, blocks[-1].offset + blocks[-1].vectors * self._row_bytes)
        return blocks[0].first, np.ndarray((count, self.size), _FLOAT, memory, blocks[0].offset)

    def _verify(self, block: Block) -> None:
        if block.first in self._verified:
            return
        end = block.offset + block.vectors * self._row_bytes
        memory = self._map(block.shard, end)
        with memoryview(memory) as view:
            if crc32(view[block.offset : end]) != block.checksum:
                raise Damaged(
                    f"'{self._path(block.shard)}' at byte {block.offset}: {block.vectors} vectors have another "
                    "checksum than was written; restore a copy, or make the index again"
                )
        self._verified.add(block.first)

    def _map(self, shard: int, end: int) -> mmap.mmap:
        """The shard's bytes, at least `end` of them."""
        with self._lock:
            memory, path = self._maps.get(shard), self._path(shard)
            there = path.stat().st_size if path.is_file() else 0
            if there < end:  # touching a page behind the end would kill the process
                raise Damaged(f"'{path}' has {there} bytes, wanted {end}: it was cut or is missing; restore a copy")
            if memory is None or len(memory) < end:
                with open(path, "rb") as file:
                    memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                if memory[: _HEADER.size] != self._header(shard):
                    raise Damaged(f"'{path}': its first bytes are damaged; restore a copy, or make the index again")
                self._maps[shard] = memory
            return memory

    def _write(self, shard: int, offset: int, data: bytes) -> None:
        """Puts bytes at a place of a shard, and cuts what a killed writer left behind it."""
        file = os.open(self._path(shard), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if offset == _HEADER.size:
                os.pwrite(file, self._header(shard), 0)
            os.ftruncate(file, offset)
            view, at = memoryview(data), offset
            while view:
                written = os.pwrite(file, view, at)
                view, at = view[written:], at + written
            os.fsync(file)
        finally:
            os.close(file)
        sync_folder(self.folder)

    def _header(self, shard: int) -> bytes:
        return _HEADER.pack(b"interbertvectors", 1, shard, self.size)

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:06d}.vectors"


def largest(numbers: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Places of the `count` largest, the largest first; of equal ones the first first.

    >>> largest(np.array([1, 3, 2, 3, 0], np.float32), 3).tolist()
    [1, 3, 2]
    """
    if count < len(numbers):  # sorting all of a million takes as long as their inner products
        least = np.partition(numbers, len(numbers) - count)[len(numbers) - count]
        among = np.flatnonzero(numbers >= least)
        return among[np.argsort(-numbers[among], kind="stable")[:count]]
    return np.argsort(-numbers, kind="stable")
