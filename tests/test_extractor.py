from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import interbert
from interbert.batch import Regions
from interbert.cli.pictures import extract
from interbert.errors import InterbertError, UsageError
from interbert.files import sha256_of
from interbert.vision import embedded_weights
from interbert.vision import extractor as extractor_module
from interbert.vision.embedded import EmbeddedExtractor, Selection
from interbert.vision.extractor import ELSEWHERE, EXTRACTORS, FORMS, Extractor, Limits, Picture
from interbert.vision.provenance import TEXT_ALONE, ExtractorInfo


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


@pytest.mark.parametrize("name", ["embeded", "hg:someone/something", ":x", ""])
def test_an_unknown_name_is_an_error_that_names_what_exists(name: str):
    with pytest.raises(UsageError, match=r"there is no extractor.*embedded"):
        Extractor.from_name(name)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UsageError, match="there is no extractor 'botom-up'; did you mean 'bottom-up'"):
        Extractor.from_name("botom-up:weights")


@pytest.mark.parametrize("kind", ["bottom-up", "hf", "torchvision"])
@pytest.mark.parametrize("rest", ["", ":"])
def test_a_missing_argument_is_an_error_that_shows_the_form(kind: str, rest: str):
    with pytest.raises(UsageError, match=f"got extractor '{kind}' without what it reads; wanted {kind}:[FN]"):
        Extractor.from_name(kind + rest)


def test_an_argument_too_many_is_an_error():
    with pytest.raises(UsageError, match="got extractor 'embedded:x'; wanted 'embedded' alone"):
        Extractor.from_name("embedded:x")


@pytest.mark.parametrize("limits", [(0, 0, 0.2), (5, 6, 0.2), (36, 10, 1.5), (36, 10, float("nan"))])
def test_limits_that_cannot_be_are_an_error(limits: tuple[int, int, float]):
    with pytest.raises(UsageError, match="wanted"):
        Limits(*limits)


def test_help_and_forms_list_every_extractor():
    (option,) = (option for option in extract.params if option.name == "extractor")
    assert FORMS.keys() == EXTRACTORS.keys()
    assert all(form in option.help for form in FORMS.values())


def test_an_extractor_is_made_again_from_its_info():
    made = EmbeddedExtractor(Selection(max_regions=30, fill="detections+grid", grid=3))
    stored = ExtractorInfo.from_json(json.loads(json.dumps(asdict(made.info))))
    assert Extractor.from_info(stored) == made


def test_an_extractor_that_has_changed_since_is_an_error():
    info = replace(EmbeddedExtractor().info, weights_sha256="0")
    with pytest.raises(InterbertError, match="weights_sha256"):
        Extractor.from_info(info)


class Placed(Extractor):
    """Stands for weights in a folder, whose digest is the folder's content."""

    def __init__(self, argument: str | None, settings: Mapping[str, Any]) -> None:
        self.place, self.settings = Path(str(argument)), dict(settings)

    @property
    def info(self) -> ExtractorInfo:
        if not self.place.is_file():
            raise InterbertError(f"there are no weights in '{self.place}'")
        return ExtractorInfo(f"placed:{self.place}", 3, (), sha256_of(self.place), self.settings)

    def extract(self, images: Sequence[Picture]) -> list[Regions]:
        return []


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights, of an extractor of the list."""
    monkeypatch.setitem(EXTRACTORS, "placed", Placed)
    monkeypatch.delenv(ELSEWHERE, raising=False)
    (tmp_path / "weights").write_text("some")
    return tmp_path / "weights"


def test_an_extractor_whose_weights_were_moved_says_what_to_do(placed: Path):
    info = Extractor.from_name(f"placed:{placed}").info
    placed.rename(placed.with_name("moved"))
    with pytest.raises(InterbertError, match=rf"no weights in.*say so with  {ELSEWHERE}=placed:PLACE"):
        Extractor.from_info(info)


def test_weights_that_were_moved_are_found_where_the_environment_says(placed: Path, monkeypatch: pytest.MonkeyPatch):
    info, moved = Extractor.from_name(f"placed:{placed}", max_regions=9, min_regions=1).info, placed.with_name("moved")
    placed.rename(moved)
    monkeypatch.setenv(ELSEWHERE, f"placed:{moved}")
    again = Extractor.from_info(info)
    assert again.info.name == f"placed:{moved}"
    assert again.info.settings == info.settings


def test_other_weights_where_the_environment_says_are_refused(placed: Path, monkeypatch: pytest.MonkeyPatch):
    info, other = Extractor.from_name(f"placed:{placed}").info, placed.with_name("other")
    placed.unlink()
    other.write_text("others")
    monkeypatch.setenv(ELSEWHERE, f"placed:{other}")
    with pytest.raises(InterbertError, match="is another one: weights_sha256"):
        Extractor.from_info(info)


def test_the_environment_does_not_speak_of_other_extractors(placed: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ELSEWHERE, "hf:somewhere")
    made = Extractor.from_info(Extractor.from_name(f"placed:{placed}").info)
    assert made.info.name == f"placed:{placed}"


def test_the_example_of_the_documentation_is_an_extractor(monkeypatch: pytest.MonkeyPatch):
    text = (Path(__file__).parents[1] / "docs" / "new-extractor.md").read_text("utf-8")
    monkeypatch.setattr(extractor_module, "EXTRACTORS", dict(EXTRACTORS))
    names: dict[str, Any] = {}
    for block in text.split("```python\n")[1:]:
        exec(block.split("```")[0], names)
    (regions,) = Extractor.from_name("mean-colour").extract([Image.new("RGB", (4, 2), (10, 20, 30))])
    assert regions.features.tolist() == [[10, 20, 30]]


def test_the_documentation_lists_every_extractor():
    text = (Path(__file__).parents[1] / "docs" / "new-extractor.md").read_text("utf-8")
    assert all(f"| `{form}` |" in text for form in FORMS.values())


@pytest.mark.parametrize(("max_regions", "cells"), [(36, 16), (16, 9), (10, 9), (2, 1)])
def test_the_grid_leaves_room_for_detections_whatever_the_maximum(max_regions: int, cells: int) -> None:
    made = Extractor.from_name("embedded", max_regions=max_regions, min_regions=1)
    assert made.info.settings["grid"] ** 2 == cells


@pytest.mark.parametrize(
    ("settings", "words"), [({"grdi": "3"}, "no setting 'grdi'.*'grid'"), ({"grid": "x"}, "grid: got 'x', wanted int")]
)
def test_what_else_an_extractor_has_is_set_by_name(settings: dict[str, str], words: str) -> None:
    assert Extractor.from_name("embedded", settings={"grid": "3"}).info.settings["grid"] == 3
    with pytest.raises(UsageError, match=words):
        Extractor.from_name("embedded", settings=settings)


def test_a_run_of_texts_alone_says_how_to_learn_pictures() -> None:
    with pytest.raises(InterbertError, match=r"has read texts alone .* interbert pretrain CORPUS --init RUN"):
        Extractor.from_info(TEXT_ALONE)
