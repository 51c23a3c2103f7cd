"""Several corpora behind the interface of one: their texts and pictures are numbered one after the other.

A picture that one corpus holds out must not be trained on through another: such pictures are left out of `train`.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interbert.corpus.corpus import SPLITS, Corpus
from interbert.errors import InterbertError, UsageError
from interbert.vision.provenance import ExtractorInfo

if TYPE_CHECKING:
    from interbert.batch import Regions
    from interbert.text.tokenizer import Tokenizer

_TRAIN = SPLITS.index("train")


class Corpora:
    """Reads like a `Corpus`. Raises InterbertError where extractors or vocabularies differ, and says which.

    held_out_elsewhere: pictures of `train` that another of the corpora holds out (equal files); `split` leaves them out.
    """

    def __init__(self, corpora: Sequence[Corpus | str | Path]) -> None:
        if not corpora:
            raise UsageError("corpora: got none, wanted at least one folder")
        self.corpora = [corpus if isinstance(corpus, Corpus) else Corpus(corpus) for corpus in corpora]
        first = self.corpora[0]
        for other in self.corpora[1:]:
            other.require(f"corpus '{first.folder}'", first.extractor)
            if other.tokenizer_digest != first.tokenizer_digest:
                raise InterbertError(
                    f"corpora '{first.folder}' and '{other.folder}' were cut with different vocabularies; build one of "
                    f"them again with the other's tokenizer.json"
                )
        self._first_text = [0, *np.cumsum([len(corpus) for corpus in self.corpora]).tolist()]
        self._first_image = [0, *np.cumsum([corpus.images for corpus in self.corpora]).tolist()]
        self.images = self._first_image[-1]

    def __reduce__(self) -> tuple[Any, ...]:
        return Corpora, (self.corpora,)

    def __len__(self) -> int:
        """How many texts."""
        return int(self._first_text[-1])

    def words(self, text: int) -> NDArray[np.int64]:
        """See `Corpus.words`."""
        corpus, at = self._text(text)
        return corpus.words(at)

    def length(self, text: int) -> int:
        """See `Corpus.length`."""
        corpus, at = self._text(text)
        return corpus.length(at)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """See `Corpus.lengths`."""
        return np.concatenate([corpus.lengths for corpus in self.corpora])

    def text(self, text: int) -> str:
        """See `Corpus.text`."""
        corpus, at = self._text(text)
        return corpus.text(at)

    def image_of(self, text: int) -> int:
        """See `Corpus.image_of`."""
        corpus, at = self._text(text)
        return corpus.image_of(at) + self._first_image[self.corpora.index(corpus)]

    @cached_property
    def images_of(self) -> NDArray[np.int32]:
        """See `Corpus.images_of`."""
        firsts = zip(self._first_image, self.corpora, strict=False)
        return np.concatenate([corpus.images_of + np.int32(first) for first, corpus in firsts])

    def image_id(self, image: int) -> str:
        """See `Corpus.image_id`. Two corpora may have the same id."""
        corpus, at = self._image(image)
        return corpus.image_id(at)

    def texts_of(self, image: int) -> range:
        """See `Corpus.texts_of`."""
        corpus, at = self._image(image)
        first, texts = self._first_text[self.corpora.index(corpus)], corpus.texts_of(at)
        return range(texts.start + first, texts.stop + first)

    def split(self, name: str) -> NDArray[np.int64]:
        """See `Corpus.split`. `train` is without the pictures that another corpus holds out."""
        texts = [corpus.split(name) + first for first, corpus in zip(self._first_text, self.corpora, strict=False)]
        chosen = np.concatenate(texts)
        if name != SPLITS[_TRAIN] or not self.held_out_elsewhere.size:
            return chosen
        return chosen[~np.isin(self.images_of[chosen], self.held_out_elsewhere)]

    @cached_property
    def held_out_elsewhere(self) -> NDArray[np.int64]:
        """int64: pictures of `train` whose file is a validation or test picture of another of the corpora."""
        splits, hashes = self.image_splits, self.image_hashes
        held_out = np.unique(hashes[(splits != _TRAIN) & (hashes != 0)])
        return np.flatnonzero((splits == _TRAIN) & np.isin(hashes, held_out))

    @cached_property
    def image_splits(self) -> NDArray[np.uint8]:
        """See `Corpus.image_splits`."""
        return np.concatenate([corpus.image_splits for corpus in self.corpora])

    @cached_property
    def image_hashes(self) -> NDArray[np.int64]:
        """See `Corpus.image_hashes`."""
        return np.concatenate([corpus.image_hashes for corpus in self.corpora])

    def region_count(self, image: int, view: int = 0) -> int:
        """See `Corpus.region_count`."""
        corpus, at = self._image(image)
        return corpus.region_count(at, view)

    @cached_property
    def region_counts(self) -> NDArray[np.uint16]:
        """See `Corpus.region_counts`."""
        return np.concatenate([corpus.region_counts for corpus in self.corpora])

    def views(self, image: int) -> int:
        """See `Corpus.views`."""
        corpus, at = self._image(image)
        return corpus.views(at)

    def regions(self, image: int, view: int = 0) -> Regions:
        """See `Corpus.regions`."""
        corpus, at = self._image(image)
        return corpus.regions(at, view)

    @property
    def extractor(self) -> ExtractorInfo:
        """The extractor of all of them."""
        return self.corpora[0].extractor

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of all of them."""
        return self.corpora[0].tokenizer()

    @property
    def tokenizer_digest(self) -> str:
        """See `Corpus.tokenizer_digest`."""
        return self.corpora[0].tokenizer_digest

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 of the digests, in order."""
        return hashlib.sha256("".join(corpus.digest for corpus in self.corpora).encode()).hexdigest()

    def verify(self) -> None:
        """See `Corpus.verify`."""
        for corpus in self.corpora:
            corpus.verify()

    def require(self, who: str, extractor: ExtractorInfo | None = None, tokenizer: Tokenizer | None = None) -> None:
        """See `Corpus.require`."""
        self.corpora[0].require(who, extractor, tokenizer)

    def _text(self, text: int) -> tuple[Corpus, int]:
        if not 0 <= text < len(self):
            raise IndexError(f"text {text}: the corpora have {len(self)}, counted from 0")
        at = bisect.bisect_right(self._first_text, text) - 1
        return self.corpora[at], text - self._first_text[at]

    def _image(self, image: int) -> tuple[Corpus, int]:
        if not 0 <= image < self.images:
            raise IndexError(f"image {image}: the corpora have {self.images}, counted from 0")
        at = bisect.bisect_right(self._first_image, image) - 1
        return self.corpora[at], image - self._first_image[at]
