"""A picture as the bottom-up detector sees it: resized in float32, blue first, mean taken off; and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from interbert.vision.bottom_up_config import BottomUpConfig
from interbert.vision.images import ImageError

_SMALLEST_SIDE = 3  # what is left of less, after the first convolution and pooling, is nothing


@dataclass(frozen=True, eq=False)
class Resized:
    """pixels: float32 [3, h, w], channels B, G, R.  original, size: (height, width) of the file and of `pixels`.

    factor: pixels of `pixels` for each of the file's, one for both sides; None where each side has its own.
    """

    pixels: Tensor
    original: tuple[int, int]
    size: tuple[int, int]
    factor: float | None

    @property
    def scales(self) -> Tensor:
        """(y, x) float32: pixels of the file for each of `pixels`."""
        return torch.true_divide(torch.tensor(self.original), torch.tensor(self.size))

    def to_original(self, boxes: Tensor) -> Tensor:
        """Boxes [..., 4] in pixels of the file."""
        return boxes * self.scales[[1, 0, 1, 0]] if self.factor is None else boxes / self.factor

    def to_resized(self, boxes: Tensor) -> Tensor:
        """Boxes [..., 4] of the file in pixels of `pixels`."""
        return boxes / self.scales[[1, 0, 1, 0]] if self.factor is None else boxes * self.factor


def resized(image: Image.Image, config: BottomUpConfig) -> Resized:
    """The network's input of an upright RGB picture. Raises ImageError where it is too narrow to see anything."""
    original = (image.height, image.width)
    (height, width), factor = resized_size(original, config)
    if min(height, width) < _SMALLEST_SIDE:
        raise ImageError(f"the picture has {image.width} x {image.height} pixels: too narrow for this detector")
    y = _positions(height, original[0], factor)
    x = _positions(width, original[1], factor)
    scaled = bilinear(np.asarray(image), y, x)
    ready = (scaled[..., ::-1] - np.array(config.pixel_mean, np.float32)) / np.array(config.pixel_std, np.float32)
    return Resized(torch.from_numpy(ready.transpose(2, 0, 1).copy()), original, (height, width), factor)


def resized_size(original: tuple[int, int], config: BottomUpConfig) -> tuple[tuple[int, int], float | None]:
    """(height, width) that a picture of `original` (height, width) gets, and the factor ("caffe") or None ("unc")."""
    short, long = min(original), max(original)
    if config.caffe:
        factor = config.shortest_side / short
        if round(factor * long) > config.longest_side:
            factor = config.longest_side / long
        return (round(original[0] * factor), round(original[1] * factor)), factor  # halves to even
    scale = config.shortest_side / short
    sides = [config.shortest_side if side == short else scale * side for side in original]
    if max(sides) > config.longest_side:
        shrink = config.longest_side / max(sides)
        sides = [side * shrink for side in sides]
    return (int(sides[0] + 0.5), int(sides[1] + 0.5)), None


def _positions(count: int, size: int, factor: float | None) -> NDArray[np.float64]:
    """As the programs compute them: OpenCV in double precision, torch in single (its product is not rounded)."""
    if factor is not None:
        return positions(count, size, 1 / factor)
    step = np.float32(size) / np.float32(count)
    return positions(count, size, float(step)).astype(np.float32).astype(np.float64)


def positions(count: int, size: int, step: float) -> NDArray[np.float64]:
    """Where `count` new pixels lie among `size` old ones, `step` old ones apart, middles on middles; cut at the border.

    >>> positions(2, 4, 2.0).tolist()
    [0.5, 2.5]
    """
    return ((np.arange(count) + 0.5) * step - 0.5).clip(0, size - 1)


def bilinear(pixels: NDArray[np.uint8], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float32]:
    """[h, w, 3] between the pixels [H, W, 3] at y [h] and x [w]; no smoothing where it shrinks. Only what is read is
    made float, so that a huge picture costs no more memory than a small one."""
    (top, bottom, down), (left, right, across) = _neighbours(y, len(pixels)), _neighbours(x, pixels.shape[1])
    across, down = across[:, None], down[:, None, None]

    def row(at: NDArray[np.int64]) -> Any:
        return pixels[np.ix_(at, left)] * (1 - across) + pixels[np.ix_(at, right)] * across

    mixed: NDArray[np.float32] = row(top) * (1 - down) + row(bottom) * down
    return mixed


def _neighbours(at: NDArray[np.float64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The old pixels on both sides, and the second's share."""
    low = np.floor(at).astype(np.int64)
    return low, np.minimum(low + 1, size - 1), (at - low).astype(np.float32)
