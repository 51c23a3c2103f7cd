"""RegionStore: the regions of many pictures on disk, read by id. A folder of shards and a manifest; docs/formats.md.

In: `Regions` under an id, appended by one writer at a time. Out: the same `Regions`, by id, for any number of readers.
What a writer has committed is there after kill -9 and power cuts; a record is whole or absent; a changed byte is seen.
"""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.files import sync_folder
from interbert.vision.manifest import Entry, Manifest
from interbert.vision.provenance import ExtractorInfo, ImageInfo
from interbert.vision.shards import (
    StoreCorrupt,
    check_shard,
    crc32,
    is_whole,
    shard_header,
    shard_name,
    unpack,
)
from interbert.vision.writer import RegionWriter, active_writer

__all__ = ["RegionStore", "RegionWriter", "StoreCorrupt", "UnknownId", "describe", "merge"]

Verify = Literal["every", "first", "never"]
_REMEMBERED = 1 << 18  # places kept in memory, about 50 MB; the others are looked up again


class UnknownId(InterbertError, KeyError):
    """The store has no regions under that id."""

    def __str__(self) -> str:
        return str(self.args[0])


class _Place(NamedTuple):
    number: int
    shard: int
    offset: int
    length: int


class RegionStore:
    """Reads a store as it was when it was opened; what is appended later is seen by opening it again.

    verify: when a record's checksum is compared: at its "first" read by this object (the default), at "every" read,
    or "never" (a copy that was just verified). May be pickled, used after a fork and from several threads.
    `store[id]` gives arrays that are read-only views of the file: copy what is to be changed.
    Raises InterbertError where `folder` is no store or a newer one, StoreCorrupt where it is damaged.

    >>> RegionStore("nowhere")
    Traceback (most recent call last):
    interbert.errors.InterbertError: 'nowhere' is not a region store; make one:  interbert extract IMAGES --out nowhere
    """

    def __init__(self, folder: str | Path, *, verify: Verify = "first") -> None:
        self.folder = Path(folder)
        self._open(verify, None)

    def _open(self, verify: Verify, count: int | None) -> None:
        if verify not in ("every", "first", "never"):
            raise ValueError(f"verify: got {verify!r}, wanted 'every', 'first' or 'never'")
        if not (self.folder / "manifest.sqlite").is_file():
            raise InterbertError(
                f"'{self.folder}' is not a region store; make one:  interbert extract IMAGES --out {self.folder}"
            )
        self._verify: Verify = verify
        self._maps: dict[int, mmap.mmap] = {}
        self._manifest = Manifest(self.folder)
        if self._manifest.is_new():
            raise InterbertError(f"'{self.folder}' was begun but holds nothing yet; give its extraction again")
        self._manifest.check_format()
        self.feature_type = self._manifest.settings().get("feature_type", "float16")
        self.extractor = ExtractorInfo.load(self.folder / "extractor.json")
        self._count = self._manifest.count() if count is None else count
        self._places: dict[str, _Place] = {}
        self._verified = bytearray(self._count)
        for shard, length in self._manifest.shards().items():
            check_shard(self.folder / shard_name(shard), length)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        """The ids, in the order in which they were appended."""
        return (entry.id for entry in self._manifest.entries(self._count))

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._find(id) is not None

    def __getitem__(self, id: str) -> Regions:
        """The regions of a picture. Raises UnknownId, or StoreCorrupt where its bytes have changed."""
        place = self._find(id)
        if place is None:
            raise UnknownId(
                f"store '{self.folder}' has no regions of '{id}' ({self._count} pictures); extract it first"
            )
        return self._read(id, place)

    def info(self, id: str) -> ImageInfo | None:
        """The picture a record was made of, where its writer said so."""
        return self._entry(id).image

    def region_count(self, id: str) -> int:
        """N of a picture, without reading its record."""
        return self._entry(id).regions

    def counts(self) -> NDArray[np.int64]:
        """int64 [len]: N of every picture, in the order of iteration."""
        return np.fromiter((entry.regions for entry in self._manifest.entries(self._count)), np.int64)

    def fingerprints(self) -> Iterator[tuple[str, ImageInfo]]:
        """(id, picture) of every record whose picture is known: what leakage checks compare."""
        return ((e.id, e.image) for e in self._manifest.entries(self._count) if e.image is not None)

    def verify(self) -> int:
        """Reads every byte. Returns the number of records; raises the first of `damages()`."""
        for damage in self.damages():
            raise damage
        return self._count

    def damages(self) -> Iterator[StoreCorrupt]:
        """Every damage there is: what, in which shard, at which byte, of which record."""
        wrong = self._manifest.integrity()
        if wrong is not None:
            yield StoreCorrupt(f"'{self._manifest.path}': {wrong}")
            return
        seen, shard = 0, -1
        end: int | None = 0  # of the record before; None where its row is damaged
        for entry in self._manifest.entries_or_damages(self._count):
            if isinstance(entry, StoreCorrupt):
                yield entry
                seen, end = seen + 1, None
                continue
            if entry.shard != shard:
                shard, end = entry.shard, None if end is None else len(shard_header(entry.shard))
            if entry.number != seen or end not in (None, entry.offset):
                yield StoreCorrupt(
                    f"'{self._manifest.path}': record {seen} is missing before '{entry.id}'",
                    shard=shard_name(shard),
                    offset=entry.offset if end is None else end,
                )
            seen, end = entry.number + 1, entry.offset + entry.length
            try:
                found = self._read(entry.id, _Place(entry.number, *entry[2:5]), again=True)
                if len(found) != entry.regions:
                    yield self._damage(entry.id, shard, entry.offset, "has another number of regions than the manifest")
            except StoreCorrupt as damage:
                yield damage
        if seen != self._count:
            yield StoreCorrupt(f"'{self._manifest.path}': got {seen} records, wanted {self._count}")

    @staticmethod
    def writer(folder: str | Path, extractor: ExtractorInfo, *, feature_type: str | None = None) -> RegionWriter:
        """Creates a store or continues one. feature_type: "float16" (the default of a new store) or "float32"."""
        return RegionWriter(Path(folder), extractor, feature_type)

    def records(self) -> Iterator[tuple[str, bytes, int, ImageInfo | None]]:
        """(id, record as it is on disk, N, picture), each verified: what `merge` copies."""
        for entry in self._manifest.entries(self._count):
            self._read(entry.id, _Place(entry.number, *entry[2:5]), again=True)
            yield (
                entry.id,
                self._map(entry.shard)[entry.offset : entry.offset + entry.length],
                entry.regions,
                entry.image,
            )

    def close(self) -> None:
        """Lets go of the files. Arrays that were read stay valid."""
        self._manifest.close()
        self._maps.clear()

    def __enter__(self) -> RegionStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_manifest"):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "verify": self._verify, "count": self._count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder = state["folder"]
        self._open(state["verify"], state["count"])

    def _find(self, id: str) -> _Place | None:
        place = self._places.get(id)
        if place is None:
            entry = self._manifest.entry(id)
            if entry is None or entry.number >= self._count:
                return None
            place = _Place(entry.number, entry.shard, entry.offset, entry.length)
            if len(self._places) < _REMEMBERED:
                self._places[id] = place
        return place

    def _entry(self, id: str) -> Entry:
        entry = self._manifest.entry(id)
        if entry is None or entry.number >= self._count:
            raise UnknownId(f"store '{self.folder}' has nothing about '{id}'; extract it first")
        return entry

    def _read(self, id: str, place: _Place, *, again: bool = False) -> Regions:
        number, shard, offset, length = place
        memory = self._maps.get(shard) or self._map(shard)
        if offset + length > memory.size():  # touching a page behind the end would kill the process
            raise self._damage(id, shard, offset, f"is cut off: the file ends at byte {memory.size()}")
        if again or self._verify == "every" or (self._verify == "first" and not self._verified[number]):
            if not is_whole(memory, offset, length):
                raise self._damage(id, shard, offset, "has another checksum than was written")
            self._verified[number] = 1
        found = unpack(memory, offset, length)
        if found is None:
            raise self._damage(id, shard, offset, "contradicts itself or the manifest")
        if found[0] != id.encode():
            raise self._damage(id, shard, offset, f"belongs to {found[0]!r}")
        return found[1]

    def _map(self, shard: int) -> mmap.mmap:
        memory = self._maps.get(shard)
        if memory is None:
            path, header = self.folder / shard_name(shard), shard_header(shard)
            check_shard(path, len(header))
            with open(path, "rb") as file:
                memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if memory[: len(header)] != header:
                raise StoreCorrupt(
                    f"'{self.folder / shard_name(shard)}': its first bytes are damaged", shard=shard_name(shard)
                )
            self._maps[shard] = memory
        return memory

    def _damage(self, id: str, shard: int, offset: int, what: str) -> StoreCorrupt:
        path = self.folder / shard_name(shard)
        message = f"'{path}' at byte {offset}: the record of '{id}' {what}; restore a copy or extract again"
        return StoreCorrupt(message, shard=path.name, offset=offset, id=id)


