"""Metrics as pure functions of arrays, and their confidence intervals by bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray


def accuracy(predicted: ArrayLike, wanted: ArrayLike) -> float:
    """Share of equal entries; NaN for none.

    >>> accuracy([1, 2, 3, 4], [1, 2, 0, 0])
    0.5
    """
    equal = np.asarray(predicted) == np.asarray(wanted)
    return float(equal.mean()) if equal.size else float("nan")


def ranks(scores: ArrayLike, relevant: ArrayLike) -> NDArray[np.int64]:
    """The rank, from 1, of each query's best relevant item; ties count against it.

    scores: [Q, I].  relevant: bool [Q, I], at least one a row.  Returns int64 [Q].

    >>> ranks([[0.1, 0.9, 0.5]], [[False, False, True]]).tolist()
    [2]
    """
    scores, relevant = np.asarray(scores, np.float64), np.asarray(relevant, bool)
    best = np.where(relevant, scores, -np.inf).max(1, keepdims=True)
    return np.asarray(1 + ((scores >= best) & ~relevant).sum(1), np.int64)


def recall_at(found_ranks: ArrayLike, k: int) -> float:
    """Share of queries whose rank is at most k.

    >>> recall_at([1, 3, 11], 10)
    0.6666666666666666
    """
    return float((np.asarray(found_ranks) <= k).mean())


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], float],
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a statistic over resampled rows. values: [N, ...]; give pairs as rows for a paired one.

    >>> bootstrap_interval([1.0, 1.0, 1.0], lambda rows: float(rows.mean()))
    (1.0, 1.0)
    """
    rows = np.asarray(values, np.float64)
    generator = np.random.default_rng(seed)
    drawn = [statistic(rows[generator.integers(len(rows), size=len(rows))]) for _ in range(samples)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
