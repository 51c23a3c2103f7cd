"""The losses of pretraining (section 3.3) from an Output and its Batch: each a sum, with the count it is divided by.

Sums and counts, so that a batch cut in pieces or over processes has the loss of the whole. Conditional masking lives
here and only here: a negative pair has neither a word nor a region loss.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from interbert.batch import Batch, Output
from interbert.config import MATCH_CLASS
from interbert.errors import InterbertError
from interbert.model.interbert import InterBert
from interbert.pretraining.stages import Stage


def scored_words(batch: Batch) -> Tensor:
    """bool [B, T]: masked words of matching pairs (conditional masking)."""
    assert batch.masked_words is not None
    assert batch.is_match is not None
    return batch.masked_words & batch.is_match[:, None]


def scored_regions(batch: Batch) -> Tensor:
    """bool [B, R]: masked regions of matching pairs (conditional masking)."""
    assert batch.masked_regions is not None
    assert batch.is_match is not None
    return batch.masked_regions & batch.is_match[:, None]


def counts(batch: Batch, stage: Stage) -> dict[str, float]:
    """What each sum of `losses` is divided by: scored words, scored regions, pairs."""
    found: dict[str, float] = {}
    if stage.words != "none":
        found["words"] = float(scored_words(batch).sum())
    if stage.regions != "none":
        found["regions"] = float(scored_regions(batch).sum())
    if stage.matches:
        found["matching"] = float(len(batch))
    if stage.contrasts:
        found["alone"] = float(len(batch))
    return found


def losses(model: InterBert, batch: Batch, stage: Stage) -> dict[str, Tensor]:
    """The sums of the stage's objectives. An empty set sums to 0."""
    found: dict[str, Tensor] = {}
    if stage.contrasts or stage.draws_late:
        with torch.set_grad_enabled(stage.contrasts):
            margins, own = _margins_alone(model, batch)
        if stage.contrasts:
            found["alone"] = alone_loss(margins, own)
        if stage.draws_late:
            batch = with_late_negatives(batch, margins.detach(), own, stage.hard_negatives)
    if stage.matching != "alone":
        output = model(batch)
        if stage.words != "none":
            found["words"] = word_loss(model, output, batch)
        if stage.regions != "none":
            found["regions"] = region_loss(model, output, batch)
        if stage.matches:
            found["matching"] = matching_loss(model, output, batch)
    return found


def _margins_alone(model: InterBert, batch: Batch) -> tuple[Tensor, Tensor]:
    """Margins of every text with every picture of the batch, each read alone, and which of them belong together."""
    assert batch.belongs is not None
    texts, images = model(batch.text_alone()).text_vector, model(batch.image_alone()).image_vector
    assert texts is not None
    assert images is not None
    return model.margins_alone(texts, images), batch.belongs


def with_late_negatives(batch: Batch, margins: Tensor, own: Tensor, hard_share: float) -> Batch:
    """Gives the texts that shall not match another picture of the batch: at random, or with softmax(margin).

    batch: every text with its own picture.  margins: [B, B].  own: bool [B, B].  The draw takes torch's own generator,
    as dropout does, which the loop seeds for each step. Raises InterbertError where the batch has but one picture.
    """
    assert batch.is_match is not None
    if own.all(1).any():
        raise InterbertError("a text of a batch belongs to all its pictures, so it has no negative; "
                             "give a larger batch_size or micro_batch_size")  # fmt: skip
    is_hard = torch.rand(len(batch), 1, device=margins.device) < hard_share
    liking = torch.where(is_hard, margins, 0.0).masked_fill(own, -torch.inf)
    drawn = torch.multinomial(liking.softmax(-1), 1)[:, 0]
    places = torch.arange(len(batch), device=margins.device)
    return batch.with_images_of(torch.where(batch.is_match, places, drawn))


def alone_loss(margins: Tensor, own: Tensor) -> Tensor:
    """Contrast both ways, halved: each text finds its picture among the batch's, each picture its text.

    margins: [B, B].  own: bool [B, B], true where text and picture belong together. Returns the sum over pairs.

    >>> round(float(alone_loss(torch.zeros(2, 2), torch.eye(2, dtype=torch.bool))) / 2, 4)      # ln 2
    0.6931
    """
    found = margins.masked_fill(~own, -torch.inf)
    by_text = margins.logsumexp(1) - found.logsumexp(1)
    by_image = margins.logsumexp(0) - found.logsumexp(0)
    return (by_text.sum() + by_image.sum()) / 2


def word_loss(model: InterBert, output: Output, batch: Batch) -> Tensor:
    """MLM and MSM: cross-entropy of the masked words, summed. Logits only where they are read."""
    assert output.text_states is not None
    assert batch.word_targets is not None
    scored = scored_words(batch)
    logits = model.word_logits(output.text_states[scored]).float()
    return cross_entropy(logits, batch.word_targets[scored], reduction="sum")


def region_loss(model: InterBert, output: Output, batch: Batch) -> Tensor:
    """MOM and MRM, summed: cross-entropy with the category (hard) or KL to the detector's distribution (soft)."""
    assert output.image_states is not None
    assert batch.region_targets is not None
    scored = scored_regions(batch)
    logits = model.region_logits(output.image_states[scored]).float()
    targets = batch.region_targets[scored]
    if targets.is_floating_point():
        return (torch.xlogy(targets, targets) - targets * logits.log_softmax(-1)).sum()
    return cross_entropy(logits, targets, reduction="sum")


def match_targets(is_match: Tensor) -> Tensor:
    """bool [B] to the class of each pair, int64 [B]."""
    return torch.where(is_match, MATCH_CLASS, 1 - MATCH_CLASS)


def matching_loss(model: InterBert, output: Output, batch: Batch) -> Tensor:
    """ITM: cross-entropy of match or not, summed over all pairs."""
    assert output.text_vector is not None
    assert output.image_vector is not None
    assert batch.is_match is not None
    logits = model.match_logits(output.text_vector, output.image_vector)
    return cross_entropy(logits, match_targets(batch.is_match), reduction="sum")
