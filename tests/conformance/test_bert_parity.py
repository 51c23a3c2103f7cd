"""With regions absent and independence off, InterBERT is BERT: hidden states against transformers' own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from interbert.batch import make_batch
from interbert.config import preset
from interbert.model.interbert import InterBert
from interbert.weights.bert import bert_config, find_bert, start_from_bert

TEXTS = [[101, 2048, 6077, 2652, 102], [101, 1037, 2417, 6007, 2006, 1996, 2395, 102], [101, 102]]


@pytest.fixture(params=["shipped", "random, safetensors", "random, bin"])
def bert_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "shipped":
        return find_bert("minilm")
    sizes = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    torch.manual_seed(1)
    bert = transformers.BertModel(transformers.BertConfig(**sizes, initializer_range=0.2))
    bert.save_pretrained(tmp_path)
    if request.param == "random, bin":
        torch.save(bert.state_dict(), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    return tmp_path


def test_interaction_layers_equal_bert(bert_folder: Path) -> None:
    batch = make_batch(list("abc"), TEXTS, None)
    assert batch.words is not None
    assert batch.words_valid is not None
    loaded = transformers.BertConfig.from_pretrained(bert_folder)
    theirs = transformers.BertModel(loaded, add_pooling_layer=False).eval()
    weights = bert_folder / "model.safetensors"
    if weights.is_file():
        theirs = transformers.BertModel.from_pretrained(bert_folder, add_pooling_layer=False).eval()
    else:
        state = torch.load(bert_folder / "pytorch_model.bin", weights_only=True)
        theirs.load_state_dict({k: v for k, v in state.items() if not k.startswith("pooler")})
    wanted = theirs(batch.words, attention_mask=batch.words_valid.long()).last_hidden_state
    base = replace(preset("small"), independence_layers=0, interaction_layers=loaded.num_hidden_layers)
    ours = InterBert(bert_config(bert_folder, base)).eval()
    start_from_bert(ours, bert_folder)
    states = ours(batch).text_states
    assert states is not None
    assert (states - wanted)[batch.words_valid].abs().max() < 1e-5
