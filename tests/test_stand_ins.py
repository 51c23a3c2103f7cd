"""Regions of classes and boxes, where there is no picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pretraining_helpers import EXTRACTOR

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.tasks.stand_ins import SIDE, StandIns
from interbert.vision.store import RegionStore


def stand_ins(folder: Path) -> StandIns:
    """Of a store with two dogs (features 1 and 3) and a tree (8)."""
    with RegionStore.writer(folder / "regions", EXTRACTOR, feature_type="float32") as writer:
        for id, labels, values in (("a", [1, 3], [1.0, 8.0]), ("b", [1], [3.0])):
            boxes = np.tile(np.array([0, 0, 5, 5], np.float32), (len(labels), 1))
            features = np.repeat(np.array(values, np.float32)[:, None], 8, 1)
            ones = np.ones(len(labels), np.float32)
            writer.append(
                id,
                Regions(features, boxes, (10, 10), np.array(labels), ones, np.ones((len(labels), 5), np.float32) / 5),
            )
    return StandIns(RegionStore(folder / "regions"))


def test_an_object_gets_the_mean_feature_of_its_class(tmp_path: Path) -> None:
    found = stand_ins(tmp_path).regions(["tree", "dog", "person", "car"])
    assert found.features[:, 0].tolist() == [8.0, 2.0, 4.0, 4.0]  # no persons, no cars: the mean of all regions
    assert found.labels.tolist()[:2] == [3, 1]


def test_without_boxes_every_object_fills_the_picture(tmp_path: Path) -> None:
    found = stand_ins(tmp_path).regions(["dog"])
    assert found.boxes.tolist() == [[0, 0, SIDE, SIDE]]
    assert found.image_size == (SIDE, SIDE)
    assert found.confidence.tolist() == [1.0]


def test_boxes_and_confidence_are_taken_as_they_are(tmp_path: Path) -> None:
    boxes, confidence = np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32)
    found = stand_ins(tmp_path).regions(["Dog"], boxes, confidence, (20, 10))
    assert (found.boxes.tolist(), found.confidence.tolist(), found.image_size) == ([[1, 2, 3, 4]], [0.5], (20, 10))


def test_a_store_without_regions_is_refused(tmp_path: Path) -> None:
    with RegionStore.writer(tmp_path / "regions", EXTRACTOR) as writer:
        none = np.zeros((0, 8), np.float32)
        writer.append("a", Regions(none, none[:, :4], (10, 10), np.zeros(0, np.int64), none[:, 0], none[:, :5]))
    with pytest.raises(InterbertError, match="has no regions; give one of pictures like those missing"):
        StandIns(RegionStore(tmp_path / "regions"))
