"""Tables and figures as plain data: cells that read figures of steps, beside what the paper printed.

In: results of steps by name. Out: of each cell a figure with its interval, or the reason why there is none.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from interbert.reproduce.steps import Step

STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 97.5 % points of t, from 1 degree on
NORMAL = 1.95996  # and without end
NOT_YET = "not run yet"


@dataclass(frozen=True)
class Reading:
    """One number of a step's result: its "metrics" under `metric`, and there `part`."""

    step: Step
    metric: str
    part: str = "value"


@dataclass(frozen=True)
class Cell:
    """A figure of a table. seeds: for each seed the readings that `combine` makes one number of.

    combine: the mean of all, or the mean of the first half of them less that of the second.  missing: why there is
    none, where that is known beforehand.
    """

    row: str
    column: str
    seeds: tuple[tuple[Reading, ...], ...] = ()
    combine: Literal["mean", "difference"] = "mean"
    missing: str = ""

    @property
    def name(self) -> str:
        """As `--only` and `--list` have it."""
        return f"{self.row} / {self.column}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """What it reads."""
        return tuple(reading.step for readings in self.seeds for reading in readings)


@dataclass(frozen=True)
class Row:
    """A row of ours, and the paper's row that it stands beside. plotted: whether a plot has its line."""

    name: str
    beside: str | None = None
    plotted: bool = True


@dataclass(frozen=True)
class Exhibit:
    """A table or figure of the paper. columns, rows: in order. here, there: data and sizes, ours and the paper's.

    published: the paper's numbers in percent, row -> column -> number; what it has not is not there.
    plot: over what the columns stand, where they are the places of an axis and each row is a line.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    published: Mapping[str, Mapping[str, float]]
    here: str
    there: str
    seeds: int = 1
    notes: tuple[str, ...] = ()
    plot: str | None = None


@dataclass(frozen=True)
class Result:
    """What became of a step. failure: why it is not done, "" where it is or was not tried.

    finished: when it was done, in seconds since 1970.
    """

    done: bool = False
    seconds: float = 0.0
    found: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""
    program: str = ""
    finished: float = 0.0


@dataclass(frozen=True)
class Figure:
    """What stands in a cell, in percent. interval: 95 %.  spread: over seeds.  missing: why there is no value."""

    value: float | None = None
    interval: tuple[float, float] | None = None
    spread: float | None = None
    values: tuple[float, ...] = ()
    missing: str = ""


def steps_of(cells: Iterable[Cell]) -> list[Step]:
    """Every step that the cells need, once, each after what it needs."""
    found: dict[str, Step] = {}

    def add(step: Step) -> None:
        if step.name not in found:
            for other in step.needs:
                add(other)
            found[step.name] = step

    for cell in cells:
        for step in cell.steps:
            add(step)
    return list(found.values())


def figure(cell: Cell, results: Mapping[str, Result]) -> Figure:
    """The cell's figure.

    The interval of a lone reading is over the examples of the test (of several seeds, the mean of their intervals);
    of a mean or a difference of readings it is Student's over the seeds. The spread is the sample's deviation.
    """
    if cell.missing or not cell.seeds:
        return Figure(missing=cell.missing or "it is not measured")
    values: list[float] = []
    intervals: list[tuple[float, float]] = []
    for readings in cell.seeds:
        found = [_read(reading, results) for reading in readings]
        if missing := [one for one in found if isinstance(one, str)]:
            return Figure(missing=missing[0])
        numbers = [one for one in found if not isinstance(one, str)]
        values.append(_combined([value for value, _ in numbers], cell.combine))
        intervals += [interval for _, interval in numbers if interval is not None]
    if len(cell.seeds[0]) == 1:
        interval = _mean_interval(intervals) if len(intervals) == len(values) else None
    else:
        interval = over_seeds(values)
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Figure(statistics.fmean(values), interval, spread, tuple(values))


def _read(reading: Reading, results: Mapping[str, Result]) -> tuple[float, tuple[float, float] | None] | str:
    """(value, interval) in percent, or why there is none."""
    result = results.get(reading.step.name, Result())
    if not result.done:
        return result.failure or NOT_YET
    one = result.found.get("metrics", {}).get(reading.metric, {})
    value, interval = one.get(reading.part), one.get("interval") if reading.part == "value" else None
    if value is None or math.isnan(value):
        return f"the data give no {reading.metric.replace('_', ' ')}"
    return 100 * value, None if interval is None else (100 * interval[0], 100 * interval[1])


def _combined(values: Sequence[float], how: Literal["mean", "difference"]) -> float:
    half = len(values) // 2
    return (
        statistics.fmean(values) if how == "mean" else statistics.fmean(values[:half]) - statistics.fmean(values[half:])
    )


def _mean_interval(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    lows, highs = zip(*intervals, strict=True)
    return statistics.fmean(lows), statistics.fmean(highs)


def over_seeds(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95 % interval of the mean; None of one.

    >>> [round(bound, 2) for bound in over_seeds([1.0, 2.0, 3.0])]        # 2 +- 4.303 * 1 / sqrt(3)
    [-0.48, 4.48]
    """
    degrees = len(values) - 1
    if degrees < 1:
        return None
    half = _student(degrees) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values) - half, statistics.fmean(values) + half


def _student(degrees: int) -> float:
    """The 97.5 % point of Student's t; of many degrees by its expansion in their inverse.

    >>> round(_student(10), 2), round(_student(1000), 2)
    (2.23, 1.96)
    """
    if degrees <= len(STUDENT):
        return STUDENT[degrees - 1]
    z = NORMAL
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def chosen(exhibits: Sequence[Exhibit], only: Sequence[str]) -> Iterator[Cell]:
    """The cells whose name contains one of the texts, whatever their case; without texts all."""
    for exhibit in exhibits:
        for cell in exhibit.cells:
            if not only or any(text.casefold() in cell.name.casefold() for text in only):
                yield cell
