"""Files of pairs in, `Caption`s out: COCO, Flickr, Karpathy, Conceptual Captions, csv and jsonl (4.1's sources).

Every reader is a function (path, fields, malformed) -> iterator of Caption, listed in READERS. A line or entry that
cannot be read is counted in `malformed`; more than 1 % of them stop the reading.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

from interbert.corpus.report import CorpusReport
from interbert.errors import InterbertError, UsageError, unknown_name
from interbert.text.csv_tables import TableRow, csv_reader, table_rows

NO_SPLIT = "none"  # the source has splits and this picture is in none of them
SPLIT_NAMES = {  # a source's name -> ours; restval: Karpathy's COCO pictures of val2014 that train
    "train": "train",
    "restval": "train",
    "dev": "validation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "none": NO_SPLIT,
    "": NO_SPLIT,
}
TEXT_FIELDS = ("text", "caption", "captions", "sentence", "sentences", "raw", "comment", "title")
IMAGE_FIELDS = ("image", "image_name", "file_name", "filename", "image_path", "filepath", "url", "image_id", "id")
MOST_MALFORMED = 0.01
EXAMPLES = 10


@dataclass(frozen=True)
class Caption:
    """One text of one picture, as its source gives it.

    image: the source's name of the picture, a path, file name, URL or id.  split: train, validation, test, "none" (in
    no split of a source that has them), or None where the source has no splits.  id: unique in the source.
    category: of the product, "" where the source has none.
    """

    image: str
    text: str
    split: str | None
    id: str
    category: str = ""


@dataclass(frozen=True)
class Fields:
    """The names of columns or keys; None takes the first known one that is there."""

    text: str | None = None
    image: str | None = None


@dataclass
class Malformed:
    """What could not be read of a file: counted, the first ten kept with their place."""

    path: Path
    seen: int = 0
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, place: str, why: str, entries: int = 1) -> None:
        """Counts entries that cannot be read. place: "line 7" or "annotation 3"."""
        self.count += entries
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{self.path.name}, {place}: {why}")

    def stop_if_too_many(self) -> None:
        """Raises InterbertError where more than 1 % of what was seen is malformed."""
        if self.count > MOST_MALFORMED * self.seen:
            shown = "\n  ".join(self.examples)
            raise InterbertError(
                f"'{self.path}': {self.count} of {self.seen} entries cannot be read, more than 1 %. "
                f"Is this the right format? The first:\n  {shown}"
            )


class Captions:
    """The captions of one file. Can be read again; `malformed` counts what the last reading skipped.

    Raises UsageError for a format that does not exist or a file that is not there; while reading, InterbertError for a
    file of another format.
    """

    def __init__(self, path: str | Path, format: str, fields: Fields | None = None) -> None:
        if format not in READERS:
            raise UsageError(unknown_name("format", format, READERS))
        self.path, self.format, self.fields = Path(path), format, fields or Fields()
        self.malformed = Malformed(self.path)
        if not self.path.is_file():
            raise UsageError(f"captions '{path}' do not exist or are a folder; give the file")

    def __iter__(self) -> Iterator[Caption]:
        self.malformed = Malformed(self.path)
        yield from READERS[self.format](self.path, self.fields, self.malformed)
        self.malformed.stop_if_too_many()

    def account(self, report: CorpusReport) -> None:
        """Adds to a report what the last reading could not read."""
        report.add_malformed(self.malformed.count, self.malformed.examples)


@runtime_checkable
class Accounted(Protocol):
    """A source of captions that has a file, and can say what it left out."""

    path: Path

    def account(self, report: CorpusReport) -> None:
        """Adds to a report what the last reading left out."""
        ...


def coco(path: Path, fields: Fields, malformed: Malformed) -> Iterator[Caption]:
    """COCO's captions_*.json: {"images": [{id, file_name}], "annotations": [{id, image_id, caption}]}."""
    whole, key = json_of(path), fields.text or "caption"
    names: dict[str, str] = {}
    for at, entry in enumerate(list_of(whole, "images", path)):
        malformed.seen += 1
        try:
            name = _name(entry.get("file_name") or entry["id"])
            if names.setdefault(_name(entry["id"]), name) != name:
                raise ValueError(f"id {entry['id']} is that of '{names[_name(entry['id'])]}' already")
        except (KeyError, ValueError) as error:
            malformed.add(f"image {at}", _why(error))
    for at, entry in enumerate(list_of(whole, "annotations", path)):
        malformed.seen += 1
        try:
            image, text = names.get(_name(entry["image_id"])), _text(entry[key])
            if image is None:
                raise ValueError(f"image_id {entry['image_id']} is not among the images")
        except (KeyError, ValueError) as error:
            malformed.add(f"annotation {at}", _why(error))
            continue
        yield Caption(image, text, None, str(entry.get("id", at)))


