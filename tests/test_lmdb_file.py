from __future__ import annotations

import random
from pathlib import Path

import pytest
from legacy_writers import write_lmdb

from interbert.errors import InterbertError
from interbert.vision.lmdb_file import LmdbFile

pytest.importorskip("lmdb")


def contents(path: Path) -> list[tuple[bytes, bytes]]:
    with LmdbFile(path) as file:
        return [(entry.key, entry.value()) for entry in file]


def some_values(count: int) -> dict[bytes, bytes]:
    """Short values inside their page, longer ones in pages of their own; keys of many lengths."""
    numbers = random.Random(3)
    return {
        f"{numbers.randrange(10**9)}/{'x' * numbers.randrange(80)}".encode(): numbers.randbytes(
            numbers.choice([0, 3, 700, 2000, 2040, 5000, 20000])
        )
        for _ in range(count)
    }


@pytest.mark.parametrize("count", [0, 1, 40, 3000])
def test_everything_comes_out_in_the_order_of_the_keys(tmp_path: Path, count: int) -> None:
    values = some_values(count)
    folder = write_lmdb(tmp_path / "a.lmdb", values)
    assert contents(folder) == sorted(values.items())
    assert contents(folder / "data.mdb") == sorted(values.items())


def test_the_newest_state_counts_after_several_transactions(tmp_path: Path) -> None:
    import lmdb

    with lmdb.open(str(tmp_path / "a.lmdb"), map_size=1 << 26) as environment:
        for number in range(5):
            with environment.begin(write=True) as transaction:
                transaction.put(b"same", b"%d" % number * 3000)
                transaction.put(b"key %d" % number, b"v")
            with environment.begin(write=True) as transaction:
                transaction.delete(b"key %d" % (number - 1))
    assert contents(tmp_path / "a.lmdb") == [(b"key 4", b"v"), (b"same", b"4" * 3000)]


def test_a_value_is_read_only_when_asked_for(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "a.lmdb", {b"a": b"x" * 50_000, b"b": b"y" * 50_000})
    with LmdbFile(folder) as file:
        first, second = file
        assert file.entries == 2
        assert second.value()[:2] == b"yy"
        assert first.value()[:2] == b"xx"


def test_what_is_no_lmdb_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="cannot be read"):
        LmdbFile(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"a text" * 1000)
    with pytest.raises(InterbertError, match="not an LMDB file"):
        LmdbFile(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(InterbertError, match="was cut"):
        LmdbFile(tmp_path)


def test_a_file_that_was_cut_is_an_error_wherever(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "a.lmdb", some_values(40)) / "data.mdb"
    whole = path.read_bytes()
    for end in range(0, len(whole), 4096 * 3 + 100):
        path.write_bytes(whole[:end])
        with pytest.raises(InterbertError, match="was cut"):
            contents(path)


def test_damage_is_an_error_or_goes_unseen_and_never_ends_the_process(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "a.lmdb", some_values(300)) / "data.mdb"
    whole, numbers, errors = path.read_bytes(), random.Random(5), 0
    for _ in range(150):
        content = bytearray(whole)
        page = numbers.randrange(len(whole) // 4096) * 4096
        for _ in range(8):  # the heads of pages, where it hurts
            content[page + numbers.randrange(64)] = numbers.randrange(256)
        path.write_bytes(content)
        try:
            contents(path)
        except InterbertError:
            errors += 1
    assert errors > 30
