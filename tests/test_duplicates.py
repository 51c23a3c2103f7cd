"""Titles that say nearly the same."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from interbert.text.duplicates import first_alike, likeness, plain_form, sketches


def test_capitals_blanks_and_marks_make_no_other_title() -> None:
    assert plain_form("【正品】SK-II 神仙水!") == plain_form("正品sk ii神仙水") == "正品skii神仙水"


def test_likeness_is_the_share_of_common_pairs() -> None:
    assert likeness("连衣裙", "连衣裙") == 1
    assert likeness("连衣裙", "运动鞋") == 0
    assert likeness("abcd", "abce") == 2 / 6  # ab bc | cd d-end | ce e-end


def test_equal_titles_have_equal_sketches_and_others_none_in_common() -> None:
    one, same, other = sketches(["夏季雪纺连衣裙", "夏季雪纺连衣裙", "男士真皮运动鞋"])
    assert np.array_equal(one, same)
    assert not (one == other).any()


def test_of_near_copies_the_first_stays() -> None:
    texts = [
        "夏季新款雪纺连衣裙女收腰显瘦中长款",
        "男士真皮运动鞋透气",
        "夏季新款雪纺连衣裙女收腰显瘦中长款裙",
        "夏季新款雪纺连衣裙女收腰显瘦中长款",
    ]
    assert first_alike(sketches(texts), texts.__getitem__, 0.8).tolist() == [0, 1, 0, 0]
    assert first_alike(sketches(texts), texts.__getitem__, 1.0).tolist() == [0, 1, 2, 0]


def test_no_titles_are_no_copies() -> None:
    assert first_alike(sketches([]), str, 0.8).tolist() == []


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text(st.sampled_from("裙鞋包"), max_size=6), max_size=12))
def test_with_whole_likeness_exactly_the_repeated_are_found(texts: list[str]) -> None:
    found = first_alike(sketches(texts), texts.__getitem__, 1.0).tolist()
    assert all(likeness(texts[at], texts[first]) == 1 for at, first in enumerate(found))
    assert all(found[at] <= texts.index(text) for at, text in enumerate(texts))


def test_nearly_all_of_the_near_copies_are_found() -> None:
    draw = random.Random(0)
    letters = [chr(0x4E00 + at) for at in range(2000)]
    originals = ["".join(draw.choices(letters, k=30)) for _ in range(200)]
    copies = [text[:-1] + draw.choice(letters) for text in originals]  # likeness about 28 / 32
    texts = originals + copies
    found = first_alike(sketches(texts), texts.__getitem__, 0.8).tolist()
    assert found[:200] == list(range(200))
    assert sum(found[200 + at] == at for at in range(200)) >= 180
