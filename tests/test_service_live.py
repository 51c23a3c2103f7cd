"""An index that changes under the service: grows, is built anew, becomes another model's, goes away."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from recall_helpers import SPREAD, indexed
from service_helpers import client, error, fixtures
from task_helpers import saved_run

from interbert.errors import InterbertError
from interbert.recall.service.live import LiveIndex
from interbert.recall.topics import find_topics

ASKED = {"topic": "a red dog", "threshold": 0}

place, _ = fixtures("function")


def rebuilt(place: Path, count: int) -> None:
    """Another index with the same model and so many products, in the place of the first."""
    shutil.rmtree(place / "index")
    rows = (place / "catalogue.jsonl").read_text().splitlines()[:count]
    (place / "fewer.jsonl").write_text("\n".join(rows) + "\n")
    indexed(place, "fewer.jsonl")


def test_topics_of_an_index_that_was_put_in_its_place_are_the_ones_that_are_reviewed(place: Path) -> None:
    with client(place) as asking:
        asking.put("/topics/dogs", json={"title": "a red dog", "threshold": 0}).raise_for_status()
        shutil.copytree(place / "index", place / "next")
        (place / "index").rename(place / "old")
        (place / "next").rename(place / "index")
        asking.post("/topics/dogs/review", json={"product": "p1", "verdict": "keep"}).raise_for_status()
    assert [len(find_topics(place / name).reviews()) for name in ("index", "old")] == [1, 0]


def test_the_metrics_have_the_version_that_answers(place: Path) -> None:
    with client(place) as asking:
        assert "interbert_index_version 1.0" in asking.get("/metrics").text


def test_an_index_that_was_built_anew_is_opened_again(place: Path) -> None:
    with client(place) as asking:
        before = asking.post("/recall", json=ASKED | {"limit": 1000}).json()
        rebuilt(place, 5)
        after = asking.post("/recall", json=ASKED | {"limit": 1000}).json()
    assert (before["total_passed"], after["total_passed"]) == (12, 5)
    known = {one["id"]: one["score"] for one in before["items"]}
    assert {one["id"]: one["score"] for one in after["items"]} == pytest.approx(
        {one["id"]: known[one["id"]] for one in after["items"]}, abs=1e-5
    )


def test_an_index_of_another_model_is_refused_until_the_right_one_is_back(place: Path) -> None:
    with client(place) as asking:
        shutil.move(place / "index", place / "kept")
        saved_run(place / "run", replace(SPREAD, initializer_range=0.3))
        indexed(place)
        for answer in (asking.post("/recall", json=ASKED), asking.get("/ready"), asking.get("/products")):
            found = error(answer, 503)
            assert "built anew with another model" in found["message"]
            assert answer.headers["retry-after"]
        assert asking.get("/health").status_code == 200
        shutil.rmtree(place / "index")
        shutil.move(place / "kept", place / "index")
        assert asking.post("/recall", json=ASKED).status_code == 200


def test_while_there_is_no_index_the_service_says_so(place: Path) -> None:
    with client(place) as asking:
        shutil.move(place / "index", place / "kept")
        assert error(asking.get("/ready"), 503)["code"] == "no_index"
        shutil.move(place / "kept", place / "index")
        assert asking.get("/ready").status_code == 200


def test_a_folder_without_an_index_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="is not an index"):
        LiveIndex(tmp_path)


def test_an_index_whose_model_has_changed_is_refused_at_the_start(place: Path) -> None:
    saved_run(place / "run", replace(SPREAD, initializer_range=0.3))
    with pytest.raises(InterbertError, match="scores of two models do not mix"):
        LiveIndex(place / "index")
