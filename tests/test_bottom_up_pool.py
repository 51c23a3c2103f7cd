"""RoIPool against four plain loops, bit by bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from interbert.vision.bottom_up_pool import RoiPool, cell_ranges, rounded_away


def looped(features: Tensor, boxes: Tensor, cells: int) -> Tensor:
    """By the definition, one cell after another; products in single precision, as in the published programs."""
    height, width = features.shape[1:]
    out = torch.zeros(len(boxes), features.shape[0], cells, cells)
    for n, box in enumerate(boxes.tolist()):
        x1, y1, x2, y2 = (int(math.copysign(math.floor(abs(v) / 16 + 0.5), v)) for v in box)
        wide, high = (np.float32(max(b - a + 1, 1)) / np.float32(cells) for a, b in ((x1, x2), (y1, y2)))
        for i in range(cells):
            top, bottom = math.floor(np.float32(i) * high) + y1, math.ceil(np.float32(i + 1) * high) + y1
            for j in range(cells):
                left, right = math.floor(np.float32(j) * wide) + x1, math.ceil(np.float32(j + 1) * wide) + x1
                part = features[:, max(top, 0) : min(max(bottom, 0), height), max(left, 0) : min(max(right, 0), width)]
                if part.numel():
                    out[n, :, i, j] = part.amax((1, 2))
    return out


@pytest.mark.parametrize(("height", "width"), [(9, 13), (1, 1), (30, 4), (38, 63)])
def test_it_is_the_definition_bit_by_bit(height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(height)
    features = torch.randn(3, height, width, generator=generator) - 2  # an empty cell's 0 would be the largest
    corners = torch.rand(12, 2, 2, generator=generator) * torch.tensor([width * 16.0, height * 16.0])
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    boxes[0] = torch.tensor([-40.0, -20, width * 16 + 30, height * 16 + 90])  # sticks out on all sides
    boxes[1] = torch.tensor([0.0, 0, width * 16, height * 16])
    boxes[2] = boxes[2, [0, 1, 0, 1]]  # a point
    assert torch.equal(RoiPool(features, boxes).pooled(slice(None)), looped(features, boxes, 14))


def test_halves_are_rounded_away_from_zero() -> None:
    assert rounded_away(torch.tensor([10.5, 11.5, -2.5, 2.4, -2.6, 0.0])).tolist() == [11, 12, -3, 2, -3, 0]


def test_a_box_that_ends_at_a_half_reaches_the_next_place() -> None:
    features = torch.arange(12.0).reshape(1, 1, 12)
    pooled = RoiPool(features, torch.tensor([[0.0, 0, 168, 0]]), cells=1).pooled(slice(None))  # 168 / 16 = 10.5
    assert pooled.item() == 11


def test_cells_share_the_places_between_them() -> None:
    begin, end = cell_ranges(torch.tensor([0]), torch.tensor([2]), 2, 10)  # three places, two cells
    assert (begin.tolist(), end.tolist()) == ([[0, 1]], [[2, 3]])


def test_cells_beyond_the_map_are_zero() -> None:
    pooled = RoiPool(torch.full((2, 3, 3), -1.0), torch.tensor([[160.0, 160, 320, 320]])).pooled(slice(None))
    assert (pooled == 0).all()


def test_a_part_is_a_part_of_the_whole() -> None:
    features, boxes = torch.randn(2, 8, 8), torch.rand(7, 4).cumsum(1) * 32
    pool = RoiPool(features, boxes)
    assert torch.equal(pool.pooled(slice(3, 5)), pool.pooled(slice(None))[3:5])


def test_no_box_gives_nothing() -> None:
    assert RoiPool(torch.randn(2, 8, 8), torch.zeros(0, 4)).pooled(slice(None)).shape == (0, 2, 14, 14)
