"""The SQLite files of an index: WAL, so that readers and the one writer do not wait for each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from interbert.errors import InterbertError
from interbert.sqlite_file import SqliteFile


class Database(SqliteFile):
    """One of them.

    application, version: what its head says; another kind of file or a newer version is refused.
    synchronous: "FULL" survives a power cut; "NORMAL" may lose the last transactions, and never more.
    """

    def __init__(
        self, path: Path, tables: Sequence[str], application: int, version: int, synchronous: Literal["FULL", "NORMAL"]
    ) -> None:
        super().__init__(path, [f"synchronous = {synchronous}"])
        self._tables, self._application, self._version = tables, application, version

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
        application, version = self.marks()
        if application != self._application:
            raise InterbertError(f"'{self.path}' is another kind of file than this one's; give another folder")
        if version > self._version:
            raise InterbertError(f"'{self.path}' has format {version}, this interbert reads {self._version}; update it")

    def __del__(self) -> None:
        if hasattr(self, "_connections"):
            self.close()
