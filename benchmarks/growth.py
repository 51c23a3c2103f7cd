"""How does the cost of scoring grow with regions, words, pairs at once, and products?

    python benchmarks/growth.py --out docs/pictures/growth.svg [--preset small --rounds 3 --products 10,100,1000]

Random weights, one thread, the arithmetic of `--precision auto`; processor time, the smallest of the rounds, which take
every point in turn. Regions and words: 8 pairs of equal lengths, with 16 words or 36 regions. Pairs at once: of 16
words and 36 regions. Products: one text with so many pictures of 10 to 36 regions, as `recall` scores them, reading of
regions not counted. Draws four log-log plots with a line of slope 1 through the last point, and prints one JSON object
with the points and the slope of the last stretch of each.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from drawn_regions import drawn_regions

from interbert.batch import Batch
from interbert.config import ModelConfig, preset
from interbert.files import whole_file
from interbert.model.interbert import InterBert
from interbert.tasks.ranking import STRIPE, Stripe, pairs_at_once
from interbert.training.inference import ready, scoring, scoring_precision

CPU = torch.device("cpu")
PAIRS, WORDS, REGIONS = 8, 16, 36
DRAWN = 1000  # different pictures
SWEEPS = {
    "regions of a picture": (10, 20, 36, 60, 100),
    "words of a text": (8, 16, 32, 64, 128),
    "pairs at once": (1, 4, 16, 64, 256),
}
Points = dict[int, float]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300, 220, 52, 288, 30, 182
STYLE = "text{font:11px sans-serif;fill:#444}.axis{stroke:#ccc}.data{stroke:#0a6ebd;fill:none;stroke-width:2}"


def sweeps(config: ModelConfig) -> dict[str, list[int]]:
    """SWEEPS, as far as the model reads."""
    longest = {"words of a text": config.max_text_tokens}
    return {name: [at for at in sweep if at <= longest.get(name, at)] for name, sweep in SWEEPS.items()}


def a_batch(config: ModelConfig, pairs: int, words: int, regions: int) -> Batch:
    """Random pairs of equal lengths."""
    g = torch.Generator().manual_seed(0)
    valid = torch.ones(pairs, regions, dtype=torch.bool)
    return Batch(
        [""] * pairs,
        words=torch.randint(5, config.vocabulary_size, (pairs, words), generator=g),
        words_valid=torch.ones(pairs, words, dtype=torch.bool),
        features=torch.rand(pairs, regions, config.region_feature_size, generator=g),
        locations=torch.rand(pairs, regions, 5, generator=g),
        confidence=valid.float(),
        regions_valid=valid,
    )


def scored(model: InterBert, batch: Batch) -> Callable[[], object]:
    """The call that is timed."""
    return lambda: model(batch, 1)


def recalled(model: InterBert, count: int) -> Callable[[], object]:
    """One text with so many pictures, a stripe after the other; of more than DRAWN the first ones come again."""
    draws = np.random.default_rng(0)
    pictures = [drawn_regions(draws, 10, 36, model.config.region_feature_size) for _ in range(min(count, DRAWN))]
    words = [np.arange(5, 5 + WORDS)]

    def recall() -> None:
        for start in range(0, count, STRIPE):
            stripe = [pictures[at % DRAWN] for at in range(start, min(start + STRIPE, count))]
            Stripe(model, stripe, pairs_at_once(CPU, WORDS + (10 + 36) // 2)).margins(words)

    return recall


def measured(calls: dict[int, Callable[[], object]], rounds: int) -> Points:
    """Processor seconds of each call."""
    seconds: dict[int, list[float]] = {at: [] for at in calls}
    for _ in range(rounds):
        for at, call in calls.items():
            began = time.process_time()
            call()
            seconds[at].append(time.process_time() - began)
    return {at: min(spent) for at, spent in seconds.items()}


def slope(points: Points) -> float:
    """Of the last stretch, on log-log axes: 1 is cost in proportion."""
    (x1, y1), (x2, y2) = list(points.items())[-2:]
    return math.log(y2 / y1) / math.log(x2 / x1)


def plotted(title: str, points: Points, left: float, top: float) -> str:
    """One log-log plot, its corner at (left, top)."""
    first, (last, end) = min(points), list(points.items())[-1]
    lows = [min(points.values()), end * first / last]
    low, high = math.log10(min(lows)), math.log10(max(*points.values(), end))

    def place(x: float, y: float) -> str:
        across = (math.log10(x) - math.log10(first)) / (math.log10(last) - math.log10(first))
        up = (math.log10(y) - low) / (high - low or 1)
        return f"{left + LEFT + (RIGHT - LEFT) * across:.1f},{top + BOTTOM - (BOTTOM - TOP) * up:.1f}"

    parts = [f'<text x="{left + LEFT}" y="{top + 18}">seconds by {title}</text>']
    parts.append(f'<polyline class="axis" fill="none" points="{place(first, 10**low)} {place(last, 10**low)}"/>')
    parts.append(f'<polyline class="axis" fill="none" stroke-dasharray="4" points="{place(first, end * first / last)} '
                 f'{place(last, end)}"/>')  # fmt: skip
    parts.append(f'<polyline class="data" points="{" ".join(place(*point) for point in points.items())}"/>')
    for x, y in points.items():
        at, height = place(x, y).split(",")
        parts.append(f'<circle cx="{at}" cy="{height}" r="3" fill="#0a6ebd"/>')
        parts.append(f'<text x="{at}" y="{top + BOTTOM + 16}" text-anchor="middle">{x:,}</text>')
    for y in (min(points.values()), end):
        height = place(last, y).split(",")[1]
        parts.append(f'<text x="{left + LEFT - 6}" y="{height}" text-anchor="end">{y:.3g}</text>')
    return "".join(parts)


def picture(found: dict[str, Points]) -> str:
    """The plots, two beside each other."""
    plots = [
        plotted(name, points, WIDTH * (at % 2), HEIGHT * (at // 2)) for at, (name, points) in enumerate(found.items())
    ]
    across, down = min(2, len(plots)), math.ceil(len(plots) / 2)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across * WIDTH + 26} {down * HEIGHT}" role="img">'
            f"<style>{STYLE}</style>{''.join(plots)}</svg>\n")  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--products", default="10,100,1000")
    parser.add_argument("--products-alone", action="store_true", help="the last of the four alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config, precision = preset(options.preset), scoring_precision("auto", CPU)
    model = ready(InterBert(config).eval(), precision)
    sizes = {
        "regions of a picture": lambda at: (PAIRS, WORDS, at),
        "words of a text": lambda at: (PAIRS, at, REGIONS),
        "pairs at once": lambda at: (at, WORDS, REGIONS),
    }
    with scoring(precision, CPU):
        found = {
            name: measured({at: scored(model, a_batch(config, *sizes[name](at))) for at in sweep}, options.rounds)
            for name, sweep in ({} if options.products_alone else sweeps(config)).items()
        }
        products = [int(one) for one in options.products.split(",")]
        found["products of one text"] = measured({at: recalled(model, at) for at in products}, options.rounds)
    with whole_file(options.out) as file:
        file.write(picture(found))
    slopes = {name: round(slope(points), 2) for name, points in found.items()}
    print(json.dumps({"preset": options.preset, "precision": precision, "seconds": found, "last_slope": slopes}))


if __name__ == "__main__":
    main()
