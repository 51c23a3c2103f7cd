"""Thousands of topics in one go: each as its own search gives it, a line each, going on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recall_helpers import indexed, product, shop, write_catalogue

from interbert.errors import InterbertError, UsageError
from interbert.recall import bundles
from interbert.recall.bundles import recall_topics, write_bundles
from interbert.recall.search import Question, Searcher, open_searcher
from interbert.recall.topics import Topic, Topics

EVERY = Question(threshold=0)
TOPICS = [
    Topic("red", "two red dogs", limit=2),
    Topic("shoes", "a cat", filter="category = 'shoes'"),
    Topic("old", "the old tree on the road", "of wood", threshold=0.5),
    Topic("cheap", "a cat", filter="price < 40"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 products."""
    folder = shop(tmp_path_factory.mktemp("shop"))
    indexed(folder)
    return folder


@pytest.fixture
def searcher(place: Path) -> Searcher:
    found = open_searcher(place / "index")
    found.memory = None
    return found


@pytest.fixture
def kept(tmp_path: Path) -> Topics:
    return Topics(tmp_path / "topics.sqlite")


def lines(path: Path) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def found(answer: Any) -> list[tuple[str, float]]:
    return [(hit.id, pytest.approx(hit.score, abs=1e-6)) for hit in answer.hits]


def test_each_topic_has_its_own_filter_threshold_and_limit(searcher: Searcher) -> None:
    for topic, answer in recall_topics(searcher, TOPICS, EVERY):
        assert found(searcher.recall(topic.title, topic.question(EVERY))) == found(answer)
        assert answer.question == topic.question(EVERY)


