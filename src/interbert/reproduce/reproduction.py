"""`interbert reproduce`: tables of the paper at a scale, in a folder that remembers what it was begun with.

DIR holds the steps' folders, `steps/` (what became of each), `reproduce.json` (scale, data, tables, Figure 3's init)
and the reports.
"""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from interbert.errors import InterbertError, UsageError
from interbert.files import write_json
from interbert.pretraining.run import init_folder
from interbert.reproduce.cells import Cell, Exhibit, Result, chosen, figure, steps_of
from interbert.reproduce.report import report_files, write_reports
from interbert.reproduce.running import do_steps, readable, results_of, seconds_left
from interbert.reproduce.scales import LAYOUT, setting_of
from interbert.reproduce.setting import Setting
from interbert.reproduce.tables import EXHIBITS, exhibits_of

log = logging.getLogger(__name__)
STATE = "reproduce.json"
FIGURE3 = "figure3"


@dataclass(frozen=True)
class Wanted:
    """What is asked for: a table or "all", the scale, DIR, and as the options have them data, seeds, cells and init."""

    table: str
    scale: str
    out: Path
    data: Path | None = None
    seeds: int = 1
    only: tuple[str, ...] = ()
    init: str | None = None

    def setting(self) -> Setting:
        """The scale on its data. Raises UsageError where no figure that is wanted begins with `init`."""
        if self.init is not None and self.table not in (FIGURE3, "all"):
            raise UsageError(f"--init: of Figure 3 alone; {self.table} begins as the scale '{self.scale}' has it")
        return _begun_with(self.init, setting_of(self.scale, self.out, self.data, self.seeds))

    def command(self) -> str:
        """What goes on with it."""
        words = ["interbert", "reproduce", self.table, "--scale", self.scale, "--out", str(self.out)]
        words += [] if self.data is None else ["--data", str(self.data)]
        words += [] if self.seeds == 1 else ["--seeds", str(self.seeds)]
        words += [] if self.init is None else ["--init", self.init]
        return shlex.join([*words, *(word for text in self.only for word in ("--only", text))])


def reproduce(wanted: Wanted, *, progress: bool = False) -> dict[str, Any]:
    """Does what is not done of the steps that the wanted cells need, and writes the reports of all tables of DIR.

    Returns what report.json holds, with "missing", the number of wanted cells without a figure. On Ctrl-C what is done
    is kept and in the reports. Raises UsageError for data or an init that are not there, InterbertError where DIR was
    begun with others.
    """
    if wanted.data is None and wanted.scale in LAYOUT:
        raise UsageError(f"--data: the scale '{wanted.scale}' reads a folder with {LAYOUT[wanted.scale]}")
    setting = wanted.setting()
    if wanted.init is not None:
        init_folder(wanted.init)
    asked = exhibits_of(wanted.table, setting)
    steps = steps_of(_chosen(asked, wanted.only))
    shown = _remembered(wanted, setting, asked)
    every = {step.name: step for step in steps_of(cell for exhibit in shown for cell in exhibit.cells)}
    known = results_of(list(every.values()))
    for reason in dict.fromkeys(cell.missing for exhibit in asked for cell in exhibit.cells if cell.missing):
        log.warning("some figures are left out: %s", reason)

    def report(now: Mapping[str, Result]) -> None:
        write_reports(setting, shown, known | dict(now))

    try:
        known |= do_steps(steps, progress=progress, after=report)
    except (KeyboardInterrupt, SystemExit):
        write_reports(setting, shown, results_of(list(every.values())))
        log.warning("stopped; what is done is kept. Go on with:  %s", wanted.command())
        raise
    found = write_reports(setting, shown, known)
    missing = sum(figure(cell, known).value is None for cell in _chosen(asked, wanted.only))
    return found | {"missing": missing, "report": str(report_files(wanted.out)[0])}


def _begun_with(init: str | None, of: Setting) -> Setting:
    """Figure 3's pretraining begins with `init`; None leaves it as the scale has it."""
    return of if init is None or of.shop is None else replace(of, shop=of.shop.begun_with(init))


