"""`report.html`, `report.md` and `report.json` of DIR: our figures, the paper's beside them, and what made ours."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from interbert.files import whole_file, write_json
from interbert.reproduce.cells import Exhibit, Figure, Result, figure, steps_of
from interbert.reproduce.plot import plot
from interbert.reproduce.running import readable
from interbert.reproduce.setting import Setting
from interbert.reproduce.steps import Step
from interbert.webpage import write_page

LEGEND = (
    "In percent. In brackets the 95 % interval: of one figure over the examples of its test (of several seeds, the "
    "mean of their intervals), of means and differences of figures over the seeds. ± is the spread over seeds."
)
STYLE = """<style>main{max-width:1280px}.wide{overflow-x:auto;margin:0 0 14px}
.tables td,.tables th{padding:7px 0 7px 12px;vertical-align:top}
.tables td:first-child,.tables th:first-child{padding-left:0}
.tables td.number,.tables td:first-child{white-space:nowrap}.tables th.number{vertical-align:bottom}
.tables small{display:block;color:var(--soft);font-size:.68rem}.tables tr.paper td{color:var(--soft)}
code{font-size:.78rem;overflow-wrap:anywhere}</style>"""
Figures = Mapping[tuple[str, str], Figure]


def write_reports(of: Setting, exhibits: Sequence[Exhibit], results: Mapping[str, Result]) -> dict[str, Any]:
    """Writes the three files into DIR. Returns what report.json holds."""
    steps = steps_of(cell for exhibit in exhibits for cell in exhibit.cells)
    figures = {exhibit.name: figures_of(exhibit, results) for exhibit in exhibits}
    found = as_json(of, exhibits, figures, steps, results)
    write_json(of.root / "report.json", found)
    with whole_file(of.root / "report.md") as file:
        file.write("\n".join(_markdown(of, exhibits, figures, steps, results)) + "\n")
    body = "\n".join(_page(of, exhibits, figures, steps, results))
    write_page(of.root / "report.html", f"{_title(exhibits)}, scale {of.scale}", body)
    return found


def figures_of(exhibit: Exhibit, results: Mapping[str, Result]) -> Figures:
    """(row, column) -> figure of every cell."""
    return {(cell.row, cell.column): figure(cell, results) for cell in exhibit.cells}


def as_json(
    of: Setting,
    exhibits: Sequence[Exhibit],
    figures: Mapping[str, Figures],
    steps: Sequence[Step],
    results: Mapping[str, Result],
) -> dict[str, Any]:
    """What report.json holds."""
    return {
        "scale": of.scale,
        "programs": programs(steps, results),
        "seconds": sum(results[step.name].seconds for step in steps),
        "tables": [
            {
                "name": exhibit.name,
                "title": exhibit.title,
                "seeds": exhibit.seeds,
                "here": exhibit.here,
                "paper": exhibit.there,
                "cells": [
                    {"row": row, "column": column} | _json_figure(one)
                    | {"paper": _beside(exhibit, row).get(column)}
                    for (row, column), one in figures[exhibit.name].items()
                ],
            }
            for exhibit in exhibits
        ],
        "steps": [_json_step(step, results[step.name]) for step in steps],
    }  # fmt: skip


def _json_figure(one: Figure) -> dict[str, Any]:
    return {
        "value": one.value,
        "interval": one.interval,
        "spread": one.spread,
        "values": one.values,
        "missing": one.missing or None,
    }


def _json_step(step: Step, result: Result) -> dict[str, Any]:
    kept = {
        "done": result.done,
        "seconds": result.seconds,
        "program": result.program,
        "failure": result.failure or None,
    }
    plan = step.setting().get("plan")
    return {"name": step.name, "command": step.command(), "plan": plan, **kept, "found": result.found}


def _beside(exhibit: Exhibit, row: str) -> Mapping[str, float]:
    """The paper's numbers that a row of ours stands beside."""
    beside = next((one.beside for one in exhibit.rows if one.name == row), None)
    return exhibit.published.get(beside, {}) if beside is not None else {}


