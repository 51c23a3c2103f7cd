"""Anchors, deltas and suppression of the bottom-up detector, by numbers that a person can check."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from interbert.vision.bottom_up_boxes import (
    Overlap,
    anchor_grid,
    best_first,
    best_unrivalled_score,
    caffe_anchors,
    cut_boxes,
    moved_boxes,
    unrivalled,
)

PUBLISHED = [
    [-38, -16, 53, 31], [-84, -40, 99, 55], [-176, -88, 191, 103], [-360, -184, 375, 199],
    [-24, -24, 39, 39], [-56, -56, 71, 71], [-120, -120, 135, 135], [-248, -248, 263, 263],
    [-14, -36, 29, 51], [-36, -80, 51, 95], [-80, -168, 95, 183], [-168, -344, 183, 359],
]  # fmt: skip  # of the Caffe model


def array(*boxes: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 4)


def random_boxes(count: int, seed: int) -> np.ndarray:
    corners = np.random.default_rng(seed).uniform(0, 60, (count, 2))
    sides = np.random.default_rng(seed + 1).uniform(1, 50, (count, 2))
    return np.concatenate([corners, corners + sides], 1).astype(np.float32)


def test_anchors_are_the_published_ones() -> None:
    assert caffe_anchors((4, 8, 16, 32), (0.5, 1, 2)).tolist() == PUBLISHED


def test_anchors_of_unc_nlp_are_one_pixel_further() -> None:
    assert caffe_anchors((4, 8, 16, 32), (0.5, 1, 2), centre=8.5).tolist() == [
        [x + 1 for x in row] for row in PUBLISHED
    ]


def test_anchors_go_row_by_row_and_the_anchor_fastest() -> None:
    anchors = torch.tensor([[0.0, 0, 1, 1], [0, 0, 2, 2]])
    wanted = [[0, 0, 1, 1], [0, 0, 2, 2], [16, 0, 17, 1], [16, 0, 18, 2], [0, 16, 1, 17], [0, 16, 2, 18]]
    assert anchor_grid(anchors, 2, 2).tolist()[:6] == wanted


def test_deltas_move_by_sides_and_grow_by_e_folds() -> None:
    box, weights = torch.tensor([[0.0, 0, 10, 20]]), (10.0, 10.0, 5.0, 5.0)
    moved = moved_boxes(box, torch.tensor([[1.0, -1, 5 * math.log(2), 0]]), weights, extra=0)
    assert moved[0].tolist() == pytest.approx([6 - 10, 8 - 10, 6 + 10, 8 + 10], abs=1e-5)


def test_caffes_boxes_are_a_pixel_wider_and_keep_it() -> None:
    moved = moved_boxes(torch.tensor([[0.0, 0, 9, 19]]), torch.zeros(1, 4), (1, 1, 1, 1), extra=1)
    assert moved.tolist() == [[0, 0, 10, 20]]


def test_growth_has_a_limit() -> None:
    moved = moved_boxes(torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([[0.0, 0, 100, 100]]), (1, 1, 1, 1), extra=0)
    assert (moved[0, 2:] - moved[0, :2]).tolist() == pytest.approx([1000, 1000], rel=1e-5)


def test_boxes_are_cut_at_the_border() -> None:
    assert cut_boxes(torch.tensor([[-3.0, -2, 12, 50]]), 10, 40).tolist() == [[0, 0, 10, 40]]


def test_an_overlap_at_the_limit_counts_where_it_is_inclusive() -> None:
    wide, half = array((0, 0, 10, 10)), array((0, 0, 10, 5))
    assert not Overlap(0.5).rivals(wide, half).any()
    assert Overlap(0.5, inclusive=True).rivals(wide, half).all()


def test_the_limit_of_the_published_program_is_a_double() -> None:
    # 3 / 10 in single precision is more than 0.3 in double
    assert Overlap(0.3).rivals(array((0, 0, 10, 1)), array((0, 0, 3, 1))).all()


def test_an_extra_pixel_makes_neighbours_overlap() -> None:
    # 10 x 10 and 10 x 10 pixels, of which 5 x 10 are shared: 50 / 150; without the pixel 4 * 9 / (81 + 81 - 36)
    first, second = array((0, 0, 9, 9)), array((5, 0, 14, 9))
    assert Overlap(1 / 3 - 1e-6, extra=1).rivals(first, second).all()
    assert not Overlap(0.3).rivals(first, second).any()


def test_boxes_without_area_are_no_rivals() -> None:
    point = array((5, 5, 5, 5))
    assert not Overlap(0.1).rivals(point, point).any()


def test_the_best_first_and_of_equals_the_earlier() -> None:
    assert best_first(np.array([0.1, 0.9, 0.5, 0.9], np.float32)).tolist() == [1, 3, 2, 0]


def test_suppression_keeps_what_only_a_suppressed_box_overlaps() -> None:
    boxes = array((0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10))  # a chain: 0.43, 0.43, 0.11
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert unrivalled(boxes, scores, Overlap(0.4)).tolist() == [0, 2]
    assert unrivalled(boxes, scores, Overlap(0.4), most=1).tolist() == [0]


def test_no_box_is_no_trouble() -> None:
    nothing = np.zeros((0, 4), np.float32)
    assert unrivalled(nothing, np.zeros(0, np.float32), Overlap(0.5)).tolist() == []
    assert best_unrivalled_score(nothing, np.zeros((0, 3), np.float32), Overlap(0.5)).tolist() == []


@pytest.mark.parametrize("seed", range(4))
def test_suppression_is_that_of_two_plain_loops(seed: int) -> None:
    boxes, scores = random_boxes(80, seed), np.random.default_rng(seed).random(80).astype(np.float32)
    kept: list[int] = []
    for at in np.argsort(-scores):
        if not any(Overlap(0.4).rivals(boxes[k], boxes[at : at + 1])[0] for k in kept):
            kept.append(int(at))
    assert unrivalled(boxes, scores, Overlap(0.4)).tolist() == kept


@pytest.mark.parametrize("seed", range(4))
def test_all_classes_at_once_are_each_class_by_itself(seed: int) -> None:
    boxes = random_boxes(40, seed)
    scores = np.random.default_rng(seed).random((40, 7)).round(1).astype(np.float32)  # with ties
    wanted = np.zeros(40, np.float32)
    for column in scores.T:
        kept = unrivalled(boxes, column, Overlap(0.3, 1, inclusive=True))
        wanted[kept] = np.maximum(wanted[kept], column[kept])
    assert (best_unrivalled_score(boxes, scores, Overlap(0.3, 1, inclusive=True)) == wanted).all()
