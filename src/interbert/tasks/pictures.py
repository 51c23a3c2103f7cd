"""The pictures that a task's data name: found in a region store, or counted with the reason why not.

A challenge wants an answer to every question, also to one whose picture is not there: then a stand-in is read.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from interbert.batch import Regions
from interbert.corpus.pictures import NO_PICTURE, SEVERAL_PICTURES, Pictures
from interbert.errors import InterbertError
from interbert.tasks.rows import Examples
from interbert.tasks.stand_ins import StandIns
from interbert.tasks.task import Given
from interbert.training.report import Picture
from interbert.vision.provenance import NO_PICTURES
from interbert.vision.store import RegionStore

log = logging.getLogger(__name__)
SHOWN_BOXES = 10


class StoredPictures:
    """A region store as a task reads it.

    Raises InterbertError where the regions are of another extractor than the run's.
    """

    def __init__(self, folder: Path, given: Given) -> None:
        self.store, self._given = RegionStore(folder), given
        if given.extractor.name == NO_PICTURES:
            raise InterbertError(
                "the run has read texts alone and knows no pictures; pretrain it on a corpus with regions first:  "
                "interbert pretrain CORPUS --init RUN --out ANOTHER"
            )
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

    def at_all(self, names: Sequence[str]) -> str | None:
        """The id of the picture that one of the names means, however few regions it has; None where it has none."""
        found = (self._pictures.find(name) for name in names)
        return next((self._pictures.ids[at] for at in found if isinstance(at, int) and self._pictures.counts[at]), None)

    @cached_property
    def stand_ins(self) -> StandIns:
        """Makes regions for pictures that are not there. Raises InterbertError where the store has none at all."""
        return StandIns(self.store)

    def count(self, id: str | None) -> int:
        """How many regions `regions` gives."""
        if id is None:
            return 1
        count = self.store.region_count(id)
        return count if self._given.max_regions is None else min(count, self._given.max_regions)

    def regions(self, id: str | None) -> Regions:
        """The regions of a picture, best first, as many as the task takes; of None, one that says nothing of it."""
        return self.stand_ins.nothing_known() if id is None else self._given.taken(self.store[id])

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


def submitted(found: Examples[Any], read: int, others: Sequence[str | None]) -> dict[str, int]:
    """What a submission is made of, counted and said.

    read: how many questions are read as the figures have them.  others: the pictures of the rest, which the figures
    leave out: None for a stand-in.
    """
    without = sum(id is None for id in others)
    few, unreadable = len(others) - without, sum(found.left_out.values())
    for count, what in (
        (few, "are answered with fewer regions than wanted"),
        (without, "are answered without their picture, which the store does not have"),
        (unreadable, "may not be in it: so many entries of the data cannot be read"),
    ):
        if count:
            log.warning("submission: %d questions %s", count, what)
    return {"questions": read + len(others), "with_few_regions": few, "without_picture": without}
