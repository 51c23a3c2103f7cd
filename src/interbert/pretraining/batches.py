"""Corpus -> batches of pretraining, each a pure function of (seed, step): the order, the negatives and the masks.

A pair's masks depend on its place in the global batch alone, so they are the same over any number of processes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from interbert.batch import Batch, Regions, make_batch
from interbert.corpus.corpus import Corpora, Corpus
from interbert.errors import InterbertError, UsageError
from interbert.pretraining.masking import (
    masked_regions,
    masked_segments,
    masked_singles,
    replaced_words,
    word_numbers,
)
from interbert.pretraining.stages import Masking, Stage
from interbert.text.tokenizer import Tokenizer

AnyCorpus = Corpus | Corpora


def epoch_plan(
    texts: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int, generator: Generator, window: int = 64
) -> NDArray[np.int64]:
    """The batches of one epoch: every text once in random order, alike lengths together.

    texts: [N] indices.  lengths: [N], of the same texts.  window: so many batches are sorted by length at a time, so
    that little is padding.  Returns int64 [N // batch_size, batch_size]; what is left over sits this epoch out.
    """
    order = torch.randperm(len(texts), generator=generator).numpy()
    steps = len(texts) // batch_size
    if steps == 0:
        raise InterbertError(f"got {len(texts)} training texts, wanted at least one batch of {batch_size}; "
                             "give a smaller batch_size")  # fmt: skip
    order = order[: steps * batch_size]
    for start in range(0, len(order), window * batch_size):
        part = order[start : start + window * batch_size]
        order[start : start + window * batch_size] = part[np.argsort(lengths[part], kind="stable")]
    batches = order.reshape(steps, batch_size)
    shuffled = batches[torch.randperm(steps, generator=generator).numpy()]
    return np.asarray(texts[shuffled], np.int64)


@dataclass(frozen=True, eq=False)
class DrawnPairs:
    """texts, images: int64 [B] indices into the corpus.  is_match: bool [B]."""

    texts: NDArray[np.int64]
    images: NDArray[np.int64]
    is_match: NDArray[np.bool_]

    def part(self, which: slice) -> DrawnPairs:
        """The pairs at `which`."""
        return DrawnPairs(self.texts[which], self.images[which], self.is_match[which])


class Belonging:
    """Which texts have which pictures: their own, and every other picture that has the same text ("red shoes")."""

    def __init__(self, corpus: AnyCorpus) -> None:
        _, self.said = np.unique(corpus.text_hashes, return_inverse=True)
        self.count = corpus.images
        self.known = np.unique(self.said.astype(np.int64) * self.count + corpus.images_of)

    def matrix(self, texts: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool [texts, images]."""
        keys = self.said[texts].astype(np.int64)[:, None] * self.count + images[None, :]
        at = np.searchsorted(self.known, keys).clip(max=len(self.known) - 1)
        return np.asarray(self.known[at] == keys)

    def row(self, text: int, images: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool [images]: a row of `matrix`, without the others."""
        first = int(self.said[text]) * self.count
        low, high = np.searchsorted(self.known, [first, first + self.count])
        return np.isin(images, self.known[low:high] - first)


def draw_pairs(
    texts: NDArray[np.int64],
    images: NDArray[np.int64],
    generator: Generator,
    belonging: Belonging | None = None,
) -> DrawnPairs:
    """ITM: half the texts keep their picture, half get another text's from this batch (3.3).

    texts, images: int64 [B], images[k] that of texts[k]. belonging: which text has which picture; None: only its own. A
    negative's picture never belongs to its text. Where all do, there is no negative to draw: InterbertError.
    """
    count = len(texts)
    order = torch.randperm(count, generator=generator).numpy()
    negatives = order[: count // 2]
    drawn, is_match = images.copy(), np.ones(count, bool)
    for at in negatives:
        own = images == images[at] if belonging is None else belonging.row(int(texts[at]), images)
        others = np.flatnonzero(~own)
        if len(others) == 0:
            raise InterbertError(
                "a text of a batch belongs to all its pictures (one picture, or equal texts), so it has no negative; "
                "give a larger batch_size, or pictures and texts that differ"
            )
        drawn[at] = images[others[int(torch.randint(len(others), (1,), generator=generator))]]
        is_match[at] = False
    return DrawnPairs(texts, drawn, is_match)


def own_pairs(texts: NDArray[np.int64], images: NDArray[np.int64]) -> DrawnPairs:
    """Every text with its own picture."""
    return DrawnPairs(texts, images, np.ones(len(texts), bool))


@dataclass(frozen=True)
class Augmentation:
    """Regularisation for small data; all off in the paper's recipes."""

    mirror: bool = False  # a picture's mirrored view, where the store has it, half the time
    region_dropout: float = 0.0  # share of regions left out

    def __post_init__(self) -> None:
        if not 0 <= self.region_dropout < 1:
            raise UsageError(f"region_dropout: got {self.region_dropout}, wanted at least 0 and less than 1")


def augmented_regions(
    corpus: AnyCorpus, image: int, augmentation: Augmentation, generator: Generator, most: int | None = None
) -> Regions:
    """A picture's regions as training sees them. most: of each view only the best so many; None: all."""
    view = 0
    if augmentation.mirror and corpus.views(image) > 1:
        view = int(torch.randint(2, (), generator=generator))
    regions = corpus.regions(image, view)
    if most is not None and len(regions) > most:
        regions = regions.select(slice(0, most))
    if augmentation.region_dropout and len(regions) > 1:
        kept = torch.rand(len(regions), generator=generator) >= augmentation.region_dropout
        kept[int(torch.randint(len(regions), (), generator=generator))] = True
        regions = regions.select(kept.numpy())
    return regions


class BatchMaker:
    """Makes the tensors of drawn pairs: words and regions out of the corpus, masks by the stage's objectives."""

    def __init__(self, corpus: AnyCorpus, tokenizer: Tokenizer, masking: Masking, augmentation: Augmentation) -> None:
        self.corpus, self.masking, self.augmentation = corpus, masking, augmentation
        self.belonging = Belonging(corpus)
        self.pad_id, self.mask_id = tokenizer.pad_id, tokenizer.mask_id
        self.is_continuation = torch.from_numpy(np.ascontiguousarray(tokenizer.is_continuation))
        self.special = torch.zeros(tokenizer.vocabulary_size, dtype=torch.bool)
        self.special[sorted(tokenizer.special_ids)] = True
        self.choices = torch.arange(tokenizer.vocabulary_size)[~self.special]

    def plain(self) -> BatchMaker:
        """The same without augmentation, for validation."""
        other = copy.copy(self)
        other.augmentation = Augmentation()
        return other

    def make(self, pairs: DrawnPairs, stage: Stage, generators: list[Generator]) -> Batch:
        """One padded batch; generators: one a pair. `batch.ids` are "text index:image id". Texts alone: no regions."""
        ids = [f"{t}:{self.corpus.image_id(int(i))}" for t, i in zip(pairs.texts, pairs.images, strict=True)]
        words = [torch.from_numpy(self.corpus.words(int(t)).astype(np.int64)) for t in pairs.texts]
        regions = None if self.corpus.text_alone else self._regions(pairs, stage, generators)
        batch = make_batch(ids, [w.tolist() for w in words], regions, pad_id=self.pad_id)
        batch.is_match = torch.from_numpy(pairs.is_match)
        batch.images = torch.from_numpy(pairs.images)
        batch.belongs = torch.from_numpy(self.belonging.matrix(pairs.texts, pairs.images))
        hides = [self._sides(stage, g) for g in generators]
        if stage.words != "none":
            numbers = [self._word_numbers(int(t), w) for t, w in zip(pairs.texts, words, strict=True)]
            drawn = [g if h[0] else None for g, h in zip(generators, hides, strict=True)]
            self._mask_words(batch, words, numbers, stage, drawn)
        if stage.regions != "none" and regions is not None:
            self._mask_regions(
                batch, regions, stage, [g if h[1] else None for g, h in zip(generators, hides, strict=True)]
            )
        return batch

    def _regions(self, pairs: DrawnPairs, stage: Stage, generators: list[Generator]) -> list[Regions]:
        augmentation = self.augmentation if stage.region_dropout else replace(self.augmentation, region_dropout=0.0)
        return [
            augmented_regions(self.corpus, int(image), augmentation, generator)
            for image, generator in zip(pairs.images, generators, strict=True)
        ]

    def _sides(self, stage: Stage, generator: Generator) -> tuple[bool, bool]:
        if self.masking.sides == "both" or "none" in (stage.words, stage.regions):
            return True, True
        hide_words = bool(torch.rand((), generator=generator) < 0.5)
        return hide_words, not hide_words

    def _word_numbers(self, text: int, pieces: Tensor) -> Tensor | None:
        """The word of each piece: of the segmenter's where the corpus has them, else of WordPiece's; None: pieces."""
        if not self.masking.whole_words:
            return None
        continues = self.corpus.continues(text)
        goes_on = self.is_continuation[pieces] if continues is None else torch.from_numpy(continues)
        return word_numbers(goes_on, self.special[pieces])

    def _mask_words(
        self,
        batch: Batch,
        words: list[Tensor],
        numbers: list[Tensor | None],
        stage: Stage,
        generators: list[Generator | None],
    ) -> None:
        assert batch.words is not None
        batch.word_targets, batch.masked_words = batch.words.clone(), torch.zeros_like(batch.words, dtype=torch.bool)
        for row, (pieces, of_word, generator) in enumerate(zip(words, numbers, generators, strict=True)):
            if generator is None:
                continue
            masked = self._masked_words(pieces, of_word, stage, generator)
            batch.masked_words[row, : len(pieces)] = masked
            batch.words[row, : len(pieces)] = replaced_words(pieces, masked, generator, self.mask_id, self.choices)

    def _masked_words(self, pieces: Tensor, numbers: Tensor | None, stage: Stage, generator: Generator) -> Tensor:
        maskable = ~self.special[pieces]
        if numbers is not None:
            if numbers.max() < 0:  # no word at all: of pieces that the vocabulary does not have
                return torch.zeros_like(numbers, dtype=torch.bool)
            maskable = torch.ones(int(numbers.max()) + 1, dtype=torch.bool)
        if stage.words == "mlm":
            masked = masked_singles(maskable, generator, self.masking.mlm_rate)
        else:
            masked = masked_segments(maskable, generator, self.masking.msm_rate, self.masking.max_following)
        return masked if numbers is None else (numbers >= 0) & masked[numbers]

    def _mask_regions(
        self, batch: Batch, regions: list[Regions], stage: Stage, generators: list[Generator | None]
    ) -> None:
        assert batch.features is not None
        slots = batch.features.shape[:2]
        batch.masked_regions = torch.zeros(slots, dtype=torch.bool)
        batch.region_targets = self._targets(regions, slots)
        for row, (picture, generator) in enumerate(zip(regions, generators, strict=True)):
            if generator is None:
                continue
            if stage.regions == "mom":
                everywhere = torch.ones(len(picture), dtype=torch.bool)
                masked = masked_singles(everywhere, generator, self.masking.mom_rate)
            else:
                boxes = torch.tensor(picture.boxes)
                masked = self._masked_neighbourhoods(boxes, generator)
            batch.masked_regions[row, 1 : 1 + len(picture)] = masked
        batch.features[batch.masked_regions] = 0.0

    def _masked_neighbourhoods(self, boxes: Tensor, generator: Generator) -> Tensor:
        rules = self.masking
        return masked_regions(boxes, generator, rules.mrm_rate, rules.mrm_overlap, rules.mrm_inclusive)

    def _targets(self, regions: list[Regions], slots: torch.Size) -> Tensor:
        if self.masking.region_targets == "hard":
            labels = torch.zeros(slots, dtype=torch.int64)
            for row, picture in enumerate(regions):
                labels[row, 1 : 1 + len(picture)] = torch.tensor(
                    picture.labels
                )  # a copy: a store gives read-only arrays
            return labels
        classes = len(self.corpus.extractor.classes)
        soft = np.zeros((*slots, classes), np.float32)
        for row, picture in enumerate(regions):
            if picture.probabilities is None:
                raise InterbertError("region_targets 'soft' needs class probabilities, which these regions lack; "
                                     "set masking.region_targets=hard or extract again")  # fmt: skip
            given = picture.probabilities.astype(np.float32)
            soft[row, 1 : 1 + len(picture)] = given / given.sum(1, keepdims=True).clip(1e-6)
        return torch.from_numpy(soft)
