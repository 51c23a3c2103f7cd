"""A figure of the paper as SVG: rows as lines over the columns, each point with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from interbert.reproduce.cells import Figure
from interbert.webpage import COLOURS, ticks

LEFT, RIGHT, TOP, BOTTOM = 46.0, 466.0, 40.0, 190.0


def plot(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[Figure]]) -> str:
    """rows: a figure for each of the columns; what is missing leaves a gap. "" where all is missing."""
    bounds: list[float] = [
        bound
        for figures in rows.values()
        for one in figures
        if one.value is not None
        for bound in (one.value, *(one.interval or ()))
    ]
    if not bounds:
        return ""
    marks = ticks(min(bounds), max(bounds))
    low, high = min(marks[0], min(bounds)), max(marks[-1], max(bounds))

    def height(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - low) / ((high - low) or 1)

    parts = [f'<svg viewBox="0 0 480 224" role="img" aria-label="{escape(title)}">']
    for mark in marks:
        y = height(mark)
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="40" y="{y + 4:.1f}" text-anchor="end">{mark:g}</text>')
    places = [LEFT + (RIGHT - LEFT) * (at + 0.5) / len(columns) for at in range(len(columns))]
    parts += [
        f'<text x="{x:.1f}" y="210" text-anchor="middle">{escape(column)}</text>'
        for x, column in zip(places, columns, strict=True)
    ]
    for at, (name, figures) in enumerate(rows.items()):
        colour, aside = COLOURS[at % len(COLOURS)], 6.0 * (at - (len(rows) - 1) / 2)
        points = [
            (x + aside, height(one.value), one.interval)
            for x, one in zip(places, figures, strict=True)
            if one.value is not None
        ]
        parts.append(f'<text x="{LEFT + 140 * at}" y="14" style="fill:{colour}">{escape(name)}</text>')
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        parts.append(f'<polyline class="line" points="{line}" style="stroke:{colour}"/>')
        for x, y, interval in points:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:{colour}"/>')
            if interval is not None:
                y1, y2 = (height(bound) for bound in interval)
                parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" style="stroke:{colour}"/>')
    return "".join([*parts, "</svg>"])
