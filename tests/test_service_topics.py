"""Topics over HTTP: kept, shown as cards, reviewed, forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from service_helpers import error, fixtures
from starlette.testclient import TestClient

from interbert.recall.topics import open_topics

DOGS = {"title": "a red dog", "sub_title": "for the garden", "threshold": 0.1, "limit": 5}

place, asking = fixtures("function")


def ids(products: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in products]


def test_a_topic_is_kept_with_what_is_recalled_for_it(asking: TestClient) -> None:
    assert asking.get("/topics").json() == {"items": [], "total": 0, "next_cursor": None}
    kept = asking.put("/topics/dogs", json=DOGS).json()
    recalled = asking.post("/recall", json={"topic": "a red dog", "threshold": 0.1, "limit": 5}).json()
    assert ids(kept["products"]) == ids(recalled["items"])
    (card,) = asking.get("/topics").json()["items"]
    assert card["cover"] == kept["products"][0]
    assert (card["products"], card["kept"], card["dropped"], card["sub_title"]) == (5, 0, 0, "for the garden")


def test_a_review_drops_a_product_until_it_is_taken_back(asking: TestClient, place: Path) -> None:
    first, second, *_ = ids(asking.put("/topics/dogs", json=DOGS).json()["products"])
    dropped = asking.post("/topics/dogs/review", json={"product": first, "verdict": "drop"}).json()
    assert (ids(dropped["dropped"]), dropped["cover"]["id"]) == ([first], second)
    asking.post("/topics/dogs/review", json={"product": second, "verdict": "keep"})
    assert [(one.id, one.belongs) for one in open_topics(place / "index").reviews()] == [(first, 0), (second, 1)]
    again = asking.put("/topics/dogs", json=DOGS).json()
    assert first not in ids(again["products"])
    back = asking.post("/topics/dogs/review", json={"product": first, "verdict": None}).json()
    assert back["dropped"] == []


def test_any_name_has_an_address(asking: TestClient) -> None:
    name = "dogs/../1 & <b>"
    assert asking.put(f"/topics/{quote(name, safe='')}", json=DOGS).json()["name"] == name
    assert asking.get(f"/topics/{quote(name, safe='')}").json()["title"] == "a red dog"
    assert asking.delete(f"/topics/{quote(name, safe='')}").status_code == 204
    assert asking.get(f"/topics/{quote(name, safe='')}").status_code == 404


def test_cards_come_in_pages(asking: TestClient) -> None:
    for name in "abc":
        asking.put(f"/topics/{name}", json=DOGS)
    first = asking.get("/topics?limit=2").json()
    second = asking.get("/topics", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [one["name"] for one in first["items"] + second["items"]] == ["a", "b", "c"]
    assert (first["total"], second["next_cursor"]) == (3, None)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"title": ""}, "title"),
        ({"title": "红色"}, "topic"),
        ({"title": "a dog", "filter": "prise < 3"}, "filter"),
        ({"title": "a dog", "threshold": 2}, "threshold"),
        ({"title": "a dog", "name": "x"}, "name"),
    ],
)
def test_a_topic_that_cannot_be_asked_is_not_kept(asking: TestClient, body: dict[str, Any], param: str) -> None:
    assert error(asking.put("/topics/x", json=body), 422)["param"] == param
    assert asking.get("/topics").json()["total"] == 0


def test_a_review_of_nothing_is_refused(asking: TestClient) -> None:
    asking.put("/topics/dogs", json=DOGS)
    review = {"product": "nix", "verdict": "keep"}
    assert error(asking.post("/topics/dogs/review", json=review), 422)["param"] == "product"
    assert error(asking.post("/topics/cats/review", json=review), 404)["code"] == "no_such_topic"
    review = {"product": "p1", "verdict": "yes"}
    assert error(asking.post("/topics/dogs/review", json=review), 422)["param"] == "verdict"
