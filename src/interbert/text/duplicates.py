"""Titles that say nearly the same: which repeat an earlier one (MinHash over pairs of characters).

In: titles by the block. Out: for each the first title it is like. 32 bytes of memory a title.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from interbert.text.grams import Characters, scrambled

BANDS, ROWS = 4, 3  # titles that share 0.9 of their pairs meet with probability 0.995, 0.8: 0.94, 0.5: 0.41
_EVERY = np.uint64(0xFFFFFFFFFFFFFFFF)


def plain_form(text: str) -> str:
    """What two titles have in common that differ in capitals, blanks and marks alone.

    >>> plain_form("SK-II 神仙水【正品】") == plain_form("sk ii神仙水 正品")
    True
    """
    return "".join(at for at in text.lower() if at.isalnum())


def sketches(texts: Sequence[str]) -> NDArray[np.uint64]:
    """uint64 [N, BANDS]: titles that are alike are equal in at least one, most likely. Of `plain_form`s."""
    characters = Characters(texts)
    pairs, inside = characters.runs(2)
    bands = np.empty((len(texts), BANDS), np.uint64)
    for band in range(BANDS):
        lowest = np.zeros(len(texts), np.uint64)
        for row in range(ROWS):
            seen = scrambled(pairs + np.uint64((band * ROWS + row + 1) * 0x9E3779B97F4A7C15 % (1 << 64)))
            lowest = scrambled(lowest ^ np.minimum.reduceat(np.where(inside, seen, _EVERY), characters.starts))
        bands[:, band] = lowest
    return bands


def likeness(text: str, other: str) -> float:
    """The share of two `plain_form`s' pairs of characters that both have (Jaccard), ends included; 1 of two empty ones.

    >>> likeness("abc", "abd")                                          # ab | bc, c-end | bd, d-end
    0.2
    """
    one, two = (set(zip(at, at[1:] + "\n", strict=False)) for at in (text, other))
    return len(one & two) / len(one | two) if one | two else 1.0


def first_alike(bands: NDArray[np.uint64], text_of: Callable[[int], str], least: float) -> NDArray[np.int64]:
    """int64 [N]: the earliest title that each is like, itself where there is none.

    bands: [N, BANDS] of `sketches`.  text_of: the `plain_form` of a title.  least: likeness from which on two are.
    A title may be like one that is like an earlier one: then the earliest of that chain.
    """
    first = np.arange(len(bands))
    for band in bands.T:
        order = np.argsort(band, kind="stable")  # equal ones stay in their order: the earliest is the first
        starts = np.flatnonzero(np.r_[True, band[order][1:] != band[order][:-1]])
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
            if stop - start > 1:
                _join(first, order[start:stop], text_of, least)
    for at in range(len(first)):  # a chain's earlier parts are final already
        first[at] = first[first[at]]
    return first


def _join(first: NDArray[np.int64], group: NDArray[np.int64], text_of: Callable[[int], str], least: float) -> None:
    """Notes in `first` which of a group of candidates are like its earliest."""
    earliest = int(group[0])
    text = text_of(earliest)
    for at in group[1:].tolist():
        if first[at] > earliest and likeness(text, text_of(at)) >= least:
            first[at] = earliest
