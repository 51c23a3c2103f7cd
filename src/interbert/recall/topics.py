"""Topics with the products they bundle (appendix A.4, Figure 4), kept beside an index, and what people say of them.

In: topics out of a file, what a search found for each, and reviews: this product belongs to that topic, or does not.
Out: cards with a cover, bundles without what was dropped, and labelled pairs. They stand in `topics.sqlite` in the
index's folder, or beside an index on a server in its schema, and not among its versions: a review is of people and
outlives every change of the products; nor in `scores.sqlite`, which may be deleted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from interbert.errors import InterbertError, UsageError, unknown_name
from interbert.files import whole_file
from interbert.recall.database import Database
from interbert.recall.place import server_of
from interbert.recall.postgres_topics import TopicTables
from interbert.recall.search import MAX_TOPIC, Answer, Question
from interbert.vision.shards import is_storable

log = logging.getLogger(__name__)

FILE = "topics.sqlite"
MAX_FILTER = 10_000  # characters
_APPLICATION, _FORMAT = 0x49425450, 1  # "IBTP"
_TABLES = (  # on a server too
    "CREATE TABLE topics (name TEXT PRIMARY KEY, title TEXT NOT NULL, sub_title TEXT NOT NULL,"
    " threshold DOUBLE PRECISION, filter TEXT, most BIGINT, recalled BIGINT NOT NULL, version BIGINT NOT NULL,"
    " at TEXT NOT NULL)",
    "CREATE TABLE bundles (topic TEXT NOT NULL, place BIGINT NOT NULL, id TEXT NOT NULL, title TEXT NOT NULL,"
    " image TEXT NOT NULL, picture TEXT NOT NULL, score DOUBLE PRECISION NOT NULL, PRIMARY KEY (topic, place))",
    "CREATE UNIQUE INDEX bundled ON bundles (topic, id)",
    "CREATE TABLE reviews (topic TEXT NOT NULL, id TEXT NOT NULL, text TEXT NOT NULL, title TEXT NOT NULL,"
    " image TEXT NOT NULL, picture TEXT NOT NULL, belongs BIGINT NOT NULL, at TEXT NOT NULL,"
    " PRIMARY KEY (topic, id))",
)
_REVIEW = "topic, id, text, title, image, picture, belongs, at"
_SAY = (  # two machines may say it at once
    "INSERT INTO reviews VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (topic, id) DO UPDATE SET belongs = excluded.belongs, at = excluded.at"
)
_ALL = 1 << 62  # rows: more than there are
_TOPIC = "t.name, t.title, t.sub_title, t.threshold, t.filter, t.most"
_OF_REVIEW = "reviews r ON r.topic = b.topic AND r.id = b.id"
_CARDS = f"""
    SELECT {_TOPIC}, t.recalled, t.version, t.at,
      (SELECT count(*) FROM bundles b LEFT JOIN {_OF_REVIEW} WHERE b.topic = t.name AND coalesce(r.belongs, 1) = 1),
      (SELECT count(*) FROM reviews r WHERE r.topic = t.name AND r.belongs = 1),
      (SELECT count(*) FROM reviews r WHERE r.topic = t.name AND r.belongs = 0),
      c.id, c.title, c.image, c.picture, c.score, d.belongs
    FROM topics t
    LEFT JOIN bundles c ON c.topic = t.name AND c.place =
      (SELECT min(b.place) FROM bundles b LEFT JOIN {_OF_REVIEW} WHERE b.topic = t.name AND coalesce(r.belongs, 1) = 1)
    LEFT JOIN reviews d ON d.topic = c.topic AND d.id = c.id
    ORDER BY t.rowid LIMIT ? OFFSET ?"""  # noqa: S608


@dataclass(frozen=True)
class Topic:
    """What is asked. name: it is known by that.  title: what the model reads, and a card's heading.

    threshold, filter, limit: a `Question`'s threshold, where and top_k; None: as the search says. Raises UsageError
    where one of them cannot be meant.
    """

    name: str
    title: str
    sub_title: str = ""
    threshold: float | None = None
    filter: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        for what in ("title", "name", "sub_title"):
            _check_text(what, getattr(self, what), MAX_TOPIC, empty=what == "sub_title")
        if self.filter is not None:
            _check_text("filter", self.filter, MAX_FILTER, empty=True)
        if not (self.threshold is None or _is_number(self.threshold)):
            raise UsageError(f"threshold: got {self.threshold!r}, wanted a number in 0..1")
        if not (self.limit is None or (isinstance(self.limit, int) and not isinstance(self.limit, bool))):
            raise UsageError(f"limit: got {self.limit!r}, wanted a whole number from 1 on")
        self.question(Question())

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Topic:
        """Of an object as a topics file has it; without a name, its title is its name. Raises UsageError."""
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise UsageError(unknown_name("field of a topic", key, known))
        if "title" not in values and "name" not in values:
            raise UsageError("it has no title; wanted what the model is to read")
        name, title = (values.get(one) or values.get(other) for one, other in (("name", "title"), ("title", "name")))
        rest = {key: value for key, value in values.items() if value is not None and key not in ("name", "title")}
        return cls(name, title, **rest)  # type: ignore[arg-type]  # checked when it is made

    def question(self, base: Question, more: int = 0) -> Question:
        """What is asked of a search that asks `base` where the topic says nothing. more: answers beyond the limit."""
        limit = base.top_k if self.limit is None else self.limit
        return Question(
            base.threshold if self.threshold is None else self.threshold,
            base.mode,
            limit if limit is None or limit < 1 else limit + more,
            base.where if self.filter is None else self.filter or None,
            base.candidates,
        )

    def filled(self, base: Question) -> Topic:
        """With what it leaves to the search."""
        asked = self.question(base)
        return Topic(self.name, self.title, self.sub_title, asked.threshold, asked.where, asked.top_k)


@dataclass(frozen=True)
class Bundled:
    """A product of a topic. score: None where the last search did not find it.  kept: what its review says, if any."""

    id: str
    title: str
    image: str
    picture: str
    score: float | None
    kept: bool | None


@dataclass(frozen=True)
class Card:
    """A topic as one sees it first. cover: its best product that was not dropped.  products: how many it bundles.

    kept, dropped: reviews.  recalled: all that were above the threshold.  index_version, at: of the last search.
    """

    topic: Topic
    recalled: int
    index_version: int
    at: str
    products: int
    kept: int
    dropped: int
    cover: Bundled | None


@dataclass(frozen=True)
class Bundle:
    """A topic whole. products: best first, then what was kept and is no longer found; `dropped` is for reviewers."""

    topic: Topic
    recalled: int
    index_version: int
    at: str
    products: list[Bundled]
    dropped: list[Bundled]

    @property
    def cover(self) -> Bundled | None:
        """Its best product."""
        return self.products[0] if self.products else None


@dataclass(frozen=True)
class Review:
    """What was said of a product in a topic. text: the topic's title then.  picture: the key of what it showed then."""

    topic: str
    id: str
    text: str
    title: str
    image: str
    picture: str
    belongs: bool
    at: str

    def to_json(self) -> dict[str, Any]:
        """A labelled pair: `image` is the picture's id in the index's region store."""
        said = {"text": self.text, "image": self.picture, "label": int(self.belongs)}
        return said | {"topic": self.topic, "product": self.id, "file": self.image, "reviewed_at": self.at}


