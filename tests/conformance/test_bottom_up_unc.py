"""unc-nlp's layout against what its program computed, every stage of every picture."""

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
    return shared / "fixtures" / "bottom-up"


@pytest.fixture(scope="module")
def differences(fixture: Path) -> list[Difference]:
    return check_detector(load_detector(find_detector(str(fixture))).model, fixture)


def test_every_recorded_stage_is_compared_and_within_its_limit(fixture: Path, differences: list[Difference]) -> None:
    with safe_open(fixture / "outputs.safetensors", "pt") as recorded:
        stages = {key.partition("/")[2] for key in recorded.keys()}  # noqa: SIM118  # it is no dictionary
    assert {difference.stage for difference in differences} == stages
    assert [str(difference) for difference in differences if not difference.fine] == []


def test_every_index_is_exact(differences: list[Difference]) -> None:
    exact = [d for d in differences if d.stage.endswith((".keep", "_ids", ".num", "_class", "_thresh", ".tried"))]
    assert len(exact) == 16
    assert all(difference.limit == difference.largest == 0 for difference in exact)


@pytest.mark.parametrize(("rule", "recorded"), [("butd", "butd"), ("final", "final_10_100")])
def test_the_extractor_gives_the_recorded_regions(fixture: Path, rule: str, recorded: str) -> None:
    outputs = load_file(fixture / "outputs.safetensors")
    extractor = BottomUpExtractor(str(fixture), 100, 10, 0.2, rule, device="cpu")  # type: ignore[arg-type]
    pictures = sorted((fixture / "images").iterdir())
    for picture, regions in zip(pictures, extractor.extract(pictures), strict=True):
        kept = outputs[f"{picture.stem}/{recorded}.keep"]
        if rule == "butd":
            kept = kept[outputs[f"{picture.stem}/butd.max_conf"][kept].argsort(descending=True, stable=True)]
        wanted = outputs[f"{picture.stem}/roi.features"][kept]
        assert regions.features.shape == wanted.shape
        assert (torch.from_numpy(regions.features) - wanted).abs().max() < 1e-5
        height, width = outputs[f"{picture.stem}/size_original_hw"].tolist()
        assert regions.image_size == (width, height)


def test_the_final_regions_have_the_recorded_boxes_names_and_confidence(fixture: Path) -> None:
    outputs = load_file(fixture / "outputs.safetensors")
    extractor = BottomUpExtractor(str(fixture), 36, 36, rule="final", device="cpu")
    (regions,) = extractor.extract([fixture / "images" / "img1.png"])
    assert (torch.from_numpy(regions.boxes) - outputs["img1/final.boxes"]).abs().max() < 3e-3
    assert regions.labels.tolist() == outputs["img1/final.obj_ids"].tolist()
    assert regions.attributes is not None
    assert regions.attributes.tolist() == outputs["img1/final.attr_ids"].tolist()
    assert (torch.from_numpy(regions.confidence) - outputs["img1/final.obj_probs"]).abs().max() < 1e-5