def karpathy(path: Path, fields: Fields, malformed: Malformed) -> Iterator[Caption]:
    """Karpathy's dataset_*.json: {"images": [{filename, split, sentences: [{raw, sentid}]}]}; 'restval' is train."""
    for at, entry in enumerate(list_of(json_of(path), "images", path)):
        malformed.seen += 1
        try:
            image, split = _name(entry[fields.image or "filename"]), split_of(entry["split"])
            sentences = [(_text(s[fields.text or "raw"]), s.get("sentid")) for s in entry["sentences"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            malformed.add(f"image {at}", _why(error))
            continue
        for number, (text, id) in enumerate(sentences):
            yield Caption(image, text, split, f"{at}.{number}" if id is None else str(id))


def flickr(path: Path, fields: Fields, malformed: Malformed) -> Iterator[Caption]:
    """Flickr8k and Flickr30k: lines `1.jpg#0 TAB text`, or csv (image,caption; image| comment_number| comment)."""
    with text_file(path) as file:
        first = file.readline()
    if "\t" not in first:
        yield from table(path, fields, malformed, "|" if "|" in first else ",")
        return
    for number, line in lines_of(path, malformed):
        name, tab, text = line.partition("\t")
        image, mark, index = name.rpartition("#")
        if not (tab and mark and index.strip().isdigit()):
            malformed.add(f"line {number}", "wanted IMAGE#NUMBER, TAB, text")
        else:
            yield Caption(image, text, None, name)


def tsv(path: Path, fields: Fields, malformed: Malformed) -> Iterator[Caption]:
    """Conceptual Captions and the like, TAB between columns, never quoted.

    Without `fields` and without a header: caption TAB url-or-path, as Conceptual Captions has it. A first line that
    names a text and an image column is a header.
    """
    header: list[str] | None = None
    for number, line in lines_of(path, malformed):
        columns = line.split("\t")
        if number == 1 and (header := _header(columns, fields)) is not None:
            malformed.seen -= 1
            continue
        if header is not None:
            yield from _of_columns(header, columns, fields, malformed, number)
        elif len(columns) != 2:
            malformed.add(f"line {number}", f"wanted caption, TAB, url or path; got {len(columns)} columns")
        else:
            yield Caption(columns[1].strip(), columns[0], None, str(number))


def csv_rows(rows: Any, header: Sequence[str], malformed: Malformed) -> Iterator[TableRow]:
    """The rows that a `csv_reader` has left; those that cannot be read are counted by their lines."""
    for row in table_rows(rows, header):
        malformed.seen += row.lines if row.broken else 1
        if row.broken:
            malformed.add(row.place, row.broken, row.lines)
        else:
            yield row


def table(path: Path, fields: Fields, malformed: Malformed, delimiter: str | None = None) -> Iterator[Caption]:
    """csv with a header that names a text column, an image column and perhaps `split`."""
    with text_file(path) as file:
        rows = csv_reader(file, delimiter, quoted=delimiter != "|")
        try:
            header = _header(next(rows, []), fields)
        except csv.Error:
            header = None
        if header is None:
            raise InterbertError(
                f"'{path}' has no first line that names its columns; wanted one of {', '.join(TEXT_FIELDS)} "
                f"and one of {', '.join(IMAGE_FIELDS)}, or give the names of the text and the image column"
            )
        for row in csv_rows(rows, header, malformed):
            yield from _of_columns(header, row.cells, fields, malformed, row.last)


def jsonl(path: Path, fields: Fields, malformed: Malformed) -> Iterator[Caption]:
    """One JSON object a line: an image, a text or a list of texts, perhaps a split."""
    for number, line in lines_of(path, malformed):
        try:
            entry = json.loads(line)
            image = _name(entry[_one_of(entry, fields.image, IMAGE_FIELDS)])
            given = entry[_one_of(entry, fields.text, TEXT_FIELDS)]
            texts = [_text(text) for text in given] if isinstance(given, list) else [_text(given)]
            split = split_of(entry["split"]) if "split" in entry else None
        except (TypeError, ValueError) as error:
            malformed.add(f"line {number}", _why(error))
            continue
        yield from (Caption(image, text, split, f"{number}.{at}") for at, text in enumerate(texts))


Reader = Callable[[Path, Fields, Malformed], Iterator[Caption]]
READERS: dict[str, Reader] = {
    "coco": coco,
    "flickr": flickr,
    "karpathy": karpathy,
    "tsv": tsv,
    "csv": table,
    "jsonl": jsonl,
}


@contextmanager
def text_file(path: Path) -> Iterator[IO[str]]:
    """A UTF-8 file, gzipped or not, a byte order mark skipped; bytes that are not UTF-8 become lone surrogates."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with (
        opener(path, "rb") as opened,
        io.TextIOWrapper(opened, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file,
    ):
        try:
            yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InterbertError(f"'{path}' is no whole gzip file ({error}); fetch it again") from error


def lines_of(path: Path, malformed: Malformed) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of every line that is not blank."""
    with text_file(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                malformed.seen += 1
                yield number, line.rstrip("\r\n")


def json_of(path: Path) -> Any:
    """The JSON value that a file holds. Raises InterbertError where it is not whole."""
    try:
        with text_file(path) as file:
            return json.load(file)
    except ValueError as error:
        raise InterbertError(f"'{path}' is not whole JSON ({error}); fetch it again, or give another format") from error


def list_of(whole: Any, key: str, path: Path) -> list[dict[str, Any]]:
    """The list of objects under `key`. Raises InterbertError where there is none."""
    entries = whole.get(key) if isinstance(whole, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InterbertError(f"'{path}' has no list '{key}'; is this the right format?")
    return entries


def split_of(name: object) -> str:
    """Our name of a source's split. Raises ValueError for one that is not known."""
    ours = SPLIT_NAMES.get("none" if name is None else str(name).strip().lower())
    if ours is None:
        raise ValueError(f"split '{name}' is not one of {', '.join(filter(None, SPLIT_NAMES))}")
    return ours


def is_split(name: str) -> bool:
    """Whether `split_of` knows a name."""
    return name.strip().lower() in SPLIT_NAMES


def _name(value: object) -> str:
    """A picture's name as text. Raises ValueError for what is neither a text nor a whole number."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"the picture is {value!r:.60}, wanted a name or a number")
    return str(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the text is {value!r:.60}, wanted a text")
    return value


def _one_of(names: Iterable[str], wanted: str | None, known: tuple[str, ...]) -> str:
    """The name to read: the wanted one, else the first known one. Raises ValueError where it is not there."""
    there = list(names)
    found = [name for name in ((wanted,) if wanted else known) if name in there]
    if not found:
        raise ValueError(f"no {wanted or ' or '.join(known)} among {', '.join(there)}")
    return found[0]


def _header(columns: list[str], fields: Fields) -> list[str] | None:
    """The names of the columns, or None where this line does not name a text and an image column."""
    names = [column.strip().lower() if not (fields.text or fields.image) else column.strip() for column in columns]
    try:
        _one_of(names, fields.text, TEXT_FIELDS)
        _one_of(names, fields.image, IMAGE_FIELDS)
    except ValueError:
        return None
    return names


def _of_columns(
    header: list[str], columns: list[str], fields: Fields, malformed: Malformed, number: int
) -> Iterator[Caption]:
    try:
        if len(columns) != len(header):
            raise ValueError(f"got {len(columns)} columns, wanted {len(header)}: {', '.join(header)}")
        row = dict(zip(header, columns, strict=True))
        split = split_of(row["split"]) if "split" in row else None
    except ValueError as error:
        malformed.add(f"line {number}", _why(error))
        return
    text, image = row[_one_of(header, fields.text, TEXT_FIELDS)], row[_one_of(header, fields.image, IMAGE_FIELDS)]
    yield Caption(image.strip(), text, split, str(number))


def _why(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
