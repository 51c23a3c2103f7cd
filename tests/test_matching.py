"""Margins of embedded sides against the model's own forward."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from interbert.batch import Batch
from interbert.config import MATCH_CLASS, preset
from interbert.model.interbert import InterBert
from interbert.model.matching import margin, margins


@pytest.fixture(scope="module")
def model() -> InterBert:
    torch.manual_seed(0)
    return InterBert(replace(preset("tiny"), vocabulary_size=30, region_feature_size=8, initializer_range=0.2)).eval()


def some_batch(pairs: int) -> Batch:
    torch.manual_seed(1)
    words, features = torch.randint(5, 30, (pairs, 6)), torch.randn(pairs, 4, 8)
    every = torch.ones(pairs, 6, dtype=torch.bool)
    return Batch(
        [""] * pairs, words, every, None, features, torch.rand(pairs, 4, 5), torch.rand(pairs, 4), every[:, :4]
    )


def test_a_margin_is_the_logit_of_belonging_less_the_other(model: InterBert) -> None:
    with torch.no_grad():
        model.match_head.bias.copy_(torch.tensor([3.0, 1.0]))
        nothing = torch.zeros(1, model.config.fusion_size)
        assert margin(model, nothing, nothing).item() == (2.0 if MATCH_CLASS == 0 else -2.0)


@torch.inference_mode()
def test_every_text_meets_every_picture(model: InterBert) -> None:
    batch = some_batch(3)
    assert batch.words is not None
    texts = model.text_embedding(batch.words[:2], None)
    images = model.image_embedding(batch.features, batch.locations, batch.confidence)
    found = margins(model, texts, images)
    for row in range(2):
        pairs = replace(batch, words=batch.words[row].expand(3, -1))
        output = model(pairs)
        assert torch.allclose(found[row], margin(model, output.text_vector, output.image_vector), atol=1e-5)


@torch.inference_mode()
def test_padded_regions_change_nothing(model: InterBert) -> None:
    batch = some_batch(2)
    texts = model.text_embedding(batch.words, None)
    images = model.image_embedding(batch.features, batch.locations, batch.confidence)
    padded = torch.cat([images, torch.randn(2, 3, images.shape[2])], 1)
    valid = torch.tensor([[True] * 4 + [False] * 3] * 2)
    assert torch.allclose(margins(model, texts, padded, valid), margins(model, texts, images), atol=1e-5)


@torch.inference_mode()
def test_the_first_position_alone_is_that_of_all(model: InterBert) -> None:
    batch = some_batch(3)
    whole, first = model(batch), model(batch, 1)
    assert first.text_states.shape == first.image_states.shape == (3, 1, model.config.hidden_size)
    for name in ("text_states", "image_states"):
        assert torch.allclose(getattr(first, name), getattr(whole, name)[:, :1], atol=1e-5)
    assert torch.allclose(first.image_vector, whole.image_vector, atol=1e-5)
