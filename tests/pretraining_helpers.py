"""A small corpus to pretrain on: pictures of random regions with 8 features and 5 classes, two random captions each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from interbert.batch import Regions
from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.corpus import MIRRORED, Corpus
from interbert.corpus.readers import Caption
from interbert.pretraining.job import Pretraining
from interbert.pretraining.stages import Stage
from interbert.recipes import tiny
from interbert.text.segmenting import PLAIN
from interbert.text.tokenizer import SPECIAL, Tokenizer
from interbert.training.settings import Training
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore

PIECES = ("a", "dog", "cat", "tree", "red", "two", "on", "the", "road", "play", "##ing", "##s", "big", "old")
WORDS = ("a", "dog", "cat", "tree", "red", "two", "on", "the", "road", "playing", "plays", "cats", "big", "old")
EXTRACTOR = ExtractorInfo("random", 8, ("ball", "dog", "cat", "tree", "car"))
TRAINED, HELD_OUT = 18, 6  # pictures; with two captions each 36 and 12 texts


def random_tokenizer(pieces: tuple[str, ...] = PIECES) -> Tokenizer:
    return Tokenizer({piece: at for at, piece in enumerate([*SPECIAL, *pieces])}, lower_case=True)


def random_regions(random: np.random.Generator, count: int) -> Regions:
    """`count` regions of a picture of 100 x 80 pixels, many of which overlap."""
    corner = random.uniform(0, 40, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(20, 40, (count, 2))], 1).astype(np.float32)
    given = random.random((count, 5)).astype(np.float32)
    probabilities = given / given.sum(1, keepdims=True)
    features = random.normal(size=(count, 8)).astype(np.float32)
    return Regions(features, boxes, (100, 80), probabilities.argmax(1), probabilities.max(1), probabilities)


def random_corpus(
    folder: Path, mirrored: bool = False, held_out: int = HELD_OUT, tokenizer: Tokenizer | None = None, seed: int = 0
) -> Corpus:
    """A corpus in `folder` / "corpus". mirrored: every second picture has a mirrored view too."""
    random, captions = np.random.default_rng(seed), []
    with RegionStore.writer(folder / "regions", EXTRACTOR) as writer:
        for number in range(TRAINED + held_out):
            id, split = f"picture {number}", "train" if number < TRAINED else "validation"
            writer.append(id, random_regions(random, int(random.integers(3, 8))))
            if mirrored and number % 2:
                writer.append(id + MIRRORED, random_regions(random, int(random.integers(3, 8))))
            for at in range(2):
                text = " ".join(random.choice(WORDS, int(random.integers(3, 9))))
                captions.append(Caption(id, f"{WORDS[at]} {text}", split, f"{number} {at}"))
    options = BuildOptions(min_regions=1)
    build_corpus(captions, RegionStore(folder / "regions"), tokenizer or random_tokenizer(), folder / "corpus", options)
    return Corpus(folder / "corpus")


def few_steps(epochs: int = 1, batch_size: int = 8, **training: object) -> Pretraining:
    """The recipe `tiny`, four steps an epoch on the random corpus."""
    plan = tiny()
    settings: Training = replace(plan.training, threads=1, **training)  # type: ignore[arg-type]
    return replace(plan, stages=(Stage(epochs=epochs),), batch_size=batch_size, training=settings)


def text_corpus(folder: Path, tokenizer: Tokenizer | None = None, seed: int = 0) -> Corpus:
    """60 texts alone in `folder` / "texts", 45 of them to train on: each a run of the words' circle, so predictable."""
    random, captions = np.random.default_rng(seed), []
    circle = [word for word in WORDS if word not in ("a", "dog")]
    for number in range(60):
        start, length = int(random.integers(len(circle))), int(random.integers(5, 12))
        words = [circle[(start + at) % len(circle)] for at in range(length)]
        split = "train" if number < 45 else "validation"
        captions.append(Caption("", " ".join([*words, *["a"] * (number // 15)]), split, f"{number}"))
    build_corpus(captions, None, tokenizer or random_tokenizer(), folder / "texts", BuildOptions(), segmenter=PLAIN)
    return Corpus(folder / "texts")
