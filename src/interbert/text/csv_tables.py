"""Rows of csv tables, and what a quote that does not close has swallowed: counted by its lines, not as one row.

In: lines of text. Out: rows with their place, and why one cannot be read.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

SWALLOWED, ALIKE = 3, 0.8  # a cell of so many inner lines, of which this share has the table's columns, is rows


class TableRow(NamedTuple):
    """A row. first, last: its lines in the file, from 1.  broken: why it cannot be read, "" where it can."""

    first: int
    last: int
    cells: list[str]
    broken: str = ""

    @property
    def lines(self) -> int:
        """How many lines it takes."""
        return self.last - self.first + 1

    @property
    def place(self) -> str:
        """ "line 7" or "lines 7 to 9"."""
        return f"line {self.last}" if self.lines == 1 else f"lines {self.first} to {self.last}"


def delimiter_of(line: str) -> str:
    """What divides a csv's first line: a comma, or where it has none a semicolon or tab, as Excel has them.

    >>> delimiter_of("image,title; long"), delimiter_of("image;title"), delimiter_of("image")
    (',', ';', ',')
    """
    return "," if "," in line else max(",;\t", key=line.count)


def csv_reader(lines: Iterable[str], delimiter: str | None = None, *, quoted: bool = True) -> Any:
    """A `csv.reader` that refuses broken quotes and takes cells of any length. delimiter: None: by the first line."""
    if delimiter is None:
        first = next(iter(lines := iter(lines)), "")
        delimiter, lines = delimiter_of(first), itertools.chain([first], lines)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # texts may be longer than the 131,072 characters it allows
    how: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=delimiter, quoting=how, skipinitialspace=True, strict=True)


def table_rows(rows: Any, header: Sequence[str]) -> Iterator[TableRow]:
    """What a `csv_reader` has left below its header. Blank lines are no rows."""
    while True:
        first = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:  # the reader goes on behind all that it has read
            yield TableRow(first, rows.line_num, [], str(error))
            continue
        if cells:
            yield TableRow(first, rows.line_num, cells, _broken(cells, header, rows.dialect.delimiter))


def _broken(cells: Sequence[str], header: Sequence[str], delimiter: str) -> str:
    if len(cells) != len(header):
        return f"got {len(cells)} columns, wanted {len(header)}: {', '.join(header)}"
    if any(_is_rows(cell, len(header), delimiter) for cell in cells):
        return "a quote closes lines after the row that it began in"
    return ""


def _is_rows(cell: str, columns: int, delimiter: str) -> bool:
    """Whether a cell's inner lines are rows of the table themselves."""
    inner = cell.splitlines()[1:-1] if "\n" in cell else []
    alike = sum(line.count(delimiter) == columns - 1 for line in inner)
    return columns > 1 and len(inner) >= SWALLOWED and alike >= ALIKE * len(inner)
