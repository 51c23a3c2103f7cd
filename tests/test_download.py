"""Fetching pictures: from a server on this machine, which only a test may reach."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from interbert.vision.download import Downloader, DownloadError, Limits, fetch_pictures, is_public


def picture() -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


class Shop(BaseHTTPRequestHandler):
    """/a.png is a picture; the other paths are what their names say."""

    asked: list[str] = []  # noqa: RUF012
    release = threading.Event()

    def do_GET(self) -> None:
        self.asked.append(f"{self.headers['Host']} {self.path}")
        pages = {"/a.png": picture(), "/large": b"x" * 5000, "/text": b"<html>no</html>"}
        if self.path in ("/moved", "/around", "/inside"):
            self.send_response(302)
            places = {"/moved": "/a.png", "/around": "/around", "/inside": "http://inside.example/a.png"}
            self.send_header("Location", places[self.path])
            self.end_headers()
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x")
            self.release.wait(10)
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "500")
            self.end_headers()
            self.wfile.write(picture())
        elif self.path in pages:
            self.send_response(200)
            if self.path != "/large":
                self.send_header("Content-Length", str(len(pages[self.path])))
            self.end_headers()
            self.wfile.write(pages[self.path])
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def shop() -> Iterator[str]:
    Shop.asked.clear()
    Shop.release.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://shop.example:{server.server_port}"
    Shop.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def resolve(host: str, port: int) -> list[str]:
    """shop.example is this machine, inside.example a machine behind it; nothing else exists."""
    known = {"shop.example": ["127.0.0.1"], "inside.example": ["10.0.0.7"]}
    if host not in known:
        raise socket.gaierror(-2, "Name or service not known")
    return known[host]


def downloader(**limits: float) -> Downloader:
    return Downloader(Limits(**limits), resolve, lambda address: address == "127.0.0.1")  # type: ignore[arg-type]


def test_a_picture_comes_with_the_suffix_of_its_format_over_a_redirection(shop: str) -> None:
    assert downloader().fetch(f"{shop}/moved") == (picture(), ".png")
    assert [path for _, path in map(str.split, Shop.asked)] == ["/moved", "/a.png"]
    assert Shop.asked[0].startswith("shop.example:")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/none", "the host says 404"),
        ("/text", "is no picture"),
        ("/large", "larger than the limit of 1,000 bytes"),
        ("/around", "more than 3 redirections"),
        ("/inside", "host 'inside.example' is at 10.0.0.7 address: not on the open internet"),
        ("/short", "bytes too early"),
    ],
)
def test_what_is_no_picture_within_the_limits_is_refused(shop: str, path: str, why: str) -> None:
    with pytest.raises(DownloadError, match=why):
        downloader(max_bytes=1000).fetch(shop + path)


def test_a_host_that_never_ends_is_left_in_time(shop: str) -> None:
    with pytest.raises(DownloadError, match=r"not there within 0\.3 seconds|too early|no picture"):
        downloader(timeout_seconds=0.3).fetch(f"{shop}/slow")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://shop.example/a", "http://", "http://[::1", "a.jpg"])
def test_what_is_no_web_address_is_refused(address: str) -> None:
    with pytest.raises(DownloadError, match="is no"):
        downloader().fetch(address)


def test_a_host_that_does_not_exist_is_said() -> None:
    with pytest.raises(DownloadError, match="host 'nowhere.example' is not known"):
        downloader().fetch("https://nowhere.example/a.jpg")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
     "240.0.0.1", "255.255.255.255", "ff02::1", "2001:db8::1", "64:ff9b::7f00:1", "2002:7f00:1::",
     "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:192.168.0.1", "2002:0a00:0001::1", "64:ff9b::a00:1"],
)  # fmt: skip
def test_no_address_of_this_machine_or_its_surroundings_is_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_open_internet_are(address: str) -> None:
    assert is_public(address)


def test_one_private_address_among_a_hosts_is_enough_to_refuse_it() -> None:
    both = Downloader(resolve=lambda host, port: ["93.184.216.34", "192.168.0.1"])
    with pytest.raises(DownloadError, match=r"at 192\.168\.0\.1 address"):
        both.fetch("http://rebinding.example/a.jpg")


def test_by_default_a_server_on_this_machine_is_not_reached(shop: str) -> None:
    with pytest.raises(DownloadError, match="not on the open internet"):
        Downloader(resolve=resolve).fetch(f"{shop}/a.png")
    assert Shop.asked == []


def test_each_picture_is_fetched_once_and_a_second_call_goes_on(shop: str, tmp_path: Path) -> None:
    good, bad = f"{shop}/a.png", f"{shop}/none"
    files, failed = fetch_pictures([good, bad, good], tmp_path / "pictures", downloader())
    assert files[good].read_bytes() == picture()
    assert list(failed) == [bad]
    asked = len(Shop.asked)
    again, _ = fetch_pictures([good, bad], tmp_path / "pictures", downloader())
    assert again == files
    assert len(Shop.asked) == asked + 1  # the one that failed
