"""Regions for benchmarks that need none of a real picture."""

from __future__ import annotations

import numpy as np

from interbert.batch import Regions


def drawn_regions(random: np.random.Generator, fewest: int, most: int, features: int) -> Regions:
    """A picture of 500 x 500 with `fewest` to `most` regions of so many features."""
    count = int(random.integers(fewest, most + 1))
    corner = random.uniform(0, 300, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(20, 200, (count, 2))], 1).astype(np.float32)
    vectors = random.exponential(0.5, (count, features)).astype(np.float32)
    return Regions(vectors, boxes, (500, 500), np.zeros(count, np.int64), np.full(count, 0.5, np.float32))
