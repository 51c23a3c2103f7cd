"""The embedded `ProductStore`: a folder with SQLite for products, a RegionStore, and shards of vectors. No server.

A version is a number; a product's row says from which version until before which it is seen. So a reader that pins a
version is never held up and never sees half of a change, and an older version is there as long as its rows are.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interbert.batch import Regions
from interbert.errors import InterbertError, UsageError
from interbert.files import sync_folder, whole_file, write_json
from interbert.recall.database import Database
from interbert.recall.filters import Filter, to_sql
from interbert.recall.store import OWN_COLUMNS, Cell, Facts, Kind, Product, Selection, Version, new_columns
from interbert.recall.vectors import Block, VectorShards, largest
from interbert.sqlite_file import Damaged
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore, UnknownId

FORMAT, FORMAT_VERSION = "interbert index", 1
_APPLICATION = 0x49424958  # "IBIX"
_OWN = {name: f"p.{name}" for name in OWN_COLUMNS}
_TABLES = (
    "CREATE TABLE versions (version INTEGER PRIMARY KEY, created TEXT NOT NULL, what TEXT NOT NULL,"
    " products INTEGER NOT NULL, added INTEGER NOT NULL, replaced INTEGER NOT NULL, deleted INTEGER NOT NULL)",
    "CREATE TABLE columns (place INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL)",
    "CREATE TABLE pictures (picture INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, regions INTEGER NOT NULL)",
    "CREATE TABLE vectors (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, shard INTEGER NOT NULL,"
    " offset INTEGER NOT NULL, checksum INTEGER NOT NULL)",
    "CREATE TABLE products (row INTEGER PRIMARY KEY, id TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER,"
    " picture INTEGER NOT NULL REFERENCES pictures, title TEXT NOT NULL, image TEXT NOT NULL)",
    "CREATE UNIQUE INDEX products_now ON products (id) WHERE until IS NULL",
    "CREATE INDEX products_ever ON products (id)",
)
_SEEN = "p.since <= ? AND (p.until IS NULL OR p.until > ?)"


class SqliteStore:
    """An index in a folder. See `ProductStore`; Raises InterbertError where `folder` is none, or a newer one."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.facts = _facts(self.folder)
        self.region_folder = self.folder / "regions"
        self.database = _database(self.folder)
        self.database.check()
        self._vectors = VectorShards(self.folder / "vectors", self.facts.vector_size)
        self._blocks: list[Block] = []
        self._regions: RegionStore | None = None
        self._whole: tuple[int, Selection] | None = None
        self._kept: tuple[Selection, NDArray[np.int64], NDArray[np.int64]] | None = None

    @classmethod
    def create(cls, folder: str | Path, facts: Facts) -> SqliteStore:
        """A new index, or the one that is there. Raises InterbertError where the folder holds something else."""
        folder = Path(folder)
        described = folder / "index.json"
        if not described.is_file():
            there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
            others = there - {"vectors", "products.sqlite", "README.md"}
            if {name for name in others if not name.startswith((".", "products.sqlite-"))}:
                raise InterbertError(f"'{folder}' is not empty and not an index; give a new folder with --out")
            try:
                (folder / "vectors").mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InterbertError(f"'{folder}' cannot be an index ({error.strerror}); give another --out") from error
            _database(folder).create()
            with whole_file(folder / "README.md") as file:
                file.write(_readme(facts))
            write_json(described, {"format": FORMAT, "version": FORMAT_VERSION, **asdict(facts)})
            sync_folder(folder)
        return cls(folder)

    def columns(self) -> dict[str, Kind]:
        """See `ProductStore`."""
        own: dict[str, Kind] = dict.fromkeys(_OWN, "text")
        return own | {name: kind for _, name, kind in self._columns()}

    def versions(self) -> list[Version]:
        """See `ProductStore`."""
        return [Version(*row) for row in self.database.rows("SELECT * FROM versions ORDER BY version")]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See `ProductStore`. A kill lets the next one in."""
        try:
            lock = os.open(self.folder / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise InterbertError(f"index '{self.folder}' cannot be written ({error.strerror})") from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                process = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
                raise InterbertError(
                    f"process {process} is writing to index '{self.folder}'; wait until it has ended, or stop it"
                ) from None
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(lock)

    def known(self, keys: Collection[str]) -> dict[str, int]:
        """See `ProductStore`."""
        statement = "SELECT key, picture FROM pictures WHERE key IN (SELECT value FROM json_each(?))"
        return dict(self.database.rows(statement, (json.dumps(list(keys)),)))

    def picture_key(self, number: int) -> str | None:
        """See `ProductStore`."""
        rows = self.database.rows("SELECT key FROM pictures WHERE picture = ?", (number,))
        return str(rows[0][0]) if rows else None

    def add_pictures(self, keys: Sequence[str], counts: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """See `ProductStore`. Their regions are in `region_folder`."""
        blocks = self._known_blocks()
        block = self._vectors.append(vectors, blocks[-1] if blocks else None)
        with self.database.transaction() as connection:
            rows = [(block.first + at, key, count) for at, (key, count) in enumerate(zip(keys, counts, strict=True))]
            connection.executemany("INSERT INTO pictures VALUES (?, ?, ?)", rows)
            connection.execute("INSERT INTO vectors VALUES (?, ?, ?, ?, ?)", block)

    def change(
        self, add: Iterable[Product], delete: Collection[str], kinds: Mapping[str, Kind], what: str
    ) -> Version | None:
        """See `ProductStore`. One transaction."""
        with self.database.transaction() as connection:
            number, places = _next_version(connection), self._made_columns(connection, kinds)
            deleted = added = replaced = 0
            for id in delete:
                deleted += connection.execute(_CLOSE, (number, id)).rowcount
            insert = _insert(places)
            current = self._query(places, "p.id = ? AND p.until IS NULL")
            pictures = "SELECT picture FROM pictures WHERE key = ?"
            for product in add:
                before = connection.execute(current, (product.id,)).fetchone()
                if before is not None and _product(before, places) == product:
                    continue
                replaced += before is not None
                added += before is None
                connection.execute(_CLOSE, (number, product.id))
                (picture,) = connection.execute(pictures, (product.picture,)).fetchone()
                cells = [product.cells.get(name) for name in places]
                connection.execute(insert, (product.id, number, picture, product.title, product.image, *cells))
            if not deleted + added + replaced:
                return None
            return _commit_version(connection, number, what, added, replaced, deleted)

    def restore(self, number: int) -> Version:
        """See `ProductStore`."""
        self._check(number)
        with self.database.transaction() as connection:
            new = _next_version(connection)
            columns = ", ".join(["id", "picture", "title", "image", *(f"c{place}" for place, _, _ in self._columns())])
            closed = connection.execute(
                "UPDATE products SET until = ? WHERE until IS NULL AND since > ?", (new, number)
            ).rowcount
            opened = connection.execute(
                f"INSERT INTO products (since, {columns}) SELECT ?, {columns} FROM products"  # noqa: S608
                " WHERE since <= ? AND until > ? ORDER BY row",
                (new, number, number),
            ).rowcount
            (both,) = connection.execute(
                "SELECT count(*) FROM products a JOIN products b ON a.id = b.id WHERE a.since = ? AND b.until = ?",
                (new, new),
            ).fetchone()
            what = f"restored version {number}"
            return _commit_version(connection, new, what, opened - both, both, closed - both)

    def select(self, version: int, where: Filter | None) -> Selection:
        """See `ProductStore`."""
        whole = self._whole  # as it is now: another thread may put another version in its place
        if where is None and whole is not None and whole[0] == version:
            return whole[1]
        self._check(version)
        statement = (
            "SELECT p.row, p.picture, k.regions FROM products p JOIN pictures k ON k.picture = p.picture"  # noqa: S608
            f" WHERE {_SEEN}"
        )
        values: list[Any] = [version, version]
        if where is not None:
            condition, given = to_sql(where, self._places())
            statement, values = f"{statement} AND ({condition})", values + given
        found = np.array(self.database.rows(f"{statement} ORDER BY p.row", values), np.int64).reshape(-1, 3)
        selection = Selection(found[:, 0].copy(), found[:, 1].copy(), found[:, 2].copy())
        if where is None:
            self._whole = version, selection
        return selection

    def nearest(
        self, version: int, where: Filter | None, query: NDArray[np.float32], count: int
    ) -> tuple[Selection, NDArray[np.float32]]:
        """See `ProductStore`: an exact scan."""
        selection = self.select(version, where)
        pictures, of_picture = self._distinct(selection)
        scores = self._vectors.products(self._known_blocks(), query, pictures)
        best = largest(scores, count)
        rank = np.full(len(pictures), len(pictures), np.int64)
        rank[best] = np.arange(len(best))
        found = np.flatnonzero(rank[of_picture] < len(best))
        order = found[np.argsort(rank[of_picture[found]], kind="stable")]
        return selection.at(order), scores[of_picture[order]]

    def products(self, rows: Sequence[int]) -> list[Product]:
        """See `ProductStore`."""
        places = self._cell_places()
        statement = self._query(places, "p.row IN (SELECT value FROM json_each(?))")
        found = {row[0]: _product(row, places) for row in self.database.rows(statement, (json.dumps(list(rows)),))}
        return [found[row] for row in rows]

    def find(self, version: int, id: str) -> Product | None:
        """See `ProductStore`."""
        places = self._cell_places()
        rows = self.database.rows(self._query(places, f"p.id = ? AND {_SEEN}"), (id, version, version))
        return _product(rows[0], places) if rows else None

    def ids(self, version: int) -> set[str]:
        """See `ProductStore`."""
        rows = self.database.rows(f"SELECT p.id FROM products p WHERE {_SEEN}", (version, version))  # noqa: S608
        return {id for (id,) in rows}

    def regions(self, pictures: Sequence[int]) -> list[Regions]:
        """See `ProductStore`."""
        statement = "SELECT picture, key FROM pictures WHERE picture IN (SELECT value FROM json_each(?))"
        keys: dict[int, str] = dict(self.database.rows(statement, (json.dumps(list(pictures)),)))
        try:
            return [self._region_store()[keys[picture]] for picture in pictures]
        except UnknownId:  # of pictures that came after this reader had opened the store
            self._regions = None
        return [self._region_store()[keys[picture]] for picture in pictures]

    def verify(self) -> int:
        """Reads everything. Returns the number of pictures; raises the first damage."""
        if found := self.database.integrity():
            raise Damaged(f"'{self.database.path}' is damaged: {found}; restore a copy")
        (count,) = self.database.rows("SELECT count(*) FROM pictures")[0]
        self._vectors.products(
            self._known_blocks(), np.zeros(self.facts.vector_size, np.float32), np.arange(count, dtype=np.int64)
        )
        if count:
            with RegionStore(self.region_folder) as regions:
                regions.verify()
        return int(count)

    def close(self) -> None:
        """See `ProductStore`."""
        self.database.close()
        self._vectors.close()
        self._regions = None

    def _check(self, version: int) -> None:
        if not self.database.rows("SELECT 1 FROM versions WHERE version = ?", (version,)):
            known = ", ".join(str(one.number) for one in self.versions()[-10:]) or "none yet"
            raise UsageError(f"index '{self.folder}' has no version {version}; it has {known}")

    def _known_blocks(self) -> list[Block]:
        blocks = self._blocks  # as it is now: another thread may put a longer list in its place
        statement = "SELECT first, count, shard, offset, checksum FROM vectors WHERE first > ? ORDER BY first"
        new = self.database.rows(statement, (blocks[-1].first if blocks else -1,))
        self._blocks = blocks = blocks + [Block(*row) for row in new]
        return blocks

    def _distinct(self, selection: Selection) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pictures of a selection, ascending, and the place of each product's among them; kept for all products."""
        kept = self._kept  # as it is now: another thread may put another one in its place
        if kept is not None and kept[0] is selection:
            return kept[1:]
        pictures, of_picture = np.unique(selection.pictures, return_inverse=True)
        if self._whole is not None and self._whole[1] is selection:
            self._kept = selection, pictures, of_picture
        return pictures, of_picture

    def _region_store(self) -> RegionStore:
        store = self._regions
        if store is None:
            self._regions = store = RegionStore(self.region_folder)
        return store

    def _columns(self) -> list[tuple[int, str, Kind]]:
        return [(place, name, kind) for place, name, kind in self.database.rows("SELECT * FROM columns ORDER BY place")]

    def _cell_places(self) -> dict[str, str]:
        """Column -> its name in SQL, of those that are cells."""
        return {name: f"p.c{place}" for place, name, _ in self._columns()}

    def _places(self) -> dict[str, str]:
        return _OWN | self._cell_places()

    def _made_columns(self, connection: sqlite3.Connection, kinds: Mapping[str, Kind]) -> dict[str, str]:
        """The places of all columns, after those that are not there yet are made."""
        there = {name: kind for _, name, kind in self._columns()}
        for place, (name, kind) in enumerate(new_columns(there, kinds).items(), len(there)):
            connection.execute("INSERT INTO columns VALUES (?, ?, ?)", (place, name, kind))
            connection.execute(f"ALTER TABLE products ADD COLUMN c{place}")
        return self._cell_places()

    @staticmethod
    def _query(places: Mapping[str, str], condition: str) -> str:
        columns = ", ".join(["p.row", "p.id", "p.title", "p.image", "k.key", *places.values()])
        return (
            f"SELECT {columns} FROM products p JOIN pictures k ON k.picture = p.picture"  # noqa: S608
            f" WHERE {condition}"
        )


