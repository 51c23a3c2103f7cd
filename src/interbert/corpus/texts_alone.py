"""Texts without pictures as a corpus: what the text side can be trained on where pictures are not at hand.

Every different text is an item of its own, where a picture would be. Equal texts are one, in the most held-out split
that any of them has, so that what is held out is not trained on.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from interbert.corpus.corpus import SPLITS, Corpus
from interbert.corpus.gathering import Gathering, hash_of
from interbert.corpus.options import BuildOptions
from interbert.corpus.readers import Caption
from interbert.corpus.report import CorpusReport
from interbert.errors import UsageError

_POSITIVE = (1 << 63) - 1  # of a hash, the bits that an int64 takes


class OfTexts(Gathering):
    """Different texts as they come, each with the id of the first caption that says it. About 150 bytes each.

    Where the source has no splits, the picture's name decides, so that what is said of one picture stays together; of
    captions that name none, the text.
    """

    advice = "Give a source with texts"

    def __init__(self, spool: Path, options: BuildOptions, report: CorpusReport) -> None:
        super().__init__(spool, options, report)
        if options.leave_out_stores or options.leave_out_ids or options.unique_pictures:
            raise UsageError(
                "a corpus of texts alone has no pictures to leave out or compare; leave_out_corpora leaves out texts"
            )
        report.pictures = {}
        self._at: dict[int, int] = {}  # hash of a text -> its item
        self._names: list[str] = []
        self._hashes = array("Q")
        self._splits, self._categories = array("B"), array("i")
        self._left_out = {
            hash_of(corpus.text(int(text)))
            for corpus in map(Corpus, options.leave_out_corpora)
            for split in SPLITS[1:]
            for text in corpus.split(split)
        }

    def __len__(self) -> int:
        return len(self._names)

    def id_of(self, at: int) -> str:
        """The id of the first caption with the text."""
        return self._names[at]

    def _take(self, caption: Caption, file: BinaryIO) -> None:
        text = self._text(caption)
        split = None if text is None else self._split(caption.image or text, caption)
        if text is None or split is None:
            return
        number = hash_of(text)
        if number in self._left_out:
            self._dropped("a corpus to leave out holds its text out", caption)
            return
        at = self._at.setdefault(number, len(self._names))
        if at < len(self._names):
            self._splits[at] = max(self._splits[at], split)
            self._dropped("it says the same as an earlier one", caption)
            return
        self._spool(text, file)
        self._hashes.append(number)
        self._names.append(caption.id)
        self._splits.append(split)
        self._categories.append(self._category(caption))

    def item(self, at: int) -> tuple[str, dict[str, int]]:
        """See `Gathering.item`. The hash is the text's, so that several corpora know what the others hold out."""
        return self._names[at], {
            "split": self._splits[at],
            "image_hash": self._hashes[at] & _POSITIVE or 1,
            "region_counts": 0,
            "mirrored_counts": 0,
            "category": self._categories[at],
        }

    def texts(self) -> Iterator[tuple[int, str]]:
        """See `Gathering.texts`."""
        with open(self.spool, "rb") as file:
            for at in range(len(self)):
                yield at, file.read(self.ends[at + 1] - self.ends[at]).decode()

    def count_unused(self, kept: NDArray[np.bool_]) -> None:
        """Nothing: what became of a text was counted with its caption."""
