"""The page's files as they are served, what /info tells it, and what OpenAPI says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from recall_helpers import indexed, shop
from service_helpers import client
from starlette.testclient import TestClient

from interbert.recall.service.settings import Settings
from interbert.scoring.calibration import Calibration

PAGE = files("interbert.recall") / "page"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shop(tmp_path_factory.mktemp("shop"))
    indexed(folder)
    return folder


@pytest.fixture(scope="module")
def asking(place: Path) -> Iterator[TestClient]:
    with client(place, Settings(others=(("B", "/b/"),))) as found:
        yield found


def test_every_file_of_the_page_is_served_under_a_strict_policy(asking: TestClient) -> None:
    names = [one.name for one in PAGE.iterdir() if one.is_file()]
    assert "index.html" in names
    for name in names:
        answer = asking.get(f"/page/{name}")
        assert answer.content == (PAGE / name).read_bytes()
        assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert asking.get("/").content == (PAGE / "index.html").read_bytes()


def test_no_page_has_a_script_inside(asking: TestClient) -> None:
    for one in PAGE.iterdir():
        if one.name.endswith(".html"):
            text = one.read_text(encoding="utf-8")
            assert all(re.search(r"\bsrc=", tag) for tag in re.findall(r"<script[^>]*>", text))
            assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", text)


@pytest.mark.parametrize(
    "name",
    ["..%2Findex.html", "%2e%2e/index.html", "nix.js", "..%5Cindex.html", "index.html%00", "", ".", "page.py"],
)
def test_nothing_beside_the_page_is_served(asking: TestClient, name: str) -> None:
    assert asking.get(f"/page/{name}").status_code == 404


def test_a_file_that_is_kept_need_not_be_sent_again(asking: TestClient) -> None:
    tag = asking.get("/page/main.js").headers["etag"]
    assert asking.get("/page/main.js", headers={"If-None-Match": tag}).status_code == 304


def test_info_tells_the_page_what_it_needs(asking: TestClient) -> None:
    info = asking.get("/info").json()
    assert info["columns"]["price"] == "number"
    assert (info["threshold"], info["calibration"], info["topics"]) == (0.6, None, True)
    assert info["others"] == [{"name": "B", "path": "/b/"}]
    assert (info["products"], info["index_version"], info["limits"]["documents"]) == (12, 1, 1000)


def test_info_tells_the_precision_of_thresholds_where_the_run_is_calibrated(place: Path) -> None:
    about = {"pairs": 100, "cuts": [{"threshold": 0.6, "precision": 0.9, "recall": 0.5, "taken": 0.2}]}
    with client(place) as asking:
        scorer = asking.app.service.index.scorer  # type: ignore[attr-defined]
        scorer.calibration = Calibration("line", (0.0,), (0.0,), 1.0, about=about)
        assert asking.get("/info").json()["calibration"] == about


def test_openapi_names_every_route_and_the_shape_of_errors(asking: TestClient) -> None:
    described = asking.get("/openapi.json").json()
    assert {"/recall", "/rerank", "/score", "/products/{id}/explain", "/health", "/ready"} <= set(described["paths"])
    for of_path in described["paths"].values():
        for of_method in of_path.values():
            shape = of_method["responses"]["422"]["content"]["application/json"]["schema"]
            assert shape == {"$ref": "#/components/schemas/ErrorAnswer"}
