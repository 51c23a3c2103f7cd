"""Do explanations name what the score hangs on? Regions left out by their weights, against regions drawn at random.

    python benchmarks/explanation.py CORPUS --from RUN [--split test --pairs 100]

One text a picture of a held-out split, with its own picture. The best region, and the best three together, are left out
as each way of weighing orders them; beside it as many drawn regions (the mean of five draws). Ways: "left out" (region
by region), "attention" (of all words), and as a control "another text": left out, but asked of another picture's text.
That the best single region by "left out" costs no less than any other is so by construction; of three together, and of
the other ways, it is not. Differences are paired, their 95 % intervals by
resampling pictures. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import interbert
from interbert.batch import Regions
from interbert.corpus.corpus import Corpus
from interbert.draws import generator_for
from interbert.metrics import bootstrap_interval
from interbert.scoring.explain import left_out, word_region_attention
from interbert.scoring.scorer import Scorer

COUNTS = (1, 3)
DRAWS = 5
WAYS = ("left out", "attention", "another text")


def chosen_texts(corpus: Corpus, split: str, pairs: int, seed: int) -> list[int]:
    """One text of each of so many pictures, drawn."""
    texts = corpus.split(split)
    order = texts[torch.randperm(len(texts), generator=generator_for(seed, "texts")).numpy()]
    _, first = np.unique(corpus.images_of[order], return_index=True)
    return [int(text) for text in order[np.sort(first)[:pairs]]]


def region_weights(scorer: Scorer, words: list[int], regions: Regions) -> NDArray[np.float32]:
    """What each region carried, by leaving it out: [N]."""
    return left_out(scorer.margins_of, words, [], regions)[2]


def orders(scorer: Scorer, words: list[int], other: list[int], regions: Regions) -> dict[str, NDArray[np.int64]]:
    """The regions, the weightiest first, in each way."""
    weights = {
        "left out": region_weights(scorer, words, regions),
        "attention": word_region_attention(scorer.model, words, regions)[1:-1].mean(0),
        "another text": region_weights(scorer, other, regions),
    }
    return {way: np.argsort(-of, kind="stable") for way, of in weights.items()}


def falls(
    scorer: Scorer, words: list[int], regions: Regions, sets: list[NDArray[np.int64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much the margin and the score fall where each set of regions is left out: [sets] each."""
    kept = [np.setdiff1d(np.arange(len(regions)), one) for one in sets]
    pictures = [regions, *(regions.select(which) for which in kept)]
    margins = scorer.margins_of([words] * len(pictures), pictures)
    scores = scorer.probabilities(margins)
    return (margins[0] - margins[1:]).astype(np.float64), (scores[0] - scores[1:]).astype(np.float64)


def of_pair(scorer: Scorer, corpus: Corpus, text: int, other: int, seed: int) -> dict[str, NDArray[np.float64]] | None:
    """ "margin" and "score" -> [COUNTS, WAYS + 1], the last column drawn; None for a picture of too few regions."""
    regions = corpus.regions(corpus.image_of(text))
    if len(regions) <= max(COUNTS):
        return None
    words = corpus.words(text).tolist()
    by_way, generator = orders(scorer, words, corpus.words(other).tolist(), regions), generator_for(seed, "drawn", text)
    sets = []
    for count in COUNTS:
        sets += [by_way[way][:count] for way in WAYS]
        sets += [torch.randperm(len(regions), generator=generator)[:count].numpy() for _ in range(DRAWS)]
    found = {}
    for name, values in zip(("margin", "score"), falls(scorer, words, regions, sets), strict=True):
        table = values.reshape(len(COUNTS), len(WAYS) + DRAWS)
        found[name] = np.concatenate([table[:, : len(WAYS)], table[:, len(WAYS) :].mean(1, keepdims=True)], 1)
    return found


def summary(rows: NDArray[np.float64]) -> dict[str, Any]:
    """rows: [pairs, 2], the fall of one way and of the draws."""

    def difference(sample: NDArray[np.float64]) -> float:
        return float((sample[:, 0] - sample[:, 1]).mean())

    return {
        "fall": float(rows[:, 0].mean()),
        "drawn": float(rows[:, 1].mean()),
        "difference": difference(rows),
        "interval": bootstrap_interval(rows, difference),
        "more_than_drawn": float((rows[:, 0] > rows[:, 1]).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--from", dest="run", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    scorer, corpus = interbert.load(given.run), Corpus(given.corpus)
    corpus.require("the run", scorer.extractor, scorer.tokenizer)
    texts, start = chosen_texts(corpus, given.split, given.pairs, given.seed), time.perf_counter()
    found = [of_pair(scorer, corpus, *pair, given.seed) for pair in zip(texts, texts[1:] + texts[:1], strict=True)]
    kept = [one for one in found if one is not None]
    tables = {
        measure: {
            f"{way}, {count}": summary(np.stack([one[measure][row, [column, -1]] for one in kept]))
            for row, count in enumerate(COUNTS)
            for column, way in enumerate(WAYS)
        }
        for measure in ("margin", "score")
    }
    seconds = time.perf_counter() - start
    left = {"pairs": len(kept), "too_few_regions": len(found) - len(kept), "seconds": round(seconds, 1)}
    print(json.dumps({"run": given.run, "split": given.split, "calibrated": scorer.calibration.kind, **left, **tables}))


if __name__ == "__main__":
    main()
