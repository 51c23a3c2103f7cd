"""Which proposals become regions."""

from __future__ import annotations

import pytest
import torch

from interbert.errors import UsageError
from interbert.vision.bottom_up_choice import BestBoxes, RegionChoice, choose_confident, choose_final, confidences

CONFIDENCE = torch.tensor([0.1, 0.9, 0.3, 0.5, 0.3])
CHAIN = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])  # overlaps 0.43, 0.43, 0.11


def best(*scores: float) -> BestBoxes:
    return BestBoxes(torch.zeros(3, dtype=torch.int64), torch.tensor(scores), CHAIN)


def test_the_sure_ones_stay_in_the_order_of_the_proposals() -> None:
    assert choose_confident(CONFIDENCE, least=2, most=4, threshold=0.3).tolist() == [1, 2, 3, 4]


def test_too_few_become_the_best_of_all() -> None:
    assert choose_confident(CONFIDENCE, least=3, most=4, threshold=0.4).tolist() == [1, 3, 2]


def test_too_many_become_the_best() -> None:
    assert choose_confident(CONFIDENCE, least=1, most=3, threshold=0.0).tolist() == [1, 3, 2]


def test_a_picture_of_fewer_proposals_gives_all() -> None:
    assert choose_confident(CONFIDENCE, least=10, most=100, threshold=0.2).tolist() == [1, 3, 2, 4, 0]


def test_confidence_counts_only_classes_without_a_likelier_rival() -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 7], [50, 50, 59, 59]])  # the first two overlap by 0.8
    classes = torch.tensor([[0.6, 0.1], [0.5, 0.3], [0.2, 0.1]])
    assert confidences(boxes, classes).tolist() == pytest.approx([0.6, 0.3, 0.2])


def test_final_walks_the_limits_until_enough_are_left() -> None:
    chosen = choose_final(best(0.9, 0.8, 0.7), (0.2, 0.4, 0.5, 0.9), least=3, most=9)
    assert (chosen.kept.tolist(), chosen.overlap, chosen.tried) == ([0, 1, 2], 0.5, (0.2, 0.4, 0.5))


def test_final_takes_the_last_limit_where_none_leaves_enough() -> None:
    chosen = choose_final(best(0.7, 0.8, 0.9), (0.2, 0.4), least=3, most=9)
    assert (chosen.kept.tolist(), chosen.overlap) == ([2, 0], 0.4)


def test_final_keeps_no_more_than_the_most() -> None:
    assert choose_final(best(0.7, 0.8, 0.9), (0.9,), least=1, most=2).kept.tolist() == [2, 1]


@pytest.mark.parametrize(
    "wrong", [{"min_regions": 0}, {"max_regions": 5}, {"min_confidence": 1.5}, {"rule": "best"}], ids=str
)
def test_a_wrong_choice_is_a_usage_error(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong)).replace("_regions", "")):
        RegionChoice(**wrong)
