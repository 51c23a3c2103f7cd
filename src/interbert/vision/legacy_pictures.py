"""The pictures that imported features belong to: a folder and an id in, size and fingerprint out."""

from __future__ import annotations

import hashlib
from pathlib import Path

from interbert.vision.images import ImageError, open_image, perceptual_hash
from interbert.vision.legacy_records import Unusable
from interbert.vision.provenance import ImageInfo
from interbert.vision.sources import ImageSource, image_sources, readable, same_ending


class PictureFolder:
    """Finds pictures by id: the path in the folder without suffix, or a part of it from some folder on.

    The one has to end with the other, and only one picture may be meant.
    """

    def __init__(self, folder: Path) -> None:
        self._sources = {source.id: source for source in image_sources(folder)}
        self._by_name: dict[str, list[ImageSource]] = {}
        for source in self._sources.values():
            self._by_name.setdefault(source.id.rpartition("/")[2], []).append(source)

    def look_up(self, id: str) -> tuple[tuple[int, int], ImageInfo]:
        """(width, height) of the upright picture, and what is known of its file. Raises Unusable for none."""
        named = self._by_name.get(id.rpartition("/")[2], [])
        found = [self._sources[id]] if id in self._sources else [one for one in named if same_ending(one.id, id)]
        if len(found) != 1:
            raise Unusable("the folder of pictures has none of its name, or several")
        path = found[0].path
        try:
            content = path.read_bytes()
            image = open_image(content)
        except (OSError, ImageError) as error:
            raise Unusable(f"its picture '{readable(path)}' cannot be read: {error}") from error
        info = ImageInfo(readable(path), hashlib.sha256(content).hexdigest(), perceptual_hash(image))
        return image.size, info
