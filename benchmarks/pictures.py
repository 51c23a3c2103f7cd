"""Curves as SVG, for the pages of docs/."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from interbert.webpage import ticks

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 260, 48, 540, 36, 222
STYLE = "text{font:11px sans-serif;fill:#444}.axis{stroke:#ddd}.data{fill:none;stroke-width:1.6}"


@dataclass(frozen=True)
class Curve:
    """name: "" for one that the key leaves out.  points: (x, y), x rising."""

    name: str
    colour: str
    points: list[tuple[float, float]]


def curves_drawn(title: str, curves: list[Curve]) -> str:
    """One picture, both axes linear."""
    xs, ys = ([point[axis] for curve in curves for point in curve.points] for axis in (0, 1))
    across, up = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    left, right = min(*xs, *across), max(*xs, *across)
    low, high = min(*ys, *up), max(*ys, *up)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (RIGHT - LEFT) * (x - left) / ((right - left) or 1),
            BOTTOM - (BOTTOM - TOP) * (y - low) / ((high - low) or 1),
        )

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
             f'<style>{STYLE}</style><text x="{LEFT}" y="16">{escape(title)}</text>']  # fmt: skip
    for mark in up:
        y = place(left, mark)[1]
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{mark:g}</text>')
    for mark in across:
        parts.append(f'<text x="{place(mark, low)[0]:.1f}" y="{BOTTOM + 18}" text-anchor="middle">{mark:g}</text>')
    named = [curve for curve in curves if curve.name]
    for at, curve in enumerate(named):
        x = RIGHT - 70 * (len(named) - at)
        parts.append(f'<text x="{x}" y="16" style="fill:{curve.colour}">{escape(curve.name)}</text>')
    for curve in curves:
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curve.points))
        parts.append(f'<polyline class="data" style="stroke:{curve.colour}" points="{line}"/>')
    return "".join([*parts, "</svg>\n"])
