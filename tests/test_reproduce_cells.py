"""Figures of cells: one seed, several, means and differences, and the reasons why there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from reproduce_helpers import cell, done, exhibit, told

from interbert.reproduce.cells import Cell, Reading, Result, chosen, figure, over_seeds, steps_of

ROOT = Path("DIR")
ONE, TWO, THREE, FOUR = (told(ROOT, name) for name in ("one", "two", "three", "four"))


def readings(*steps: str) -> tuple[Reading, ...]:
    return tuple(Reading(told(ROOT, step), "accuracy") for step in steps)


def test_one_seed_has_the_interval_of_its_test_in_percent() -> None:
    found = figure(cell(ONE), {"one": done(0.5, (0.4, 0.7))})
    assert (found.value, found.interval, found.spread) == (50.0, (40.0, 70.0), None)


def test_several_seeds_have_their_mean_the_mean_of_their_intervals_and_their_spread() -> None:
    found = figure(cell(ONE, TWO), {"one": done(0.5, (0.4, 0.6)), "two": done(0.7, (0.6, 0.9))})
    assert found.value == pytest.approx(60.0)
    assert found.interval == pytest.approx((50.0, 75.0))
    assert found.spread == pytest.approx(200**0.5)  # of 50 and 70: sqrt((100 + 100) / 1)
    assert found.values == pytest.approx((50.0, 70.0))


def test_a_gain_is_of_the_first_half_less_the_second_and_its_interval_over_seeds() -> None:
    results = {"one": done(0.5), "two": done(0.3), "three": done(0.9), "four": done(0.6)}
    two_seeds = Cell("gain", "CoLA", (readings("one", "two"), readings("three", "four")), "difference")
    found = figure(two_seeds, results)
    assert found.values == pytest.approx((20.0, 30.0))
    assert found.interval == pytest.approx((25 - 12.706 * 5, 25 + 12.706 * 5))  # deviation 7.07, by the root of 2
    averages = Cell("gain", "Avg.", (readings("one", "three", "two", "four"),), "difference")
    assert figure(averages, results).value == pytest.approx(70 - 45)
    assert figure(averages, results).interval is None  # of one seed


def test_an_average_over_tasks_is_the_mean_of_its_readings() -> None:
    found = figure(Cell("ours", "Avg.", (readings("one", "two"),)), {"one": done(0.4, (0.3, 0.5)), "two": done(0.6)})
    assert (found.value, found.interval) == (50.0, None)


def test_the_interval_over_seeds_is_students_of_any_number() -> None:
    for count in (2, 5, 10, 11, 20, 50):
        values = [0.0, *[1.0] * (count - 1)]
        wanted = scipy.stats.t.interval(0.95, count - 1, np.mean(values), scipy.stats.sem(values))
        assert over_seeds(values) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (Result(), "not run yet"),
        (Result(failure="the disk is full"), "the disk is full"),
        (done(None), "the data give no accuracy"),
        (done(float("nan")), "the data give no accuracy"),
        (Result(True, found={"metrics": {}}), "the data give no accuracy"),
    ],
)
def test_a_figure_that_is_missing_says_why(result: Result, reason: str) -> None:
    assert figure(cell(ONE), {"one": result}).missing == reason
    assert figure(cell(ONE), {"one": result}).value is None


def test_a_cell_that_is_known_to_be_missing_reads_nothing() -> None:
    assert figure(Cell("ours", "RTE", missing="there are no data"), {}).missing == "there are no data"


def test_steps_stand_once_and_after_what_they_need() -> None:
    corpus = told(ROOT, "corpus")
    run = told(ROOT, "run", corpus)
    first, second = told(ROOT, "first", corpus, run), told(ROOT, "second", run)
    assert [step.name for step in steps_of([cell(first), cell(second, first)])] == ["corpus", "run", "first", "second"]


def test_cells_are_chosen_by_a_part_of_their_name_whatever_its_case() -> None:
    table = exhibit(cell(ONE), cell(TWO, column="RTE"), cell(THREE, row="theirs"))
    assert [one.name for one in chosen([table], ["OURS / co", "theirs"])] == ["ours / CoLA", "theirs / CoLA"]
    assert len(list(chosen([table], []))) == 3
