"""Pictures that are sent: bombs, other formats, what is no picture; and those of products, as files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from service_helpers import client, error, fixtures, picture, shop_with_pictures, uri
from starlette.testclient import TestClient

from interbert.recall.service.errors import ServiceError
from interbert.recall.service.pictures import check_picture, decoded
from interbert.recall.service.settings import Settings

place, asking = fixtures("module")


def png_head(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and has nothing in it."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checked = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + checked + bytes(4) + b"IDAT"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (png_head(100_000, 100_000), 413, "picture_too_large"),
        (png_head(10_000, 10_000), 413, "picture_too_large"),  # 100 megapixels
        (png_head(5_001, 5_000), 413, "picture_too_large"),
        (png_head(0, 5), 422, "no_picture"),
        (picture(form="TIFF"), 422, "no_picture"),
        (picture(form="PPM"), 422, "no_picture"),
        (picture()[:40], 422, "no_picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "no_picture"),
        (b"GIF89a", 422, "no_picture"),
        (b"", 422, "no_picture"),
    ],
)
def test_what_is_no_picture_or_too_large_is_refused_before_it_is_decoded(
    asking: TestClient, content: bytes, status: int, code: str
) -> None:
    answer = asking.post("/score", json={"pairs": [{"text": "a dog", "image": uri(content)}]})
    found = error(answer, status)
    assert (found["code"], found["param"]) == (code, "pairs.0")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_the_formats_of_the_web_are_read_whatever_they_are_called(asking: TestClient, form: str) -> None:
    sent = uri(picture(form=form), "x-other")
    assert asking.post("/score", json={"pairs": [{"text": "a dog", "image": sent}]}).status_code == 200


def test_a_picture_that_breaks_when_it_is_decoded_is_one_fields_fault(asking: TestClient) -> None:
    broken = picture(300, 300)[:200]
    body = {"pairs": [{"text": "a dog", "id": "p1"}, {"text": "a dog", "image": uri(broken)}]}
    check_picture(broken, "x", 10**6)  # its head is right
    assert asking.post("/score", json=body).status_code >= 400


@pytest.mark.parametrize(
    "image", ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/a.png", "data:text/html;base64,AAAA", "data:,x"]
)
def test_nothing_is_taken_for_a_path_or_fetched_where_nobody_allowed_it(asking: TestClient, image: str) -> None:
    found = error(asking.post("/score", json={"pairs": [{"text": "a dog", "image": image}]}), 422)
    assert found["param"] == "pairs.0"
    assert image not in found["message"]


def test_base64_that_is_none_is_refused() -> None:
    assert decoded("DATA:image/PNG;charset=x;base64,QUJD", "x") == b"ABC"
    with pytest.raises(ServiceError, match="is no base64"):
        decoded("data:image/png;base64,QU*JD", "x")


def test_more_pictures_than_the_limit_are_refused(place: Path) -> None:
    with client(place, Settings(max_pictures=2)) as asking:
        pairs = [{"text": "a dog", "image": uri(picture())}] * 3
        assert "at most 2" in error(asking.post("/score", json={"pairs": pairs}), 422)["message"]


def test_a_run_without_an_extractor_says_so(place: Path) -> None:
    with client(place, eyes=False) as asking:
        answer = asking.post("/score", json={"pairs": [{"text": "a dog", "image": uri(picture())}]})
        assert error(answer, 422)["code"] == "no_extractor"


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    return shop_with_pictures(tmp_path)


def test_a_products_picture_is_its_file_and_can_be_kept(shown: Path) -> None:
    with client(shown) as asking:
        answer = asking.get("/products/p0/image")
        assert answer.content == (shown / "files" / "0.jpeg").read_bytes()
        assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("image/jpeg", "nosniff")
        again = asking.get("/products/p0/image", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert asking.get("/products/p1/image").headers["content-type"] == "image/jpeg"  # which a browser shows


def test_a_file_that_shows_something_else_by_now_is_not_served(shown: Path) -> None:
    with client(shown) as asking:
        (shown / "files" / "0.jpeg").write_bytes(b"root:x:0:0")
        assert error(asking.get("/products/p0/image"), 404)["code"] == "no_picture"


def test_pictures_that_were_moved_are_found_where_the_service_is_told(shown: Path) -> None:
    (shown / "moved").mkdir()
    (shown / "files").rename(shown / "moved" / "files")
    with client(shown) as asking:
        assert asking.get("/products/p0/image").status_code == 404
    with client(shown, Settings(images=shown / "moved")) as asking:
        assert asking.get("/products/p0/image").status_code == 200
