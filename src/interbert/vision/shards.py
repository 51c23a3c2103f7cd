"""Regions as bytes and back: what one record of a region store looks like. docs/formats.md has the table.

In: an id and its `Regions`. Out: a record whose every byte is covered by its CRC-32, the same whatever shard holds it.
Numbers are little-endian; every array begins where its type may be read in place.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from interbert.batch import Regions
from interbert.errors import InterbertError

MAGIC = b"RGN1"
ALIGNMENT = 64  # bytes; records and features begin at a multiple, so that arrays need no copy
FEATURE_TYPES = {"float16": 2, "float32": 4}  # name -> bytes a number
_ATTRIBUTES = _LABELS = np.dtype("<i8")
_BOXES = _CONFIDENCE = np.dtype("<f4")
_PROBABILITIES = np.dtype("<f2")
_FEATURES = {size: np.dtype(f"<f{size}") for size in FEATURE_TYPES.values()}
# magic, CRC, length, regions, feature size, classes, bytes of a feature, width, height, bytes of the id, attributes
_HEADER = struct.Struct("<4s I Q 8I 16x")
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


class _Layout(NamedTuple):
    """Where the parts of a record begin, in bytes from its own beginning."""

    labels: int
    boxes: int
    confidence: int
    features: int
    probabilities: int
    attributes: int
    attribute_confidence: int
    id: int
    end: int


@lru_cache(4096)
def _layout(
    regions: int, feature_size: int, classes: int, feature_bytes: int, id_bytes: int, attributes: int
) -> _Layout:
    labels = _HEADER.size
    boxes = labels + 8 * regions
    confidence = boxes + 16 * regions
    features = _aligned(confidence + 4 * regions)
    probabilities = features + feature_bytes * regions * feature_size
    words = probabilities + 2 * regions * classes
    words = _aligned(words) if attributes else words
    certain = words + 8 * regions * attributes
    name = certain + 4 * regions * attributes
    return _Layout(labels, boxes, confidence, features, probabilities, words, certain, name, _aligned(name + id_bytes))


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
    if min(regions.image_size) < 1:
        raise InterbertError(f"'{id}': got an image size of {regions.image_size}, wanted pixels; mend the extractor")
    name = id.encode()
    parts = {
        "labels": np.asarray(regions.labels, _LABELS),
        "boxes": np.asarray(regions.boxes, _BOXES),
        "confidence": np.asarray(regions.confidence, _CONFIDENCE),
        "features": _as_type(regions.features, feature_type),
    }
    classes = 0
    if regions.probabilities is not None:
        classes = regions.probabilities.shape[1]
        parts["probabilities"] = _as_type(regions.probabilities, "float16")
    if regions.attributes is not None:
        parts["attributes"] = np.asarray(regions.attributes, _ATTRIBUTES)
        parts["attribute_confidence"] = np.asarray(regions.attribute_confidence, _CONFIDENCE)
    for part, values in parts.items():
        if not np.isfinite(values).all():
            raise InterbertError(f"'{id}': {_not_finite(part, getattr(regions, part))}")
    shape, feature_bytes = regions.features.shape, FEATURE_TYPES[feature_type]
    with_attributes = int("attributes" in parts)
    at = _layout(shape[0], shape[1], classes, feature_bytes, len(name), with_attributes)
    record = bytearray(at.end)
    for part, values in parts.items():
        start = getattr(at, part)
        record[start : start + values.nbytes] = values.tobytes()
    record[at.id : at.id + len(name)] = name
    numbers = (at.end, shape[0], shape[1], classes, feature_bytes, *map(int, regions.image_size), len(name))
    _HEADER.pack_into(record, 0, MAGIC, 0, *numbers, with_attributes)
    struct.pack_into("<I", record, 4, crc32(memoryview(record)[_CHECKED_FROM:]))
    return bytes(record)


def _as_type(features: Any, feature_type: str) -> Any:
    with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite, and is refused as such
        return np.asarray(features, _FEATURES[FEATURE_TYPES[feature_type]])


def _not_finite(part: str, given: Any) -> str:
    largest = float(np.abs(given).max())
    if np.isfinite(largest):
        return f"{part} up to {largest:.6g} do not fit float16 (65504 at most); make a store with float32 features"
    return f"{part} has a number that is not finite; mend the extractor"


def is_storable(id: str) -> bool:
    """Whether an id can be in a store: not empty, no NUL, whole characters only (no lone surrogates)."""
    try:
        name = id.encode()
    except UnicodeEncodeError:
        return False
    return name != b"" and b"\0" not in name


def is_whole(memory: Any, offset: int, length: int) -> bool:
    """Whether the `length` bytes at `offset` are a record as it was written: by its checksum."""
    with memoryview(memory) as view:
        found = crc32(view[offset + _CHECKED_FROM : offset + length])
    return bool(found == int.from_bytes(memory[offset + 4 : offset + _CHECKED_FROM], "little"))


def unpack(memory: Any, offset: int, length: int) -> tuple[bytes, Regions] | None:
    """The id (UTF-8) and the regions of a record, as views of `memory`: nothing is copied. None where it isn't one."""
    if length < _HEADER.size:
        return None
    magic, _, size, count, width, classes, feature_bytes, *image_size, id_bytes, marks = _HEADER.unpack_from(
        memory, offset
    )
    at = _layout(count, width, classes, feature_bytes, id_bytes, marks)
    if magic != MAGIC or not size == at.end == length or feature_bytes not in _FEATURES or marks not in (0, 1):
        return None
    probabilities = attributes = certain = None
    if classes:
        probabilities = np.ndarray((count, classes), _PROBABILITIES, memory, offset + at.probabilities)
    if marks:
        attributes = np.ndarray((count,), _ATTRIBUTES, memory, offset + at.attributes)
        certain = np.ndarray((count,), _CONFIDENCE, memory, offset + at.attribute_confidence)
    regions = _trusted(
        features=np.ndarray((count, width), _FEATURES[feature_bytes], memory, offset + at.features),
        boxes=np.ndarray((count, 4), _BOXES, memory, offset + at.boxes),
        image_size=tuple(image_size),
        labels=np.ndarray((count,), _LABELS, memory, offset + at.labels),
        confidence=np.ndarray((count,), _CONFIDENCE, memory, offset + at.confidence),
        probabilities=probabilities,
        attributes=attributes,
        attribute_confidence=certain,
    )
    return memory[offset + at.id : offset + at.id + id_bytes], regions


def _trusted(**values: Any) -> Regions:
    """`Regions` without their checks (100 us for 36 x 2048): the writer made them, the CRC keeps them."""
    regions = Regions.__new__(Regions)
    regions.__dict__.update(values)
    return regions
