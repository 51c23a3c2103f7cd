"""The losses of pretraining: their size at the start, conditional masking, empty sets."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from interbert.batch import Batch
from interbert.config import preset
from interbert.errors import InterbertError
from interbert.model.interbert import InterBert
from interbert.pretraining.objectives import alone_loss, counts, losses, with_late_negatives
from interbert.pretraining.stages import Stage

WORDS, CLASSES = 30522, 1601
STAGE = Stage("msm", "mrm")


@pytest.fixture
def model() -> InterBert:
    torch.manual_seed(0)
    small = replace(preset("tiny"), region_feature_size=8, region_classes=CLASSES, region_standardised=False)
    return InterBert(small).eval()


@pytest.fixture
def batch() -> Batch:
    g = torch.Generator().manual_seed(0)
    pairs, words, regions = 8, 12, 9
    batch = Batch(ids=[str(i) for i in range(pairs)], words=torch.randint(1000, WORDS, (pairs, words), generator=g))
    batch.words_valid = torch.ones(pairs, words, dtype=torch.bool)
    batch.features, batch.locations = (
        torch.rand(pairs, regions, 8, generator=g),
        torch.rand(pairs, regions, 5, generator=g),
    )
    batch.confidence = torch.rand(pairs, regions, generator=g)
    batch.regions_valid = torch.ones(pairs, regions, dtype=torch.bool)
    batch.word_targets = torch.randint(WORDS, (pairs, words), generator=g)
    batch.masked_words = torch.rand(pairs, words, generator=g) < 0.5
    batch.region_targets = torch.randint(CLASSES, (pairs, regions), generator=g)
    batch.masked_regions = torch.rand(pairs, regions, generator=g) < 0.5
    batch.is_match = torch.arange(pairs) < pairs // 2
    batch.images, batch.belongs = torch.arange(pairs), torch.eye(pairs, dtype=torch.bool)
    return batch


def means(model: InterBert, batch: Batch, stage: Stage = STAGE) -> dict[str, float]:
    divisors = counts(batch, stage)
    return {name: float(loss.detach()) / divisors[name] for name, loss in losses(model, batch, stage).items()}


def test_losses_at_the_start_are_those_of_guessing(model: InterBert, batch: Batch) -> None:
    found = means(model, batch)
    assert 10.3 < found["words"] < 10.7  # ln 30522 = 10.33
    assert abs(found["regions"] - math.log(CLASSES)) < 0.1  # 7.38
    assert abs(found["matching"] - math.log(2)) < 0.02  # 0.693


def test_a_negative_pair_has_no_masking_loss(model: InterBert, batch: Batch) -> None:
    assert batch.is_match is not None
    batch.is_match[:] = False
    found = {name: float(loss.detach()) for name, loss in losses(model, batch, STAGE).items()}
    assert found["words"] == 0
    assert found["regions"] == 0
    assert found["matching"] > 0


def test_the_words_of_a_negative_pair_do_not_change_the_word_loss(model: InterBert, batch: Batch) -> None:
    before = losses(model, batch, STAGE)["words"]
    assert batch.word_targets is not None
    batch.word_targets[4:] = 7
    assert torch.equal(losses(model, batch, STAGE)["words"], before)


def test_an_empty_set_costs_nothing_and_leaves_finite_gradients(model: InterBert, batch: Batch) -> None:
    assert batch.masked_words is not None
    batch.masked_words[:] = False
    found = losses(model, batch, STAGE)
    assert float(found["words"].detach()) == 0
    sum(found.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert model.word_head.bias.grad is not None


def test_the_soft_region_loss_is_0_where_the_model_says_what_the_detector_said(model: InterBert, batch: Batch) -> None:
    output = model(batch)
    batch.region_targets = model.region_logits(output.image_states).softmax(-1).detach()
    assert abs(means(model, batch)["regions"]) < 1e-4


def test_a_loss_is_the_same_in_one_batch_as_in_two(model: InterBert, batch: Batch) -> None:
    whole = losses(model, batch, STAGE)
    halves = [losses(model, batch.select(torch.arange(8)[part]), STAGE) for part in (slice(0, 4), slice(4, 8))]
    for name, loss in whole.items():
        assert torch.allclose(loss, halves[0][name] + halves[1][name], rtol=1e-5)


def test_the_contrast_of_guessing_is_the_logarithm_of_the_pairs() -> None:
    assert abs(float(alone_loss(torch.zeros(8, 8), torch.eye(8, dtype=torch.bool))) / 8 - math.log(8)) < 1e-5


def test_texts_of_one_picture_are_all_right_for_it() -> None:
    own = torch.ones(3, 3, dtype=torch.bool)
    assert float(alone_loss(torch.randn(3, 3), own)) == 0


def test_late_negatives_get_another_picture_and_matches_keep_theirs(batch: Batch) -> None:
    assert batch.images is not None
    torch.manual_seed(0)
    margins = torch.zeros(8, 8)
    margins[:, 0] = 50.0  # picture 0 fits every text best
    drawn = with_late_negatives(batch, margins, torch.eye(8, dtype=torch.bool), hard_share=1.0)
    assert drawn.images is not None
    assert drawn.images.tolist() == [0, 1, 2, 3, 0, 0, 0, 0]


def test_a_batch_of_one_picture_has_no_late_negative_and_says_so(batch: Batch) -> None:
    with pytest.raises(InterbertError, match="belongs to all"):
        with_late_negatives(batch, torch.zeros(8, 8), torch.ones(8, 8, dtype=torch.bool), hard_share=0.5)


def test_alone_trains_without_reading_both_sides_together(model: InterBert, batch: Batch) -> None:
    stage = Stage("none", "none", matching="alone")
    assert set(losses(model, batch, stage)) == set(counts(batch, stage)) == {"alone"}
