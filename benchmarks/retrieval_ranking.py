"""How fast are all captions scored with all pictures, against the same scores pair by pair with padding?

    python benchmarks/retrieval_ranking.py [--preset paper --texts 10 --pictures 16 --rounds 3]

Random weights; drawn pictures of 90 to 100 regions, 2048 numbers each (A.2); captions with the lengths of Flickr30k's
in word pieces, tenth by tenth. The other side gives the model one pair at a time, padded to 36 + 101 positions. One
thread; rounds interleaved; medians by processor time, and by the clock. "as it comes" is PyTorch's float32; the rows of
equal arithmetic say what is left of the ratio then: the work that is not done. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from drawn_regions import drawn_regions
from numpy.typing import NDArray
from training_step import with_padding

from interbert.batch import Batch, Regions, make_batch
from interbert.config import preset
from interbert.model.interbert import InterBert
from interbert.model.matching import margin
from interbert.tasks.ranking import PAIRS_AT_ONCE, Stripe
from interbert.training.inference import ready
from interbert.training.precision import autocast, chosen_precision, fast_matmul

CPU = torch.device("cpu")
LENGTHS = (9, 11, 12, 13, 14, 15, 17, 19, 21, 28)  # of 4,600 captions: the middles of their tenths
TEXT, SLOTS, FEATURES = 36, 101, 2048
Scored = Callable[[], NDArray[np.float32]]


def padded(words: NDArray[np.int64], regions: Regions) -> Batch:
    """One pair, padded."""
    batch = make_batch([""], [words.tolist()], [regions])
    for name, length in (("words", TEXT), ("words_valid", TEXT), ("features", SLOTS), ("locations", SLOTS),
                         ("confidence", SLOTS), ("regions_valid", SLOTS)):  # fmt: skip
        tensor = getattr(batch, name)
        more = [0, 0] * (tensor.ndim - 2) + [0, length - tensor.shape[1]]
        setattr(batch, name, torch.nn.functional.pad(tensor, more))
    return batch


def padding_kept(model: InterBert) -> InterBert:
    """A copy with padding in every layer's work."""
    return with_padding(deepcopy(model))


def pair_by_pair(model: InterBert, texts: list[NDArray[np.int64]], pictures: list[Regions]) -> Scored:
    """The baseline; its batches are made before the clock starts."""
    batches = [[padded(words, regions) for regions in pictures] for words in texts]

    def score() -> NDArray[np.float32]:
        found = np.empty((len(texts), len(pictures)), np.float32)
        for row, of_text in enumerate(batches):
            for column, batch in enumerate(of_text):
                output = model(batch)
                assert output.text_vector is not None
                assert output.image_vector is not None
                found[row, column] = margin(model, output.text_vector, output.image_vector)
        return found

    return score


def in_stripes(model: InterBert, texts: list[NDArray[np.int64]], pictures: list[Regions]) -> Scored:
    """Ours: pictures embedded (inside the clock), then every caption."""

    def score() -> NDArray[np.float32]:
        return Stripe(model, pictures, PAIRS_AT_ONCE["cpu"]).margins(texts)

    return score


def timed(scored: Scored, precision: str, fast: bool) -> tuple[float, float, NDArray[np.float32]]:
    """Seconds of the processor and of the clock, and the scores."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if fast:
            stack.enter_context(fast_matmul())
        stack.enter_context(autocast(precision, CPU))
        cpu, clock = time.process_time(), time.perf_counter()
        found = scored()
        return time.process_time() - cpu, time.perf_counter() - clock, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--texts", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    model = InterBert(replace(preset(given.preset), region_feature_size=FEATURES, region_standardised=False)).eval()
    lengths = [LENGTHS[at % len(LENGTHS)] for at in range(given.texts)]
    texts = [np.array([101, *random.integers(1000, 20000, length - 2), 102]) for length in lengths]
    pictures = [drawn_regions(random, 90, 100, FEATURES) for _ in range(given.pictures)]
    one, ours = pair_by_pair(padding_kept(model), texts, pictures), in_stripes(ready(model, "fp32"), texts, pictures)
    contestants: dict[str, tuple[Scored, str, bool]] = {
        "pair by pair, float32 as it comes": (one, "fp32", False),
        "pair by pair, float32": (one, "fp32", True),
        "ranking, float32": (ours, "fp32", True),
    }
    if chosen_precision("auto", CPU) == "bf16":
        rounded = in_stripes(ready(model, "bf16"), texts, pictures)  # which rounds by itself
        contestants |= {"pair by pair, bfloat16": (one, "bf16", True), "ranking, bfloat16": (rounded, "fp32", True)}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    found: dict[str, NDArray[np.float32]] = {}
    for _ in range(given.rounds):
        for name, how in contestants.items():
            cpu, clock, found[name] = timed(*how)
            seconds[name].append((cpu, clock))
    print(json.dumps(result(given, seconds, found)))


def result(
    given: argparse.Namespace, seconds: dict[str, list[tuple[float, float]]], found: dict[str, NDArray[np.float32]]
) -> dict[str, Any]:
    """Pairs a second and ratios to the first contestant and to the one of equal arithmetic."""
    pairs, first = given.texts * given.pictures, next(iter(seconds))

    def ratios(name: str, to: str, at: int) -> list[float]:
        every = [theirs[at] / ours[at] for theirs, ours in zip(seconds[to], seconds[name], strict=True)]
        return [round(one, 2) for one in (statistics.median(every), min(every), max(every))]

    rows = {}
    for name, taken in seconds.items():
        equal = name.replace("ranking", "pair by pair")
        rows[name] = {
            "pairs_per_second_of_processor": round(pairs / statistics.median(cpu for cpu, _ in taken), 2),
            "pairs_per_second": round(pairs / statistics.median(clock for _, clock in taken), 2),
            "ratio_to_as_it_comes": ratios(name, first, 0),
            "ratio_by_the_clock": ratios(name, first, 1),
            "ratio_at_equal_arithmetic": ratios(name, equal, 0),
            "largest_difference": float(np.abs(found[name] - found[first]).max()),
        }
    spread = float(found[first].std())
    return {"preset": given.preset, "pairs": pairs, "rounds": given.rounds, "spread_of_scores": spread, "rows": rows}


if __name__ == "__main__":
    main()
