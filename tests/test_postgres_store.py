"""What only the shared store has: several machines, kills on either side, and records that changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from postgres_helpers import PostgresServer
from pretraining_helpers import EXTRACTOR, random_regions
from product_store_helpers import FACTS, KINDS, SIZE, filled_store, ids_at, products

from interbert.errors import InterbertError
from interbert.recall.place import open_store
from interbert.recall.postgres import Address, Server
from interbert.recall.postgres_store import PostgresStore
from interbert.recall.store import Product, ProductStore
from interbert.vision.store import RegionStore

pytest.importorskip("psycopg")

KILLED_WHILE_WRITING = """
import sys
from pathlib import Path
from product_store_helpers import KINDS, products
from interbert.recall.place import open_store

def endless():
    yield from products(*range(1, 500), price=9)
    print("half of it", flush=True)
    sys.stdin.read()

store = open_store(Path(sys.argv[1]), sys.argv[2])
with store.writing():
    store.change(endless(), ["p0"], KINDS, "never")
"""


@pytest.fixture
def address(postgres: PostgresServer) -> str:
    return postgres.address()


@pytest.fixture
def store(address: str, tmp_path: Path) -> Iterator[ProductStore]:
    made = filled_store(tmp_path / "one", address)
    made.change(products(0, 1), (), KINDS, "first")
    yield made
    made.close()


def server_of(address: str) -> Server:
    return Server(Address.parse(address))


def test_another_machine_sees_the_same(store: ProductStore, address: str, tmp_path: Path) -> None:
    other = open_store(tmp_path / "two", address)
    assert other.facts == store.facts == FACTS
    assert ids_at(other, 1) == ["p0", "p1"]
    mine, theirs = store.regions([3, 0]), other.regions([3, 0])
    assert [len(one) for one in theirs] == [5, 2]
    assert all(
        (a.features == b.features).all() and (a.boxes == b.boxes).all() for a, b in zip(mine, theirs, strict=True)
    )
    other.change(products(2), (), KINDS, "by the other")
    assert sorted(ids_at(store, 2)) == ["p0", "p1", "p2"]


def test_two_machines_add_pictures_one_after_the_other(store: ProductStore, address: str, tmp_path: Path) -> None:
    other = open_store(tmp_path / "two", address)
    with RegionStore.writer(other.region_folder, EXTRACTOR) as writer:
        writer.append("theirs", random_regions(np.random.default_rng(1), 4))
    said = r"interbert on .*, process \d+ is writing to the index"
    with store.writing(), pytest.raises(InterbertError, match=said), other.writing():
        pass
    with other.writing():
        other.add_pictures(["theirs"], [4], np.ones((1, SIZE), np.float32))
    assert store.known(["theirs"]) == {"theirs": 6}
    assert len(store.regions([6])[0]) == 4


def test_a_killed_writer_leaves_the_version_before_and_lets_the_next_one_in(
    store: ProductStore, address: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path / "two"), address]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"half of it\n"
        with pytest.raises(InterbertError, match=f"process {child.pid} is writing"), store.writing():
            pass
        assert ids_at(store, 1) == ["p0", "p1"]  # meanwhile
        child.send_signal(signal.SIGKILL)
    with ExitStack() as stack:
        _entered(store, stack)
        assert store.change(products(2), (), KINDS, "second") is not None
    assert [one.what for one in store.versions()] == ["first", "second"]
    assert sorted(ids_at(store, 2)) == ["p0", "p1", "p2"]


def _entered(store: ProductStore, stack: ExitStack) -> None:
    """When the server has seen that the other end is gone."""
    for _ in range(10_000):
        try:
            stack.enter_context(store.writing())
        except InterbertError:
            continue
        return
    raise AssertionError("the place of a killed writer is never free")


def test_a_crash_of_the_server_in_the_midst_leaves_the_version_before(
    store: ProductStore, postgres: PostgresServer
) -> None:
    def crashing() -> Iterator[Product]:
        yield from products(*range(1, 500), price=9)
        postgres.stop()

    try:
        with pytest.raises(InterbertError, match="what was committed before is safe"), store.writing():
            store.change(crashing(), ["p0"], KINDS, "never")
    finally:
        postgres.start()
    assert ids_at(store, 1) == ["p0", "p1"]
    with store.writing():
        assert store.change(products(2), (), KINDS, "second") is not None


def test_nearest_stands_in_the_exact_order_of_inner_products(store: ProductStore) -> None:
    random, count = np.random.default_rng(0), 400
    keys, vectors = [f"n{at}" for at in range(count)], random.normal(size=(count, SIZE)).astype(np.float32)
    with RegionStore.writer(store.region_folder, EXTRACTOR) as writer:
        for key in keys:
            writer.append(key, random_regions(random, 1))
    store.add_pictures(keys, [1] * count, vectors)
    store.change([Product(key, "", "", key) for key in keys], ["p0", "p1"], {}, "many")
    query = random.normal(size=SIZE).astype(np.float32)
    found, scores = store.nearest(2, None, query, 50)
    expected = vectors @ query
    assert (found.pictures - 6).tolist() == np.argsort(-expected)[:50].tolist()
    np.testing.assert_allclose(scores, np.sort(expected)[::-1][:50], rtol=1e-5)
    assert isinstance(store, PostgresStore)
    for statement in (
        "CREATE INDEX ON interbert_pictures USING hnsw (vector vector_ip_ops)",  # which gives 40 at most
        "SET enable_sort = off",
        "SET enable_seqscan = off",
    ):
        store._server.connection().execute(statement.encode())
    assert store.nearest(2, None, query, 50)[0].rows.tolist() == found.rows.tolist()


def test_a_changed_record_is_seen(store: ProductStore, address: str) -> None:
    with server_of(address).transaction() as connection:
        connection.execute("UPDATE interbert_pictures SET record = set_byte(record, 100, 255 - get_byte(record, 100))")
    with pytest.raises(InterbertError, match="the record of picture 'k2' .* is damaged; restore a backup"):
        store.regions([2])


def test_a_database_without_an_index_or_with_a_newer_one_is_refused(
    store: ProductStore, address: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    with pytest.raises(InterbertError, match="has no index in the schema 'shop.*; make one:  interbert index"):
        PostgresStore(tmp_path / "three", Address.parse(postgres.address()))
    with server_of(address).transaction() as connection:
        connection.execute("UPDATE interbert_facts SET format = 2")
    with pytest.raises(InterbertError, match="has format 2, this interbert reads 1; update it"):
        open_store(tmp_path / "one", address)
