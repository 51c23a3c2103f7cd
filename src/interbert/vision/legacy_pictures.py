"""The pictures that imported features belong to: a folder and an id in, size and fingerprint out."""

from __future__ import annotations

import hashlib
from pathlib import Path

from interbert.vision.images import ImageError, open_image, perceptual_hash
from interbert.vision.legacy_records import Unusable
from interbert.vision.provenance import ImageInfo
from interbert.vision.sources import image_sources, readable


class PictureFolder:
    """Finds pictures by id: the path in the folder without suffix, or its last part where that is there once."""

    def __init__(self, folder: Path) -> None:
        self._paths: dict[str, Path | None] = {}
        for source in image_sources(folder):
            self._paths[source.id] = source.path
            last = source.id.rpartition("/")[2]
            if last != source.id:
                self._paths[last] = None if last in self._paths else source.path

    def look_up(self, id: str) -> tuple[tuple[int, int], ImageInfo]:
        """(width, height) of the upright picture, and what is known of its file. Raises Unusable for none."""
        path = self._paths.get(id) or self._paths.get(id.rpartition("/")[2])
        if path is None:
            raise Unusable("the folder of pictures has none of its name, or several")
        try:
            content = path.read_bytes()
            image = open_image(content)
        except (OSError, ImageError) as error:
            raise Unusable(f"its picture '{readable(path)}' cannot be read: {error}") from error
        info = ImageInfo(readable(path), hashlib.sha256(content).hexdigest(), perceptual_hash(image))
        return image.size, info
