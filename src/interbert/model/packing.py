"""Sequences of unlike lengths without their padding: [B, S, H] as rows [N, H], and attention within each of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import dropout

CACHE = 1024 * 1024  # bytes of keys and attention weights worked on together: as much as a core keeps near itself

Group = tuple[Tensor, Tensor, Tensor]  # sequences of one length: queries [count, Q, H], keys and values [count, S, H]


class Packed:
    """Which positions of B sequences are no padding; their rows lie one sequence after the other, short ones first."""

    def __init__(self, valid: Tensor) -> None:
        """valid: bool [B, S]."""
        self.shape = valid.shape
        order = valid.sum(1).argsort(stable=True)
        sequence, self.position = valid[order].nonzero(as_tuple=True)  # int64 [N]
        self.place = order[sequence] * valid.shape[1] + self.position  # of a row in [B * S]
        self.valid = valid[order]
        self.lengths: list[int] = self.valid.sum(1).tolist()

    def pack(self, states: Tensor) -> Tensor:
        """[B, S, H] to [N, H]."""
        return states.flatten(0, 1).index_select(0, self.place)

    def unpack(self, rows: Tensor, wanted: int | None = None) -> Tensor:
        """Rows of the first `wanted` positions, [N, H], to [B, S, H] or [B, wanted, H] with zeros for padding."""
        batch, length = self.shape
        kept = length if wanted is None else min(wanted, length)
        place = self.first(self.place, wanted)
        if kept < length:
            place = place // length * kept + place % length
        return rows.new_zeros(batch * kept, rows.shape[1]).index_copy(0, place, rows).view(batch, kept, rows.shape[1])

    def first(self, rows: Tensor, wanted: int | None) -> Tensor:
        """Of the rows of every position those of the first `wanted`."""
        return rows if wanted is None else rows[self.position < wanted]

    def groups(self, query: Tensor, key: Tensor, value: Tensor, wanted: int | None = None) -> list[Group]:
        """Rows apart, neighbours that are equally long together. query: of the first `wanted` positions alone."""
        runs = self._runs(wanted)
        asked = [kept * count for (_, kept), count in runs]
        read = [length * count for (length, _), count in runs]
        parts = zip(torch.split(query, asked), torch.split(key, read), torch.split(value, read), strict=True)
        return [
            (_apart(one, count), _apart(two, count), _apart(three, count))
            for (one, two, three), (_, count) in zip(parts, runs, strict=True)
        ]

    def kept(self, wanted: int | None) -> list[int]:
        """Of each sequence's positions, how many are among the first `wanted`."""
        return self.lengths if wanted is None else self.valid[:, :wanted].sum(1).tolist()

    def _runs(self, wanted: int | None) -> list[tuple[tuple[int, int], int]]:
        both = zip(self.lengths, self.kept(wanted), strict=True)
        return [(lengths, len(list(run))) for lengths, run in groupby(both)]


def _apart(rows: Tensor, count: int) -> Tensor:
    return rows.view(count, len(rows) // count, rows.shape[1])


def attend(groups: Iterable[Group], heads: int, dropout_p: float) -> Tensor:
    """Softmax attention, each sequence by itself: [N, H], the rows of all queries.

    On a CPU three plain operations for as many sequences as the cache holds are several times as fast as
    `scaled_dot_product_attention`.
    """
    mixed = []
    for group in groups:
        size = _together(*group[:2], heads)
        for query, key, value in zip(*(torch.split(part, size) for part in group), strict=True):
            q, k, v = (_by_head(rows, heads) for rows in (query, key, value))
            weights = torch.softmax(torch.bmm(q * q.shape[-1] ** -0.5, k.transpose(1, 2)), -1)
            if dropout_p:
                weights = dropout(weights, dropout_p)
            mixed.append(torch.bmm(weights, v).view(len(query), heads, *q.shape[1:]).transpose(1, 2).flatten(0, 1))
    return torch.cat(mixed).flatten(1)


def _together(query: Tensor, key: Tensor, heads: int) -> int:
    """How many sequences of a group at once."""
    one = key.shape[1] * (query.shape[1] * heads + key.shape[2]) * key.element_size()
    return max(1, CACHE // max(1, one))


def _by_head(rows: Tensor, heads: int) -> Tensor:
    """[count, S, H] to [count * heads, S, H / heads]."""
    count, length, width = rows.shape
    return rows.view(count, length, heads, width // heads).transpose(1, 2).flatten(0, 1)
