"""The verb that makes the paper's tables and figure again: reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from interbert.cli.screen import Screen, verb

FOLDER = click.Path(path_type=Path)
IN_PART = 3


@verb(
    "reproduce",
    examples=(
        "interbert reproduce table3 --scale tiny --out tables",
        "interbert reproduce figure3 --scale tiny --out figure --seeds 2",
        "interbert reproduce all --scale small --data data --out tables --seeds 3",
        "interbert reproduce table5 --scale small --data data --out tables --only CoLA",
        "interbert reproduce all --scale paper --out tables --list",
    ),
)
@click.argument("table", type=click.Choice(["table3", "table4", "table5", "figure3", "all"]))
@click.option("--scale", required=True, type=click.Choice(["tiny", "small", "paper"]), help="How much of it.")
@click.option("--out", required=True, type=FOLDER, help="Where all of it goes, made or continued.")
@click.option(
    "--data", type=FOLDER, help="Of small and paper: the folder of the data; docs/reproduce.md has its layout."
)
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="So many runs of what is trained.")
@click.option(
    "--init",
    metavar="KIND:PATH",
    help="Of figure3: what its pretraining begins with, as interbert pretrain --init has it.",
)
@click.option("--only", multiple=True, metavar="CELL", help="Cells whose name contains this; may be given again.")
@click.option("--list", "to_list", is_flag=True, help="Every step, its command and its rough cost; nothing is done.")
def reproduce(
    screen: Screen,
    table: str,
    scale: str,
    out: Path,
    data: Path | None,
    seeds: int,
    init: str | None,
    only: tuple[str, ...],
    to_list: bool,
) -> int:
    """Make a table or a figure of the paper again.

    Trains and measures what is missing, at the scale that is chosen: tiny shows in minutes that all of it runs, small
    takes hours on two cores, paper is the paper's own setting. OUT/report.html has our figures beside the paper's. The
    same command again goes on where it stopped. Exit status 3: a figure is missing, and the report says why.
    """
    from interbert.reproduce.reproduction import Wanted, listed, listed_lines
    from interbert.reproduce.reproduction import reproduce as reproduce_tables

    wanted = Wanted(table, scale, out, data, seeds, only, init)
    if to_list:
        found = listed(wanted)
        screen.show(found, listed_lines(found))
        return 0
    found = reproduce_tables(wanted, progress=screen.progress)
    screen.show(found, _lines(found))
    return IN_PART if found["missing"] else 0


def _lines(found: dict[str, Any]) -> list[str]:
    from interbert.reproduce.cells import NOT_YET

    lines = []
    for table in found["tables"]:
        lines.append(table["title"])
        for cell in table["cells"]:
            if cell["missing"] == NOT_YET:
                continue
            value = f"missing: {cell['missing']}" if cell["value"] is None else f"{cell['value']:.1f}"
            beside = "" if cell["paper"] is None else f"   (paper {cell['paper']:.1f})"
            lines.append(f"  {cell['row']:<20} {cell['column']:<15} {value}{beside}")
    return [*lines, f"report: {found['report']}"]
