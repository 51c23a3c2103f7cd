"""The Transformer layer of BERT, and a stack of them: interaction and both independence streams are one class.

Equations 1 to 4 of the paper, read as BERT's layer (post-LN): n = LN(x + attention(x)); x' = LN(n + FFN(n)).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint


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

    def forward(self, states: Tensor, attended: Tensor | None, wanted: int | None = None) -> Tensor:
        """states: [B, S, H].  attended: bool [B, 1, 1, S], or None where every position is.

        Returns [B, S, H], or of the first `wanted` positions alone.
        """
        query = self._heads(self.query(states[:, :wanted]))
        key, value = self._heads(self.key(states)), self._heads(self.value(states))
        dropout = self.dropout if self.training else 0.0
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=attended, dropout_p=dropout)
        return torch.as_tensor(self.output(mixed.transpose(1, 2).flatten(2)))

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
        self.contract = nn.Linear(sizes.feed_forward, sizes.hidden)
        self.norm = nn.LayerNorm(sizes.hidden, eps=sizes.layer_norm_eps)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, states: Tensor, attended: Tensor | None, wanted: int | None = None) -> Tensor:
        """states: [B, S, H].  attended: bool [B, 1, 1, S] or None. Returns [B, S, H], or its first `wanted` positions.

        What is not wanted costs its keys and values only.
        """
        mixed = self.attention(states, attended, wanted)
        inner = self.attention_norm(states[:, :wanted] + self.dropout(mixed))
        return torch.as_tensor(self.norm(inner + self.dropout(self.contract(gelu(self.expand(inner))))))


class Stream(nn.Module):
    """`count` layers, one after the other. With none it returns the positions that are wanted of what it got."""

    def __init__(self, count: int, sizes: LayerSizes, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(count))
        self.gradient_checkpointing = gradient_checkpointing

    def forward(self, states: Tensor, valid: Tensor | None, wanted: int | None = None) -> Tensor:
        """states: [B, S, H].  valid: bool [B, S], or None where nothing is padding, which is never attended to.

        Returns [B, S, H], or [B, wanted, H] of the first positions alone, for which the last layer does no more.
        """
        attended = None if valid is None else valid[:, None, None, :]
        for number, layer in enumerate(self.layers):
            kept = wanted if number == len(self.layers) - 1 else None
            if self.gradient_checkpointing and self.training:
                states = checkpoint(layer, states, attended, kept, use_reentrant=False)
            else:
                states = layer(states, attended, kept)
        return states[:, :wanted]
