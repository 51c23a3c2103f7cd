"""Verbs that measure a trained run: `evaluate TASK`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from interbert.cli.screen import Screen, verb

TASKS = ("pretraining",)


@verb(
    "evaluate",
    examples=(
        "interbert evaluate pretraining demo/corpus --from demo/run --split validation",
        "interbert evaluate pretraining corpus --from runs/mine --split test --json",
    ),
)
@click.argument("task", type=click.Choice(TASKS))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--from", "run", required=True, help="A run's folder, or an id on the Hugging Face hub.")
@click.option("--revision", help="Of an id on the hub.")
@click.option("--split", default="test", show_default=True, help="Which pictures: train, validation or test.")
@click.option("--seed", default=0, show_default=True, help="Of the masks and the negatives.")
@click.option("--queries", type=click.IntRange(1), help="So many texts rank, not one of every picture.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
def evaluate(
    screen: Screen,
    task: str,
    data: Path,
    run: str,
    revision: str | None,
    split: str,
    seed: int,
    queries: int | None,
    precision: str,
) -> None:
    """What a run has learned, measured on pictures it was not trained on.

    pretraining: DATA is a corpus. Masked words with the picture and without, matching on as many negatives as
    positives, and one text a picture ranking all pictures of the split, without finetuning. With 95 % intervals.
    """
    from interbert.pretraining.evaluation import evaluate_run

    found = evaluate_run(
        run,
        data,
        split=split,
        seed=seed,
        queries=queries,
        precision=precision,
        revision=revision,
        progress=screen.progress,
    )
    screen.show({"task": task, "run": run, **found}, _lines(found))


def _lines(found: dict[str, Any]) -> list[str]:
    words, matching, retrieval = found["words"], found["matching_accuracy"], found["retrieval"]
    low, high = words["gain_interval"]
    lines = [
        f"words     {words['with_image']:.3f} with the picture, {words['without_image']:.3f} without: "
        f"{words['gain']:+.3f} ({low:+.3f} to {high:+.3f}), of {words['words']:,.0f} hidden words",
        f"matching  {_shown(matching)}, of {matching['pairs']:,} pairs",
    ]
    asked = f"{retrieval['queries']:,} texts among {retrieval['pictures']:,} pictures"
    lines += [f"{f'R@{k}':<9} {_shown(retrieval[f'recall_at_{k}'])}, {asked}" for k in (1, 5, 10)]
    alone = found["retrieval_alone"]
    return [*lines, f"median rank {retrieval['median_rank']:.0f}; each side alone: R@10 {alone['recall_at_10']:.3f}"]


def _shown(figure: dict[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.3f} ({low:.3f} to {high:.3f})"
