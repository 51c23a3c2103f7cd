"""What a finetuned run keeps beside its weights: the task with its settings, its head, examples, its report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from interbert.errors import InterbertError
from interbert.files import write_json
from interbert.model.interbert import InterBert
from interbert.model.pretrained import HEAD_FILE
from interbert.tasks.task import Task, TaskModel
from interbert.training.precision import autocast, fast_matmul
from interbert.training.report import Picture, Shown, Table, write_report

TASK_FILE, EXAMPLES_FILE = "task.json", "examples.json"
SEEDS_FILE = "seeds.json"  # of a folder that holds the runs of several seeds
BEFORE_FILE = "before.json"  # figures of the validation before the first step, of a task without a head of its own
COUNTED = (  # of what an evaluation counts, what its report shows below the figures
    *("captions", "pictures", "questions", "choices", "examples"),
    *("left_out", "stand_ins", "unlinked", "cut", "cut_answers"),
)


def read_task(run: Path) -> dict[str, Any]:
    """What `task.json` of a finetuned run holds. Raises InterbertError where it has none."""
    try:
        found = json.loads((run / TASK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InterbertError(f"'{run}' has no readable {TASK_FILE}, so it is no finetuned run ({error})") from error
    if not isinstance(found, dict) or "task" not in found:
        raise InterbertError(f"'{run / TASK_FILE}' does not describe a task; finetune again")
    return found


def read_before(run: Path) -> dict[str, float]:
    """The validation before the first step; empty where there was none."""
    file = run / BEFORE_FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def with_head(backbone: InterBert, task: Task, run: Path) -> TaskModel:
    """A run's model with the task's head, read from the run where the task has one."""
    head = task.head(backbone.config)
    if head is not None:
        head.load_state_dict(load_file(run / HEAD_FILE))
    return TaskModel(backbone, head)


@contextmanager
def measuring(precision: str, device: torch.device) -> Iterator[None]:
    """Inside, nothing is trained, and products are as fast as the device makes them. precision: "fp32" or "bf16"."""
    with torch.inference_mode(), fast_matmul(), autocast(precision, device):
        yield


def write_examples(run: Path, examples: Sequence[Shown]) -> None:
    """Keeps the examples, so that a later evaluation can write the report again."""
    write_json(run / EXAMPLES_FILE, [asdict(example) | {"pictures": _pictures(example)} for example in examples])


def _pictures(example: Shown) -> list[dict[str, Any]]:
    return [asdict(one) | {"file": None if one.file is None else str(one.file)} for one in example.pictures]


def read_examples(run: Path) -> list[Shown]:
    """What `write_examples` kept; none where there is nothing."""
    file = run / EXAMPLES_FILE
    if not file.is_file():
        return []
    found = []
    for one in json.loads(file.read_text(encoding="utf-8")):
        pictures = tuple(
            Picture(Path(of["file"]) if of["file"] else None, of["note"], of["score"], tuple(map(tuple, of["boxes"])))
            for of in one["pictures"]
        )
        found.append(Shown(one["asked"], one["said"], one["right"], pictures, one.get("score")))
    return found


def write_task_report(run: Path, published: Mapping[str, Mapping[str, float]]) -> Path:
    """`report.html` of a finetuned run: curves, its figures beside the published ones, examples right and wrong."""
    columns: dict[str, Mapping[str, Any]] = {}
    counts: dict[str, Mapping[str, Any]] = {}
    known = read_task(run)
    if before := read_before(run):
        columns["validation, before finetuning"] = before
    if validation := known.get("validation"):
        columns["validation, while training"] = validation
    for file in sorted((run / "evaluations").glob("*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        column = found["split"] + (", zero-shot" if found["zero_shot"] else "")
        if other := found.get("against"):
            column += f", and its gain over {Path(other['run']).name}" + (" zero-shot" if other["zero_shot"] else "")
        columns[column], counts[column] = found["metrics"], found
    columns |= published
    metrics = list(dict.fromkeys(name for column in columns.values() for name in column))
    rows = tuple((name, tuple(_cell(column.get(name)) for column in columns.values())) for name in metrics)
    rows += tuple(
        (name, tuple(_count(counts.get(column, {}).get(name)) for column in columns))
        for name in COUNTED
        if any(of.get(name) for of in counts.values())
    )
    table = Table(tuple(columns), rows)
    return write_report(run, table=table, shown=read_examples(run), about=f"finetuned for {known['task']}")


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _cell(figure: Any) -> str:
    """A number, or a figure, its interval, its gain and what chance gives, a line each; nothing if not measured.

    >>> _cell({"value": 0.5, "interval": [0.4, 0.6], "chance": 0.25}).split("\\n")
    ['0.500', '0.400 to 0.600', 'by chance 0.250']
    """
    if figure is None:
        return ""
    if not isinstance(figure, Mapping):
        return f"{figure:.3f}"
    if figure["value"] is None:
        return ""
    low, high = figure["interval"]
    lines = [f"{figure['value']:.3f}", f"{low:.3f} to {high:.3f}"]
    if gain := figure.get("gain"):
        lines.append(gained(gain))
    if (chance := figure.get("chance")) is not None:
        lines.append(f"by chance {chance:.3f}")
    return "\n".join(lines)


def gained(gain: Mapping[str, Any]) -> str:
    """A difference of two figures and its interval, with signs.

    >>> gained({"value": 0.1, "interval": (-0.05, 0.25)})
    '+0.100 (-0.050 to +0.250)'
    """
    low, high = gain["interval"]
    return f"{gain['value']:+.3f} ({low:+.3f} to {high:+.3f})"
