"""Boxes of the bottom-up detector: anchors, deltas, suppression. Pure functions; boxes are xyxy in pixels.

`extra` is what a side has beyond x2 - x1: 0 pixels, or 1 in Caffe's arithmetic, whose corners are pixels, not edges.
Overlaps are computed in float32, in the order in which the published programs do, so that ties fall as theirs do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LARGEST_GROWTH = math.log(1000 / 16)  # of a side, in e-folds
Boxes = NDArray[np.float32]
Indices = NDArray[np.int64]


def caffe_anchors(scales: Sequence[float], ratios: Sequence[float], centre: float = 7.5) -> Tensor:
    """Anchors at the first place of the feature map, float32 [R * S, 4], all scales of a ratio together.

    A square of 16 pixels around `centre` gets each ratio (height / width) with whole sides, then is scaled.

    >>> caffe_anchors([4, 8], [0.5]).tolist()
    [[-38.0, -16.0, 53.0, 31.0], [-84.0, -40.0, 99.0, 55.0]]
    """
    rows = []
    for ratio in ratios:
        width = round(math.sqrt(16 * 16 / ratio))
        height = round(width * ratio)
        for scale in scales:
            x, y = (width * scale - 1) / 2, (height * scale - 1) / 2
            rows.append([centre - x, centre - y, centre + x, centre + y])
    return torch.tensor(rows, dtype=torch.float32)


def anchor_grid(anchors: Tensor, height: int, width: int, stride: int = 16) -> Tensor:
    """The anchors at every place: [height * width * A, 4], row by row, the anchor index fastest. anchors: [A, 4]."""
    y, x = torch.meshgrid(torch.arange(height) * stride, torch.arange(width) * stride, indexing="ij")
    shifts = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
    return (shifts + anchors).reshape(-1, 4)


def moved_boxes(boxes: Tensor, deltas: Tensor, weights: Sequence[float], extra: float) -> Tensor:
    """Boxes [..., 4] after deltas (dx, dy, dw, dh) [..., 4]: shifts in units of the sides, growth in e-folds."""
    sides = boxes[..., 2:] - boxes[..., :2] + extra
    centres = boxes[..., :2] + 0.5 * sides
    shift = deltas[..., :2] / torch.tensor(weights[:2])
    growth = (deltas[..., 2:] / torch.tensor(weights[2:])).clamp(max=_LARGEST_GROWTH)
    centres = shift * sides + centres
    sides = growth.exp() * sides
    return torch.cat([centres - 0.5 * sides, centres + 0.5 * sides], -1)


def cut_boxes(boxes: Tensor, width: float, height: float) -> Tensor:
    """Boxes [..., 4] with corners moved into 0..width, 0..height."""
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)


@dataclass(frozen=True)
class Overlap:
    """When two boxes are rivals: their IoU is above `limit`, or `inclusive`: at least `limit`."""

    limit: float
    extra: float = 0.0
    inclusive: bool = False

    def rivals(self, box: Boxes, others: Boxes) -> NDArray[np.bool_]:
        """box: [..., 4], others: [N, 4]. Returns bool [..., N]."""
        one = np.float32(self.extra)
        low = np.maximum(box[..., None, :2], others[:, :2])
        high = np.minimum(box[..., None, 2:], others[:, 2:])
        sides = np.maximum(high - low + one, np.float32(0))
        shared = sides[..., 0] * sides[..., 1]
        with np.errstate(invalid="ignore", divide="ignore"):  # two boxes without area are no rivals
            iou = shared / (_areas(box, one)[..., None] + _areas(others, one) - shared)
        if self.inclusive:
            return np.asarray(iou >= np.float32(self.limit))
        return np.asarray(iou > np.float64(self.limit))  # theirs compares in double precision here


def _areas(boxes: Boxes, one: np.float32) -> Any:
    return (boxes[..., 2] - boxes[..., 0] + one) * (boxes[..., 3] - boxes[..., 1] + one)


def best_first(scores: NDArray[np.float32]) -> Indices:
    """int64 [N]: by falling score, the lower index first where two are equal. scores: [N]."""
    return np.argsort(-scores, kind="stable")


def unrivalled(boxes: Boxes, scores: NDArray[np.float32], overlap: Overlap, most: int | None = None) -> Indices:
    """Greedy non-maximum suppression: indices of the boxes that no better kept one is a rival of, best first.

    boxes: [N, 4].  scores: [N].  most: how many are wanted.
    """
    left = best_first(scores)
    kept: list[int] = []
    while len(left) and (most is None or len(kept) < most):
        kept.append(int(left[0]))
        left = left[1:]
        left = left[~overlap.rivals(boxes[kept[-1]], boxes[left])]
    return np.array(kept, np.int64)


def best_unrivalled_score(boxes: Boxes, scores: NDArray[np.float32], overlap: Overlap) -> NDArray[np.float32]:
    """Suppression in each class by itself; each box's best score among the classes in which it was kept, or 0.

    boxes: [N, 4], the same for all classes.  scores: [N, C]. Returns [N]. All classes are walked at once.
    """
    rivals = overlap.rivals(boxes, boxes)
    np.fill_diagonal(rivals, False)
    order = np.argsort(-scores, axis=0, kind="stable")
    classes = np.arange(scores.shape[1])
    free = np.ones((scores.shape[1], len(boxes)), bool)
    for at in order:  # the next best of each class; a better rival of a free one would have taken its place
        free &= ~(rivals[at] & free[classes, at, None])
    best: NDArray[np.float32] = np.where(free.T, scores, np.float32(0)).max(1, initial=0)
    return best
