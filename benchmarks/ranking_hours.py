"""How many hours do 1,000 pictures with 5,000 captions take, every pair, by ours and by the peers as they come?

    python benchmarks/ranking_hours.py [--preset released --texts 2 --pictures 16 --rounds 3]

Extrapolated from a sample, in proportion to its pairs: processor hours of one thread. Drawn pictures of 90 to 100
regions, captions as long as the middles of equal parts of Flickr30k's. Ours embeds the pictures, inside the clock, and
ranks as `interbert evaluate retrieval` does; the peers score padded batches, a caption with all of the sample's
pictures. Random weights; one round of every contestant after the other, the first not counted. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import transformers
from drawn_regions import drawn_regions
from numpy.typing import NDArray
from peers import Call, peer
from retrieval_ranking import FEATURES, LENGTHS, padded
from torch import Tensor

from interbert.batch import Regions
from interbert.config import preset
from interbert.model.interbert import InterBert
from interbert.tasks.ranking import PAIRS_AT_ONCE, Stripe
from interbert.training.inference import ready, scoring

CPU = torch.device("cpu")
PICTURES, CAPTIONS = 1000, 5000
PEERS = ("visualbert", "lxmert")


def captions(count: int, random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Of lengths that stand for all: the middles of `count` equal parts."""
    lengths = [LENGTHS[int((at + 0.5) * len(LENGTHS) / count)] for at in range(count)]
    return [np.array([101, *random.integers(1000, 20000, length - 2), 102]) for length in lengths]


def ours(model: InterBert, texts: list[NDArray[np.int64]], pictures: list[Regions]) -> None:
    """Every pair, as the product ranks."""
    with scoring("fp32", CPU):  # a ready model rounds by itself
        Stripe(model, pictures, PAIRS_AT_ONCE["cpu"]).margins(texts)


def together(texts: list[NDArray[np.int64]], pictures: list[Regions]) -> list[tuple[Tensor, ...]]:
    """The peers' tensors: a caption with every picture, padded."""
    found = []
    for words in texts:
        pairs = [padded(words, regions) for regions in pictures]
        columns = ("words", "words_valid", "features", "locations", "regions_valid")
        found.append(tuple(torch.cat([getattr(pair, name) for pair in pairs]) for name in columns))
    return found


def theirs(call: Call, batches: list[tuple[Tensor, ...]]) -> None:
    """Every pair, a caption at a time."""
    for batch in batches:
        call(*batch)


def measured(contestants: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            began = time.process_time()
            run()
            if number:
                seconds[name].append(time.process_time() - began)
        print(f"round {number} of {rounds}", file=sys.stderr)
    return seconds


def report(seconds: dict[str, list[float]], pairs: int) -> dict[str, object]:
    """Hours of all pairs, and how many times those of each of ours the peers' are, with the least and the most."""
    hours = {
        name: round(statistics.median(spent) / pairs * PICTURES * CAPTIONS / 3600, 1) for name, spent in seconds.items()
    }
    ratios = {}
    for name in (name for name in seconds if name not in PEERS):
        for other in PEERS:
            every = [slow / fast for slow, fast in zip(seconds[other], seconds[name], strict=True)]
            ratios[f"{other} over {name}"] = [round(f(every), 2) for f in (statistics.median, min, max)]
    return {"hours": hours, "ratios": ratios}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="released")
    parser.add_argument("--texts", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    random = np.random.default_rng(0)
    texts = captions(options.texts, random)
    pictures = [drawn_regions(random, 90, 100, FEATURES) for _ in range(options.pictures)]
    model = InterBert(replace(preset(options.preset), region_feature_size=FEATURES, region_standardised=False)).eval()
    contestants = {name: partial(ours, ready(model, name), texts, pictures) for name in ("fp32", "bf16")}
    batches = together(texts, pictures)
    contestants |= {name: partial(theirs, peer(name, "score", options.preset), batches) for name in PEERS}
    seconds = measured(contestants, options.rounds)
    print(json.dumps({**vars(options), **report(seconds, options.texts * options.pictures)}))


if __name__ == "__main__":
    main()
