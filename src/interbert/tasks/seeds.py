"""The same finetuning with several seeds: a run each, and what they have in common, as mean and spread."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from interbert.errors import InterbertError, UsageError
from interbert.files import write_json
from interbert.tasks.finetuned import SEEDS_FILE, TASK_FILE
from interbert.tasks.finetuning import Finetuning
from interbert.training.parallel import is_first_process


def over_seeds(
    plan: Finetuning, out: Path, count: int, run: Callable[[Finetuning, Path], Mapping[str, float]]
) -> dict[str, Any]:
    """Calls `run` with the plan and a folder below `out` for each of `count` seeds, from the plan's own on.

    run: gives the figures of one. Writes and returns `out/seeds.json`: {"seeds", "runs", "metrics": {name: {"mean",
    "spread", "values"}}}. Given the same again, finished runs are not trained again (`run` sees to that). Of torchrun's
    processes the first alone has figures and writes. Raises UsageError where `out` is a run itself.
    """
    if (out / TASK_FILE).exists():
        raise UsageError(f"--out: '{out}' holds one finetuned run; give another folder for those of {count} seeds")
    seeds = [plan.training.seed + at for at in range(count)]
    found = []
    for seed in seeds:
        found.append(run(replace(plan, training=replace(plan.training, seed=seed)), out / f"seed-{seed}"))
    summary = {"seeds": seeds, "runs": [f"seed-{seed}" for seed in seeds], "metrics": together(found)}
    if is_first_process():
        write_json(out / SEEDS_FILE, summary)
    return summary


def together(figures: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, Any]]:
    """Mean and spread (the sample's standard deviation; None for one) of each figure that all have.

    >>> together([{"accuracy": 0.5}, {"accuracy": 0.7}])["accuracy"]["mean"]
    0.6
    """
    names = [name for name in figures[0] if all(one.get(name) is not None for one in figures)]
    found = {}
    for name in names:
        values = [float(one[name] or 0.0) for one in figures]
        spread = statistics.stdev(values) if len(values) > 1 else None
        found[name] = {"mean": statistics.fmean(values), "spread": spread, "values": values}
    return found


def runs_of(folder: Path) -> list[Path] | None:
    """The runs of a folder that `over_seeds` wrote; None where it is another."""
    if not (folder / SEEDS_FILE).is_file():
        return None
    try:
        names = json.loads((folder / SEEDS_FILE).read_text(encoding="utf-8"))["runs"]
    except (ValueError, KeyError) as error:
        raise InterbertError(f"'{folder / SEEDS_FILE}' is broken ({error}); give the finetune command again") from error
    return [folder / str(name) for name in names]
