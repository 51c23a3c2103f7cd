"""What the model card of a run says: its data, recipe, results and licence, and nothing of this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from pretraining_helpers import EXTRACTOR, few_steps, random_corpus

from interbert.corpus.corpus import Corpus
from interbert.model.interbert import InterBert
from interbert.model.pretrained import OWN_CARD
from interbert.pretraining.card import about, extractor_sentence, shown_name
from interbert.pretraining.run import pretrain
from interbert.training.loop import Summary

SUMMARY = Summary(4, 32, 1.5, {}, {"matching_accuracy": 0.75}, None)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return random_corpus(tmp_path_factory.mktemp("corpus"))


def test_the_card_of_a_run_has_data_recipe_results_licence_and_citation(corpus: Corpus, tmp_path: Path) -> None:
    pretrain([corpus.folder], tmp_path / "run", few_steps(), progress=False, licence="cc-by-4.0")
    card = ModelCard.load(tmp_path / "run" / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert (card.data.library_name, card.data.pipeline_tag) == ("interbert", "text-ranking")
    for said in (
        f"| corpus | {corpus.description['source']} | 24 | 48 | 12 |",
        "Regions by the extractor `random` (8 numbers each, 5 classes)",
        "Started from random weights; 4 steps, 32 pairs",
        "learning_rate = 0.001",
        "| matching accuracy | ",
        "## Intended use",
        "@inproceedings{lin2020interbert",
    ):
        assert said in card.content, said
    assert str(tmp_path) not in card.content
    assert str(corpus.folder.parent) not in card.content


def test_a_run_goes_on_with_the_same_card(corpus: Corpus, tmp_path: Path) -> None:
    pretrain([corpus.folder], tmp_path, few_steps(), progress=False)
    before = (tmp_path / "README.md").read_bytes()
    pretrain([corpus.folder], tmp_path, few_steps(), progress=False)
    assert (tmp_path / "README.md").read_bytes() == before


def test_a_card_that_was_made_ones_own_is_kept_and_travels(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "README.md").write_text("my words")
    pretrain([corpus.folder], out, few_steps(), progress=False)
    assert (out / "README.md").read_text() == "my words"
    InterBert.from_pretrained(out).save_pretrained(tmp_path / "copy")
    assert (tmp_path / "copy" / "README.md").read_text() == "my words"


def test_a_model_that_nobody_described_says_so(tmp_path: Path) -> None:
    InterBert(few_steps().model).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "license: unknown" in card
    assert "Not known to whoever saved this model." in card
    assert "Not stated. The training data's own terms apply" in card
    assert OWN_CARD in card


def test_places_on_this_machine_are_left_out(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert shown_name(str(tmp_path / "mine")) == "mine"
    assert shown_name(f"bert:{tmp_path / 'mine'}") == "bert:mine"
    assert shown_name("bert:google-bert/bert-base-uncased") == "bert:google-bert/bert-base-uncased"
    said = about([corpus], few_steps(), f"bert:{tmp_path / 'mine'}", SUMMARY)
    assert "Started from `bert:mine`" in said
    assert str(tmp_path) not in said


def test_an_extractor_is_named_with_its_weights_and_settings() -> None:
    known = replace(EXTRACTOR, name="embedded", weights_sha256="ab" * 32, settings={"max_regions": 36})
    assert extractor_sentence(known).endswith(
        "`embedded` (8 numbers each, 5 classes, weights with sha256 abababababababab…; max_regions 36)."
    )


def test_a_run_without_validation_says_that_nothing_was_held_out(corpus: Corpus) -> None:
    said = about([corpus], few_steps(), None, replace(SUMMARY, validation={}))
    assert "Nothing was held out to measure on." in said
