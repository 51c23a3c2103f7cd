"""Regions as bytes and back: what one record of a region store looks like. docs/formats.md has the table.

In: an id and its `Regions`. Out: a record whose every byte is covered by its CRC-32, the same whatever shard holds it.
Numbers are little-endian; every array begins where its type may be read in place.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from interbert.batch import Regions
from interbert.errors import InterbertError

MAGIC = b"RGN1"
ALIGNMENT = 64  # bytes; records and features begin at a multiple, so that arrays need no copy
FEATURE_TYPES = {"float16": 2, "float32": 4}  # name -> bytes a number
_HEADER = struct.Struct("<4s I Q 8I 16x")  # magic, crc, length, then as in `Header`
_CHECKED_FROM = 8  # the CRC covers everything behind itself
_SHARD_HEADER = struct.Struct("<16s I I 40x")


def _fastest_crc32() -> Callable[[Any], int]:
    """CRC-32 as in zlib. The package `isal` computes the same number ten times as fast; used where it is installed."""
    try:
        found: Callable[[Any], int] = importlib.import_module("isal.isal_zlib").crc32
    except ImportError:
        return zlib.crc32
    return found


crc32 = _fastest_crc32()


class StoreCorrupt(InterbertError):
    """A store's bytes are not those that were written. shard: file name. offset: bytes. id: of the record, if known."""

    def __init__(self, message: str, *, shard: str = "", offset: int = 0, id: str = "") -> None:
        super().__init__(message)
        self.shard, self.offset, self.id = shard, offset, id


class Header(NamedTuple):
    """The numbers at the front of a record. length: bytes of the whole record. classes: 0 without probabilities."""

    crc: int
    length: int
    regions: int
    feature_size: int
    classes: int
    feature_bytes: int
    width: int
    height: int
    id_bytes: int
    reserved: int = 0


class _Layout(NamedTuple):
    """Where the parts of a record begin, in bytes from its own beginning."""

    labels: int
    boxes: int
    confidence: int
    features: int
    probabilities: int
    id: int
    end: int


def _layout(regions: int, feature_size: int, classes: int, feature_bytes: int, id_bytes: int) -> _Layout:
    labels = _HEADER.size
    boxes = labels + 8 * regions
    confidence = boxes + 16 * regions
    features = _aligned(confidence + 4 * regions)
    probabilities = features + feature_bytes * regions * feature_size
    name = probabilities + 2 * regions * classes
    return _Layout(labels, boxes, confidence, features, probabilities, name, _aligned(name + id_bytes))


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def shard_name(shard: int) -> str:
    """The file name of the shard with that number."""
    return f"shard-{shard:06d}.regions"


def check_shard(path: Path, length: int) -> None:
    """Raises StoreCorrupt where a shard has fewer bytes than were committed."""
    got = path.stat().st_size if path.is_file() else 0
    if got < length:
        what = f"'{path}' has {got} bytes, wanted {length}: it was cut or is missing; restore a copy or extract again"
        raise StoreCorrupt(what, shard=path.name, offset=got)


def shard_header(shard: int) -> bytes:
    """The first bytes of the shard file with that number."""
    return _SHARD_HEADER.pack(b"interbertregions", 1, shard)


