"""The model: sizes, padding, absent sides, gradients, saving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from interbert.batch import Batch
from interbert.config import MATCH_CLASS, PRESETS, ModelConfig, preset
from interbert.errors import InterbertError, UsageError
from interbert.model.interbert import InterBert

TINY = replace(preset("tiny"), vocabulary_size=50, region_feature_size=8, region_classes=5)


def a_batch(pairs: int = 4, words: int = 7, regions: int = 6, seed: int = 0) -> Batch:
    """Pairs of unlike lengths with random contents."""
    g = torch.Generator().manual_seed(seed)
    text_lengths = torch.randint(3, words + 1, (pairs, 1), generator=g)
    region_counts = torch.randint(2, regions + 1, (pairs, 1), generator=g)
    return Batch(
        ids=[str(i) for i in range(pairs)],
        words=torch.randint(1, 50, (pairs, words), generator=g),
        words_valid=torch.arange(words)[None] < text_lengths,
        features=torch.randn(pairs, regions, 8, generator=g),
        locations=torch.rand(pairs, regions, 5, generator=g),
        confidence=torch.rand(pairs, regions, generator=g),
        regions_valid=torch.arange(regions)[None] < region_counts,
    )


@pytest.fixture
def model() -> InterBert:
    torch.manual_seed(0)
    return InterBert(TINY).eval()


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def meta(name: str) -> InterBert:
    with torch.device("meta"):
        return InterBert(preset(name))


def test_a_layer_of_base_size_has_7087872_parameters() -> None:
    assert parameters(meta("paper").interaction.layers[0]) == 7_087_872


def test_the_released_preset_has_the_releases_sizes() -> None:
    model = meta("released")
    assert parameters(model.text_embedding) == 23_837_184
    assert parameters(model.image_embedding) == 1_579_776
    assert parameters(model) == 157_021_565
    assert len(model.interaction.layers) == 6


def test_the_paper_preset_has_199_million_parameters_and_173_without_text_embedding_and_heads() -> None:
    model = meta("paper")
    heads = parameters(model.word_head) + parameters(model.region_head) + parameters(model.match_head)
    assert parameters(model) == 199_452_029
    assert parameters(model) - parameters(model.text_embedding) - heads == 173_263_616


def test_the_single_stream_baseline_is_the_same_code_without_independence_layers() -> None:
    model = InterBert(replace(TINY, independence_layers=0))
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert not {"text_stream", "image_stream"} & names
    assert model(a_batch()).text_states.shape == (4, 7, 64)


def test_padding_changes_nothing(model: InterBert) -> None:
    batch = a_batch()
    output = model(batch)
    for row in range(4):
        alone = model(batch.select(torch.tensor([row])))
        assert (alone.text_vector - output.text_vector[row]).abs().max() < 1e-6
        assert (alone.image_vector - output.image_vector[row]).abs().max() < 1e-6
        words = int(batch.words_valid[row].sum())  # type: ignore[index]
        assert (alone.text_states[0] - output.text_states[row, :words]).abs().max() < 1e-6


def test_the_contents_of_padding_change_nothing(model: InterBert) -> None:
    batch = a_batch()
    before = model(batch).text_vector
    assert batch.features is not None
    assert batch.regions_valid is not None
    batch.features[~batch.regions_valid] = 99.0
    assert (model(batch).text_vector - before).abs().max() < 1e-6


def test_the_order_of_a_batch_changes_nothing(model: InterBert) -> None:
    batch, order = a_batch(), torch.tensor([2, 0, 3, 1])
    assert (model(batch.select(order)).image_vector - model(batch).image_vector[order]).abs().max() < 1e-6


def test_an_absent_side_is_really_absent(model: InterBert) -> None:
    batch = a_batch()
    text, image = model(batch.text_alone()), model(batch.image_alone())
    assert text.image_states is None
    assert text.image_vector is None
    assert image.text_states is None
    assert batch.features is not None
    batch.features += 1.0
    assert torch.equal(model(batch.text_alone()).text_vector, text.text_vector)
    assert not torch.equal(model(batch).text_vector, text.text_vector)


def test_a_batch_without_any_side_is_refused(model: InterBert) -> None:
    with pytest.raises(ValueError, match="at least one side"):
        model(a_batch().text_alone().image_alone())


def test_both_streams_and_every_embedding_have_a_gradient(model: InterBert) -> None:
    output = model(a_batch())
    model.match_logits(output.text_vector, output.image_vector)[:, 0].sum().backward()
    without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    allowed = ("word_head", "region_head", "text_embedding.token_types")
    keys = {n for n in without if n.endswith("attention.key.bias")}  # softmax does not see them
    assert {n for n in without - keys if not n.startswith(allowed)} == set()


def test_a_layer_computed_by_hand() -> None:
    torch.manual_seed(3)
    sizes = replace(TINY, hidden_size=4, heads=2, feed_forward_size=6)
    layer = InterBert(sizes).eval().interaction.layers[0]
    x = torch.randn(1, 3, 4)
    query, key, value = ((p(x)[0]) for p in (layer.attention.query, layer.attention.key, layer.attention.value))
    mixed = torch.zeros(3, 4)
    for head in (slice(0, 2), slice(2, 4)):
        weights = torch.softmax(query[:, head] @ key[:, head].T / 2**0.5, dim=-1)
        mixed[:, head] = weights @ value[:, head]

    def norm(states: torch.Tensor) -> torch.Tensor:
        centred = states - states.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-12).sqrt()

    inner = norm(x[0] + layer.attention.output(mixed))
    expanded = layer.expand(inner)
    gelu = 0.5 * expanded * (1 + torch.erf(expanded / 2**0.5))
    wanted = norm(inner + layer.contract(gelu))
    assert (layer(x, torch.ones(1, 1, 1, 3, dtype=torch.bool))[0] - wanted).abs().max() < 1e-5


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for on in (False, True):
        torch.manual_seed(0)
        model = InterBert(replace(TINY, gradient_checkpointing=on, dropout=0.0, attention_dropout=0.0)).train()
        model(a_batch()).text_states.sum().backward()
        gradients.append(model.interaction.layers[0].attention.query.weight.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


def test_the_score_is_the_probability_of_the_match_class(model: InterBert) -> None:
    output = model(a_batch())
    logits = model.match_logits(output.text_vector, output.image_vector)
    wanted = logits.softmax(-1)[:, MATCH_CLASS]
    assert torch.equal(model.match_probability(output.text_vector, output.image_vector), wanted)


@pytest.mark.parametrize("fusion", ["mul", "sum"])
def test_the_margin_of_vectors_read_alone_is_the_match_heads_own(fusion: str) -> None:
    model = InterBert(replace(TINY, fusion=fusion)).eval()  # type: ignore[arg-type]
    texts, images = torch.rand(3, 64), torch.rand(2, 64)
    margins = model.margins_alone(texts, images)
    logits = model.match_logits(texts[2], images[1])
    assert (margins[2, 1] - (logits[MATCH_CLASS] - logits[1 - MATCH_CLASS])).abs() < 1e-5


def test_confidence_is_part_of_the_region_embedding(model: InterBert) -> None:
    batch = a_batch()
    before = model(batch).image_vector
    assert batch.confidence is not None
    batch.confidence = batch.confidence * 0.5
    assert (model(batch).image_vector - before).abs().max() > 1e-6


def test_standardised_features_have_mean_0_and_deviation_1(model: InterBert) -> None:
    sample = torch.randn(500, 8) * torch.tensor([0.01, 1, 5, 1, 1, 1, 1, 100]) + 3
    embedding = model.image_embedding
    embedding.standardise(sample)
    assert embedding.feature_mean is not None
    assert embedding.feature_scale is not None
    seen = (sample - embedding.feature_mean) * embedding.feature_scale
    assert seen.mean(0).abs().max() < 1e-3
    assert (seen.std(0) - 1).abs().max() < 1e-3


def test_a_saved_model_comes_back_equal_with_its_configuration(model: InterBert, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    again = InterBert.from_pretrained(tmp_path)
    assert again.config == model.config
    assert torch.equal(again(a_batch()).text_vector, model(a_batch()).text_vector)


def test_the_word_decoder_is_saved_once(model: InterBert, tmp_path: Path) -> None:
    from safetensors import safe_open

    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        shapes = [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    assert shapes.count((50, 64)) == 1


def test_a_folder_without_a_model_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match=r"has no config\.json"):
        InterBert.from_pretrained(tmp_path)


def test_weights_of_another_size_are_refused(model: InterBert, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"fusion_size": 64', '"fusion_size": 32'))
    with pytest.raises(InterbertError, match="does not hold this model's weights"):
        InterBert.from_pretrained(tmp_path)


def test_every_preset_is_a_configuration_that_survives_json() -> None:
    for config in PRESETS.values():
        assert ModelConfig.from_json(config.to_json()) == config


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(UsageError, match="does not divide"):
        replace(TINY, heads=5)
