"""Imports a file of features again and again, killed somewhere each time, from one interpreter that forks.

    python killed_import.py FOLDER KILLS SEED -> one JSON object on stdout

Half of the kills come before a random file operation (open, rename, cut), half at a random time; then the same import
is let end.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from legacy_writers import picture, row, write_tsv

from faults.children import in_a_child, killed_before
from interbert.vision import legacy
from interbert.vision.legacy import import_features
from interbert.vision.store import RegionStore

PICTURES, EVERY = 300, 7  # pictures, and how many a commit has
OPERATIONS = ("open", "os.rename", "os.truncate")


def source(folder: Path) -> Path:
    """Features of 300 pictures, of which every 25th cannot be used and one has an id of before."""
    rows = [row(picture(f"picture {number}", features=200), 10) for number in range(PICTURES)]
    for number in range(10, PICTURES, 25):
        rows[number]["num_boxes"] = 0
    rows[-1]["img_id"] = "picture 0"
    return write_tsv(folder / "features.tsv", rows)


def contents(store: Path) -> dict[str, Any]:
    """Everything that must be equal to that of an import that nobody stopped."""
    with RegionStore(store, verify="every") as opened:
        opened.verify()
        ids = list(opened)
    failures = [json.loads(line) for line in (store / "failures.jsonl").read_text().splitlines()]
    shards = {path.name: path.read_bytes().hex() for path in sorted(store.glob("shard-*"))}
    places = json.loads((store / "imports.json").read_text())
    names = sorted(path.name for path in store.iterdir())
    return {"ids": ids, "failures": failures, "shards": shards, "places": places, "names": names}


def main(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    legacy.COMMIT_PICTURES = EVERY
    numbers, path, out = random.Random(seed), source(folder), folder / "out"
    act = partial(import_features, path, "bottom-up-tsv", out)
    status, seconds = in_a_child(act)
    wanted, statuses, different = contents(out), [status], 0
    for at in range(kills):
        shutil.rmtree(out)
        for _ in range(numbers.randint(1, 3)):
            if at % 2:
                statuses.append(in_a_child(partial(killed_before, numbers.randint(1, 250), OPERATIONS, act))[0])
            else:
                statuses.append(in_a_child(act, numbers.uniform(0, seconds))[0])
        statuses.append(in_a_child(act)[0])
        different += contents(out) != wanted
    return {"statuses": statuses, "different": different, "pictures": len(wanted["ids"])}


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), sys.stdout)
