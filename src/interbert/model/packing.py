"""Sequences of unlike lengths without their padding: [B, S, H] as rows [N, H], and attention within each of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import dropout


class Packed:
    """Which positions of B sequences are no padding; their rows lie one sequence after the other."""

    def __init__(self, valid: Tensor) -> None:
        """valid: bool [B, S]."""
        self.valid = valid
        self.lengths: list[int] = valid.sum(1).tolist()

    def pack(self, states: Tensor) -> Tensor:
        """[B, S, ...] to [N, ...]."""
        return states[self.valid]

    def unpack(self, rows: Tensor, wanted: int | None = None) -> Tensor:
        """Rows of the first `wanted` positions, [N, H], to [B, S, H] or [B, wanted, H] with zeros for padding."""
        valid = self.valid[:, :wanted]
        padded = rows.new_zeros(*valid.shape, rows.shape[-1])
        padded[valid] = rows
        return padded

    def first(self, rows: Tensor, wanted: int | None) -> Tensor:
        """Of the rows of every position those of the first `wanted`."""
        if wanted is None:
            return rows
        position = torch.arange(self.valid.shape[1], device=rows.device).expand(self.valid.shape)
        return rows[position[self.valid] < wanted]

    def split(self, rows: Tensor, wanted: int | None = None) -> tuple[Tensor, ...]:
        """Rows of the first `wanted` positions, sequence by sequence."""
        lengths = self.lengths if wanted is None else self.valid[:, :wanted].sum(1).tolist()
        return torch.split(rows, lengths)


def attend(
    queries: Iterable[Tensor], keys: Iterable[Tensor], values: Iterable[Tensor], heads: int, dropout_p: float
) -> list[Tensor]:
    """Softmax attention of sequences, each by itself: [Q, H], [S, H] and [S, H] to [Q, heads, H / heads].

    On a CPU three plain operations a sequence are several times as fast as `scaled_dot_product_attention`.
    """
    mixed = []
    for query, key, value in zip(queries, keys, values, strict=True):
        q, k, v = (rows.view(len(rows), heads, rows.shape[1] // heads).transpose(0, 1) for rows in (query, key, value))
        weights = torch.softmax(torch.bmm(q * q.shape[-1] ** -0.5, k.transpose(1, 2)), -1)
        if dropout_p:
            weights = dropout(weights, dropout_p)
        mixed.append(torch.bmm(weights, v).transpose(0, 1))
    return mixed
