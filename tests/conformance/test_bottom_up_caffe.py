"""MILVLG's layout of the Caffe weights against what its program computed, every stage of every picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from interbert.vision.bottom_up_check import Difference, check_detector
from interbert.vision.bottom_up_extractor import BottomUpExtractor
from interbert.vision.bottom_up_folder import find_detector, load_detector

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def fixture(shared: Path) -> Path:
    return shared / "fixtures" / "bottom-up-caffe"


@pytest.fixture(scope="module")
def differences(fixture: Path) -> list[Difference]:
    return check_detector(load_detector(find_detector(str(fixture))).model, fixture)


def test_every_recorded_stage_is_compared_and_within_its_limit(fixture: Path, differences: list[Difference]) -> None:
    with safe_open(fixture / "outputs.safetensors", "pt") as recorded:
        stages = {key.partition("/")[2] for key in recorded.keys()}  # noqa: SIM118  # it is no dictionary
    assert {difference.stage for difference in differences} == stages - {"given.boxes"}  # these go in
    assert [str(difference) for difference in differences if not difference.fine] == []


def test_every_index_is_exact(differences: list[Difference]) -> None:
    exact = [d for d in differences if d.stage.endswith((".keep", "_id", "_hw", "im_scale"))]
    assert len(exact) == 11
    assert all(difference.limit == difference.largest == 0 for difference in exact)


def test_the_extractor_gives_the_recorded_regions_surest_first(fixture: Path) -> None:
    outputs = load_file(fixture / "outputs.safetensors")
    extractor = BottomUpExtractor(str(fixture), 100, 10, 0.2, device="cpu")
    pictures = sorted((fixture / "images").iterdir())
    for picture, regions in zip(pictures, extractor.extract(pictures), strict=True):
        recorded = {name: outputs[f"{picture.stem}/final.{name}"] for name in ("boxes", "features", "objects_id")}
        sureness = outputs[f"{picture.stem}/sel.max_conf"][outputs[f"{picture.stem}/final.keep"]]
        order = sureness.argsort(descending=True, stable=True)
        assert (torch.from_numpy(regions.features) - recorded["features"][order]).abs().max() < 2e-5
        assert (torch.from_numpy(regions.boxes) - recorded["boxes"][order]).abs().max() < 4e-3
        assert regions.labels.tolist() == recorded["objects_id"][order].tolist()


def test_a_fixed_number_is_an_equal_minimum_and_maximum(fixture: Path) -> None:
    outputs = load_file(fixture / "outputs.safetensors")
    (regions,) = BottomUpExtractor(str(fixture), 20, 20, device="cpu").extract([fixture / "images" / "img2.png"])
    assert (torch.from_numpy(regions.features) - outputs["img2/fixed20.features"]).abs().max() < 2e-5
    assert regions.attributes is not None
    assert regions.attributes.tolist() == outputs["img2/fixed20.attrs_id"].tolist()
