"""Text-based image retrieval in a shop (5.1, 5.2, Figure 3), finetuned or zero-shot: a title finds its picture.

DATA is a corpus, as `interbert corpus --format products` builds it. Trained as `retrieval` is, a choice among a title's
picture and negative ones, which may be of the same category. Evaluated by P@5, R@K and mAP of every title in its pool
of pictures. Relevant is a title's own picture, and every picture of the pool whose title is equal: one or several.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from interbert.corpus.corpus import Corpus
from interbert.draws import generator_for
from interbert.errors import InterbertError, UsageError
from interbert.metrics import average_precision, chance_of_recall, precision_at, ranks
from interbert.tasks.negatives import Negatives, draws
from interbert.tasks.ranking import CUTS, Pairs, score_pairs
from interbert.tasks.retrieval import Retrieval, RetrievalOptions
from interbert.tasks.task import Asked, Given, Measured, TaskModel, measured

FIRST = 5  # of P@5


@dataclass(frozen=True)
class ProductsOptions(RetrievalOptions):
    """As of retrieval, and whose pictures a title is told from."""

    negatives_from: Literal["all", "category"] = "all"  # "category": of the title's; of all where it has too few
    share: float = 1.0  # of the training texts, drawn by the seed, fewer ones among more (5.2: 10K, 100K, 200K)
    pool: int | None = None  # pictures that a title of an evaluation is ranked against; None: all of the split
    pool_from: Literal["all", "category"] = "all"  # "category": a pool is of one; small categories share pools

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("negatives_from", "pool_from"):
            if getattr(self, name) not in ("all", "category"):
                raise UsageError(f"{name}: got '{getattr(self, name)}', wanted all or category")
        if not 0 < self.share <= 1:
            raise UsageError(f"share: got {self.share}, wanted more than 0 and at most 1")
        if self.pool is not None and self.pool < 2:
            raise UsageError(f"pool: got {self.pool}, wanted at least 2 pictures, or none for all")


class Products(Retrieval):
    """The task on a corpus of products."""

    metric: ClassVar[str] = "average_precision"
    judged_by: ClassVar[tuple[str, ...]] = ("pool", "pool_from")
    published: ClassVar[dict[str, Mapping[str, float]]] = {}  # Figure 3 prints gains alone
    options: ProductsOptions

    def __init__(self, corpus: Corpus, options: ProductsOptions, given: Given) -> None:
        super().__init__(corpus, options, given)
        if "category" in (options.negatives_from, options.pool_from) and not corpus.category_names:
            raise InterbertError(
                f"corpus '{corpus.folder}' has no categories, which negatives_from or pool_from ask for; build it of a "
                "catalogue with a column of them:  interbert corpus … --format products --set columns.category=NAME"
            )
        if options.pool is None and options.pool_from == "category":
            raise UsageError("pool_from: got category, but no size of a pool; give pool too, as in pool=30")
        if options.share < 1:
            order = torch.randperm(len(self.texts), generator=generator_for(given.seed, "share")).numpy()
            self.texts = np.sort(self.texts[order[: round(options.share * len(self.texts))]])
        kind = CategoryNegatives if options.negatives_from == "category" else Negatives
        self.negatives = kind(corpus, self.texts, self.belonging)

    def validate(self, model: TaskModel) -> dict[str, float]:
        """mAP, P@5 and R@K: some validation texts rank some validation pictures."""
        texts, images = self._validation()
        if len(images) < 2:
            return {}
        found = of_each(self._margins(model, texts, images), self.belonging.matrix(texts, images))
        return {name: float(values.mean()) for name, values in found.items()}

    def evaluate(self, model: TaskModel, asked: Asked) -> dict[str, Any]:
        """P@5, mAP, R@1, R@5 and R@10 of the texts, each in its pool, with what chance gives.

        Intervals by resampling texts, equal ones together. Whoever scores loads the model again from `asked.run`.
        """
        texts, images, left_out = self._ranked(asked)
        of = self.corpus.image_categories[images] if self.options.pool_from == "category" else None
        pools = pools_of(len(images), self.options.pool, generator_for(asked.seed, "pools"), of)
        pairs = PooledPairs(
            asked.run, self.corpus, texts, images, self.given.max_regions, asked.precision, pools=tuple(pools)
        )
        parts = asked.parts or asked.run / "scores"
        scores = score_pairs(pairs, parts, processes=asked.processes, progress=asked.progress)
        found: dict[str, NDArray[np.float64]] = {}
        for rows, columns, margins in scores:
            relevant = self.belonging.matrix(texts[rows], images[columns])
            figures = of_each(margins, relevant) if len(rows) else {}
            figures |= _chances(relevant) if len(rows) else {}
            for name, values in figures.items():
                found.setdefault(name, np.empty(len(texts)))[rows] = values
        said = self.belonging.said[texts]
        metrics = {name: _mean_of(found[name], said) for name in ("precision_at_5", "average_precision", *RECALL)}
        for name in ("precision_at_5", *RECALL):
            metrics[name]["chance"] = float(found[f"{name}_chance"].mean())
        counted = {"captions": len(texts), "pictures": len(images), "pools": len(pools), "left_out": left_out}
        relevant_images = float(found["relevant"].mean())
        return {"metrics": metrics, **counted, "relevant_a_text": relevant_images, "scores": str(scores.folder)}


RECALL = tuple(f"recall_at_{k}" for k in CUTS)


class CategoryNegatives(Negatives):
    """Negatives whose pictures are of the category of the text's picture, and where it has too few, of all."""

    def pictures_in_turn(self, text: int, generator: Generator) -> Iterator[NDArray[np.int64]]:
        """Those of the category, then all."""
        yield from draws(self._of[self._category(self.corpus.image_of(text))], generator)
        yield from draws(self.images, generator)

    def _category(self, image: int) -> int:
        assert isinstance(self.corpus, Corpus)
        return int(self.corpus.image_categories[image])

    @cached_property
    def _of(self) -> dict[int, NDArray[np.int64]]:
        """Category -> its training pictures."""
        assert isinstance(self.corpus, Corpus)
        of = self.corpus.image_categories[self.images]
        return {int(one): self.images[of == one] for one in np.unique(of)}


