"""A small store of products, on SQLite and on PostgreSQL: six pictures, k0 to k5, and no products yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pretraining_helpers import EXTRACTOR, random_regions

from interbert.recall.filters import parse
from interbert.recall.place import create_store
from interbert.recall.store import Facts, Product, ProductStore
from interbert.vision.store import RegionStore

SIZE = 4
FACTS = Facts("ab" * 32, EXTRACTOR, "../run", SIZE, "2026-01-01T00:00:00+00:00", "0")
KINDS: dict[str, Any] = {"category": "text", "price": "number"}
VECTORS = np.eye(6, SIZE, dtype=np.float32) + np.arange(6, dtype=np.float32)[:, None] / 10


def filled_store(folder: Path, address: str | None = None) -> ProductStore:
    """The store in `folder`, or at `address`."""
    made = create_store(folder, FACTS, address)
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


def ids_at(store: ProductStore, version: int, where: str | None = None) -> list[str]:
    found = store.select(version, parse(where, store.columns()) if where else None)
    return [product.id for product in store.products(found.rows.tolist())]
