"""What an index remembers of its searches, in one SQLite file that may be deleted: margins of topics, and measurements.

A margin is of (the model's weights, a topic, a picture), before any calibration: a product that changes its title keeps
it, one that changes its picture has another. The topics that were asked for longest ago are forgotten first.

Pictures are known by their numbers. An index that was put back from a backup gives numbers out again, to others: so the
key of the largest number is kept too, and where the index has another there, everything is forgotten.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interbert.errors import InterbertError
from interbert.recall.database import Database
from interbert.vision.shards import crc32

log = logging.getLogger(__name__)

MOST_BYTES = 256 << 20
_APPLICATION, _FORMAT = 0x49424D45, 1  # "IBME"
_TABLES = (
    "CREATE TABLE topics (key BLOB PRIMARY KEY, used INTEGER NOT NULL, bytes INTEGER NOT NULL, pictures BLOB NOT NULL,"
    " margins BLOB NOT NULL, checksum INTEGER NOT NULL)",
    "CREATE TABLE measurements (number INTEGER PRIMARY KEY, model TEXT NOT NULL, created TEXT NOT NULL,"
    " version INTEGER NOT NULL, topics INTEGER NOT NULL, pictures INTEGER NOT NULL, all_pictures INTEGER NOT NULL,"
    " ranks BLOB NOT NULL)",
)
NEVER = 2**31 - 1
_PICTURE, _MARGIN, _RANK = np.dtype("<u4"), np.dtype("<f4"), np.dtype("<i4")
_OF_TOPIC = "SELECT pictures, margins, checksum FROM topics WHERE key = ?"
_NEWEST = "CREATE TABLE IF NOT EXISTS newest (number INTEGER NOT NULL, key TEXT NOT NULL)"
_AMONG_ALL = " among all"  # of a model's measurements: before, places were among those compared
_NEXT = "(SELECT coalesce(max(used), 0) + 1 FROM topics)"


@dataclass(frozen=True, eq=False)
class Measurement:
    """How well vectors alone find what the interaction finds, measured on topics of the index.

    ranks: int32 [topics, answers], by the vectors alone among all, from 0, of the topics' best pictures by the
    interaction; NEVER: not among the first that were compared.  pictures: that a topic was compared with, of
    `all_pictures` that version `version` had.
    """

    model: str
    created: str
    version: int
    pictures: int
    all_pictures: int
    ranks: NDArray[np.int32]

    def recall(self, candidates: int, of: int | None = None) -> float:
        """The share of the best pictures that are among the first `candidates` of `of` pictures by vectors alone.

        of: None means of all; of fewer, those that pass a filter, the same share of all is taken.
        """
        share = candidates / max(1, self.all_pictures if of is None else of)
        if share >= 1 or not self.ranks.size:
            return 1.0
        return float((self.ranks < share * self.all_pictures).mean())

    def to_json(self, candidates: int, of: int | None = None) -> dict[str, Any]:
        """The recall of so many candidates, and how it is known."""
        topics, answers = self.ranks.shape
        return {
            "recall": self.recall(candidates, of),
            "candidates": candidates,
            "of": self.all_pictures if of is None else of,
            "answers": answers,
            "topics": topics,
            "pictures": self.pictures,
            "index_version": self.version,
            "measured_at": self.created,
        }


class ScoreMemory:
    """Remembered margins, at most about `most_bytes` of them. Where the file cannot be used, that is said once."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._usable = most_bytes, True
        self._database = Database(path, _TABLES, _APPLICATION, _FORMAT, "NORMAL")
        self._key_of: Callable[[int], str | None] = lambda number: None
        with self._or_without():
            self._database.create()
            with self._database.transaction() as connection:
                connection.execute(_NEWEST)

    @property
    def is_usable(self) -> bool:
        """Whether anything is remembered."""
        return self._usable

    def belong_to(self, key_of: Callable[[int], str | None]) -> None:
        """Forgets everything where it is of another state of the index. key_of: the key of a picture's number."""
        self._key_of = key_of
        with self._or_without():
            newest = self._database.rows("SELECT number, key FROM newest")
            if newest and all(key_of(number) == key for number, key in newest):
                return
            if not newest and not self._database.rows("SELECT 1 FROM topics LIMIT 1"):
                return  # of every searcher's beginning, so without a lock
            of_that_state = ("topics", "measurements", "newest") if newest else ("topics",)  # of a version before, none
            with self._database.transaction() as connection:
                gone = sum(connection.execute(f"DELETE FROM {name}").rowcount for name in of_that_state)  # noqa: S608
            if gone:
                log.warning("'%s' is of another state of the index; scores are computed again", self._database.path)

    def margins(self, model: str, topic: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Pictures, int64 [n] ascending, and their margins, float32 [n], as far as they are known."""
        key, found = _key(model, topic), _stored(None)
        with self._or_without():
            rows = self._database.rows(_OF_TOPIC, (key,))
            found = _stored(rows[0] if rows else None)
            if len(found[0]):
                with self._database.transaction() as connection:
                    connection.execute(f"UPDATE topics SET used = {_NEXT} WHERE key = ?", (key,))  # noqa: S608
            elif rows:
                log.warning("'%s': remembered scores are damaged; they are computed again", self._database.path)
                with self._database.transaction() as connection:
                    connection.execute("DELETE FROM topics WHERE key = ?", (key,))
        return found

    def keep(self, model: str, topic: str, pictures: NDArray[np.int64], margins: NDArray[np.float32]) -> None:
        """Remembers margins beside those that are known, and forgets the oldest topics where there are too many."""
        key = _key(model, topic)
        with self._or_without(), self._database.transaction() as connection:
            before, known = _stored(connection.execute(_OF_TOPIC, (key,)).fetchone())
            every, first = np.unique(np.concatenate([pictures, before]), return_index=True)
            values = np.concatenate([margins, known])[first].astype(_MARGIN).tobytes()
            numbers, size = every.astype(_PICTURE).tobytes(), 8 * len(every)
            if size > self._most_bytes:
                log.info("the %d scores of '%.40s' are more than are remembered", len(every), topic)
                return
            connection.execute(
                f"INSERT OR REPLACE INTO topics VALUES (?, {_NEXT}, ?, ?, ?, ?)",  # noqa: S608
                (key, size, numbers, values, crc32(numbers + values)),
            )
            newest = connection.execute("SELECT number FROM newest").fetchone()
            if newest is None or newest[0] < every[-1]:
                connection.execute("DELETE FROM newest")
                key_of_last = self._key_of(int(every[-1])) or ""
                connection.execute("INSERT INTO newest VALUES (?, ?)", (int(every[-1]), key_of_last))
            (total,) = connection.execute("SELECT coalesce(sum(bytes), 0) FROM topics").fetchone()
            while total > self._most_bytes:
                key, size = connection.execute("SELECT key, bytes FROM topics ORDER BY used LIMIT 1").fetchone()
                connection.execute("DELETE FROM topics WHERE key = ?", (key,))
                total -= size

    def measurement(self, model: str) -> Measurement | None:
        """The last one that was made with this model."""
        with self._or_without():
            found = self._database.rows(
                "SELECT created, version, pictures, all_pictures, topics, ranks FROM measurements"
                " WHERE model = ? ORDER BY number DESC LIMIT 1",
                (model + _AMONG_ALL,),
            )
            if found:
                created, version, pictures, everything, topics, ranks = found[0]
                table = np.frombuffer(ranks, _RANK).reshape(topics, -1)
                return Measurement(model, created, version, pictures, everything, table)
        return None

    def keep_measurement(self, one: Measurement) -> None:
        """Remembers it in place of the one before."""
        model = one.model + _AMONG_ALL
        row = (model, one.created, one.version, len(one.ranks), one.pictures, one.all_pictures)
        with self._or_without(), self._database.transaction() as connection:
            connection.execute("DELETE FROM measurements WHERE model IN (?, ?)", (model, one.model))
            connection.execute(
                "INSERT INTO measurements (model, created, version, topics, pictures, all_pictures, ranks)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*row, one.ranks.astype(_RANK).tobytes()),
            )

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """Nothing is remembered where the file is of no use: a search does not fail for it."""
        try:
            yield
        except InterbertError as error:
            if self._usable:
                log.warning("scores are not remembered: %s", error)
            self._usable = False


def _stored(row: tuple[bytes, bytes, int] | None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pictures and margins of a row; none where there is no row, or it is damaged."""
    if row is None or crc32(row[0] + row[1]) != row[2]:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    return np.frombuffer(row[0], _PICTURE).astype(np.int64), np.frombuffer(row[1], _MARGIN).copy()


def _key(model: str, topic: str) -> bytes:
    return hashlib.sha256(f"{model}\0{topic}".encode("utf-8", "surrogatepass")).digest()
