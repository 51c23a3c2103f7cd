"""Shards of vectors: what comes out is what was put in, or an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from faults.files import flip_bit

from interbert.recall import vectors
from interbert.recall.vectors import Block, VectorShards, largest
from interbert.sqlite_file import Damaged

SIZE = 6


@pytest.fixture
def kept(tmp_path: Path) -> tuple[VectorShards, list[Block], np.ndarray]:
    """Three blocks of 5, 1 and 9 vectors."""
    given = np.random.default_rng(0).normal(size=(15, SIZE)).astype(np.float32)
    shards, blocks = VectorShards(tmp_path, SIZE), []
    for start, end in ((0, 5), (5, 6), (6, 15)):
        blocks.append(shards.append(given[start:end], blocks[-1] if blocks else None))
    return shards, blocks, given


@pytest.mark.parametrize("wanted", [range(15), [0, 5, 14], [5], [], range(6, 15)])
def test_products_are_those_of_the_vectors(
    kept: tuple[VectorShards, list[Block], np.ndarray], wanted: list[int]
) -> None:
    shards, blocks, given = kept
    query, numbers = np.arange(SIZE, dtype=np.float32), np.array(wanted, np.int64)
    np.testing.assert_allclose(shards.products(blocks, query, numbers), given[numbers] @ query, rtol=1e-5, atol=1e-5)


def test_shards_end_where_they_are_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "SHARD_BYTES", 200)
    given = np.random.default_rng(1).normal(size=(20, SIZE)).astype(np.float32)
    shards, blocks = VectorShards(tmp_path, SIZE), []
    for start in range(0, 20, 4):
        blocks.append(shards.append(given[start : start + 4], blocks[-1] if blocks else None))
    assert [block.shard for block in blocks] == [0, 0, 1, 1, 2]
    found = VectorShards(tmp_path, SIZE).products(blocks, given[7], np.arange(20))
    np.testing.assert_allclose(found, given @ given[7], rtol=1e-5, atol=1e-5)


def test_what_was_not_listed_is_written_over(kept: tuple[VectorShards, list[Block], np.ndarray]) -> None:
    shards, blocks, given = kept
    again = shards.append(given[:2], blocks[0])  # a killed writer's second block was never listed
    assert (again.first, again.offset) == (5, blocks[1].offset)
    found = VectorShards(shards.folder, SIZE).products([blocks[0], again], given[0], np.array([5, 6]))
    np.testing.assert_allclose(found, given[:2] @ given[0], rtol=1e-5, atol=1e-5)


def test_every_changed_byte_is_seen(kept: tuple[VectorShards, list[Block], np.ndarray]) -> None:
    shards, blocks, _ = kept
    (path,) = shards.folder.iterdir()
    query = np.ones(SIZE, np.float32)
    for byte in range(path.stat().st_size):
        flip_bit(path, byte, byte % 8)
        with pytest.raises(Damaged):
            VectorShards(shards.folder, SIZE).products(blocks, query, np.arange(15))
        flip_bit(path, byte, byte % 8)


def test_a_shard_that_was_cut_is_an_error_also_while_it_is_open(
    kept: tuple[VectorShards, list[Block], np.ndarray],
) -> None:
    shards, blocks, _ = kept
    query = np.ones(SIZE, np.float32)
    shards.products(blocks, query, np.arange(15))
    (path,) = shards.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Damaged, match="it was cut or is missing"):
        shards.products(blocks, query, np.arange(15))


def test_the_largest_are_those_of_a_whole_stable_sort() -> None:
    numbers = np.random.default_rng(0).integers(0, 50, 1000).astype(np.float32)  # with many equal ones
    whole = np.argsort(-numbers, kind="stable")
    for count in (1, 20, 999, 1000, 2000):
        np.testing.assert_array_equal(largest(numbers, count), whole[:count])
