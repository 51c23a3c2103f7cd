"""What goes into a corpus: every setting of a build, each with its section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from interbert.corpus.corpus import SPLITS
from interbert.errors import UsageError, unknown_name


@dataclass(frozen=True)
class BuildOptions:
    """What goes into a corpus. Shares are of pictures."""

    language: Literal["en", "zh"] = "en"  # recorded; texts of both are cut by the same WordPiece
    max_words: int = 36  # texts of fewer words between blanks are kept: "less than 36" (4.1), so 35 at most
    max_tokens: int = 64  # [CLS] and [SEP] included; longer ones are cut and counted
    min_regions: int = 10  # pictures of fewer are left out (4.1)
    max_regions: int = 36  # of more, the best are used (4.1)
    min_confidence: float = 0.0  # only regions of a confidence over it are used (A.1: 0.1); 0: all
    unique_pictures: bool = False  # of pictures with one file or perceptual hash, only the store's first
    unique_distance: int = 0  # of the hash's 64 bits, so many may differ; 4: also smaller, or saved again; goods: 1
    split: Literal["train", "validation", "test"] | None = None  # everything into one; None: as the source says
    use_unsplit: bool = False  # pictures in no split of a source that has splits: into train, else dropped
    validation_share: float = 0.02  # where the source has no splits
    test_share: float = 0.0
    leave_out_ids: tuple[str, ...] = ()  # pictures, as the store or captions name them; "*val2014*": all such ids
    leave_out_stores: tuple[str, ...] = ()  # region stores of test sets: all their pictures
    leave_out_corpora: tuple[str, ...] = ()  # corpora: their validation and test pictures
    leave_out_distance: int | None = 4  # of 64 bits of the perceptual hash; None compares files only
    max_unknown_share: float = 0.2  # of the words; more means a vocabulary of another language

    def __post_init__(self) -> None:
        if min(self.validation_share, self.test_share) < 0 or self.validation_share + self.test_share >= 1:
            raise UsageError(
                f"shares: got {self.validation_share} and {self.test_share}, wanted 0 or more and below 1 in sum"
            )
        if not 1 <= self.min_regions <= self.max_regions < 1 << 16:
            raise UsageError(f"regions: got {self.min_regions} to {self.max_regions}, wanted 1 or more, and min <= max")
        if not 0 <= self.unique_distance < 32 or (self.unique_distance and not self.unique_pictures):
            raise UsageError(f"unique_distance: got {self.unique_distance}, wanted 0 to 31, with unique_pictures=true")
        if self.max_words < 2 or self.max_tokens < 3:
            raise UsageError(f"max_words {self.max_words}, max_tokens {self.max_tokens}: wanted at least 2 and 3")
        if self.split is not None and self.split not in SPLITS:
            raise UsageError(unknown_name("split", self.split, SPLITS))
