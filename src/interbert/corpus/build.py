"""Captions and a region store in, a corpus on disk out: cleaned, split by picture, test pictures removed (4.1).

A corpus is built in a folder beside its place and renamed when it is whole. What is dropped is counted by reason.
"""

from __future__ import annotations

import hashlib
import itertools
import mmap
import os
import shutil
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from interbert.corpus.corpus import SPLITS
from interbert.corpus.describing import Made, describe
from interbert.corpus.leakage import NO_SPLIT_YET, held_out_together, repeated, split_of
from interbert.corpus.pictures import Pictures, held_out_pictures, pictures_of_store
from interbert.corpus.readers import NO_SPLIT, Accounted, Caption
from interbert.corpus.report import CorpusReport
from interbert.corpus.writer import CorpusWriter
from interbert.errors import InterbertError, UsageError, unknown_name
from interbert.files import sync_folder
from interbert.text.segmenting import Segmenter
from interbert.text.tokenizer import Tokenizer, readable
from interbert.vision.store import RegionStore

_BLOCK = 20_000  # texts cut at once


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
    split: Literal["train", "validation", "test"] | None = None  # everything into one; None: as the source says
    use_unsplit: bool = False  # pictures in no split of a source that has splits: into train, else dropped
    validation_share: float = 0.02  # where the source has no splits
    test_share: float = 0.0
    leave_out_ids: tuple[str, ...] = ()  # pictures, named as in the store or as captions name them
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
        if self.max_words < 2 or self.max_tokens < 3:
            raise UsageError(f"max_words {self.max_words}, max_tokens {self.max_tokens}: wanted at least 2 and 3")
        if self.split is not None and self.split not in SPLITS:
            raise UsageError(unknown_name("split", self.split, SPLITS))


