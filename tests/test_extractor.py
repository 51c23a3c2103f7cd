from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import interbert
from interbert.errors import InterbertError, UsageError
from interbert.vision import embedded_weights
from interbert.vision.embedded import EmbeddedExtractor, Selection
from interbert.vision.extractor import EXTRACTORS, Extractor
from interbert.vision.provenance import ExtractorInfo


@pytest.fixture(scope="session")
def weights() -> Path:
    return embedded_weights.install()


def test_a_path_bytes_and_a_picture_give_the_same_regions(weights: Path, tmp_path: Path):
    image = Image.radial_gradient("L").convert("RGB")
    image.save(tmp_path / "dogs.png")
    extractor = interbert.Extractor.from_name("embedded")
    path, content = tmp_path / "dogs.png", (tmp_path / "dogs.png").read_bytes()
    made = extractor.extract([str(path), path, content, image])
    assert all(10 <= len(regions) <= 36 for regions in made)
    assert all((regions.features == made[0].features).all() for regions in made)


def test_the_settings_reach_the_extractor():
    info = Extractor.from_name("embedded", max_regions=20, min_regions=5, min_confidence=0.3).info
    assert info.name == "embedded"
    assert info.settings["max_regions"] == 20
    assert info.settings["min_regions"] == 5
    assert info.settings["min_confidence"] == 0.3


@pytest.mark.parametrize("name", ["embeded", "hf:someone/something", "torchvision:x", ""])
def test_an_unknown_name_is_an_error_that_names_what_exists(name: str):
    with pytest.raises(UsageError, match=r"there is no extractor.*embedded"):
        Extractor.from_name(name)


def test_an_extractor_is_made_again_from_its_info():
    made = EmbeddedExtractor(Selection(max_regions=30, fill="detections+grid", grid=3))
    stored = ExtractorInfo.from_json(json.loads(json.dumps(asdict(made.info))))
    assert Extractor.from_info(stored) == made


def test_an_extractor_that_has_changed_since_is_an_error():
    info = replace(EmbeddedExtractor().info, weights_sha256="0")
    with pytest.raises(InterbertError, match="weights_sha256"):
        Extractor.from_info(info)


def test_every_extractor_of_the_list_is_called_as_it_is_listed():
    for name in EXTRACTORS:
        assert Extractor.from_name(name).info.name == name


def test_the_example_of_the_documentation_is_an_extractor():
    text = (Path(__file__).parents[1] / "docs" / "new-extractor.md").read_text("utf-8")
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    (regions,) = names["MeanColour"]().extract([Image.new("RGB", (4, 2), (10, 20, 30))])
    assert regions.features.tolist() == [[10, 20, 30]]


@pytest.mark.parametrize(("max_regions", "cells"), [(36, 16), (16, 9), (10, 9), (2, 1)])
def test_the_grid_leaves_room_for_detections_whatever_the_maximum(max_regions: int, cells: int) -> None:
    made = Extractor.from_name("embedded", max_regions=max_regions, min_regions=1)
    assert made.info.settings["grid"] ** 2 == cells