def of_each(scores: NDArray[Any], relevant: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """The figures of every text in its pool. scores: [Q, I].  relevant: bool [Q, I], at least one a row.

    >>> found = of_each(np.array([[0.9, 0.8, 0.7]]), np.array([[True, False, True]]))
    >>> [round(float(found[name][0]), 2) for name in ("precision_at_5", "average_precision", "recall_at_1")]
    [0.4, 0.83, 1.0]
    """
    found = ranks(scores, relevant)
    averages = [average_precision(row, right) for row, right in zip(scores, relevant, strict=True)]
    return {
        "precision_at_5": precision_at(scores, relevant, FIRST),
        "average_precision": np.array(averages),
        **{f"recall_at_{k}": (found <= k).astype(np.float64) for k in CUTS},
    }


def _chances(relevant: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """What the figures are of a shuffled pool, in the mean; and how many of it are relevant."""
    right, pool = relevant.sum(1).astype(np.float64), relevant.shape[1]
    found = {f"recall_at_{k}_chance": chance_of_recall(right, pool, k) for k in CUTS}
    return found | {"precision_at_5_chance": right / pool * min(1, pool / FIRST), "relevant": right}


def _mean_of(values: NDArray[np.float64], groups: NDArray[Any]) -> Measured:
    """The mean, and its interval by drawing whole groups. groups: [N], equal for what is drawn together."""
    _, of = np.unique(groups, return_inverse=True)
    rows = np.stack([np.bincount(of, values), np.bincount(of)], 1)
    return measured(rows, lambda drawn: float(drawn[:, 0].sum() / drawn[:, 1].sum()))


def pools_of(
    pictures: int, size: int | None, generator: Generator, categories: NDArray[Any] | None = None
) -> list[NDArray[np.int64]]:
    """Places 0 … pictures - 1 shuffled into pools of about `size`, each place in one; None: one pool of all.

    categories: [pictures]; a pool is of one of them. Those with fewer pictures than `size` are taken together.
    """
    order = torch.randperm(pictures, generator=generator).numpy()
    if size is None or size >= pictures:
        return [np.sort(order)]
    of = np.zeros(pictures, np.int64) if categories is None else np.asarray(categories, np.int64)[order]
    names, counts = np.unique(of, return_counts=True)
    large = names[counts >= size]
    sets = [order[of == name] for name in large] + [order[~np.isin(of, large)]]
    return [np.sort(pool) for one in sets if len(one) for pool in np.array_split(one, max(1, len(one) // size))]


@dataclass(frozen=True, eq=False)
class PooledPairs(Pairs):
    """Every text with the pictures of its pool, the one that its own picture is in.

    pools: int64, places in `images`, every place once. A pool is embedded at once; a part is a chunk of its texts.
    """

    pools: Sequence[NDArray[np.int64]] = ()

    @cached_property
    def asked(self) -> list[NDArray[np.int64]]:
        """Of every pool, the places in `texts` that rank it."""
        pool_of = np.empty(len(self.images), np.int64)
        for number, pool in enumerate(self.pools):
            pool_of[pool] = number
        of = pool_of[np.searchsorted(self.images, self.corpus.images_of[self.texts])]
        return [np.flatnonzero(of == number) for number in range(len(self.pools))]

    @cached_property
    def chunk(self) -> int:
        """Texts of a part."""
        return max(1, self.part_pairs // max(map(len, self.pools)))

    @property
    def chunks(self) -> int:
        """How many chunks of texts a pool has, the one with the most; others may have empty ones."""
        return max(1, math.ceil(max(map(len, self.asked)) / self.chunk))

    @property
    def parts(self) -> int:
        """Chunk after chunk of one pool, pool after pool."""
        return len(self.pools) * self.chunks

    def part(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places in `texts` and in `images` of a part: its rows and columns."""
        pool, chunk = divmod(number, self.chunks)
        return self.asked[pool][chunk * self.chunk : (chunk + 1) * self.chunk], self.pools[pool]

    def facts(self) -> dict[str, Any]:
        """JSON values that scores depend on."""
        whole = hashlib.sha256(b"|".join(pool.tobytes() for pool in self.pools)).hexdigest()
        return super().facts() | {"pools": whole}
