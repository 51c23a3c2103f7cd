"""Captions as they come: which stay, of which picture, in which split (4.1). What is dropped is counted by reason.

Texts go to a spool file, numbers to arrays: 13 bytes of memory a caption. `OfPictures` joins captions with a region
store's pictures; texts alone are gathered by `texts_alone.py`.
"""

from __future__ import annotations

import hashlib
import itertools
import mmap
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from interbert.corpus.corpus import SPLITS
from interbert.corpus.leakage import NO_SPLIT_YET, held_out_together, repeated, split_of
from interbert.corpus.options import BuildOptions
from interbert.corpus.pictures import Pictures, held_out_pictures, pictures_of_store
from interbert.corpus.readers import NO_SPLIT, Caption
from interbert.corpus.report import CorpusReport
from interbert.errors import InterbertError, unknown_name
from interbert.text.encoding import readable
from interbert.vision.store import RegionStore


class Gathering(ABC):
    """What a corpus is written from: items (pictures, or texts that stand alone) in their order, and their texts.

    categories: name -> number, in the order in which they come.  advice: where nothing is left.
    """

    advice = "Give captions and regions of the same pictures"

    def __init__(self, spool: Path, options: BuildOptions, report: CorpusReport) -> None:
        self.spool, self.options, self.report = spool, options, report
        self.categories: dict[str, int] = {}
        self.ends = array("q", [0])
        self._ids = array("Q")

    def read(self, captions: Iterable[Caption]) -> None:
        """Reads all captions; afterwards each item is in one split."""
        with open(self.spool, "wb") as file:
            for caption in captions:
                self.report.captions["read"] += 1
                self._ids.append(hash_of(caption.id))
                self._take(caption, file)
        ids = np.array(self._ids, np.uint64)
        self.report.note("captions whose id was given to another before", len(ids) - len(np.unique(ids)))
        self._ids = array("Q")

    @abstractmethod
    def _take(self, caption: Caption, file: BinaryIO) -> None:
        """Keeps a caption, its text in the spool, or counts why it is dropped."""

    @abstractmethod
    def __len__(self) -> int:
        """How many items there are."""

    @abstractmethod
    def id_of(self, at: int) -> str:
        """The id of an item."""

    @abstractmethod
    def item(self, at: int) -> tuple[str, dict[str, int]]:
        """The id and the numbers of an item as `CorpusWriter.add_picture` takes them."""

    @abstractmethod
    def texts(self) -> Iterator[tuple[int, str]]:
        """(item, text), those of an item together and once each; items in their order."""

    @abstractmethod
    def count_unused(self, kept: NDArray[np.bool_]) -> None:
        """Counts every item that is not in the corpus, by reason. kept: bool [P]."""

    def _dropped(self, reason: str, caption: Caption) -> None:
        name = f"{caption.image}: " if caption.image else ""
        self.report.drop(reason, f"{name}{readable(caption.text)}")

    def _split(self, key: str, caption: Caption) -> int | None:
        """The split of a caption as a position in SPLITS; None, and dropped, where it is in none.

        key: what decides where the source has no splits.
        """
        if self.options.split is not None:
            return SPLITS.index(self.options.split)
        if caption.split is None:
            return split_of(key, self.options.validation_share, self.options.test_share)
        if caption.split == NO_SPLIT:
            if self.options.use_unsplit:
                return SPLITS.index("train")
            self._dropped("its picture is in no split", caption)
            return None
        if caption.split not in SPLITS:
            raise InterbertError(f"caption '{caption.id}': {unknown_name('split', caption.split, SPLITS)}")
        return SPLITS.index(caption.split)

    def _text(self, caption: Caption) -> str | None:
        """The text with single blanks; None, and dropped, where it has none or is too long."""
        text = " ".join(readable(caption.text).split())
        too_long = len(text.split(" ")) >= self.options.max_words
        if not text or too_long:
            self._dropped(f"it has {self.options.max_words} words or more" if too_long else "it has no text", caption)
            return None
        if "\ufffd" in text and "\ufffd" not in caption.text:
            self.report.note("texts with characters that were not readable, now U+FFFD", 1, text)
        return text

    def _spool(self, text: str, file: BinaryIO) -> None:
        self.ends.append(self.ends[-1] + file.write(text.encode()))

    def _category(self, caption: Caption) -> int:
        """The number of a caption's category; -1 where it has none."""
        return self.categories.setdefault(caption.category, len(self.categories)) if caption.category else -1