_CLOSE = "UPDATE products SET until = ? WHERE id = ? AND until IS NULL"


def _insert(places: Mapping[str, str]) -> str:
    columns = ["id", "since", "picture", "title", "image", *(place.removeprefix("p.") for place in places.values())]
    return f"INSERT INTO products ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


def _product(row: Sequence[Any], places: Mapping[str, str]) -> Product:
    cells: dict[str, Cell] = {name: cell for name, cell in zip(places, row[5:], strict=True) if cell is not None}
    return Product(row[1], row[2], row[3], row[4], cells)


def _next_version(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute("SELECT coalesce(max(version), 0) FROM versions").fetchone()
    return int(last) + 1


def _commit_version(
    connection: sqlite3.Connection, number: int, what: str, added: int, replaced: int, deleted: int
) -> Version:
    (products,) = connection.execute("SELECT count(*) FROM products WHERE until IS NULL").fetchone()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    version = Version(number, created, what, products, added, replaced, deleted)
    connection.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(asdict(version).values()))
    return version


def _database(folder: Path) -> Database:
    return Database(folder / "products.sqlite", _TABLES, _APPLICATION, FORMAT_VERSION, "FULL")


def _facts(folder: Path) -> Facts:
    """What `index.json` says. Raises InterbertError where it is not there or none."""
    path = folder / "index.json"
    if not path.is_file():
        raise InterbertError(
            f"'{folder}' is not an index; make one:  interbert index CATALOGUE --from RUN --out {folder}"
        )
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        format, version = value.pop("format"), value.pop("version")
        if format != FORMAT:
            raise InterbertError(f"'{path}' describes a '{format}', wanted an '{FORMAT}'")
        if version > FORMAT_VERSION:
            raise InterbertError(f"'{folder}' has format {version}, this interbert reads {FORMAT_VERSION}; update it")
        return Facts(**value | {"extractor": ExtractorInfo.from_json(value["extractor"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InterbertError(f"'{path}' does not describe an index ({error}); restore a copy") from error


def _readme(facts: Facts) -> str:
    return (
        f"# An index of interbert {facts.interbert}, format {FORMAT_VERSION}\n\n"
        "Products of a shop, with the regions and vectors of their pictures, for `interbert recall FOLDER TOPIC`.\n\n"
        f"- model: {facts.run}, weights sha256 {facts.weights_sha256}\n"
        f"- regions: by the extractor `{facts.extractor.name}`\n- made: {facts.created}\n\n"
        "`index.json` says the same for machines; `products.sqlite` has the products in versions; `regions/` is a\n"
        "region store and `vectors/` has the vectors, both by picture; `scores.sqlite` can be deleted: it is computed\n"
        "again; `failures.jsonl` names what was skipped. `interbert index --out FOLDER --list-versions`\n"
        "says what was changed when. Copy the folder as a whole while nothing writes to it.\n"
    )
