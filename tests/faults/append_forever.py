"""A process that appends pictures to a store until it is killed."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from interbert.batch import Regions
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore

EXTRACTOR = ExtractorInfo("faults", 8)


def picture(number: int) -> Regions:
    """The regions of picture `number`: anyone can tell whether they came back whole."""
    count = 1 + number % 5
    boxes = np.tile(np.array([[0, 0, 1 + number, 2]], np.float32), (count, 1))
    features = np.full((count, 8), number % 2048, np.float32)
    return Regions(features, boxes, (number + 1, 2), np.arange(count), np.full(count, 0.5, np.float32))


def append_forever(folder: Path, committed: Connection) -> None:
    """Commits three pictures at a time and sends how many there are."""
    with RegionStore.writer(folder, EXTRACTOR) as writer:
        while True:
            for _ in range(3):
                writer.append(f"picture {len(writer)}", picture(len(writer)))
            writer.commit()
            committed.send(len(writer))
