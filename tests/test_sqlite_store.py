"""The embedded store: versions that are whole, readers that are pinned, and what is refused."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pretraining_helpers import EXTRACTOR, random_regions

from interbert.errors import InterbertError, UsageError
from interbert.recall import sqlite_store
from interbert.recall.filters import parse
from interbert.recall.sqlite_store import SqliteStore
from interbert.recall.store import Facts, Product
from interbert.vision.store import RegionStore

SIZE = 4
FACTS = Facts("ab" * 32, EXTRACTOR, "../run", SIZE, "2026-01-01T00:00:00+00:00", "0")
KINDS = {"category": "text", "price": "number"}
VECTORS = np.eye(6, SIZE, dtype=np.float32) + np.arange(6, dtype=np.float32)[:, None] / 10


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    """Six pictures, k0 to k5, and no products yet."""
    made = SqliteStore.create(tmp_path / "index", FACTS)
    random = np.random.default_rng(0)
    with RegionStore.writer(made.region_folder, EXTRACTOR) as writer:
        for number in range(6):
            writer.append(f"k{number}", random_regions(random, 2 + number))
    made.add_pictures([f"k{number}" for number in range(6)], range(2, 8), VECTORS)
    return made


def products(*numbers: int, price: int = 5, **cells: Any) -> list[Product]:
    return [
        Product(f"p{n}", f"title {n}", f"{n}.jpg", f"k{n % 6}", {"category": "ab"[n % 2], "price": price * n, **cells})
        for n in numbers
    ]


def ids_at(store: SqliteStore, version: int, where: str | None = None) -> list[str]:
    found = store.select(version, parse(where, store.columns()) if where else None)
    return [product.id for product in store.products(found.rows.tolist())]


def test_a_change_is_a_version_and_older_ones_stay(store: SqliteStore) -> None:
    first = store.change(products(0, 1, 2), (), KINDS, "first")
    second = store.change(products(1, price=7) + products(3), ["p0"], KINDS, "second")
    assert first is not None
    assert second is not None
    assert (second.number, second.products, second.added, second.replaced, second.deleted) == (2, 3, 1, 1, 1)
    assert ids_at(store, 1) == ["p0", "p1", "p2"]
    assert sorted(ids_at(store, 2)) == ["p1", "p2", "p3"]
    old, new = store.find(1, "p1"), store.find(2, "p1")
    assert old is not None
    assert new is not None
    assert (old.cells["price"], new.cells["price"]) == (5, 7)
    assert store.find(2, "p0") is None
    assert [version.what for version in SqliteStore(store.folder).versions()] == ["first", "second"]


def test_what_is_as_it_was_makes_no_version(store: SqliteStore) -> None:
    store.change(products(0, 1), (), KINDS, "first")
    assert store.change(products(0, 1), ["nobody"], KINDS, "again") is None
    assert len(store.versions()) == 1


def test_a_version_is_restored_as_a_new_one(store: SqliteStore) -> None:
    store.change(products(0, 1, 2), (), KINDS, "first")
    store.change(products(1, price=7) + products(3), ["p0"], KINDS, "second")
    restored = store.restore(1)
    assert (restored.number, restored.products) == (3, 3)
    assert (restored.added, restored.replaced, restored.deleted) == (1, 1, 1)
    assert sorted(ids_at(store, 3)) == ids_at(store, 1)
    assert store.find(3, "p1") == store.find(1, "p1")
    assert sorted(ids_at(store, 2)) == ["p1", "p2", "p3"]
    with pytest.raises(UsageError, match="has no version 9; it has 1, 2, 3"):
        store.restore(9)


def test_a_change_that_fails_leaves_everything_as_it_was(store: SqliteStore) -> None:
    store.change(products(0), (), KINDS, "first")

    def breaking() -> Any:
        yield from products(1, size=3)
        raise InterbertError("the catalogue ends in the midst")

    with pytest.raises(InterbertError, match="in the midst"):
        store.change(breaking(), ["p0"], KINDS | {"size": "number"}, "second")
    assert (ids_at(store, 1), len(store.versions())) == (["p0"], 1)
    assert "size" not in store.columns()


def test_columns_are_made_as_they_come_and_filters_name_them(store: SqliteStore) -> None:
    store.change(products(0, 1), (), KINDS, "first")
    name = "size'; --"
    store.change(products(2, **{name: 41}), (), KINDS | {name: "number"}, "second")
    assert store.columns()[name] == "number"
    assert ids_at(store, 2, '"size\'; --" > 40') == ["p2"]
    assert ids_at(store, 2, "category = 'a' and price <= 10") == ["p0", "p2"]
    assert ids_at(store, 2, "id like 'P1' or title = 'title 0'") == ["p0", "p1"]
    with pytest.raises(InterbertError, match="column 'price' holds numbers in this index"):
        store.change((), (), {"price": "text"}, "third")


def test_more_columns_than_it_has_room_for_are_refused(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "MAX_COLUMNS", 1)
    with pytest.raises(InterbertError, match="an index has at most 1"):
        store.change(products(0), (), KINDS, "first")


def test_nearest_is_the_largest_inner_product_of_those_that_pass(store: SqliteStore) -> None:
    store.change(products(0, 1, 2, 3, 4, 6), (), KINDS, "first")  # p0 and p6 show k0
    query = np.array([1, 0, 0.5, 0], np.float32)
    found, scores = store.nearest(1, None, query, 2)
    expected = VECTORS[:5] @ query
    best = np.argsort(-expected)[:2].tolist()
    assert sorted(set(found.pictures.tolist())) == sorted(best)
    np.testing.assert_allclose(scores, expected[found.pictures], rtol=1e-6)
    assert (np.diff(scores) <= 0).all()
    few, _ = store.nearest(1, parse("category = 'b'", KINDS), query, 1)
    assert [one.id for one in store.products(few.rows.tolist())] == ["p1" if expected[1] > expected[3] else "p3"]
    both, _ = store.nearest(1, parse("id in ('p0', 'p6')", store.columns()), query, 1)
    assert [one.id for one in store.products(both.rows.tolist())] == ["p0", "p6"]


def test_pictures_that_come_later_are_found_by_a_reader_that_is_open(store: SqliteStore) -> None:
    reader = SqliteStore(store.folder)
    assert [len(one) for one in reader.regions([5, 0])] == [7, 2]
    with RegionStore.writer(store.region_folder, EXTRACTOR) as writer:
        writer.append("late", random_regions(np.random.default_rng(1), 9))
    store.add_pictures(["late"], [9], np.ones((1, SIZE), np.float32))
    store.change([Product("p9", "", "", "late", {})], (), {}, "late")
    assert reader.known(["late", "k1", "never"]) == {"late": 6, "k1": 1}
    assert [len(one) for one in reader.regions([6, 0])] == [9, 2]
    found, scores = reader.nearest(1, None, np.ones(SIZE, np.float32), 5)
    assert (found.pictures.tolist(), scores.tolist()) == ([6], [4.0])


def test_readers_see_whole_versions_while_one_writes(store: SqliteStore) -> None:
    store.change(products(*range(40), price=0), (), KINDS, "0")
    seen, wrong, done = set(), [], threading.Event()

    def read() -> None:
        reader = SqliteStore(store.folder)
        while not done.is_set():
            version = reader.versions()[-1].number
            found = reader.products(reader.select(version, None).rows.tolist())
            prices = {int(product.cells["price"]) / max(1, int(product.id[1:])) for product in found[1:]}
            seen.add(version)
            if len(found) != 40 or prices != {version - 1}:
                wrong.append((version, len(found), prices))
        reader.close()

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    for price in range(1, 12):
        store.change(products(*range(40), price=price), (), KINDS, str(price))
    done.set()
    for thread in readers:
        thread.join()
    assert wrong == []
    assert seen


def test_there_is_one_writer(store: SqliteStore) -> None:
    with (
        store.writing(),
        pytest.raises(InterbertError, match=r"process \d+ is writing to index"),
        SqliteStore(store.folder).writing(),
    ):
        pass
    with SqliteStore(store.folder).writing():
        pass


def test_an_index_says_what_it_is_and_is_not_made_over_something_else(store: SqliteStore, tmp_path: Path) -> None:
    assert SqliteStore.create(store.folder, FACTS).facts == FACTS
    assert "ab" * 32 in (store.folder / "README.md").read_text()
    with pytest.raises(InterbertError, match="is not an index; make one:  interbert index"):
        SqliteStore(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").touch()
    with pytest.raises(InterbertError, match="is not empty and not an index"):
        SqliteStore.create(tmp_path / "other", FACTS)
    described = json.loads((store.folder / "index.json").read_text())
    (store.folder / "index.json").write_text(json.dumps(described | {"version": 2}))
    with pytest.raises(InterbertError, match="has format 2, this interbert reads 1"):
        SqliteStore(store.folder)


def test_verify_reads_everything(store: SqliteStore) -> None:
    assert store.verify() == 6
    (shard,) = (store.folder / "vectors").iterdir()
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(InterbertError, match="have another checksum"):
        SqliteStore(store.folder).verify()


def test_the_files_survive_power_cuts_as_far_as_sqlite_does(store: SqliteStore) -> None:
    with sqlite3.connect(store.folder / "products.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    assert store.database.rows("PRAGMA synchronous") == [(2,)]  # FULL
