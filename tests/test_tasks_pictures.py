"""The pictures that a task's data name, in a region store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pretraining_helpers import EXTRACTOR, random_regions
from task_helpers import given

from interbert.errors import InterbertError
from interbert.tasks.pictures import SHOWN_BOXES, StoredPictures
from interbert.vision.provenance import TEXT_ALONE, ExtractorInfo, ImageInfo
from interbert.vision.store import RegionStore


def store(folder: Path, extractor: ExtractorInfo = EXTRACTOR) -> Path:
    """Pictures "a/one" of 12 regions and "a/two", "b/two" of 3."""
    random = np.random.default_rng(0)
    with RegionStore.writer(folder / "regions", extractor) as writer:
        for id, count in (("a/one", 12), ("a/two", 3), ("b/two", 3)):
            writer.append(id, random_regions(random, count), ImageInfo(f"photos/{id}.jpg", "0" * 64, 0))
    return folder / "regions"


def test_a_picture_is_found_under_the_first_name_that_means_one(tmp_path: Path) -> None:
    pictures, left_out = StoredPictures(store(tmp_path), given("vqa")), Counter[str]()
    assert pictures.find(["nowhere.jpg", "one.jpg", "a/two"], left_out) == "a/one"
    assert not left_out


def test_a_run_that_has_read_texts_alone_is_told_how_to_learn_pictures(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="has read texts alone .* interbert pretrain CORPUS --init RUN"):
        StoredPictures(store(tmp_path), given("vqa", extractor=TEXT_ALONE))


def test_why_there_is_none_is_counted(tmp_path: Path) -> None:
    pictures, left_out = StoredPictures(store(tmp_path), given("vqa", min_regions=4)), Counter[str]()
    for names in (["nowhere"], ["two"], ["a/two"], []):
        assert pictures.find(names, left_out) is None
    assert left_out == {
        "its picture is not in the region store": 2,
        "its picture's name fits several pictures of the region store": 1,
        "its picture has fewer than 4 regions": 1,
    }


def test_a_picture_of_too_few_regions_is_there_all_the_same(tmp_path: Path) -> None:
    pictures = StoredPictures(store(tmp_path), given("vqa", min_regions=4))
    assert pictures.at_all(["nowhere.jpg", "a/two"]) == "a/two"
    assert pictures.at_all(["two"]) is None  # fits several


def test_of_a_picture_that_is_not_there_one_region_says_nothing(tmp_path: Path) -> None:
    pictures = StoredPictures(store(tmp_path), given("vqa"))
    found, everything = pictures.regions(None), [pictures.regions(id).features for id in ("a/one", "a/two", "b/two")]
    assert len(found) == pictures.count(None) == 1
    np.testing.assert_allclose(found.features[0], np.concatenate(everything).astype(np.float32).mean(0), atol=1e-5)
    width, height = found.image_size
    assert found.boxes.tolist() == [[0, 0, width, height]]


def test_as_many_regions_are_read_as_the_task_takes(tmp_path: Path) -> None:
    pictures = StoredPictures(store(tmp_path), given("vqa", max_regions=5))
    assert (pictures.count("a/one"), len(pictures.regions("a/one"))) == (5, 5)
    assert (pictures.count("a/two"), len(pictures.regions("a/two"))) == (3, 3)


def test_a_picture_is_shown_with_its_boxes_as_shares_of_its_sides(tmp_path: Path) -> None:
    pictures = StoredPictures(store(tmp_path), given("vqa"))
    shown = pictures.shown("a/one", which=[1])
    x1, y1, x2, y2 = pictures.regions("a/one").boxes[1].tolist()  # of 100 x 80 pixels
    assert shown.file == Path("photos/a/one.jpg")
    assert shown.boxes == (pytest.approx((x1 / 100, y1 / 80, x2 / 100, y2 / 80)),)
    assert len(pictures.shown("a/one").boxes) == SHOWN_BOXES


def test_regions_of_another_extractor_are_refused(tmp_path: Path) -> None:
    other = ExtractorInfo("random", 4)
    with pytest.raises(InterbertError, match="another extractor than the model's: feature_size 8 and 4"):
        StoredPictures(store_of(tmp_path, other), given("vqa"))


def store_of(folder: Path, extractor: ExtractorInfo) -> Path:
    with RegionStore.writer(folder / "regions", extractor):
        pass
    return folder / "regions"
