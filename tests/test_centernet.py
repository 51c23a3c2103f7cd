from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from interbert.vision import centernet
from interbert.vision.centernet import Candidates, Maps


def maps(heat: dict[tuple[int, int, int], float], extent: tuple[float, float] = (64, 32)) -> Maps:
    """Heat of 2 classes at 16 x 16 places, 0 but at some (class, row, column); boxes reach 8 pixels each way."""
    values = torch.zeros(2, 16, 16)
    for place, value in heat.items():
        values[place] = value
    return Maps(values, torch.full((4, 16, 16), 8.0), torch.zeros(128, 16, 16), torch.zeros(480, 2, 2), 1.0, extent)


def candidates(boxes: list[list[float]], labels: list[int]) -> Candidates:
    count = len(boxes)
    return Candidates(torch.tensor(boxes), torch.linspace(0.9, 0.1, count), torch.tensor(labels), torch.zeros(count, 2))


def test_there_are_the_80_classes_of_coco():
    assert len(set(centernet.CLASSES)) == 80
    assert (centernet.CLASSES[0], centernet.CLASSES[16], centernet.CLASSES[79]) == ("person", "dog", "toothbrush")


def test_a_letterbox_keeps_proportions_and_fills_with_black_below():
    pixels, scale = centernet.letterbox(Image.new("RGB", (100, 50), (10, 20, 30)), 64)
    assert (pixels.shape, pixels.dtype, scale) == ((1, 3, 64, 64), np.float32, 0.64)
    assert pixels[0, :, 31, 63].tolist() == [10, 20, 30]
    assert pixels[0, :, 32:].max() == 0


def test_a_very_narrow_picture_keeps_a_column():
    pixels, _ = centernet.letterbox(Image.new("RGB", (1, 5000), "white"), 64)
    assert pixels[0, 0, :, 0].min() == 255


def test_peaks_are_local_maxima_with_boxes_cut_at_the_border():
    found = centernet.peaks(maps({(1, 4, 8): 0.9, (1, 4, 9): 0.8, (0, 4, 9): 0.7}), count=2)
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])
    assert found.labels.tolist() == [1, 0]
    assert found.boxes.tolist() == [[24, 8, 40, 24], [28, 8, 44, 24]]
    assert found.probabilities[1].tolist() == pytest.approx([0.7, 0.8])


def test_a_peak_whose_box_is_outside_the_picture_is_left_out():
    assert len(centernet.peaks(maps({(0, 15, 8): 0.9}), count=1)) == 0


def test_local_maxima_are_those_of_a_3_x_3_maximum():
    heat = torch.rand(3, 9, 7, generator=torch.Generator().manual_seed(0))
    made = maps({})
    found = centernet.peaks(Maps(heat, torch.full((4, 9, 7), 9.0), made.head, made.deep, 1.0, (28, 36)), count=400)
    highest = torch.nn.functional.max_pool2d(heat[None], 3, 1, 1)[0]
    assert sorted(found.scores[found.scores > 0].tolist()) == sorted(heat[heat == highest].tolist())


def test_the_grid_has_the_highest_probability_of_each_cell():
    cells = centernet.grid(maps({(1, 1, 1): 0.6, (0, 7, 15): 0.3, (0, 9, 2): 0.9}), 2)
    assert cells.boxes.tolist() == [[0, 0, 32, 16], [32, 0, 64, 16], [0, 16, 32, 32], [32, 16, 64, 32]]
    assert cells.scores.tolist() == pytest.approx([0.6, 0, 0, 0.3])  # row 9 is below the picture
    assert cells.labels.tolist() == [1, 0, 0, 0]


def test_overlapping_boxes_give_way_to_the_best():
    boxes = [[0.0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30], [0, 0, 10, 6]]
    kept = centernet.without_overlaps(candidates(boxes, [0, 0, 0, 0]), 0.7, 10)
    assert kept.boxes.tolist() == [boxes[0], boxes[2], boxes[3]]
    assert len(centernet.without_overlaps(candidates(boxes, [0, 0, 0, 0]), 0.7, 2)) == 2


def test_boxes_of_other_classes_may_overlap_where_classes_count():
    boxes = [[0.0, 0, 10, 10], [0, 0, 10, 9]]
    assert len(centernet.without_overlaps(candidates(boxes, [0, 1]), 0.5, 10, same_class=True)) == 2
    assert len(centernet.without_overlaps(candidates(boxes, [1, 1]), 0.5, 10, same_class=True)) == 1


def test_roi_align_of_a_ramp_is_the_ramp():
    ramp = torch.arange(16.0).expand(1, 16, 16)  # the value of column x; its middle is at x + 0.5
    sampled = centernet.roi_align(ramp, torch.tensor([[8.0, 8, 36, 36]]), input_size=64)
    wanted = (8 + 28 * (torch.arange(7) + 0.5) / 7) / 4 - 0.5
    torch.testing.assert_close(sampled[0, 0], wanted.expand(7, 7))


def test_region_features_are_centre_then_means():
    head, deep = torch.zeros(128, 128, 128), torch.full((480, 16, 16), 3.0)
    head[:, 60:68, 60:68] = 1.0  # the middle 32 x 32 pixels of 512 x 512
    made = maps({})
    features = centernet.region_features(
        Maps(made.heat, made.sides, head, deep, 1.0, (512, 512)),
        torch.tensor([[246.0, 246, 266, 266], [0, 0, 512, 512]]),
    )
    assert features.shape == (2, centernet.FEATURE_SIZE)
    torch.testing.assert_close(features[0], torch.cat([torch.ones(256), torch.full((480,), 3.0)]))
    torch.testing.assert_close(features[1, [0, 128]], torch.tensor([1 / 9, 1 / 49]))