def _chosen(exhibits: Sequence[Exhibit], only: Sequence[str]) -> list[Cell]:
    cells = list(chosen(exhibits, only))
    if not cells:
        names = ", ".join(dict.fromkeys(cell.name for exhibit in exhibits for cell in exhibit.cells))
        raise UsageError(f"--only: no cell's name contains {' or '.join(map(repr, only))}; the cells: {names}")
    return cells


def _remembered(wanted: Wanted, setting: Setting, asked: Sequence[Exhibit]) -> list[Exhibit]:
    """Every table that DIR was asked for, now or before, in the paper's order; and remembers those of now."""
    file = wanted.out / STATE
    data = None if wanted.data is None else str(wanted.data.resolve())
    names = [exhibit.name for exhibit in asked]
    state: dict[str, Any] = {"scale": wanted.scale, "data": data, "tables": {}}
    if FIGURE3 in names:
        state["init"] = wanted.init
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        _refuse_others(wanted.out, state, before, with_init=FIGURE3 in names and FIGURE3 in before["tables"])
        state = before | state | {"tables": before["tables"]}
    elif wanted.out.is_dir() and any(wanted.out.iterdir()):
        raise UsageError(f"--out: '{wanted.out}' holds something else; give a new folder")
    state["tables"] |= dict.fromkeys(names, setting.seeds)
    wanted.out.mkdir(parents=True, exist_ok=True)
    write_json(file, state)
    seeds, of = state["tables"], _begun_with(state.get("init"), setting)
    return [make(replace(of, seeds=seeds[name])) for name, make in EXHIBITS.items() if name in seeds]


def _refuse_others(out: Path, now: Mapping[str, Any], before: Mapping[str, Any], *, with_init: bool) -> None:
    """Raises InterbertError where DIR was begun with another scale or data, or its Figure 3 with another init."""
    for name in ("scale", "data", "init") if with_init else ("scale", "data"):
        if before.get(name) != now[name]:
            whose = f"Figure 3 of '{out}'" if name == "init" else f"'{out}'"
            raise InterbertError(
                f"{whose} was begun with {name} {before.get(name)}, not {now[name]}; give another --out"
            )


def listed(wanted: Wanted) -> dict[str, Any]:
    """What `reproduce` would do: steps with their commands, costs and whether they are done, and the cells' names.

    Where no data are given, their folder is called DATA and nothing is looked for.
    """
    setting = wanted.setting()
    exhibits = exhibits_of(wanted.table, setting)
    cells = _chosen(exhibits, wanted.only)
    steps = steps_of(cells)
    results = results_of(steps)
    to_do = [step for step in steps if not results[step.name].done]
    return {
        "scale": wanted.scale,
        "machine": setting.machine.name,
        "steps": [
            {
                "name": step.name,
                "done": results[step.name].done,
                "operations": step.cost.operations,
                "seconds": step.cost.seconds,
                "command": shlex.join(step.command()),
            }
            for step in steps
        ],
        "seconds_left": seconds_left(steps, to_do, results),
        "cells": [{"name": cell.name, "missing": cell.missing or None} for cell in cells],
    }


def listed_lines(found: dict[str, Any]) -> list[str]:
    """The list for people."""
    lines = [f"On {found['machine']}, roughly:"]
    for at, step in enumerate(found["steps"], 1):
        work = f", {step['operations'] / 1e15:.3g} PFLOP" if step["operations"] else ""
        state = "done" if step["done"] else f"about {readable(step['seconds'])}{work}"
        lines += [f"{at:>3}  {step['name']}  ({state})", f"       {step['command']}"]
    lines.append(f"left: about {readable(found['seconds_left'])}")
    lines.append("cells: " + ", ".join(cell["name"] for cell in found["cells"]))
    return [*lines, *(f"missing: {cell['name']}: {cell['missing']}" for cell in found["cells"] if cell["missing"])]
