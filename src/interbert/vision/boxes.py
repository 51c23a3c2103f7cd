"""Boxes as numbers: overlap, neighbours and the five location numbers. Everywhere xyxy in pixels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def box_area(boxes: Tensor) -> Tensor:
    """boxes: [..., 4] xyxy. Returns [...], 0 where a box is turned inside out."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every pair. first: [N, 4], second: [M, 4]. Returns [N, M]; 0 for two empty boxes.

    >>> box_iou(torch.tensor([[0., 0, 10, 10]]), torch.tensor([[0., 0, 10, 5], [20, 20, 30, 30]])).tolist()
    [[0.5, 0.0]]
    """
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = box_area(first)[:, None] + box_area(second)[None, :] - shared
    return torch.where(union > 0, shared / union.clamp(min=1e-12), torch.zeros_like(shared))


def location_numbers(boxes: NDArray[np.float32], image_size: tuple[int, int]) -> NDArray[np.float32]:
    """The five numbers a box is embedded by: x1, y1, x2, y2 as fractions of the image, and its share of the area (3.1).

    boxes: [N, 4] xyxy pixels. image_size: (width, height) pixels. Returns float32 [N, 5], each in 0..1.

    >>> location_numbers(np.array([[0, 0, 50, 20]], np.float32), (100, 40)).tolist()
    [[0.0, 0.0, 0.5, 0.5, 0.25]]
    """
    width, height = image_size
    corners = boxes.astype(np.float32) / np.array([width, height, width, height], np.float32)
    area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    return np.concatenate([corners, area[:, None]], axis=1).clip(0, 1).astype(np.float32)
