"""Matching margins (3.3, "ITM") of sides that were embedded before, with no work but what a margin needs.

Where many texts meet many pictures, each is embedded once; the last layers of both streams compute position 0 alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from interbert.config import MATCH_CLASS
from interbert.model.interbert import InterBert


def margins(model: InterBert, texts: Tensor, images: Tensor, images_valid: Tensor | None = None) -> Tensor:
    """The margin of every text with every picture: the logit of "belong together" less the other. Returns [G, K].

    texts: [G, T, H], embedded, of one length.  images: [K, R, H], embedded.  images_valid: bool [K, R], or None where
    no region is padding.
    """
    groups, length, hidden = texts.shape
    count, regions = images.shape[:2]
    joint = texts.new_empty(groups, count, length + regions, hidden)
    joint[:, :, :length] = texts[:, None]
    joint[:, :, length:] = images[None]
    joint = joint.flatten(0, 1)
    valid = images_valid
    both_valid = None
    if valid is not None:
        valid = valid.repeat(groups, 1)
        both_valid = torch.cat([valid.new_ones(len(valid), length), valid], 1)
    states = model.interaction(joint, both_valid)
    text = model.fusion.text_vector(model.text_stream(states[:, :length], None, 1))
    image = model.fusion.image_vector(model.image_stream(states[:, length:], valid, 1))
    return margin(model, text, image).view(groups, count)


def margin(model: InterBert, text_vector: Tensor, image_vector: Tensor) -> Tensor:
    """The margin of vectors read together: two [..., F] to [...]."""
    logits = model.match_logits(text_vector, image_vector)
    return logits[..., MATCH_CLASS] - logits[..., 1 - MATCH_CLASS]