def test_topics_of_one_filter_read_pictures_once(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    regions = searcher.store.regions
    monkeypatch.setattr(searcher.store, "regions", lambda of: read.append(len(of)) or regions(of))
    many = [Topic(str(number), f"a {word} dog") for number, word in enumerate(("red", "two", "big", "old") * 8)]
    assert len(list(recall_topics(searcher, many, EVERY))) == 32
    assert sum(read) == 12


def test_a_line_has_what_a_recommender_needs(searcher: Searcher, tmp_path: Path) -> None:
    report = write_bundles(searcher, TOPICS, EVERY, tmp_path / "out.jsonl")
    assert (report.topics, report.recalled, report.taken_over, report.failures) == (4, 4, 0, {})
    line = lines(tmp_path / "out.jsonl")["red"]
    answer = searcher.recall("two red dogs", EVERY)
    assert [one["id"] for one in line["items"]] == [hit.id for hit in answer.hits[:2]]
    assert (line["cover"], line["total_recalled"], line["threshold"], line["limit"]) == (answer.hits[0].id, 12, 0, 2)
    assert (line["index_version"], line["model"], line["calibration"]) == (1, searcher.model_key, "raw")
    assert not (tmp_path / "out.jsonl.partial").exists()


def test_the_same_command_goes_on_where_it_stopped(
    searcher: Searcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundles(searcher, TOPICS, EVERY, tmp_path / "whole.jsonl")
    recall_all = Searcher.recall_all

    def stopping(self: Searcher, *given: Any) -> Iterator[Any]:
        answers = recall_all(self, *given)
        yield next(answers)
        yield next(answers)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Searcher, "recall_all", stopping)
        with pytest.raises(KeyboardInterrupt):
            write_bundles(searcher, TOPICS, EVERY, tmp_path / "out.jsonl")
    partial = tmp_path / "out.jsonl.partial"
    assert not (tmp_path / "out.jsonl").exists()
    partial.write_text(partial.read_text(encoding="utf-8") + '{"name": "old", "tit', encoding="utf-8")  # torn
    report = write_bundles(searcher, TOPICS, EVERY, tmp_path / "out.jsonl")
    assert (report.recalled, report.taken_over) == (2, 2)
    again, whole = lines(tmp_path / "out.jsonl"), lines(tmp_path / "whole.jsonl")
    assert {name: [one["id"] for one in again[name]["items"]] for name in again} == {
        name: [one["id"] for one in whole[name]["items"]] for name in whole
    }
    assert write_bundles(searcher, TOPICS, EVERY, tmp_path / "out.jsonl").taken_over == 4


def test_two_processes_do_not_write_one_file(searcher: Searcher, tmp_path: Path) -> None:
    with bundles._alone(tmp_path / "out.jsonl"), pytest.raises(InterbertError, match="is being written by another"):
        write_bundles(searcher, TOPICS, EVERY, tmp_path / "out.jsonl")
    write_bundles(searcher, TOPICS, EVERY, tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.glob("*out*")] == ["out.jsonl"]


def test_a_line_of_another_question_or_index_version_is_recalled_again(tmp_path: Path) -> None:
    place = shop(tmp_path, 4)
    indexed(place)
    out = tmp_path / "out.jsonl"
    write_bundles(open_searcher(place / "index"), TOPICS, EVERY, out)
    changed = [TOPICS[0], Topic("shoes", "a dog"), *TOPICS[2:]]
    assert write_bundles(open_searcher(place / "index"), changed, EVERY, out).recalled == 1
    write_catalogue(place / "more.jsonl", [product(0, price=1)])
    indexed(place, "more.jsonl")
    assert write_bundles(open_searcher(place / "index"), changed, EVERY, out).recalled == 4
    assert {line["index_version"] for line in lines(out).values()} == {2}


def test_what_was_dropped_is_left_out_and_the_limit_is_still_filled(
    searcher: Searcher, kept: Topics, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    write_bundles(searcher, TOPICS, EVERY, out, kept=kept, keep=True)
    first, second = kept.get("red").products
    kept.review("red", first.id, keep=False)
    report = write_bundles(searcher, TOPICS, EVERY, out, kept=kept, keep=True)
    assert (report.recalled, report.taken_over) == (1, 3)
    line = lines(out)["red"]
    assert line["cover"] == second.id
    assert (len(line["items"]), line["dropped"]) == (2, [first.id])
    assert [one.id for one in kept.get("red").products] == [one["id"] for one in line["items"]]


def test_topics_are_kept_with_what_they_were_asked(searcher: Searcher, kept: Topics, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    write_bundles(searcher, TOPICS, EVERY, out)
    assert write_bundles(searcher, TOPICS, EVERY, out, kept=kept, keep=True).recalled == 4  # not kept before
    assert {card.topic.name: card.topic.threshold for card in kept.cards()} == {
        "red": 0, "shoes": 0, "old": 0.5, "cheap": 0
    }  # fmt: skip
    assert write_bundles(searcher, TOPICS, EVERY, out, kept=kept, keep=True).taken_over == 4


def test_a_topic_that_cannot_be_asked_is_left_out_and_said(searcher: Searcher, tmp_path: Path) -> None:
    wrong = [Topic("chinese", "汽车"), Topic("prize", "a dog", filter="prize < 3")]
    report = write_bundles(searcher, [*wrong, *TOPICS], EVERY, tmp_path / "out.jsonl")
    assert (report.topics, report.recalled) == (6, 4)
    assert "none of its words" in report.failures["chinese"]
    assert "did you mean 'price'" in report.failures["prize"]
    with pytest.raises(UsageError, match="no topic can be asked; the first, 'chinese'"):
        write_bundles(searcher, wrong, EVERY, tmp_path / "none.jsonl")


def test_a_file_of_something_else_is_not_written_over(searcher: Searcher, place: Path) -> None:
    with pytest.raises(UsageError, match="holds something else than recalled topics"):
        write_bundles(searcher, TOPICS, EVERY, place / "catalogue.jsonl")


def test_a_cascade_of_many_topics_says_its_recall(searcher: Searcher, tmp_path: Path) -> None:
    cascade = Question(threshold=0, mode="cascade", candidates=5)
    write_bundles(searcher, TOPICS[:1], cascade, tmp_path / "out.jsonl")
    line = lines(tmp_path / "out.jsonl")["red"]
    assert (line["mode"], line["candidates"], line["total_scored"]) == ("cascade", 5, 5)
