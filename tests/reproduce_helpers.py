"""Steps that do nothing but say so, and a table of their figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interbert.reproduce.cells import Cell, Exhibit, Reading, Result, Row
from interbert.reproduce.cost import Cost, Machine
from interbert.reproduce.setting import Pairs, Setting
from interbert.reproduce.steps import Step


@dataclass(frozen=True, kw_only=True)
class Told(Step):
    """Gives what it is told. done: names of the steps that have been done.  error: raised in place of a result."""

    found: dict[str, Any] = field(default_factory=dict)
    done: list[str] = field(default_factory=list, compare=False)
    error: BaseException | None = None
    words: tuple[str, ...] = ()

    def command(self) -> list[str]:
        return ["interbert", "tell", str(self.folder), *self.words]

    def do(self, progress: bool) -> dict[str, Any]:
        self.done.append(self.name)
        if self.error is not None:
            raise self.error
        (self.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        return self.found

    def leftovers(self) -> list[Path]:
        return [self.folder / "checkpoints"]


def told(root: Path, name: str, *needs: Step, **changes: Any) -> Told:
    return Told(name=name, root=root, needs=needs, cost=Cost(seconds=10.0), **changes)


def metrics(value: float | None, interval: tuple[float, float] | None = None) -> dict[str, Any]:
    """A step's result with one figure, "accuracy"."""
    return {"metrics": {"accuracy": {"value": value, "interval": interval}}}


def done(value: float | None, interval: tuple[float, float] | None = None, seconds: float = 1.0) -> Result:
    return Result(True, seconds, metrics(value, interval), program="0.1.0")


def cell(*steps: Step, row: str = "ours", column: str = "CoLA") -> Cell:
    """A figure of one step a seed."""
    return Cell(row, column, tuple((Reading(step, "accuracy"),) for step in steps))


def exhibit(*cells: Cell, **changes: Any) -> Exhibit:
    given: dict[str, Any] = {
        "name": "table9",
        "title": "Table 9: two tasks",
        "columns": ("CoLA", "RTE"),
        "rows": (Row("ours", "InterBERT"),),
        "cells": cells,
        "published": {"InterBERT": {"CoLA": 57.3, "RTE": 64.3}, "Other": {"CoLA": 50.0}},
        "here": "a few <sentences>",
        "there": "all of them",
    }
    return Exhibit(**(given | changes))


def setting(root: Path) -> Setting:
    """A setting without data."""
    pairs = Pairs("none", (), 0, 0, 0)
    return Setting(
        scale="tiny",
        about="nothing",
        root=root,
        seeds=1,
        machine=Machine("no machine", 1e9),
        pairs=pairs,
        ablation_pairs=pairs,
        recipe="tiny",
        ablation="-tiny",
        finetuning="tiny",
        start="new:tiny",
        bert="new:tiny",
        tasks={},
    )
