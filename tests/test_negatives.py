"""Negatives: what belongs together is never one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus_helpers import captions, make_corpus, make_store

from interbert.corpus.corpus import Corpus
from interbert.draws import generator_for
from interbert.errors import InterbertError
from interbert.pretraining.batches import Belonging
from interbert.tasks.negatives import Negatives

NOTHING = np.empty(0, np.int64)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Texts 0 … 4: two of picture "one", of which "a dog" is also the text of "two"; one each of "three", "four"."""
    store = make_store(tmp_path / "store", {"one": 1, "two": 1, "three": 1, "four": 1})
    said = [("one", "a dog"), ("one", "a red dog"), ("two", "a dog"), ("three", "a cat"), ("four", "two cat s")]
    return make_corpus(tmp_path / "corpus", store, captions(*said))


def negatives(corpus: Corpus) -> Negatives:
    return Negatives(corpus, corpus.split("train"), Belonging(corpus))


def names(corpus: Corpus, images: list[int]) -> set[str]:
    return {corpus.image_id(image) for image in images}


def test_a_picture_with_an_equal_text_is_no_negative(corpus: Corpus) -> None:
    draw = negatives(corpus)
    for seed in range(20):
        found = draw.pictures(0, 2, generator_for(seed), NOTHING)
        assert names(corpus, found) == {"three", "four"}


def test_every_other_picture_is_drawn_at_some_time(corpus: Corpus) -> None:
    draw = negatives(corpus)
    found = [draw.pictures(1, 1, generator_for(seed), NOTHING)[0] for seed in range(60)]
    assert names(corpus, found) == {"two", "three", "four"}
    assert max(np.bincount(found)) < 40


def test_hard_ones_come_first_and_no_picture_twice(corpus: Corpus) -> None:
    four = next(image for image in range(4) if corpus.image_id(image) == "four")
    found = negatives(corpus).pictures(1, 3, generator_for(0), np.array([four]))
    assert found[0] == four
    assert len(set(found)) == 3


def test_too_few_pictures_are_an_error_that_names_the_text(corpus: Corpus) -> None:
    with pytest.raises(InterbertError, match="'a dog' has 2 pictures that do not belong to it among 4"):
        negatives(corpus).pictures(0, 3, generator_for(0), NOTHING)


def test_a_caption_that_belongs_is_no_negative(corpus: Corpus) -> None:
    draw, two = negatives(corpus), corpus.image_of(2)
    found = {corpus.text(draw.caption(two, generator_for(seed))) for seed in range(40)}
    assert found == {"a red dog", "a cat", "two cat s"}


def test_a_caption_of_a_hard_picture_does_not_belong_either(corpus: Corpus) -> None:
    draw, one, two = negatives(corpus), corpus.image_of(0), corpus.image_of(2)
    found = {corpus.text(draw.caption_of(np.array([one]), two, generator_for(seed))) for seed in range(10)}
    assert found == {"a red dog"}


def test_where_no_hard_picture_has_another_caption_any_is_taken(corpus: Corpus) -> None:
    draw, one, two = negatives(corpus), corpus.image_of(0), corpus.image_of(2)
    found = {corpus.text(draw.caption_of(np.array([two]), one, generator_for(seed))) for seed in range(20)}
    assert found == {"a cat", "two cat s"}


def test_equal_texts_everywhere_leave_no_caption(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", {"one": 1, "two": 1})
    corpus = make_corpus(tmp_path / "corpus", store, captions(("one", "a dog"), ("two", "a dog")))
    with pytest.raises(InterbertError, match="every training text belongs to picture 'one'"):
        negatives(corpus).caption(0, generator_for(0))


def test_a_draw_is_that_of_its_generator(corpus: Corpus) -> None:
    draw = negatives(corpus)
    one, again = (draw.pictures(1, 3, generator_for(5), NOTHING) for _ in range(2))
    assert one == again
