"""Attention over rows without padding in one kernel of a GPU: torch's `varlen_attn`."""

from __future__ import annotations

import functools
import logging
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor

from interbert.model.packing import Packed, attend

log = logging.getLogger(__name__)
KINDS = (torch.bfloat16, torch.float16)  # that the kernel takes
LENGTHS = (1, 3, 40, 7)  # of the comparison
TOLERANCE = 0.03  # of entries near 1, some roundings of bfloat16's 8 bits


def attend_flash(
    packed: Packed, query: Tensor, key: Tensor, value: Tensor, heads: int, wanted: int | None = None
) -> Tensor:
    """What `attend` gives of `packed.groups(query, key, value, wanted)`, without dropout. query: rows [N, H]."""
    from torch.nn.attention.varlen import varlen_attn

    asked, read = packed.kept(wanted), packed.lengths
    q, k, v = (rows.view(len(rows), heads, -1) for rows in (query, key, value))
    mixed = varlen_attn(q, k, v, _ends(asked, query), _ends(read, query), max(asked), max(read))
    return cast(Tensor, mixed).flatten(1)


def _ends(lengths: list[int], rows: Tensor) -> Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=rows.device)


def flash_attends(states: Tensor, heads: int) -> bool:
    """Whether `attend_flash` works where these states are, in the arithmetic of now: on a GPU, in 16 bits."""
    place = states.device
    if place.type != "cuda":
        return False
    kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else states.dtype
    return kind in KINDS and _is_right(place, kind, heads, states.shape[-1] // heads)


@functools.cache
def _is_right(place: torch.device, kind: torch.dtype, heads: int, width: int) -> bool:
    """Compared once with plain attention; where it fails or differs, that is said, and padding stays."""
    generator = torch.Generator().manual_seed(0)
    packed = Packed(torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None])
    rows = torch.randn(3, sum(LENGTHS), heads * width, generator=generator).to(kind)
    query, key, value = rows.float()
    plain = attend(packed.groups(query, key, value), heads, 0.0)
    try:
        with torch.autocast(place.type, enabled=False):
            query, key, value = rows.to(place)
            found = attend_flash(packed, query, key, value, heads).float().cpu()
    except (RuntimeError, ImportError) as error:
        log.warning("no attention without padding on %s, so sequences are padded: %s", place, error)
        return False
    apart = float((found - plain).abs().max())
    if not apart < TOLERANCE:
        log.warning("attention without padding differs by %.3g on %s, so sequences are padded", apart, place)
    return apart < TOLERANCE
