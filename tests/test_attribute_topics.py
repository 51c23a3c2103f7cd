"""benchmarks/attribute_topics.py: which topics attributes make, and the figures of what is found, checked by hand."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pretraining_helpers import WORDS
from recall_helpers import indexed, product, shop, write_catalogue

from interbert.recall.search import Question, open_searcher
from interbert.recall.store import Product

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("attribute_topics")


def some(id: str, title: str, **cells: str) -> Product:
    return Product(id, title, f"{id}.jpg", id, cells)


SOME = [
    some("a", "a red shoe", colour="Red", kind="Shoes"),
    some("b", "red shoes of leather", colour="Red", kind="Shoes"),
    some("c", "a blue hat", colour="Blue", kind="Hats"),
    some("d", "red", kind="Shoes"),
]


def test_a_topic_is_what_enough_products_have(module: ModuleType) -> None:
    topics = module.attribute_topics(SOME, ["colour", "kind"], 1, 2)
    assert [(topic.text, sorted(topic.right)) for topic in topics] == [("blue hats", ["c"]), ("red shoes", ["a", "b"])]
    assert [topic.text for topic in module.attribute_topics(SOME, ["colour", "kind"], 2, 2)] == ["red shoes"]


def test_titles_are_found_by_any_word_or_by_every_word(module: ModuleType) -> None:
    titles = module.Titles(SOME)
    assert sorted(titles.ranked("red shoes", "AND")) == ["a", "b"]  # a shoe is found by shoes
    assert sorted(titles.ranked("red shoes", "OR")) == ["a", "b", "d"]
    assert titles.ranked("red shoes", "OR")[-1] == "d"
    assert titles.ranked('NEAR "', "OR") == []


def test_precision_and_recall_are_over_all_pairs(module: ModuleType) -> None:
    found = module.at_threshold([["a", "c"], ["c"]], [frozenset("ab"), frozenset("c")])
    assert (found["precision"][0], found["recall"][0]) == pytest.approx((2 / 3, 2 / 3), abs=1e-4)
    assert found["taken_for_a_topic"] == 1.5
    assert module.share(np.zeros((1, 3)), "found") == 0


def test_average_precision_counts_what_is_never_found(module: ModuleType) -> None:
    found = module.average_precisions([["a", "x", "b"], []], [frozenset("ab"), frozenset("c")])
    np.testing.assert_allclose(found, [(1 + 2 / 3) / 2, 0])
    np.testing.assert_allclose(module.of_the_best(2, [["a", "x", "b"]], [frozenset("ab")]), [0.5])


def test_pictures_and_titles_are_measured_side_by_side(module: ModuleType, tmp_path: Path) -> None:
    place = shop(tmp_path, 12)
    write_catalogue(place / "catalogue.jsonl", [product(number, category=WORDS[number % 3]) for number in range(12)])
    indexed(place)
    cascade = Question(threshold=0.4, mode="cascade", where="price < 100", candidates=4)
    found = module.found_by_attributes(open_searcher(place / "index"), ["category"], cascade, 2)
    assert (found["topics"], found["products"]) == (3, 10)
    assert set(found["taken"]) == {"exact", "cascade", "titles, every word", "titles, as many as exact"}
    assert found["taken"]["cascade"]["taken_for_a_topic"] <= 4
    assert 0 < found["average_precision"]["exact"][0] < 1
    assert json.dumps(found)
    assert module.found_by_attributes(open_searcher(place / "index"), ["category"], cascade, 9)["topics"] == 0
