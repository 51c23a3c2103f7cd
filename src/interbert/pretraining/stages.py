"""A pretraining run as a list of stages (4.3, Table 4): which words and regions are hidden, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from interbert.errors import UsageError

Words = Literal["mlm", "msm", "none"]
RegionsHidden = Literal["mom", "mrm", "none"]


Negatives = Literal["random", "hard"]


@dataclass(frozen=True)
class Stage:
    """Some epochs with one pair of masking objectives; image-text matching is always there.

    alone: beyond the paper, also trains the vectors that each side gives when read alone, by contrast over the batch.
    negatives: "random" as in the paper, or "hard": of the batch's other pictures, likelier the better they fit alone.

    >>> two_stages = [Stage("mlm", "mom", epochs=5), Stage("msm", "mrm", epochs=10)]    # the paper's Table 4
    """

    words: Words = "msm"
    regions: RegionsHidden = "mrm"
    epochs: int = 1
    alone: bool = False
    negatives: Negatives = "random"

    def __post_init__(self) -> None:
        if self.negatives == "hard" and not self.alone:
            raise UsageError("negatives: got 'hard' without alone=true, which trains the vectors they are chosen by")

    @property
    def name(self) -> str:
        """ "msm+mrm+itm" and the like, for logs."""
        parts = [part for part in (self.words, self.regions) if part != "none"]
        return "+".join([*parts, "itm", *(["alone"] if self.alone else [])])


@dataclass(frozen=True)
class Masking:
    """The numbers of the four objectives, each with its section."""

    mlm_rate: float = 0.15  # 3.3
    msm_rate: float = 0.10  # anchors; 3.2 and 3.3
    max_following: int = 2  # uniform 0..2 (3.3); 3.2 says "average length of 3 words", 3.3 is exact
    whole_words: bool = False  # anchors on words in place of word pieces, as released
    mom_rate: float = 0.15  # 3.3
    mrm_rate: float = 0.15  # paper; release 0.10
    mrm_overlap: float = 0.4  # IoU above which a neighbour is hidden too
    mrm_inclusive: bool = False  # also neighbours exactly at that IoU; release True
    region_targets: Literal["hard", "soft"] = "hard"  # category (paper) or the detector's distribution (release)
    sides: Literal["both", "one"] = "both"  # "one": a pair hides words or regions, never both (conditional masking, 2)