class Topics:
    """The topics of one index, made where there are none. Several threads, processes and machines may read and write.

    place: a file, or tables on a server. Every method raises InterbertError where they are damaged or not reached.
    """

    def __init__(self, place: Path | TopicTables) -> None:
        tables = Database(place, _TABLES, _APPLICATION, _FORMAT, "FULL") if isinstance(place, Path) else place
        self._database: Database | TopicTables = tables
        self._database.create()

    def __len__(self) -> int:
        return int(self._database.rows("SELECT count(*) FROM topics")[0][0])

    def cards(self, start: int = 0, count: int | None = None) -> list[Card]:
        """Cards in the order in which topics came, `count` from place `start` on; None: all."""
        rows = self._database.rows(_CARDS, (_ALL if count is None else count, start))
        return [
            Card(Topic(*row[:6]), *row[6:12], None if row[12] is None else _bundled(*row[12:]))  # type: ignore[call-arg]
            for row in rows
        ]

    def get(self, name: str) -> Bundle:
        """Raises UsageError where there is no such topic."""
        rows = self._database.rows(f"SELECT {_TOPIC}, recalled, version, at FROM topics t WHERE name = ?", (name,))  # noqa: S608
        if not rows:
            known = [one for (one,) in self._database.rows("SELECT name FROM topics ORDER BY rowid LIMIT 1000")]
            raise UsageError(
                unknown_name("topic", name, known) if known else f"there is no topic '{name}': there is none"
            )
        columns = "id, b.title, b.image, b.picture, b.score, r.belongs"
        found = self._database.rows(
            f"SELECT b.{columns} FROM bundles b LEFT JOIN {_OF_REVIEW} WHERE b.topic = ? ORDER BY b.place",  # noqa: S608
            (name,),
        )
        every = [_bundled(*row) for row in found]
        there = {one.id for one in every}
        every += [
            Bundled(one.id, one.title, one.image, one.picture, None, bool(one.belongs))
            for one in self._reviews("WHERE topic = ?", (name,))
            if one.id not in there
        ]
        products = [one for one in every if one.kept is not False]
        dropped = [one for one in every if one.kept is False]
        recalled, version, at = rows[0][6:]
        return Bundle(Topic(*rows[0][:6]), recalled, version, at, products, dropped)

    def put(self, topic: Topic, answer: Answer) -> None:
        """Keeps a topic with what a search found for it, in place of what was found before. Reviews stay."""
        values = (*asdict(topic).values(), answer.recalled, answer.index_version, _now())
        found = ((topic.name, at, h.id, h.title, h.image, h.picture, h.score) for at, h in enumerate(answer.hits))
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO topics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " title = excluded.title, sub_title = excluded.sub_title, threshold = excluded.threshold,"
                " filter = excluded.filter, most = excluded.most, recalled = excluded.recalled,"
                " version = excluded.version, at = excluded.at",
                values,
            )
            connection.execute("DELETE FROM bundles WHERE topic = ?", (topic.name,))
            connection.executemany("INSERT INTO bundles VALUES (?, ?, ?, ?, ?, ?, ?)", found)

    def delete(self, name: str) -> None:
        """Forgets a topic and its bundle; what was said of its products stays among the labelled pairs."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM bundles WHERE topic = ?", (name,))
            gone = connection.execute("DELETE FROM topics WHERE name = ?", (name,)).rowcount
        if not gone:
            self.get(name)

    def review(self, name: str, id: str, keep: bool | None) -> None:
        """Says that a product belongs to a topic, or that it does not (keep=False); None takes back what was said.

        Raises UsageError where there is no such topic, or it has no such product.
        """
        self.review_all(name, {id: keep})

    def review_all(self, name: str, said: Mapping[str, bool | None]) -> None:
        """`review` of several products: of all of them or of none."""
        bundle = self.get(name)
        by_id = {one.id: one for one in (*bundle.products, *bundle.dropped)}
        for id in said:
            if id not in by_id:
                raise UsageError(unknown_name(f"product of topic '{name}'", id, list(by_id)[:1000]))
        with self._database.transaction() as connection:
            for id, keep in said.items():
                one = by_id[id]
                connection.execute("DELETE FROM reviews WHERE topic = ? AND id = ?", (name, id))
                if keep is not None:
                    row = (name, id, bundle.topic.title, one.title, one.image, one.picture, int(keep), _now())
                    connection.execute(_SAY, row)

    def dropped(self, name: str) -> set[str]:
        """The ids of products that were said not to belong to a topic, which need not be there."""
        found = self._database.rows("SELECT id FROM reviews WHERE topic = ? AND belongs = 0", (name,))
        return {id for (id,) in found}

    def has(self, topic: Topic, version: int) -> bool:
        """Whether just this topic is kept with what was found in that version of the index."""
        statement = f"SELECT {_TOPIC} FROM topics t WHERE name = ? AND version = ?"  # noqa: S608
        rows = self._database.rows(statement, (topic.name, version))
        return bool(rows) and Topic(*rows[0]) == topic

    def reviews(self) -> list[Review]:
        """Everything that was said, the oldest first."""
        return self._reviews("", ())

    def export(self, path: Path, only: Literal["kept", "dropped"] | None = None) -> dict[str, int]:
        """Writes labelled pairs, one JSON object a line, as `calibrate` reads them. Returns how many of each label.

        only: those of one label; of a corpus, which has no labels, "kept". Raises UsageError where there are none.
        """
        said = [one for one in self.reviews() if only is None or one.belongs == (only == "kept")]
        if not said:
            raise UsageError(
                "no product has such a review;  interbert topics INDEX NAME --keep ID --drop ID  makes some"
            )
        with whole_file(path) as file:
            file.writelines(json.dumps(one.to_json(), ensure_ascii=False) + "\n" for one in said)
        kept = sum(one.belongs for one in said)
        return {"kept": kept, "dropped": len(said) - kept}

    def close(self) -> None:
        """Closes the file, or connections."""
        self._database.close()

    def _reviews(self, where: str, values: Sequence[Any]) -> list[Review]:
        rows = self._database.rows(f"SELECT {_REVIEW} FROM reviews {where} ORDER BY at, rowid", values)  # noqa: S608
        return [Review(*row[:6], bool(row[6]), row[7]) for row in rows]  # type: ignore[call-arg]


def read_topics(path: Path) -> list[Topic]:
    """The topics of a file: of a .jsonl an object a line with the fields of `Topic`, else a title a line.

    What stands there twice is one topic. Raises UsageError where the file cannot be read, a line is no topic, or two
    that differ have one name.
    """
    found: dict[str, Topic] = {}
    for number, line in _lines(path):
        try:
            topic = Topic.of(_object(line)) if path.suffix.lower() == ".jsonl" else Topic(line, line)
            if found.get(topic.name, topic) != topic:
                raise UsageError(f"a topic '{topic.name:.60}' came before; give each its own name")
        except UsageError as error:
            raise UsageError(f"topics '{path}', line {number}: {error}") from error
        found[topic.name] = topic
    if not found:
        raise UsageError(f"topics '{path}' has none; wanted one a line")
    return list(found.values())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of all that are not blank."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # JSON may hold other ends of lines
    except OSError as error:
        raise UsageError(f"topics '{path}' cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"topics '{path}' is not UTF-8 ({error.reason} at byte {error.start}); save it so") from error
    return ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise UsageError(f"it is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise UsageError(f"got {line:.40}, wanted a JSON object with a title")
    return value


def _check_text(what: str, value: object, most: int, *, empty: bool) -> None:
    if not isinstance(value, str) or not (empty or value.strip()) or len(value) > most:
        raise UsageError(f"{what}: got {value!r:.60}, wanted a text of {0 if empty else 1} to {most:,} characters")
    if value and not is_storable(value):
        raise UsageError(f"{what}: got {value!r:.60}, which has a NUL or half of a character")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bundled(id: str, title: str, image: str, picture: str, score: float | None, belongs: int | None) -> Bundled:
    return Bundled(id, title, image, picture, score, None if belongs is None else bool(belongs))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def open_topics(index: str | Path, address: str | None = None) -> Topics:
    """The topics of an index, made where none was kept. address: of the server that has it, as of `open_index`.

    Raises InterbertError where there is no index, or its server cannot be reached.
    """
    return Topics(_place(Path(index), address))


def find_topics(index: str | Path, address: str | None = None) -> Topics | None:
    """The same; None where none was ever kept."""
    place = _place(Path(index), address)
    there = place.is_file() if isinstance(place, Path) else place.are_there()
    return Topics(place) if there else None


def _place(folder: Path, address: str | None) -> Path | TopicTables:
    server = server_of(folder, address)
    if server is not None:
        if (folder / FILE).is_file():
            log.warning("'%s' was kept on this machine alone and is not read: topics are on the server", folder / FILE)
        return TopicTables(server, _TABLES)
    if (folder / "index.json").is_file():
        return folder / FILE
    raise InterbertError(f"'{folder}' is not an index; make one:  interbert index CATALOGUE --from RUN --out {folder}")
