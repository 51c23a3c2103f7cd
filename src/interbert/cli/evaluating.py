"""Verbs that measure a trained run: `evaluate TASK`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from interbert.cli.finetuning import FOLDER, TASKS, regions_option, spread_lines, store_option
from interbert.cli.screen import Screen, verb
from interbert.errors import UsageError

if TYPE_CHECKING:
    from interbert.tasks.task import Asked

PRETRAINING = "pretraining"
IN_PART = 3
RANKING = ("retrieval", "products", "prefilter")
GLUE = ("cola", "sst2", "stsb", "rte")
WITH = {  # the tasks that an option is for
    "--revision": (PRETRAINING,),
    "--zero-shot": TASKS,
    "--submission": ("vqa", "vcr", *GLUE),
    "--store": ("vqa", "vcr", "matching"),
    "--regions": ("retrieval", "vqa", "vcr", "products", "matching", "prefilter"),
    "--queries": (PRETRAINING, *RANKING),
    "--processes": (PRETRAINING, *RANKING),
    "--parts": (PRETRAINING, *RANKING),
    "--set": ("products",),
    "--against": TASKS,
}
NAMES = {"--set": "pairs"}  # of parameters that are not called as their option


@verb(
    "evaluate",
    examples=(
        "interbert evaluate pretraining demo/corpus --from demo/run --split validation",
        "interbert evaluate retrieval corpus --from runs/mine --zero-shot --json",
        "interbert evaluate retrieval corpus --from runs/retrieval --against runs/mine",
        "interbert evaluate retrieval corpus --from runs/retrieval --regions 90:100 --processes 8",
        "interbert evaluate products shoes --from runs/shoes --set pool=30 --set pool_from=category",
        "interbert evaluate matching pairs --from runs/reviewed --store index/regions --against runs/mine",
        "interbert evaluate prefilter corpus --from runs/prefilter --queries 200",
        "interbert evaluate sst2 glue/SST-2 --from runs/sst2 --split test --submission SST-2.tsv",
    ),
)
@click.argument("task", type=click.Choice([PRETRAINING, *TASKS]))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--from", "run", required=True, help="A run's folder; for pretraining also an id on the hub.")
@click.option("--revision", help="Of an id on the hub.")
@click.option("--split", default="test", show_default=True, help="Which part of DATA: train, validation or test.")
@click.option("--zero-shot", is_flag=True, help="retrieval, products, matching: with a pretrained run's head.")
@click.option("--against", type=FOLDER, help="Another run; how much is gained over it, example by example.")
@click.option("--submission", type=click.Path(path_type=Path), help="Write the task's official file of answers.")
@store_option
@regions_option
@click.option("--seed", default=0, show_default=True, help="Of what is drawn: masks, negatives, queries.")
@click.option("--queries", type=click.IntRange(1), help="So many texts rank.  [default: all]")
@click.option("--processes", type=click.IntRange(1), help="That score at once.  [default: one a core, at most 8]")
@click.option(
    "--parts", type=FOLDER, help="Where scored pairs are kept, to go on.  [default: scores in a run's folder]"
)
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="products: pool, pool_from; may be repeated.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
def evaluate(
    screen: Screen,
    task: str,
    data: Path,
    run: str,
    revision: str | None,
    split: str,
    zero_shot: bool,
    against: Path | None,
    submission: Path | None,
    store: Path | None,
    regions: tuple[int, int | None] | None,
    seed: int,
    queries: int | None,
    processes: int | None,
    parts: Path | None,
    pairs: tuple[str, ...],
    precision: str,
) -> int:
    """What a run has learned, measured on a part of DATA it was not trained on.

    pretraining: DATA is a corpus. Masked words with the picture and without, matching on as many negatives as
    positives, and one text a picture ranking all pictures of the split, without finetuning. Any other task: its
    metrics for a run that was finetuned for it, or for all runs of --seeds. With 95 % intervals. Where the command is
    given again, what was scored before is not scored again. Exit status 3: some of DATA was left out, and counted.
    Of a corpus of texts alone: hidden words, beside the same model untrained and the most frequent word.
    """
    _refuse_options_of_other_tasks(task)
    from interbert.tasks.task import Asked

    asked = Asked(
        run=Path(run),
        split=split,
        seed=seed,
        queries=queries,
        processes=processes,
        precision=precision,
        parts=parts,
        submission=submission,
        progress=screen.progress,
    )
    if task == PRETRAINING:
        return _evaluate_pretraining(screen, data, run, revision, asked)
    return _evaluate_task(screen, task, data, asked, zero_shot, against, store, regions, pairs)


def _refuse_options_of_other_tasks(task: str) -> None:
    context = click.get_current_context()
    for option, tasks in WITH.items():
        name = NAMES.get(option, option.removeprefix("--").replace("-", "_"))
        source = context.get_parameter_source(name)
        if task not in tasks and source is not ParameterSource.DEFAULT:
            raise UsageError(f"{option}: {task} has no use for it, only {', '.join(tasks)}")


def _evaluate_task(
    screen: Screen,
    task: str,
    data: Path,
    asked: Asked,
    zero_shot: bool,
    against: Path | None,
    store: Path | None,
    regions: tuple[int, int | None] | None,
    pairs: tuple[str, ...],
) -> int:
    from interbert.settings import read_pairs
    from interbert.tasks.evaluation import evaluate_task
    from interbert.tasks.seeds import runs_of, together

    folders = runs_of(asked.run)
    if folders is not None and (asked.submission is not None or asked.parts is not None):
        raise UsageError(f"--submission, --parts: '{asked.run}' has {len(folders)} runs; give one of them")
    others = [None] if against is None else runs_of(against) or [against]
    folders, alone = folders or [asked.run], folders is None
    if len(others) not in (1, len(folders)):
        raise UsageError(f"--against: got a folder of {len(others)} runs for {len(folders)} of --from; give one run")
    settings = {name.removeprefix("options."): value for name, value in read_pairs(pairs).items()}  # as finetune has it
    given: dict[str, Any] = {"zero_shot": zero_shot, "store": store, "regions": regions, "settings": settings}
    given["others"] = {}  # one run beside all of --from is measured once
    found = [
        evaluate_task(task, data, replace(asked, run=folder), against=other, **given)
        for folder, other in zip(folders, others * (len(folders) // len(others)), strict=True)
    ]
    if alone:
        screen.show(found[0], _figure_lines(found[0]))
    else:
        spread = together([_values(of["metrics"]) for of in found])
        screen.show({"task": task, "run": str(asked.run), "metrics": spread, "runs": found}, spread_lines(spread))
    if left_out := max(int(one.get("left_out", 0)) for one in found):
        screen.say(f"{left_out:,} left out{_reasons(found[0])}")
    return IN_PART if left_out else 0


def _evaluate_pretraining(screen: Screen, data: Path, run: str, revision: str | None, asked: Asked) -> int:
    from interbert.pretraining.evaluation import evaluate_run

    found = evaluate_run(
        run,
        data,
        split=asked.split,
        seed=asked.seed,
        queries=asked.queries,
        processes=asked.processes,
        parts=asked.parts,
        precision=asked.precision,
        revision=revision,
        progress=asked.progress,
    )
    screen.show({"task": PRETRAINING, "run": run, **found}, _lines(found))
    return 0


def _values(metrics: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """The bare numbers of a run's figures and gains."""
    gains = {f"{name}_gain": one["gain"]["value"] for name, one in metrics.items() if "gain" in one}
    return {name: one["value"] for name, one in metrics.items()} | gains


