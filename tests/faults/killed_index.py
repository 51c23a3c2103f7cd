"""Changes an index again and again, killed somewhere each time, from one interpreter that forks.

    python killed_index.py FOLDER KILLS SEED -> one JSON object on stdout

A third of the kills come before a random file operation (open, rename, cut), a third before a random statement of SQL,
a third at a random time. After each kill a reader opens the index; then the same change is let end.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from recall_helpers import indexed, product, shop, write_catalogue

from faults.children import in_a_child, killed_before
from interbert.recall import pictures
from interbert.recall.database import Database
from interbert.recall.sqlite_store import SqliteStore

PRODUCTS, PICTURES, EVERY = 60, 40, 7
OPERATIONS = ("open", "os.rename", "os.truncate")


def source(folder: Path) -> Path:
    """A shop whose index has a version of the first 20 products; the whole catalogue comes next, some of it changed."""
    shop(folder, PRODUCTS, PICTURES)
    write_catalogue(folder / "first.jsonl", [product(number, PICTURES, price=1) for number in range(20)])
    indexed(folder, "first.jsonl")
    (folder / "index").rename(folder / "before")
    return folder


def change(folder: Path) -> None:
    indexed(folder, whole=True)


def contents(index: Path) -> dict[str, Any]:
    """Everything that a reader may see of the newest version, and that its pictures are whole."""
    store = SqliteStore(index)
    version = store.versions()[-1].number
    found = store.select(version, None)
    products = store.products(found.rows.tolist())
    query = np.linspace(-1, 1, store.facts.vector_size, dtype=np.float32)
    nearest, scores = store.nearest(version, None, query, PICTURES)
    by_row = dict(zip(nearest.rows.tolist(), scores.round(4).tolist(), strict=True))
    counts = [len(one) for one in store.regions(found.pictures.tolist())]
    store.verify()
    store.close()
    return {
        one.id: [one.title, one.picture, dict(one.cells), by_row[row], count]
        for one, row, count in zip(products, found.rows.tolist(), counts, strict=True)
    } | {"version": version}


def killed_before_statement(number: int, act: Callable[[], object]) -> None:
    """`act`, with kill -9 before its n-th statement of SQL."""
    connected, seen = Database._connection, 0

    def note(_: str) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def traced(self: Database) -> Any:
        connection = connected(self)
        connection.set_trace_callback(note)
        return connection

    Database._connection = traced  # type: ignore[method-assign]
    act()


def main(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    pictures.BLOCK = EVERY
    draws, place = random.Random(seed), source(folder)
    act, index = partial(change, place), place / "index"
    shutil.copytree(place / "before", index)
    old = contents(index)
    status, seconds = in_a_child(act)
    new, statuses, torn, different = contents(index), [status], 0, 0
    for at in range(kills):
        shutil.rmtree(index)
        shutil.copytree(place / "before", index)
        for _ in range(draws.randint(1, 2)):
            if at % 3 == 0:
                killed = partial(killed_before, draws.randint(1, 60), OPERATIONS, act)
            else:
                killed = partial(killed_before_statement, draws.randint(1, 250), act) if at % 3 == 1 else act
            statuses.append(in_a_child(killed, draws.uniform(0, seconds) if at % 3 == 2 else None)[0])
            torn += contents(index) not in (old, new)
        statuses.append(in_a_child(act)[0])
        different += contents(index) != new
    return {"statuses": statuses, "torn": torn, "different": different, "products": len(new) - 1}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
