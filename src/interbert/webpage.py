"""Pages that stand alone: one HTML file without scripts, its pictures and curves inside it. Used by the reports."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw

from interbert.files import whole_file
from interbert.vision.images import ImageError, open_image

Box = tuple[float, float, float, float]
BOX_COLOUR = "#e07a1f"
THUMBNAIL_PIXELS = 144  # of the longer side, shown at half of it where the screen is dense
STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#667085;--line:#e4e7ec;--ground:#fbfbfd;--card:#fff;--good:#0a8754;
--one:#2f6fed;--two:#e07a1f;--three:#8a4fd3;--four:#0a8754}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaee;--soft:#98a2b3;--line:#2c323b;--ground:#14171c;--card:#1c2027;
--good:#3ecf8e;--one:#7aa5ff;--two:#ffab5e;--three:#c39bff;--four:#3ecf8e}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1080px;margin:0 auto;padding:48px 24px 96px}
h1{font-size:2rem;line-height:1.2;letter-spacing:-.02em;margin:0 0 12px}
h2{font-size:1.3rem;letter-spacing:-.01em;margin:0 0 4px}
p{margin:0 0 12px;max-width:70ch}.soft{color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:22px 24px;margin:22px 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%}
th,td{text-align:left;padding:7px 16px 7px 0;border-bottom:1px solid var(--line)}th{font-weight:600}
td.number,th.number{text-align:right}
.row{display:grid;grid-template-columns:repeat(10,minmax(0,1fr));gap:10px;margin:8px 0 18px}
.figures{overflow-x:auto}.figures td{white-space:nowrap;vertical-align:top}
.figures small{display:block;color:var(--soft);font-size:.74rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:6px 22px;margin:14px 0 0}
.cards .row{grid-template-columns:repeat(2,minmax(0,1fr))}
@media (max-width:760px){.row{grid-template-columns:repeat(5,minmax(0,1fr))}main{padding:28px 14px 60px}}
figure{margin:0;min-width:0}figure img{width:100%;aspect-ratio:1;object-fit:contain;background:#fff;display:block;
border:1px solid var(--line);border-radius:10px}
figure.right img{border:2px solid var(--good)}
figcaption{font-size:.74rem;line-height:1.3;margin-top:4px;color:var(--soft);overflow-wrap:anywhere}
figcaption b{color:var(--ink);font-weight:600;font-variant-numeric:tabular-nums}
.right figcaption b::after{content:" \\2713";color:var(--good)}
.label{font-size:.78rem;font-weight:600;letter-spacing:.04em;text-transform:uppercase;color:var(--soft)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:22px}
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}
svg .axis{stroke:var(--line)}svg .line{fill:none;stroke-width:1.8;stroke-linejoin:round}
footer{color:var(--soft);font-size:.85rem;margin-top:36px}
"""
COLOURS = ("var(--one)", "var(--two)", "var(--three)", "var(--four)")
Points = Sequence[tuple[float, float]]


def write_page(out: Path, title: str, body: str) -> None:
    """One HTML file. body: HTML whose texts are escaped already."""
    with whole_file(out) as file:
        file.write(
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; style-src '
            f"'unsafe-inline'\">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
            f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
        )


def picture_uri(picture: Path | Image.Image, pixels: int = THUMBNAIL_PIXELS, boxes: Sequence[Box] = ()) -> str | None:
    """A small copy as a data URI, upright and with its boxes, or None where there is no picture that can be read.

    boxes: (x1, y1, x2, y2) in shares of width and height.
    """
    try:
        small = open_image(picture)
    except ImageError:
        return None
    small.thumbnail((pixels, pixels))
    pen, right, bottom = ImageDraw.Draw(small), small.width - 1, small.height - 1
    for x1, y1, x2, y2 in boxes:
        pen.rectangle((x1 * right, y1 * bottom, x2 * right, y2 * bottom), outline=BOX_COLOUR)
    encoded = io.BytesIO()
    small.save(encoded, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(encoded.getvalue()).decode()


def figure(uri: str | None, caption: str, score: float | None, *, right: bool = False) -> str:
    """A picture with its score, where it has one, and a caption; `right` marks it."""
    picture = f'<img src="{uri}" alt="{escape(caption)}">' if uri else '<img alt="the picture is not there any more">'
    marked = ' class="right"' if right else ""
    number = "" if score is None else f"<b>{score:.2f}</b> "
    return f"<figure{marked}>{picture}<figcaption>{number}{escape(caption)}</figcaption></figure>"


def chart(title: str, series: Mapping[str, Points]) -> str:
    """Lines over the steps as SVG. series: name -> (step, value) in order; what is not finite is left out."""
    lines = {name: _thinned([(x, y) for x, y in points if math.isfinite(y)]) for name, points in series.items()}
    lines = {name: points for name, points in lines.items() if points}
    values = [y for points in lines.values() for _, y in points]
    if not values:
        return ""
    low, high = min(values), max(values)
    marks = ticks(low, high)
    low, high = min(low, marks[0]), max(high, marks[-1])
    last = max(x for points in lines.values() for x, _ in points)
    first = min(x for points in lines.values() for x, _ in points)

    def place(x: float, y: float) -> tuple[float, float]:
        across = 46 + 420 * (x - first) / ((last - first) or 1)
        return across, 190 - 150 * (y - low) / ((high - low) or 1)

    parts = [f'<svg viewBox="0 0 480 224" role="img" aria-label="{escape(title)}">']
    parts.append(f'<text x="0" y="14" style="font-weight:600">{escape(title)}</text>')
    for tick in marks:
        y = place(first, tick)[1]
        parts.append(f'<line class="axis" x1="46" x2="466" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="40" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for x, anchor in [(first, "start"), (last, "end")][: 1 + (last > first)]:
        parts.append(f'<text x="{place(x, low)[0]:.1f}" y="208" text-anchor="{anchor}">{x:,.0f}</text>')
    for at, (name, points) in enumerate(lines.items()):
        colour = COLOURS[at % len(COLOURS)]
        parts.append(_line([place(x, y) for x, y in points], colour))
        parts.append(f'<text x="{466 - 92 * at}" y="14" text-anchor="end" style="fill:{colour}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def _thinned(points: Points, most: int = 150) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of neighbours.

    >>> _thinned([(0, 1.0), (1, 3.0), (2, 5.0), (3, 7.0)], most=2)
    [(0.5, 2.0), (2.5, 6.0)]
    """
    size = math.ceil(len(points) / most) or 1
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _line(points: list[tuple[float, float]], colour: str) -> str:
    if len(points) == 1:
        return f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3" style="fill:{colour}"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="line" points="{path}" style="stroke:{colour}"/>'


def ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers that hold low and high between them.

    >>> ticks(0.12, 0.93)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if low == high:
        low, high = min(0.0, 2 * high), max(0.0, 2 * high)
    span = (high - low) or 1.0
    unit = 10 ** math.floor(math.log10(span / 3))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if span / (unit * factor) <= 4.5)
    first = math.floor(low / step)
    count = math.ceil(high / step) - first
    return [round((first + at) * step, 10) for at in range(count + 1)]
