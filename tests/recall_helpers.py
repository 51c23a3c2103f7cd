"""A shop to recall from in tests: a tiny model, regions that nobody had to detect, and a catalogue that names them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pretraining_helpers import EXTRACTOR, WORDS, random_regions
from task_helpers import CONFIG, saved_run

from interbert.corpus.catalogue import Catalogue
from interbert.recall.index import IndexReport, index_catalogue
from interbert.vision.provenance import ImageInfo
from interbert.vision.store import RegionStore

SPREAD = replace(CONFIG, initializer_range=0.4)  # weights that tell pictures apart


def shop(folder: Path, count: int = 12, pictures: int | None = None) -> Path:
    """A run, regions of so many pictures (None: one a product), and `catalogue.jsonl` with `count` products."""
    saved_run(folder / "run", SPREAD)
    random = np.random.default_rng(0)
    with RegionStore.writer(folder / "regions", EXTRACTOR) as writer:
        for number in range(pictures or count):
            info = ImageInfo(f"images/{number}.jpg", f"{number:064x}", number)
            writer.append(f"images/{number}", random_regions(random, int(random.integers(3, 8))), info)
    write_catalogue(folder / "catalogue.jsonl", [product(number, pictures or count) for number in range(count)])
    return folder


def product(number: int, pictures: int = 1 << 30, **changes: Any) -> dict[str, Any]:
    """A line of the catalogue."""
    return {
        "id": f"p{number}",
        "image": f"images/{number % pictures}.jpg",
        "title": f"a {WORDS[number % len(WORDS)]} {WORDS[(number // 3) % len(WORDS)]}",
        "category": ("shoes", "hats", "coats")[number % 3],
        "price": 10 * number,
        "colour": None if number % 4 == 0 else ("red", "blue")[number % 2],
    } | changes


def write_catalogue(path: Path, products: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in products), encoding="utf-8")
    return path


def indexed(folder: Path, catalogue: str = "catalogue.jsonl", **options: Any) -> IndexReport:
    """The shop's catalogue in the index `folder` / "index"."""
    return index_catalogue(
        Catalogue(folder / catalogue),
        folder / "run",
        folder / "index",
        **({"regions": folder / "regions", "progress": False} | options),
    )
