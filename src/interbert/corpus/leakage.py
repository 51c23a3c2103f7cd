"""Keeping test pictures out of training: splits by picture, equal files, pictures that look alike (4.1).

In: ids, sha256 and perceptual hashes as a region store keeps them. Out: arrays over pictures. Pure functions.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from interbert.vision.provenance import ImageInfo

NO_SPLIT_YET = 255
_BLOCK = 1 << 18  # hash comparisons at once: they stay in the cache


def share_of(image_id: str) -> float:
    """A number in 0..1 that belongs to the id for ever: the same on every machine, whatever else is in the source.

    >>> round(share_of("dogs"), 4), round(share_of("cats"), 4)
    (0.4803, 0.1482)
    """
    return int.from_bytes(hashlib.blake2b(image_id.encode("utf-8", "surrogatepass"), digest_size=7).digest()) / 2.0**56


def split_of(image_id: str, validation_share: float, test_share: float) -> int:
    """The split of a picture whose source has none: 0 train, 1 validation, 2 test, by `share_of`."""
    share = share_of(image_id)
    return 2 if share < test_share else 1 if share < test_share + validation_share else 0


def held_out_together(splits: NDArray[np.uint8], hashes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Splits in which equal pictures are together, in the most held out of theirs: test before validation before train.

    splits: uint8 [P], 255 where a picture has none.  hashes: [P], 0 where unknown.  Returns uint8 [P].

    >>> held_out_together(np.array([0, 2, 0, 1], np.uint8), np.array([7, 7, 0, 0])).tolist()
    [2, 2, 0, 1]
    """
    together = splits.copy()
    known = np.flatnonzero((hashes != 0) & (splits != NO_SPLIT_YET))
    _, group = np.unique(hashes[known], return_inverse=True)
    most = np.zeros(len(known), np.uint8)
    np.maximum.at(most, group, splits[known])
    together[known] = most[group]
    return together


def repeated(hashes: NDArray[np.int64], perceptual: NDArray[np.uint64], distance: int = 0) -> NDArray[np.int64]:
    """The positions of pictures whose file or perceptual hash an earlier one has; 0 is no hash.

    distance: bits in which the perceptual hashes of two may differ.

    >>> repeated(np.array([5, 5, 6, 0]), np.array([1, 2, 1, 0], np.uint64)).tolist()
    [1, 2]
    """
    found = np.zeros(len(hashes), np.bool_)
    for numbers in (hashes, perceptual):
        _, earliest = np.unique(numbers, return_index=True)
        first = np.zeros(len(numbers), np.bool_)
        first[earliest] = True
        found |= ~first & (numbers != 0)
    if distance:
        found[near_earlier(perceptual, distance)] = True
    return np.flatnonzero(found)


def near_earlier(perceptual: NDArray[np.uint64], distance: int) -> NDArray[np.int64]:
    """The positions of perceptual hashes that differ from an earlier one in at most `distance` bits; 0 is no hash.

    Of distance + 1 bands of the bits, two such hashes have at least one in common: only those with an equal band are
    compared.

    >>> near_earlier(np.array([0b0001, 0b1110, 0b0111], np.uint64), 2).tolist()      # the last is near both
    [2]
    """
    found = np.zeros(len(perceptual), np.bool_)
    known = np.flatnonzero(perceptual)
    edges = np.linspace(0, 64, distance + 2).astype(np.uint64)
    for low, high in itertools.pairwise(edges):
        band = (perceptual[known] << (np.uint64(64) - high)) >> (np.uint64(64) - high + low)
        order = known[np.argsort(band, kind="stable")]
        starts = np.flatnonzero(np.diff(np.sort(band))) + 1
        for group in np.split(order, starts):
            _note_near(found, group, perceptual[group], distance)
    return np.flatnonzero(found)


def _note_near(found: NDArray[np.bool_], group: NDArray[np.int64], hashes: NDArray[np.uint64], distance: int) -> None:
    """Notes in `found` which of a group, in the order of their positions, are near an earlier one of it."""
    for at in range(1, len(group)):
        if not found[group[at]]:
            found[group[at]] = (np.bitwise_count(hashes[:at] ^ hashes[at]) <= distance).any()


def file_hash(info: ImageInfo | None) -> int:
    """63 bits of a file's sha256, never 0; 0 where the file is not known."""
    return max(1, int(info.sha256[:16], 16) >> 1) if info is not None and info.sha256 else 0


def fingerprints_of(infos: Iterable[ImageInfo]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """(`file_hash`, perceptual hash) of pictures, each once: int64 [n] and uint64 [m], sorted."""
    both = [(file_hash(info), info.perceptual) for info in infos]
    files, looks = np.array([f for f, _ in both], np.int64), np.array([p for _, p in both], np.uint64)
    return np.unique(files[files != 0]), np.unique(looks)


def look_alike(hashes: NDArray[np.uint64], others: NDArray[np.uint64], distance: int) -> NDArray[np.bool_]:
    """bool [n]: whether a perceptual hash differs from one of `others` [m] in at most `distance` of its 64 bits.

    About 2 ns for each of the n * m comparisons. On Flickr8k: 64 photos saved again in other sizes and proportions lie
    within 4; of 2.6 million pairs of different photos the nearest is at 9.

    >>> look_alike(np.array([0b0000, 0b0111], np.uint64), np.array([0b0001], np.uint64), 1).tolist()
    [True, False]
    """
    found = np.zeros(len(hashes), np.bool_)
    step = max(1, _BLOCK // max(1, len(others)))
    for first in range(0, len(hashes), step):
        differing = np.bitwise_count(hashes[first : first + step, None] ^ others[None])
        found[first : first + step] = (differing <= distance).any(1)
    return found
