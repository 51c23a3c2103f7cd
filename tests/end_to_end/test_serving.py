"""A real process under uvicorn: how it ends, slow clients, clients that leave, too many at once, its time limit."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from recall_helpers import indexed, shop
from service_helpers import process, slow

ASKED = {"topic": "a red dog", "threshold": 0}
PATIENCE = 60.0


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shop(tmp_path_factory.mktemp("shop"))
    indexed(folder)
    return folder


@pytest.fixture(scope="module")
def held(index: Path) -> Iterator[str]:
    """The address of a service whose scores never come."""
    limits = {"max_queue": 1, "header_seconds": 0.5, "body_seconds": 0.5, "time_limit_seconds": 3}
    with slow(index, index / "never", **limits) as (_, address):
        yield address


def until(what: Callable[[], bool]) -> None:
    """Waits for something."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def metric(address: str, name: str) -> float:
    lines = httpx2.get(address + "metrics", timeout=PATIENCE).text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), 0.0)


def recall(address: str, topic: str = "a red dog") -> httpx2.Response:
    return httpx2.post(address + "recall", json=ASKED | {"topic": topic}, timeout=PATIENCE)


class Asking(threading.Thread):
    """A recall in another thread; `answer` when it has come."""

    def __init__(self, address: str, topic: str = "a red dog") -> None:
        super().__init__(daemon=True)
        self.address, self.topic = address, topic
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        with suppress(httpx2.TransportError):  # of a service that was ended
            self.answer = recall(self.address, self.topic)


def connected(address: str) -> socket.socket:
    place = urlsplit(address)
    found = socket.create_connection((place.hostname, place.port), timeout=PATIENCE)
    found.settimeout(PATIENCE)
    return found


def request(body: bytes) -> bytes:
    head = f"POST /recall HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def everything(client: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    found = b""
    while part := client.recv(1 << 16):
        found += part
    return found


def test_the_command_serves_an_index_until_it_is_stopped(index: Path) -> None:
    with process(index / "index", "--port", 0, "--json", "--quiet") as (running, address):
        answer = recall(address).json()
        assert answer["total_recalled"] == len(answer["items"]) == 12
        assert "text/html" in httpx2.get(address).headers["content-type"]
        cascade = httpx2.post(address + "recall", json=ASKED | {"mode": "cascade"}, timeout=PATIENCE).json()
        assert cascade["measured_recall"]["candidates"] == 200
        running.send_signal(signal.SIGINT)
        assert running.wait(PATIENCE) == 130


def test_sigterm_answers_what_was_asked_and_lets_nobody_else_in(index: Path, tmp_path: Path) -> None:
    with slow(index, tmp_path / "go") as (running, address):
        asking = Asking(address, "two cats on the road")
        until(lambda: metric(address, "interbert_batch_requests_count") > 0)
        running.send_signal(signal.SIGTERM)
        until(lambda: refused(address))
        assert running.poll() is None
        (tmp_path / "go").touch()
        asking.join(PATIENCE)
        assert asking.answer.status_code == 200
        assert running.wait(PATIENCE) == 143


def test_a_second_sigterm_does_not_wait(index: Path, tmp_path: Path) -> None:
    with slow(index, tmp_path / "go") as (running, address):
        Asking(address, "a big tree")
        until(lambda: metric(address, "interbert_batch_requests_count") > 0)
        running.send_signal(signal.SIGTERM)
        until(lambda: refused(address))
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == 143


def refused(address: str) -> bool:
    try:
        connected(address).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", b""),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"HTTP/1.1 408"),
        (request(b"{}")[:-1], b"HTTP/1.1 408"),
    ],
    ids=["silent", "header", "body"],
)
def test_a_client_that_does_not_send_is_cut_off(held: str, sent: bytes, answered: bytes) -> None:
    with connected(held) as client:
        client.sendall(sent)
        assert everything(client).startswith(answered)
    assert httpx2.get(held + "health").status_code == 200


def test_a_request_that_takes_too_long_is_answered_503(held: str) -> None:
    answer = recall(held, "a dog")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "timeout")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_client_that_leaves_frees_its_place(held: str) -> None:
    before = metric(held, 'interbert_left_total{why="client"}')
    with connected(held) as client:
        client.sendall(request(json.dumps(ASKED | {"topic": "a cat"}).encode()))
        until(lambda: metric(held, "interbert_requests_open") > 1)  # it, and the one that asks for metrics
    until(lambda: metric(held, 'interbert_left_total{why="client"}') == before + 1)
    explained = httpx2.get(held + "products/p1/explain?topic=a+dog", timeout=PATIENCE)
    assert explained.status_code == 200  # which is computed by the same thread


def test_products_come_while_others_are_scored_and_who_leaves_then_is_not_waited_for(
    index: Path, tmp_path: Path
) -> None:
    with slow(index, tmp_path / "go", free=1) as (_, address):
        asked, lines = ASKED | {"topic": "a dog nobody asked for"}, {"Accept": "application/x-ndjson"}
        with httpx2.stream("POST", address + "recall", json=asked, headers=lines, timeout=PATIENCE) as answer:
            first = json.loads(next(answer.iter_lines()))
            assert (first["scored"], first["total"], len(first["items"])) == (4, 12, 4)
        until(lambda: metric(address, 'interbert_left_total{why="client"}') == 1)
        explained = httpx2.get(address + "products/p1/explain?topic=a+dog", timeout=PATIENCE)
        assert explained.status_code == 200  # which is computed by the same thread


def test_products_that_came_before_the_time_was_over_are_followed_by_the_error(index: Path, tmp_path: Path) -> None:
    with slow(index, tmp_path / "go", free=1, time_limit_seconds=2) as (_, address):
        asked = ASKED | {"topic": "the old cat"}
        answer = httpx2.post(
            address + "recall", json=asked, headers={"Accept": "application/x-ndjson"}, timeout=PATIENCE
        )
        first, last = map(json.loads, answer.text.splitlines())
        assert first["scored"] == 4
        assert (last["status"], last["error"]["code"], last["retry_after"]) == (503, "timeout", 1)


def test_more_than_can_wait_are_told_to_come_again(held: str) -> None:
    computed = metric(held, 'interbert_batch_requests_count{what="recall exact"}')
    first = Asking(held, "a road")
    until(lambda: metric(held, 'interbert_batch_requests_count{what="recall exact"}') > computed)
    second = Asking(held, "two big dogs")
    until(lambda: metric(held, "interbert_queue") == 1)
    third = recall(held, "an old tree")
    assert (third.status_code, third.json()["error"]["code"]) == (429, "queue_full")
    assert 1 <= int(third.headers["Retry-After"]) <= 60
    for asking in (first, second):
        asking.join(PATIENCE)
        assert asking.answer.status_code == 503
