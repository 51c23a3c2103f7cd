"""Metrics with numbers that a person can check."""

from __future__ import annotations

import numpy as np

from interbert.metrics import accuracy, bootstrap_interval, ranks, recall_at


def test_accuracy_counts_equal_entries() -> None:
    assert accuracy([1, 0, 1, 1], [1, 1, 1, 1]) == 0.75


def test_the_rank_is_that_of_the_best_relevant_item() -> None:
    scores = [[0.9, 0.1, 0.8, 0.2], [0.1, 0.2, 0.3, 0.4]]
    relevant = [[False, True, True, False], [True, False, False, False]]
    assert ranks(scores, relevant).tolist() == [2, 4]


def test_ties_count_against_the_relevant_item() -> None:
    assert ranks([[0.5, 0.5, 0.5]], [[True, False, False]]).tolist() == [3]


def test_recall_is_the_share_of_ranks_within_k() -> None:
    assert recall_at([1, 2, 5, 6], 5) == 0.75


def test_the_bootstrap_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(1).random(400) < 0.3
    low, high = bootstrap_interval(values, lambda rows: float(rows.mean()))
    half = 1.96 * float(values.std()) / 20
    assert abs(low - (values.mean() - half)) < 0.006
    assert abs(high - (values.mean() + half)) < 0.006


def test_the_bootstrap_is_the_same_twice() -> None:
    values = np.arange(50.0)
    first, second = (bootstrap_interval(values, lambda rows: float(rows.mean())) for _ in range(2))
    assert first == second
