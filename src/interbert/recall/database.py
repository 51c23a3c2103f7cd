"""An SQLite file with many readers beside one writer: WAL, a connection for each process and thread.

In: statements. Out: rows, or one sentence that says what is wrong with the file. What a transaction has committed is
there after kill -9 and, with `synchronous` FULL, after a power cut.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from interbert.errors import InterbertError

WAIT_SECONDS = 60.0  # for another process that is just committing
Row = tuple[Any, ...]


class Damaged(InterbertError):
    """What was read is not what was written."""


class Database:
    """One SQLite file. Usable after a fork and in threads.

    application, version: what its head says; another kind of file or a newer version is refused.
    synchronous: "FULL" survives a power cut; "NORMAL" may lose the last transactions, and never more.
    """

    def __init__(
        self, path: Path, tables: Sequence[str], application: int, version: int, synchronous: Literal["FULL", "NORMAL"]
    ) -> None:
        self.path = path
        self._tables, self._application, self._version = tables, application, version
        self._synchronous = synchronous
        self._connections: dict[tuple[int, int], sqlite3.Connection] = {}
        self._lock = threading.Lock()

    def create(self) -> None:
        """Makes the tables where there are none, all or none. Raises InterbertError for another kind of file."""
        self.rows("PRAGMA journal_mode = WAL")
        with self.transaction() as connection:
            if not connection.execute("SELECT name FROM sqlite_master").fetchall():
                for statement in self._tables:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {self._application}")
                connection.execute(f"PRAGMA user_version = {self._version}")
        self.check()

    def check(self) -> None:
        """Raises InterbertError where the file is of another kind or a newer format."""
        (application,), (version,) = self.rows("PRAGMA application_id")[0], self.rows("PRAGMA user_version")[0]
        if application != self._application:
            raise InterbertError(f"'{self.path}' is another kind of file than this one's; give another folder")
        if version > self._version:
            raise InterbertError(f"'{self.path}' has format {version}, this interbert reads {self._version}; update it")

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query. Raises Damaged where SQLite says that the file is."""
        try:
            return self._connection().execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._explained(error) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements inside or none."""
        connection = self._connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def close(self) -> None:
        """Closes this process's connections."""
        with self._lock:
            for key in [key for key in self._connections if key[0] == os.getpid()]:
                self._connections.pop(key).close()

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.close()

    def _connection(self) -> sqlite3.Connection:
        key = (os.getpid(), threading.get_ident())
        connection = self._connections.get(key)
        if connection is None:
            try:
                connection = sqlite3.connect(
                    self.path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
                )
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            except sqlite3.Error as error:
                raise self._explained(error) from error
            with self._lock:
                self._connections[key] = connection
        return connection

    def _explained(self, error: Exception) -> InterbertError:
        if isinstance(error, sqlite3.OperationalError):
            return InterbertError(f"'{self.path}': {error}; what was committed before is safe, mend this and go on")
        return Damaged(f"'{self.path}' is damaged ({error}); restore a copy, or make it again")
