"""What do 3 million and a billion products cost, exactly and by cascade? Rates that are measured here, then arithmetic.

    OMP_NUM_THREADS=1 python benchmarks/scale.py [--preset small --pictures 128 --topics 8 --vectors 200000]
    python benchmarks/scale.py --table

Measures one thread by its processor time, so that it may be done on a machine that is at work: random weights, drawn
pictures of 10 to 36 regions of 736 numbers, through the index and the search. `--table` measures nothing and prints
what docs/scale.md has, from `RATES`. Prints one JSON object, or that table.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MACHINE_CORES, MACHINE_TERABYTES = 64, 8.0  # of the machines that are counted
CANDIDATES, TOPICS_A_DAY = 200, 1_000
SIZES = {"3 million": 3e6, "1 billion": 1e9}


@dataclass(frozen=True)
class Rates:
    """Of one core, a second. extracted: pictures.  vectors: pictures read alone.  pairs: one topic with many pictures.

    pairs_together: of 32 topics that share the pictures' reading, or as many as were measured.  scanned: vectors
    whose inner product with a query is taken.  picture_bytes, vector_bytes: on disk.
    """

    extracted: float
    vectors: float
    pairs: float
    pairs_together: float
    scanned: float
    picture_bytes: float
    vector_bytes: float


@dataclass(frozen=True)
class Costs:
    """Of an index and its topics. *_hours: of one core.  *_machines: of `MACHINE_CORES`, for `TOPICS_A_DAY`."""

    index_hours: float
    terabytes: float
    storage_machines: int
    exact_hours: float
    exact_machines: int
    cascade_hours: float
    cascade_machines: int


def costs(rates: Rates, products: float, candidates: int = CANDIDATES, topics_a_day: int = TOPICS_A_DAY) -> Costs:
    """What so many products cost, each with its own picture. The formulae of docs/scale.md."""
    exact = products / rates.pairs_together / 3600
    cascade = (products / rates.scanned + candidates / rates.pairs) / 3600
    terabytes = products * (rates.picture_bytes + rates.vector_bytes) / 1e12
    return Costs(
        index_hours=products * (1 / rates.extracted + 1 / rates.vectors) / 3600,
        terabytes=terabytes,
        storage_machines=math.ceil(terabytes / MACHINE_TERABYTES),
        exact_hours=exact,
        exact_machines=machines(exact, topics_a_day),
        cascade_hours=cascade,
        cascade_machines=machines(cascade, topics_a_day),
    )


def machines(core_hours: float, topics_a_day: int) -> int:
    """That do so many topics in 24 hours."""
    return math.ceil(core_hours * topics_a_day / 24 / MACHINE_CORES)


def table(rates: Rates) -> Iterator[str]:
    """Lines of Markdown."""
    found = {name: costs(rates, products) for name, products in SIZES.items()}
    yield "| | " + " | ".join(f"{name} products" for name in found) + " |"
    yield "|---|" + "---|" * len(found)
    for name, shown in _ROWS.items():
        yield f"| {name} | " + " | ".join(shown(one) for one in found.values()) + " |"


def figure(value: float) -> str:
    """Three digits that count.

    >>> [figure(one) for one in (0.012345, 3.456, 1234567)]
    ['0.0123', '3.46', '1,230,000']
    """
    digits = 2 - math.floor(math.log10(value))
    return f"{round(value, digits):,.{max(0, digits)}f}"


_ROWS: dict[str, Callable[[Costs], str]] = {
    "making the index, core-hours": lambda one: figure(one.index_hours),
    f"the same on one machine of {MACHINE_CORES} cores, hours": lambda one: figure(one.index_hours / MACHINE_CORES),
    "on disk, TB": lambda one: figure(one.terabytes),
    f"machines of {MACHINE_TERABYTES:g} TB for that": lambda one: f"{one.storage_machines:,}",
    "a topic by `exact`, core-hours": lambda one: figure(one.exact_hours),
    f"a topic by `exact` on {MACHINE_CORES} cores, minutes": lambda one: figure(one.exact_hours * 60 / MACHINE_CORES),
    f"machines for {TOPICS_A_DAY:,} topics a day by `exact`": lambda one: f"{one.exact_machines:,}",
    f"a topic by `cascade` of {CANDIDATES}, core-seconds": lambda one: figure(one.cascade_hours * 3600),
    f"machines for {TOPICS_A_DAY:,} topics a day by `cascade`": lambda one: f"{one.cascade_machines:,}",
}


def measured(preset: str, pictures: int, topics: int, vectors: int, extracted: float) -> Rates:
    """All but `extracted`, which benchmarks/extraction.py measures."""
    import numpy as np
    import torch
    from recall import TOPIC, drawn_index, drawn_scorer

    from interbert.recall.search import Searcher
    from interbert.recall.vectors import VectorShards, largest

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        scorer = drawn_scorer(preset)
        store, _ = drawn_index(Path(folder) / "index", scorer, pictures)
        searcher, everything = Searcher(store, scorer), store.select(1, None)
        numbers, counts = everything.pictures, everything.regions
        texts = [f"{TOPIC} {'a ' * at}" for at in range(topics)]
        regions = store.regions(numbers.tolist())
        searcher.exact_margins(texts[:1], numbers, counts)  # makes the model ready, once
        one = seconds_of(lambda: searcher.exact_margins(texts[:1], numbers, counts))
        many = seconds_of(lambda: searcher.exact_margins(texts, numbers, counts))
        alone = seconds_of(lambda: scorer.encode_images(regions, show_progress_bar=False))
        shards = VectorShards(Path(folder), size := store.facts.vector_size)
        block = shards.append(np.random.default_rng(0).normal(size=(vectors, size)).astype(np.float32), None)
        query, wanted = np.ones(size, np.float32), np.arange(vectors)
        shards.products([block], query, wanted)  # its checksum
        scan = seconds_of(lambda: largest(shards.products([block], query, wanted), CANDIDATES))
        size_of = (Path(folder) / "index" / "regions").glob("*.regions")
        return Rates(
            extracted=extracted,
            vectors=pictures / alone,
            pairs=pictures / one,
            pairs_together=pictures * topics / many,
            scanned=vectors / scan,
            picture_bytes=sum(path.stat().st_size for path in size_of) / pictures,
            vector_bytes=4 * size,
        )


def seconds_of(act: Callable[[], Any]) -> float:
    """Of the processor."""
    began = time.process_time()
    act()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--topics", type=int, default=8)
    parser.add_argument("--vectors", type=int, default=200_000)
    parser.add_argument("--extracted", type=float, default=20.3, help="pictures a second; docs/log.md")
    parser.add_argument("--table", action="store_true", help="only that of docs/scale.md")
    given = parser.parse_args()
    if given.table:
        print("\n".join(table(RATES)))
        return
    found = measured(given.preset, given.pictures, given.topics, given.vectors, given.extracted)
    print(
        json.dumps({"rates": asdict(found), "costs": {n: asdict(costs(found, c)) for n, c in SIZES.items()}}, indent=1)
    )


RATES = Rates(  # docs/log.md has the commands
    extracted=20.3,
    vectors=186,
    pairs=161,
    pairs_together=144,
    scanned=13.7e6,
    picture_bytes=33_252,
    vector_bytes=2_048,
)

if __name__ == "__main__":
    main()
