"""Where an index is: a folder that names a server, what it keeps, and what it is not made over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from postgres_helpers import PASSWORD, PostgresServer
from product_store_helpers import FACTS, filled_store
from recall_helpers import shop

from interbert import cli
from interbert.errors import InterbertError, UsageError
from interbert.recall.place import create_store, open_store
from interbert.recall.postgres_store import PostgresStore
from interbert.recall.sqlite_store import SqliteStore

pytest.importorskip("psycopg")


def test_a_folder_names_its_server_without_the_password(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled_store(tmp_path / "index", postgres.address()).close()
    for path in (tmp_path / "index").rglob("*.*"):
        assert PASSWORD.encode() not in path.read_bytes()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    found = open_store(tmp_path / "index")
    assert isinstance(found, PostgresStore)
    assert found.facts == FACTS
    found.close()


def test_a_folder_of_another_index_is_refused(postgres: PostgresServer, tmp_path: Path) -> None:
    here, there = postgres.address(), postgres.address()
    filled_store(tmp_path / "shared", here).close()
    SqliteStore.create(tmp_path / "own", FACTS)
    with pytest.raises(InterbertError, match="belongs to the index at postgresql://.*, not"):
        create_store(tmp_path / "shared", FACTS, there)
    with pytest.raises(InterbertError, match="'.*own' has an index of its own; give a new folder"):
        create_store(tmp_path / "own", FACTS, here)
    with pytest.raises(InterbertError, match="is not empty and not an index"):
        open_store(tmp_path, here)
    (tmp_path / "shared" / "store.json").write_text("{}")
    with pytest.raises(InterbertError, match="does not name a server .* give --store again"):
        open_store(tmp_path / "shared")


def test_another_kind_of_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got 'mysql://…', wanted postgresql://USER@HOST/DATABASE"):
        open_store(tmp_path / "index", "mysql://me:secret@here/shop")


def answered(capsys: pytest.CaptureFixture[str], *command: object) -> Any:
    capsys.readouterr()
    assert cli.run([*map(str, command), "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_topic_recalls_the_same_from_a_server_on_every_machine(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, server = shop(tmp_path, 8), ["--store", postgres.address()]
    catalogue = ("index", place / "catalogue.jsonl", "--from", place / "run", "--regions", place / "regions", "--out")
    answered(capsys, *catalogue, place / "own")
    assert answered(capsys, *catalogue, place / "one", *server)["version"]["added"] == 8
    question = ("a red", "--threshold", 0, "--where", "price >= 20 and category in ('shoes', 'hats')")
    wanted = answered(capsys, "recall", place / "own", *question)
    for machine in ("one", "two"):
        found = answered(capsys, "recall", place / machine, *question, *server)
        assert found["items"] == wanted["items"]
    cascade = answered(capsys, "recall", place / "two", *question, "--mode", "cascade", "--candidates", 2, *server)
    assert [one["id"] for one in cascade["items"]] == [
        one["id"] for one in wanted["items"] if one["id"] in {hit["id"] for hit in cascade["items"]}
    ]
    answered(capsys, "index", "--out", place / "two", "--delete", "p2", *server)
    assert len(answered(capsys, "index", "--out", place / "one", "--list-versions", *server)["versions"]) == 2
