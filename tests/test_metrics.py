"""Metrics with numbers that a person can check."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from interbert.metrics import (
    accuracy,
    average_precision,
    bootstrap_interval,
    brier,
    calibration_error,
    kendall,
    log_loss,
    matthews,
    pearson,
    precision_at,
    precision_recall,
    ranks,
    recall_at,
    reliability,
    spearman,
    vqa_score,
)


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


def test_matthews_is_that_of_the_table_of_counts() -> None:
    predicted, wanted = [1] * 9 + [0] * 11, [1] * 6 + [0] * 3 + [1] * 1 + [0] * 10  # 6 and 10 right, 3 and 1 wrong
    assert math.isclose(matthews(predicted, wanted), (6 * 10 - 3 * 1) / math.sqrt(9 * 7 * 13 * 11))


def test_matthews_of_a_single_class_is_0() -> None:
    assert matthews([1, 1, 1], [1, 0, 1]) == 0.0
    assert matthews([1, 1, 1], [1, 1, 1]) == 0.0


def test_pearson_of_numbers_that_a_person_can_check() -> None:
    assert pearson([1, 2, 3], [2, 4, 6]) == 1.0
    assert math.isclose(pearson([0, 0, 1, 1], [0, 1, 0, 2]), 0.5 / math.sqrt(1 * 2.75))


def test_spearman_looks_at_the_order_alone() -> None:
    assert spearman([1, 2, 3], [1, 10, 1000]) == 1.0
    assert math.isclose(spearman([1, 1, 3], [1, 2, 3]), 1.5 / math.sqrt(1.5 * 2))  # ranks 1.5, 1.5, 3


def test_kendall_counts_pairs_in_the_same_order_and_in_the_other() -> None:
    first, second = [1, 1, 2, 2], [1, 2, 2, 3]  # same order: 3; tied: one pair in x, one in x, one in y
    assert math.isclose(kendall(first, second), 3 / math.sqrt(4 * 5))
    assert math.isclose(kendall(first, second, "c"), 2 * 3 / (16 * (2 - 1) / 2))


def test_correlations_of_a_constant_are_not_a_number() -> None:
    for correlation in (pearson, spearman, kendall):
        assert math.isnan(correlation([1, 1, 1], [1, 2, 3]))
        assert math.isnan(correlation([1], [1]))


def test_correlations_refuse_lists_of_two_lengths() -> None:
    for metric in (pearson, spearman, kendall, matthews):
        with pytest.raises(ValueError, match="two of one length"):
            metric([1, 2, 3], [1, 2])


def test_kendall_of_twenty_thousand_takes_no_time() -> None:
    random = np.random.default_rng(0)
    begun = time.process_time()
    kendall(random.normal(size=20_000), random.integers(0, 5, 20_000))
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(("same", "wanted"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_the_vqa_score_of_ten_annotators(same: int, wanted: float) -> None:
    assert math.isclose(vqa_score("red", ["red"] * same + ["pink"] * (10 - same)), wanted)


def test_the_vqa_score_leaves_out_each_annotator_in_turn() -> None:
    assert vqa_score("red", ["red", "red", "pink"]) == (1 / 3 + 1 / 3 + 2 / 3) / 3


def lists_of_classes() -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    random = np.random.default_rng(0)
    for count, classes in ((2, 2), (30, 2), (200, 2), (100, 5), (40, 1)):
        yield random.integers(0, classes, count), random.integers(0, classes, count)


def lists_of_numbers() -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    random = np.random.default_rng(0)
    for count in (2, 3, 10, 500):
        first = random.normal(size=count)
        yield first, first + random.normal(size=count)
        yield np.round(first), np.round(first * 2 + random.normal(size=count))  # many ties
    yield np.arange(50.0), np.arange(50.0)[::-1] * 1e-200


@pytest.mark.filterwarnings("ignore:A single label was found")
def test_classes_are_scored_as_scikit_learn_does() -> None:
    theirs = pytest.importorskip("sklearn.metrics")
    for predicted, wanted in lists_of_classes():
        assert math.isclose(matthews(predicted, wanted), theirs.matthews_corrcoef(wanted, predicted), abs_tol=1e-12)
        assert math.isclose(accuracy(predicted, wanted), theirs.accuracy_score(wanted, predicted))


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_correlations_are_those_of_scipy() -> None:
    theirs = pytest.importorskip("scipy.stats")
    for first, second in lists_of_numbers():
        pairs = [(pearson(first, second), theirs.pearsonr(first, second)[0])]
        pairs += [(spearman(first, second), theirs.spearmanr(first, second)[0])]
        pairs += [(kendall(first, second), theirs.kendalltau(first, second, variant="b")[0])]
        pairs += [(kendall(first, second, "c"), theirs.kendalltau(first, second, variant="c")[0])]
        for ours, wanted in pairs:
            assert math.isclose(ours, wanted, abs_tol=1e-12) or (math.isnan(ours) and math.isnan(wanted))


def some_probabilities(count: int = 400) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probabilities with ties, and what is true at about those rates."""
    random = np.random.default_rng(7)
    said = random.random(count).round(2)
    return said, random.random(count) < said


