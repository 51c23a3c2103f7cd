"""What encoding a text file is in: UTF-8, UTF-16 with its mark, GB18030 or cp1252, in which shops' exports often are.

In: a path. Out: the name that Python's decoders take, and how many lines are broken in it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_BEYOND = re.compile(rb"[\x80-\xff]+")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class Encoding:
    """name: of the codec.  broken_lines: lines with bytes that mean nothing in it.  first: the first such, from 1."""

    name: str
    broken_lines: int = 0
    first: int | None = None


def encoding_of(path: Path) -> Encoding:
    """The encoding of a file: what its mark says, else UTF-8, or GB18030 or cp1252 where they break fewer lines.

    Reads the whole file: a Chinese title may come late. Python's GB18030 also reads GBK and GB2312. A few characters
    alone may be both ("裙" in GB18030 is "ȹ" in UTF-8) and are taken as UTF-8; so is a file most of whose lines beyond
    ASCII are good UTF-8: one broken byte does not make Chinese of every "é". Where bytes beyond ASCII stand alone
    mostly ("Größe"), it is cp1252, a western Excel's: a Chinese character has two.
    """
    with open(path, "rb") as file:
        start = file.read(4)
    for mark, name in _MARKS:
        if start.startswith(mark):
            return Encoding(name) if name == "utf-16" else _broken(path, name)
    found = _broken(path, "utf-8")
    if found.broken_lines and 2 * found.broken_lines > _beyond_ascii(path):
        other = _broken(path, "cp1252" if _stand_alone(path) else "gb18030")
        return other if other.broken_lines < found.broken_lines else found
    return found


@contextmanager
def decoded(path: Path, encoding: Encoding) -> Iterator[IO[str]]:
    """The file's text, line ends as they are. Broken bytes become U+FFFD."""
    with open(path, encoding=encoding.name, errors="replace", newline="") as file:
        yield file


def readable(text: str) -> str:
    """`text` with lone surrogates, which no file can hold, as U+FFFD; those that make a pair become its character.

    >>> readable("caf\\udce9"), readable("\\ud83d\\udc36")
    ('caf\\ufffd', '\\U0001f436')
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _stand_alone(path: Path) -> bool:
    """Whether most runs of bytes beyond ASCII are of one byte."""
    alone = several = 0
    with open(path, "rb") as file:
        for line in file:
            runs = _BEYOND.findall(line)
            alone += sum(len(run) == 1 for run in runs)
            several += sum(len(run) > 1 for run in runs)
    return alone > several


def _beyond_ascii(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(not line.isascii() for line in file)


def _broken(path: Path, name: str) -> Encoding:
    count, first = 0, None
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(name)
            except UnicodeDecodeError:
                count, first = count + 1, first or number
    return Encoding(name, count, first)
