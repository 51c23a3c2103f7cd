"""Which proposals become regions: the rule of the paper's features (10 to 100 boxes), and that of unc-nlp's program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from interbert.errors import UsageError
from interbert.vision.bottom_up import Found
from interbert.vision.bottom_up_boxes import (
    Overlap,
    best_first,
    best_unrivalled_score,
    cut_boxes,
    moved_boxes,
    unrivalled,
)
from interbert.vision.bottom_up_input import Resized
from interbert.vision.extractor import Limits

Rule = Literal["butd", "final"]
_IN_A_CLASS = Overlap(0.3, extra=1, inclusive=True)  # a constant of both programs, whatever the layout


@dataclass(frozen=True)
class RegionChoice(Limits):
    """How many, and by which rule.

    rule "butd": proposals as they are, those whose confidence is at least `min_confidence`; the best `min_regions`
    where they are fewer, the best `max_regions` where they are more.
    rule "final": boxes moved to their best class, without rivals; `min_confidence` has no part in it.
    """

    rule: Rule = "butd"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule not in get_args(Rule):
            raise UsageError(f"got rule '{self.rule}'; wanted butd or final")


def confidences(boxes: Tensor, classes: Tensor) -> Tensor:
    """[P]: a box's best probability among the classes in which no likelier box is its rival; else 0.

    boxes: [P, 4] in pixels of the file.  classes: probabilities [P, C].
    """
    return torch.from_numpy(best_unrivalled_score(boxes.numpy(), classes.numpy(), _IN_A_CLASS))


def choose_confident(confidence: Tensor, least: int, most: int, threshold: float) -> Tensor:
    """The 10-100 rule: indices int64 [n], in the order of the proposals, or best first where the number is `least` or
    `most` and not the threshold decides. confidence: [P]."""
    sure = (confidence >= threshold).nonzero().flatten()
    if least <= len(sure) <= most:
        return sure
    return torch.from_numpy(best_first(confidence.numpy()))[: least if len(sure) < least else most]


@dataclass(frozen=True, eq=False)
class BestBoxes:
    """Each proposal's likeliest class [P], its probability [P], and that class's box [P, 4]."""

    classes: Tensor
    scores: Tensor
    boxes: Tensor


def all_moved_boxes(found: Found, proposals: Tensor, picture: Resized) -> Tensor:
    """[P, boxes, 4], not cut: each class's box, in resized pixels ("unc") or in those of the file ("caffe")."""
    start = picture.to_original(proposals) if found.config.caffe else proposals
    return moved_boxes(start[:, None], found.deltas, found.config.box_weights, 1 if found.config.caffe else 0)


def best_boxes(found: Found, proposals: Tensor, picture: Resized) -> BestBoxes:
    """Of the classes without the background; boxes are cut at the picture's border. proposals: [P, 4], resized."""
    moved = all_moved_boxes(found, proposals, picture)
    scores, classes = found.classes().max(1)
    rows = torch.arange(len(classes))
    height, width = picture.size
    if picture.factor is None:
        return BestBoxes(classes, scores, cut_boxes(moved[rows, classes], width, height))
    own = cut_boxes(moved[rows, classes + 1], width / picture.factor - 1, height / picture.factor - 1)
    return BestBoxes(classes, scores, own)


@dataclass(frozen=True, eq=False)
class Final:
    """kept: int64 [n], best first.  overlap: the limit that was used.  tried: all limits, in order."""

    kept: Tensor
    overlap: float
    tried: tuple[float, ...]


def choose_final(best: BestBoxes, overlaps: Sequence[float], least: int, most: int) -> Final:
    """Suppression among boxes of all classes, with the first limit that leaves `least`, or else with the last."""
    tried: list[float] = []
    kept = np.zeros(0, np.int64)
    for limit in overlaps:
        tried.append(limit)
        kept = unrivalled(best.boxes.numpy(), best.scores.numpy(), Overlap(limit), most)
        if len(kept) >= least:
            break
    return Final(torch.from_numpy(kept), tried[-1], tuple(tried))


def choose_moved(best: BestBoxes, found: Found, count: int) -> Tensor:
    """The two-stage mode of MILVLG's program: indices of the `count` best boxes after moving. int64 [n]."""
    confidence = confidences(best.boxes, found.classes())
    return torch.from_numpy(best_first(confidence.numpy()))[:count]
