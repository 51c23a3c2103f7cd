"""Runs of characters as numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interbert.text.grams import Characters


def plain_runs(texts: list[str], size: int) -> list[str]:
    """The runs within each text and its end mark, the slow way."""
    return [(text + "\n")[at : at + size] for text in texts for at in range(len(text) + 2 - size)]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(st.sampled_from("ab裙🔥"), max_size=5), max_size=6))
def test_runs_are_those_of_each_text_alone(texts: list[str]) -> None:
    characters = Characters(texts)
    for size in (1, 2, 3):
        hashes, inside = characters.runs(size)
        expected = plain_runs(texts, size)
        assert int(inside.sum()) == len(expected)
        numbers = dict(zip(expected, hashes[inside].tolist(), strict=True))
        assert [numbers[run] for run in expected] == hashes[inside].tolist()  # equal runs, equal numbers
        assert len(set(numbers.values())) == len(numbers)  # others, others


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["a", "", "bc"]])
def test_starts_and_counts_divide_the_characters(texts: list[str]) -> None:
    characters = Characters(texts)
    assert characters.counts.tolist() == [len(text) + 1 for text in texts]
    assert np.array_equal(np.diff(characters.starts), characters.counts[:-1])
