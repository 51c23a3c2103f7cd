"""Small pictures of products: their sizes, how many are kept, what is no picture."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from service_helpers import client, error, picture, shop_with_pictures

from interbert.recall.service.images import Shown
from interbert.recall.service.thumbnails import Thumbnails, smaller


def photo(width: int, height: int, form: str = "JPEG") -> Shown:
    """A picture that does not compress."""
    file = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(file, form)
    return Shown(file.getvalue(), f"image/{form.lower()}")


def size_of(shown: Shown | None) -> tuple[int, int]:
    assert shown is not None
    with Image.open(BytesIO(shown.content)) as image:
        return image.size


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_large_picture_becomes_a_small_jpeg_of_the_same_shape(form: str) -> None:
    large = photo(1200, 600, form)
    small = smaller(large, 320)
    assert size_of(small) == (320, 160)
    assert small is not None
    assert small.type == "image/jpeg"
    assert len(small.content) < len(large.content) / 8


def test_a_small_file_stays_as_it_is() -> None:
    small = Shown(picture(100, 80), "image/png")
    assert smaller(small, 160) is small
    assert size_of(smaller(Shown(picture(170, 80), "image/png"), 160)) == (160, 75)


def test_a_picture_lies_as_its_camera_was_held() -> None:
    exif, file = Image.Exif(), BytesIO()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (1000, 500)).save(file, "JPEG", exif=exif)
    assert size_of(smaller(Shown(file.getvalue(), "image/jpeg"), 160)) == (80, 160)


def test_what_is_damaged_is_none() -> None:
    assert smaller(Shown(photo(600, 600).content[:5000], "image/jpeg"), 160) is None
    assert smaller(Shown(b"nothing", "image/jpeg"), 160) is None


class Counted:
    """Stands for `ProductImages`: every product shows a photo. read_count: how often a file was read."""

    def __init__(self) -> None:
        self.read_count = 0

    def read(self, product: Any) -> Shown:
        self.read_count += 1
        return photo(400, 400)


class Named:
    """Stands for a product."""

    def __init__(self, picture: str) -> None:
        self.picture = picture


def test_the_last_ones_are_kept_within_a_bound() -> None:
    files: Any = Counted()
    one = len(smaller(photo(400, 400), 160).content)  # type: ignore[union-attr]
    thumbnails = Thumbnails(files, most_bytes=2 * one)
    a, b, c = (Named(name) for name in "abc")
    for product in (a, b, a, c, a):
        thumbnails.read(product, 160)  # type: ignore[arg-type]
    assert files.read_count == 3
    thumbnails.read(b, 160)  # type: ignore[arg-type]  # forgotten for c
    assert files.read_count == 4


def test_a_size_is_asked_for_by_its_pixels(tmp_path: Path) -> None:
    with client(shop_with_pictures(tmp_path)) as asking:
        whole, small = asking.get("/products/p0/image"), asking.get("/products/p0/image?size=200")
        assert small.content == whole.content  # it has 20 x 10 pixels
        assert small.headers["etag"] == whole.headers["etag"].rstrip('"') + '-320"'
        tag = {"If-None-Match": small.headers["etag"]}
        assert asking.get("/products/p0/image?size=300", headers=tag).status_code == 304
        assert asking.get("/products/p0/image?size=321", headers=tag).status_code == 200
        for wrong in ("0", "1281", "-1", "big", ""):
            assert error(asking.get(f"/products/p0/image?size={wrong}"), 422)["param"] == "size"


def test_a_small_picture_is_of_the_file_that_was_indexed_or_of_none(tmp_path: Path) -> None:
    with client(shop_with_pictures(tmp_path)) as asking:
        (tmp_path / "files" / "0.jpeg").write_bytes(picture(300, 300))
        assert error(asking.get("/products/p0/image?size=200"), 404)["code"] == "no_picture"