def merge(stores: Sequence[RegionStore | str | Path], out: str | Path) -> int:
    """One new store `out` of several of one extractor; returns its number of pictures. Whole or not at all.

    Raises InterbertError where extractors or feature types differ, an id is in two of them, or `out` exists.
    """
    out = Path(out)
    opened = [store if isinstance(store, RegionStore) else RegionStore(store) for store in stores]
    if not opened or out.exists():
        raise InterbertError(f"merge: '{out}' exists already" if opened else "merge: got no stores")
    first = opened[0]
    for other in opened[1:]:
        if first.feature_type != other.feature_type:
            what: str | None = f"features {first.feature_type} and {other.feature_type}"
        else:
            what = first.extractor.difference(other.extractor)
        if what is not None:
            raise InterbertError(
                f"'{first.folder}' and '{other.folder}' do not mix ({what}); extract one of them again"
            )
    building = out.with_name(f".{out.name}.{os.getpid()}.part")
    shutil.rmtree(building, ignore_errors=True)
    try:
        with RegionWriter(building, first.extractor, first.feature_type) as writer:
            for store in opened:
                for id, record, regions, image in store.records():
                    if id in writer:
                        raise InterbertError(
                            f"merge: '{id}' is in '{store.folder}' and in a store before it; nothing was made"
                        )
                    writer.append_record(id, record, regions, image)
            total = len(writer)
        os.rename(building, out)
        sync_folder(out.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return total


def describe(folder: str | Path) -> dict[str, Any]:
    """What `interbert store info` shows: contents, extractor, sizes in bytes, the writer at work."""
    with RegionStore(folder) as store:
        counts, shards = store.counts(), store._manifest.shards()
        settings = store._manifest.settings()
        files = sorted(store.folder.glob("shard-*.regions"))
        committed = sum(shards.values())
        return {
            "folder": str(folder),
            "format": store._manifest.check_format(),
            "interbert": settings.get("interbert", ""),
            "pictures": len(store),
            "regions": int(counts.sum()),
            "regions_per_picture": {
                "min": int(counts.min(initial=1 << 62)) if len(counts) else 0,
                "mean": round(float(counts.mean()), 2) if len(counts) else 0.0,
                "max": int(counts.max(initial=0)),
            },
            "feature_type": store.feature_type,
            "extractor": asdict(store.extractor),
            "shards": len(shards),
            "bytes": committed,
            "bytes_not_committed": sum(f.stat().st_size for f in files) - committed,
            "writer_process": active_writer(store.folder),
            "checksum": f"crc32 by {crc32.__module__}",
        }
