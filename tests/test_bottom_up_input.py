"""What the detector is shown of a picture, and the way back to the picture's pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bottom_up_helpers import noise, small_config
from PIL import Image

from interbert.vision.bottom_up_config import BottomUpConfig
from interbert.vision.bottom_up_input import bilinear, positions, resized, resized_size
from interbert.vision.images import ImageError


def config(layout: str, shortest: int, longest: int) -> BottomUpConfig:
    return small_config(layout, shortest_side=shortest, longest_side=longest)


@pytest.mark.parametrize(
    ("original", "size"),
    [
        ((480, 640), (800, 1067)),  # 1066.67
        ((640, 480), (1067, 800)),
        ((500, 500), (800, 800)),
        ((300, 900), (444, 1333)),  # the long side rules: 444.3
    ],
)
def test_unc_nlp_rounds_halves_up(original: tuple[int, int], size: tuple[int, int]) -> None:
    assert resized_size(original, config("unc", 800, 1333)) == (size, None)


@pytest.mark.parametrize(
    ("original", "size", "factor"),
    [
        ((480, 640), (600, 800), 1.25),
        ((1200, 1205), (600, 602), 0.5),  # 602.5 goes to the even side
        ((300, 900), (333, 1000), 1000 / 900),  # the long side rules
        ((600, 1000), (600, 1000), 1.0),
    ],
)
def test_caffe_has_one_factor_and_rounds_halves_to_even(
    original: tuple[int, int], size: tuple[int, int], factor: float
) -> None:
    assert resized_size(original, config("caffe", 600, 1000)) == (size, factor)


@pytest.mark.parametrize(("old", "new"), [((300, 420), (168, 235)), ((120, 160), (500, 333)), ((2700, 90), (900, 30))])
def test_resizing_is_torchs(old: tuple[int, int], new: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*old, 3), np.uint8)
    settings = config("unc", min(new), max(new))
    ours = resized(Image.fromarray(pixels), settings)
    whole = torch.from_numpy(pixels[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    theirs = F.interpolate(whole, ours.size, mode="bilinear", align_corners=False)[0]
    assert (ours.pixels - theirs + torch.tensor(settings.pixel_mean)[:, None, None]).abs().max() < 1e-4


def test_half_as_large_is_the_mean_of_four_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    half = bilinear(pixels, positions(3, 6, 2.0), positions(4, 8, 2.0))
    assert np.allclose(half, pixels.reshape(3, 2, 4, 2, 3).mean((1, 3)))


def test_a_border_is_repeated() -> None:
    pixels = np.array([[[0, 0, 0], [100, 100, 100]]], np.uint8)
    wide = bilinear(pixels, positions(1, 1, 1.0), positions(4, 2, 0.5))
    assert wide[0, :, 0].tolist() == [0, 25, 75, 100]


def test_blue_comes_first_and_the_mean_is_taken_off() -> None:
    picture = Image.new("RGB", (64, 64), (200, 100, 50))
    pixels = resized(picture, small_config(pixel_mean=(1.0, 2.0, 3.0), pixel_std=(1.0, 2.0, 1.0))).pixels
    assert pixels[:, 5, 5].tolist() == [49, 49, 197]


@pytest.mark.parametrize("layout", ["unc", "caffe"])
def test_boxes_find_back_to_the_picture(layout: str) -> None:
    picture = resized(noise(101, 67), small_config(layout))
    boxes = torch.tensor([[3.0, 4, 50, 60], [0, 0, 101, 67]])
    assert torch.allclose(picture.to_original(picture.to_resized(boxes)), boxes, atol=1e-4)
    height, width = picture.size
    assert torch.allclose(picture.to_resized(boxes[1]), torch.tensor([0.0, 0, width, height]), atol=1)


@pytest.mark.parametrize("layout", ["unc", "caffe"])
def test_a_picture_like_a_thread_is_an_error(layout: str) -> None:
    with pytest.raises(ImageError, match="2 x 3000"):
        resized(Image.new("RGB", (2, 3000)), small_config(layout))
