"""Region stores for tests: small ones, and what equality means for what comes out of one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from faults.append_forever import EXTRACTOR, picture

from interbert.batch import Regions
from interbert.vision.provenance import ExtractorInfo, ImageInfo
from interbert.vision.store import RegionStore

CLASSED = ExtractorInfo("classed", 3, ("cat", "dog"), "ab" * 32, {"size": 448})


def filled(folder: Path, count: int = 4, first: int = 0) -> Path:
    """A store of `count` pictures named `picture 0`, `picture 1`, …"""
    with RegionStore.writer(folder, EXTRACTOR) as store:
        for number in range(first, first + count):
            info = ImageInfo(f"p/{number}.jpg", f"{number:064x}", (1 << 64) - 1 - number)
            store.append(f"picture {number}", picture(number), info)
    return folder


def same(ours: Regions, theirs: Regions) -> bool:
    """Equal in every field, after rounding to float16 where the store does so."""
    fields = [field.name for field in dataclasses.fields(Regions) if field.name != "image_size"]
    rounded = {"features": np.float16, "probabilities": np.float16}
    pairs = [(getattr(ours, name), getattr(theirs, name), rounded.get(name)) for name in fields]
    return ours.image_size == theirs.image_size and all(
        (a is None) == (b is None) and (a is None or np.array_equal(a, b.astype(kind or b.dtype)))
        for a, b, kind in pairs
    )
