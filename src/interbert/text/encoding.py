"""What encoding a text file is in: UTF-8, UTF-16 with its mark, or GB18030, in which shops' exports often are.

In: a path. Out: the name that Python's decoders take, and how many lines are broken in it.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class Encoding:
    """name: of the codec.  broken_lines: lines with bytes that mean nothing in it.  first: the first such, from 1."""

    name: str
    broken_lines: int = 0
    first: int | None = None


def encoding_of(path: Path) -> Encoding:
    """The encoding of a file: what its mark says, else UTF-8 or GB18030, whichever breaks fewer lines.

    Reads the whole file: a Chinese title may come late. Python's GB18030 also reads GBK and GB2312. A few characters
    alone may be both ("裙" in GB18030 is "ȹ" in UTF-8) and are taken as UTF-8.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    for mark, name in _MARKS:
        if start.startswith(mark):
            return Encoding(name) if name == "utf-16" else _broken(path, name)
    found = _broken(path, "utf-8")
    if found.broken_lines:
        other = _broken(path, "gb18030")
        return other if other.broken_lines < found.broken_lines else found
    return found


@contextmanager
def decoded(path: Path, encoding: Encoding) -> Iterator[IO[str]]:
    """The file's text, line ends as they are. Broken bytes become U+FFFD."""
    with open(path, encoding=encoding.name, errors="replace", newline="") as file:
        yield file


def _broken(path: Path, name: str) -> Encoding:
    count, first = 0, None
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(name)
            except UnicodeDecodeError:
                count, first = count + 1, first or number
    return Encoding(name, count, first)
