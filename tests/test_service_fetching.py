"""Pictures by address: which hosts, which addresses, redirects, names that change their mind, sizes and times."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from interbert.recall.service.errors import ServiceError
from interbert.recall.service.fetching import Fetcher
from interbert.vision.download import DownloadError

PICTURE = b"a picture" * 1000


class Host(BaseHTTPRequestHandler):
    """Answers by the path."""

    def do_GET(self) -> None:
        if self.path == "/picture":
            self.answer(200, PICTURE)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(PICTURE)
            except OSError:
                pass
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            self.server.hold.wait(20)  # type: ignore[attr-defined]
        elif self.path.startswith("/to/"):
            self.answer(302, b"", Location=self.path.removeprefix("/to/"))
        elif self.path == "/loop":
            self.answer(302, b"", Location="/loop")
        else:
            self.answer(404, b"")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    server.hold = threading.Event()  # type: ignore[attr-defined]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server.server_port
    server.hold.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def fetcher(port: int, **changes: Any) -> Fetcher:
    """One for which this machine is the open internet, under the name shop.example."""
    usual = {
        "resolve": lambda host, _: {"shop.example": ["127.0.0.1"], "inside.example": ["10.0.0.7"]}[host],
        "is_allowed": lambda address: address == "127.0.0.1",
        "ports": (port,),
        "most_bytes": 100_000,
    }
    return Fetcher(["shop.example", "inside.example"], **(usual | changes))


def why(fetcher: Fetcher, address: str) -> str:
    """Why an address is refused."""
    with pytest.raises(ServiceError) as caught:
        fetcher.fetch(address, "pairs.0")
    assert (caught.value.status, caught.value.param) == (422, "pairs.0")
    return caught.value.message


def test_a_picture_comes_from_a_host_that_is_allowed(port: int) -> None:
    assert fetcher(port).fetch(f"http://shop.example:{port}/picture", "x") == PICTURE
    assert fetcher(port).fetch(f"http://SHOP.example:{port}/to//picture", "x") == PICTURE


@pytest.mark.parametrize(
    "address",
    [
        "http://other.example/a",
        "http://shop.example.evil.com/a",
        "http://evilshop.example/a",
        "http://shop.example:22/a",
        "http://127.0.0.1/a",
        "http://[::1]/a",
        "http://2130706433/a",
        "http://0x7f.1/a",
        "http://user@shop.example/a",
        "http://shop.example@127.0.0.1/a",
        "ftp://shop.example/a",
        "gopher://shop.example/a",
        "file:///etc/passwd",
        "http:///a",
        "http://shop.example:99999/a",
        "http://shop.exampl\u0435/a",
        "http://shop.example/a\r\nX: y",
        "//shop.example/a",
    ],
)
def test_every_other_address_is_refused_without_a_look(address: str) -> None:
    def never(host: str, port: int) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    assert why(fetcher(80, resolve=never), address)


def test_a_name_that_leads_to_any_private_address_is_refused(port: int) -> None:
    assert "private address" in why(fetcher(port), f"http://inside.example:{port}/picture")
    mixed = fetcher(port, resolve=lambda *_: ["127.0.0.1", "10.0.0.1"])
    assert "private address" in why(mixed, f"http://shop.example:{port}/picture")
    assert "is not known" in why(fetcher(port, resolve=_nowhere), f"http://shop.example:{port}/picture")


def _nowhere(host: str, port: int) -> list[str]:
    raise OSError("no such name")


def test_the_address_that_was_checked_is_the_one_that_is_asked(port: int) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])  # a name that changes its mind
    once = fetcher(port, resolve=lambda *_: next(answers))
    assert once.fetch(f"http://shop.example:{port}/picture", "x") == PICTURE


@pytest.mark.parametrize(
    ("onward", "said"),
    [
        ("http://inside.example:{port}/picture", "private address"),
        ("http://127.0.0.1:{port}/picture", "not one that this service was told"),
        ("http://shop.example:22/", "not one that this service was told"),
        ("file:///etc/passwd", "wanted https"),
    ],
)
def test_a_redirect_is_checked_like_any_address(port: int, onward: str, said: str) -> None:
    assert said in why(fetcher(port), f"http://shop.example:{port}/to/{onward.format(port=port)}")


@pytest.mark.parametrize(
    ("path", "said"),
    [("endless", "limit of 100,000 bytes"), ("loop", "more than 3 redirections"), ("nothing", "says 404")],
)
def test_what_never_ends_is_cut(port: int, path: str, said: str) -> None:
    assert said in why(fetcher(port), f"http://shop.example:{port}/{path}")


def test_a_host_that_does_not_answer_in_time_is_left(port: int) -> None:
    assert "within 0.2 seconds" in why(fetcher(port, seconds=0.2), f"http://shop.example:{port}/slow")


def test_where_a_private_address_lies_is_not_said(port: int) -> None:
    assert "10.0.0.7" not in why(fetcher(port), f"http://inside.example:{port}/picture")


def test_a_redirect_from_https_to_http_is_refused() -> None:
    with pytest.raises(DownloadError, match="from https to http"):
        fetcher(80)._check("http://shop.example/a", "https://shop.example/a")
