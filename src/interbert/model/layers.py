"""The Transformer layer of BERT, and a stack of them: interaction and both independence streams are one class.

Equations 1 to 4 of the paper, read as BERT's layer (post-LN): n = LN(x + attention(x)); x' = LN(n + FFN(n)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from interbert.model.flash import attend_flash, flash_attends
from interbert.model.packing import Packed, attend

Attended = Tensor | Packed | None  # bool [B, 1, 1, S]; rows without padding; or nothing is padding


@dataclass(frozen=True)
class LayerSizes:
    """hidden: H.  feed_forward: width of the FFN.  heads: divides H."""

    hidden: int
    feed_forward: int
    heads: int
    dropout: float
    attention_dropout: float
    layer_norm_eps: float


class Attention(nn.Module):
    """Multi-head self-attention with the output projection; no residual."""

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__()
        self.heads, self.dropout = sizes.heads, sizes.attention_dropout
        self.query = nn.Linear(sizes.hidden, sizes.hidden)
        self.key = nn.Linear(sizes.hidden, sizes.hidden)
        self.value = nn.Linear(sizes.hidden, sizes.hidden)
        self.output = nn.Linear(sizes.hidden, sizes.hidden)

    def forward(self, states: Tensor, attended: Attended, wanted: int | None = None) -> Tensor:
        """states: [B, S, H], or [N, H] packed. Returns the same, or of the first `wanted` positions alone."""
        query = self.query(_first(states, attended, wanted))
        key, value = self.key(states), self.value(states)
        dropout = self.dropout if self.training else 0.0
        if isinstance(attended, Packed) and flash_attends(query, self.heads):
            mixed = attend_flash(attended, query, key, value, self.heads, wanted)
        elif isinstance(attended, Packed):
            mixed = attend(attended.groups(query, key, value, wanted), self.heads, dropout)
        elif attended is None and states.device.type == "cpu":
            mixed = attend([(query, key, value)], self.heads, dropout).view(query.shape)
        else:
            query, key, value = self._heads(query), self._heads(key), self._heads(value)
            mixed = scaled_dot_product_attention(query, key, value, attn_mask=attended, dropout_p=dropout)
            mixed = mixed.transpose(1, 2).flatten(2)
        return torch.as_tensor(self.output(mixed))

    def weights(self, states: Tensor) -> Tensor:
        """How much each position takes of each: [B, heads, S, S], rows that add up to 1. No position may be padding."""
        query, key = self._heads(self.query(states)), self._heads(self.key(states))
        return torch.softmax(query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5, -1)

    def _heads(self, states: Tensor) -> Tensor:
        return states.view(*states.shape[:2], self.heads, -1).transpose(1, 2)


class Layer(nn.Module):
    """One layer: attention and feed-forward, each with dropout, residual and LayerNorm."""

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__()
        self.attention = Attention(sizes)
        self.attention_norm = nn.LayerNorm(sizes.hidden, eps=sizes.layer_norm_eps)
        self.expand = nn.Linear(sizes.hidden, sizes.feed_forward)
        self.activation: nn.Module = nn.GELU()
        self.contract = nn.Linear(sizes.feed_forward, sizes.hidden)
        self.norm = nn.LayerNorm(sizes.hidden, eps=sizes.layer_norm_eps)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, states: Tensor, attended: Attended, wanted: int | None = None) -> Tensor:
        """states: [B, S, H], or [N, H] packed. Returns the same, or of the first `wanted` positions alone.

        What is not wanted costs its keys and values only.
        """
        mixed = self.attention(states, attended, wanted)
        inner = self.attention_norm(_first(states, attended, wanted) + self.dropout(mixed))
        return torch.as_tensor(self.norm(inner + self.dropout(self.contract(self.activation(self.expand(inner))))))


def _first(states: Tensor, attended: Attended, wanted: int | None) -> Tensor:
    return attended.first(states, wanted) if isinstance(attended, Packed) else states[:, :wanted]


class Stream(nn.Module):
    """`count` layers, one after the other. With none it returns the positions that are wanted of what it got.

    packs: whether padding is left out of every layer's work, which changes no result: on a CPU, and on a GPU in 16 bits
    without dropout of attention weights.  activations: the arithmetic inside, None as the states come.
    """

    def __init__(self, count: int, sizes: LayerSizes, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(count))
        self.gradient_checkpointing = gradient_checkpointing
        self.packs = True
        self.activations: torch.dtype | None = None

    def forward(self, states: Tensor, valid: Tensor | None, wanted: int | None = None) -> Tensor:
        """states: [B, S, H].  valid: bool [B, S], or None where nothing is padding, which is never attended to.

        Returns [B, S, H], or [B, wanted, H] of the first positions alone, for which the last layer does no more.
        """
        if not len(self.layers):
            return states[:, :wanted]
        inside = states.to(self.activations or states.dtype)
        packs = self.packs and self._can_pack(inside)
        if valid is None or (packs and bool(valid.all())):
            found = self._through(inside, None, wanted)
        elif packs:
            packed = Packed(valid)
            found = packed.unpack(self._through(packed.pack(inside), packed, wanted), wanted)
        else:
            found = self._through(inside, valid[:, None, None, :], wanted)
        return found.to(states.dtype) if self.activations else found

    def _can_pack(self, states: Tensor) -> bool:
        attention = cast(Layer, self.layers[0]).attention
        drops = self.training and attention.dropout > 0
        return states.device.type == "cpu" or (not drops and flash_attends(states, attention.heads))

    def _through(self, states: Tensor, attended: Attended, wanted: int | None) -> Tensor:
        for number, layer in enumerate(self.layers):
            kept = wanted if number == len(self.layers) - 1 else None
            if self.gradient_checkpointing and self.training:
                states = checkpoint(layer, states, attended, kept, use_reentrant=False)
            else:
                states = layer(states, attended, kept)
        return states
