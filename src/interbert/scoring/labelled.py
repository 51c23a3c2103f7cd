"""Texts and pictures with a label that says whether they belong together: out of a file, or drawn out of a corpus.

In: rows (text, image, label 0 or 1) with pictures beside them or in a region store; or a corpus, of which each text
gets its own picture and some others. Out: matching margins with their labels. What is left out is counted.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from interbert.batch import Regions
from interbert.corpus.corpus import Corpus
from interbert.corpus.pictures import Pictures
from interbert.draws import generator_for
from interbert.errors import InterbertError
from interbert.pretraining.batches import Belonging
from interbert.scoring.pictures import check_extractor
from interbert.scoring.scorer import Scorer
from interbert.tasks.matching_files import LabelledPair, read_pairs_of
from interbert.vision.images import ImageError
from interbert.vision.store import RegionStore

AT_ONCE = 512  # pairs scored together; bounds the memory of their regions


@dataclass(frozen=True, eq=False)
class LabelledPairs:
    """What a calibration is fitted to. regions: of a picture by its name; raises ImageError where there are none.

    about: JSON values that say where the pairs are from.  left_out: reason -> count.
    """

    pairs: Sequence[LabelledPair]
    regions: Callable[[str], Regions]
    about: dict[str, Any]
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 of texts, pictures' names and labels."""
        digest = hashlib.sha256()
        for one in self.pairs:
            digest.update(json.dumps([one.text, one.picture, one.belongs]).encode() + b"\n")
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """margins: float64 [N].  true: bool [N], whether they belong together.  pictures: [N] names."""

    margins: NDArray[np.float64]
    true: NDArray[np.bool_]
    pictures: list[str]


def labelled_pairs(
    scorer: Scorer, place: Path, *, store: Path | None, split: str, negatives: int, seed: int
) -> LabelledPairs:
    """The pairs of a file, of a folder of files whose names say their split, or of a corpus.

    store: a region store with the pictures of a file; None: they are files, beside it.  split: validation or test; of a
    file that has splits only those of it are taken.  negatives: pictures drawn for each text of a corpus beside its
    own.  Raises InterbertError where there are none, or the regions are of another extractor than the run's.
    """
    if (place / "corpus.json").is_file():
        return _of_corpus(scorer, place, split, negatives, seed)
    found = read_pairs_of(place)
    rows = found.part(split)
    left_out = Counter({"the row cannot be read": sum(found.left_out.values())})
    about = {"from": place.name, "split": split if split in found.splits else None, "others": "as labelled"}
    if store is None:
        folder = place if place.is_dir() else place.parent
        return LabelledPairs(rows, lambda name: scorer.regions([folder / name])[0], about, +left_out)
    return LabelledPairs(rows, _stored(scorer, store), about, +left_out)


def scored(scorer: Scorer, given: LabelledPairs, progress: bool = False) -> ScoredPairs:
    """The margin of every pair whose picture can be read; others are counted in `given.left_out`."""
    order = sorted(range(len(given.pairs)), key=lambda at: given.pairs[at].picture)
    margins: list[NDArray[np.float32]] = []
    kept: list[LabelledPair] = []
    name, regions = None, None
    with tqdm(total=len(order), unit="pair", desc="scoring", disable=not progress, smoothing=0.1) as bar:
        for start in range(0, len(order), AT_ONCE):
            inputs: list[tuple[str, Regions]] = []
            for pair in (given.pairs[at] for at in order[start : start + AT_ONCE]):
                if pair.picture != name:
                    name, regions = pair.picture, _or_none(given, pair.picture)
                if regions is None:
                    given.left_out["its picture cannot be read"] += 1
                    continue
                inputs.append((pair.text, regions))
                kept.append(pair)
            margins.append(scorer.margins(inputs, show_progress_bar=False))
            bar.update(min(AT_ONCE, len(order) - start))
    found = np.concatenate(margins).astype(np.float64) if kept else np.empty(0)
    return ScoredPairs(found, np.array([one.belongs for one in kept], bool), [one.picture for one in kept])


def _or_none(given: LabelledPairs, picture: str) -> Regions | None:
    try:
        return given.regions(picture)
    except ImageError:
        return None


def _stored(scorer: Scorer, folder: Path) -> Callable[[str], Regions]:
    store = RegionStore(folder)
    check_extractor(scorer, store)
    pictures = Pictures(store)

    def regions(name: str) -> Regions:
        at = pictures.find(name)
        if isinstance(at, str):
            raise ImageError(f"'{name}': {at}")
        return store[pictures.ids[at]]

    return regions


def _of_corpus(scorer: Scorer, folder: Path, split: str, negatives: int, seed: int) -> LabelledPairs:
    """Every text of the split with its own picture, and with drawn ones that do not belong to it."""
    corpus = Corpus(folder)
    corpus.require("the run", scorer.extractor, scorer.tokenizer)
    texts = corpus.split(split)
    pool = np.unique(corpus.images_of[texts]).astype(np.int64)
    if len(pool) < 2:
        raise InterbertError(f"corpus '{folder}' has {len(pool)} pictures in its split '{split}', wanted two or more")
    belonging, pairs = Belonging(corpus), []
    for text in texts.tolist():
        others = pool[~belonging.matrix(np.array([text]), pool)[0]]
        drawn = torch.randperm(len(others), generator=generator_for(seed, "labelled pairs", text))[:negatives]
        said = corpus.text(text)
        pairs.append(LabelledPair(said, corpus.image_id(corpus.image_of(text)), True))
        pairs += [LabelledPair(said, corpus.image_id(int(image)), False) for image in others[drawn.numpy()]]
    images = {corpus.image_id(int(image)): int(image) for image in pool}
    about = {"from": folder.name, "split": split, "others": f"{negatives} drawn pictures a text"}
    return LabelledPairs(pairs, lambda name: corpus.regions(images[name]), about)
