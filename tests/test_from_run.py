"""A run as the start of another, above all one of another language."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from pretraining_helpers import PIECES, random_corpus, random_tokenizer
from task_helpers import CONFIG, TOKENIZER, saved_run

from interbert.config import ModelConfig
from interbert.errors import InterbertError
from interbert.model.interbert import InterBert
from interbert.pretraining.from_run import WORD_BIAS, WORDS, from_run, with_new_words
from interbert.text.tokenizer import SPECIAL

CHINESE = random_tokenizer(("狗", "猫", *PIECES, "路"))  # knows the words of a random corpus too


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return saved_run(tmp_path / "run")


def test_pieces_that_both_vocabularies_have_keep_what_was_learned(run: Path) -> None:
    before = InterBert.from_pretrained(run).state_dict()
    after, known = with_new_words(before, TOKENIZER, CHINESE)
    assert known == len(SPECIAL) + len(PIECES)
    for name in (WORDS, WORD_BIAS):
        assert torch.equal(after[name][: len(SPECIAL)], before[name][: len(SPECIAL)])
        assert torch.equal(after[name][len(SPECIAL) + 2 : -1], before[name][len(SPECIAL) :])


def test_new_pieces_are_spread_as_the_known_ones_are(run: Path) -> None:
    before = dict(InterBert.from_pretrained(run).state_dict())
    before[WORDS] = torch.randn(CONFIG.vocabulary_size, 16) * 0.1 + torch.arange(16)
    many = random_tokenizer(tuple(f"字{at}" for at in range(2000)))
    new = with_new_words(before, TOKENIZER, many)[0][WORDS][len(SPECIAL) :]
    assert torch.allclose(new.mean(0), before[WORDS].mean(0), atol=0.02)
    assert torch.allclose(new.std(0), before[WORDS].std(0), rtol=0.1)


def test_all_else_of_a_run_goes_on_in_another_language(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    corpus = random_corpus(tmp_path / "zh", tokenizer=CHINESE)
    model = from_run(run, ModelConfig(), corpus, new_words=True)
    assert model.config.vocabulary_size == CHINESE.vocabulary_size
    before, after = InterBert.from_pretrained(run).state_dict(), model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name not in (WORDS, WORD_BIAS))
    assert (
        f"knows {TOKENIZER.vocabulary_size} of {CHINESE.vocabulary_size} word pieces, the others are new" in caplog.text
    )


def test_words_are_not_learned_anew_unasked(run: Path, tmp_path: Path) -> None:
    corpus = random_corpus(tmp_path / "zh", tokenizer=CHINESE)
    with pytest.raises(InterbertError, match=rf"another vocabulary .* --init new-words:{run}"):
        from_run(run, ModelConfig(), corpus)


def test_with_the_same_vocabulary_nothing_is_new(run: Path, tmp_path: Path) -> None:
    model = from_run(run, ModelConfig(), random_corpus(tmp_path / "en"), new_words=True)
    assert torch.equal(model.state_dict()[WORDS], InterBert.from_pretrained(run).state_dict()[WORDS])
