"""The BERT of Table 5: without independence layers, the task is transformers' sequence classification to the number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from pretraining_helpers import PIECES, random_tokenizer
from torch import Generator

from interbert.config import preset
from interbert.model.interbert import InterBert
from interbert.tasks.glue import Glue, GlueOptions, Rte, SentenceHead, Sst2, outputs_of
from interbert.tasks.task import Given, TaskModel
from interbert.text.tokenizer import SPECIAL
from interbert.vision.provenance import ExtractorInfo
from interbert.weights.bert import bert_config, start_from_bert

FIRST = ("two big dogs play on the old road", "a cat", "the red tree", "cats on a big old tree play two")
SECOND = ("a dog plays", "two red cats on the road playing", "tree", "big old red dogs play on the road")
MAX_TOKENS = (
    13  # some pairs are cut; at even numbers transformers gives the odd piece to the second text, BERT to the first
)


@pytest.fixture
def theirs(tmp_path: Path) -> transformers.BertForSequenceClassification:
    """A random BERT with a head of two classes, saved as `tmp_path` / "bert" with its vocabulary."""
    torch.manual_seed(2)
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL) + len(PIECES), hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=32, initializer_range=0.2, num_labels=2,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config).eval()
    model.bert.save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join([*SPECIAL, *PIECES]) + "\n")
    return model


def ours(folder: Path, head: SentenceHead, theirs: transformers.BertForSequenceClassification) -> TaskModel:
    base = replace(preset("tiny"), independence_layers=0, interaction_layers=2)
    backbone = InterBert(bert_config(folder, base))
    start_from_bert(backbone, folder)
    head.pool.load_state_dict(theirs.bert.pooler.dense.state_dict())
    head.decoder.load_state_dict(theirs.classifier.state_dict())
    return TaskModel(backbone, head).eval()


@pytest.mark.parametrize("kind", [Sst2, Rte])
def test_logits_are_those_of_berts_sequence_classification(
    theirs: transformers.BertForSequenceClassification, kind: type[Glue], tmp_path: Path
) -> None:
    texts = [FIRST, SECOND][: len(kind.kind.texts)]
    rows = ["\t".join([*kind.kind.texts, "label"])]
    rows += ["\t".join([*pair, (kind.kind.labels or ())[0]]) for pair in zip(*texts, strict=True)]
    (tmp_path / "train.tsv").write_text("\n".join(rows) + "\n")
    config = bert_config(tmp_path / "bert", preset("tiny"))
    given = Given("glue", random_tokenizer(), ExtractorInfo("none", config.region_feature_size), config)
    task = kind.open(tmp_path, GlueOptions(max_tokens=MAX_TOKENS), given)
    head = task.head(config)
    assert isinstance(head, SentenceHead)
    batch = task.make(np.arange(4), [Generator()] * 4, 0)

    cutter = transformers.BertTokenizer.from_pretrained(tmp_path / "bert")
    cut = cutter(
        *map(list, texts), truncation="longest_first", max_length=MAX_TOKENS, padding=True, return_tensors="pt"
    )
    assert batch.words is not None
    assert batch.words.tolist() == cut["input_ids"].tolist()
    with torch.no_grad():
        wanted, found = theirs(**cut).logits, outputs_of(ours(tmp_path / "bert", head, theirs), batch)
    assert (found - wanted).abs().max() < 1e-5
