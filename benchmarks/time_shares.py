"""Where does the time of scoring and of a training step go?

    python benchmarks/time_shares.py --out docs/pictures/time_shares.svg [--preset paper --pairs 12 --steps 3]

torch's profiler, one thread, retrieval's lengths for scoring and pretraining's for training, random weights: the time
inside of each kind of operation, without what it calls, over all of the calls' time by the clock; where other processes
hold the core they lengthen every kind alike. `between` is what no operation has: Python. Draws a bar for each of
scoring and training in float32 and bf16, prints one JSON object of shares.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peers import a_round, scorer
from torch.profiler import ProfilerActivity, profile
from training_step import a_batch, train_step

from interbert.files import whole_file

COPIES = "copies, casts, zeros"
OF = {  # in this order, the first that a name contains
    "attention": ("bmm", "softmax"),
    "optimizer": ("adam",),
    "products": ("addmm", "aten::mm", "linear", "matmul", "mkldnn", "onednn"),
    "norms and GELU": ("layer_norm", "gelu"),
    "dropout": ("dropout", "bernoulli", "masked_scale"),
    COPIES: ("zero", "fill", "copy", "_to", "cat", "index", "clone", "gather", "embedding", "contiguous"),
    "sums": ("add", "mul", "sum", "div"),
}
REST, BETWEEN = "other operations", "between"
COLOURS = ("#0a6ebd", "#7b3294", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#999999", "#dddddd")
KINDS = ("products", "attention", "norms and GELU", "dropout", COPIES, "sums", "optimizer", REST, BETWEEN)
WIDTH, LEFT, RIGHT, ROW = 640, 110, 630, 30


def kind_of(name: str) -> str:
    """The kind of an operation, by its name in the profiler."""
    lower = name.lower()
    return next((kind for kind, parts in OF.items() if any(part in lower for part in parts)), REST)


def shares(operations: dict[str, float], whole: float) -> dict[str, float]:
    """operations: seconds inside of each, by name.  whole: seconds of all. The shares of KINDS, which add up to 1."""
    found = dict.fromkeys(KINDS, 0.0)
    for name, seconds in operations.items():
        found[kind_of(name)] += seconds / whole
    found[BETWEEN] = max(0.0, 1 - sum(found.values()))
    return found


def profiled(call: Callable[[int], object], steps: int) -> tuple[dict[str, float], float]:
    """Seconds inside of each operation, and of all, of `steps` calls after one that is not counted."""
    call(0)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        began = time.perf_counter()
        for number in range(1, steps + 1):
            call(number)
        whole = time.perf_counter() - began
    rows = found.key_averages()
    return {row.key: row.self_cpu_time_total / 1e6 for row in rows if not row.key.startswith("Profiler")}, whole


def bars(rows: dict[str, dict[str, float]]) -> str:
    """The picture: a bar for each row, its kinds side by side."""
    height = ROW * len(rows) + 60
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
             "<style>text{font:11px sans-serif;fill:#444}</style>"]  # fmt: skip
    for at, (name, found) in enumerate(rows.items()):
        x, top = float(LEFT), 8 + ROW * at
        parts.append(f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end">{name}</text>')
        for kind, colour in zip(KINDS, COLOURS, strict=True):
            wide = (RIGHT - LEFT) * found[kind]
            parts.append(f'<rect x="{x:.1f}" y="{top}" width="{wide:.1f}" height="22" fill="{colour}"/>')
            if found[kind] >= 0.045:
                ink = "#444" if kind == BETWEEN else "#fff"
                parts.append(f'<text x="{x + wide / 2:.1f}" y="{top + 15}" text-anchor="middle" style="fill:{ink}">'
                             f"{100 * found[kind]:.0f}</text>")  # fmt: skip
            x += wide
    for at, (kind, colour) in enumerate(zip(KINDS, COLOURS, strict=True)):
        x, y = 10 + 125 * (at % 5), ROW * len(rows) + 26 + 20 * (at // 5)
        parts.append(f'<rect x="{x}" y="{y - 10}" width="11" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="{y}">{kind}</text>')
    return "".join([*parts, "</svg>\n"])


def calls(preset: str, pairs: int, steps: int) -> dict[str, Callable[[], Callable[[int], object]]]:
    """What is profiled, each made when its turn comes: they need not be in memory together."""

    def scoring(precision: str) -> Callable[[int], object]:
        score = scorer(preset, precision)
        rounds = [a_round("retrieval", pairs, number)[:5] for number in range(steps + 1)]
        return lambda number: score(*rounds[number])

    def training(precision: str) -> Callable[[int], object]:
        step = train_step(preset, precision)
        rounds = [a_batch(pairs, number) for number in range(steps + 1)]
        return lambda number: step(*rounds[number])

    makers = {"scoring": scoring, "training": training}
    return {
        f"{name}, {precision}": (lambda make=make, precision=precision: make(precision))
        for name, make in makers.items()
        for precision in ("fp32", "bf16")
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, others = {}, {}
    for name, make in calls(options.preset, options.pairs, options.steps).items():
        operations, whole = profiled(make(), options.steps)
        rows[name] = shares(operations, whole)
        rest = {key: seconds for key, seconds in operations.items() if kind_of(key) == REST}
        others[name] = max(rest, key=rest.__getitem__)
        print(name, {kind: round(share, 3) for kind, share in rows[name].items()}, file=sys.stderr)
    with whole_file(options.out) as file:
        file.write(bars(rows))
    rounded = {name: {kind: round(share, 3) for kind, share in found.items()} for name, found in rows.items()}
    print(json.dumps({"preset": options.preset, "pairs": options.pairs, "shares": rounded, "largest_other": others}))


if __name__ == "__main__":
    main()
