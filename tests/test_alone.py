"""Vectors read alone: the fused ones, and with projections a correction that begins at nothing and leaves the score."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pretraining_helpers import EXTRACTOR, random_regions
from task_helpers import CONFIG, TOKENIZER
from torch import Tensor

from interbert.batch import Batch, make_batch
from interbert.model.alone import alone_query, image_alone, text_alone, with_projections, without_projections
from interbert.model.interbert import InterBert
from interbert.scoring.scorer import Scorer


@pytest.fixture(params=["mul", "sum"])
def model(request: pytest.FixtureRequest) -> InterBert:
    torch.manual_seed(0)
    return InterBert(replace(CONFIG, initializer_range=0.3, fusion=request.param)).eval()


@pytest.fixture
def batch() -> Batch:
    import numpy as np

    random = np.random.default_rng(0)
    words = [TOKENIZER.encode(text, 24) for text in ("two red dogs", "a cat", "the old tree on the road")]
    return make_batch(["a", "b", "c"], words, [random_regions(random, count) for count in (3, 6, 4)])


def alone(model: InterBert, batch: Batch) -> Tensor:
    return model.margins_alone(text_alone(model, batch), image_alone(model, batch))


def with_trained(model: InterBert) -> InterBert:
    made = with_projections(model)
    assert made.alone is not None
    torch.manual_seed(1)
    for parameter in made.alone.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


@torch.inference_mode()
def test_without_projections_they_are_the_fused_vectors(model: InterBert, batch: Batch) -> None:
    vector = model(batch.text_alone()).text_vector
    torch.testing.assert_close(text_alone(model, batch), vector)


@torch.inference_mode()
def test_new_projections_leave_the_order_of_pictures(model: InterBert, batch: Batch) -> None:
    before, after = alone(model, batch), alone(with_projections(model), batch)
    torch.testing.assert_close(before - before[:, :1], after - after[:, :1], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_projections_do_not_change_the_interaction_score(model: InterBert, batch: Batch) -> None:
    made = with_trained(model)
    assert not torch.allclose(alone(model, batch), alone(made, batch), atol=0.1)
    before, after = model(batch), made(batch)
    scores = [of.match_probability(out.text_vector, out.image_vector) for of, out in ((model, before), (made, after))]
    assert float((scores[0] - scores[1]).abs().max()) <= 1e-6
    torch.testing.assert_close(alone(without_projections(made), batch), alone(model, batch))


@torch.inference_mode()
def test_padding_changes_no_vector(model: InterBert, batch: Batch) -> None:
    made = with_trained(model)
    for at in range(3):
        one = batch.select(torch.tensor([at]))
        torch.testing.assert_close(text_alone(made, one)[0], text_alone(made, batch)[at], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(image_alone(made, one)[0], image_alone(made, batch)[at], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_the_scorer_and_the_query_of_a_search_use_the_projections(model: InterBert, batch: Batch) -> None:
    made = with_trained(model)
    scorer = Scorer(made, TOKENIZER, EXTRACTOR, device="cpu")
    (vector,) = scorer.encode_text(["two red dogs"])
    torch.testing.assert_close(torch.from_numpy(vector), text_alone(made, batch)[0], atol=1e-5, rtol=1e-4)
    query = alone_query(made, torch.from_numpy(vector))
    found = image_alone(made, batch) @ query - alone(made, batch)[0]
    assert float(found.max() - found.min()) < 1e-3
