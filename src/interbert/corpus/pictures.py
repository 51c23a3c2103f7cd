"""The pictures of a region store as arrays, and which of them a source's names mean.

In: a RegionStore and a name as a caption file has it. Out: a position, or a sentence that says why there is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from interbert.corpus.corpus import MIRRORED, SPLITS, Corpus
from interbert.corpus.leakage import file_hash, fingerprints_of, look_alike
from interbert.vision.provenance import ImageInfo
from interbert.vision.store import RegionStore

NO_PICTURE = "its picture is not in the region store"
SEVERAL_PICTURES = "its picture's name fits several pictures of the region store"
_SEVERAL = -1


class Pictures:
    """The P pictures of a store, mirrored views put with their picture.

    ids: [P] in the order of the store.  counts, mirrored_counts: [P] regions; 0 where there is no mirrored view.
    hashes: int64 [P], perceptual: uint64 [P]; 0 where the store does not know the file.  excluded: position -> reason.
    """

    def __init__(self, store: RegionStore) -> None:
        counts = dict(zip(store, store.counts().tolist(), strict=True))
        self.ids = [id for id in counts if not (id.endswith(MIRRORED) and id.removesuffix(MIRRORED) in counts)]
        self.counts = np.array([counts[id] for id in self.ids], np.int64)
        self.mirrored_counts = np.array([counts.get(id + MIRRORED, 0) for id in self.ids], np.int64)
        self._position = {id: at for at, id in enumerate(self.ids)}
        self._by_name: dict[str, int] | None = None
        self.hashes = np.zeros(len(self.ids), np.int64)
        self.perceptual = np.zeros(len(self.ids), np.uint64)
        for id, info in store.fingerprints():
            at = self._position.get(id)
            if at is not None:
                self.hashes[at], self.perceptual[at] = file_hash(info), info.perceptual
        self.excluded: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, name: str) -> int | str:
        """The picture that `name` means: an id, with or without a suffix, or the last part of one. Else why none."""
        for candidate in (name, _without_suffix(name)):
            if candidate in self._position:
                return self._position[candidate]
        last = name.rstrip("/").rpartition("/")[2]
        for candidate in (last, _without_suffix(last)):
            at = self._names().get(candidate)
            if at is not None:
                return at if at != _SEVERAL else SEVERAL_PICTURES
        return NO_PICTURE

    def exclude(self, positions: Iterable[int], reason: str) -> None:
        """Leaves pictures out of the corpus. The first reason stays."""
        for at in positions:
            self.excluded.setdefault(int(at), reason)

    def exclude_like(self, infos: Iterable[ImageInfo], place: str, distance: int | None) -> None:
        """Leaves out the pictures with the file of one of `infos`, or its perceptual hash within `distance` bits."""
        files, looks = fingerprints_of(infos)
        self.exclude(np.flatnonzero(np.isin(self.hashes, files)), f"its picture is a file of {place}")
        if distance is not None and len(looks):
            known = np.flatnonzero(self.hashes)
            alike = look_alike(self.perceptual[known], looks, distance)
            self.exclude(known[alike], f"its picture looks like one of {place}")

    def _names(self) -> dict[str, int]:
        """The last part of every id -> its position, or `_SEVERAL`."""
        if self._by_name is None:
            self._by_name = {}
            for at, id in enumerate(self.ids):
                last = id.rpartition("/")[2]
                self._by_name[last] = _SEVERAL if last in self._by_name else at
        return self._by_name


def _without_suffix(name: str) -> str:
    """`a/b.jpg` -> `a/b`; a dot in a folder's name is none of a suffix."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and "/" not in suffix else name


def pictures_of_store(folder: str | Path) -> list[ImageInfo]:
    """The files of all pictures of a store."""
    with RegionStore(folder) as store:
        return [info for _, info in store.fingerprints()]


def held_out_pictures(folder: str | Path) -> list[ImageInfo]:
    """The files of the validation and test pictures of a corpus."""
    corpus = Corpus(folder)
    held_out = np.flatnonzero(corpus.image_splits != SPLITS.index("train"))
    ids = {corpus.image_id(int(at)) for at in held_out}
    return [info for id, info in corpus.store.fingerprints() if id in ids]
