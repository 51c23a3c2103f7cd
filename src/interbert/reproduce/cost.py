"""What a step costs, roughly: operations of a model's passes, and the seconds they take on a machine.

A rough figure for `--list` and for the time that is left; what was measured stands in the report.
"""

from __future__ import annotations

from dataclasses import dataclass

from interbert.config import ModelConfig
from interbert.pretraining.stages import Stage

BACKWARD = 3  # a training step is a pass forward and, at twice its cost, one backward


@dataclass(frozen=True)
class Cost:
    """operations: of floating point.  seconds: on the scale's machine."""

    operations: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Machine:
    """What costs are given for. rate: operations a second that passes really reach.  name: as it is told.

    ends: seconds in which a step begins and ends.
    """

    name: str
    rate: float
    ends: float = 5.0

    def passes(self, operations: float) -> Cost:
        """The cost of so many operations, its ends with it."""
        return Cost(operations, self.ends + operations / self.rate)


def pair_operations(model: ModelConfig, words: float, regions: float) -> float:
    """Of one pass forward over a text and a picture; 0 words or regions: the other alone. A multiply-add counts two.

    >>> from interbert.config import preset
    >>> round(pair_operations(preset("paper"), 16, 37) / 1e9, 1)       # 18 layers over each of 53 places
    13.6
    """
    image_layers = model.independence_layers if model.image_layers is None else model.image_layers
    image_feed_forward = model.image_feed_forward_size or model.feed_forward_size
    return (
        model.interaction_layers * _layer(model.hidden_size, model.feed_forward_size, words + regions)
        + model.independence_layers * _layer(model.hidden_size, model.feed_forward_size, words)
        + image_layers * _layer(model.hidden_size, image_feed_forward, regions)
    )


def _layer(hidden: int, feed_forward: int, places: float) -> float:
    """Four projections, two products of attention, two layers of the feed-forward net."""
    return places * (8 * hidden**2 + 4 * hidden * feed_forward) + 4 * hidden * places**2


def stage_operations(stage: Stage, model: ModelConfig, pairs: float, words: float, regions: float) -> float:
    """Of training for all epochs of a stage; hard negatives cost a pass more, each side alone no interaction."""
    apart = pair_operations(model, words, 0) + pair_operations(model, 0, regions)
    together = pair_operations(model, words, regions)
    once = apart if stage.matching == "alone" else together + (apart if stage.matching == "both" else 0.0)
    return stage.epochs * pairs * (BACKWARD * once + (together if stage.hard_negatives else 0.0))
