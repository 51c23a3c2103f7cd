"""One SQLite file for many readers and one writer."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from interbert.errors import InterbertError
from interbert.sqlite_file import Damaged, SqliteFile


@pytest.fixture
def file(tmp_path: Path) -> SqliteFile:
    made = SqliteFile(tmp_path / "a ?#%.sqlite", ["synchronous = FULL"])
    with made.transaction() as connection:
        connection.execute("CREATE TABLE things (name TEXT UNIQUE)")
    return made


def test_a_transaction_is_there_whole_or_not_at_all(file: SqliteFile) -> None:
    def put(divisor: int) -> None:
        with file.transaction() as connection:
            connection.execute("INSERT INTO things VALUES ('one')")
            assert 1 / divisor

    with pytest.raises(ZeroDivisionError):
        put(0)
    assert file.rows("SELECT * FROM things") == []
    put(1)
    assert file.rows("SELECT * FROM things") == [("one",)]


def test_each_thread_has_a_connection_and_close_ends_them_all(file: SqliteFile) -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend([file._connection(), file.rows("SELECT 1")]))
    thread.start()
    thread.join()
    assert found[1] == [(1,)]
    assert found[0] is not file._connection()
    file.close()
    assert not file._connections


def test_pragmas_hold_for_every_connection(file: SqliteFile) -> None:
    reader = SqliteFile(file.path, ["query_only = ON"], made=False)
    assert reader.rows("SELECT * FROM things") == []
    with pytest.raises(InterbertError, match="readonly"), reader.transaction() as connection:
        connection.execute("INSERT INTO things VALUES ('one')")
    reader.close()
    file.close()


def test_a_file_that_is_not_there_is_not_made_unless_wished(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="unable to open"):
        SqliteFile(tmp_path / "none", [], made=False).rows("SELECT 1")
    assert not (tmp_path / "none").exists()


def test_what_is_no_sqlite_file_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no database, but long enough to be taken for the head of one " * 20)
    file = SqliteFile(tmp_path / "text", [])
    with pytest.raises(Damaged, match="text' is damaged"):
        file.rows("SELECT name FROM sqlite_master")
    file.close()
