"""The verb that teaches a pretrained model a task: finetune."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import click

from interbert.cli.screen import Screen, verb

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
TASKS = ("retrieval", "vqa", "vcr", "cola", "sst2", "stsb", "rte", "products", "matching", "prefilter")


def region_range(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, int | None] | None:
    """`MIN:MAX`, `MIN:` or `MAX` as (min, max or None)."""
    if value is None:
        return None
    first, colon, second = value.partition(":")
    try:
        least, most = (int(first), int(second) if second else None) if colon else (1, int(first))
    except ValueError:
        raise click.BadParameter(f"got '{value}', wanted MIN:MAX, as in 90:100", context, parameter) from None
    if least < 1 or (most is not None and most < least):
        raise click.BadParameter(f"got '{value}', wanted at least 1, and no MAX below MIN", context, parameter)
    return least, most


regions_option = click.option(
    "--regions",
    metavar="MIN:MAX",
    callback=region_range,
    help="A picture's regions: with fewer than MIN it is left out, its best MAX are taken.",
)
store_option = click.option("--store", type=FOLDER, help="The region store, for DATA that name pictures.")


@verb(
    "finetune",
    examples=(
        "interbert finetune retrieval demo/corpus --from demo/run --out demo/finetuned --recipe tiny",
        "interbert finetune retrieval corpus --from runs/mine --out runs/retrieval --recipe small --hard-negatives",
        "interbert finetune retrieval corpus --from new:small+bert:minilm --out runs/baseline --recipe small",
        "interbert finetune products shoes --from runs/clothes --out runs/shoes --recipe small "
        "--set options.negatives_from=category",
        "interbert finetune matching pairs --from runs/mine --out runs/reviewed --recipe small --store index/regions",
        "interbert finetune prefilter corpus --from runs/mine --out runs/prefilter --recipe small",
        "interbert finetune cola glue/CoLA --from runs/mine --out runs/cola --recipe paper --seeds 3",
    ),
)
@click.argument("task", type=click.Choice(TASKS))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--from", "start", required=True, help="A run's folder; new:PRESET[+bert:ID] is one not pretrained.")
@click.option("--out", required=True, type=FOLDER, help="The run, made or continued.")
@click.option("--recipe", required=True, help="The settings to begin with: paper, small, tiny, …")
@store_option
@regions_option
@click.option(
    "--hard-negatives",
    is_flag=True,
    help="retrieval, products: of the negatives, two are mined anew each epoch.",
)
@click.option("--seeds", type=click.IntRange(1), help="So many runs, OUT/seed-0 and on, with mean and spread.")
@click.option("--config", "config_file", type=FILE, help="A TOML file of settings that differ from the recipe.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One setting; may be given again.")
@click.option("--parallel", type=click.Choice(["auto", "ddp", "fsdp"]), default="auto", show_default=True,
              help="How torchrun's processes share the work; fsdp also shares the weights.")  # fmt: skip
@click.option("--print-config", is_flag=True, help="Print all settings as TOML and do nothing else.")
def finetune(
    screen: Screen,
    task: str,
    data: Path,
    start: str,
    out: Path,
    recipe: str,
    store: Path | None,
    regions: tuple[int, int | None] | None,
    hard_negatives: bool,
    seeds: int | None,
    config_file: Path | None,
    pairs: tuple[str, ...],
    parallel: Literal["auto", "ddp", "fsdp"],
    print_config: bool,
) -> None:
    """Finetune a run for a task.

    The same command again goes on exactly where it stopped. The run keeps the averaged weights of its best validation,
    and a report with its figures beside the paper's."""
    from interbert.settings import changed, read_pairs, read_toml, to_toml
    from interbert.task_recipes import finetuning_recipe

    plan = finetuning_recipe(task, recipe)
    if regions is not None:
        plan = replace(plan, min_regions=regions[0], max_regions=regions[1])
    if hard_negatives:
        plan = changed(plan, {"options.hard_negatives": 2})
    plan = changed(changed(plan, read_toml(config_file) if config_file else {}), read_pairs(pairs))
    if print_config:
        screen.show(asdict(plan), to_toml(plan).splitlines())
        return
    from interbert.tasks.finetuning import Finetuning, Finished
    from interbert.tasks.finetuning import finetune as finetune_task
    from interbert.tasks.seeds import over_seeds
    from interbert.training.parallel import is_first_process

    def one(plan: Finetuning, out: Path) -> Finished:
        return finetune_task(task, data, start, out, plan, store=store, progress=screen.progress, parallel=parallel)

    if seeds is not None:
        found = over_seeds(plan, out, seeds, lambda plan, folder: one(plan, folder).validation)
        if is_first_process():
            screen.show(found, _seed_lines(out, found))
        return
    finished = one(plan, out)
    if is_first_process():
        screen.show(asdict(finished), _lines(out, finished))


def _lines(out: Path, finished: Any) -> list[str]:
    summary = finished.summary
    begun = "" if summary.resumed_from is None else f", gone on from step {summary.resumed_from:,}"
    before, numbers = _figures(finished.before), _figures(finished.validation)
    return [
        f"{out}: {summary.steps:,} steps, {summary.seconds / 60:.1f} minutes{begun}",
        *([f"validation, before: {before}"] if before else []),
        *([f"best validation, at step {finished.best_step:,}: {numbers}"] if numbers else []),
    ]


def _figures(found: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in found.items())


def _seed_lines(out: Path, found: dict[str, Any]) -> list[str]:
    return [f"{out}: {len(found['seeds'])} seeds", *spread_lines(found["metrics"])]


def spread_lines(metrics: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each figure over seeds."""
    width = max(map(len, metrics), default=0)
    return [
        f"{name.replace('_', ' '):<{width}}  {one['mean']:.3f}"
        + ("" if one["spread"] is None else f" ± {one['spread']:.3f}, of {len(one['values'])} seeds")
        for name, one in metrics.items()
    ]
