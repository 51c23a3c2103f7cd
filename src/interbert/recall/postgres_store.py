"""The `ProductStore` that many machines share: products, regions and vectors in PostgreSQL, with pgvector's exact scan.

A version is a number, as in `SqliteStore`: a product's row says from which version until before which it is seen. What
a change writes is seen when it is committed, and by nobody who has pinned an older version. Regions are kept there too,
as records of a region store; the folder of each machine only holds what it is about to add.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interbert.batch import Regions
from interbert.errors import InterbertError, UsageError
from interbert.recall.filters import Filter, to_sql
from interbert.recall.postgres import Address, Server
from interbert.recall.store import OWN_COLUMNS, Cell, Facts, Kind, Product, Selection, Version, new_columns
from interbert.sqlite_file import Damaged
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.shards import is_whole, pack, unpack
from interbert.vision.store import RegionStore

if TYPE_CHECKING:
    import psycopg

FORMAT_VERSION = 1
MAX_VECTOR = 16_000  # pgvector's limit
_TEXT = 'text COLLATE "C" NOT NULL'  # compared byte by byte, as SQLite does
_TABLES = (
    "CREATE TABLE interbert_facts (one bigint PRIMARY KEY CHECK (one = 1), format bigint NOT NULL,"
    " facts jsonb NOT NULL)",
    "CREATE TABLE interbert_versions (version bigint PRIMARY KEY, created text NOT NULL, what text NOT NULL,"
    " products bigint NOT NULL, added bigint NOT NULL, replaced bigint NOT NULL, deleted bigint NOT NULL)",
    f"CREATE TABLE interbert_columns (place bigint PRIMARY KEY, name {_TEXT} UNIQUE, kind text NOT NULL)",
    f"CREATE TABLE interbert_pictures (picture bigint PRIMARY KEY, key {_TEXT} UNIQUE, regions bigint NOT NULL,"
    " vector vector({size}) NOT NULL, record bytea NOT NULL)",
    "ALTER TABLE interbert_pictures ALTER COLUMN record SET STORAGE EXTERNAL",  # half floats do not get smaller
    "CREATE TABLE interbert_products (row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id " + _TEXT + ","
    " since bigint NOT NULL, until bigint, picture bigint NOT NULL REFERENCES interbert_pictures,"
    f" title {_TEXT}, image {_TEXT}, cells jsonb NOT NULL)",
    "CREATE UNIQUE INDEX interbert_products_now ON interbert_products (id) WHERE until IS NULL",
    "CREATE INDEX interbert_products_ever ON interbert_products (id)",
    "CREATE INDEX interbert_products_pictures ON interbert_products (picture)",
)
_SEEN = "p.since <= %s AND (p.until IS NULL OR p.until > %s)"
_LIKE = "{column} ILIKE {value} ESCAPE ''"  # under COLLATE "C" of ASCII letters only, as in SQLite
_PRODUCTS = (
    "SELECT p.row, p.id, p.title, p.image, k.key, p.cells"
    " FROM interbert_products p JOIN interbert_pictures k ON k.picture = p.picture WHERE "
)
_LOCKED = "LOCK TABLE interbert_versions, interbert_pictures IN SHARE ROW EXCLUSIVE MODE"  # readers are not held up
_WRITER = "hashtextextended('interbert index ' || current_schema, 0)"
_HOLDER = (
    "SELECT a.application_name, a.pid FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid"  # noqa: S608
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (l.classid::bigint << 32 | l.objid::bigint) = " + _WRITER
)


class PostgresStore:
    """An index in a schema of a database. See `ProductStore`. folder: of this machine, for what it adds.

    Raises InterbertError where the server cannot be reached, or has no index there, or a newer one.
    """

    def __init__(self, folder: str | Path, address: Address) -> None:
        self.folder = Path(folder)
        self.region_folder = self.folder / "regions"
        self._server = Server(address)
        self.facts = self._facts()
        self._whole: tuple[int, Selection] | None = None

    @classmethod
    def create(cls, folder: str | Path, facts: Facts, address: Address) -> PostgresStore:
        """A new index, or the one that is there."""
        if facts.vector_size > MAX_VECTOR:
            raise InterbertError(f"the model's vectors have {facts.vector_size} numbers, pgvector takes {MAX_VECTOR}")
        server = Server(address)
        try:
            with server.transaction() as connection:
                connection.execute(f"SELECT pg_advisory_xact_lock({_WRITER} + 1)".encode())
                if not _is_index(server):
                    for statement in _TABLES:
                        connection.execute(statement.format(size=facts.vector_size).encode())
                    if facts.vector_size <= 1_500:  # else they stand aside, and a scan looks each of them up
                        connection.execute("ALTER TABLE interbert_pictures ALTER COLUMN vector SET STORAGE PLAIN")
                    connection.execute(
                        "INSERT INTO interbert_facts VALUES (1, %s, %s)", (FORMAT_VERSION, _json(asdict(facts)))
                    )
        finally:
            server.close()
        return cls(folder, address)

    def columns(self) -> dict[str, Kind]:
        """See `ProductStore`."""
        own: dict[str, Kind] = dict.fromkeys(OWN_COLUMNS, "text")
        return own | {name: kind for _, name, kind in self._columns()}

    def versions(self) -> list[Version]:
        """See `ProductStore`."""
        return [Version(*row) for row in self._server.rows("SELECT * FROM interbert_versions ORDER BY version")]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See `ProductStore`. Where this thread's connection ends, in any way, the next one is let in."""
        ((got,),) = self._server.rows(f"SELECT pg_try_advisory_lock({_WRITER})")
        if not got:
            found = self._server.rows(_HOLDER)
            who = found[0][0] or f"session {found[0][1]} of the server" if found else "another machine"
            raise InterbertError(f"{who} is writing to the index at {self._server.address}; wait until it has ended")
        connection = self._server.connection()
        try:
            yield
        finally:
            if not connection.closed:
                connection.execute(f"SELECT pg_advisory_unlock({_WRITER})".encode())

    def known(self, keys: Collection[str]) -> dict[str, int]:
        """See `ProductStore`."""
        return dict(self._server.rows("SELECT key, picture FROM interbert_pictures WHERE key = ANY(%s)", (list(keys),)))

    def picture_key(self, number: int) -> str | None:
        """See `ProductStore`."""
        rows = self._server.rows("SELECT key FROM interbert_pictures WHERE picture = %s", (number,))
        return str(rows[0][0]) if rows else None

    def add_pictures(self, keys: Sequence[str], counts: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """See `ProductStore`. Their regions are in `region_folder`, from where they go to the server."""
        statement = b"COPY interbert_pictures (picture, key, regions, vector, record) FROM STDIN"
        with RegionStore(self.region_folder) as regions, self._server.transaction() as connection:
            connection.execute(_LOCKED)
            (first,) = _one(connection, "SELECT coalesce(max(picture) + 1, 0) FROM interbert_pictures")
            with connection.cursor().copy(statement) as copy:
                for at, (key, count, vector) in enumerate(zip(keys, counts, vectors, strict=True), first):
                    copy.write_row((at, key, count, _vector(vector), pack(key, regions[key], regions.feature_type)))

    def change(
        self, add: Iterable[Product], delete: Collection[str], kinds: Mapping[str, Kind], what: str
    ) -> Version | None:
        """See `ProductStore`. One transaction; where an id comes twice in `add`, the last one counts."""
        with self._server.transaction() as connection:
            number, places = _next_version(connection), self._made_columns(connection, kinds)
            deleted = connection.execute(_DELETE, (number, list(delete))).rowcount
            connection.execute(_INCOMING)
            with connection.cursor().copy("COPY incoming (id, key, title, image, cells) FROM STDIN") as copy:
                for one in add:
                    cells = {places[name]: cell for name, cell in one.cells.items() if cell is not None}
                    copy.write_row((one.id, one.picture, one.title, one.image, _json(cells)))
            connection.execute("ANALYZE incoming")
            connection.execute(_REPEATED)
            connection.execute(_UNCHANGED)
            replaced = connection.execute(_REPLACE, (number,)).rowcount
            added = connection.execute(_INSERT, (number,)).rowcount - replaced
            if not deleted + added + replaced:
                return None
            return _commit_version(connection, number, what, added, replaced, deleted)

    def restore(self, number: int) -> Version:
        """See `ProductStore`."""
        self._check(number)
        with self._server.transaction() as connection:
            new = _next_version(connection)
            closed = connection.execute(
                "UPDATE interbert_products SET until = %s WHERE until IS NULL AND since > %s", (new, number)
            ).rowcount
            opened = connection.execute(_REOPEN, (new, number, number)).rowcount
            (both,) = _one(connection, _BOTH, (new, new))
            what = f"restored version {number}"
            return _commit_version(connection, new, what, opened - both, both, closed - both)

    def select(self, version: int, where: Filter | None) -> Selection:
        """See `ProductStore`."""
        whole = self._whole  # as it is now: another thread may put another version in its place
        if where is None and whole is not None and whole[0] == version:
            return whole[1]
        self._check(version)
        condition, values = self._passing(version, where)
        rows = self._server.rows(
            "SELECT p.row, p.picture, k.regions FROM interbert_products p"  # noqa: S608
            f" JOIN interbert_pictures k ON k.picture = p.picture WHERE {condition} ORDER BY p.row",
            values,
        )
        selection = _selection(rows)
        if where is None:
            self._whole = version, selection
        return selection

    def nearest(
        self, version: int, where: Filter | None, query: NDArray[np.float32], count: int
    ) -> tuple[Selection, NDArray[np.float32]]:
        """See `ProductStore`: pgvector's exact scan, also where somebody has made an approximate index."""
        self._check(version)
        condition, values = self._passing(version, where)
        rows = self._server.rows(
            "WITH best AS MATERIALIZED (SELECT k.picture, k.regions, -(k.vector <#> %s::vector) AS near"  # noqa: S608
            " FROM interbert_pictures k WHERE EXISTS"
            f" (SELECT 1 FROM interbert_products p WHERE p.picture = k.picture AND {condition})"
            " ORDER BY near DESC, k.picture LIMIT %s)"  # what an index cannot give: it would give 40
            " SELECT p.row, p.picture, b.regions, b.near"
            " FROM best b JOIN interbert_products p ON p.picture = b.picture"
            f" WHERE {condition} ORDER BY b.near DESC, p.picture, p.row",
            [_vector(query), *values, count, *values],
        )
        return _selection([row[:3] for row in rows]), np.array([row[3] for row in rows], np.float32)

    def products(self, rows: Sequence[int]) -> list[Product]:
        """See `ProductStore`."""
        names = self._names()
        found = {
            row[0]: _product(row, names) for row in self._server.rows(_PRODUCTS + "p.row = ANY(%s)", (list(rows),))
        }
        return [found[row] for row in rows]

    def find(self, version: int, id: str) -> Product | None:
        """See `ProductStore`."""
        rows = self._server.rows(f"{_PRODUCTS} p.id = %s AND {_SEEN}", (id, version, version))
        return _product(rows[0], self._names()) if rows else None

    def ids(self, version: int) -> set[str]:
        """See `ProductStore`."""
        statement = f"SELECT p.id FROM interbert_products p WHERE {_SEEN}"  # noqa: S608
        return {id for (id,) in self._server.rows(statement, (version, version))}

    def regions(self, pictures: Sequence[int]) -> list[Regions]:
        """See `ProductStore`. Each record's checksum is compared."""
        statement = "SELECT picture, key, record FROM interbert_pictures WHERE picture = ANY(%s)"
        found = {at: self._unpacked(key, record) for at, key, record in self._server.rows(statement, (list(pictures),))}
        missing = [picture for picture in pictures if picture not in found]
        if missing:
            raise Damaged(f"the index at {self._server.address} has no picture {missing[0]}; restore a backup")
        return [found[picture] for picture in pictures]

    def close(self) -> None:
        """See `ProductStore`."""
        self._server.close()

    def _facts(self) -> Facts:
        address = self._server.address
        if not _is_index(self._server):
            raise InterbertError(
                f"{address} has no index in the schema '{self._server.schema}'; make one:  interbert index CATALOGUE "
                f"--from RUN --out {self.folder} --store postgresql://…"
            )
        ((format, facts),) = self._server.rows("SELECT format, facts FROM interbert_facts")
        if format > FORMAT_VERSION:
            raise InterbertError(f"{address} has format {format}, this interbert reads {FORMAT_VERSION}; update it")
        return Facts(**facts | {"extractor": ExtractorInfo.from_json(facts["extractor"])})

    def _check(self, version: int) -> None:
        if not self._server.rows("SELECT 1 FROM interbert_versions WHERE version = %s", (version,)):
            known = ", ".join(str(one.number) for one in self.versions()[-10:]) or "none yet"
            raise UsageError(f"the index at {self._server.address} has no version {version}; it has {known}")

    def _passing(self, version: int, where: Filter | None) -> tuple[str, list[Any]]:
        """The condition of products of a version that pass, and its values."""
        if where is None:
            return _SEEN, [version, version]
        condition, values = to_sql(where, self._places(), "%s", _LIKE)
        exact = [value if isinstance(value, str) else Decimal(repr(value)) for value in values]
        return f"{_SEEN} AND ({condition})", [version, version, *exact]

    def _columns(self) -> list[tuple[int, str, Kind]]:
        rows = self._server.rows("SELECT place, name, kind FROM interbert_columns ORDER BY place")
        return [(place, name, kind) for place, name, kind in rows]

    def _names(self) -> dict[str, str]:
        """Key of a cell -> column."""
        return {f"c{place}": name for place, name, _ in self._columns()}

    def _places(self) -> dict[str, str]:
        """Column -> its value in SQL."""
        written = {"text": "((p.cells->>'c{}') COLLATE \"C\")", "number": "((p.cells->'c{}')::numeric)"}
        own = {name: f"p.{name}" for name in OWN_COLUMNS}
        return own | {name: written[kind].format(place) for place, name, kind in self._columns()}

    def _made_columns(self, connection: psycopg.Connection, kinds: Mapping[str, Kind]) -> dict[str, str]:
        """Column -> key of its cells, after those that are not there yet are made."""
        there: dict[str, Kind] = {name: kind for _, name, kind in self._columns()}
        for place, (name, kind) in enumerate(new_columns(there, kinds).items(), len(there)):
            connection.execute("INSERT INTO interbert_columns VALUES (%s, %s, %s)", (place, name, kind))
        return {name: key for key, name in self._names().items()}

    def _unpacked(self, key: str, record: bytes) -> Regions:
        found = unpack(record, 0, len(record)) if is_whole(record, 0, len(record)) else None
        if found is None or found[0] != key.encode():
            raise Damaged(f"the record of picture '{key}' at {self._server.address} is damaged; restore a backup")
        return found[1]


_DELETE = "UPDATE interbert_products SET until = %s WHERE until IS NULL AND id = ANY(%s)"
_INCOMING = (
    "CREATE TEMPORARY TABLE incoming (at bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    ' id text COLLATE "C", key text COLLATE "C", title text COLLATE "C", image text COLLATE "C", cells jsonb)'
    " ON COMMIT DROP"
)
_REPEATED = "DELETE FROM incoming USING incoming b WHERE b.id = incoming.id AND b.at > incoming.at"
_UNCHANGED = (
    "DELETE FROM incoming i USING interbert_products p, interbert_pictures k WHERE p.id = i.id AND p.until IS NULL"
    " AND k.picture = p.picture AND (p.title, p.image, k.key, p.cells) = (i.title, i.image, i.key, i.cells)"
)
_REPLACE = "UPDATE interbert_products p SET until = %s FROM incoming i WHERE p.until IS NULL AND p.id = i.id"
_INSERT = (
    "INSERT INTO interbert_products (id, since, picture, title, image, cells)"
    " SELECT i.id, %s, k.picture, i.title, i.image, i.cells"
    " FROM incoming i LEFT JOIN interbert_pictures k ON k.key = i.key ORDER BY i.at"
)
_REOPEN = (
    "INSERT INTO interbert_products (id, since, picture, title, image, cells)"
    " SELECT id, %s, picture, title, image, cells FROM interbert_products WHERE since <= %s AND until > %s ORDER BY row"
)
_BOTH = (
    "SELECT count(*) FROM interbert_products a JOIN interbert_products b ON a.id = b.id"
    " WHERE a.since = %s AND b.until = %s"
)


def _is_index(server: Server) -> bool:
    ((found,),) = server.rows("SELECT to_regclass(quote_ident(current_schema) || '.interbert_facts') IS NOT NULL")
    return bool(found)


def _json(value: Any) -> Any:
    from psycopg.types.json import Jsonb

    return Jsonb(value)


def _one(connection: psycopg.Connection, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
    row = connection.execute(statement.encode(), values).fetchone()
    assert row is not None
    return row


def _vector(vector: NDArray[np.float32]) -> str:
    """As pgvector reads it: the shortest digits that give the same float32."""
    return "[" + ",".join(map(repr, vector.tolist())) + "]"


def _selection(rows: Sequence[tuple[Any, ...]]) -> Selection:
    found = np.array(rows, np.int64).reshape(-1, 3)
    return Selection(found[:, 0].copy(), found[:, 1].copy(), found[:, 2].copy())


def _product(row: Sequence[Any], names: Mapping[str, str]) -> Product:
    """In the columns' order."""
    cells: dict[str, Cell] = {name: _cell(row[5][key]) for key, name in names.items() if key in row[5]}
    return Product(row[1], row[2], row[3], row[4], cells)


def _cell(value: Cell) -> Cell:
    """JSON writes a great float as an integer of many digits."""
    return float(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value


def _next_version(connection: psycopg.Connection) -> int:
    """After which nobody else changes anything until the transaction ends."""
    connection.execute(_LOCKED)
    (last,) = _one(connection, "SELECT coalesce(max(version), 0) FROM interbert_versions")
    return int(last) + 1


def _commit_version(
    connection: psycopg.Connection, number: int, what: str, added: int, replaced: int, deleted: int
) -> Version:
    (products,) = _one(connection, "SELECT count(*) FROM interbert_products WHERE until IS NULL")
    created = datetime.now(UTC).isoformat(timespec="seconds")
    version = Version(number, created, what, products, added, replaced, deleted)
    values = tuple(asdict(version).values())
    connection.execute("INSERT INTO interbert_versions VALUES (%s, %s, %s, %s, %s, %s, %s)", values)
    return version
