"""How a text that is linked to regions gets one score beside its picture (A.2, VCR).

In: a batch of texts with the slots of the regions that their words name. Out: a score for each; four are one choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interbert.config import ModelConfig
from interbert.tasks.task import ChoiceBatch, TaskModel


@dataclass(eq=False)
class LinkedBatch(ChoiceBatch):
    """Choices whose words may name regions. links: int64 [B, T], the slot of the region a word names, 0 for none."""

    links: Tensor | None = None


class ChoiceHead(nn.Module):
    """Fused vector to one score; and what a named region adds to the word that names it, which starts as nothing."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.score = nn.Linear(config.fusion_size, 1)
        self.link = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        nn.init.normal_(self.score.weight, std=config.initializer_range)
        nn.init.zeros_(self.score.bias)
        nn.init.zeros_(self.link.weight)


def scores_of(model: TaskModel, batch: LinkedBatch) -> Tensor:
    """float32 [B]: the score of every text with its picture."""
    head, backbone = model.head, model.backbone
    assert isinstance(head, ChoiceHead)
    assert batch.links is not None
    text, image = backbone.embed_text(batch), backbone.embed_image(batch)
    assert text is not None
    assert image is not None
    regions = image[0].gather(1, batch.links[..., None].expand(-1, -1, image[0].shape[-1]))
    linked = text[0] + head.link(regions) * (batch.links > 0)[..., None]
    output = backbone.read((linked, text[1]), image, positions=1)
    assert output.text_vector is not None
    assert output.image_vector is not None
    with torch.autocast(linked.device.type, enabled=False):  # scores of 8 bits would tie too often
        fused = backbone.fusion(output.text_vector.float(), output.image_vector.float())
        return torch.as_tensor(head.score(fused)[:, 0])
