"""A pretraining run as a list of stages (4.3, Table 4): which words and regions are hidden, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from interbert.errors import UsageError

Words = Literal["mlm", "msm", "none"]
RegionsHidden = Literal["mom", "mrm", "none"]


@dataclass(frozen=True)
class Stage:
    """Some epochs with one pair of masking objectives and image-text matching. It must teach something.

    matching: "interact" is the paper's ITM, text and regions read together. Beyond the paper, "alone" trains the
    vectors that each side gives when read without the other, by contrast over the batch (half the cost, no masking);
    "both" does both; "none" hides without matching, which is all that texts without pictures can have.
    hard_negatives: share of the negatives that are not drawn at random from the batch's pictures but likelier the
    better they fit, read alone; they cost a forward pass more.
    region_dropout: whether the run's `augmentation.region_dropout` holds in this stage; False: pictures are seen whole.

    >>> two_stages = [Stage("mlm", "mom", epochs=5), Stage("msm", "mrm", epochs=10)]    # the paper's Table 4
    """

    words: Words = "msm"
    regions: RegionsHidden = "mrm"
    epochs: int = 1
    matching: Literal["interact", "alone", "both", "none"] = "interact"
    hard_negatives: float = 0.0
    region_dropout: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.hard_negatives <= 1:
            raise UsageError(f"hard_negatives: got {self.hard_negatives}, wanted a share in 0..1")
        if self.matching == "alone" and (self.words, self.regions) != ("none", "none"):
            raise UsageError("matching: 'alone' reads no words and regions together, so it hides none")
        if self.matching == "none" and (self.words, self.regions) == ("none", "none"):
            raise UsageError("stage: hides and matches nothing: nothing to learn; set words=msm or regions=mrm")
        if self.matching == "none" and self.hard_negatives:
            raise UsageError("hard_negatives: matching 'none' has no negatives; set hard_negatives=0")

    @property
    def matches(self) -> bool:
        """Whether text and picture, read together, are matched: the paper's ITM."""
        return self.matching in ("interact", "both")

    @property
    def contrasts(self) -> bool:
        """Whether vectors of each side read alone are matched."""
        return self.matching in ("alone", "both")

    @property
    def needs_pictures(self) -> bool:
        """Whether texts alone do not have what it teaches."""
        return self.regions != "none" or self.matching != "none"

    @property
    def draws_late(self) -> bool:
        """Whether negatives are drawn where the vectors read alone are known: in the loss."""
        return self.matching == "both" or self.hard_negatives > 0

    @property
    def name(self) -> str:
        """ "msm+mrm+itm" and the like, for logs."""
        parts = [part for part in (self.words, self.regions) if part != "none"]
        return "+".join([*parts, *(["itm"] if self.matches else []), *(["alone"] if self.contrasts else [])])


@dataclass(frozen=True)
class Masking:
    """The numbers of the four objectives, each with its section."""

    mlm_rate: float = 0.15  # 3.3
    msm_rate: float = 0.10  # anchors; 3.2 and 3.3
    max_following: int = 2  # uniform 0..2 (3.3); 3.2 says "average length of 3 words", 3.3 is exact
    whole_words: bool = False  # anchors on words, of Chinese segmented ones, in place of pieces, as released
    mom_rate: float = 0.15  # 3.3
    mrm_rate: float = 0.15  # paper; release 0.10
    mrm_overlap: float = 0.4  # IoU above which a neighbour is hidden too
    mrm_inclusive: bool = False  # also neighbours exactly at that IoU; release True
    region_targets: Literal["hard", "soft"] = "hard"  # category (paper) or the detector's distribution (release)
    sides: Literal["both", "one"] = "both"  # "one": a pair hides words or regions, never both (conditional masking, 2)

    def __post_init__(self) -> None:
        for name in ("mlm_rate", "msm_rate", "mom_rate", "mrm_rate", "mrm_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name}: got {getattr(self, name)}, wanted a share in 0..1")
        if self.max_following < 0:
            raise UsageError(f"max_following: got {self.max_following}, wanted 0 or more words")
