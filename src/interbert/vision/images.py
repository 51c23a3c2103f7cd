"""Picture files -> upright RGB pictures, whatever their format and mode; and a hash that survives scaling."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from interbert.errors import InterbertError

_FORMATS = """avif bmp dib gif icns ico j2k jfif jp2 jpe jpeg jpg pbm pcx pgm png pnm ppm psd qoi tga tif tiff webp"""
IMAGE_SUFFIXES = frozenset(f".{name}" for name in _FORMATS.split())
"""What files of a folder are taken for pictures; in lower case."""


class ImageError(InterbertError):
    """A picture that is missing, damaged, too large or none at all."""


def open_image(source: str | Path | bytes | Image.Image, max_pixels: int = 50_000_000) -> Image.Image:
    """Any picture that Pillow reads as RGB, upright (EXIF), transparent parts on white, the first frame of many.

    max_pixels: width times height; checked before anything is decoded.
    Raises ImageError with a sentence that names the picture.
    """
    name = f"'{source}'" if isinstance(source, str | Path) else "the picture"
    if isinstance(source, Image.Image):
        return _decoded(source, name, max_pixels)
    with _opened(source, name, max_pixels) as image:
        return _decoded(image, name, max_pixels, own=isinstance(source, bytes))


def _opened(source: str | Path | bytes, name: str, max_pixels: int) -> Image.Image:
    """The picture with its header read."""
    try:
        return Image.open(BytesIO(source) if isinstance(source, bytes) else source)
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} has far more pixels than the limit of {max_pixels:,}; make it smaller") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} {_why_unknown(source)}") from error
    except Exception as error:  # parsers of damaged headers raise nearly everything; also folders
        raise ImageError(f"{name} cannot be read as a picture: {_reason(error)}") from error


def _why_unknown(source: str | Path | bytes) -> str:
    if isinstance(source, bytes):
        start = source[:32]
    else:
        with open(source, "rb") as file:
            start = file.read(32)
    if not start:
        return "is an empty file"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return "is HEIC, which is not read; save it as JPEG"
    return "is not a picture of a known format"


def _decoded(image: Image.Image, name: str, max_pixels: int, *, own: bool = False) -> Image.Image:
    """own: nobody else has the picture, and no file is mapped in it: it may be given back without a copy."""
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"{name} has {image.width} x {image.height} pixels, which is more than the limit of {max_pixels:,}; "
            "make it smaller"
        )
    try:
        image.load()
        if own:
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image)
        return _rgb(ImageOps.exif_transpose(image))  # always a copy
    except Exception as error:  # decoders of damaged files raise nearly everything
        raise ImageError(f"{name} is damaged: {_reason(error)}; replace it or leave it out") from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":  # 16 bits; Pillow's own conversion would clip at 255
        return _from_grey(np.asarray(image, np.float64) / 257)
    if image.mode == "F":
        return _from_grey(_brightness(np.asarray(image, np.float64)))
    if image.mode == "LAB":
        spaces = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, *spaces, outputMode="RGB")
        assert converted is not None  # only None when done in place
        return converted
    if image.has_transparency_data:
        colours = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        ground = Image.new("RGBA", colours.size, "white")
        return Image.alpha_composite(ground, colours).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _brightness(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Float pictures state no unit: taken as 0..1 where nothing is above 1, as 0..255 or else 0..65535 above that."""
    values = np.nan_to_num(values)
    highest = values.max()
    return values * (255 if highest <= 1 else 1 if highest <= 255 else 1 / 257)


def _from_grey(values: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).convert("RGB")


def perceptual_hash(image: Image.Image) -> int:
    """64-bit difference hash: of a 9 x 8 grey miniature, whether each pixel is brighter than the one to its right.

    Scaling and JPEG change a few bits at most; other pictures differ in about half. Pictures of one colour all give 0.
    """
    small = image.convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    pixels = np.asarray(small, np.int16)
    bits = pixels[:, :-1] > pixels[:, 1:]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
