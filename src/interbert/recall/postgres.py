"""A PostgreSQL server with pgvector: its address, a connection for each thread, and its errors as sentences.

In: `postgresql://USER@HOST/DATABASE`, and statements with their values beside them. Out: rows, or one sentence that
says what is wrong. A password is given to the server and to nobody else: no message, no file and no log has it.
"""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interbert.errors import InterbertError, UsageError

if TYPE_CHECKING:
    import psycopg

Row = tuple[Any, ...]
SCHEMES = ("postgresql", "postgres")
EXTRA = "pip install 'interbert[postgresql]'"
_SECRETS = ("password", "sslpassword")
_DEFAULTS = {  # a machine that fell off the network must not hold the writer's place for hours
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}


@dataclass(frozen=True)
class Address:
    """Where a server is. parts: libpq's keywords without secrets.  secrets: keywords that are never shown or kept."""

    parts: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> Address:
        """From an URL as libpq knows it. Raises UsageError where it is none, without what it says."""
        scheme, mark, _ = text.partition("://")
        if not mark or scheme not in SCHEMES:
            shown = f"'{scheme[:20]}://…'" if mark else "something else"
            raise UsageError(f"--store: got {shown}, wanted postgresql://USER@HOST/DATABASE")
        conninfo = _psycopg().conninfo
        try:
            found = {name: str(value) for name, value in conninfo.conninfo_to_dict(text).items()}
        except _psycopg().Error:
            raise UsageError(
                "--store: this postgresql:// address cannot be read; wanted postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
                " with / ? # @ : in a password written as %2F %3F %23 %40 %3A"
            ) from None  # the error repeats the address
        secrets = {name: found.pop(name) for name in _SECRETS if name in found}
        return cls(found, secrets)

    def __str__(self) -> str:
        """For people: host, port and database."""
        host, port = self.parts.get("host", "localhost"), self.parts.get("port", "")
        return f"postgresql://{host}{':' * bool(port)}{port}/{self.parts.get('dbname', '')}"


class Server:
    """Connections to one address. Usable after a fork and in threads. schema: what holds the tables.

    Raises InterbertError where it cannot be reached.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._connections: dict[tuple[int, int], psycopg.Connection] = {}  # no lock: a fork would copy it held
        weakref.finalize(self, _close, self._connections)
        ((self.schema, extended),) = self.rows(
            "SELECT current_schema, EXISTS (SELECT FROM pg_extension WHERE extname = 'vector')"
        )
        if not extended:
            self._make_extension()

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query; asked again once where the connection had been lost before."""
        for last in (False, True):
            connection = self.connection()
            try:
                return connection.execute(statement.encode(), values, binary=True).fetchall()
            except _psycopg().Error as error:
                lost = self._dropped(connection)
                if last or not lost:
                    raise self.explained(error) from error
        raise AssertionError("not reached")

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        """All statements inside or none."""
        connection = self.connection()
        try:
            with connection.transaction():
                yield connection
        except _psycopg().Error as error:
            self._dropped(connection)
            raise self.explained(error) from error

    def connection(self) -> psycopg.Connection:
        """This thread's."""
        key = (os.getpid(), threading.get_ident())
        found = self._connections.get(key)
        if found is None or found.closed:
            found = self._connections[key] = self._connected()
        return found

    def explained(self, error: Exception) -> InterbertError:
        """A server's or driver's error as a sentence without secrets."""
        said = "; ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__
        for secret in self.address.secrets.values():
            said = said.replace(secret, "***") if secret else said
        hint = " (its password: PGPASSWORD, or a line in ~/.pgpass)" if "password" in said else ""
        return InterbertError(f"{self.address}: {said}{hint}; what was committed before is safe, mend this and go on")

    def close(self) -> None:
        """Closes this process's connections."""
        _close(self._connections)

    def _connected(self) -> psycopg.Connection:
        pg = _psycopg()
        name = f"interbert on {socket.gethostname()}, process {os.getpid()}"[:63]
        given = {**_DEFAULTS, **self.address.parts, **self.address.secrets, "application_name": name}
        try:
            connection: psycopg.Connection = pg.connect(**given, autocommit=True)
        except pg.Error as error:
            raise self.explained(error) from None  # its traceback's variables have what libpq was given
        if connection.execute("SELECT current_schema").fetchone() == (None,):
            connection.close()
            raise InterbertError(
                f"{self.address}: the schema of its search_path is not there; make it (CREATE SCHEMA), or give another"
            )
        connection.execute(_SEARCH_PATH)
        return connection

    def _dropped(self, connection: psycopg.Connection) -> bool:
        """Whether the connection is lost; then the next statement gets a new one."""
        if connection.closed:
            self._connections.pop((os.getpid(), threading.get_ident()), None)
        return bool(connection.closed)

    def _make_extension(self) -> None:
        try:
            self.connection().execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        except _psycopg().Error as error:
            raise InterbertError(
                f"{self.address} has no pgvector in this database, and it could not be added "
                f"({error.diag.message_primary}); have its administrator give  CREATE EXTENSION vector"
            ) from error


_SEARCH_PATH = (  # wherever pgvector's types are, they are found beside the tables
    "SELECT set_config('search_path', concat_ws(', ', quote_ident(current_schema), (SELECT quote_ident(n.nspname)"
    " FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'), 'public'), false)"
)


def _close(connections: dict[tuple[int, int], psycopg.Connection]) -> None:
    """Those of this process."""
    for key in list(connections):
        if key[0] == os.getpid() and (connection := connections.pop(key, None)) is not None:
            connection.close()


def _psycopg() -> Any:
    """The driver. Raises InterbertError where it is not installed."""
    try:
        import psycopg
    except ImportError as error:
        raise InterbertError(f"an index on PostgreSQL needs the driver psycopg ({error});  {EXTRA}") from error
    return psycopg
