"""An SQLite file with many readers beside one writer: a connection for each process and thread.

In: statements. Out: rows, or one sentence that says what is wrong with the file. What a transaction has committed is
there after kill -9; what a power cut leaves is for the pragmas to say.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interbert.errors import InterbertError

WAIT_SECONDS = 60.0  # for another process that is just committing
Row = tuple[Any, ...]


class Damaged(InterbertError):
    """What was read is not what was written."""


class SqliteFile:
    """One SQLite file. Usable after a fork and in threads.

    pragmas: given to each connection.  made: whether the file is made where there is none.
    """

    def __init__(self, path: Path, pragmas: Sequence[str], made: bool = True) -> None:
        self.path, self._pragmas, self._made = path, pragmas, made
        self._connections: dict[tuple[int, int], sqlite3.Connection] = {}  # no lock: a fork would copy it held

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query. Raises what `damaged` makes where SQLite says that the file is."""
        try:
            return self._connection().execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._explained(error) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements inside or none."""
        try:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def marks(self) -> tuple[int, int]:
        """What the file's head says it is: `application_id` and `user_version`."""
        (application,), (version,) = self.rows("PRAGMA application_id")[0], self.rows("PRAGMA user_version")[0]
        return int(application), int(version)

    def integrity(self) -> str | None:
        """What SQLite finds wrong with its own file, or None."""
        found = [row[0] for row in self.rows("PRAGMA integrity_check(5)")]
        return None if found == ["ok"] else "; ".join(found)

    def close(self) -> None:
        """Closes this process's connections."""
        for key in list(self._connections):
            if key[0] == os.getpid() and (connection := self._connections.pop(key, None)) is not None:
                connection.close()

    def damaged(self, error: Exception) -> InterbertError:
        """What is raised where the file is not what was written."""
        return Damaged(f"'{self.path}' is damaged ({error}); restore a copy, or make it again")

    def _connection(self) -> sqlite3.Connection:
        key = (os.getpid(), threading.get_ident())
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = self._connected()
        return connection

    def _connected(self) -> sqlite3.Connection:
        """A reader's may write too: it rolls back what a killed writer left half done."""
        address = f"{self.path.absolute().as_uri()}?mode={'rwc' if self._made else 'rw'}"
        connection = sqlite3.connect(
            address, uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        for pragma in self._pragmas:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _explained(self, error: Exception) -> InterbertError:
        if isinstance(error, sqlite3.OperationalError):
            return InterbertError(f"'{self.path}': {error}; what was committed before is safe, mend this and go on")
        return self.damaged(error)
