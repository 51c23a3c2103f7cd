"""Every store of products, embedded or shared: versions that are whole, readers that are pinned, what is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pretraining_helpers import EXTRACTOR, random_regions
from product_store_helpers import KINDS, SIZE, VECTORS, filled_store, ids_at, products

from interbert.errors import InterbertError, UsageError
from interbert.recall.filters import parse
from interbert.recall.place import open_store
from interbert.recall.store import Product, ProductStore
from interbert.vision.store import RegionStore


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProductStore]:
    address = request.getfixturevalue("postgres").address() if request.param == "postgresql" else None
    made = filled_store(tmp_path / "index", address)
    ADDRESSES[made.region_folder] = address
    yield made
    made.close()


ADDRESSES: dict[Path, str | None] = {}


def again(store: ProductStore) -> ProductStore:
    """The same index, opened by somebody else."""
    return open_store(store.region_folder.parent, ADDRESSES[store.region_folder])


def test_a_change_is_a_version_and_older_ones_stay(store: ProductStore) -> None:
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
    assert [version.what for version in again(store).versions()] == ["first", "second"]


def test_what_is_as_it_was_makes_no_version(store: ProductStore) -> None:
    store.change(products(0, 1), (), KINDS, "first")
    assert store.change(products(0, 1), ["nobody"], KINDS, "again") is None
    assert len(store.versions()) == 1


def test_a_version_is_restored_as_a_new_one(store: ProductStore) -> None:
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


def test_a_change_that_fails_leaves_everything_as_it_was(store: ProductStore) -> None:
    store.change(products(0), (), KINDS, "first")

    def breaking() -> Any:
        yield from products(1, size=3)
        raise InterbertError("the catalogue ends in the midst")

    with pytest.raises(InterbertError, match="in the midst"):
        store.change(breaking(), ["p0"], KINDS | {"size": "number"}, "second")
    assert (ids_at(store, 1), len(store.versions())) == (["p0"], 1)
    assert "size" not in store.columns()


def test_columns_are_made_as_they_come_and_filters_name_them(store: ProductStore) -> None:
    store.change(products(0, 1), (), KINDS, "first")
    name = "size'; --"
    store.change(products(2, **{name: 41}), (), KINDS | {name: "number"}, "second")
    assert store.columns()[name] == "number"
    assert ids_at(store, 2, '"size\'; --" > 40') == ["p2"]
    assert ids_at(store, 2, "category = 'a' and price <= 10") == ["p0", "p2"]
    assert ids_at(store, 2, "id like 'P1' or title = 'title 0'") == ["p0", "p1"]
    with pytest.raises(InterbertError, match="column 'price' holds numbers in this index"):
        store.change((), (), {"price": "text"}, "third")


def test_more_columns_than_it_has_room_for_are_refused(store: ProductStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interbert.recall.store.MAX_COLUMNS", 1)
    with pytest.raises(InterbertError, match="an index has at most 1"):
        store.change(products(0), (), KINDS, "first")


def test_nearest_is_the_largest_inner_product_of_those_that_pass(store: ProductStore) -> None:
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


def test_pictures_that_come_later_are_found_by_a_reader_that_is_open(store: ProductStore) -> None:
    reader = again(store)
    assert [len(one) for one in reader.regions([5, 0])] == [7, 2]
    with RegionStore.writer(store.region_folder, EXTRACTOR) as writer:
        writer.append("late", random_regions(np.random.default_rng(1), 9))
    store.add_pictures(["late"], [9], np.ones((1, SIZE), np.float32))
    store.change([Product("p9", "", "", "late", {})], (), {}, "late")
    assert reader.known(["late", "k1", "never"]) == {"late": 6, "k1": 1}
    assert [len(one) for one in reader.regions([6, 0])] == [9, 2]
    found, scores = reader.nearest(1, None, np.ones(SIZE, np.float32), 5)
    assert (found.pictures.tolist(), scores.tolist()) == ([6], [4.0])


def test_readers_see_whole_versions_while_one_writes(store: ProductStore) -> None:
    store.change(products(*range(40), price=0), (), KINDS, "0")
    seen, wrong, done = set(), [], threading.Event()

    def read() -> None:
        reader = again(store)
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


def test_there_is_one_writer(store: ProductStore) -> None:
    with (
        store.writing(),
        pytest.raises(InterbertError, match=r"process \d+ is writing to (the )?index"),
        again(store).writing(),
    ):
        pass
    with again(store).writing():
        pass


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("not category = 'shoes'", ["p2"]),  # what is null is neither
        ("category >= 'a' and category < 'i'", ["p2"]),  # byte by byte
        ("title like 'RED\\%'", ["p0"]),  # a backslash is itself, capitals are not
        ("title like '_t''s%'", ["p2"]),
        ("title not like '%s%'", ["p3"]),
        ('"old price" > price', ["p0"]),
        ("price in (50.5, 20)", ["p2", "p3"]),
        ("price = 9007199254740993", ["p1"]),  # which no double is
        ("price <> 50.5 and price < 1e18", ["p0", "p1", "p3"]),
        ("category is null or title = '; drop table interbert_products --'", ["p3"]),
    ],
)
def test_a_filter_means_the_same_everywhere(store: ProductStore, text: str, wanted: list[str]) -> None:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("red\\ shoes", {"category": "shoes", "price": 100, "old price": 200}),
        ("Blue SHOES", {"category": "shoes", "price": 9007199254740993, "old price": 250}),
        ("it's a hat", {"category": "hats", "price": 50.5}),
        ("100% wool", {"price": 20.0, "old price": 20}),
    ]
    shown = [Product(f"p{at}", title, "", "k0", cells) for at, (title, cells) in enumerate(rows)]
    store.change(shown, (), KINDS | {"old price": "number"}, "first")
    assert ids_at(store, 1, text) == wanted
    assert store.products(store.select(1, None).rows.tolist()) == shown


def test_cells_are_what_they_were(store: ProductStore) -> None:
    cells = {
        "price": -(2**63),
        "a": 2**63 - 1,
        "b": 0.1,
        "c": 1e300,
        "d": 5e-324,
        "e": 30.0,
        "category": "é价\U0001f45f '\"\\n",
    }
    store.change([Product("p", "", "", "k0", cells)], (), KINDS | dict.fromkeys("abcde", "number"), "first")
    found = store.find(1, "p")
    assert found is not None
    assert dict(found.cells) == cells
