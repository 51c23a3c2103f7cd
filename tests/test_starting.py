"""What a finetuning begins with: a run, or a new model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from finetuning_helpers import DRAWN, drawn_corpus, tiny_run

from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError, UsageError
from interbert.model.interbert import InterBert
from interbert.tasks.starting import start_from
from interbert.vision.provenance import NO_PICTURES

NOWHERE = Path("nowhere")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return drawn_corpus(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "run", corpus)


def test_a_run_is_taken_as_it_is(run: Path) -> None:
    start = start_from(str(run), 0, NOWHERE, None)
    theirs = InterBert.from_pretrained(run)
    assert all(map(torch.equal, start.model.state_dict().values(), theirs.state_dict().values()))
    assert (start.model.config, start.extractor) == (theirs.config, DRAWN)


def test_equal_weights_have_one_identity_wherever_they_are(run: Path, corpus: Corpus, tmp_path: Path) -> None:
    same, other = tiny_run(tmp_path / "same", corpus), tiny_run(tmp_path / "other", corpus, seed=3)
    one, two, three = (start_from(str(folder), 0, NOWHERE, None).identity for folder in (run, same, other))
    assert one == two != three


def test_dropout_may_be_another_than_in_pretraining(run: Path) -> None:
    config = start_from(str(run), 0, NOWHERE, None, dropout=0.3).model.config
    assert (config.dropout, config.attention_dropout, config.image_dropout) == (0.3, 0.3, None)


def test_a_new_model_has_the_sizes_of_the_data(corpus: Corpus) -> None:
    start = start_from("new:tiny,interaction_layers=1", 0, corpus.folder, None)
    config = start.model.config
    assert (config.interaction_layers, config.region_feature_size, config.region_classes) == (1, 8, 4)
    assert config.vocabulary_size == corpus.tokenizer().vocabulary_size
    assert start.extractor == DRAWN


@pytest.mark.parametrize("by_store", [False, True])
def test_a_new_model_standardises_the_features_of_the_data(corpus: Corpus, by_store: bool) -> None:
    start = start_from("new:tiny", 0, corpus.folder, corpus.store_folder if by_store else None)
    embedding = start.model.image_embedding
    pictures = range(corpus.images) if by_store else np.unique(corpus.images_of[corpus.split("train")])
    seen = np.concatenate([corpus.regions(int(image)).features for image in pictures]).astype(np.float32)
    assert embedding.feature_mean is not None
    np.testing.assert_allclose(embedding.feature_mean.numpy(), seen.mean(0), atol=1e-5)


def test_a_new_model_depends_on_the_seed_alone(corpus: Corpus) -> None:
    one, same, other = (start_from("new:tiny", seed, corpus.folder, None).model for seed in (1, 1, 2))
    assert torch.equal(one.match_head.weight, same.match_head.weight)
    assert not torch.equal(one.match_head.weight, other.match_head.weight)


def test_a_new_model_may_be_a_bert_that_reads_texts_alone() -> None:
    start = start_from("new:small,independence_layers=0+bert:minilm", 0, NOWHERE, None)
    assert start.extractor.name == NO_PICTURES
    assert start.model.config.independence_layers == 0
    assert start.model.config.hidden_size == 384
    words = start.model.text_embedding.words.weight.detach()
    assert abs(float(words.std()) - 0.02) > 0.005  # those of a BERT, not N(0, 0.02)


@pytest.mark.parametrize("name", ["no-such-run", "new:tiny+minilm"])
def test_what_is_neither_a_run_nor_new_is_refused(name: str, corpus: Corpus) -> None:
    with pytest.raises(UsageError, match=f"--from: got '{name.replace('+', '.')}', wanted"):
        start_from(name, 0, corpus.folder, None)


def test_a_new_model_without_a_vocabulary_says_where_to_take_one() -> None:
    with pytest.raises(InterbertError, match="new:tiny.bert:FOLDER_OR_ID"):
        start_from("new:tiny", 0, NOWHERE, None)


def test_a_preset_that_does_not_exist_is_named(corpus: Corpus) -> None:
    with pytest.raises(UsageError, match="there is no preset 'tinny'"):
        start_from("new:tinny", 0, corpus.folder, None)
