"""How many hours do 1,000 pictures with 5,000 captions take, every pair, by ours and by the peers as they come?

    python benchmarks/ranking_hours.py FOLDER [--preset released --texts 50 --pictures 10 --rounds 100 --first 0]

Extrapolated from a sample, in proportion to its pairs: processor hours of one thread. A round draws captions, as long
as the middles of equal parts of Flickr30k's, and pictures of 90 to 100 regions, and scores every pair of them by one
contestant after the other, each after a few pairs that are not counted. Ours embeds the pictures, inside the clock, and
ranks as `interbert evaluate retrieval` does; the peers score padded batches, a caption with all of the round's
pictures. Random weights.

FOLDER keeps a file a round: the same command goes on where it was stopped, with --first 50 a second process takes
rounds of its own, and with --only a round meets some contestants now and the others another time. A hundred rounds of
500 pairs are a hundredth of all pairs: some eight hours, of which ours are 1.7. Prints one JSON object, of all rounds
in FOLDER.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

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
from interbert.files import write_json
from interbert.model.interbert import InterBert
from interbert.tasks.ranking import PAIRS_AT_ONCE, Stripe
from interbert.training.inference import ready, scoring

CPU = torch.device("cpu")
PICTURES, CAPTIONS = 1000, 5000
OURS, PEERS = ("fp32", "bf16"), ("visualbert", "lxmert")
CONTESTANTS = (*OURS, *PEERS)

Words = NDArray[np.int64]
Contestant = Callable[[list[Words], list[Regions]], Callable[[], None]]


def captions(count: int, random: np.random.Generator) -> list[Words]:
    """Of lengths that stand for all: the middles of `count` equal parts."""
    lengths = [LENGTHS[int((at + 0.5) * len(LENGTHS) / count)] for at in range(count)]
    return [np.array([101, *random.integers(1000, 20000, length - 2), 102]) for length in lengths]


def ours(model: InterBert, texts: list[Words], pictures: list[Regions]) -> Callable[[], None]:
    """Every pair, as the product ranks."""

    def score() -> None:
        with scoring("fp32", CPU):  # a ready model rounds by itself
            Stripe(model, pictures, PAIRS_AT_ONCE["cpu"]).margins(texts)

    return score


def together(texts: list[Words], pictures: list[Regions]) -> list[tuple[Tensor, ...]]:
    """The peers' tensors: a caption with every picture, padded."""
    found = []
    for words in texts:
        pairs = [padded(words, regions) for regions in pictures]
        columns = ("words", "words_valid", "features", "locations", "regions_valid")
        found.append(tuple(torch.cat([getattr(pair, name) for pair in pairs]) for name in columns))
    return found


def theirs(call: Call, texts: list[Words], pictures: list[Regions]) -> Callable[[], None]:
    """Every pair, a caption at a time."""
    batches = together(texts, pictures)

    def score() -> None:
        for batch in batches:
            call(*batch)

    return score


def contestant(name: str, model: InterBert, size: str) -> Contestant:
    """Ours in a precision, or a peer."""
    return partial(ours, ready(model, name)) if name in OURS else partial(theirs, peer(name, "score", size))


def measured(contestants: dict[str, Contestant], texts: int, pictures: int, seed: int) -> dict[str, float]:
    """Processor seconds of each contestant for every pair of a round."""
    random = np.random.default_rng(seed)
    words = captions(texts, random)
    regions = [drawn_regions(random, 90, 100, FEATURES) for _ in range(pictures)]
    seconds = {}
    for name, run in contestants.items():
        run(words[:2], regions[:2])()
        score = run(words, regions)
        began = time.process_time()
        score()
        seconds[name] = time.process_time() - began
    return seconds


def begun(folder: Path, options: dict[str, object]) -> Path:
    """The folder, made if it is not there. Ends where it was begun with others."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "options.json"
    if not file.is_file():
        write_json(file, options)
    if (before := json.loads(file.read_text())) != options:
        sys.exit(f"'{folder}' was begun with {before}, not {options}; give another FOLDER")
    return folder


def report(rounds: list[dict[str, float]], pairs: int) -> dict[str, object]:
    """Hours of all pairs, and how many times those of each of ours the peers' are, with the least and the most.

    `pairs` is how many a round has. Hours are those of a contestant's median round, and the share of all pairs that its
    rounds have is said; ratios go round by round where both were met.
    """
    every = {name: [spent[name] for spent in rounds if name in spent] for name in CONTESTANTS}
    spent_on = {name: spent for name, spent in every.items() if spent}
    hours = {name: PICTURES * CAPTIONS / pairs * statistics.median(spent) / 3600 for name, spent in spent_on.items()}
    ratios = {}
    for name, other in itertools.product(OURS, PEERS):
        if both := [spent[other] / spent[name] for spent in rounds if name in spent and other in spent]:
            ratios[f"{other} over {name}"] = [round(f(both), 2) for f in (statistics.median, min, max)]
    return {
        "share_of_all_pairs": {
            n: round(pairs * len(spent) / (PICTURES * CAPTIONS), 6) for n, spent in spent_on.items()
        },
        "hours": {name: round(needed, 1) for name, needed in hours.items()},
        "ratios": ratios,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="released")
    parser.add_argument("--texts", type=int, default=50)
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", action="append", choices=CONTESTANTS)
    options = parser.parse_args()
    begun_with = {name: getattr(options, name) for name in ("preset", "texts", "pictures")}
    kept = begun(options.folder, begun_with)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    model = InterBert(replace(preset(options.preset), region_feature_size=FEATURES, region_standardised=False)).eval()
    contestants = {name: contestant(name, model, options.preset) for name in options.only or CONTESTANTS}
    for number in range(options.first, options.first + options.rounds):
        file = kept / f"{number:04}.json"
        spent = json.loads(file.read_text()) if file.is_file() else {}
        left = {name: run for name, run in contestants.items() if name not in spent}
        if left:
            spent |= measured(left, options.texts, options.pictures, number)
            write_json(file, spent)
            print(f"round {number}: {spent}", file=sys.stderr)
    rounds = [json.loads(file.read_text()) for file in sorted(kept.glob("[0-9]*.json"))]
    print(json.dumps({**begun_with, **report(rounds, options.texts * options.pictures)}))


if __name__ == "__main__":
    main()