def pack(id: str, regions: Regions, feature_type: str) -> bytes:
    """One record. feature_type: "float16" or "float32"; probabilities are always float16.

    Raises InterbertError where a number is not finite as that type, or the id cannot be kept.
    """
    if not is_storable(id):
        raise InterbertError(f"an id must be valid Unicode, not empty, without NUL; got {id!r}, rename the picture")
    name = id.encode()
    parts = {
        "labels": np.asarray(regions.labels, "<i8"),
        "boxes": np.asarray(regions.boxes, "<f4"),
        "confidence": np.asarray(regions.confidence, "<f4"),
        "features": _narrowed(id, regions.features, feature_type),
    }
    classes = 0
    if regions.probabilities is not None:
        classes = regions.probabilities.shape[1]
        parts["probabilities"] = regions.probabilities.astype("<f2")
    for part, values in parts.items():
        if not np.isfinite(values).all():
            raise InterbertError(f"'{id}': {part} has a number that is not finite; mend the extractor")
    shape, feature_bytes = regions.features.shape, FEATURE_TYPES[feature_type]
    at = _layout(shape[0], shape[1], classes, feature_bytes, len(name))
    record = bytearray(at.end)
    for part, values in parts.items():
        start = getattr(at, part)
        record[start : start + values.nbytes] = values.tobytes()
    record[at.id : at.id + len(name)] = name
    numbers = (at.end, shape[0], shape[1], classes, feature_bytes, *map(int, regions.image_size), len(name), 0)
    _HEADER.pack_into(record, 0, MAGIC, 0, *numbers)
    struct.pack_into("<I", record, 4, crc32(memoryview(record)[_CHECKED_FROM:]))
    return bytes(record)


def _narrowed(id: str, features: Any, feature_type: str) -> Any:
    """Features in the store's own type. What float16 cannot hold is an error, never an infinity."""
    with np.errstate(over="ignore"):
        narrow = np.asarray(features, "<f2" if feature_type == "float16" else "<f4")
    if not np.isfinite(narrow).all() and np.isfinite(features).all():
        largest = float(np.abs(features).max())
        raise InterbertError(
            f"'{id}': a feature of {largest:.6g} does not fit float16 (65504 at most); make a store of float32"
        )
    return narrow


def is_storable(id: str) -> bool:
    """Whether an id can be in a store: not empty, no NUL, whole characters only (no lone surrogates)."""
    return bool(id) and "\0" not in id and not any("\ud800" <= letter <= "\udfff" for letter in id)


def read_header(memory: Any, offset: int) -> Header | None:
    """The header at `offset`, or None where no record begins there or its numbers contradict each other."""
    if offset + _HEADER.size > len(memory):
        return None
    magic, *numbers = _HEADER.unpack_from(memory, offset)
    header = Header(*numbers)
    at = _layout(header.regions, header.feature_size, header.classes, header.feature_bytes, header.id_bytes)
    fits = at.end == header.length and offset + at.end <= len(memory) and header.feature_bytes in (2, 4)
    return header if magic == MAGIC and fits else None


def is_whole(memory: Any, offset: int, header: Header) -> bool:
    """Whether the record's bytes are those that were written."""
    with memoryview(memory) as view:
        return crc32(view[offset + _CHECKED_FROM : offset + header.length]) == header.crc


def unpack(memory: Any, offset: int, header: Header) -> tuple[bytes, Regions]:
    """The id (UTF-8) and the regions of a record, as views of `memory`: nothing is copied."""
    count, width = header.regions, header.feature_size
    at = _layout(count, width, header.classes, header.feature_bytes, header.id_bytes)
    kind = "<f2" if header.feature_bytes == 2 else "<f4"
    probabilities = None
    if header.classes:
        flat = np.frombuffer(memory, "<f2", count * header.classes, offset + at.probabilities)
        probabilities = flat.reshape(count, header.classes)
    regions = _trusted(
        features=np.frombuffer(memory, kind, count * width, offset + at.features).reshape(count, width),
        boxes=np.frombuffer(memory, "<f4", count * 4, offset + at.boxes).reshape(count, 4),
        image_size=(header.width, header.height),
        labels=np.frombuffer(memory, "<i8", count, offset + at.labels),
        confidence=np.frombuffer(memory, "<f4", count, offset + at.confidence),
        probabilities=probabilities,
    )
    return memory[offset + at.id : offset + at.id + header.id_bytes], regions


def _trusted(**values: Any) -> Regions:
    """`Regions` without their checks (100 us for 36 x 2048): the writer made them, the CRC keeps them."""
    regions = Regions.__new__(Regions)
    regions.__dict__.update(values)
    return regions