def test_probabilities_are_measured_as_scikit_learn_does() -> None:
    oracle = pytest.importorskip("sklearn.metrics")
    said, true = some_probabilities()
    inside = said.clip(0.001, 0.999)
    assert brier(said, true) == pytest.approx(oracle.brier_score_loss(true, said))
    assert log_loss(inside, true) == pytest.approx(oracle.log_loss(true, inside))
    assert average_precision(said, true) == pytest.approx(oracle.average_precision_score(true, said))
    weights = np.where(true, 0.25, 2.0)
    precision, recall, thresholds = oracle.precision_recall_curve(true, said, sample_weight=weights)
    ours = precision_recall(said, true, weights)
    for mine, theirs in zip(ours, (thresholds, precision[:-1], recall[:-1]), strict=True):
        np.testing.assert_allclose(mine, theirs[::-1])


@pytest.mark.parametrize(("by", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_the_reliability_diagram_is_scikit_learns(by: str, strategy: str) -> None:
    oracle = pytest.importorskip("sklearn.calibration")
    random = np.random.default_rng(2)
    said = random.random(400)
    true = random.random(400) < said**2
    shares, means = oracle.calibration_curve(true, said, n_bins=8, strategy=strategy)
    table = reliability(said, true, 8, by)  # type: ignore[arg-type]
    np.testing.assert_allclose(table[:, :2], np.stack([means, shares], 1))
    assert table[:, 2].sum() == 400


def test_the_calibration_error_is_the_mean_distance_of_the_bins() -> None:
    said, true = [0.1, 0.1, 0.6, 0.8], [0, 0, 1, 0]  # bins 0.1 -> 0, 0.6 and 0.8 -> 0.7 and 0.5
    assert calibration_error(said, true, bins=2) == pytest.approx((2 * 0.1 + 2 * 0.2) / 4)
    assert calibration_error(said, true, bins=4, by="mass") == pytest.approx((0.1 + 0.1 + 0.4 + 0.8) / 4)
    assert calibration_error([0.0, 1.0], [0, 1]) == 0


def test_an_impossible_truth_costs_infinitely_much_and_nothing_has_no_loss() -> None:
    assert log_loss([0.0], [1]) == math.inf
    assert math.isnan(log_loss([], []))
    assert math.isnan(brier([], []))
    assert math.isnan(calibration_error([], []))


def test_what_is_no_probability_is_refused() -> None:
    for metric in (brier, log_loss, calibration_error):
        with pytest.raises(ValueError, match=r"outside 0\.\.1"):
            metric([0.5, 1.5], [0, 1])
    with pytest.raises(ValueError, match="no true one"):
        precision_recall([0.5], [0])


def test_the_precision_of_the_first_five_counts_all_that_are_relevant() -> None:
    scores = [[9, 8, 7, 6, 5, 4], [9, 8, 7, 6, 5, 4]]
    relevant = [[True, False, True, False, False, True], [False, False, False, False, False, True]]
    assert precision_at(scores, relevant, 5).tolist() == [0.4, 0.0]
    assert precision_at(scores, relevant, 10).tolist() == [0.3, 0.1]  # of fewer items too, by k


def test_ties_count_against_precision() -> None:
    assert precision_at([[1, 1, 1]], [[True, False, False]], 1).tolist() == [0.0]
    assert precision_at([[1, 1, 1]], [[True, False, False]], 3).tolist() == [1 / 3]


def test_the_average_precision_of_a_ranking_is_scikit_learns() -> None:
    oracle = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(3)
    for _ in range(50):
        scores, true = random.integers(0, 9, 30) / 8, random.random(30) < 0.2
        true[0] = True
        assert average_precision(scores, true) == pytest.approx(oracle.average_precision_score(true, scores))
