"""The manifest of a region store, one SQLite file: which record of which shard holds an id, and what picture it shows.

In: rows of `Entry`. Out: the same rows, by id or in the order of writing. A row is there whole or not at all, also
after a power cut: SQLite's rollback journal with synchronous=EXTRA. docs/formats.md has the tables.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from interbert.errors import InterbertError
from interbert.sqlite_file import SqliteFile
from interbert.vision.provenance import ImageInfo
from interbert.vision.shards import StoreCorrupt, is_storable

FORMAT_VERSION = 1
_APPLICATION_ID = 0x49425253  # "IBRS": tells our manifest from other SQLite files
_CHUNK = 10_000  # rows fetched at once: no cursor stays open to hold up a writer
_COLUMNS = "number, id, shard, offset, length, regions, source, sha256, perceptual, checksum"
_TABLES = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE shards (shard INTEGER PRIMARY KEY, length INTEGER NOT NULL, checksum INTEGER NOT NULL)",
    "CREATE TABLE records (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, shard INTEGER NOT NULL,"
    " offset INTEGER NOT NULL, length INTEGER NOT NULL, regions INTEGER NOT NULL, source TEXT, sha256 TEXT,"
    " perceptual INTEGER, checksum INTEGER NOT NULL)",
)


class Entry(NamedTuple):
    """One record's place. number: 0, 1, … in order of writing. offset, length: bytes in the shard. regions: N."""

    number: int
    id: str
    shard: int
    offset: int
    length: int
    regions: int
    image: ImageInfo | None

    def row(self) -> tuple[Any, ...]:
        """The columns of `records`; the last is a CRC-32 of the others, since SQLite has none."""
        image: tuple[Any, ...] = (None, None, None)
        if self.image is not None:
            signed = self.image.perceptual - (1 << 64 if self.image.perceptual >= 1 << 63 else 0)
            image = (self.image.source, self.image.sha256, signed)
        return _with_checksum((*self[:6], *image))


def _entry(columns: Sequence[Any]) -> Entry:
    number, id, shard, offset, length, regions, source, sha256, perceptual = columns
    image = None if source is None else ImageInfo(source, sha256, perceptual % (1 << 64))
    return Entry(number, id, shard, offset, length, regions, image)


def _with_checksum(columns: Sequence[Any]) -> tuple[Any, ...]:
    return (*columns, zlib.crc32("\0".join(map(str, columns)).encode()))


class Manifest(SqliteFile):
    """The manifest of `folder`."""

    def __init__(self, folder: Path, *, writable: bool = False) -> None:
        pragmas = ["synchronous = EXTRA", *([] if writable else ["query_only = ON"])]
        super().__init__(folder / "manifest.sqlite", pragmas, made=writable)

    def create(self, settings: dict[str, str]) -> None:
        """Makes the tables, whole or not at all."""
        with self.transaction() as connection:
            for statement in _TABLES:
                connection.execute(statement)
            connection.executemany("INSERT INTO settings VALUES (?, ?)", settings.items())
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")

    def is_new(self) -> bool:
        """Whether there are no tables yet: never made, or the first writer was killed before it had begun."""
        return not self.path.exists() or not self.rows("SELECT name FROM sqlite_master")

    def check_format(self) -> int:
        """The format's version. Raises InterbertError where this is no manifest or one of a newer format."""
        application, version = self.marks()
        if application != _APPLICATION_ID:
            raise InterbertError(f"'{self.path}' is not the manifest of a region store; extract into another folder")
        if version > FORMAT_VERSION:
            raise InterbertError(
                f"'{self.path.parent}' has format {version}; this interbert reads up to {FORMAT_VERSION}, update it"
            )
        return version

    def settings(self) -> dict[str, str]:
        """What the store was made with: feature_type, interbert."""
        return dict(self.rows("SELECT name, value FROM settings"))

    def count(self) -> int:
        """Records that are committed."""
        last = self.rows("SELECT max(number) FROM records")[0][0]
        if not isinstance(last, int | None):
            raise StoreCorrupt(f"'{self.path}' numbers its last record {last!r}; restore a copy or extract again")
        return 0 if last is None else last + 1

    def shards(self) -> dict[int, int]:
        """Committed bytes of each shard."""
        rows = self._checked("SELECT shard, length, checksum FROM shards ORDER BY shard")
        return dict(rows)

    def entry(self, id: str) -> Entry | None:
        """The whole row of an id, its checksum verified."""
        found = self._checked(f"SELECT {_COLUMNS} FROM records WHERE id = ?", (id,)) if is_storable(id) else []  # noqa: S608
        return _entry(found[0]) if found else None

    def entries(self, count: int) -> Iterator[Entry]:
        """The first `count` rows in order. Raises StoreCorrupt at one that has another checksum than was written."""
        for found in self.entries_or_damages(count):
            if isinstance(found, StoreCorrupt):
                raise found
            yield found

    def entries_or_damages(self, count: int) -> Iterator[Entry | StoreCorrupt]:
        """The same, with what `entries` would raise in the place of a damaged row."""
        for first in range(0, count, _CHUNK):
            statement = f"SELECT {_COLUMNS} FROM records WHERE number >= ? AND number < ? ORDER BY number"  # noqa: S608
            for row in self.rows(statement, (first, min(first + _CHUNK, count))):
                yield _entry(row[:-1]) if _with_checksum(row[:-1]) == row else self._damaged_row(row)

    def _damaged_row(self, row: tuple[Any, ...]) -> StoreCorrupt:
        return StoreCorrupt(f"'{self.path}': the row {row[:2]} is damaged; restore a copy or extract again")

    def _checked(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query whose last column is their checksum, without it."""
        rows = self.rows(statement, values)
        for row in rows:
            if _with_checksum(row[:-1]) != row:
                raise self._damaged_row(row)
        return [row[:-1] for row in rows]

    def add(self, entries: Sequence[Entry], shards: dict[int, int]) -> None:
        """Adds rows and the shards' new lengths in one transaction."""
        with self.transaction() as connection:
            connection.executemany(f"INSERT INTO records VALUES ({','.join('?' * 10)})", [e.row() for e in entries])  # noqa: S608
            connection.executemany(
                "INSERT OR REPLACE INTO shards VALUES (?, ?, ?)", map(_with_checksum, shards.items())
            )

    def damaged(self, error: Exception) -> InterbertError:
        """StoreCorrupt."""
        return StoreCorrupt(f"'{self.path}' is damaged ({error}); extract again, or restore a copy")
