"""How far an import came, kept in the store's folder: `imports.json` and `failures.jsonl`. docs/formats.md has both.

A commit writes regions, failures and then the place, in this order: a place is never ahead of what it stands for.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

from interbert.errors import InterbertError
from interbert.files import whole_file, write_json
from interbert.vision.legacy_sources import Item, Place, Source
from interbert.vision.sources import readable
from interbert.vision.writer import RegionWriter

FAILURES = "failures.jsonl"
PLACES = "imports.json"


class Journal:
    """The progress of one source into one store. place: where to go on.  skipped: pictures, with former starts'.

    before: pictures that came from what is behind the place.
    """

    def __init__(self, writer: RegionWriter, source: Source) -> None:
        self._writer, self._source = writer, source
        _clean_after_killed(writer.folder)
        self._name = readable(source.path.resolve())
        self._began = len(writer)  # records there when this start began
        self._places = _json(writer.folder / PLACES)
        before = self._places.get(self._name, {})
        same = source.resumes and before.get("file") == _fingerprint(source) and before["records"] <= self._began
        self.place = Place(*before["place"]) if same else Place()
        self._first: int = before["first"] if same else self._began  # records there when the source was begun
        self._committed: int = before["records"] if same else self._began
        self.skipped = _keep_failures(writer.folder / FAILURES, self._name, self.place)
        self.before = self._committed - self._first
        self._records = self._committed  # there when the last place was reached
        self._failures: IO[str] | None = None
        self.commit()  # from now on it is known what was there before this source

    def is_repeated(self, id: str) -> bool:
        """Whether the id, which is in the store, came from this source before; not from another, or a lost commit."""
        number = self._writer.number(id)
        assert number is not None
        return self._first <= number < self._committed or number >= self._began

    def skip(self, id: str, item: Item, reason: str) -> None:
        """Writes down a picture that is not imported."""
        if self._failures is None:
            self._failures = open(self._writer.folder / FAILURES, "a", encoding="utf-8")  # noqa: SIM115
        row = {"id": id, "path": self._name, "place": item.name, "line": item.after.line, "reason": reason}
        self._failures.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.skipped += 1

    def behind(self, place: Place) -> None:
        """The item before `place` is done: in the store, or in the failures."""
        self._records, self.place = len(self._writer), place

    def commit(self) -> None:
        """Makes everything so far survive a kill and a power cut."""
        self._writer.commit()
        try:
            if self._failures is not None:
                self._failures.flush()
                os.fsync(self._failures.fileno())
            if self._source.resumes:
                self._write_place()
        except OSError as error:
            raise InterbertError(
                f"'{self._writer.folder}' cannot be written ({error.strerror}); make room, give the same command again"
            ) from error

    def _write_place(self) -> None:
        self._places[self._name] = {
            "file": _fingerprint(self._source),
            "place": list(self.place),
            "first": self._first,
            "records": self._records,
        }
        write_json(self._writer.folder / PLACES, self._places)

    def close(self) -> None:
        """Lets go of the file of failures."""
        if self._failures is not None:
            self._failures.close()


def _clean_after_killed(folder: Path) -> None:
    """Removes what was half written beside the files of an import; the store's lock keeps others away."""
    for name in (PLACES, FAILURES):
        for left in folder.glob(f".{name}.*.part"):
            left.unlink()


def _fingerprint(source: Source) -> list[int]:
    """Size and time of change: where one differs, the source is read from its beginning."""
    status = source.file().stat()
    return [status.st_size, status.st_mtime_ns]


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, error) from error
    return found if isinstance(found, dict) else {}


def _damaged(path: Path, error: ValueError) -> InterbertError:
    return InterbertError(f"'{path}' is damaged ({error}); delete it and give the same command again")


def _keep_failures(path: Path, source: str, place: Place) -> int:
    """Drops the source's failures behind `place`, which will be met again. Returns how many of it are left."""
    kept = 0
    if not path.exists():
        return kept
    try:
        with path.open(encoding="utf-8") as lines, whole_file(path) as file:
            for line in lines:
                row = json.loads(line)
                mine = row.get("path") == source
                if not mine or row.get("line", 0) <= place.line:
                    file.write(line)
                    kept += mine
    except ValueError as error:
        raise _damaged(path, error) from error
    return kept
