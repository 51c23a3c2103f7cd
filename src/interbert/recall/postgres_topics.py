"""Where an index on a PostgreSQL server keeps its topics: in its own schema, for every machine that shares the index.

In: the statements of `topics`, as it writes them for SQLite. Out: rows. No statement names a value, or another table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from interbert.recall.postgres import Address, Row, Server

if TYPE_CHECKING:
    import psycopg

_NAMES = re.compile(r"\b(topics|bundles|bundled|reviews)\b")
_THERE = (  # as of now: what to_regclass says may be from before the lock
    "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema AND tablename = 'interbert_topics')"
)
_ALONE = b"SELECT pg_advisory_xact_lock(hashtextextended('interbert topics ' || current_schema, 0))"
_ORDERED = "ALTER TABLE {} ADD COLUMN rowid bigint GENERATED ALWAYS AS IDENTITY"  # SQLite's have it


class TopicTables:
    """The tables of topics at an address. tables: the statements that make them.

    Raises InterbertError where the server cannot be reached.
    """

    def __init__(self, address: Address, tables: Sequence[str]) -> None:
        self._server, self._tables = Server(address), tables

    def are_there(self) -> bool:
        """Whether a topic was ever kept."""
        return bool(self._server.rows(_THERE)[0][0])

    def create(self) -> None:
        """Makes the tables where there are none, all or none; several machines may do so at once."""
        if self.are_there():
            return
        with self._server.transaction() as connection:
            connection.execute(_ALONE)
            if not self.are_there():
                for statement in (*self._tables, *map(_ORDERED.format, ("topics", "reviews"))):
                    connection.execute(_here(statement))

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        return self._server.rows(_here(statement).decode(), values)

    @contextmanager
    def transaction(self) -> Iterator[_Statements]:
        """All statements inside or none."""
        with self._server.transaction() as connection:
            yield _Statements(connection)

    def close(self) -> None:
        """Closes this process's connections."""
        self._server.close()


class _Statements:
    """A connection inside a transaction, as SQLite's is used."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Row]:
        return self._connection.execute(_here(statement), values)

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._connection.cursor().executemany(_here(statement), rows)


def _here(statement: str) -> bytes:
    """Of SQLite's statement PostgreSQL's.

    >>> _here("SELECT text FROM reviews r WHERE r.topic = ?")
    b'SELECT text FROM interbert_reviews r WHERE r.topic = %s'
    """
    return _NAMES.sub(r"interbert_\1", statement).replace("?", "%s").encode()
