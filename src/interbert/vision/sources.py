"""Which pictures: a folder, a list or a catalogue -> ids and paths."""

from __future__ import annotations

import csv
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from interbert.errors import InterbertError
from interbert.text.csv_tables import csv_reader, table_rows
from interbert.text.encoding import readable as as_text
from interbert.vision.images import IMAGE_SUFFIXES

log = logging.getLogger(__name__)
_BESIDE = frozenset((".txt", ".csv", ".tsv", ".jsonl", ".json", ".md", ".ini", ".db", ".html", ".xml"))  # of pictures


@dataclass(frozen=True)
class ImageSource:
    """A picture's id and where its file is."""

    id: str
    path: Path


def image_sources(path: str | Path) -> list[ImageSource]:
    """The pictures of a folder (with its subfolders), a .txt list, or a .csv or .jsonl catalogue, in order.

    A list has a path a line; a catalogue has a column `image` and, if ids are to be other than the paths, `id`. Paths
    are relative to the list's folder. An id is the path relative to the folder, with /, without its suffix. A picture
    that is named again, as where each line is a caption, is taken once.
    Raises InterbertError where there is nothing, or two pictures have one id (both are named).
    """
    path = Path(path)
    if path.is_dir():
        sources = list(_of_folder(path))
        wanted = f"pictures ({', '.join(sorted(IMAGE_SUFFIXES))})"
    elif path.is_file():
        sources = list(dict.fromkeys(_of_file(path)))
        wanted = "paths of pictures"
    else:
        raise InterbertError(
            f"'{path}' does not exist; give a folder of pictures, or a .txt, .csv or .jsonl file of them"
        )
    if not sources:
        raise InterbertError(f"'{path}' has no {wanted} in it")
    check_ids(sources)
    return sources


def check_ids(sources: Iterable[ImageSource]) -> None:
    """Raises InterbertError where two sources have one id."""
    seen: dict[str, Path] = {}
    for source in sources:
        if source.id in seen:
            raise InterbertError(
                f"two pictures have the id '{source.id}': '{seen[source.id]}' and '{source.path}'; "
                "rename one or leave it out"
            )
        seen[source.id] = source.path


def _of_folder(folder: Path) -> Iterator[ImageSource]:
    others: Counter[str] = Counter()
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() in IMAGE_SUFFIXES:
                yield ImageSource(_id(path.relative_to(folder)), path)
            elif path.suffix.lower() not in _BESIDE:
                others[path.suffix.lower() or "without a suffix"] += 1
    if others:
        kinds = ", ".join(f"{kind} {count}" for kind, count in others.most_common())
        log.warning("'%s': %d files were not looked at (%s): these are no suffixes of pictures", folder,
                    others.total(), kinds)  # fmt: skip


def _of_file(path: Path) -> Iterator[ImageSource]:
    readers = {".txt": _list_rows, ".csv": _csv_rows, ".jsonl": _jsonl_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None and path.suffix.lower() in IMAGE_SUFFIXES:
        yield ImageSource(path.stem, path)
        return
    if reader is None:
        raise InterbertError(f"'{path}' is no folder, .txt list, .csv or .jsonl catalogue of pictures, nor a picture")
    try:
        for number, row in reader(path):
            image = row.get("image")
            if not isinstance(image, str) or not image:
                raise InterbertError(f"'{path}' line {number}: there is no 'image'; wanted the path of a picture")
            id = _id(PurePath(image)) if row.get("id") in (None, "") else as_text(str(row["id"]))
            yield ImageSource(id, path.parent / image)
    except (ValueError, csv.Error) as error:
        raise InterbertError(f"'{path}' cannot be read: {error}; wanted UTF-8 text as its suffix says") from error


Rows = Iterator[tuple[int, dict[str, object]]]


def _list_rows(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, {"image": line.strip()}


def _csv_rows(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv_reader(file)
        header: list[str] = next(rows, [])
        for row in table_rows(rows, header):
            if row.broken:
                raise InterbertError(f"'{path}' {row.place}: {row.broken}; mend it, or give a .jsonl")
            yield row.last, dict(zip(header, row.cells, strict=True))


def _jsonl_rows(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                row = json.loads(line)
                yield number, row if isinstance(row, dict) else {}


def _id(path: PurePath) -> str:
    return readable(PurePath(without_suffix(path.as_posix())))


def without_suffix(name: str) -> str:
    """`a/b.jpg` -> `a/b`; what is no picture's suffix stays: the picture of `dress.1` is not that of `dress`."""
    return name.rpartition(".")[0] if PurePath(name).suffix.lower() in IMAGE_SUFFIXES else name


def readable(path: PurePath) -> str:
    """A path as text that can be stored: bytes of a name that are not UTF-8 become "\N{REPLACEMENT CHARACTER}"."""
    try:
        return os.fsencode(path.as_posix()).decode("utf-8", "replace")
    except UnicodeEncodeError:  # half a character, as a JSON text may have it
        return as_text(path.as_posix())


def same_ending(path: str, *others: str) -> bool:
    """Whether a path ends with one of the others, or one of them with it, folder by folder.

    >>> same_ending("photos/a/1", "a/1"), same_ending("a/1", "1"), same_ending("a/1", "b/1"), same_ending("ba/1", "a/1")
    (True, True, False, False)
    """
    return any(f"/{path}".endswith(f"/{other}") or f"/{other}".endswith(f"/{path}") for other in others)
