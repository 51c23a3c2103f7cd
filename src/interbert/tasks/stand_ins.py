"""Regions for a picture that is not there, made of what is known of its objects: their classes and perhaps their boxes.

Each object gets the mean feature of the regions of its class in a store of other pictures by the same extractor. What
is in such a picture, and where, the model can read; how it looks it cannot, and whoever reports a figure says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.vision.store import RegionStore

SIDE = 100  # pixels, of a picture of which no size is known
PICTURES = 2000  # of the store are looked at


class StandIns:
    """Makes regions of classes and boxes. Raises InterbertError where the store has no regions to learn from."""

    def __init__(self, store: RegionStore) -> None:
        info = store.extractor
        self._place = {
            _plain(synonym): at for at, names in enumerate(info.classes) for synonym in [names, *names.split(",")]
        }
        self._place.pop("", None)  # of a class without a name
        classes = len(info.classes)
        sums, counts = np.zeros((classes + 1, info.feature_size)), np.zeros(classes + 1)  # the last: all classes
        for id in islice(store, PICTURES):
            regions = store[id]
            for rows in (regions.labels, np.full(len(regions), classes)):
                np.add.at(sums, rows, regions.features.astype(np.float64))
                np.add.at(counts, rows, 1)
        if not counts[-1]:
            raise InterbertError(f"store '{store.folder}' has no regions; give one of pictures like those missing")
        self._unknown = classes
        self._means = np.where(counts[:, None] > 0, sums / counts.clip(1)[:, None], sums[-1] / counts[-1])

    def regions(
        self,
        objects: Sequence[str],
        boxes: NDArray[np.float32] | None = None,
        confidence: NDArray[np.float32] | None = None,
        image_size: tuple[int, int] = (SIDE, SIDE),
    ) -> Regions:
        """One region an object, in their order; of a class that the extractor does not know, the mean of all.

        boxes: float32 [N, 4] xyxy; None puts every object into the whole picture.  confidence: [N]; None: 1.
        """
        at = np.array([self._place.get(_plain(name), self._unknown) for name in objects], np.int64)
        width, height = image_size
        if boxes is None:
            boxes = np.tile(np.array([0, 0, width, height], np.float32), (len(at), 1))
        if confidence is None:
            confidence = np.ones(len(at), np.float32)
        labels = np.where(at == self._unknown, 0, at)
        return Regions(self._means[at].astype(np.float32), boxes, image_size, labels, confidence.astype(np.float32))

    def nothing_known(self) -> Regions:
        """For a picture of which nothing is known: one region that fills it, the mean of all."""
        return self.regions([""])


def _plain(name: str) -> str:
    """A class's name as catalogues write it differently: "cell phone", "cellphone".

    >>> _plain("Cell phone")
    'cellphone'
    """
    return "".join(name.lower().split())
