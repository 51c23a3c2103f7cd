"""What only the embedded store has: its folder, its checksums, and how it survives."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from product_store_helpers import FACTS, filled_store

from interbert.errors import InterbertError
from interbert.recall.sqlite_store import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    made = filled_store(tmp_path / "index")
    assert isinstance(made, SqliteStore)
    return made


def test_an_index_says_what_it_is_and_is_not_made_over_something_else(store: SqliteStore, tmp_path: Path) -> None:
    assert SqliteStore.create(store.folder, FACTS).facts == FACTS
    assert "ab" * 32 in (store.folder / "README.md").read_text()
    with pytest.raises(InterbertError, match="is not an index; make one:  interbert index"):
        SqliteStore(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").touch()
    with pytest.raises(InterbertError, match="is not empty and not an index"):
        SqliteStore.create(tmp_path / "other", FACTS)
    described = json.loads((store.folder / "index.json").read_text())
    (store.folder / "index.json").write_text(json.dumps(described | {"version": 2}))
    with pytest.raises(InterbertError, match="has format 2, this interbert reads 1"):
        SqliteStore(store.folder)


def test_verify_reads_everything(store: SqliteStore) -> None:
    assert store.verify() == 6
    (shard,) = (store.folder / "vectors").iterdir()
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(InterbertError, match="have another checksum"):
        SqliteStore(store.folder).verify()


def test_the_files_survive_power_cuts_as_far_as_sqlite_does(store: SqliteStore) -> None:
    with sqlite3.connect(store.folder / "products.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    assert store.database.rows("PRAGMA synchronous") == [(2,)]  # FULL
