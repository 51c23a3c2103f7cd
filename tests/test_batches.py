"""Batches of pretraining: the order, the negatives, the masks, over any number of processes."""

from __future__ import annotations

import numpy as np
import pytest

from interbert.draws import generator_for
from interbert.errors import InterbertError
from interbert.pretraining.batches import Belonging, draw_pairs, epoch_plan


def test_half_of_the_pairs_are_negatives_and_none_of_them_has_its_own_picture() -> None:
    texts, images = np.arange(64), np.arange(64) // 2  # two captions a picture
    pairs = draw_pairs(texts, images, generator_for(0, "x"))
    assert pairs.is_match.sum() == 32
    assert (pairs.images == images)[pairs.is_match].all()
    assert (pairs.images != images)[~pairs.is_match].all()


def test_negatives_are_pictures_of_the_batch() -> None:
    images = np.array([5, 9, 11, 200])
    pairs = draw_pairs(np.arange(4), images, generator_for(1, "x"))
    assert set(pairs.images) <= set(images)


def test_a_batch_of_one_picture_has_no_negative_and_says_so() -> None:
    with pytest.raises(InterbertError, match="belongs to all"):
        draw_pairs(np.arange(4), np.zeros(4, np.int64), generator_for(0, "x"))


def test_an_epoch_has_every_text_once_but_the_last_few() -> None:
    texts = np.arange(100, 203)
    plan = epoch_plan(texts, np.random.default_rng(0).integers(5, 30, 103), 10, generator_for(0, "order"))
    assert plan.shape == (10, 10)
    assert len(np.unique(plan)) == 100
    assert set(plan.ravel()) <= set(texts)


def test_texts_of_a_batch_are_of_alike_length() -> None:
    lengths = np.random.default_rng(0).integers(5, 37, 6400)
    plan = epoch_plan(np.arange(6400), lengths, 64, generator_for(0, "order"))
    padded = (lengths[plan].max(1) * 64).sum()
    assert padded / lengths.sum() < 1.05  # at random it would be 1.7


def test_epochs_differ_in_order_and_the_same_epoch_does_not() -> None:
    lengths = np.full(100, 9)
    first, again, second = (epoch_plan(np.arange(100), lengths, 10, generator_for(0, e)) for e in (0, 0, 1))
    assert (first == again).all()
    assert (first != second).any()


def test_fewer_texts_than_a_batch_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InterbertError, match="smaller batch_size"):
        epoch_plan(np.arange(5), np.full(5, 9), 10, generator_for(0, "order"))


class Shop:
    """Four pictures; the first two have the same text, the last has two texts."""

    text_hashes = np.array([7, 7, 3, 4, 5], np.uint64)
    images_of = np.array([0, 1, 2, 3, 3], np.int32)
    images = 4


def test_equal_texts_have_each_others_pictures() -> None:
    found = Belonging(Shop()).matrix(np.arange(5), np.arange(4))  # type: ignore[arg-type]
    assert found.astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    rows = [Belonging(Shop()).row(text, np.arange(4)) for text in range(5)]  # type: ignore[arg-type]
    assert np.array_equal(found, rows)


def test_a_picture_with_an_equal_text_is_never_a_negative() -> None:
    texts, images = np.array([0, 1, 2]), np.array([0, 1, 2])
    belonging = Belonging(Shop())  # type: ignore[arg-type]
    belongs = belonging.matrix(texts, images)
    for seed in range(20):
        pairs = draw_pairs(texts, images, generator_for(seed, "x"), belonging)
        for text, image, match in zip(pairs.texts, pairs.images, pairs.is_match, strict=True):
            assert belongs[text, image] == match
