"""The pictures of a region store as arrays, and which of them a source's names mean.

In: a RegionStore and a name as a caption file has it. Out: a position, or a sentence that says why there is none.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from interbert.corpus.corpus import MIRRORED, SPLITS, Corpus
from interbert.corpus.leakage import file_hash, fingerprints_of, look_alike
from interbert.vision.images import IMAGE_SUFFIXES
from interbert.vision.provenance import ImageInfo
from interbert.vision.sources import same_ending, without_suffix
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
        self._by_file: dict[str, int] | None = None
        self._files: dict[int, str] = {}  # position -> its file's folder and name, without suffix
        self.hashes = np.zeros(len(self.ids), np.int64)
        self.perceptual = np.zeros(len(self.ids), np.uint64)
        for id, info in store.fingerprints():
            at = self._position.get(id)
            if at is not None:
                self.hashes[at], self.perceptual[at] = file_hash(info), info.perceptual
                self._files[at] = without_suffix("/".join(info.source.split("/")[-2:]))
        self.excluded: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, name: str) -> int | str:
        """The picture that `name` means, else why there is none.

        The id, or one that ends with the name or with which the name ends, folder by folder, a picture's suffix left
        out; else a known file's name. "a/1.jpg" is never the picture b/1. Where the store knows a picture's file, a
        name that ends as a picture's ("7.jpg") is that of the file: of a catalogue the store may have the products'
        ids, and a picture 7.jpg need not be that of product 7.
        """
        if name in self._position:
            return self._position[name]
        whole, last = without_suffix(name), _last_part(name)
        for ending in (*_endings(name), *_endings(whole)):
            at = self._position.get(ending)
            if at is not None and self._may_be(at, last):
                return at
        for candidate in (last, without_suffix(last)):
            at = self._names().get(candidate)
            if at == _SEVERAL:
                return SEVERAL_PICTURES
            if at is not None and self._may_be(at, last) and same_ending(self.ids[at], name, whole):
                return at
        at = self._of_files().get(without_suffix(last)) if _is_file_name(last) else None
        if at == _SEVERAL:
            return SEVERAL_PICTURES
        if at is None or ("/" in self.ids[at] and not same_ending(self._files[at], whole)):
            return NO_PICTURE
        return at

    def fitting(self, name: str) -> Iterator[int]:
        """The pictures that `name` means: one or none, or with a * in it those whose id it fits ("*val2014*")."""
        if "*" in name:
            fits = re.compile(fnmatch.translate(name)).match
            yield from (at for at, id in enumerate(self.ids) if fits(id))
        elif isinstance(at := self.find(name), int):
            yield at

    def _may_be(self, at: int, name: str) -> bool:
        """Whether the file of a picture may be the one of that name."""
        if at not in self._files or not _is_file_name(name):
            return True
        return _last_part(self._files[at]) == without_suffix(name)

    def limit_confidence(self, store: RegionStore, least: float) -> None:
        """Counts of each picture only its first regions of a confidence over `least`. Reads all of the store."""
        for at, id in enumerate(self.ids):
            self.counts[at] = _confident(store, id, least)
            if self.mirrored_counts[at]:
                self.mirrored_counts[at] = _confident(store, id + MIRRORED, least)

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
            self._by_name = _positions((at, id.rpartition("/")[2]) for at, id in enumerate(self.ids))
        return self._by_name

    def _of_files(self) -> dict[str, int]:
        """The name of every known file without suffix -> its position, or `_SEVERAL`."""
        if self._by_file is None:
            self._by_file = _positions((at, _last_part(file)) for at, file in self._files.items())
        return self._by_file


def _positions(names: Iterable[tuple[int, str]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for at, name in names:
        found[name] = _SEVERAL if name in found else at
    return found


def _confident(store: RegionStore, id: str, least: float) -> int:
    """How many of a picture's regions, from the best on, have a confidence over `least`."""
    over = store[id].confidence > least
    return len(over) if over.all() else int(np.argmin(over))


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _is_file_name(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _endings(name: str) -> list[str]:
    """`a/b/c` -> `b/c`, `c`, from itself on."""
    parts = name.split("/")
    return ["/".join(parts[at:]) for at in range(len(parts))]


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
