"""Topics and products over HTTP: thresholds, pages, filters, versions, explanations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from recall_helpers import indexed, product, write_catalogue
from service_helpers import client, error, fixtures
from starlette.testclient import TestClient

from interbert.recall.index import delete_products
from interbert.recall.search import Question, open_searcher

EVERYTHING = {"topic": "a red dog", "threshold": 0}

place, asking = fixtures("function")


def pages(asking: TestClient, **question: Any) -> list[dict[str, Any]]:
    """All items of a recall, page by page."""
    found, cursor = [], None
    while True:
        answer = asking.post("/recall", json=question | ({"cursor": cursor} if cursor else {})).json()
        found += answer["items"]
        cursor = answer["next_cursor"]
        if cursor is None:
            return found


def test_a_topic_gives_what_the_library_gives(asking: TestClient, place: Path) -> None:
    answer = asking.post("/recall", json={"topic": "a red dog", "threshold": 0.5}).json()
    known = open_searcher(place / "index").recall("a red dog", Question(threshold=0.5))
    assert [(one["id"], one["score"]) for one in answer["items"]] == [(hit.id, hit.score) for hit in known.hits]
    assert answer["total_recalled"] == known.recalled == len(answer["items"])
    assert (answer["total_scored"], answer["index_version"], answer["measured_recall"]) == (12, 1, None)


def test_a_score_must_be_strictly_above_the_threshold(asking: TestClient) -> None:
    items = asking.post("/recall", json=EVERYTHING).json()["items"]
    third = items[2]["score"]
    above = asking.post("/recall", json=EVERYTHING | {"threshold": third}).json()
    assert [one["id"] for one in above["items"]] == [one["id"] for one in items[:2]]


def test_pages_joined_are_the_whole_list(asking: TestClient) -> None:
    whole = asking.post("/recall", json=EVERYTHING | {"limit": 1000}).json()
    assert whole["next_cursor"] is None
    assert pages(asking, **EVERYTHING, limit=5) == whole["items"]
    assert pages(asking, **EVERYTHING, limit=12) == whole["items"]


def test_pages_are_of_one_version_though_the_index_changes(asking: TestClient, place: Path) -> None:
    whole = asking.post("/recall", json=EVERYTHING | {"limit": 1000}).json()["items"]
    first = asking.post("/recall", json=EVERYTHING | {"limit": 5}).json()
    delete_products(place / "index", [one["id"] for one in whole[:7]])
    second = asking.post("/recall", json=EVERYTHING | {"limit": 7, "cursor": first["next_cursor"]}).json()
    assert first["items"] + second["items"] == whole
    assert second["index_version"] == 1
    assert asking.post("/recall", json=EVERYTHING).json()["index_version"] == 2


def test_a_cursor_of_another_question_or_made_up_is_refused(asking: TestClient) -> None:
    cursor = asking.post("/recall", json=EVERYTHING | {"limit": 5}).json()["next_cursor"]
    other = {"topic": "a cat", "threshold": 0, "cursor": cursor}
    assert "of another question" in error(asking.post("/recall", json=other), 422)["message"]
    for made_up in ("x", "W10", "WzEsMl0", "WzEsLTEsIiJd", cursor[:-2]):
        found = error(asking.post("/recall", json=EVERYTHING | {"cursor": made_up}), 422)
        assert found["param"] == "cursor"


def test_a_filter_is_parsed_and_its_column_suggested(asking: TestClient) -> None:
    answer = asking.post("/recall", json=EVERYTHING | {"filter": "category = 'hats' and price < 60"}).json()
    assert {one["cells"]["category"] for one in answer["items"]} == {"hats"}
    assert answer["total_passed"] == 2
    found = error(asking.post("/recall", json=EVERYTHING | {"filter": "prise < 60"}), 422)
    assert found["param"] == "filter"
    assert "did you mean 'price'" in found["message"]


def lines(asking: TestClient, **question: Any) -> list[dict[str, Any]]:
    """A recall as it comes."""
    answer = asking.post("/recall", json=question, headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_early_lines_add_up_to_the_answer_which_is_the_last(
    asking: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interbert.recall.search.STRIPE", 5)
    *early, last = lines(asking, **EVERYTHING, limit=4)
    assert [(one["scored"], one["total"]) for one in early] == [(5, 12), (10, 12), (12, 12)]
    items = sorted((item for one in early for item in one["items"]), key=lambda item: -item["score"])
    plain = asking.post("/recall", json=EVERYTHING | {"limit": 4}).json()
    assert items[:4] == plain["items"]
    assert last["answer"] | {"seconds": 0} == plain | {"seconds": 0}


def test_the_next_page_may_come_in_lines_too(asking: TestClient) -> None:
    first = lines(asking, **EVERYTHING, limit=5)[-1]["answer"]
    second = lines(asking, **EVERYTHING, limit=7, cursor=first["next_cursor"])[-1]["answer"]
    whole = asking.post("/recall", json=EVERYTHING | {"limit": 12}).json()
    assert first["items"] + second["items"] == whole["items"]


def test_a_filter_that_nothing_passes_has_the_answer_alone(asking: TestClient) -> None:
    ((key, answer),) = lines(asking, **EVERYTHING, filter="price < 0")[0].items()
    assert (key, answer["items"], answer["total_passed"]) == ("answer", [], 0)


def test_what_is_wrong_from_the_start_is_an_error_as_ever(asking: TestClient) -> None:
    wrong = EVERYTHING | {"filter": "prise < 60"}
    answer = asking.post("/recall", json=wrong, headers={"Accept": "application/x-ndjson"})
    assert error(answer, 422)["param"] == "filter"


def test_a_cascade_says_its_recall_once_it_is_measured(asking: TestClient) -> None:
    asked = EVERYTHING | {"mode": "cascade", "candidates": 4}
    assert asking.post("/recall", json=asked).json()["measured_recall"] is None
    asking.app.service.prepare()  # type: ignore[attr-defined]  # as the command does
    answer = asking.post("/recall", json=asked).json()
    assert answer["total_scored"] == 4
    assert 0 <= answer["measured_recall"]["recall"] <= 1
    assert answer["measured_recall"]["candidates"] == 4


@pytest.mark.parametrize(
    ("topic", "said"),
    [("", "at least 1"), ("  ", "it is empty"), ("x" * 10_000, "at most 1000"), ("红色 连衣裙", "is it its language?")],
)
def test_a_topic_that_says_nothing_is_refused(asking: TestClient, topic: str, said: str) -> None:
    found = error(asking.post("/recall", json={"topic": topic}), 422)
    assert found["param"] == "topic"
    assert said in found["message"]


def test_a_topic_longer_than_the_model_reads_says_so(asking: TestClient) -> None:
    long = asking.post("/recall", json=EVERYTHING | {"topic": "a red dog " * 30}).json()
    short = asking.post("/recall", json=EVERYTHING | {"topic": "a red dog " * 7 + "a"}).json()
    assert (long["truncated"], short["truncated"]) == (True, False)
    assert long["items"] == short["items"]


def test_products_are_listed_in_the_order_in_which_they_came(asking: TestClient) -> None:
    asked = {"limit": 7, "filter": "price < 100"}
    first = asking.get("/products", params=asked).json()
    second = asking.get("/products", params=asked | {"cursor": first["next_cursor"]}).json()
    assert [one["id"] for one in first["items"] + second["items"]] == [f"p{number}" for number in range(10)]
    assert (first["total"], second["next_cursor"]) == (10, None)


@pytest.mark.parametrize("id", ["p/1", "../../etc/passwd", "a b?c#d", "%2F", "红", "x/image", "<script>"])
def test_any_id_has_an_address(place: Path, id: str) -> None:
    write_catalogue(place / "more.jsonl", [product(1, id=id, title="<script>alert(1)</script>")])
    indexed(place, "more.jsonl")
    with client(place) as asking:
        answer = asking.get(f"/products/{quote(id, safe='')}").json()
        assert (answer["id"], answer["title"]) == (id, "<script>alert(1)</script>")
        explained = asking.get(answer["image_url"].removesuffix("image") + "explain?topic=a dog")
        assert explained.json()["id"] == id


@pytest.mark.parametrize("path", ["nix", "..%2F..%2Fetc%2Fpasswd", "p1%00", "P1", "p1%2F"])
def test_what_is_no_product_is_404(asking: TestClient, path: str) -> None:
    for end in ("", "/image", "/explain?topic=dog"):
        error(asking.get(f"/products/{path}{end}"), 404)


def test_an_explanation_has_the_score_that_recall_gives(asking: TestClient) -> None:
    items = asking.post("/recall", json=EVERYTHING).json()["items"]
    why = asking.get(f"/products/{items[0]['id']}/explain", params={"topic": "a red dog"}).json()
    assert why["score"] == pytest.approx(items[0]["score"], abs=1e-5)
    assert [one["word"] for one in why["words"]] == ["a", "red", "dog"]
    assert len(why["weights"][0]) == len(why["regions"])


def test_a_new_version_is_seen_at_the_next_request(asking: TestClient, place: Path) -> None:
    assert asking.get("/ready").json()["index_version"] == 1
    delete_products(place / "index", ["p3"])
    assert asking.get("/products/p3").status_code == 404
    assert asking.get("/info").json()["products"] == 11
    assert "interbert_index_version 2.0" in [asking.get("/ready"), asking.get("/metrics").text][1]
