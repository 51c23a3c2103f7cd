from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import interbert
from interbert.errors import UsageError
from interbert.vision import embedded_weights
from interbert.vision.extractor import EXTRACTORS, Extractor


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


def test_every_extractor_of_the_list_is_called_as_it_is_listed():
    for name in EXTRACTORS:
        assert Extractor.from_name(name).info.name == name


def test_the_example_of_the_documentation_is_an_extractor():
    text = (Path(__file__).parents[1] / "docs" / "new-extractor.md").read_text("utf-8")
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    (regions,) = names["MeanColour"]().extract([Image.new("RGB", (4, 2), (10, 20, 30))])
    assert regions.features.tolist() == [[10, 20, 30]]
