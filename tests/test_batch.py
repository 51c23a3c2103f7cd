"""The types that cross rooms, by hand."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from interbert.batch import WHOLE_IMAGE, Batch, Regions, make_batch


def regions(*corners: list[int], value: float = 1.0, classes: int = 0) -> Regions:
    """Regions in a picture of 100 x 50 pixels; the features of region i are [value, i]."""
    count = len(corners)
    features = np.stack([np.full(count, value), np.arange(count)], 1).astype(np.float32)
    shares = np.full((count, classes), 0.5, np.float16) if classes else None
    boxes = np.array(corners, np.float32).reshape(count, 4)
    return Regions(features, boxes, (100, 50), np.arange(count), np.full(count, 0.9, np.float32), shares)


THREE = regions([0, 0, 50, 25], [50, 0, 100, 50], [10, 10, 20, 20])


def test_attributes_come_with_their_confidence_and_are_selected_with_their_regions() -> None:
    with pytest.raises(ValueError, match="both or neither"):
        replace(THREE, attributes=np.arange(3))
    named = replace(THREE, attributes=np.arange(3), attribute_confidence=np.ones(3, np.float32)).select([2, 0])
    assert named.attributes is not None
    assert named.attributes.tolist() == [2, 0]
    assert THREE.select([2, 0]).attributes is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"boxes": np.zeros((2, 4), np.float32)}, r"boxes: got shape \(2, 4\), wanted \(3, 4\)"),
        ({"labels": np.zeros(2, np.int64)}, "labels"),
        ({"confidence": np.zeros((3, 1), np.float32)}, "confidence"),
        ({"features": np.zeros(3, np.float32)}, "features"),
        ({"features": np.full((3, 2), np.nan, np.float32)}, "features.*finite"),
        ({"confidence": np.array([1, np.nan, 1], np.float32)}, "confidence.*not finite"),
        ({"probabilities": np.full((3, 2), np.inf)}, "probabilities.*not finite"),
        ({"boxes": np.array([[0, 0, 9, np.inf]] * 3, np.float32)}, "boxes.*not finite"),
        ({"probabilities": np.ones((2, 5), np.float16)}, "probabilities: got 2 rows for 3"),
        (
            {"boxes": np.array([[0, 0, 1, 1], [5, 0, 5, 1], [0, 0, 1, 1]], np.float32)},
            r"\[5.0, 0.0, 5.0, 1.0\] in region 1",
        ),
    ],
)
def test_regions_that_contradict_themselves_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(THREE, **change)


def test_selecting_regions_takes_every_field_along() -> None:
    some = regions([0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3], classes=4).select([2, 0])
    assert some.labels.tolist() == some.features[:, 1].tolist() == [2, 0]
    assert some.boxes[:, 2].tolist() == [3, 1]
    assert some.probabilities is not None
    assert some.probabilities.shape == (2, 4)
    assert len(some) == len(some.confidence) == 2
    assert len(THREE.select(np.array([False, True, False]))) == 1


def test_a_batch_is_padded_to_its_longest_text() -> None:
    batch = make_batch(["a", "b"], [[101, 7, 102], [101, 102]], None, pad_id=9)
    assert batch.words is not None
    assert batch.words_valid is not None
    assert batch.words.tolist() == [[101, 7, 102], [101, 102, 9]]
    assert batch.words_valid.tolist() == [[True, True, True], [True, True, False]]
    assert batch.features is None
    assert len(batch) == 2


def test_slot_zero_is_the_mean_of_the_pictures_own_regions_in_the_whole_picture() -> None:
    batch = make_batch(["a", "b"], None, [THREE, regions([0, 0, 10, 10], value=5)])
    assert batch.features is not None
    assert batch.locations is not None
    assert batch.confidence is not None
    assert batch.regions_valid is not None
    assert batch.features[:, 0].tolist() == [[1, 1], [5, 0]]  # the mean of 0, 1, 2 is 1; padding takes no part
    assert batch.locations[:, 0].tolist() == [list(WHOLE_IMAGE)] * 2
    assert batch.locations[0, 1].tolist() == [0, 0, 0.5, 0.5, 0.25]
    assert batch.confidence[1].tolist() == pytest.approx([1, 0.9, 0, 0])
    assert batch.regions_valid.tolist() == [[True] * 4, [True, True, False, False]]
    assert batch.features[1, 2:].abs().sum() == 0


def test_a_picture_without_regions_is_slot_zero_alone() -> None:
    batch = make_batch(["a"], None, [regions()])
    assert batch.features is not None
    assert batch.features.tolist() == [[[0, 0]]]
    assert batch.regions_valid is not None
    assert batch.regions_valid.tolist() == [[True]]


def test_features_of_two_extractors_do_not_fit_in_one_batch() -> None:
    other = replace(THREE, features=np.ones((3, 5), np.float32))
    with pytest.raises(ValueError, match=r"\[2, 5\].*one extractor"):
        make_batch(["a", "b"], None, [THREE, other])


def full_batch() -> Batch:
    """Three pairs with every tensor set; numbers tell which pair they came from."""
    batch = make_batch(
        ["a", "b", "c"],
        [[1, 2, 3, 4], [5, 6], [7]],
        [regions([0, 0, 9, 9], value=0), regions(*[[0, 0, 9, 9]] * 3, value=1), regions([0, 0, 9, 9], value=2)],
        [[0, 0, 1, 1], [0, 1], [0]],
    )
    assert batch.words is not None
    assert batch.features is not None
    batch.masked_words, batch.word_targets = batch.words > 3, batch.words + 1
    batch.masked_regions = batch.features[..., 0] > 1
    batch.region_targets = batch.features.softmax(-1)
    batch.is_match = torch.tensor([True, False, True])
    return batch


def test_choosing_pairs_takes_every_field_and_cuts_the_padding() -> None:
    whole = full_batch()
    chosen = whole.select(torch.tensor([2, 1]))
    assert chosen.ids == ["c", "b"]
    assert chosen.words is not None
    assert chosen.words.tolist() == [[7, 0], [5, 6]]
    assert chosen.features is not None
    assert chosen.features.shape == (2, 4, 2)
    assert chosen.is_match is not None
    assert chosen.is_match.tolist() == [True, False]
    for field in fields(Batch):
        before, after = getattr(whole, field.name), getattr(chosen, field.name)
        if isinstance(before, torch.Tensor):
            where = tuple(slice(0, size) for size in after.shape[1:])
            assert torch.equal(after, before[torch.tensor([2, 1])][(slice(None), *where)]), field.name


def test_a_side_that_is_absent_is_absent_in_all_its_fields() -> None:
    text, image = full_batch().text_alone(), full_batch().image_alone()
    assert text.features is text.locations is text.regions_valid is text.region_targets is text.masked_regions is None
    assert image.words is image.words_valid is image.token_types is image.word_targets is image.masked_words is None
    assert text.words is not None
    assert image.features is not None
    assert text.select(torch.tensor([1])).words is not None


def test_texts_may_be_given_the_pictures_of_others() -> None:
    whole = full_batch()
    moved = whole.with_images_of(torch.tensor([1, 2, 0]))
    assert moved.features is not None
    assert moved.features[:, 0, 0].tolist() == [1, 2, 0]
    assert moved.words is whole.words


def test_a_batch_moves_whole() -> None:
    moved = full_batch().to("meta")
    tensors = [getattr(moved, field.name) for field in fields(Batch)]
    assert {t.device.type for t in tensors if isinstance(t, torch.Tensor)} == {"meta"}
    assert moved.ids == ["a", "b", "c"]
