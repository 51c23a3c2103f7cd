"""Templates of topics: what they make of a product's columns, and which are none."""

from __future__ import annotations

import pytest

from interbert.corpus.topics import TopicTemplates
from interbert.errors import UsageError


def test_every_column_is_named_once() -> None:
    assert TopicTemplates(["{colour} {kind}", "{kind} of {brand name}"]).columns == ("colour", "kind", "brand name")


def test_equal_texts_of_a_product_are_one_and_cells_stay_as_they_are() -> None:
    templates = TopicTemplates(["{a}", "{b}", "{a} {b}"])
    assert templates.of({"a": " {b} ", "b": "{b}"}) == ["{b}", "{b} {b}"]
    assert templates.of({"a": 7, "b": ""}) == ["7"]


@pytest.mark.parametrize("topic", ["red", "{colour", "{a} }", "{}"])
def test_a_template_without_a_column_is_refused(topic: str) -> None:
    with pytest.raises(UsageError, match="wanted columns in braces"):
        TopicTemplates([topic])
