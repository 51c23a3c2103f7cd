"""RoIPool in plain torch, bit-equal to the published programs': the largest value in each of 14 x 14 cells of a box."""

from __future__ import annotations

import torch
from torch import Tensor


class RoiPool:
    """The boxes' cells on one feature map; `pooled` gives them a part at a time.

    features: [C, h, w].  boxes: [N, 4] in pixels of the input, on the same device.  stride: pixels for each place.
    cells: along each side.

    A cell is a rectangle of places. The largest values of all rectangles with sides of powers of two are computed once
    for the map; any other is covered by four of those, so that a cell costs four reads whatever its size.
    """

    def __init__(self, features: Tensor, boxes: Tensor, *, cells: int = 14, stride: int = 16) -> None:
        self._cells, self._channels = cells, features.shape[0]
        height, width = features.shape[1:]
        x1, y1, x2, y2 = rounded_away(boxes * (1 / stride)).long().unbind(1)
        columns, rows = cell_ranges(x1, x2, cells, width), cell_ranges(y1, y2, cells, height)
        self._empty = (rows[1] <= rows[0])[:, :, None] | (columns[1] <= columns[0])[:, None, :]
        rows_at, columns_at = _cover(*rows, height), _cover(*columns, width)
        levels = (1 + int(rows_at[2].amax()), 1 + int(columns_at[2].amax())) if len(boxes) else (1, 1)
        self._places = [
            ((rows_at[2][:, :, None] * levels[1] + columns_at[2][:, None, :]) * height + rows_at[a][:, :, None]) * width
            + columns_at[b][:, None, :]
            for a in (0, 1)
            for b in (0, 1)
        ]
        self._table = _highest_of_powers(features, levels)

    def pooled(self, which: slice) -> Tensor:
        """[n, C, cells, cells] of those boxes, channels last in memory. A cell without a place on the map is 0."""
        empty = self._empty[which]
        first, *others = (self._table[places[which].flatten()] for places in self._places)
        for other in others:
            torch.maximum(first, other, out=first)
        first[empty.flatten()] = 0
        return first.reshape(len(empty), self._cells, self._cells, self._channels).permute(0, 3, 1, 2)


def rounded_away(values: Tensor) -> Tensor:
    """To the nearest whole number, halves away from zero, as C's round (torch's takes the even one).

    >>> rounded_away(torch.tensor([10.5, 11.5, -0.5, 0.49999997])).tolist()
    [11.0, 12.0, -1.0, 0.0]
    """
    whole = values.trunc()
    return whole + torch.where((values - whole).abs() >= 0.5, values.sign(), torch.zeros_like(values))


def cell_ranges(first: Tensor, last: Tensor, cells: int, size: int) -> tuple[Tensor, Tensor]:
    """Where each cell begins and ends (exclusive) along one side: two int64 [N, cells], cut at 0 and `size`.

    first, last: int64 [N], the places that a box begins and ends with. Cells overlap where a place is shared.

    >>> cell_ranges(torch.tensor([3]), torch.tensor([7]), 2, 10)
    (tensor([[3, 5]]), tensor([[6, 8]]))
    """
    length = (last - first + 1).clamp(min=1).float() / cells
    number = torch.arange(cells + 1, device=first.device).float()
    edges = number * length[:, None]  # in float32, as theirs: a product just off a whole number adds a place
    begin, end = edges[:, :-1].floor().long(), edges[:, 1:].ceil().long()
    return (begin + first[:, None]).clamp(0, size), (end + first[:, None]).clamp(0, size)


def _cover(begin: Tensor, end: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two starts of stretches of 2 ** level places that together are begin..end, and the level."""
    length = (end - begin).clamp(min=1)
    level = torch.frexp(length.float()).exponent.long() - 1
    last = (begin + length - (1 << level)).clamp(0, size - 1)
    return begin.clamp(max=size - 1), last, level


def _highest_of_powers(features: Tensor, levels: tuple[int, int]) -> Tensor:
    """[levels * h * w, C]: at level (a, b) the largest of the 2 ** a rows and 2 ** b columns from each place on."""
    grid = features.permute(1, 2, 0)
    table = grid.new_empty((*levels, *grid.shape))
    table[0, 0] = grid
    for b in range(1, levels[1]):
        _doubled(table[0, b - 1], table[0, b], 1, 1 << (b - 1))
    for a in range(1, levels[0]):
        for b in range(levels[1]):
            _doubled(table[a - 1, b], table[a, b], 0, 1 << (a - 1))
    return table.reshape(-1, features.shape[0])


def _doubled(smaller: Tensor, out: Tensor, side: int, step: int) -> None:
    """Joins each stretch with the one `step` further; those at the end of the map, which are never read, stay."""
    out.copy_(smaller)
    inner = smaller.shape[side] - step
    if inner > 0:
        torch.maximum(smaller.narrow(side, 0, inner), smaller.narrow(side, step, inner), out=out.narrow(side, 0, inner))
