"""Two texts in one sequence, cut where the longer one is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretraining_helpers import random_tokenizer

from interbert.tasks.texts import encoded, joined, kept_lengths, pieces_of

TOKENIZER = random_tokenizer()
CLS, SEP = TOKENIZER.cls_id, TOKENIZER.sep_id


def test_one_text_stands_between_cls_and_sep_and_is_of_type_0() -> None:
    assert joined([7, 8], None, 10, TOKENIZER) == ([CLS, 7, 8, SEP], [0, 0, 0, 0], False)
    assert joined([7, 8, 9], None, 4, TOKENIZER) == ([CLS, 7, 8, SEP], [0, 0, 0, 0], True)


def test_the_second_text_and_its_sep_are_of_type_1() -> None:
    read = joined([7, 8], [9], 10, TOKENIZER)
    assert read.words == [CLS, 7, 8, SEP, 9, SEP]
    assert read.types == [0, 0, 0, 0, 1, 1]
    assert [joined([7, 8], [9], room, TOKENIZER).cut for room in (5, 6)] == [True, False]


def test_pieces_are_those_of_the_text_alone() -> None:
    assert pieces_of(["two dogs", ""], TOKENIZER) == [TOKENIZER.encode("two dogs")[1:-1], []]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 50))
def test_the_longer_text_is_cut_piece_by_piece(first: int, second: int, room: int) -> None:
    one, two = first, second
    while one + two > room:
        one, two = (one - 1, two) if one > two else (one, two - 1)
    assert kept_lengths(first, second, room) == (one, two)


def test_a_text_that_is_too_long_keeps_its_beginning_and_sep_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    long = " ".join(["dog"] * 9)
    (one, two), cut = encoded(["dog", long], 5, TOKENIZER, "questions")
    assert (one, two, cut) == (TOKENIZER.encode("dog"), TOKENIZER.encode(long, 5), 1)
    assert "1 of 2 questions are longer than 5 tokens: cut" in caplog.text
