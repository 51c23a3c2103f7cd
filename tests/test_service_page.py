"""The page's files as they are served, what /info tells it, and what OpenAPI says."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from service_helpers import client, fixtures
from starlette.testclient import TestClient

from interbert.recall.service.settings import Settings
from interbert.scoring.calibration import Calibration

PAGE = files("interbert.recall") / "page"

place, asking = fixtures("module", Settings(others=(("B", "/b/"),)))


def test_every_file_of_the_page_is_served_under_a_strict_policy(asking: TestClient) -> None:
    names = {one.name for one in PAGE.iterdir() if one.is_file()} - {"frame.html"}
    assert "index.html" in names
    for name in names:
        answer = asking.get(f"/page/{name}")
        assert (PAGE / name).read_bytes() in answer.content
        assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert asking.get("/").content == asking.get("/page/index.html").content


def test_each_page_stands_in_the_frame_and_leads_to_the_others(asking: TestClient) -> None:
    for path, script, home in (("/", "page/main.js", "./"), ("/page/topics.html", "topics.js", "../")):
        text = asking.get(path).text
        assert text.startswith("<!doctype html>")
        assert f'src="{script}"' in text
        assert f'<a class="name" href="{home}">' in text
        assert (text.count('aria-current="page"'), text.count("<main>"), "$" in text) == (1, 1, False)


def test_no_page_has_a_script_inside(asking: TestClient) -> None:
    for one in PAGE.iterdir():
        if one.name.endswith(".html"):
            text = one.read_text(encoding="utf-8")
            assert all(re.search(r"\bsrc=", tag) for tag in re.findall(r"<script[^>]*>", text))
            assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", text)


@pytest.mark.parametrize(
    "name",
    [
        "..%2Findex.html",
        "%2e%2e/index.html",
        "nix.js",
        "..%5Cindex.html",
        "index.html%00",
        "",
        ".",
        "page.py",
        "frame.html",
    ],
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
