"""A small corpus that can be learned: a picture has a quality and a thing in its features, its captions name both."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pretraining_helpers import few_steps, random_tokenizer

from interbert.batch import Regions
from interbert.config import ModelConfig
from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.corpus import Corpus
from interbert.corpus.readers import Caption
from interbert.model.interbert import InterBert
from interbert.pretraining.run import fitted
from interbert.task_recipes import retrieval_tiny
from interbert.tasks.finetuning import Finetuning
from interbert.tasks.retrieval import RetrievalOptions
from interbert.tasks.task import Given
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore

QUALITIES, THINGS = ("red", "two", "big", "old"), ("dog", "cat", "tree", "road")
DRAWN = ExtractorInfo("drawn", 8, THINGS)
TRAINED = 3  # pictures of each of the 16 kinds; and one each for validation and test


def drawn_regions(random: np.random.Generator, quality: int, thing: int, count: int) -> Regions:
    """`count` regions, each with a 1 for the quality and a 1 for the thing, and noise."""
    features = random.normal(0, 0.1, (count, 8)).astype(np.float32)
    features[:, [quality, 4 + thing]] += 1
    corner = random.uniform(0, 40, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(20, 40, (count, 2))], 1).astype(np.float32)
    probabilities = np.full((count, 4), 0.1, np.float32)
    probabilities[:, thing] = 0.7
    return Regions(features, boxes, (100, 80), np.full(count, thing), np.full(count, 0.7, np.float32), probabilities)


def drawn_corpus(folder: Path, tested: int = 1, seed: int = 0) -> Corpus:
    """`folder` / "corpus": 48 training pictures, 16 of validation, 16 `tested` of test, two captions each."""
    random, captions = np.random.default_rng(seed), []
    with RegionStore.writer(folder / "regions", DRAWN) as writer:
        for quality, thing in itertools.product(range(4), range(4)):
            for number in range(TRAINED + 1 + tested):
                id = f"{QUALITIES[quality]} {THINGS[thing]} {number}"
                writer.append(id, drawn_regions(random, quality, thing, int(random.integers(3, 8))))
                split = "train" if number < TRAINED else "validation" if number == TRAINED else "test"
                for at, text in enumerate(
                    (f"a {QUALITIES[quality]} {THINGS[thing]}", f"the {THINGS[thing]} on {QUALITIES[quality]}")
                ):
                    captions.append(Caption(id, text, split, f"{id} {at}"))
    options = BuildOptions(min_regions=1)
    build_corpus(captions, RegionStore(folder / "regions"), random_tokenizer(), folder / "corpus", options)
    return Corpus(folder / "corpus")


def tiny_config(corpus: Corpus, **changes: Any) -> ModelConfig:
    """The preset `tiny` for the corpus."""
    return replace(fitted(few_steps().model, corpus, corpus.tokenizer()), **changes)


def tiny_run(folder: Path, corpus: Corpus, seed: int = 0, **changes: Any) -> Path:
    """A run's folder with random weights, far enough apart that scores differ."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    InterBert(tiny_config(corpus, **({"initializer_range": 0.2} | changes))).save_pretrained(folder)
    corpus.tokenizer().save(folder / "tokenizer.json")
    corpus.extractor.save(folder / "extractor.json")
    return folder


def given_for(corpus: Corpus, **changes: Any) -> Given:
    """What a task on the corpus is opened with."""
    given = Given("retrieval", corpus.tokenizer(), corpus.extractor, tiny_config(corpus))
    return replace(given, **changes)


def small_plan(epochs: int = 1, options: dict[str, Any] | None = None, **training: Any) -> Finetuning:
    """The recipe `tiny` of retrieval: twelve steps an epoch on the drawn corpus."""
    plan = retrieval_tiny()
    kept = replace(plan.training, **({"threads": 1} | training))
    chosen = RetrievalOptions(**({"validation_queries": 16, "validation_pool": 16} | (options or {})))
    return replace(plan, epochs=epochs, options=chosen, training=kept)
