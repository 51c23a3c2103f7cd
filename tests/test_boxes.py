"""Boxes as numbers, against counted pixels and numbers a person can check."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interbert.vision.boxes import box_area, box_iou, location_numbers

SIDE = 12


@st.composite
def whole_boxes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    x1, y1 = draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE - 1))
    return x1, y1, draw(st.integers(x1 + 1, SIDE)), draw(st.integers(y1 + 1, SIDE))


def pixels(box: tuple[int, int, int, int]) -> np.ndarray:
    """The box as a picture of ones: an oracle that only counts."""
    picture = np.zeros((SIDE, SIDE), bool)
    picture[box[1] : box[3], box[0] : box[2]] = True
    return picture


@given(st.lists(whole_boxes(), min_size=1, max_size=4), st.lists(whole_boxes(), min_size=1, max_size=4))
def test_overlap_is_that_of_counted_pixels(first: list[tuple[int, ...]], second: list[tuple[int, ...]]) -> None:
    got = box_iou(torch.tensor(first).float(), torch.tensor(second).float())
    for i, a in enumerate(map(pixels, first)):
        for j, b in enumerate(map(pixels, second)):
            assert got[i, j].item() == pytest.approx((a & b).sum() / (a | b).sum(), abs=1e-6)


def test_boxes_that_only_touch_do_not_overlap() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10]])
    assert box_iou(boxes, boxes).tolist() == [[1, 0], [0, 1]]


def test_empty_and_inverted_boxes_have_no_area_and_no_overlap() -> None:
    boxes = torch.tensor([[5.0, 5, 5, 9], [9, 9, 3, 12], [0, 0, 10, 10]])
    assert box_area(boxes).tolist() == [0, 0, 100]
    assert box_iou(boxes, boxes)[:2].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_no_boxes_give_an_empty_table() -> None:
    assert box_iou(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0, 3)
    assert location_numbers(np.zeros((0, 4), np.float32), (10, 10)).shape == (0, 5)


def test_the_five_location_numbers_are_fractions_of_the_picture() -> None:
    boxes = np.array([[20, 10, 60, 40], [0, 0, 200, 50]], np.float32)
    wanted = [[0.1, 0.2, 0.3, 0.8, 0.12], [0, 0, 1, 1, 1]]  # 40 x 30 of 200 x 50 pixels is 0.12
    assert location_numbers(boxes, (200, 50)) == pytest.approx(np.array(wanted), abs=1e-6)


def test_a_box_beyond_the_picture_stays_within_zero_and_one() -> None:
    got = location_numbers(np.array([[-10, -10, 300, 90]], np.float32), (100, 50))
    assert got.tolist() == [[0, 0, 1, 1, 1]]
    assert got.dtype == np.float32
