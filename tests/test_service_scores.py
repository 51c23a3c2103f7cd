"""/rerank and /score: both directions, products, uploads, and what cannot be scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from service_helpers import error, fixtures, picture, uri
from starlette.testclient import TestClient

from interbert.scoring.scorer import load
from interbert.vision.store import RegionStore

IDS = [{"id": f"p{number}"} for number in range(6)]

place, asking = fixtures("module")


def known_scores(place: Path, text: str) -> list[float]:
    store = RegionStore(place / "regions")
    pairs = [(text, store[f"images/{number}"]) for number in range(6)]
    return [float(one) for one in load(place / "run").predict(pairs)]


def test_rerank_gives_the_scores_of_predict_best_first(asking: TestClient, place: Path) -> None:
    answer = asking.post("/rerank", json={"query": "a red dog", "documents": IDS}).json()
    known = known_scores(place, "a red dog")
    assert [one["index"] for one in answer["results"]] == sorted(range(6), key=lambda at: -known[at])
    assert {one["index"]: one["relevance_score"] for one in answer["results"]} == pytest.approx(
        dict(enumerate(known)), abs=2e-3
    )  # regions are kept as float16
    assert answer["usage"]["pairs"] == 6
    assert "document" not in answer["results"][0]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_rerank_has_the_addresses_of_other_services(asking: TestClient, path: str) -> None:
    body = {"model": "any", "query": {"text": "a red dog"}, "documents": IDS, "top_n": 2, "return_documents": True}
    results = asking.post(path, json=body).json()["results"]
    assert len(results) == 2
    assert all(one["document"] == IDS[one["index"]] for one in results)


def test_texts_are_ranked_by_a_picture(asking: TestClient) -> None:
    body = {"query": {"id": "p1"}, "documents": ["a dog", {"text": "two cats"}, "a tree on the road"]}
    results = asking.post("/rerank", json=body).json()["results"]
    assert sorted(one["index"] for one in results) == [0, 1, 2]
    sent = asking.post("/rerank", json=body | {"query": {"image": uri(picture())}}).json()["results"]
    assert len(sent) == 3


def test_a_threshold_leaves_out_what_is_not_strictly_above_it(asking: TestClient) -> None:
    body = {"query": "a red dog", "documents": IDS}
    every = asking.post("/rerank", json=body).json()["results"]
    above = asking.post("/rerank", json=body | {"threshold": every[2]["relevance_score"]}).json()["results"]
    assert above == every[:2]


def test_score_keeps_the_order_of_its_pairs(asking: TestClient, place: Path) -> None:
    pairs = [{"text": "a red dog", **one} for one in IDS]
    data = asking.post("/score", json={"pairs": pairs}).json()["data"]
    assert [one["index"] for one in data] == list(range(6))
    assert [one["score"] for one in data] == pytest.approx(known_scores(place, "a red dog"), abs=2e-3)


def test_uploaded_files_are_named_in_the_request(asking: TestClient) -> None:
    files = [("files", ("a.png", picture(30, 20))), ("files", ("b.jpg", picture(40, 20, "JPEG")))]
    body = {"query": "a dog", "documents": [{"upload": "b.jpg"}, {"id": "p1"}, {"upload": "a.png"}]}
    answer = asking.post("/rerank/upload", data={"request": json.dumps(body)}, files=files)
    assert len(answer.json()["results"]) == 3
    pairs = {"pairs": [{"text": "a dog", "upload": "a.png"}, {"text": "a dog", "image": uri(picture(30, 20))}]}
    data = asking.post("/score/upload", data={"request": json.dumps(pairs)}, files=files).json()["data"]
    assert data[0]["score"] == pytest.approx(data[1]["score"], abs=1e-5)
    missing = {"pairs": [{"text": "a dog", "upload": "../a.png"}]}
    refused = asking.post("/score/upload", data={"request": json.dumps(missing)}, files=files)
    assert error(refused, 422)["param"] == "pairs.0"
    assert error(asking.post("/score/upload", data={"request": "{"}, files=files), 400)["code"] == "malformed"


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"query": "a dog", "documents": ["a dog"]}, "documents.0", "the query is a text, so wanted pictures"),
        ({"query": {"id": "p1"}, "documents": [*IDS]}, "documents.0", "so wanted texts"),
        ({"query": "a dog", "documents": [IDS[0], {"id": "nix"}]}, "documents.1", "no product of that id"),
        ({"query": "a dog", "documents": []}, "documents", "at least 1"),
        ({"query": "a dog", "documents": [IDS[0]] * 1001}, "documents", "at most 1000"),
        ({"query": "a dog", "documents": [{"id": "p1", "text": "x"}]}, "documents.0", "exactly one of"),
        ({"query": "a dog", "documents": [{"id": None}]}, "documents.0", "exactly one of"),
        ({"query": 5, "documents": IDS}, "query", "valid"),
        ({"query": "a dog", "documents": IDS, "top_n": -1}, "top_n", "greater than or equal to 1"),
        ({"query": "a dog", "documents": IDS, "top_n": True}, "top_n", "valid integer"),
        ({"query": "a dog", "documents": IDS, "threshold": "0.6"}, "threshold", "valid number"),
        ({"query": "a dog", "documents": IDS, "max_chunks_per_doc": 1}, "max_chunks_per_doc", "not permitted"),
        ({"query": "", "documents": IDS}, "query.text", "at least 1"),
    ],
)
def test_what_cannot_be_ranked_says_which_field(
    asking: TestClient, body: dict[str, Any], param: str, said: str
) -> None:
    found = error(asking.post("/rerank", json=body), 422)
    assert found["param"] == param
    assert said in found["message"]
