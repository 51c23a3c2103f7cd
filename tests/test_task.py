"""The protocol of tasks: what is given to one, choices, figures with intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from corpus_helpers import EXTRACTOR, some_regions, tiny_tokenizer

from interbert.config import preset
from interbert.errors import UsageError
from interbert.tasks.table import TASKS, task_kind
from interbert.tasks.task import ChoiceBatch, Given, choice_loss, measured


def given_with(max_regions: int | None) -> Given:
    return Given("retrieval", tiny_tokenizer(), EXTRACTOR, preset("tiny"), max_regions=max_regions)


@pytest.mark.parametrize(("most", "taken"), [(None, [0, 1, 2]), (2, [0, 1]), (3, [0, 1, 2]), (9, [0, 1, 2])])
def test_the_best_regions_are_taken(most: int | None, taken: list[int]) -> None:
    assert given_with(most).taken(some_regions(3)).features[:, 0].tolist() == taken


def test_the_loss_of_a_choice_by_hand() -> None:
    batch = ChoiceBatch([""] * 4, choices=2, right=torch.tensor([0, 1]))
    scores = torch.tensor([1.0, 0.0, 3.0, 3.0])
    assert float(choice_loss(scores, batch)) == pytest.approx(math.log(1 + math.exp(-1)) + math.log(2))


def test_a_choice_moves_with_its_batch() -> None:
    batch = ChoiceBatch([""] * 4, choices=2, right=torch.tensor([0, 1])).to("meta")
    assert batch.choices == 2
    assert batch.right is not None
    assert batch.right.device.type == "meta"


def test_a_figure_has_its_interval_and_none_of_nothing() -> None:
    found = measured([1.0, 1.0])
    assert (found["value"], found["interval"]) == (1.0, (1.0, 1.0))
    assert measured(np.empty((0, 2))) == {"value": None, "interval": None}
    rows = np.array([[1.0, 2.0], [3.0, 2.0]])
    assert measured(rows, lambda drawn: float(drawn[:, 0].sum() / drawn[:, 1].sum()))["value"] == 1.0


@pytest.mark.parametrize("name", TASKS)
def test_every_task_of_the_table_is_there_with_what_the_protocol_names(name: str) -> None:
    kind = task_kind(name)
    options: Any = kind.default_options()
    assert options.__dataclass_params__.frozen
    task: Any = getattr(kind._module(), kind.task)
    assert isinstance(task.metric, str)
    assert task.published or name in ("products", "matching", "prefilter")  # the paper prints gains, or nothing
    assert all(0 < figure <= 1 for column in task.published.values() for figure in column.values())
    for method in ("open", "make", "counts", "losses", "validate", "evaluate", "fingerprint"):
        assert callable(getattr(task, method))


def test_a_task_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no task 'colla'; did you mean 'cola'"):
        task_kind("colla")


def test_a_gain_is_paired_row_by_row() -> None:
    rows = np.array([1.0, 0.0] * 20)
    ours, same = measured(rows + 1), measured(rows)
    ours.set_gain(same)
    assert ours["gain"]["interval"] == pytest.approx((1.0, 1.0))  # each interval alone is wide
    assert same["interval"][1] - same["interval"][0] > 0.2


def test_a_gain_is_above_nought_where_less_is_better_too() -> None:
    ours = measured([2.0, 2.0], less_is_better=True)
    ours.set_gain(measured([5.0, 5.0], less_is_better=True))
    assert ours["gain"] == {"value": 3.0, "interval": (3.0, 3.0)}


def test_a_gain_of_a_statistic_over_several_columns() -> None:
    def ratio(drawn: Any) -> float:
        return float(drawn[:, 0].sum() / drawn[:, 1].sum())

    ours = measured([[2, 2], [1, 2]], ratio)
    ours.set_gain(measured([[1, 2], [0, 2]], ratio))
    assert ours["gain"]["value"] == 0.5
