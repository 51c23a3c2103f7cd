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
from interbert.settings import changed, flat
from interbert.tasks.finetuned import TASK_FILE, measuring, read_task, with_head, write_task_report
from interbert.tasks.table import task_kind
from interbert.tasks.task import Asked, Given, Task
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
    store: Path | None = None,
    regions: tuple[int, int | None] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What `Task.evaluate` of the run `asked.run` gives, with what was asked. asked.precision may be "auto" too.

    regions: (min, max) of a picture's; None: as finetuned, zero-shot all.  settings: options of the task that are to
    be other than the run was finetuned with.
    Raises UsageError where a task without a pretrained head is asked zero-shot, InterbertError where the run was not
    finetuned for the task.
    """
    run = asked.run
    if not (run / "config.json").is_file():
        raise UsageError(f"--from: got '{run}', wanted the folder of a run; it has no config.json")
    if zero_shot:
        _refuse_finetuned(run)
    known = {} if zero_shot else _finetuned_for(name, run)
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
    said |= {"trained_on": True} if seen else {}
    _keep(run, task, said | found)
    return said | found


def _refuse_finetuned(run: Path) -> None:
    """A prefilter leaves the matching head as it was; any other task does not."""
    if (run / TASK_FILE).is_file() and (task := read_task(run)["task"]) != "prefilter":
        raise UsageError(
            f"--zero-shot: '{run}' was finetuned for {task}; give the pretrained run that it began with, or leave "
            "--zero-shot out"
        )


def _finetuned_for(name: str, run: Path) -> dict[str, Any]:
    if not (run / TASK_FILE).is_file():
        raise InterbertError(
            f"run '{run}' was not finetuned: finetune it with  interbert finetune {name} DATA --from {run} --out OUT  "
            "or, for retrieval and products, give --zero-shot"
        )
    known = read_task(run)
    if known["task"] != name:
        raise InterbertError(f"run '{run}' was finetuned for {known['task']}, not for {name}")
    return known


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
