"""The pictures that a task's data name: found in a region store, or counted with the reason why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from interbert.batch import Regions
from interbert.corpus.pictures import NO_PICTURE, SEVERAL_PICTURES, Pictures
from interbert.errors import InterbertError
from interbert.tasks.task import Given
from interbert.training.report import Picture
from interbert.vision.store import RegionStore

SHOWN_BOXES = 10


class StoredPictures:
    """A region store as a task reads it.

    Raises InterbertError where the regions are of another extractor than the run's.
    """

    def __init__(self, folder: Path, given: Given) -> None:
        self.store, self._given = RegionStore(folder), given
        if difference := given.extractor.difference(self.store.extractor):
            raise InterbertError(
                f"region store '{folder}' is of another extractor than the model's: {difference}. Extract the "
                f"pictures again:  interbert extract IMAGES --extractor {given.extractor.name} --out STORE"
            )
        self._pictures = Pictures(self.store)

    def find(self, names: Sequence[str], left_out: Counter[str]) -> str | None:
        """The id of the picture that one of the names means, the first that means any.

        None where none does, or the picture has fewer regions than wanted; the reason is counted in `left_out`.
        """
        reason = NO_PICTURE
        for name in names:
            at = self._pictures.find(name)
            if isinstance(at, str):
                reason = at if at == SEVERAL_PICTURES else reason
                continue
            if self._pictures.counts[at] >= self._given.min_regions:
                return self._pictures.ids[at]
            reason = f"its picture has fewer than {self._given.min_regions} regions"
            break
        left_out[reason] += 1
        return None

    def count(self, id: str) -> int:
        """How many regions `regions` gives."""
        count = self.store.region_count(id)
        return count if self._given.max_regions is None else min(count, self._given.max_regions)

    def regions(self, id: str) -> Regions:
        """The regions of a picture, best first, as many as the task takes."""
        return self._given.taken(self.store[id])

    def folders(self, id: str) -> list[Path]:
        """The folder that the picture's file was found in, where the store knows it."""
        info = self.store.info(id)
        return [] if info is None else [Path(info.source).parent]

    def shown(self, id: str, note: str = "", which: Sequence[int] | None = None) -> Picture:
        """The picture's file, where the store knows it, with some of its boxes. which: regions; None: the first ten."""
        info, regions = self.store.info(id), self.regions(id)
        width, height = regions.image_size
        boxes = regions.select(slice(0, SHOWN_BOXES) if which is None else list(which)).boxes
        shares = boxes / np.array([width, height, width, height], np.float32)
        file = None if info is None else Path(info.source)
        return Picture(file, note, boxes=tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in shares.tolist()))