def programs(steps: Sequence[Step], results: Mapping[str, Result]) -> list[str]:
    """The versions of the program that did the steps."""
    return sorted({results[step.name].program for step in steps} - {""})


def _title(exhibits: Sequence[Exhibit]) -> str:
    return ", ".join(exhibit.title.partition(":")[0] for exhibit in exhibits)


def _lines_of(exhibit: Exhibit) -> Iterator[tuple[str, bool]]:
    """(name of a row, whether it is ours), each of the paper's under ours that it stands beside, the others last."""
    beside = {row.beside for row in exhibit.rows}
    for row in exhibit.rows:
        yield row.name, True
        if row.beside is not None and row.beside in exhibit.published:
            yield row.beside, False
    yield from ((name, False) for name in exhibit.published if name not in beside)


def _shown(one: Figure | None) -> tuple[str, str]:
    """A figure in words, and its interval and spread; what is missing is a dash.

    >>> _shown(Figure(61.94, (60.0, 63.2), 0.5, (61.4, 62.5)))
    ('61.9', '(60.0 to 63.2) ± 0.5')
    """
    if one is None or one.value is None:
        return "–", ""
    parts = [] if one.interval is None else [f"({one.interval[0]:.1f} to {one.interval[1]:.1f})"]
    parts += [] if one.spread is None else [f"± {one.spread:.1f}"]
    return f"{one.value:.1f}", " ".join(parts)


def missing_of(exhibit: Exhibit, figures: Figures) -> list[str]:
    """A sentence for each reason why figures are missing, with how many of them."""
    reasons: dict[str, list[str]] = {}
    for (row, column), one in figures.items():
        if one.missing:
            reasons.setdefault(one.missing, []).append(f"{row} / {column}")
    return [f"{_few(names)}: {reason}" for reason, names in reasons.items()]


