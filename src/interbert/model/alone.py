"""Vectors of each side read alone (beyond the paper): what `InterBert.margins_alone` compares and an index holds.

They are the fused vectors of 3.2 and, in a model that has projections, a correction on top that `finetune prefilter`
trains. It reads a summary of the side: the state at position 0 and the mean of all states after the side's own stream,
the means after the interaction stream and after the embedding.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import relu

from interbert.batch import Batch
from interbert.model.heads import ALONE_PARTS
from interbert.model.interbert import InterBert
from interbert.model.layers import Stream

TEXT, IMAGE = "text", "image"


def text_alone(model: InterBert, batch: Batch) -> Tensor:
    """float [B, F]: of the texts of a batch, whatever pictures it has."""
    if model.alone is None:
        return torch.as_tensor(model(batch.text_alone(), 1).text_vector)
    return text_of_summary(model, text_summary(model, batch))


def image_alone(model: InterBert, batch: Batch) -> Tensor:
    """float [B, F]: of the pictures of a batch, whatever texts it has."""
    if model.alone is None:
        return torch.as_tensor(model(batch.image_alone(), 1).image_vector)
    return image_of_summary(model, image_summary(model, batch))


def text_summary(model: InterBert, batch: Batch) -> Tensor:
    """float [B, ALONE_PARTS, H] of the texts of a batch."""
    embedded = model.embed_text(batch)
    assert embedded is not None
    return _summary(model, *embedded, model.text_stream)


def image_summary(model: InterBert, batch: Batch) -> Tensor:
    """float [B, ALONE_PARTS, H] of the pictures of a batch."""
    embedded = model.embed_image(batch)
    assert embedded is not None
    return _summary(model, *embedded, model.image_stream)


def text_of_summary(model: InterBert, summary: Tensor) -> Tensor:
    """[B, ALONE_PARTS, H] to [B, F]: its inner product with an image vector is the margin less a constant of the text.

    So a search needs nothing but vectors, whatever the fusion.
    """
    direction = model.match_direction
    fused = relu(model.fusion.text(summary[:, 0])) * direction if model.fusion.by_product else direction
    return fused + _projected(model, TEXT, summary)


def image_of_summary(model: InterBert, summary: Tensor) -> Tensor:
    """[B, ALONE_PARTS, H] to [B, F]."""
    return relu(model.fusion.image(summary[:, 0])) + _projected(model, IMAGE, summary)


def alone_query(model: InterBert, text_vector: Tensor) -> Tensor:
    """float [F]: its inner product with an image vector is `margins_alone` less a constant of the text."""
    if model.alone is not None:
        return text_vector
    direction = model.match_direction.detach().to(text_vector)
    return text_vector * direction if model.fusion.by_product else direction


def with_projections(model: InterBert) -> InterBert:
    """The same model with projections that add nothing yet."""
    return _rebuilt(model, projections=True)


def without_projections(model: InterBert) -> InterBert:
    """The model itself, or where it has projections the same without: they are of no use to weights that change."""
    return model if model.alone is None else _rebuilt(model, projections=False)


def _rebuilt(model: InterBert, *, projections: bool) -> InterBert:
    made = InterBert(replace(model.config, alone_projections=projections))
    made.load_state_dict({n: t for n, t in model.state_dict().items() if not n.startswith("alone.")}, strict=False)
    return made.train(model.training)


def _summary(model: InterBert, embedded: Tensor, valid: Tensor, stream: Stream) -> Tensor:
    joint = model.interaction(embedded, valid)
    states = stream(joint, valid)
    means = [_mean(one, valid) for one in (states, joint, embedded)]
    found = torch.stack([states[:, 0], *means], 1)
    assert found.shape[1] == ALONE_PARTS
    return found


def _mean(states: Tensor, valid: Tensor) -> Tensor:
    """[B, S, H] to [B, H], of what is no padding."""
    weights = valid[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def _projected(model: InterBert, side: str, summary: Tensor) -> Tensor:
    if model.alone is None:
        return summary.new_zeros(())
    with torch.autocast(summary.device.type, enabled=False):
        return torch.as_tensor(model.alone[side](summary.float()))
