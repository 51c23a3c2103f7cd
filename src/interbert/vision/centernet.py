"""What goes into and comes out of CenterNet-MobileNetV3 (COCO): a letterboxed picture; peaks, boxes and RoI features.

Everything is in pixels of the letterboxed input, which has the picture in its upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from interbert.vision.boxes import box_iou

INPUT_SIZE = 512
STRIDE = 4  # of the heat map, the box map and the head map
FEATURE_SIZE = 128 + 128 + 480

OUTPUTS = (
    "tower_0/keypoints",  # heat map [80, 128, 128]: a class probability at every place
    "tower_0/wh",  # box map [4, 128, 128]: pixels to the left, upper, right and lower side
    "tower_0/CenternetHead/mul",  # head map [128, 128, 128], which both are made of
    "tower_0/extern1/hard_swish/mul_1",  # last map of the backbone [480, 16, 16]
)

_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag,
tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard,
tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote,
keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush
"""
CLASSES = tuple(name.strip() for name in _NAMES.split(","))


@dataclass(frozen=True, eq=False)
class Maps:
    """The network's outputs for one picture, and how the picture lies in the input.

    heat: [80, h, w].  sides: [4, h, w].  head: [128, h, w].  deep: [480, h / 8, w / 8].
    scale: input pixels per picture pixel.  extent: (width, height) of the picture in the input.
    """

    heat: Tensor
    sides: Tensor
    head: Tensor
    deep: Tensor
    scale: float
    extent: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Candidates:
    """N boxes, best first. boxes: float32 [N, 4].  scores: [N].  labels: int64 [N].  probabilities: [N, 80]."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    probabilities: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, which: Any) -> Candidates:
        """Those at `which` (a slice, indices or booleans)."""
        return Candidates(self.boxes[which], self.scores[which], self.labels[which], self.probabilities[which])

    def and_then(self, others: Candidates) -> Candidates:
        """These, followed by `others`."""
        return Candidates(
            torch.cat([self.boxes, others.boxes]),
            torch.cat([self.scores, others.scores]),
            torch.cat([self.labels, others.labels]),
            torch.cat([self.probabilities, others.probabilities]),
        )


def letterbox(image: Image.Image, size: int = INPUT_SIZE) -> tuple[NDArray[np.float32], float]:
    """The picture scaled into a black square, upper left: float32 [1, 3, size, size], RGB 0..255; and the scale."""
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    pixels = np.zeros((size, size, 3), np.float32)
    pixels[:height, :width] = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]), scale


def peaks(maps: Maps, count: int = 300, smallest_side: float = 4.0) -> Candidates:
    """The `count` highest local maxima (3 x 3, each class by itself) of the heat map, with the boxes found at them.

    Boxes are cut at the picture's border; those with a side of `smallest_side` or less afterwards are left out.
    """
    heat = maps.heat
    found = torch.nonzero(heat == _highest_around(_highest_around(heat, 1), 2))
    scores, best = heat[found.unbind(1)].topk(min(count, len(found)))
    labels, rows, columns = found[best].unbind(1)
    left, upper, right, lower = maps.sides[:, rows, columns]
    x, y = columns * STRIDE, rows * STRIDE
    boxes = torch.stack([x - left, y - upper, x + right, y + lower], 1)
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, maps.extent[0])
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, maps.extent[1])
    large = ((boxes[:, 2:] - boxes[:, :2]) > smallest_side).all(1)
    return Candidates(boxes, scores, labels, heat[:, rows, columns].T).select(large)


def _highest_around(heat: Tensor, dim: int) -> Tensor:
    """The highest of each value and its two neighbours along one side: ten times as fast as max_pool2d."""
    first, last = heat.narrow(dim, 0, heat.shape[dim] - 1), heat.narrow(dim, 1, heat.shape[dim] - 1)
    pairs = torch.maximum(first, last)
    highest = torch.empty_like(heat)
    highest.narrow(dim, 0, 1).copy_(pairs.narrow(dim, 0, 1))
    highest.narrow(dim, heat.shape[dim] - 1, 1).copy_(pairs.narrow(dim, heat.shape[dim] - 2, 1))
    inner = heat.shape[dim] - 2
    torch.maximum(pairs.narrow(dim, 0, inner), pairs.narrow(dim, 1, inner), out=highest.narrow(dim, 1, inner))
    return highest


def grid(maps: Maps, cells: int) -> Candidates:
    """The picture cut into `cells` x `cells` boxes, row by row; a class's probability is the highest in the box."""
    width, height = maps.extent
    x, y = torch.linspace(0, width, cells + 1), torch.linspace(0, height, cells + 1)
    rows, columns = torch.arange(cells * cells) // cells, torch.arange(cells * cells) % cells
    boxes = torch.stack([x[columns], y[rows], x[columns + 1], y[rows + 1]], 1)
    probabilities = torch.stack([_highest(maps.heat, box) for box in boxes])
    scores, labels = probabilities.max(1)
    return Candidates(boxes, scores, labels, probabilities)


def _highest(heat: Tensor, box: Tensor) -> Tensor:
    """The highest value of each class in the box. heat: [C, h, w]. Returns [C]."""
    x1, y1, x2, y2 = (box / STRIDE).tolist()
    rows = slice(int(y1), max(int(y1) + 1, round(y2)))
    columns = slice(int(x1), max(int(x1) + 1, round(x2)))
    return heat[:, rows, columns].amax((1, 2))


def without_overlaps(found: Candidates, limit: float, most: int, same_class: bool = False) -> Candidates:
    """Greedy non-maximum suppression: the best first, none whose IoU with one kept before is `limit` or more.

    same_class: only boxes of one class suppress each other.
    """
    overlapping = box_iou(found.boxes, found.boxes) >= limit
    if same_class:
        overlapping &= found.labels[:, None] == found.labels[None]
    rivals = overlapping.numpy()
    free = np.ones(len(found), bool)
    kept: list[int] = []
    for at in range(len(found)):
        if free[at] and len(kept) < most:
            kept.append(at)
            free &= ~rivals[at]
    return found.select(kept)


def region_features(maps: Maps, boxes: Tensor) -> Tensor:
    """What the network sees in each box, [N, 4] -> [N, 736]: the head map at its centre (128), the means of the head
    map (128) and of the deep map (480) over all of it."""
    head = roi_align(maps.head, boxes)
    centre = head[:, :, 2:5, 2:5]
    deep = roi_align(maps.deep, boxes)
    return torch.cat([centre.mean((2, 3)), head.mean((2, 3)), deep.mean((2, 3))], 1)


def roi_align(features: Tensor, boxes: Tensor, input_size: int = INPUT_SIZE, cells: int = 7) -> Tensor:
    """RoIAlign with one bilinear sample in the middle of each of `cells` x `cells` cells (aligned; borders repeated).

    features: [C, h, w].  boxes: [N, 4] in pixels of an input of `input_size` squared. Returns [N, C, cells, cells].
    """
    middles = (torch.arange(cells) + 0.5) / cells
    x = boxes[:, 0:1] + (boxes[:, 2:3] - boxes[:, 0:1]) * middles
    y = boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * middles
    shape = (len(boxes), cells, cells)
    points = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1) * 2 / input_size - 1
    points = points.reshape(1, len(boxes) * cells, cells, 2)
    sampled = F.grid_sample(features[None], points, padding_mode="border", align_corners=False)
    return sampled.reshape(len(features), len(boxes), cells, cells).transpose(0, 1)