def build_corpus(
    captions: Iterable[Caption],
    store: RegionStore,
    tokenizer: Tokenizer,
    out: str | Path,
    options: BuildOptions | None = None,
    *,
    segmenter: Segmenter | None = None,
    replace: bool = False,
    progress: bool = False,
) -> CorpusReport:
    """Joins captions with the store's pictures and writes the corpus to the folder `out`, whole or not at all.

    segmenter: marks which tokens are one word, for masking whole words (3.3) where no blanks say it.
    replace: an older corpus at `out` is replaced when the new one is whole.  progress: on stderr.
    Raises UsageError where `out` exists, InterbertError where nothing is left, more than 1 % of the source cannot be
    read, or the vocabulary does not know the texts.
    """
    out, options = Path(out), options or BuildOptions()
    _clean_after_killed(out)
    if out.exists() and not (replace and (out / "corpus.json").is_file()):
        kind = "a corpus is there" if (out / "corpus.json").is_file() else "something else is there"
        raise UsageError(f"'{out}': {kind} already; choose another folder or remove it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    building = out.parent / f".{out.name}.{os.getpid()}.building"
    building.mkdir()
    try:
        report = CorpusReport()
        pictures = _usable_pictures(store, options, report)
        gathered = _Gathered(building / "spool", pictures, options, report)
        gathered.read(tqdm(captions, "reading captions", disable=not progress, unit=" captions"))
        if isinstance(captions, Accounted):
            captions.account(report)
        files = _write(building, gathered, tokenizer, segmenter, progress)
        gathered.spool.unlink()
        source = captions.path.name if isinstance(captions, Accounted) else "captions in memory"
        made = Made(source, store, tokenizer, segmenter, asdict(options), report, tuple(gathered.categories))
        describe(building, files, made)
        _put(building, out)
    except OSError as error:
        raise InterbertError(
            f"building '{out}' failed: {error}. What was there is as it was; mend this and give the command again"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return report


def _put(building: Path, out: Path) -> None:
    """Renames the whole corpus to its place; an older one there goes away."""
    sync_folder(building)
    older = building.with_suffix(".older")
    if out.exists():
        os.rename(out, older)
    os.rename(building, out)
    sync_folder(out.parent)
    shutil.rmtree(older, ignore_errors=True)


def _clean_after_killed(out: Path) -> None:
    """Removes what killed builds have left beside `out`; an older corpus that was about to be replaced comes back."""
    for left in sorted(out.parent.iterdir()) if out.parent.is_dir() else []:
        if left.name.startswith(f".{out.name}.") and left.suffix in (".building", ".older"):
            process = left.stem.rpartition(".")[2]
            if process != str(os.getpid()) and Path(f"/proc/{process}").exists():
                continue  # that build may be at work
            if left.suffix == ".older" and not out.exists():
                os.rename(left, out)
            else:
                shutil.rmtree(left)


def _usable_pictures(store: RegionStore, options: BuildOptions, report: CorpusReport) -> Pictures:
    """The store's pictures with everything excluded that the options leave out."""
    pictures = Pictures(store)
    report.pictures["in the store"] = len(pictures)
    unknown = [name for name in options.leave_out_ids if isinstance(pictures.find(name), str)]
    report.note("ids to leave out that the store does not have", len(unknown), unknown[0] if unknown else None)
    found = (pictures.find(name) for name in options.leave_out_ids)
    pictures.exclude((at for at in found if isinstance(at, int)), "its picture is on the list to leave out")
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
        pictures.exclude(repeated(pictures.hashes, pictures.perceptual), "its picture repeats an earlier one")
    return pictures


class _Gathered:
    """The captions that stay, as they come: texts in a file, numbers in arrays. 13 bytes of memory each.

    splits: uint8 [P], the most held-out split that the source gives each picture.  categories: name -> number, in the
    order in which they come.  of_category: int32 [P], the first that the source gives each picture; -1: none.
    """

    def __init__(self, spool: Path, pictures: Pictures, options: BuildOptions, report: CorpusReport) -> None:
        self.spool, self.pictures, self.options, self.report = spool, pictures, options, report
        self.of_picture, self.ends = array("i"), array("q", [0])
        self.splits = np.full(len(pictures), NO_SPLIT_YET, np.uint8)
        self.categories: dict[str, int] = {}
        self.of_category = np.full(len(pictures), -1, np.int32)
        self._captioned = np.zeros(len(pictures), np.bool_)
        self._ids = array("Q")

    def read(self, captions: Iterable[Caption]) -> None:
        """Reads all captions; afterwards `splits` is final and each picture in one split."""
        with open(self.spool, "wb") as file:
            for caption in captions:
                self.report.captions["read"] += 1
                at, text = self._kept(caption)
                if at is not None:
                    data = text.encode()
                    file.write(data)
                    self.of_picture.append(at)
                    self.ends.append(self.ends[-1] + len(data))
        self._note_ids()
        before = self.splits
        self.splits = held_out_together(before, self.pictures.hashes)
        self.report.note("pictures moved to the split of an equal picture", int((before != self.splits).sum()))

    def _kept(self, caption: Caption) -> tuple[int | None, str]:
        """The picture and the cleaned text of a caption, or None where it is dropped."""
        self._ids.append(
            int.from_bytes(hashlib.blake2b(caption.id.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        )
        at = self.pictures.find(caption.image)
        if isinstance(at, str):
            return self._dropped(at, caption)
        self._captioned[at] = True
        if at in self.pictures.excluded:
            return self._dropped(self.pictures.excluded[at], caption)
        split = self._split(at, caption)
        if split is None:
            return self._dropped("its picture is in no split", caption)
        text = " ".join(readable(caption.text).split())
        if not text:
            return self._dropped("it has no text", caption)
        if len(text.split(" ")) >= self.options.max_words:
            return self._dropped(f"it has {self.options.max_words} words or more", caption)
        if "\ufffd" in text and "\ufffd" not in caption.text:
            self.report.note("texts with characters that were not readable, now U+FFFD", 1, text)
        old = self.splits[at]
        if old not in (NO_SPLIT_YET, split):
            self.report.note("captions of a picture that the source puts into two splits", 1, caption.image)
        self.splits[at] = split if old == NO_SPLIT_YET else max(old, split)
        self._note_category(at, caption)
        return at, text

    def _dropped(self, reason: str, caption: Caption) -> tuple[None, str]:
        self.report.drop(reason, f"{caption.image}: {readable(caption.text)}")
        return None, ""

    def _split(self, at: int, caption: Caption) -> int | None:
        """The split of a caption as a position in SPLITS; None where it is in none."""
        if self.options.split is not None:
            return SPLITS.index(self.options.split)
        if caption.split is None:
            return split_of(self.pictures.ids[at], self.options.validation_share, self.options.test_share)
        if caption.split == NO_SPLIT:
            return SPLITS.index("train") if self.options.use_unsplit else None
        if caption.split not in SPLITS:
            raise InterbertError(f"caption '{caption.id}': {unknown_name('split', caption.split, SPLITS)}")
        return SPLITS.index(caption.split)

    def _note_category(self, at: int, caption: Caption) -> None:
        if not caption.category:
            return
        number = self.categories.setdefault(caption.category, len(self.categories))
        if self.of_category[at] < 0:
            self.of_category[at] = number
        elif self.of_category[at] != number:
            self.report.note("pictures of two categories, which keep the first", 1, caption.image)

    def _note_ids(self) -> None:
        ids = np.array(self._ids, np.uint64)
        self.report.note("captions whose id was given to another before", len(ids) - len(np.unique(ids)))
        self._ids = array("Q")

    def count_unused(self, kept: NDArray[np.bool_]) -> None:
        """Counts every picture of the store that is not in the corpus, by reason. kept: bool [P]."""
        for at in np.flatnonzero(~kept).tolist():
            why = "no caption of it was kept" if self._captioned[at] else "no caption names it"
            reason = self.pictures.excluded.get(at, why)
            self.report.leave(reason.removeprefix("its picture "), self.pictures.ids[at])

    def picture(self, at: int) -> tuple[str, dict[str, int]]:
        """The id and the numbers of a picture as `CorpusWriter.add_picture` takes them."""
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
        """(picture, text), those of a picture together and once each; pictures in the order of the store."""
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


def _cut(
    texts: list[str], tokenizer: Tokenizer, segmenter: Segmenter | None
) -> list[tuple[list[int], list[bool] | None]]:
    """The ids of each text, and which of them go on with a word where there is a segmenter."""
    if segmenter is None:
        return [(ids, None) for ids in tokenizer.encode_many(texts)]
    return list(tokenizer.encode_words(texts, [segmenter.words(text) for text in texts]))


def _write(
    building: Path, gathered: _Gathered, tokenizer: Tokenizer, segmenter: Segmenter | None, progress: bool
) -> dict[str, Any]:
    """Cuts and writes all texts. Returns the description of the arrays."""
    report, limit = gathered.report, gathered.options.max_tokens
    words = unknown = 0
    categorised, segmented = bool(gathered.categories), segmenter is not None
    with CorpusWriter(building, tokenizer.vocabulary_size, segmented, categorised) as writer:
        bar = tqdm(total=len(gathered.of_picture), desc="cutting texts", disable=not progress, unit=" texts")
        kept, last = np.zeros(len(gathered.pictures), np.bool_), -1
        for block in _blocks(gathered.texts()):
            pieces = _cut([text for _, text in block], tokenizer, segmenter)
            for (picture, text), (ids, continues) in zip(block, pieces, strict=True):
                if len(ids) == 2:
                    report.drop("the vocabulary has nothing for it", f"{gathered.pictures.ids[picture]}: {text}")
                    continue
                words, unknown = words + len(ids) - 2, unknown + ids.count(tokenizer.unknown_id)
                if len(ids) > limit:
                    report.note(f"texts cut to {limit} tokens", 1, text)
                    ids = [*ids[: limit - 1], tokenizer.sep_id]
                    continues = continues and [*continues[: limit - 1], False]
                if picture != last:
                    writer.add_picture(*gathered.picture(picture))
                    kept[picture], last = True, picture
                writer.add_text(text, ids, continues)
            bar.update(len(block))
        bar.close()
    gathered.count_unused(kept)
    report.captions["kept"], report.pictures["kept"] = writer.texts, writer.images
    if unknown > gathered.options.max_unknown_share * max(1, words):
        raise InterbertError(
            f"the vocabulary does not know {unknown / words:.0%} of the texts' pieces, wanted at most "
            f"{gathered.options.max_unknown_share:.0%}: is it of another language? Give the vocabulary of a BERT for "
            f"'{gathered.options.language}' texts"
        )
    report.note("pieces the vocabulary does not know", unknown)
    if not writer.texts:
        raise InterbertError(
            f"nothing is left for the corpus:\n{report}\nGive captions and regions of the same pictures"
        )
    return writer.files


def _blocks(texts: Iterator[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    while block := list(itertools.islice(texts, _BLOCK)):
        yield block
