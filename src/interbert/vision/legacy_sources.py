"""What an importer walks through: a file or folder of another project as a row of items, each read when it is wanted.

In: a path. Out: `Item`s with their id and place; an item that is known already costs no decoding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from interbert.errors import InterbertError, UsageError
from interbert.vision.legacy_records import Found


class Place(NamedTuple):
    """Where an importer is: so many lines and bytes are behind it."""

    line: int = 0
    offset: int = 0


class Item(NamedTuple):
    """A picture of a source. name: where it stands ("line 7").  after: the place behind it.  size: in units of `total`.

    read: what the file says of it; raises Unusable (or PickleRefused) where that cannot be used.
    """

    id: str
    name: str
    after: Place
    size: int
    read: Callable[[], Found]


class Source(ABC):
    """A file or folder in one format. Raises UsageError where it is not there, InterbertError where it is not one."""

    unit = "B"  # of `total`: bytes, or records
    resumes = False  # whether `items` can begin at a place without reading what is before it

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise UsageError(f"'{path}' does not exist; give a file or folder of features")

    def file(self) -> Path:
        """The file whose size and time of change tell whether the source is as it was."""
        return self.path

    @abstractmethod
    def total(self) -> int:
        """How much there is, in units."""

    @abstractmethod
    def items(self, start: Place) -> Iterator[Item]:
        """The pictures behind `start`, in order."""


def files_below(folder: Path, suffix: str) -> list[str]:
    """Paths of a folder's files, its subfolders' too, relative to it and in order. Raises InterbertError for none."""
    if folder.is_file():
        raise InterbertError(f"'{folder}' is a file; give the folder of {suffix} files")
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob(f"*{suffix}") if path.is_file())
    if not found:
        raise InterbertError(f"'{folder}' has no {suffix} files in it")
    return found
