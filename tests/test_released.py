"""The authors' checkpoints: which tensor goes where at any sizes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bert_helpers import bert_tensors
from released_helpers import CONFIG, released_tensors, write_fixture
from torch import Tensor

from interbert.config import preset
from interbert.errors import InterbertError, UsageError
from interbert.weights.released import (
    HEADS_TO_OURS,
    RELEASED_TO_OURS,
    key_table,
    load_heads,
    read_released,
    released_config,
    save_heads,
)
from interbert.weights.tables import translated

PUBLISHED = {  # the fields of the release's own file, and their values
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 6,
    "type_vocab_size": 2,
    "vocab_size": 30522,
    "t_num_hidden_layers": 6,
    "v_feature_size": 2048,
    "v_target_size": 1601,
    "v_hidden_size": 768,
    "v_num_hidden_layers": 6,
    "v_num_attention_heads": 8,
    "v_intermediate_size": 3072,
    "v_attention_probs_dropout_prob": 0.1,
    "v_hidden_act": "gelu",
    "v_hidden_dropout_prob": 0.2,
    "v_initializer_range": 0.02,
    "pooling_method": "mul",
    "conv_layer": "normal_conv",
    "max_region_length": 36,
    "max_seq_length": 36,
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Writes a checkpoint and its configuration. changes: of the configuration; None takes a field away."""

    def put(tensors: Any = None, **changes: Any) -> tuple[Path, Path]:
        config = {name: value for name, value in (CONFIG | changes).items() if value is not None}
        (tmp_path / "config.json").write_text(json.dumps(config))
        torch.save(released_tensors() if tensors is None else tensors, tmp_path / "model.bin")
        return tmp_path / "model.bin", tmp_path / "config.json"

    return put


def test_every_tensor_of_the_release_has_one_place_and_every_place_of_ours_one_tensor(write: Any) -> None:
    model = read_released(*write()).model
    table, theirs = key_table(model.config), set(released_tensors()) - {"cls.predictions.decoder.weight"}
    assert {translated(name, table) for name in theirs} == set(model.state_dict())
    assert len(theirs) == len(model.state_dict())


def test_every_row_of_the_tables_is_used() -> None:
    theirs = released_tensors(answers=3)
    for row, _ in (*RELEASED_TO_OURS, *HEADS_TO_OURS):
        beginning = row.replace("{i}", "0").replace("{n+i}", str(CONFIG["num_hidden_layers"]))
        assert [name for name in theirs if name == beginning or name.startswith(f"{beginning}.")], row


def test_tensors_are_where_they_belong(write: Any) -> None:
    theirs, ours = released_tensors(), read_released(*write()).model.state_dict()
    for name, place in {
        "bert.encoder.layer.0.attention.self.key.weight": "interaction.layers.0.attention.key.weight",
        "bert.encoder.layer.1.intermediate.dense.bias": "text_stream.layers.0.expand.bias",
        "bert.encoder.layer.3.output.LayerNorm.weight": "text_stream.layers.2.norm.weight",
        "bert.encoder.v_layer.1.attention.output.LayerNorm.bias": "image_stream.layers.1.attention_norm.bias",
        "bert.v_pooler.dense.weight": "fusion.image.weight",
        "cls.imagePredictions.decoder.bias": "region_head.decoder.bias",
    }.items():
        assert torch.equal(theirs[name], ours[place]), name


def test_the_published_configuration_is_the_preset_released(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(PUBLISHED))
    read = released_config(path)
    assert read.model == preset("released")
    assert read.notes == (
        "not in the configuration, so as in the authors' code: bi_hidden_size 1024, fusion_method mul",
    )


def prefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("change", [prefixed, lambda tensors: {k: v.half() for k, v in tensors.items()}])
def test_a_prefix_and_half_precision_make_no_difference(write: Any, change: Any) -> None:
    wanted = read_released(*write()).model.state_dict()
    found = read_released(*write(change(released_tensors()))).model.state_dict()
    assert all(torch.allclose(tensor, found[name], atol=2e-3) for name, tensor in wanted.items())
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}


def test_old_names_of_norms_and_old_files_are_read(write: Any) -> None:
    wanted = read_released(*write()).model.state_dict()
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = released_tensors()
    for new, before in old.items():
        tensors = {name.replace(new, before): tensor for name, tensor in tensors.items()}
    file, config = write()
    torch.save(tensors, file, _use_new_zipfile_serialization=False)  # as torch wrote it until 2020
    found = read_released(file, config).model.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in wanted.items())


def test_the_heads_of_a_fine_tuned_model_are_kept_in_its_run(write: Any, tmp_path: Path) -> None:
    theirs = released_tensors(answers=5)
    heads = read_released(*write(theirs)).heads
    assert heads is not None
    save_heads(heads, tmp_path)
    loaded = load_heads(tmp_path)
    assert torch.equal(loaded.answer.weight, theirs["vil_prediction.weight"])
    assert torch.equal(loaded.word.bias, theirs["linguisic_logit.bias"])
    assert read_released(*write()).heads is None


