"""Pictures of products made smaller, so that thousands of them fit a page: one of a few sizes, kept in memory.

In: a product and a size. Out: a JPEG, or the file itself where it is no larger. What is read is what `images` serves.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from io import BytesIO

from PIL import Image

from interbert.errors import InterbertError
from interbert.recall.service.images import ProductImages, Shown
from interbert.recall.store import Product
from interbert.vision.images import open_image

SIDES = (160, 320, 640, 1280)  # pixels of the longer side
MOST_BYTES = 32 << 20  # of all that are kept
SMALL_BYTES = 64 << 10  # a file that is sent as it is, where it has no more pixels than are asked for
AT_ONCE = 2  # decoded: a large picture takes 150 MB
QUALITY = 82  # WebP has two thirds of the bytes for eight times the time


class Thumbnails:
    """Of one index. Those that were asked for longest ago are forgotten first. most_bytes: of all that are kept."""

    def __init__(self, images: ProductImages, most_bytes: int = MOST_BYTES) -> None:
        self._images, self._most = images, most_bytes
        self._kept: OrderedDict[tuple[str, int], Shown] = OrderedDict()
        self._bytes = 0
        self._lock, self._decoders = threading.Lock(), threading.Semaphore(AT_ONCE)

    def read(self, product: Product, side: int) -> Shown | None:
        """What a product shows, in that size of `SIDES`; None where `ProductImages` has nothing."""
        key = product.picture, side
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._decoders:
            shown = self._images.read(product)
            made = None if shown is None else smaller(shown, side)
        if made is not None:
            self._keep(key, made)
        return made

    def _keep(self, key: tuple[str, int], made: Shown) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += len(made.content)
            while self._bytes > self._most:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= len(oldest.content)


def side_for(pixels: int) -> int:
    """The least of `SIDES` that has so many; else the greatest.

    >>> [side_for(pixels) for pixels in (1, 160, 161, 2000)]
    [160, 160, 320, 1280]
    """
    return next((side for side in SIDES if side >= pixels), SIDES[-1])


def smaller(shown: Shown, side: int) -> Shown | None:
    """A picture whose longer side has at most `side` pixels. None where it cannot be decoded."""
    try:
        with Image.open(BytesIO(shown.content)) as image:
            if max(image.size) <= side and len(shown.content) <= SMALL_BYTES:
                return shown
            image.draft("RGB", (2 * side, 2 * side))  # of a JPEG, only what is needed is decoded
            made = open_image(image)
    except (InterbertError, OSError, ValueError):
        return None
    made.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = BytesIO()
    made.save(file, "JPEG", quality=QUALITY)
    return Shown(file.getvalue(), "image/jpeg")
