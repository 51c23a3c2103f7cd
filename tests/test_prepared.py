"""Models made ready to score, and padding left out: the same numbers as the plain path, over lengths and shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_interbert import a_batch

from interbert.batch import Batch
from interbert.config import preset
from interbert.model.interbert import InterBert
from interbert.model.prepared import can_prepare, prepared
from interbert.training.precision import fast_matmul

CONFIG = replace(preset("tiny"), hidden_size=96, heads=6, vocabulary_size=50, region_feature_size=8, region_classes=5)
STREAMS = ("interaction", "text_stream", "image_stream")


def made(seed: int, **changes: object) -> InterBert:
    """Weights large enough that attention is not even and scores differ."""
    torch.manual_seed(seed)
    return InterBert(replace(CONFIG, initializer_range=0.1, **changes)).eval()  # type: ignore[arg-type]


def margins(model: InterBert, batch: Batch, *, packs: bool = True, positions: int | None = 1) -> torch.Tensor:
    for name in STREAMS:
        model.get_submodule(name).packs = packs  # type: ignore[assignment]
    with torch.inference_mode(), fast_matmul(always=True):
        output = model(batch, positions)
        assert output.text_vector is not None
        assert output.image_vector is not None
        logits = model.match_logits(output.text_vector, output.image_vector)
    return logits[:, 0] - logits[:, 1]


@pytest.mark.parametrize("seed", range(8))
def test_without_padding_the_numbers_are_those_of_the_padded_path(seed: int) -> None:
    model, batch = made(seed), a_batch(pairs=1 + seed, words=4 + 3 * seed, regions=3 + 5 * seed, seed=seed)
    for positions in (None, 1, 2):
        plain = margins(model, batch, packs=False, positions=positions)
        assert (margins(model, batch, positions=positions) - plain).abs().max() < 1e-5


@pytest.mark.parametrize("wanted", [None, 1, 3])
def test_every_state_that_is_no_padding_is_the_padded_paths(wanted: int | None) -> None:
    stream, batch = made(0).interaction, a_batch(pairs=6, words=9)
    states, valid = torch.randn(6, 9, 96), batch.words_valid
    assert valid is not None
    packed = stream(states, valid, wanted)
    stream.packs = False
    assert (packed - stream(states, valid, wanted))[valid[:, :wanted]].abs().max() < 1e-5
    assert not packed[~valid[:, :wanted]].any()


def test_gradients_are_those_of_the_padded_path() -> None:
    found = []
    for packs in (True, False):
        model = made(1, dropout=0.0, attention_dropout=0.0).train()
        for name in STREAMS:
            model.get_submodule(name).packs = packs  # type: ignore[assignment]
        output = model(a_batch(pairs=5))
        assert output.text_vector is not None
        assert output.image_vector is not None
        model.match_logits(output.text_vector, output.image_vector)[:, 0].sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-5)


def test_a_side_alone_and_a_sequence_of_nothing_but_padding_are_read_too() -> None:
    model, batch = made(2), a_batch(pairs=3)
    assert batch.words_valid is not None
    batch.words_valid[1] = False
    output = model(batch.text_alone())
    assert torch.isfinite(output.text_vector).all()


@pytest.mark.skipif(not can_prepare("fp32"), reason="no oneDNN")
@pytest.mark.parametrize("seed", range(4))
def test_a_model_made_ready_in_float32_scores_the_same(seed: int) -> None:
    model, batch = made(seed), a_batch(pairs=3 + seed, words=5 + 4 * seed, regions=9, seed=seed)
    assert (margins(prepared(model, "fp32"), batch) - margins(model, batch, packs=False)).abs().max() < 1e-5


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precisions_keep_the_order(precision: str) -> None:
    if not can_prepare(precision):
        pytest.skip(f"this CPU has no {precision} products")
    model, batch = made(3), a_batch(pairs=64, seed=3)
    exact, rounded = margins(model, batch), margins(prepared(model, precision), batch)
    ranks = torch.stack([exact.argsort().argsort(), rounded.argsort().argsort()]).double()
    assert torch.corrcoef(ranks)[0, 1] > 0.97
    assert rounded.dtype == torch.float32


def test_making_ready_leaves_the_model_as_it_was() -> None:
    model, batch = made(4), a_batch()
    before, names = margins(model, batch), list(model.state_dict())
    if can_prepare("fp32"):
        prepared(model, "fp32")
    assert torch.equal(margins(model, batch), before)
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_weight_that_is_no_number_is_not_hidden(precision: str) -> None:
    if not can_prepare(precision):
        pytest.skip(f"this CPU has no {precision} products")
    model = made(5)
    with torch.no_grad():
        model.text_embedding.norm.weight[3] = torch.nan
    assert margins(prepared(model, precision), a_batch()).isnan().all()
