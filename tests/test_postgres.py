"""A PostgreSQL server's address and connections: what is refused, what is mended, and that no secret is ever shown."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from postgres_helpers import PASSWORD, PostgresServer

from interbert.errors import InterbertError, UsageError
from interbert.recall.postgres import Address, Server

pytest.importorskip("psycopg")
SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mysql://me:hunter2@here/shop", r"got 'mysql://…', wanted postgresql://USER@HOST/DATABASE"),
        ("hunter2", "got something else"),
        ("postgresql://me:hunter2@here:port/shop?sslmode", "this postgresql:// address cannot be read"),
        ("postgresql://me:hunter2@here/shop?password", "with / \\? # @ : in a password written as"),
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_it(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        Address.parse(text)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_an_address_shows_where_it_leads_and_no_secret() -> None:
    found = Address.parse("postgresql://me:hunter2@here:5433/shop?sslpassword=hunter2&connect_timeout=3")
    assert str(found) == "postgresql://here:5433/shop"
    assert SECRET not in repr(found)
    assert dict(found.parts) == {
        "user": "me", "host": "here", "port": "5433", "dbname": "shop", "connect_timeout": "3"
    }  # fmt: skip


def test_a_wrong_password_is_said_and_not_shown(postgres: PostgresServer) -> None:
    with pytest.raises(InterbertError, match=r"password authentication failed.*PGPASSWORD, or a line in") as raised:
        Server(Address.parse(postgres.address("public", SECRET)))
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_a_missing_password_is_taken_from_the_environment(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    address = Address.parse(postgres.address("public", None))
    with pytest.raises(InterbertError, match=r"no password supplied.*PGPASSWORD"):
        Server(address)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert Server(address).rows("SELECT 1") == [(1,)]


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="No such file or directory") as raised:
        Server(Address({"host": str(tmp_path), "dbname": "shop"}))
    assert "\n" not in str(raised.value)


def test_a_schema_that_is_not_there_is_said(postgres: PostgresServer) -> None:
    with pytest.raises(InterbertError, match="the schema of its search_path is not there"):
        Server(Address.parse(postgres.address("nowhere")))


def test_a_lost_connection_is_made_again(postgres: PostgresServer) -> None:
    server = Server(Address.parse(postgres.address("public")))
    postgres.stop()
    with pytest.raises(InterbertError, match="what was committed before is safe"):
        server.rows("SELECT 1")
    postgres.start()
    assert server.rows("SELECT 1") == [(1,)]
