"""Small vocabularies, stores and corpora for the tests of text and corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from interbert.batch import Regions
from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.corpus import Corpus
from interbert.corpus.readers import Caption
from interbert.text.tokenizer import SPECIAL, Tokenizer
from interbert.vision.provenance import ExtractorInfo, ImageInfo
from interbert.vision.store import RegionStore

WORDS = ("a", "dog", "cat", "play", "##ing", "##s", "red", "two", "on", "the", "road", ".")
EXTRACTOR = ExtractorInfo("toy", 4, ("thing",))


def tiny_tokenizer(words: Sequence[str] = WORDS) -> Tokenizer:
    """[PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, "a" 5, "dog" 6, …"""
    return Tokenizer({piece: at for at, piece in enumerate([*SPECIAL, *words])}, lower_case=True)


def some_regions(count: int) -> Regions:
    """`count` regions; the first feature of region n is n."""
    features = np.zeros((count, 4), np.float16)
    features[:, 0] = np.arange(count)
    boxes = np.tile(np.array([[0, 0, 5, 5]], np.float32), (count, 1))
    return Regions(features, boxes, (10, 10), np.zeros(count, np.int64), np.ones(count, np.float32))


def make_store(
    folder: Path,
    counts: dict[str, int],
    files: dict[str, tuple[str, int]] | None = None,
    extractor: ExtractorInfo = EXTRACTOR,
) -> RegionStore:
    """A store of pictures with so many regions. files: id -> (first letters of its sha256, perceptual hash)."""
    files = files or {}
    with RegionStore.writer(folder, extractor) as writer:
        for id, count in counts.items():
            sha, looks = files.get(id, ("", 0))
            writer.append(id, some_regions(count), ImageInfo(f"{id}.jpg", sha.ljust(64, "0"), looks) if sha else None)
    return RegionStore(folder)


def captions(*pairs: tuple[str, str], split: str | None = "train") -> list[Caption]:
    """Captions from (image, text)."""
    return [Caption(image, text, split, f"{at}") for at, (image, text) in enumerate(pairs)]


def make_corpus(folder: Path, store: RegionStore, source: Sequence[Caption], **options: object) -> Corpus:
    """A corpus in `folder` by the tiny tokenizer; pictures of one region are enough."""
    settings = BuildOptions(**{"min_regions": 1, **options})  # type: ignore[arg-type]
    build_corpus(source, store, tiny_tokenizer(), folder, settings)
    return Corpus(folder)
