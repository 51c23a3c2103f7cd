"""The network: what its stages give, and that nothing depends on how the work is cut. Numbers: tests/conformance."""

from __future__ import annotations

import pytest
import torch
from bottom_up_helpers import SIZES, noise, small_detector

from interbert.vision import bottom_up
from interbert.vision.bottom_up import Found, proposal_scores
from interbert.vision.bottom_up_input import resized

LAYOUTS = pytest.mark.parametrize("layout", ["unc", "caffe"])


@LAYOUTS
def test_the_stages_have_their_strides_and_channels(layout: str) -> None:
    model = small_detector(layout)
    with torch.inference_mode():
        shapes = {name: tuple(states.shape[1:]) for name, states in model.stages(torch.zeros(3, 64, 100))}
    assert shapes == {"stem": (4, 16, 25), "res2": (16, 16, 25), "res3": (32, 8, 13), "res4": (64, 4, 7)}


@LAYOUTS
@torch.inference_mode()
def test_every_proposal_gets_features_classes_attributes_and_boxes(layout: str) -> None:
    model = small_detector(layout)
    picture = resized(noise(90, 60), model.config)
    proposals, found = model(picture)
    count = len(proposals.boxes)
    assert 3 <= count <= model.config.proposals
    assert found.features.shape == (count, SIZES.features)
    assert found.class_logits.shape == (count, SIZES.classes + 1)
    assert found.attribute_logits.shape == (count, SIZES.attributes + 1)
    assert found.deltas.shape == (count, SIZES.classes + (layout == "caffe"), 4)
    assert found.features.std() > 0.01


@LAYOUTS
@torch.inference_mode()
def test_proposals_are_best_first_inside_the_picture_and_have_area(layout: str) -> None:
    model = small_detector(layout)
    picture = resized(noise(90, 60), model.config)
    proposals = model.proposals(*model.proposal_maps(model.feature_map(picture.pixels)), picture)
    height, width = (side - (layout == "caffe") for side in picture.size)
    assert (proposals.scores.diff() <= 0).all()
    assert (proposals.boxes[:, 2:] > proposals.boxes[:, :2]).all()
    assert proposals.boxes.min() >= 0
    assert (proposals.boxes[:, 2].max(), proposals.boxes[:, 3].max()) <= (width, height)


@torch.inference_mode()
def test_small_proposals_are_dropped_in_pixels_of_the_file() -> None:
    picture = noise(32, 32)  # twice as large for the network
    model = small_detector("caffe", smallest_proposal=8.0)
    proposals, _ = model(resized(picture, model.config))
    sides = proposals.boxes[:, 2:] - proposals.boxes[:, :2] + 1
    assert len(sides)
    assert sides.min() > 16


@torch.inference_mode()
def test_where_no_proposal_is_left_there_are_no_features() -> None:
    model = small_detector("caffe", smallest_proposal=1000.0)
    proposals, found = model(resized(noise(64, 64), model.config))
    assert len(proposals.boxes) == len(found.features) == 0
    assert found.classes().shape == (0, SIZES.classes)


@LAYOUTS
@torch.inference_mode()
def test_how_many_regions_go_through_res5_at_once_changes_nothing(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_detector(layout)
    picture = resized(noise(90, 60), model.config)
    _, whole = model(picture)
    monkeypatch.setattr(bottom_up, "_CHUNK", {"cpu": 3})
    _, parts = model(picture)
    assert (whole.features - parts.features).abs().max() < 1e-5


def found(layout: str, classes: list[float], attributes: list[float]) -> Found:
    config = small_detector(layout).config
    return Found(torch.zeros(1, 2), torch.tensor([classes]), torch.tensor([attributes]), torch.zeros(1, 1, 4), config)


def test_unc_nlps_background_is_the_last_class() -> None:
    probabilities = found("unc", [0.0, 0, 0, 9], [0.0, 0]).classes()
    assert probabilities.shape == (1, 3)
    assert probabilities.max() < 0.01


def test_caffes_background_is_the_first_class() -> None:
    assert found("caffe", [9.0, 0, 0, 0], [0.0, 0]).classes().max() < 0.01


def test_no_attribute_has_its_share_in_caffe_alone() -> None:
    assert found("unc", [0.0, 0], [0.0, 0, 9]).attributes().tolist() == [[0.5, 0.5]]
    assert found("caffe", [0.0, 0], [9.0, 0, 0]).attributes().max() < 0.01


def test_caffes_score_is_the_second_of_a_pair() -> None:
    config = small_detector("caffe").config
    maps = torch.tensor([0.0, 1.0, 2.0, 1.0]).reshape(4, 1, 1)  # background of two anchors, then object of both
    wanted = torch.tensor([2.0, 0.0]).sigmoid()
    assert torch.allclose(proposal_scores(maps, config), wanted)


@torch.inference_mode()
def test_bfloat16_is_near_and_leaves_the_proposals_alone() -> None:
    model = small_detector("caffe")
    picture = resized(noise(90, 60), model.config)
    proposals, exact = model(picture)
    model.compute_regions_in(torch.bfloat16)
    others, near = model(picture)
    assert torch.equal(proposals.boxes, others.boxes)
    distance = (near.features - exact.features).norm() / exact.features.norm()
    assert 0 < distance < 0.02