class OfPictures(Gathering):
    """Captions joined with the pictures of a store.

    splits: uint8 [P], the most held-out split that the source gives each picture.  of_category: int32 [P], the first
    that the source gives each picture; -1: none.
    """

    def __init__(self, spool: Path, pictures: Pictures, options: BuildOptions, report: CorpusReport) -> None:
        super().__init__(spool, options, report)
        self.pictures, self.of_picture = pictures, array("i")
        self.splits = np.full(len(pictures), NO_SPLIT_YET, np.uint8)
        self.of_category = np.full(len(pictures), -1, np.int32)
        self._captioned = np.zeros(len(pictures), np.bool_)

    def read(self, captions: Iterable[Caption]) -> None:
        """See `Gathering.read`."""
        super().read(captions)
        before = self.splits
        self.splits = held_out_together(before, self.pictures.hashes)
        self.report.note("pictures moved to the split of an equal picture", int((before != self.splits).sum()))

    def __len__(self) -> int:
        return len(self.pictures)

    def id_of(self, at: int) -> str:
        """The picture's id in the store."""
        return self.pictures.ids[at]

    def _take(self, caption: Caption, file: BinaryIO) -> None:
        at = self.pictures.find(caption.image)
        if isinstance(at, str):
            self._dropped(at, caption)
            return
        self._captioned[at] = True
        if at in self.pictures.excluded:
            self._dropped(self.pictures.excluded[at], caption)
            return
        split = self._split(self.pictures.ids[at], caption)
        text = None if split is None else self._text(caption)
        if split is None or text is None:
            return
        old = self.splits[at]
        if old not in (NO_SPLIT_YET, split):
            self.report.note("captions of a picture that the source puts into two splits", 1, caption.image)
        self.splits[at] = split if old == NO_SPLIT_YET else max(old, split)
        self._note_category(at, caption)
        self._spool(text, file)
        self.of_picture.append(at)

    def _note_category(self, at: int, caption: Caption) -> None:
        number = self._category(caption)
        if self.of_category[at] < 0:
            self.of_category[at] = number
        elif number not in (-1, self.of_category[at]):
            self.report.note("pictures of two categories, which keep the first", 1, caption.image)

    def count_unused(self, kept: NDArray[np.bool_]) -> None:
        """Counts every picture of the store that is not in the corpus, by reason. kept: bool [P]."""
        for at in np.flatnonzero(~kept).tolist():
            why = "no caption of it was kept" if self._captioned[at] else "no caption names it"
            reason = self.pictures.excluded.get(at, why)
            self.report.leave(reason.removeprefix("its picture "), self.pictures.ids[at])

    def item(self, at: int) -> tuple[str, dict[str, int]]:
        """See `Gathering.item`."""
        pictures, most = self.pictures, self.options.max_regions
        mirrored = int(pictures.mirrored_counts[at])
        return pictures.ids[at], {
            "split": int(self.splits[at]),
            "image_hash": int(pictures.hashes[at]),
            "region_counts": min(int(pictures.counts[at]), most),
            "mirrored_counts": min(mirrored, most) if mirrored >= self.options.min_regions else 0,
            "category": int(self.of_category[at]),
        }

    def texts(self) -> Iterator[tuple[int, str]]:
        """See `Gathering.texts`; pictures in the order of the store."""
        order = np.argsort(np.array(self.of_picture, np.int32), kind="stable")
        seen: set[str] = set()
        last = -1
        if not len(order):  # an empty file cannot be mapped
            return
        with open(self.spool, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for at in map(int, order):
                picture = self.of_picture[at]
                if picture != last:
                    seen, last = set(), picture
                text = data[self.ends[at] : self.ends[at + 1]].decode()
                if text in seen:
                    self.report.drop(
                        "it says the same of the same picture again", f"{self.pictures.ids[picture]}: {text}"
                    )
                else:
                    seen.add(text)
                    yield picture, text


def hash_of(text: str) -> int:
    """64 bits of a text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def usable_pictures(store: RegionStore, options: BuildOptions, report: CorpusReport) -> Pictures:
    """The store's pictures with everything excluded that the options leave out."""
    pictures = Pictures(store)
    report.pictures["in the store"] = len(pictures)
    named = {name: list(pictures.fitting(name)) for name in options.leave_out_ids}
    unknown = [name for name, found in named.items() if not found]
    report.note("ids to leave out that the store does not have", len(unknown), unknown[0] if unknown else None)
    pictures.exclude(itertools.chain(*named.values()), "its picture is on the list to leave out")
    for place in options.leave_out_stores:
        pictures.exclude_like(pictures_of_store(place), f"store '{place}'", options.leave_out_distance)
    for place in options.leave_out_corpora:
        what = f"the held-out part of corpus '{place}'"
        pictures.exclude_like(held_out_pictures(place), what, options.leave_out_distance)
    if options.leave_out_stores or options.leave_out_corpora:
        report.note("pictures whose file the store does not know, so not compared", int((pictures.hashes == 0).sum()))
    confident = ""
    if options.min_confidence > 0:
        pictures.limit_confidence(store, options.min_confidence)
        confident = f" of a confidence over {options.min_confidence}"
    few = np.flatnonzero(pictures.counts < options.min_regions)
    pictures.exclude(few, f"its picture has fewer than {options.min_regions} regions{confident}")
    if options.unique_pictures:
        again = repeated(pictures.hashes, pictures.perceptual, options.unique_distance)
        pictures.exclude(again, "its picture repeats an earlier one")
    return pictures
