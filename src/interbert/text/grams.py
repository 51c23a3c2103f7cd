"""Runs of characters as numbers, for many texts at once: what the spam classifier and the search for copies look at.

In: texts. Out: one number for each run of n characters, an array over all characters of all texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_END = "\n"  # behind every text, so that none is empty and its end is seen
_CHARACTER_BITS = 21  # of a code point: three fit into 64 bits


def scrambled(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64: numbers that differ a little become numbers that have nothing in common."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


class Characters:
    """The characters of N texts in a row, each text with an end mark behind it: C of them.

    starts: int64 [N], where each text begins.  counts: int64 [N], its characters with the mark.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        joined = _END.join([*texts, ""])
        self._codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        self.counts = np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts))
        self._ends = self.counts.cumsum()
        self.starts = self._ends - self.counts

    def runs(self, size: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """uint64 [C]: a number for the `size` characters that begin at each, at most 3; equal runs have equal numbers.

        bool [C]: whether the run ends within its text. The end mark counts as a character of it.
        """
        packed = self._codes.copy()
        for at in range(1, size):
            packed[:-at] |= self._codes[at:] << np.uint64(at * _CHARACTER_BITS)
        inside = np.ones(len(packed), np.bool_)
        for at in range(1, size):
            inside[self._ends - at] = False  # of an empty text also the place before it: an end, where none begins
        return scrambled(packed), inside
