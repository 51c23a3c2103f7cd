"""`interbert evaluate TASK`: a finetuned run, or zero-shot a pretrained one, measured on a split of the task's data.

What was found stays in the run's folder (`evaluations/`), and stands in its report.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from interbert.errors import InterbertError, UsageError
from interbert.files import write_json
from interbert.model.interbert import InterBert
from interbert.model.pretrained import HEAD_FILE
from interbert.settings import changed, flat
from interbert.tasks.finetuned import TASK_FILE, measuring, read_task, with_head, write_task_report
from interbert.tasks.table import task_kind
from interbert.tasks.task import Asked, Given, Measured, Task
from interbert.text.tokenizer import Tokenizer
from interbert.training.precision import chosen_precision
from interbert.vision.provenance import ExtractorInfo

log = logging.getLogger(__name__)


def evaluate_task(
    name: str,
    data: Path,
    asked: Asked,
    *,
    zero_shot: bool = False,
    against: Path | None = None,
    others: dict[str, dict[str, Any]] | None = None,
    **given: Any,
) -> dict[str, Any]:
    """What `Task.evaluate` of the run `asked.run` gives, with what was asked. asked.precision may be "auto" too.

    against: another run, measured on the same examples, zero-shot if it has not learned the task; each figure then has
    its "gain" over that run's. Its pools are as ours.  others: what such runs gave in calls like this one, kept for the
    next; a run that is in it is not measured again.  given: `store`, a region store, for data that name pictures;
    `regions`, (min, max) of a picture's, None: as finetuned, zero-shot all; `settings`, options of the task that are to
    be other than the run was finetuned with.
    Raises UsageError where a task without a pretrained head is asked zero-shot or the two runs read other examples,
    InterbertError where the run was not finetuned for the task.
    """
    if against is not None:
        untaught = not (asked.run / HEAD_FILE).is_file() and _task_of(against) in {None, "prefilter"} - {name}
        _known(name, against, untaught, "--against")  # before anything is measured
    task, found = _measured(name, data, asked, zero_shot, **given)
    if against is not None:
        others = {} if others is None else others
        shared = {one: getattr(task.options, one) for one in task.judged_by}
        known = f"{against} {shared}"
        if known not in others:
            there = replace(asked, run=against, submission=None)
            settings = shared | dict(given.pop("settings", None) or {})
            others[known] = evaluate_task(name, data, there, zero_shot=untaught, **given, settings=settings)
        found |= _gains(found, others[known])
    _keep(asked.run, task, found)
    return found


def _gains(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Our figures with their gains, and what they are over."""
    metrics: dict[str, Measured] = ours["metrics"]
    others: dict[str, Measured] = theirs["metrics"]
    both = [one for one in metrics if one in others and metrics[one].count]
    if ours["min_regions"] != theirs["min_regions"] or any(metrics[one].count != others[one].count for one in both):
        raise UsageError(
            f"--against: '{ours['run']}' and '{theirs['run']}' were not measured on the same examples; were they "
            "finetuned with other --regions? give --regions MIN:MAX here, for both"
        )
    for one in both:
        metrics[one].set_gain(others[one])
    return {"against": {one: theirs[one] for one in ("run", "zero_shot", "metrics")}}


def _measured(
    name: str,
    data: Path,
    asked: Asked,
    zero_shot: bool,
    *,
    store: Path | None = None,
    regions: tuple[int, int | None] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Task, dict[str, Any]]:
    run = asked.run
    known = _known(name, run, zero_shot)
    backbone = InterBert.from_pretrained(run)
    least, most = regions or (known.get("min_regions", 1), known.get("max_regions"))
    given = Given(
        name=name,
        tokenizer=Tokenizer.load(run / "tokenizer.json"),
        extractor=ExtractorInfo.load(run / "extractor.json"),
        config=backbone.config,
        seed=asked.seed,
        min_regions=least,
        max_regions=most,
        store=store,
        facts=known.get("facts"),
    )
    kind = task_kind(name)
    options = changed(kind.default_options(), dict(flat(known.get("options", {}))))
    task = kind.open(data, changed(options, settings or {}), given)
    if zero_shot and task.head(backbone.config) is not None:
        raise UsageError(f"--zero-shot: {name} has a head of its own, which only finetuning gives")
    seen = known.get("trained_on") is not None and task.digest(asked.split) == known["trained_on"]
    if seen:
        log.warning("these are the examples that the run was trained on: its figures say little of others")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = with_head(backbone, task, run).to(device).eval()
    asked = replace(asked, precision=chosen_precision(asked.precision, device))
    with measuring(asked.precision, device):
        found = task.evaluate(model, asked)
    said = {"task": name, "run": str(run), "split": asked.split, "zero_shot": zero_shot, "precision": asked.precision}
    said |= {"min_regions": least} | ({"trained_on": True} if seen else {})
    return task, said | found


def _known(name: str, run: Path, zero_shot: bool, option: str = "--from") -> dict[str, Any]:
    """What `task.json` of a run says that was finetuned for the task; zero-shot nothing."""
    if not (run / "config.json").is_file():
        raise UsageError(f"{option}: got '{run}', wanted the folder of a run; it has no config.json")
    task = _task_of(run)
    if zero_shot and task not in (None, "prefilter"):  # which leaves the matching head as it was
        raise UsageError(
            f"--zero-shot: '{run}' was finetuned for {task}; give the pretrained run that it began with, or leave "
            "--zero-shot out"
        )
    if zero_shot:
        return {}
    if task is None:
        raise InterbertError(
            f"run '{run}' was not finetuned: finetune it with  interbert finetune {name} DATA --from {run} --out OUT  "
            "or, for retrieval, products and matching, give --zero-shot"
        )
    if task != name:
        raise InterbertError(f"run '{run}' was finetuned for {task}, not for {name}")
    return read_task(run)


def _task_of(run: Path) -> str | None:
    """What a run was finetuned for; None where it was not."""
    return str(read_task(run)["task"]) if (run / TASK_FILE).is_file() else None


def _keep(run: Path, task: Task, found: dict[str, Any]) -> None:
    """Into the run's folder and report, where it can be written."""
    kind = "-zero-shot" if found["zero_shot"] else ""
    try:
        (run / "evaluations").mkdir(exist_ok=True)
        write_json(run / "evaluations" / f"{found['task']}-{found['split']}{kind}.json", found)
        if not found["zero_shot"]:
            write_task_report(run, task.published)
    except OSError as error:
        log.warning("the result is not kept in '%s': %s", run, error.strerror)
