"""Pictures in, Regions out."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bottom_up_helpers import SIZES, noise, publish, small_detector
from PIL import Image

from interbert.batch import Regions
from interbert.errors import InterbertError, UsageError
from interbert.vision.bottom_up_extractor import BottomUpExtractor
from interbert.vision.extractor import Extractor
from interbert.vision.images import ImageError
from interbert.vision.provenance import ExtractorInfo

LAYOUTS = pytest.mark.parametrize("layout", ["unc", "caffe"])
PICTURES = [noise(90, 60, 1), noise(50, 80, 2), noise(64, 64, 3), noise(200, 70, 4)]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("published")
    return {layout: str(publish(small_detector(layout), folder / layout)) for layout in ("unc", "caffe")}


def made(place: str, **settings: Any) -> BottomUpExtractor:
    return BottomUpExtractor(place, **{"min_regions": 2, "max_regions": 12, **settings})


def is_equal(one: Regions, other: Regions) -> bool:
    mine, theirs = asdict(one), asdict(other)
    return all(np.array_equal(mine[name], theirs[name]) for name in mine)


@LAYOUTS
def test_pictures_of_unlike_sizes_give_what_each_gives_alone(places: dict[str, str], layout: str) -> None:
    extractor = made(places[layout])
    together = extractor.extract(PICTURES)
    alone = [extractor.extract([picture])[0] for picture in PICTURES]
    assert all(is_equal(one, other) for one, other in zip(together, alone, strict=True))
    assert all(len(regions) > 1 for regions in together)


@LAYOUTS
def test_regions_have_all_that_the_detector_says(places: dict[str, str], layout: str) -> None:
    extractor = made(places[layout])
    (regions,) = extractor.extract([noise(90, 60)])
    assert regions.features.shape == (len(regions), extractor.info.feature_size) == (len(regions), SIZES.features)
    assert regions.image_size == (90, 60)
    assert regions.boxes.min() >= 0
    assert (regions.boxes.max(0) <= [90, 60, 90, 60]).all()
    assert regions.probabilities is not None
    assert regions.probabilities.shape == (len(regions), SIZES.classes)
    assert (regions.probabilities.sum(1) <= 1 + 1e-6).all()  # the background has the rest
    assert (regions.probabilities.argmax(1) == regions.labels).all()
    assert (regions.probabilities.max(1) == regions.confidence).all()
    assert regions.attributes is not None
    assert regions.attribute_confidence is not None
    assert regions.attributes.max() < SIZES.attributes == len(extractor.info.attributes)


@LAYOUTS
def test_the_first_regions_are_those_of_a_lower_maximum(places: dict[str, str], layout: str) -> None:
    many, few = (
        made(places[layout], max_regions=most, min_regions=1, min_confidence=0.0).extract(PICTURES) for most in (12, 4)
    )
    assert all(is_equal(more.select(slice(4)), best) for more, best in zip(many, few, strict=True))


def test_rule_final_moves_the_boxes_and_puts_the_surest_first(places: dict[str, str]) -> None:
    (regions,) = made(places["unc"], rule="final").extract([noise(90, 60)])
    (plain,) = made(places["unc"]).extract([noise(90, 60)])
    assert (np.diff(regions.confidence) <= 0).all()
    assert not set(map(tuple, regions.boxes)) & set(map(tuple, plain.boxes))


def test_rule_final_is_unc_nlps(places: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="wanted butd"):
        made(places["caffe"], rule="final").extract([noise(90, 60)])


def test_its_identity_is_settings_weights_and_names(places: dict[str, str]) -> None:
    info = made(places["unc"]).info
    assert info.name == f"bottom-up:{places['unc']}"
    assert info.settings["max_regions"] == 12
    assert info.settings["rule"] == "butd"
    assert info.settings["detector"]["proposals"] == 30
    assert info.classes[3] == "object 3"
    assert len(info.weights_sha256) == 64
    assert info.difference(made(places["unc"], precision="bf16").info)
    assert info.difference(made(places["unc"], device="cpu").info) is None


def test_it_is_made_by_name_and_again_from_its_info(places: dict[str, str]) -> None:
    by_name = Extractor.from_name(f"bottom-up:{places['unc']}", max_regions=20, min_regions=3, min_confidence=0.4)
    assert by_name == BottomUpExtractor(places["unc"], 20, 3, 0.4)
    special = made(places["unc"], rule="final", precision="bf16")
    stored = ExtractorInfo.from_json(json.loads(json.dumps(asdict(special.info))))
    assert Extractor.from_info(stored) == special


def test_it_travels_to_another_process_without_its_weights(places: dict[str, str]) -> None:
    extractor = made(places["unc"])
    (before,) = extractor.extract([noise(90, 60)])
    sent = pickle.dumps(extractor)
    assert len(sent) < 5000
    assert is_equal(pickle.loads(sent).extract([noise(90, 60)])[0], before)


def test_it_says_what_it_runs_on(places: dict[str, str]) -> None:
    assert made(places["unc"], device="cpu").about().endswith("runs on cpu, res5 in float32")
    assert made(places["unc"], device="cpu", precision="bf16").about().endswith("res5 in bfloat16")


def test_bfloat16_changes_features_a_little(places: dict[str, str]) -> None:
    settings = {"device": "cpu", "min_regions": 12, "max_regions": 12}
    exact, near = (made(places["caffe"], precision=name, **settings).extract(PICTURES)[0] for name in ("fp32", "bf16"))
    assert 0 < np.abs(exact.features.mean(0) - near.features.mean(0)).max() < 0.1 * np.abs(exact.features).max()


def test_a_picture_without_a_box_costs_itself(tmp_path: Path) -> None:
    place = publish(small_detector("caffe", smallest_proposal=1000.0), tmp_path)
    with pytest.raises(ImageError, match="no box in a picture of 90 x 60"):
        made(str(place)).extract([noise(90, 60)])


@pytest.mark.parametrize("wrong", [{"precision": "fp8"}, {"rule": "best"}, {"min_regions": 0}], ids=str)
def test_wrong_settings_are_usage_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        made("anywhere", **wrong)


def test_missing_weights_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="no bottom-up detector"):
        made(str(tmp_path)).extract([Image.new("RGB", (64, 64))])