def test_a_run_without_heads_says_so(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match=r"has no heads\.safetensors; wanted a run converted from a fine-tuned"):
        load_heads(tmp_path)


def test_all_that_does_not_fit_is_in_one_error(write: Any) -> None:
    tensors = released_tensors(answers=5)
    del tensors["bert.encoder.v_layer.0.output.dense.bias"], tensors["vil_logit.bias"]
    tensors |= {"bert.pooler.dense.bias": torch.zeros(2), "cls.predictions.bias": torch.zeros(7)}
    tensors["bert.t_pooler.dense.bias"] = torch.full((20,), torch.nan)
    with pytest.raises(InterbertError) as caught:
        read_released(*write(tensors))
    head, *problems = str(caught.value).splitlines()
    assert "does not fit the model that" in head
    assert sorted(problems) == [
        "  bert.t_pooler.dense.bias: got a number that is not finite",
        "  cls.predictions.bias: got shape (7,), wanted (37,)",
        "  missing: nothing fills fusion.text.bias",
        "  missing: nothing fills image_stream.layers.0.contract.bias",
        "  missing: nothing fills word_head.bias",
        "  unknown key bert.pooler.dense.bias",
    ]


def test_a_missing_head_of_a_fine_tuned_model_is_an_error(write: Any) -> None:
    tensors = released_tensors(answers=5)
    del tensors["vil_logit.bias"]
    with pytest.raises(InterbertError, match=r"nothing fills choice\.bias"):
        read_released(*write(tensors))


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_hidden_layers", 2), ("t_num_hidden_layers", 2), ("v_num_hidden_layers", 3), ("vocab_size", 38)]
    + [("intermediate_size", 41), ("bi_hidden_size", 21), ("v_feature_size", 9), ("max_position_embeddings", 15)],
)
def test_a_configuration_of_other_sizes_is_refused(write: Any, field: str, value: int) -> None:
    with pytest.raises(InterbertError, match=r"does not fit the model that '.*config\.json' describes"):
        read_released(*write(**{field: value}))


def test_a_decoder_of_its_own_is_refused(write: Any) -> None:
    tensors = released_tensors()
    tensors["cls.predictions.decoder.weight"] = tensors["cls.predictions.decoder.weight"] + 1
    with pytest.raises(InterbertError, match="in InterBERT they are one tensor"):
        read_released(*write(tensors))


def test_a_checkpoint_of_another_model_is_named(write: Any) -> None:
    with pytest.raises(InterbertError, match=r"is no InterBERT .* no bert\.v_embeddings.*interbert convert bert"):
        read_released(*write(bert_tensors(prefix="bert.", heads=True)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_act": "swish"}, "got hidden_act 'swish', wanted 'gelu'"),
        ({"v_hidden_act": "relu"}, "got v_hidden_act 'relu'"),
        ({"v_hidden_size": 12}, "got v_hidden_size 12 and hidden_size 24"),
        ({"fusion_method": "max"}, "fusion: got 'max', wanted one of mul, sum"),
        ({"with_gates": True}, "fields that are not known: with_gates"),
        ({"t_num_hidden_layers": None}, "lacks t_num_hidden_layers"),
        ({"vocab_size": 0}, "got vocabulary_size 0"),
        ({"num_attention_heads": 5}, "heads: got 5, which does not divide"),
        ({"predict_feature": "yes"}, "got predict_feature 'yes'"),
        ({"hidden_size": "wide", "v_hidden_size": "wide"}, "hidden_size: got 'wide'"),
    ],
)
def test_a_configuration_that_asks_for_something_else_is_refused(write: Any, changes: Any, said: str) -> None:
    with pytest.raises(InterbertError, match=said):
        read_released(*write(**changes))


def test_what_a_configuration_leaves_open_or_loses_is_told(write: Any) -> None:
    _, config = write(bi_hidden_size=None, v_attention_probs_dropout_prob=0.3, predict_feature=True)
    read = released_config(config)
    assert read.regresses_features
    assert [note.split(",")[0] for note in read.notes] == [
        "not in the configuration",
        "attention dropout of the image stream is 0.1 from here on",
        "the region head gives features (predict_feature)",
    ]


def test_files_that_are_not_there_or_no_json_are_named(write: Any, tmp_path: Path) -> None:
    file, config = write()
    with pytest.raises(UsageError, match="there is no file"):
        read_released(tmp_path / "none.bin", config)
    with pytest.raises(UsageError, match="--config: there is no file"):
        read_released(file, tmp_path / "none.json")
    config.write_text("[]")
    with pytest.raises(InterbertError, match="is no JSON object"):
        read_released(file, config)


def test_reading_leaves_torchs_generator_alone(tmp_path: Path) -> None:
    folder = write_fixture(tmp_path)
    before = torch.get_rng_state()
    read_released(folder / "model.bin", folder / "config.json")
    assert torch.equal(torch.get_rng_state(), before)
