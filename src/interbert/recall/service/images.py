"""The pictures of products, as the browser gets them: the file that was indexed, and no other.

A file is served only where its sha256 is the picture's key, so that no name in a catalogue and no link leads to
anything but a picture that was indexed. What a browser cannot show becomes a JPEG.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from interbert.errors import InterbertError
from interbert.recall.store import Product
from interbert.vision.images import open_image
from interbert.vision.store import RegionStore

log = logging.getLogger(__name__)

MOST_BYTES = 64 << 20  # of a file
SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp", "BMP": "image/bmp"}


@dataclass(frozen=True)
class Shown:
    """A picture file. type: as HTTP names it."""

    content: bytes
    type: str


class ProductImages:
    """The files of an index's pictures. folder: that the catalogue's names start from; None: where they were found."""

    def __init__(self, regions: Path, folder: Path | None) -> None:
        self._regions, self._folder = regions, folder
        self._store: RegionStore | None = None

    def read(self, product: Product) -> Shown | None:
        """What a product shows; None where the file is not there, or shows something else by now."""
        for path in self._places(product):
            content = _content(path)
            if content is not None and hashlib.sha256(content).hexdigest() == product.picture:
                return _shown(content)
        return None

    def _places(self, product: Product) -> Iterator[Path]:
        if self._folder is not None:
            yield self._folder / product.image
        source = self._source(product.picture)
        if source is not None:
            yield Path(source)

    def _source(self, picture: str) -> str | None:
        """Where a picture's file was when its regions were made; None where this machine does not know."""
        try:
            for again in (False, True):  # of pictures that came after the store was opened
                if self._store is None or again:
                    self._store = RegionStore(self._regions)
                if picture in self._store:
                    info = self._store.info(picture)
                    return None if info is None else info.source
        except InterbertError as error:
            log.warning("where pictures were is not known: %s", error)
        return None


def _content(path: Path) -> bytes | None:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        return path.read_bytes()
    except (OSError, ValueError):
        return None


def _shown(content: bytes) -> Shown | None:
    try:
        with Image.open(BytesIO(content)) as image:
            form = image.format or ""
        if form in SHOWN:
            return Shown(content, SHOWN[form])
        made = BytesIO()
        open_image(content).save(made, "JPEG", quality=90)
    except (InterbertError, OSError, ValueError):
        return None
    return Shown(made.getvalue(), "image/jpeg")
