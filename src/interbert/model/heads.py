"""What reads the streams: fusion to one vector a side, and the heads of pretraining (sections 3.2 and 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, relu

from interbert.config import ModelConfig

FUSED_DROPOUT = 0.1  # on the fused vector; the release's fixed number, 0 in a model whose dropout is 0


class Fusion(nn.Module):
    """Position 0 of each stream through a linear layer and ReLU; the two vectors meet by product or sum (3.2).

    The product is linear in each vector, so a score of vectors read alone is an inner product.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.by_product = config.fusion == "mul"
        self.text = nn.Linear(config.hidden_size, config.fusion_size)
        self.image = nn.Linear(config.hidden_size, config.fusion_size)
        self.dropout = nn.Dropout(FUSED_DROPOUT if config.dropout else 0.0)

    def text_vector(self, states: Tensor) -> Tensor:
        """states: [B, T, H]. Returns [B, F], from `[CLS]`."""
        return relu(self.text(states[:, 0]))

    def image_vector(self, states: Tensor) -> Tensor:
        """states: [B, R, H]. Returns [B, F], from slot 0."""
        return relu(self.image(states[:, 0]))

    def forward(self, text_vector: Tensor, image_vector: Tensor) -> Tensor:
        """Two [..., F] to one [..., F]."""
        met = text_vector * image_vector if self.by_product else text_vector + image_vector
        return torch.as_tensor(self.dropout(met))


ALONE_PARTS = 4  # of a side's summary, see `alone.py`


class AloneProjection(nn.Module):
    """What is added to the vector of a side read alone, so that inner products follow the interaction score.

    It adds nothing until it is trained: the last layer starts at 0. Beyond the paper.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=config.layer_norm_eps) for _ in range(ALONE_PARTS))
        self.expand = nn.Linear(ALONE_PARTS * hidden, 2 * hidden)
        self.contract = nn.Linear(2 * hidden, config.fusion_size)

    def forward(self, summary: Tensor) -> Tensor:
        """[B, ALONE_PARTS, H] to [B, F]."""
        parts = [norm(summary[:, at]) for at, norm in enumerate(self.norms)]
        return torch.as_tensor(self.contract(gelu(self.expand(torch.cat(parts, -1)))))


class Transform(nn.Module):
    """BERT's step before a vocabulary: linear, GELU, LayerNorm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, states: Tensor) -> Tensor:
        """[..., H] to [..., H]."""
        return torch.as_tensor(self.norm(gelu(self.dense(states))))


class WordHead(nn.Module):
    """States to logits over the vocabulary; the decoder is the table of word embeddings itself (BERT's tie)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.transform = Transform(config)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        """states: [..., H].  table: [V, H]. Returns [..., V]. Costly: give it only the positions that are read."""
        return linear(self.transform(states), table, self.bias)


class RegionHead(nn.Module):
    """States to logits over the detector's classes (3.3, "MRM")."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.transform = Transform(config)
        self.decoder = nn.Linear(config.hidden_size, config.region_classes)

    def forward(self, states: Tensor) -> Tensor:
        """[..., H] to [..., C]."""
        return torch.as_tensor(self.decoder(self.transform(states)))


class ReleasedHeads(nn.Module):
    """The heads of the authors' fine-tuned models, a linear layer each: answers, a choice's score, and two that point.

    answer: fused vector [..., F] to answer logits [..., A].  choice: fused vector to one score [..., 1] (VCR).
    region, word: a state [..., H] of its stream to one score [..., 1].
    """

    def __init__(self, hidden_size: int, fusion_size: int, answers: int) -> None:
        super().__init__()
        self.answer = nn.Linear(fusion_size, answers)
        self.choice = nn.Linear(fusion_size, 1)
        self.region = nn.Linear(hidden_size, 1)
        self.word = nn.Linear(hidden_size, 1)
