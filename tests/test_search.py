"""Searching an index: the scores are the model's own, whatever the mode, the batches, and what is remembered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recall_helpers import indexed, product, shop, write_catalogue

from interbert.errors import InterbertError, UsageError
from interbert.model.alone import alone_query
from interbert.recall.index import open_index
from interbert.recall.measuring import measure, measure_if_unknown
from interbert.recall.memory import NEVER
from interbert.recall.search import Answer, Question, Searcher, open_searcher
from interbert.recall.sqlite_store import SqliteStore
from interbert.scoring.calibration import Calibration
from interbert.scoring.scorer import TextsCut

TOPIC = "two red dogs"
EVERY = Question(threshold=0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 products with 20 pictures."""
    folder = shop(tmp_path_factory.mktemp("shop"), 24, 20)
    indexed(folder)
    return folder


@pytest.fixture
def searcher(place: Path) -> Searcher:
    """One that remembers nothing."""
    found = open_searcher(place / "index")
    found.memory = None
    return found


@pytest.fixture
def computed(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures were read for scores, each time."""
    counts: list[int] = []
    regions = SqliteStore.regions

    def counting(self: SqliteStore, pictures: Sequence[int]) -> Any:
        counts.append(len(pictures))
        return regions(self, pictures)

    monkeypatch.setattr(SqliteStore, "regions", counting)
    return counts


def scores_of(answer: Answer) -> dict[str, float]:
    return {hit.id: hit.score for hit in answer.hits}


def test_exact_scores_are_those_that_predict_gives(searcher: Searcher) -> None:
    answer = searcher.recall(TOPIC, EVERY)
    store, scorer = searcher.store, searcher.scorer
    predicted = scorer.predict([(TOPIC, regions) for regions in store.regions(range(20))])
    wanted = {f"p{number}": predicted[number % 20] for number in range(24)}
    found = scores_of(answer)
    assert (answer.scored, answer.passed, answer.recalled) == (24, 24, 24)
    assert found == pytest.approx(wanted, abs=1e-6)
    assert found["p1"] == found["p21"]  # one picture
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_only_scores_strictly_above_the_threshold_are_recalled(searcher: Searcher) -> None:
    scores = sorted(scores_of(searcher.recall(TOPIC, EVERY)).values(), reverse=True)
    answer = searcher.recall(TOPIC, Question(threshold=scores[6]))
    assert list(scores_of(answer).values()) == [score for score in scores if score > scores[6]]
    assert answer.recalled == len(answer.hits) < 7


def test_the_best_few_are_the_beginning_of_all(searcher: Searcher) -> None:
    every = searcher.recall(TOPIC, EVERY)
    few = searcher.recall(TOPIC, Question(threshold=0, top_k=5))
    assert few.hits == every.hits[:5]
    assert few.recalled == 24


def test_a_filter_is_passed_first(searcher: Searcher, computed: list[int]) -> None:
    answer = searcher.recall(TOPIC, Question(threshold=0, where="category = 'shoes' and price < 100"))
    assert sorted(scores_of(answer)) == ["p0", "p3", "p6", "p9"]
    assert (answer.passed, sum(computed)) == (4, 4)
    with pytest.raises(UsageError, match="did you mean 'price'"):
        searcher.recall(TOPIC, Question(where="prize < 3"))
    assert searcher.recall(TOPIC, Question(where="price < 0")).hits == []


def test_scores_are_calibrated_as_the_run_is_and_the_order_stays(searcher: Searcher) -> None:
    raw = scores_of(searcher.recall(TOPIC, EVERY))
    searcher.scorer.calibration = Calibration("line", (0.0,), (-1.0,), 0.5)
    found = scores_of(searcher.recall(TOPIC, EVERY))
    assert list(found) == list(raw)
    margins = np.log(np.array(list(raw.values()))) - np.log1p(-np.array(list(raw.values())))
    np.testing.assert_allclose(list(found.values()), 1 / (1 + np.exp(1 - margins / 2)), atol=1e-4)


def test_many_topics_give_what_each_gives(searcher: Searcher, computed: list[int]) -> None:
    topics = [TOPIC, "a cat", "the old tree on the road", "a cat"]
    together = [scores_of(answer) for answer in searcher.recall_all(topics, EVERY)]
    assert sum(computed) == 20  # pictures are read once for all of them
    for topic, found in zip(topics, together, strict=True):
        assert found == pytest.approx(scores_of(searcher.recall(topic, EVERY)), abs=1e-6)


def test_early_answers_add_up_to_the_answer(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interbert.recall.search.STRIPE", 6)
    early = list(searcher.stream(TOPIC, Question(threshold=0.3)))
    assert len(early) == 4
    assert [one.scored for one in early] == sorted({one.scored for one in early})
    assert (early[-1].scored, early[-1].total) == (24, 24)
    together = {hit.id: hit.score for one in early for hit in one.hits}
    assert together == pytest.approx(scores_of(searcher.recall(TOPIC, Question(threshold=0.3))), abs=1e-6)
    best = [hit.id for one in searcher.stream(TOPIC, Question(threshold=0, top_k=3)) for hit in one.hits]
    assert set(scores_of(searcher.recall(TOPIC, Question(threshold=0, top_k=3)))) <= set(best)


def test_a_cascade_scores_the_best_of_the_vectors_alone(searcher: Searcher, computed: list[int]) -> None:
    answer = searcher.recall(TOPIC, Question(threshold=0, mode="cascade", candidates=5))
    assert sum(computed) == 5
    scorer = searcher.scorer
    with torch.inference_mode():
        margins = scorer.model.margins_alone(
            torch.from_numpy(scorer.encode_text([TOPIC])),
            torch.from_numpy(scorer.encode_images(searcher.store.regions(range(20)))),
        )[0]
    best = set(margins.argsort(descending=True)[:5].tolist())
    assert set(scores_of(answer)) == {f"p{number}" for number in range(24) if number % 20 in best}
    exact = scores_of(searcher.recall(TOPIC, EVERY))
    assert scores_of(answer) == pytest.approx({id: exact[id] for id in scores_of(answer)}, abs=1e-6)


def test_the_query_of_a_topic_gives_the_margin_less_a_constant(searcher: Searcher) -> None:
    scorer = searcher.scorer
    text, images = scorer.encode_text([TOPIC]), scorer.encode_images(searcher.store.regions(range(20)))
    with torch.inference_mode():
        margins = scorer.model.margins_alone(torch.from_numpy(text), torch.from_numpy(images))[0].numpy()
    difference = margins - images @ alone_query(scorer.model, torch.from_numpy(text[0])).numpy()
    assert np.ptp(difference) < 1e-4


def test_scores_are_remembered_by_picture(place: Path, computed: list[int]) -> None:
    searcher = open_searcher(place / "index")
    first = searcher.recall("big old road", EVERY)
    assert sum(computed) == 20
    again = open_searcher(place / "index").recall("big old road", EVERY)
    assert sum(computed) == 20
    assert scores_of(again) == pytest.approx(scores_of(first))
    answers = list(searcher.recall_all(["big old road", "a big dog"], EVERY))
    assert sum(computed) == 40
    assert scores_of(answers[0]) == pytest.approx(scores_of(first))


def test_scores_are_remembered_for_each_precision(place: Path) -> None:
    exact = scores_of(open_searcher(place / "index").recall("a precise cat", EVERY))
    rounded = scores_of(open_searcher(place / "index", precision="bf16").recall("a precise cat", EVERY))
    assert exact.keys() == rounded.keys()
    off = [abs(exact[id] - rounded[id]) for id in exact]
    assert 0 < max(off) < 0.05
    assert scores_of(open_searcher(place / "index").recall("a precise cat", EVERY)) == exact


def test_what_was_scored_is_remembered_also_where_nobody_waits(
    place: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interbert.recall.search.STRIPE", 8)
    stream = open_searcher(place / "index").stream("a playing cat", EVERY)
    next(stream)
    stream.close()
    assert computed == [8]
    open_searcher(place / "index").recall("a playing cat", EVERY)
    assert sum(computed) == 20


def test_many_threads_get_what_one_gets(place: Path) -> None:
    topics = [f"{word} {thing}" for word in ("red", "two", "big", "old") for thing in ("dog", "cat")]
    where = [None, "category = 'shoes'"]
    asked = [(topic, Question(threshold=0.2, where=one)) for topic in topics for one in where]
    alone = open_searcher(place / "index")
    alone.memory = None
    wanted = [scores_of(alone.recall(*one)) for one in asked]
    searcher = open_searcher(place / "index")
    route = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    with ThreadPoolExecutor(8) as pool:
        first, again = (list(pool.map(lambda one: searcher.recall(*one), asked)) for _ in range(2))
        streams = list(pool.map(lambda one: list(searcher.stream(*one)), asked))
    for answer, same, stream, scores in zip(first, again, streams, wanted, strict=True):
        assert scores_of(answer) == pytest.approx(scores, abs=1e-5)
        assert scores_of(same) == pytest.approx(scores, abs=1e-5)
        assert {hit.id for early in stream for hit in early.hits} == set(scores)
    assert torch.backends.mkldnn.matmul.fp32_precision == route  # type: ignore[attr-defined]


def test_a_searcher_stays_with_its_version(tmp_path: Path) -> None:
    place = shop(tmp_path, 5)
    indexed(place)
    before = open_searcher(place / "index")
    write_catalogue(place / "more.jsonl", [product(0, price=0), product(8, 5)])
    indexed(place, "more.jsonl", delete=["p1"])
    assert sorted(scores_of(before.recall(TOPIC, EVERY))) == ["p0", "p1", "p2", "p3", "p4"]
    after = open_searcher(place / "index").recall(TOPIC, EVERY)
    assert (sorted(scores_of(after)), after.index_version) == (["p0", "p2", "p3", "p4", "p8"], 2)
    old = open_searcher(place / "index", version=1).recall(TOPIC, EVERY)
    assert len(old.hits) == 5


@pytest.mark.parametrize(
    ("topic", "said"),
    [(" \n", "the topic is empty"), ("a" * 10_000, "10,000 characters"), ("汽车", "none of its words")],
)
def test_a_topic_that_says_nothing_is_refused(searcher: Searcher, topic: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        searcher.recall(topic)


def test_a_long_topic_is_cut_and_that_is_said(searcher: Searcher) -> None:
    with pytest.warns(TextsCut, match="1 of 1 texts are longer than 24 tokens"):
        searcher.recall("a dog " * 20, EVERY)


@pytest.mark.parametrize("wrong", [{"threshold": float("nan")}, {"threshold": 1.1}, {"top_k": 0}, {"mode": "fast"}])
def test_a_question_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="wanted"):
        Question(**wrong)


def test_a_score_that_is_not_finite_is_an_error(searcher: Searcher) -> None:
    with torch.no_grad():
        searcher.scorer.model.match_head.bias.fill_(float("nan"))
    with pytest.raises(InterbertError, match="not a finite number"):
        searcher.recall(TOPIC)


def test_an_index_without_products_is_an_error(place: Path, tmp_path: Path) -> None:
    empty = SqliteStore.create(tmp_path / "empty", open_index(place / "index").facts)
    with pytest.raises(InterbertError, match="has no products yet"):
        Searcher(empty, open_searcher(place / "index").scorer)


def test_a_measurement_says_where_the_best_stand_by_vectors_alone(place: Path) -> None:
    searcher = open_searcher(place / "index")
    found = measure(searcher, [TOPIC, "a cat"], answers=4)
    assert (found.ranks.shape, found.pictures, found.all_pictures) == ((2, 4), 20, 20)
    exact = [hit.id for hit in searcher.recall(TOPIC, EVERY).hits]
    pictures = list(dict.fromkeys(int(id[1:]) % 20 for id in exact))[:4]
    order, _ = searcher.store.nearest(searcher.version, None, searcher.query(TOPIC), 20)
    alone = list(dict.fromkeys(order.pictures.tolist()))
    assert found.ranks[0].tolist() == [alone.index(picture) for picture in pictures]
    answer = searcher.recall(TOPIC, Question(mode="cascade", candidates=10))
    assert answer.measured is not None
    assert answer.measured["recall"] == found.recall(10) == float((found.ranks < 10).mean())
    assert json.loads(json.dumps(answer.to_json()))["measured_recall"]["topics"] == 2


def test_a_cascade_is_measured_at_its_first_use_on_titles(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = shop(tmp_path, 9)
    indexed(place)
    searcher = open_searcher(place / "index")
    assert searcher.recall(TOPIC, Question(mode="cascade")).measured is None
    caplog.set_level("INFO", "interbert")
    measure_if_unknown(searcher)
    measure_if_unknown(searcher)
    assert caplog.text.count("the cascade's recall was measured on 9 topics and 9 of 9 pictures") == 1
    answer = searcher.recall(TOPIC, Question(mode="cascade"))
    assert answer.measured is not None
    assert answer.measured["recall"] == 1  # as many candidates as pictures


def test_a_sample_of_pictures_is_measured_where_there_are_many(place: Path) -> None:
    searcher = open_searcher(place / "index")
    found = measure(searcher, most_topics=3, most_pictures=12, answers=2)
    assert (found.ranks.shape, found.pictures, found.all_pictures) == ((3, 2), 12, 20)
    assert set(found.ranks.flatten().tolist()) <= {*range(9), NEVER}  # those that vectors put first, or none
    assert found.recall(20) == 1
    whole = measure(searcher, most_topics=3, most_pictures=20, answers=2)
    assert found.recall(9) == pytest.approx(whole.recall(9), abs=0.5)


def test_a_drawn_picture_that_is_better_stands_for_those_that_were_not_drawn(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = open_searcher(place / "index")
    near = searcher.store.nearest(searcher.version, None, searcher.query(TOPIC), 9)[0].pictures
    monkeypatch.setattr(
        Searcher, "exact_margins", lambda _, topics, pictures, regions: (~np.isin(pictures, near)).astype(float)[None]
    )
    found = measure(searcher, [TOPIC], most_pictures=12, answers=4)
    assert (found.ranks == NEVER).all()
    assert found.recall(9) == 0