def _few(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _facts(of: Setting, steps: Sequence[Step], results: Mapping[str, Result]) -> str:
    done = [step for step in steps if results[step.name].done]
    seconds = sum(results[step.name].seconds for step in steps)
    by = ", ".join(programs(steps, results)) or "nothing yet"
    return f"{len(done)} of {len(steps)} steps done in {readable(seconds)}, scale {of.scale}; interbert {by}."


def _here(exhibit: Exhibit) -> str:
    return f"{exhibit.here}; {'one seed' if exhibit.seeds == 1 else f'{exhibit.seeds} seeds'}."


def _of_data(found: Mapping[str, Any]) -> str:
    """What a step says of data: counts and digest, in words.

    >>> _of_data({"texts": 1200, "pictures": 400, "hash": "ab12", "seconds": 3})
    '1,200 texts, 400 pictures, sha256 ab12'
    """
    names = ("texts", "pictures", "failed", "captions", "questions", "examples", "stand_ins", "left_out", "steps")
    inner = found.get("summary", {}) if isinstance(found.get("summary"), Mapping) else {}
    counts = {name: inner.get(name, found.get(name)) for name in names}
    said = [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if isinstance(count, int) and count]
    digest = found.get("hash") or (found.get("data") or {}).get("hash")
    return ", ".join([*said, *([f"sha256 {digest}"] if digest else [])])


def _markdown(
    of: Setting,
    exhibits: Sequence[Exhibit],
    figures: Mapping[str, Figures],
    steps: Sequence[Step],
    results: Mapping[str, Result],
) -> Iterator[str]:
    yield from (
        f"# {_title(exhibits)}, scale `{of.scale}`",
        "",
        _facts(of, steps, results),
        "",
        f"{LEGEND} {of.beside}",
    )
    for exhibit in exhibits:
        yield from ("", f"## {exhibit.title}", "", f"Here: {_here(exhibit)}", "", f"The paper: {exhibit.there}.", "")
        yield "| | " + " | ".join(exhibit.columns) + " |"
        yield "|---|" + "---|" * len(exhibit.columns)
        for name, ours in _lines_of(exhibit):
            found = figures[exhibit.name]
            cells = (
                [" ".join(filter(None, _shown(found.get((name, column))))) for column in exhibit.columns]
                if ours
                else [_number(exhibit.published[name].get(column)) for column in exhibit.columns]
            )
            yield f"| {name}{', here' if ours else ', paper'} | " + " | ".join(cells) + " |"
        yield ""
        yield from (f"- {note}" for note in exhibit.notes)
        yield from (f"- Missing: {sentence}." for sentence in missing_of(exhibit, figures[exhibit.name]))
    yield from ("", "## How", "", "| step | seconds | data | command |", "|---|---|---|---|")
    for step, result in _tried(steps, results):
        state = f"{result.seconds:.0f}" if result.done else result.failure or "stopped"
        yield f"| {step.name} | {state} | {_of_data(result.found)} | `{shlex.join(step.command())}` |"


def _tried(steps: Sequence[Step], results: Mapping[str, Result]) -> list[tuple[Step, Result]]:
    """The steps that were begun, or could not be."""
    found = [(step, results[step.name]) for step in steps]
    return [(step, result) for step, result in found if result.done or result.seconds or result.failure]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _page(
    of: Setting,
    exhibits: Sequence[Exhibit],
    figures: Mapping[str, Figures],
    steps: Sequence[Step],
    results: Mapping[str, Result],
) -> Iterator[str]:
    yield f"{STYLE}<h1>{escape(_title(exhibits))}, scale {of.scale}</h1>"
    yield f"<p class=soft>{escape(_facts(of, steps, results))}</p><p class=soft>{escape(f'{LEGEND} {of.beside}')}</p>"
    for exhibit in exhibits:
        yield _section(exhibit, figures[exhibit.name])
    yield "<section><h2>How</h2><div class=wide><table class=tables><tr><th>step</th><th class=number>time</th>"
    yield "<th>data</th><th>command</th></tr>"
    for step, result in _tried(steps, results):
        state = readable(result.seconds) if result.done else result.failure or "stopped"
        command = escape(shlex.join(step.command()))
        yield f"<tr><td>{escape(step.name)}</td><td class=number>{escape(state)}</td>"
        yield f"<td>{escape(_of_data(result.found))}</td><td><code>{command}</code></td></tr>"
    yield "</table></div></section>"


def _section(exhibit: Exhibit, figures: Figures) -> str:
    parts = [f"<section><h2>{escape(exhibit.title)}</h2>", f"<p><b>Here:</b> {escape(_here(exhibit))}<br>"]
    parts.append(f"<span class=soft><b>The paper:</b> {escape(exhibit.there)}.</span></p>")
    if exhibit.plot is not None:
        drawn = [row.name for row in exhibit.rows if row.plotted]
        rows = {name: [figures.get((name, one), Figure()) for one in exhibit.columns] for name in drawn}
        parts.append(plot(exhibit.plot, exhibit.columns, rows))
    head = "".join(f"<th class=number>{escape(column)}</th>" for column in exhibit.columns)
    parts.append(f"<div class=wide><table class=tables><tr><th></th>{head}</tr>")
    for name, ours in _lines_of(exhibit):
        if ours:
            cells = [_shown(figures.get((name, column))) for column in exhibit.columns]
        else:
            cells = [(_number(exhibit.published[name].get(column)), "") for column in exhibit.columns]
        parts.append(_row(name, ours, cells))
    parts.append("</table></div>")
    notes = [*exhibit.notes, *(f"Missing: {sentence}." for sentence in missing_of(exhibit, figures))]
    parts += [f"<p class=soft>{escape(note)}</p>" for note in notes]
    return "".join([*parts, "</section>"])


def _row(name: str, ours: bool, cells: Sequence[tuple[str, str]]) -> str:
    said = f"<b>{escape(name)}</b>, here" if ours else f"{escape(name)}, paper"
    numbers = "".join(
        f"<td class=number>{escape(value)}{f'<small>{escape(more)}</small>' if more else ''}</td>"
        for value, more in cells
    )
    return f"<tr{'' if ours else ' class=paper'}><td>{said}</td>{numbers}</tr>"


def report_files(root: Path) -> list[Path]:
    """What `write_reports` writes."""
    return [root / f"report.{kind}" for kind in ("html", "md", "json")]
