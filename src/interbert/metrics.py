"""Metrics as pure functions of arrays, and their confidence intervals by bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

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


def precision_at(scores: ArrayLike, relevant: ArrayLike, k: int) -> NDArray[np.float64]:
    """The share of each query's first k items that is relevant; ties count against it (5.2, P@5).

    scores: [Q, I].  relevant: bool [Q, I].  Of r relevant ones at most r / k, and so of fewer items than k.
    Returns float64 [Q].

    >>> precision_at([[0.9, 0.8, 0.7, 0.1]], [[True, False, True, True]], 2).tolist()
    [0.5]
    """
    scores, relevant = np.asarray(scores, np.float64), np.asarray(relevant, bool)
    first = np.lexsort((relevant, -scores))[:, :k]
    return np.asarray(np.take_along_axis(relevant, first, 1).sum(1) / k)


def chance_of_recall(relevant: ArrayLike, pool: int, k: int) -> NDArray[np.float64]:
    """The chance that one of the first k of a shuffled pool is relevant. relevant: [Q], how many of the pool are.

    >>> chance_of_recall([1, 2], pool=4, k=2).tolist()      # 2 / 4, and 1 - (2 / 4) (1 / 3)
    [0.5, 0.8333333333333334]
    """
    others = pool - np.asarray(relevant, np.float64)
    missed = np.ones_like(others)
    for drawn in range(min(k, pool)):
        missed *= (others - drawn).clip(min=0) / (pool - drawn)
    return np.asarray(1 - missed)


def matthews(predicted: ArrayLike, wanted: ArrayLike) -> float:
    """Matthews' correlation of two lists of classes, of any number of them (CoLA; 4.5, Table 5).

    1 where all are right, 0 for what chance gives; 0 where either list has but one class, NaN for none.

    >>> matthews([1, 1, 0, 0], [1, 0, 0, 0])     # of the table 1 1 / 0 2: (2 - 0) / sqrt(2 * 1 * 2 * 3)
    0.5773502691896258
    """
    predicted, wanted = np.asarray(predicted), np.asarray(wanted)
    _alike(predicted, wanted)
    if not predicted.size:
        return float("nan")
    _, both = np.unique(np.concatenate([predicted, wanted]), return_inverse=True)
    table = np.zeros((int(both.max()) + 1,) * 2)
    np.add.at(table, (both[: predicted.size], both[predicted.size :]), 1)
    given, true, count = table.sum(1), table.sum(0), float(predicted.size)
    spread = math.sqrt((count**2 - given @ given) * (count**2 - true @ true))
    return float((count * table.trace() - given @ true) / spread) if spread else 0.0


def pearson(first: ArrayLike, second: ArrayLike) -> float:
    """The linear correlation of two lists of numbers; NaN where either is constant or has fewer than two.

    >>> round(pearson([1, 2, 3], [1, 2, 9]), 4)
    0.9177
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    _alike(x, y)
    if x.size < 2 or (x == x[0]).all() or (y == y[0]).all():
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # else the squares of very small numbers are 0
    return float(np.clip((x @ y) / math.sqrt((x @ x) * (y @ y)), -1, 1))


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """The correlation of the ranks of two lists of numbers, equal numbers sharing the mean of their ranks.

    NaN where either is constant or has fewer than two.

    >>> round(spearman([10, 20, 30, 40], [1, 2, 4, 3]), 4)      # 1 - 6 * 2 / (4 * 15)
    0.8
    """
    return pearson(_shared_ranks(first), _shared_ranks(second))


def kendall(first: ArrayLike, second: ArrayLike, variant: Literal["b", "c"] = "b") -> float:
    """Kendall's tau of two lists of numbers: of all pairs, those in the same order less those in the other.

    variant: "b" leaves out what is tied on either side; "c" divides by what lists of so many different values can
    reach (Stuart's; for judgments on a short scale). NaN where either is constant or has fewer than two.

    >>> kendall([1, 2, 3, 4], [1, 2, 4, 3])      # 5 pairs in the same order, 1 in the other
    0.6666666666666666
    """
    x, y = _numbered(first), _numbered(second)
    _alike(x, y)
    if x.size < 2 or not x.any() or not y.any():
        return float("nan")
    order = np.lexsort((y, x))
    pairs = x.size * (x.size - 1) // 2
    tied_x, tied_y = _tied_pairs(x), _tied_pairs(y)
    tied_both = _tied_pairs(x * (int(y.max()) + 1) + y)
    surplus = pairs - tied_x - tied_y + tied_both - 2 * _inversions(y[order])
    if variant == "b":
        return surplus / math.sqrt((pairs - tied_x) * (pairs - tied_y))
    values = int(min(x.max(), y.max())) + 1
    return 2 * surplus * values / (x.size**2 * (values - 1))


def _alike(first: NDArray[Any], second: NDArray[Any]) -> None:
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"got lists of shapes {first.shape} and {second.shape}, wanted two of one length")


def _numbered(values: ArrayLike) -> NDArray[np.int64]:
    """Each value's place among the different values, from 0."""
    return np.asarray(np.unique(np.asarray(values, np.float64), return_inverse=True)[1], np.int64)


