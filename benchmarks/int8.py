"""Do a run's scores survive fewer bits? Ranks and errors in bf16 and int8 against float32, and what each costs.

    python benchmarks/int8.py RUN CORPUS [--split validation --pairs 2000 --seed 0 --batch 32]

Pairs of the split: half of them a text with its own picture, half with another. Spearman's correlation of the margins
with those of float32, the error's deviation as a share of the margins' own, the largest change of a score, and how
often a pair changes sides of 0.5. `offered`: whether int8 keeps at least 0.995. One process, one thread, processor
time, after a warm-up of one batch each. Prints one JSON object.
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
from interbert.corpus.corpus import Corpus
from interbert.metrics import spearman
from interbert.model.prepared import can_prepare

WANTED = 0.995  # of Spearman's correlation


def pairs_of(corpus: Corpus, split: str, count: int, seed: int) -> tuple[list[int], list[int]]:
    """Texts of a split and, for each, its own picture or one of another text: as many of either."""
    texts = corpus.split(split)
    if not len(texts):
        raise SystemExit(f"{corpus.folder}: the split '{split}' has no texts")
    draws = np.random.default_rng(seed)
    chosen = draws.choice(texts, count, replace=len(texts) < count)
    others = draws.choice(texts, count)
    source = np.where(np.arange(count) % 2, chosen, others)
    images = [corpus.image_of(int(text)) for text in source]
    return chosen.tolist(), images


def scored(run: Path, precision: str, corpus: Corpus, texts: list[int], images: list[int], batch: int) -> Any:
    """Margins, scores, and processor seconds of all pairs."""
    scorer = interbert.load(run, precision=precision)
    words = [corpus.words(text).tolist() for text in texts]
    regions = [corpus.regions(image) for image in images]
    scorer.model_for(len(words))
    scorer.margins_of(words[:batch], regions[:batch], batch, False)
    began = time.process_time()
    margins = scorer.margins_of(words, regions, batch, False)
    return margins, scorer.probabilities(margins), time.process_time() - began


def compared(exact: tuple[NDArray[Any], ...], rounded: tuple[NDArray[Any], ...]) -> dict[str, float]:
    """What rounding did to margins and scores."""
    (margins, scores, _), (theirs, their_scores, _) = exact, rounded
    return {
        "spearman": round(spearman(margins, theirs), 5),
        "error_over_deviation": round(float(np.std(theirs - margins) / np.std(margins)), 4),
        "largest_change_of_a_score": round(float(np.abs(their_scores - scores).max()), 4),
        "changed_sides_of_a_half": round(float(((scores > 0.5) != (their_scores > 0.5)).mean()), 5),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = Corpus(options.corpus)
    texts, images = pairs_of(corpus, options.split, options.pairs, options.seed)
    able = [name for name in ("fp32", "bf16", "int8") if name == "fp32" or can_prepare(name)]
    found = {name: scored(options.run, name, corpus, texts, images, options.batch) for name in able}
    lower = {name: compared(found["fp32"], found[name]) for name in able[1:]}
    print(json.dumps({
        "run": str(options.run),
        "split": options.split,
        "pairs": options.pairs,
        "deviation_of_margins": round(float(np.std(found["fp32"][0])), 3),
        **lower,
        "speed_over_fp32": {name: round(found["fp32"][2] / found[name][2], 2) for name in able[1:]},
        "offered": "int8" in lower and lower["int8"]["spearman"] >= WANTED,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
