from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interbert.vision.images import ImageError, open_image, perceptual_hash


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that ends where its pixels should begin."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 1000) + b"IDAT"


def scenery(size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Soft blobs, the same at every size."""
    blobs = np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blobs).resize(size, Image.Resampling.BICUBIC)


def test_a_rotation_in_exif_is_applied():
    image = Image.new("RGB", (40, 20), "blue")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.paste("red", (0, 0, 10, 20))
    upright = open_image(saved(image, "PNG", exif=exif))
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 5)) == (255, 0, 0)
    assert upright.getpixel((10, 35)) == (0, 0, 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_transparent_parts_are_white(mode):
    clear = (0,) * len(Image.new(mode, (1, 1)).getbands())
    assert open_image(Image.new(mode, (4, 4), clear)).getpixel((1, 1)) == (255, 255, 255)


def test_half_transparent_black_is_grey():
    assert open_image(Image.new("RGBA", (4, 4), (0, 0, 0, 128))).getpixel((0, 0)) == (127, 127, 127)


def test_a_transparent_colour_of_a_palette_is_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 1)
    opened = open_image(saved(image, "PNG", transparency=0))
    assert opened.getpixel((2, 2)) == (255, 255, 255)
    assert opened.getpixel((0, 0)) == (200, 100, 50)


def test_a_transparent_colour_of_an_rgb_picture_is_white():
    opened = open_image(saved(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3)))
    assert opened.getpixel((2, 2)) == (255, 255, 255)


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    grey = Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16))
    opened = open_image(saved(grey))
    assert [opened.getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


@pytest.mark.parametrize(("values", "wanted"), [([0, 0.5, 1], [0, 128, 255]), ([0, 100, 200], [0, 100, 200])])
def test_float_pictures_are_taken_by_their_range(values, wanted):
    opened = open_image(saved(Image.fromarray(np.array([values], np.float32)), "TIFF"))
    assert [opened.getpixel((x, 0))[1] for x in range(3)] == wanted


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16", "I;16B"]
)
def test_every_mode_becomes_rgb(mode):
    opened = open_image(Image.new(mode, (5, 3)))
    assert (opened.mode, opened.size) == ("RGB", (5, 3))


def test_cmyk_without_ink_is_white():
    assert open_image(saved(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")).getpixel((4, 4)) == (255, 255, 255)


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    opened = open_image(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert opened.getpixel((3, 3)) == (255, 0, 0)


def test_too_many_pixels_are_refused_before_decoding():
    with pytest.raises(ImageError, match=r"8000 x 8000 pixels.*limit of 50,000,000"):
        open_image(png_header(8000, 8000))


def test_a_bomb_is_refused():
    with pytest.raises(ImageError, match="more pixels than the limit"):
        open_image(png_header(60000, 60000))


def test_a_truncated_picture_is_an_error_with_its_name(tmp_path: Path):
    path = tmp_path / "half.jpg"
    path.write_bytes(saved(scenery(), "JPEG")[:2000])
    with pytest.raises(ImageError, match=r"half\.jpg' is damaged: .*truncated"):
        open_image(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_is_an_error(content):
    with pytest.raises(ImageError, match=r"^the picture "):
        open_image(content)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_bytes_that_flip_give_a_picture_or_an_error_of_ours(format):
    whole, random = saved(scenery((60, 40)), format), np.random.default_rng(0)
    errors = 0
    for _ in range(40):
        content = np.frombuffer(whole, np.uint8).copy()
        content[random.integers(0, min(len(content), 300), 4)] ^= random.integers(1, 256, 4, np.uint8)
        try:
            assert open_image(content.tobytes()).mode == "RGB"
        except ImageError:
            errors += 1
    assert errors > 0


def test_a_missing_picture_and_a_folder_are_errors(tmp_path: Path):
    with pytest.raises(ImageError, match="none.jpg' does not exist"):
        open_image(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="cannot be read"):
        open_image(tmp_path)


def test_a_picture_given_as_an_object_is_not_changed():
    image = Image.new("RGB", (4, 4), "red")
    open_image(image).putpixel((0, 0), (0, 0, 0))
    assert image.getpixel((0, 0)) == (255, 0, 0)


def test_what_is_given_back_is_detached_from_file_and_object(tmp_path: Path):
    image = Image.new("RGB", (4, 4), "red")
    image.save(tmp_path / "red.png")
    for source in (image, tmp_path / "red.png"):
        opened = open_image(source)
        opened.paste("blue", (0, 0, 4, 4))
        assert opened is not image
    assert image.getpixel((0, 0)) == open_image(tmp_path / "red.png").getpixel((0, 0)) == (255, 0, 0)


def test_the_hash_of_a_picture_darker_to_the_right_is_all_ones():
    falling = np.tile(np.linspace(250, 0, 90, dtype=np.uint8), (80, 1))
    assert perceptual_hash(Image.fromarray(falling)) == 2**64 - 1
    assert perceptual_hash(Image.fromarray(falling[:, ::-1])) == 0


def test_the_hash_survives_scaling_and_jpeg():
    wanted = perceptual_hash(scenery())
    smaller = perceptual_hash(scenery().resize((160, 120), Image.Resampling.BILINEAR))
    packed = perceptual_hash(open_image(saved(scenery(), "JPEG", quality=30)))
    assert (wanted ^ smaller).bit_count() <= 3
    assert (wanted ^ packed).bit_count() <= 3


def test_the_hash_of_another_picture_is_far():
    other = scenery().rotate(180)
    assert (perceptual_hash(scenery()) ^ perceptual_hash(other)).bit_count() > 16


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is an empty file"), (b"\0\0\0 ftypheic" + b"\0" * 40, "is HEIC, which is not read; save it as JPEG")],
)
def test_what_is_no_picture_says_what_it_is(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    for source in (content, tmp_path / "a.jpg"):
        with pytest.raises(ImageError, match=said):
            open_image(source)