def _shared_ranks(values: ArrayLike) -> NDArray[np.float64]:
    _, place, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _tied_pairs(numbers: NDArray[np.int64]) -> int:
    counts = np.unique(numbers, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _inversions(numbers: NDArray[np.int64]) -> int:
    """How many pairs stand in falling order. Bit by bit, from the highest: numbers that differ first in a bit are the
    wrong way round where the one that has it stands before the one that does not."""
    found = 0
    for bit in reversed(range(int(numbers.max()).bit_length())):
        above, has = numbers >> (bit + 1), (numbers >> bit) & 1
        before = np.cumsum(has) - has
        of_group = before[np.searchsorted(above, above)]
        found += int((before - of_group)[has == 0].sum())
        numbers = numbers[np.argsort(numbers >> bit, kind="stable")]
    return found


def brier(probabilities: ArrayLike, true: ArrayLike) -> float:
    """The mean squared distance of probabilities from what is true (0 or 1); NaN for none.

    >>> brier([1.0, 0.5, 0.0], [1, 1, 1])      # (0 + 0.25 + 1) / 3
    0.4166666666666667
    """
    said, is_true = _said(probabilities, true)
    return float(((said - is_true) ** 2).mean()) if said.size else float("nan")


def log_loss(probabilities: ArrayLike, true: ArrayLike) -> float:
    """The mean of -log of the probability that was given to what is true, in nats; NaN for none.

    Infinite where something impossible is true.

    >>> log_loss([0.5, 0.5], [0, 1]) == math.log(2)
    True
    """
    said, is_true = _said(probabilities, true)
    with np.errstate(divide="ignore"):
        return float(-np.log(np.where(is_true, said, 1 - said)).mean()) if said.size else float("nan")


def reliability(
    probabilities: ArrayLike, true: ArrayLike, bins: int = 10, by: Literal["width", "mass"] = "width"
) -> NDArray[np.float64]:
    """The reliability diagram as a table: of each bin that holds any, mean probability, share that is true, and count.

    by: "width" cuts 0..1 into `bins` of equal width, "mass" the sorted probabilities into as many of equal counts.
    Returns float64 [K, 3], the lowest first.

    >>> reliability([0.1, 0.2, 0.9, 1.0], [0, 1, 1, 1], bins=2).round(2).tolist()
    [[0.15, 0.5, 2.0], [0.95, 1.0, 2.0]]
    """
    said, is_true = _said(probabilities, true)
    if by == "width":
        of = np.minimum((said * bins).astype(np.int64), bins - 1)
    else:
        of = np.empty(said.size, np.int64)
        of[np.argsort(said, kind="stable")] = np.arange(said.size) * bins // max(1, said.size)
    counts = np.bincount(of, minlength=bins)
    sums = np.stack([np.bincount(of, said, bins), np.bincount(of, is_true, bins)], 1)
    held = counts > 0
    return np.concatenate([sums[held] / counts[held, None], counts[held, None]], 1)


def calibration_error(
    probabilities: ArrayLike, true: ArrayLike, bins: int = 10, by: Literal["width", "mass"] = "width"
) -> float:
    """The expected calibration error: how far the shares of `reliability` are from its probabilities, by their counts.

    NaN for none. Of few pairs it is above 0 by chance alone.

    >>> round(calibration_error([0.1, 0.2, 0.9, 1.0], [0, 1, 1, 1], bins=2), 4)      # (2 * 0.35 + 2 * 0.05) / 4
    0.2
    """
    table = reliability(probabilities, true, bins, by)
    if not len(table):
        return float("nan")
    return float(np.abs(table[:, 0] - table[:, 1]) @ table[:, 2] / table[:, 2].sum())


def precision_recall(
    scores: ArrayLike, true: ArrayLike, weights: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Different scores from the highest down, and precision and recall where that score and those above it are taken.

    weights: what each counts; None: 1 each. Raises ValueError where nothing is true.

    >>> [column.tolist() for column in precision_recall([0.9, 0.4, 0.4], [1, 1, 0])]
    [[0.9, 0.4], [1.0, 0.6666666666666666], [0.5, 1.0]]
    """
    scores, is_true = np.asarray(scores, np.float64), np.asarray(true, bool)
    _alike(scores, is_true)
    if not is_true.any():
        raise ValueError("true: got no true one, of which recall is a share")
    counted = np.ones(scores.size) if weights is None else np.asarray(weights, np.float64)
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]), -1.0))  # of each run of equal scores
    right, taken = np.cumsum((counted * is_true)[order])[last], np.cumsum(counted[order])[last]
    return scores[order][last], right / taken, right / right[-1]


def average_precision(scores: ArrayLike, true: ArrayLike) -> float:
    """The mean of the precisions at which each true one is reached, equal scores at once.

    >>> average_precision([0.9, 0.8, 0.7], [1, 0, 1])      # (1 + 2 / 3) / 2
    0.8333333333333333
    """
    _, precision, recall = precision_recall(scores, true)
    return float(precision @ np.diff(recall, prepend=0.0))


def _said(probabilities: ArrayLike, true: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    said, is_true = np.asarray(probabilities, np.float64), np.asarray(true, bool)
    _alike(said, is_true)
    if not ((said >= 0) & (said <= 1)).all():
        raise ValueError("probabilities: got one outside 0..1")
    return said, is_true


def vqa_score(predicted: str, answers: Sequence[str]) -> float:
    """The VQA score of one answer, in 0..1: the mean, leaving out each annotator in turn, of min(1, equal answers / 3).

    predicted and answers: normalised texts (`tasks.vqa_answers.official_score` does that). NaN for no answers.
    Ten annotators give 0, 0.3, 0.6, 0.9, 1 for 0, 1, 2, 3, 4 or more who say the same.

    >>> vqa_score("red", ["red"] * 3 + ["pink"] * 7)
    0.9
    """
    same = sum(answer == predicted for answer in answers)
    rest = len(answers) - same
    if not answers:
        return float("nan")
    total = rest * min(3, same) + same * min(3, max(same - 1, 0))
    return total / (3 * len(answers))


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
