"""How long does it take to find, of a million vectors on disk, the hundred nearest to a topic?

    OMP_NUM_THREADS=1 python benchmarks/scan.py [--vectors 1000000 --size 256 --best 100 --rounds 9]

The first half of a cascade: an index's own file of vectors, drawn here in blocks of 100,000, every inner product, the
best sorted. `first` is what the first topic after a start waits for, which compares the checksums too. Beside it numpy
with the same vectors in memory (a product, `argsort` of all), one after the other in every round; ratios above 1 say
that ours is faster. Milliseconds of one thread's processor time: median, smallest, largest. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interbert.recall.vectors import Block, VectorShards, largest

BLOCK = 100_000


def written(shards: VectorShards, vectors: NDArray[np.float32]) -> list[Block]:
    """The vectors in the file, a block after the other."""
    blocks: list[Block] = []
    for at in range(0, len(vectors), BLOCK):
        blocks.append(shards.append(vectors[at : at + BLOCK], blocks[-1] if blocks else None))
    return blocks


def timed(
    act: Callable[[NDArray[np.float32]], NDArray[np.int64]], query: NDArray[np.float32]
) -> tuple[float, NDArray[np.int64]]:
    """Milliseconds of the processor, and what was found."""
    began = time.process_time()
    found = act(query)
    return 1000 * (time.process_time() - began), found


def measured(folder: Path, vectors: NDArray[np.float32], queries: NDArray[np.float32], best: int) -> dict[str, Any]:
    """A round a query. Raises SystemExit where the two do not find the same."""
    shards, everything = VectorShards(folder, vectors.shape[1]), np.arange(len(vectors))
    blocks = written(shards, vectors)

    def scan(query: NDArray[np.float32]) -> NDArray[np.int64]:
        return largest(shards.products(blocks, query, everything), best)

    def sort(query: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.argsort(-(vectors @ query))[:best]

    first, _ = timed(scan, queries[0])
    ours, numpys = [], []
    for query in queries:
        spent, found = timed(scan, query)
        other, wanted = timed(sort, query)
        ours.append(spent)
        numpys.append(other)
        if set(found.tolist()) != set(wanted.tolist()):
            raise SystemExit("the two did not find the same vectors")
    ratios = [slow / fast for slow, fast in zip(numpys, ours, strict=True)]
    rows = {"first": [first], "ours": ours, "numpy": numpys, "numpy_over_ours": ratios}
    return {name: [round(of(row), 2) for of in (statistics.median, min, max)] for name, row in rows.items()}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--best", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    vectors = random.standard_normal((given.vectors, given.size), np.float32)
    queries = random.standard_normal((given.rounds, given.size), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(vars(given) | measured(Path(folder), vectors, queries, given.best)))


if __name__ == "__main__":
    main()
