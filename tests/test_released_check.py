"""Ours against an independent forward pass of the release, at sizes that all differ; and what is noticed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from released_helpers import CONFIG, random_inputs, write_fixture
from safetensors.torch import load_file, save_file

from interbert.errors import InterbertError
from interbert.pretraining.released_check import Comparison, Difference, compare
from interbert.weights.released import read_released


def compared(folder: Path, inputs: str = "inputs.safetensors") -> Comparison:
    released = read_released(folder / "model.bin", folder / "config.json")
    return compare(released, folder / inputs, folder / "outputs.safetensors")


@pytest.mark.parametrize("changes", [{}, {"fusion_method": "sum", "v_num_hidden_layers": 0}, {"predict_feature": True}])
def test_a_pretrained_checkpoint_gives_what_the_release_gives(tmp_path: Path, changes: dict[str, Any]) -> None:
    found = compared(write_fixture(tmp_path, CONFIG | changes))
    assert found.is_within
    assert found.largest("tensor") < 1e-5
    assert found.largest("loss") < 2e-6
    names = {(one.file, one.name) for one in found.differences}
    assert {("outputs.safetensors", "mlm_logits"), ("trace.safetensors", "single_stream.0")} <= names
    assert ("outputs.safetensors", "losses_fixed loss_masked_lm") in names
    gradients = [one for one in found.differences if one.kind == "gradient"]
    wanted = load_file(tmp_path / "grads.safetensors")
    assert len(gradients) == 2 * len(wanted)
    assert all(
        one.difference < 1e-4 * float(wanted[one.name]) + 1e-5 for one in gradients if one.file == "grads.safetensors"
    )


@pytest.mark.parametrize("fusion", ["mul", "sum"])
def test_a_fine_tuned_checkpoint_gives_what_the_release_gives(tmp_path: Path, fusion: str) -> None:
    found = compared(write_fixture(tmp_path, CONFIG | {"fusion_method": fusion}, answers=5))
    assert found.is_within
    assert found.largest("tensor") < 1e-5
    names = {one.name for one in found.differences}
    assert {"vl_prediction", "vl_logit", "vl_region_logit", "vl_text_logit", "vl_text_stream.2"} <= names


@pytest.mark.parametrize(
    ("field", "value", "first"),
    [("v_num_attention_heads", 2, "region_stream.0"), ("num_attention_heads", 4, "single_stream.0")],
)
def test_a_head_count_that_is_wrong_loads_and_is_noticed(tmp_path: Path, field: str, value: int, first: str) -> None:
    folder = write_fixture(tmp_path)
    (folder / "config.json").write_text(json.dumps(CONFIG | {field: value}))
    found = compared(folder)
    assert not found.is_within
    off = {one.name for one in found.differences if not one.is_within}
    assert first in off
    assert "embeddings_text" not in off
    assert any(line.startswith(f"  {first}") and line.endswith("above the limit") for line in found.lines())


def test_a_batch_without_masked_words_has_no_loss_of_words(tmp_path: Path) -> None:
    inputs = random_inputs()
    inputs["masked_lm_labels"] = torch.full_like(inputs["masked_lm_labels"], -1)
    folder = write_fixture(tmp_path, inputs=inputs)
    assert load_file(folder / "outputs.safetensors")["loss_masked_lm"].isnan()  # as the release has it
    found = compared(folder)
    assert found.is_within
    assert not [one for one in found.differences if one.difference != one.difference]


def test_values_in_padding_are_not_compared(tmp_path: Path) -> None:
    folder = write_fixture(tmp_path)
    outputs = load_file(folder / "outputs.safetensors")
    padding = load_file(folder / "inputs.safetensors")["attention_mask"] == 0
    outputs["mlm_logits"][padding] += 1
    save_file(outputs, folder / "outputs.safetensors")
    assert compared(folder).is_within
    outputs["mlm_logits"][~padding] += 1e-3
    save_file(outputs, folder / "outputs.safetensors")
    assert not compared(folder).is_within


def test_a_number_that_is_none_is_above_every_limit() -> None:
    one = Difference("f", "x", "tensor", float("nan"), 1e-4)
    assert not one.is_within
    assert not Comparison((one,), ()).is_within
    assert Comparison((replace(one, difference=1e-4),), ()).is_within


def test_what_was_not_compared_is_counted(tmp_path: Path) -> None:
    folder = write_fixture(tmp_path)
    outputs = load_file(folder / "outputs.safetensors") | {"vl_prediction": torch.zeros(4, 5)}
    save_file(outputs, folder / "outputs.safetensors")
    assert compared(folder).lines()[-1] == "1 not compared, of the other model: vl_prediction"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"something": torch.zeros(1)}, "'something' is nothing that this model gives"),
        ({"mlm_logits": torch.zeros(4, 9, 36)}, "they are of two models"),
    ],
)
def test_outputs_of_another_model_are_refused(tmp_path: Path, change: dict[str, torch.Tensor], said: str) -> None:
    folder = write_fixture(tmp_path)
    save_file(load_file(folder / "outputs.safetensors") | change, folder / "outputs.safetensors")
    with pytest.raises(InterbertError, match=said):
        compared(folder)


def test_outputs_of_the_other_kind_of_checkpoint_are_refused(tmp_path: Path) -> None:
    folder = write_fixture(tmp_path, answers=5)
    for path in folder.glob("*.safetensors"):
        if path.stem in ("outputs", "trace"):
            save_file({name.removeprefix("vl_"): tensor for name, tensor in load_file(path).items()}, path)
    with pytest.raises(InterbertError, match="holds nothing that this model gives"):
        compared(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"region_features": torch.zeros(4, 7, 9)}, "is of another model: it has regions of 9 numbers"),
        ({"input_ids": torch.full((4, 9), 37)}, "word ids up to 37; wanted 10 numbers and ids below 37"),
        ({"region_mask": torch.zeros(4)}, r"got shape \(4,\) for region_mask, wanted 2 dimensions"),
        ({"token_type_ids": None}, "got none for token_type_ids"),
        ({"itm_labels": None}, "the batch has no labels"),
    ],
)
def test_a_batch_of_another_model_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = write_fixture(tmp_path)
    inputs = load_file(folder / "inputs.safetensors") | change
    save_file({name: tensor for name, tensor in inputs.items() if tensor is not None}, folder / "inputs.safetensors")
    with pytest.raises(InterbertError, match=said):
        compared(folder)


def test_gradients_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = write_fixture(tmp_path)
    save_file({"bert.encoder.layer.9.output.dense.bias": torch.ones(())}, folder / "grads.safetensors")
    with pytest.raises(InterbertError, match="is no parameter of this model"):
        compared(folder)
