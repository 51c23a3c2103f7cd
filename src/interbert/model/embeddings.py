"""Words and regions as vectors of one width H (section 3.1): the two places where a modality enters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from interbert.config import ModelConfig


class TextEmbedding(nn.Module):
    """word + position + token type, LayerNorm, dropout (3.1; the token type is BERT's)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocabulary_size, config.hidden_size, padding_idx=0)
        self.positions: PositionTable | PositionMlp
        self.positions = PositionTable(config) if config.text_position == "table" else PositionMlp(config)
        self.token_types = nn.Embedding(config.token_types, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, words: Tensor, token_types: Tensor | None) -> Tensor:
        """words, token_types: int64 [B, T]; None: all of type 0. Returns [B, T, H]."""
        types = self.token_types.weight[0] if token_types is None else self.token_types(token_types)
        summed = self.words(words) + self.positions(words.shape[1]) + types
        return torch.as_tensor(self.dropout(self.norm(summed)))


class PositionTable(nn.Module):
    """A learned row for each position, as in BERT and in the authors' release."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(config.max_text_tokens, config.hidden_size)

    def forward(self, length: int) -> Tensor:
        """Returns [length, H]."""
        return self.table.weight[:length]


class PositionMlp(nn.Module):
    """The paper's "position through an MLP" (3.1): the position as a share of the longest text, through two layers.

    The paper gives no sizes; the inner width is H / 2.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.longest = config.max_text_tokens
        self.expand = nn.Linear(1, config.hidden_size // 2)
        self.contract = nn.Linear(config.hidden_size // 2, config.hidden_size)

    def forward(self, length: int) -> Tensor:
        """Returns [length, H]."""
        weight = self.expand.weight
        share = torch.arange(length, device=weight.device, dtype=weight.dtype) / self.longest
        return torch.as_tensor(self.contract(gelu(self.expand(share[:, None]))))


class ImageEmbedding(nn.Module):
    """region feature + location, LayerNorm, dropout (3.1). Slot 0 comes in with the batch, as a region like the others.

    The paper's two "MLP"s are one linear layer each, as in the release.
    """

    feature_mean: Tensor | None
    feature_scale: Tensor | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.with_confidence = config.region_confidence
        size = config.region_feature_size
        self.register_buffer("feature_mean", torch.zeros(size) if config.region_standardised else None)
        self.register_buffer("feature_scale", torch.ones(size) if config.region_standardised else None)
        self.features = nn.Linear(config.region_feature_size, config.hidden_size)
        self.locations = nn.Linear(6 if self.with_confidence else 5, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def standardise(self, features: Tensor) -> None:
        """Fixes mean and scale of every channel from a sample of features, [K, D]. Once, before training."""
        if self.feature_mean is None or self.feature_scale is None:
            raise ValueError("region_standardised: got False, wanted True to fix a mean and a scale")
        self.feature_mean.copy_(features.mean(0))
        self.feature_scale.copy_(1 / features.std(0).clamp(min=1e-3))

    @property
    def is_standardised(self) -> bool:
        """Whether mean and scale of the features have been fixed."""
        return self.feature_mean is not None and bool(self.feature_mean.any())

    def forward(self, features: Tensor, locations: Tensor, confidence: Tensor | None) -> Tensor:
        """features: [B, R, D].  locations: [B, R, 5].  confidence: [B, R]. Returns [B, R, H]."""
        if self.with_confidence:
            if confidence is None:
                raise ValueError("confidence: got None, wanted [B, R]: this model embeds the detector's confidence")
            locations = torch.cat([locations, confidence[..., None]], dim=-1)
        if self.feature_mean is not None and self.feature_scale is not None:
            features = (features - self.feature_mean) * self.feature_scale
        return torch.as_tensor(self.dropout(self.norm(self.features(features) + self.locations(locations))))
