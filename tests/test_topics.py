"""Topics and bundles: what was recalled is kept, what was dropped stays out, and reviews are labelled pairs.

In a file and on a server the same holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from postgres_helpers import PASSWORD, PostgresServer
from product_store_helpers import filled_store
from recall_helpers import indexed, shop

from interbert.corpus.readers import READERS, Fields, Malformed
from interbert.errors import InterbertError, UsageError
from interbert.recall.search import Answer, Hit, Question
from interbert.recall.topics import FILE, Topic, Topics, find_topics, open_topics, read_topics
from interbert.scoring.labelled import labelled_pairs, scored
from interbert.scoring.scorer import load

RED = Topic("red", "two red dogs", "for summer", 0.5, "price < 300", 3)


@pytest.fixture(params=["file", "server"])
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Topics]:
    """Opens the same topics, as often as wanted: as another process does."""
    if request.param == "file":
        return lambda: Topics(tmp_path / "topics.sqlite")
    pytest.importorskip("psycopg")
    postgres: PostgresServer = request.getfixturevalue("postgres")
    address = postgres.address()
    return lambda: open_topics(tmp_path / "machine", address)


@pytest.fixture
def topics(again: Callable[[], Topics]) -> Topics:
    return again()


def answer(*ids: str, version: int = 1, recalled: int | None = None) -> Answer:
    hits = [Hit(id, f"title of {id}", 0.9 - at / 10, f"{id}.jpg", f"{at:064x}") for at, id in enumerate(ids)]
    return Answer("two red dogs", Question(), version, hits, 9, 9, len(ids) if recalled is None else recalled, 0.1)


def ids(products: list[Any]) -> list[str]:
    return [one.id for one in products]


def written(path: Path, *lines: Any) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


def test_a_topic_comes_back_with_its_products_and_its_cover(topics: Topics, again: Callable[[], Topics]) -> None:
    topics.put(RED, answer("a", "b", recalled=7))
    bundle = again().get("red")
    assert (bundle.topic, bundle.recalled, bundle.index_version) == (RED, 7, 1)
    assert ids(bundle.products) == ["a", "b"]
    assert bundle.cover == bundle.products[0]
    (card,) = topics.cards()
    assert (card.topic, card.products, card.cover) == (RED, 2, bundle.cover)


def test_what_is_recalled_again_takes_the_place_of_what_was(topics: Topics) -> None:
    topics.put(RED, answer("a", "b"))
    topics.put(Topic("blue", "blue"), answer())
    topics.put(Topic("red", "red dogs"), answer("c", version=2))
    assert [(card.topic.title, card.index_version, card.products) for card in topics.cards()] == [
        ("red dogs", 2, 1),
        ("blue", 1, 0),
    ]
    assert topics.cards(1, 1)[0].cover is None
    assert len(topics) == 2


def test_a_dropped_product_stays_out_and_another_is_the_cover(topics: Topics) -> None:
    topics.put(RED, answer("a", "b", "c"))
    topics.review("red", "a", keep=False)
    topics.review("red", "b", keep=True)
    topics.put(RED, answer("b", "a", version=2))
    bundle, card = topics.get("red"), topics.cards()[0]
    assert (ids(bundle.products), ids(bundle.dropped)) == (["b"], ["a"])
    assert bundle.products[0].kept is True
    assert (card.products, card.kept, card.dropped) == (1, 1, 1)
    assert card.cover == bundle.cover == bundle.products[0]
    assert topics.dropped("red") == {"a"}


def test_what_was_said_can_be_taken_back(topics: Topics) -> None:
    topics.put(RED, answer("a", "b"))
    topics.review("red", "a", keep=False)
    topics.put(RED, answer("b"))
    assert topics.get("red").dropped[0].score is None  # no longer found, and still known
    topics.review("red", "a", keep=None)
    assert topics.get("red").dropped == topics.reviews() == []


def test_a_keep_can_be_taken_back_where_the_product_is_no_longer_found(topics: Topics) -> None:
    topics.put(RED, answer("a", "b"))
    topics.review("red", "a", keep=True)
    topics.put(RED, answer("b"))
    assert [(one.id, one.score is None, one.kept) for one in topics.get("red").products] == [
        ("b", False, None), ("a", True, True),
    ]  # fmt: skip
    topics.review("red", "a", keep=None)
    assert topics.reviews() == []
    assert [one.id for one in topics.get("red").products] == ["b"]


def test_reviews_outlive_their_topic_and_keep_its_words(topics: Topics, tmp_path: Path) -> None:
    topics.put(RED, answer("a", "b"))
    topics.review("red", "a", keep=True)
    topics.review("red", "b", keep=False)
    topics.put(Topic("red", "other words"), answer("a"))
    topics.delete("red")
    assert topics.export(tmp_path / "pairs.jsonl") == {"kept": 1, "dropped": 1}
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()]
    assert [(row["text"], row["product"], row["label"]) for row in rows] == [
        ("two red dogs", "a", 1),
        ("two red dogs", "b", 0),
    ]


def test_what_is_not_there_is_said_with_the_nearest(topics: Topics, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no topic 'red': there is none"):
        topics.get("red")
    topics.put(RED, answer("p10"))
    with pytest.raises(UsageError, match="did you mean 'red'"):
        topics.delete("rad")
    with pytest.raises(UsageError, match="did you mean 'p10'"):
        topics.review_all("red", {"p10": True, "p1": True})
    assert topics.reviews() == []
    with pytest.raises(UsageError, match="no product has such a review"):
        topics.export(tmp_path / "pairs.jsonl")


def test_topics_are_kept_in_the_folder_of_an_index_and_nowhere_else(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="is not an index; make one:  interbert index"):
        open_topics(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_machines_that_share_an_index_share_its_topics(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here, there, other = postgres.address(), postgres.address(), postgres.address(password=None)
    one, two = tmp_path / "one", tmp_path / "two"
    assert find_topics(one, here) is None
    with ThreadPoolExecutor(4) as pool:  # made once, whoever comes first
        list(pool.map(lambda _: open_topics(one, here), range(4)))
    open_topics(one, here).put(RED, answer("a", "b"))
    open_topics(two, here).review("red", "a", keep=False)
    seen = find_topics(one, here)
    assert seen is not None
    assert seen.dropped("red") == {"a"}
    assert find_topics(one, there) is None  # another index of the same database
    filled_store(two, other.replace("owner@", f"owner:{quote(PASSWORD, safe='')}@")).close()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    (two / FILE).touch()
    assert len(open_topics(two)) == 0  # of the server that the folder names
    assert "was kept on this machine alone and is not read" in caplog.text


def test_many_threads_may_review(topics: Topics) -> None:
    names = [f"p{number}" for number in range(24)]
    topics.put(RED, answer(*names))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda id: topics.review("red", id, keep=id.endswith("1")), names))
    assert len(topics.reviews()) == 24
    assert ids(topics.get("red").products) == ["p1", "p11", "p21"]


def test_exported_pairs_are_what_calibrate_and_a_corpus_read(tmp_path: Path) -> None:
    place = shop(tmp_path, 4)
    indexed(place)
    kept = open_topics(place / "index")
    from interbert.recall.search import open_searcher

    kept.put(RED, open_searcher(place / "index").recall("two red dogs", Question(threshold=0)))
    for at, one in enumerate(kept.get("red").products):
        kept.review("red", one.id, keep=at % 2 == 0)
    kept.export(place / "pairs.jsonl")
    scorer, regions = load(place / "run"), place / "index" / "regions"
    pairs = labelled_pairs(scorer, place / "pairs.jsonl", store=regions, split="validation", negatives=1, seed=0)
    assert scored(scorer, pairs).true.tolist().count(True) == 2
    assert not pairs.left_out
    kept.export(place / "kept.jsonl", only="kept")
    captions = list(READERS["jsonl"](place / "kept.jsonl", Fields(), Malformed(place / "kept.jsonl")))
    assert {(one.text, len(one.image)) for one in captions} == {("two red dogs", 64)}


def test_a_file_of_topics_has_a_line_or_an_object_each(tmp_path: Path) -> None:
    plain = written(tmp_path / "topics.txt", "red shoes", "", "hats ", "red shoes")
    assert read_topics(plain) == [Topic("red shoes", "red shoes"), Topic("hats", "hats")]
    values = {"title": "two red dogs", "sub_title": "for summer", "threshold": 0.5, "filter": "price < 300", "limit": 3}
    objects = written(tmp_path / "topics.jsonl", {"name": "red"} | values, {"title": "hats", "limit": None})
    assert read_topics(objects) == [RED, Topic("hats", "hats")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "it is no JSON"),
        ("[1]", r"got \[1\], wanted a JSON object with a title"),
        ({"titel": "a"}, "did you mean 'title'"),
        ({"sub_title": "a"}, "it has no title"),
        ({"title": "a" * 1001}, "wanted a text of 1 to 1,000 characters"),
        ({"title": "a\0b"}, "has a NUL"),
        ({"title": 7}, "title: got 7"),
        ({"title": "a", "threshold": 2}, "wanted a number in 0..1"),
        ({"title": "a", "threshold": "0.5"}, "threshold: got '0.5'"),
        ({"title": "a", "limit": 0}, "wanted at least 1"),
        ({"title": "a", "limit": 1.5}, "limit: got 1.5"),
        ({"name": "first", "title": "other"}, "a topic 'first' came before"),
    ],
)
def test_a_line_that_is_no_topic_is_said_with_its_place(line: Any, said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "topics.jsonl", {"title": "first"}, line)
    with pytest.raises(UsageError, match=f"topics.jsonl', line 2: .*{said}"):
        read_topics(path)


def test_a_file_without_topics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has none"):
        read_topics(written(tmp_path / "topics.txt", "", " "))
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_topics(tmp_path / "nothing.txt")
    (tmp_path / "topics.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_topics(tmp_path / "topics.txt")
