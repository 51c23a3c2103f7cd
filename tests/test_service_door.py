"""Before the routes: keys, sizes, types, ids of requests, headers; and bodies that are broken in every way."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from service_helpers import JSON, client, error, fixtures
from starlette.testclient import TestClient

from interbert.errors import UsageError
from interbert.recall.service.settings import Settings, digest_of, read_keys

KEY = "a-key-that-is-long-enough"

place, asking = fixtures("module")


@pytest.fixture(scope="module")
def locked(place: Path) -> Iterator[TestClient]:
    with client(place, Settings(key_digests=(digest_of("another-key-of-somebody"), digest_of(KEY)))) as found:
        yield found


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"nonsense", 400),
        (b'{"topic": "dog"', 400),
        (b"\xff\xfe", 400),
        (b'{"topic": "\xff"}', 400),
        (b'{"topic": "dog", "limit": ' + b"9" * 5_000 + b"}", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"dog"', 422),
        (b"{}", 422),
        (b'{"topic": null}', 422),
        (b'{"topic": 5}', 422),
        (b'{"topic": ["dog"]}', 422),
        (b'{"topic": "\\ud800"}', 422),
        (b'{"topic": "dog", "threshold": NaN}', 422),
        (b'{"topic": "dog", "threshold": Infinity}', 422),
        (b'{"topic": "dog", "threshold": 1e309}', 422),
        (b'{"topic": "dog", "threshold": true}', 422),
        (b'{"topic": "dog", "threshold": "0.6"}', 422),
        (b'{"topic": "dog", "threshold": -0.1}', 422),
        (b'{"topic": "dog", "limit": 1.0}', 422),
        (b'{"topic": "dog", "limit": 0}', 422),
        (b'{"topic": "dog", "limit": 1001}', 422),
        (b'{"topic": "dog", "mode": "fast"}', 422),
        (b'{"topic": "dog", "candidates": 99999999}', 422),
        (b'{"topic": "dog", "unknown": 1}', 422),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_broken_body_is_an_error_of_one_shape(asking: TestClient, body: bytes, status: int) -> None:
    answer = asking.post("/recall", content=body, headers=JSON)
    error(answer, status)
    assert len(answer.content) < 500  # what was sent is not repeated


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"]
)
def test_a_body_of_another_type_is_415(asking: TestClient, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    error(asking.post("/recall", content=b'{"topic": "dog"}', headers=headers), 415)
    error(asking.post("/score/upload", content=b"{}", headers=JSON), 415)


def test_a_compressed_body_is_415(asking: TestClient) -> None:
    error(asking.post("/recall", content=b"x", headers=JSON | {"Content-Encoding": "gzip"}), 415)


def test_a_body_that_is_too_large_is_413_whether_it_says_so_or_not(place: Path) -> None:
    with client(place, Settings(max_body_bytes=1000)) as asking:
        error(asking.post("/recall", content=b"x" * 1001, headers=JSON), 413)
        error(asking.post("/recall", content=iter([b" " * 600] * 2), headers=JSON), 413)
        error(asking.post("/recall", content=b"", headers=JSON | {"Content-Length": "9" * 400}), 413)
        assert asking.post("/recall", content=b'{"topic": "dog"}' + b" " * 900, headers=JSON).status_code == 200


def test_only_who_has_a_key_is_let_in(locked: TestClient) -> None:
    assert locked.get("/info", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    wrong = ["", "Bearer", f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", f"Basic {KEY}", KEY, "Bearer \u00e9".encode()]
    for given in wrong:
        answer = locked.get("/info", headers={"Authorization": given})
        assert error(answer, 401)["type"] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_without_a_key_there_is_the_page_and_whether_it_lives(locked: TestClient) -> None:
    for path in ("/", "/page/main.js", "/health", "/ready"):
        assert locked.get(path).status_code == 200
    for path in ("/metrics", "/openapi.json", "/products", "/products/p1/image", "/topics", "/page%2Fmain.js"):
        assert locked.get(path).status_code == 401


def test_keys_stand_in_a_file_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# of the shop\n\n{KEY}\n")
    assert read_keys(tmp_path / "keys") == (digest_of(KEY),)
    (tmp_path / "keys").write_text(f"{KEY}\n", encoding="utf-8-sig")
    assert read_keys(tmp_path / "keys") == (digest_of(KEY),)
    (tmp_path / "keys").write_text(f"{KEY}  # for Bob\n")
    with pytest.raises(UsageError, match="key 1 of .* has a blank in it; a remark stands on a line of its own"):
        read_keys(tmp_path / "keys")
    (tmp_path / "keys").write_text("short\n")
    with pytest.raises(UsageError, match="key 1 of .* shorter than 16"):
        read_keys(tmp_path / "keys")
    (tmp_path / "keys").write_text("# none\n")
    with pytest.raises(UsageError, match="have none"):
        read_keys(tmp_path / "keys")


def test_settings_that_cannot_work_are_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="images: there is no folder"):
        Settings(images=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="image host: got 'https://a.example', wanted a name alone"):
        Settings(image_hosts=("https://a.example",))


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2_X", True), ("a b", False), ("x" * 200, False), ("", False)])
def test_a_request_has_an_id_the_callers_where_it_is_harmless(asking: TestClient, given: str, kept: bool) -> None:
    answer = asking.get("/nothing", headers={"X-Request-ID": given})
    assert (error(answer, 404)["request_id"] == given) == kept


def test_every_answer_has_the_headers_that_keep_browsers_out_of_trouble(asking: TestClient) -> None:
    for path in ("/", "/health", "/nothing", "/products/p1", "/page/style.css"):
        headers = asking.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_a_method_that_is_not_known_is_405(asking: TestClient, method: str) -> None:
    error(asking.request(method, "/recall"), 405)


def test_too_many_at_once_are_told_to_come_again(place: Path) -> None:
    with client(place) as asking:
        asking.app._open = 10**6  # type: ignore[attr-defined]
        answer = asking.get("/products")
        assert error(answer, 429)["code"] == "too_many"
        assert answer.headers["retry-after"] == "1"
        assert asking.get("/health").status_code == 200


def test_a_defect_is_500_and_stands_in_the_log(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    with client(place) as asking:
        monkeypatch.setattr(asking.app.service.index, "now", broken)  # type: ignore[attr-defined]
        answer = asking.get("/products")
        found = error(answer, 500)
    assert "secret" not in answer.text
    assert found["request_id"] in caplog.text
    assert "secret detail" in caplog.text


def test_the_log_has_a_line_of_json_a_request_without_what_was_asked(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with client(place) as asking, caplog.at_level(logging.INFO, "interbert.service"):
        asking.app._log_requests = True  # type: ignore[attr-defined]
        asking.get("/products/p1/explain?topic=a%0Adog")
    line = json.loads(caplog.messages[-1])
    assert line["route"] == "/products/{id}/explain"
    assert (line["method"], line["status"]) == ("GET", 200)
    assert "dog" not in caplog.text
