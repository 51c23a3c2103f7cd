"""Regions in words, and the verb that shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interbert import cli
from interbert.batch import Regions
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore
from interbert.vision.words import region_words

INFO = ExtractorInfo("by-hand", 2, ("cat", "狗"), attributes=("red", "old"))
REGIONS = Regions(
    features=np.ones((2, 2), np.float32),
    boxes=np.array([[0, 0, 30, 20.5], [5, 5, 10, 10]], np.float32),
    image_size=(40, 30),
    labels=np.array([1, 0]),
    confidence=np.array([0.75, 0.5], np.float32),
    attributes=np.array([0, 1]),
    attribute_confidence=np.array([0.25, 0.5], np.float32),
)


def without_attributes() -> Regions:
    return replace(REGIONS, attributes=None, attribute_confidence=None)


def test_labels_and_attributes_have_their_words() -> None:
    first, second = region_words(REGIONS, INFO)
    assert (first.label, first.name, first.attribute, first.attribute_name) == (1, "狗", 0, "red")
    assert (first.box, first.confidence, first.attribute_confidence) == ((0, 0, 30, 20.5), 0.75, 0.25)
    assert [first.phrase, second.phrase] == ["red 狗", "old cat"]


def test_regions_without_attributes_have_none() -> None:
    (first, _) = region_words(without_attributes(), INFO)
    assert (first.attribute, first.attribute_name, first.phrase) == (None, None, "狗")


def test_where_names_are_not_known_the_number_stands() -> None:
    (first, second) = region_words(REGIONS, replace(INFO, classes=("cat",), attributes=()))
    assert [first.phrase, second.phrase] == ["class 1", "cat"]
    assert (first.name, first.attribute, first.attribute_name) == (None, 0, None)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with RegionStore.writer(tmp_path / "store", INFO, feature_type="float32") as writer:
        writer.append("with", REGIONS)
        writer.append("without", without_attributes())
    return tmp_path / "store"


def test_store_show_prints_a_line_a_region(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["store", "show", str(store), "with"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "with: 2 regions of a picture of 40 x 30 pixels",
        "    0.0     0.0    30.0    20.5  0.750  狗  (red 0.250)",
        "    5.0     5.0    10.0    10.0  0.500  cat  (old 0.500)",
    ]
    assert cli.run(["store", "show", str(store), "without"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("0.750  狗")


def test_store_show_gives_numbers_and_words_as_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["store", "show", str(store), "with", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["id"], found["image_size"], len(found["regions"])) == ("with", [40, 30], 2)
    assert found["regions"][0] == {
        "box": [0, 0, 30, 20.5],
        "label": 1,
        "name": "狗",
        "confidence": 0.75,
        "attribute": 0,
        "attribute_name": "red",
        "attribute_confidence": 0.25,
    }


def test_store_show_of_an_unknown_picture_is_a_sentence(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["store", "show", str(store), "other"]) == 1
    assert "has no regions of 'other' (2 pictures)" in capsys.readouterr().err


def test_store_info_counts_classes_and_attributes(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["store", "info", str(store)]) == 0
    assert "extractor by-hand: 2 numbers a region, 2 classes, 2 attributes\n" in capsys.readouterr().out