def _figure_lines(found: dict[str, Any]) -> list[str]:
    from interbert.tasks.finetuned import gained

    metrics, other = found["metrics"], found.get("against")
    width = max(map(len, metrics), default=0)
    lines = [
        f"{name.replace('_', ' '):<{width}}  "
        + ("not measured" if one["value"] is None else _shown(one))
        + (f", gained {gained(one['gain'])}" if "gain" in one else "")
        + ("" if one.get("chance") is None else f", by chance {one['chance']:.3f}")
        for name, one in metrics.items()
    ]
    if other is not None:
        how = " zero-shot" if other["zero_shot"] else ""
        lines.append(f"gained over '{other['run']}'{how}, with the paired 95 % interval")
    return lines


def _reasons(found: dict[str, Any]) -> str:
    reasons = found.get("left_out_because", {})
    return f" ({'; '.join(f'{count:,}: {reason}' for reason, count in reasons.items())})" if reasons else ""


def _lines(found: dict[str, Any]) -> list[str]:
    return _lines_of_texts(found) if "untrained" in found else _lines_of_pictures(found)


def _lines_of_texts(found: dict[str, Any]) -> list[str]:
    names = {"words_mlm": "singly", "words_msm": "in segments"}
    lines = [f"hidden words of {found['texts']:,} texts that are found"]
    for name, how in names.items():
        untrained, constant = (found[who][name]["value"] for who in ("untrained", "always_the_most_frequent"))
        lines.append(
            f"{how:<12} {_shown(found['words'][name])}, of {found['words'][name]['hidden']:,}; "
            f"untrained {untrained:.3f}, always '{found['most_frequent']}' {constant:.3f}"
        )
    return lines


def _lines_of_pictures(found: dict[str, Any]) -> list[str]:
    from interbert.tasks.finetuned import gained

    words, matching, retrieval = found["words"], found["matching_accuracy"], found["retrieval"]
    gain = gained({"value": words["gain"], "interval": words["gain_interval"]})
    lines = [
        f"words     {words['with_image']:.3f} with the picture, {words['without_image']:.3f} without: "
        f"{gain}, of {words['words']:,.0f} hidden words",
        f"matching  {_shown(matching)}, of {matching['pairs']:,} pairs",
    ]
    asked = f"{retrieval['queries']:,} texts among {retrieval['pictures']:,} pictures"
    lines += [f"{f'R@{k}':<9} {_shown(retrieval[f'recall_at_{k}'])}, {asked}" for k in (1, 5, 10)]
    alone = found["retrieval_alone"]
    rank = retrieval["median_rank"]["value"]
    return [*lines, f"median rank {rank:.0f}; each side alone: R@10 {alone['recall_at_10']:.3f}"]


def _shown(figure: dict[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.3f} ({low:.3f} to {high:.3f})"
