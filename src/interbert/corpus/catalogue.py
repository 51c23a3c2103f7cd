"""A shop's catalogue in, `Product`s out: csv, tsv, jsonl or a folder, whatever its columns are called (A.1).

What cannot be read is counted in `malformed`; more than 1 % of it stops the reading.
"""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePath
from typing import Any

from interbert.corpus.readers import Malformed, csv_rows
from interbert.errors import UsageError, unknown_name
from interbert.text.csv_tables import csv_reader
from interbert.text.encoding import Encoding, decoded, encoding_of
from interbert.text.encoding import readable as as_text
from interbert.vision.images import IMAGE_SUFFIXES
from interbert.vision.sources import readable, without_suffix

KNOWN = {  # the names of columns that are found by themselves, in order; case, and " " or "-" for "_", don't matter
    "id": "id item_id product_id goods_id handle sku item_sku 编号 商品编号 商品id 宝贝id",
    "image": "image images main_image image_path image_url image_urls image_link image_src main_image_url img picture "
    "pic photo photos 图片 主图 商品图片 图片地址",
    "title": "title name product_name product_title item_title item_name "
    "标题 商品标题 商品名 商品名称 名称 宝贝标题 宝贝名称",
    "category": "category category_name master_category categories product_category product_type "
    "google_product_category 类目 分类 商品类目 商品分类 类别 宝贝类目",
    "brand": "brand brand_name brands vendor 品牌 商品品牌",
    "seller": "seller seller_id shop shop_name store 卖家 店铺 店铺名 店铺名称 商家",
    "price": "price variant_price regular_price standard_price 价格 商品价格 售价 宝贝价格",
    "split": "split",
}
LIKE = 0.6
FILES = (".csv", ".tsv", ".jsonl")
OF_FOLDERS = ("id", "image", "title", "category")  # what pictures in folders say of their products
_PEEKED = 1000  # lines of a jsonl whose keys say what its columns are
Roles = Callable[[list[str]], dict[str, str]]  # the columns of a file -> role and column
_BETWEEN_IMAGES = re.compile(r"\s*[|;]\s*|\s*,\s*(?=https?://)|\s+(?=https?://)")


@dataclass(frozen=True)
class Columns:
    """The names of a catalogue's columns or keys; None takes the first known one that is there (`KNOWN`)."""

    id: str | None = None
    image: str | None = None  # one or several, paths or addresses; the first is the main one
    title: str | None = None
    category: str | None = None
    brand: str | None = None
    seller: str | None = None
    price: str | None = None
    split: str | None = None  # train, validation or test


@dataclass(frozen=True)
class Product:
    """One row. images: as the row names them, the main one first.  place: "line 7".  Texts are "" where it has none.

    others: the cells of all other columns, as they are, and of those that the catalogue was asked to keep.
    """

    place: str
    id: str
    images: tuple[str, ...]
    title: str
    category: str = ""
    brand: str = ""
    seller: str = ""
    price: str = ""
    split: str = ""
    others: Mapping[str, Any] = field(default_factory=dict, compare=False)


class Catalogue:
    """The products of a catalogue; can be read again. `malformed` counts what the last reading skipped.

    A folder is one with a single .csv, .tsv or .jsonl file in it, or pictures with a .txt of the same name beside each,
    which is its title; the subfolder is the category. encoding: how the file is read.
    needed: what must have a column.  kept: columns, or what known ones hold ("category"), that must be there too; of a
    file, columns with these names stay among a product's `others`.
    Raises UsageError where there is no catalogue or a column does not exist; the nearest is suggested.
    """

    def __init__(
        self,
        path: str | Path,
        columns: Columns | None = None,
        needed: tuple[str, ...] = ("title", "image"),
        kept: tuple[str, ...] = (),
    ) -> None:
        self.path, self.columns = _file_of(Path(path)), columns or Columns()
        self.needed, self.kept = needed, kept
        self.encoding = Encoding("utf-8") if self.path.is_dir() else encoding_of(self.path)
        self.malformed = Malformed(self.path)

    @property
    def folder(self) -> Path:
        """Where the paths of pictures begin."""
        return self.path if self.path.is_dir() else self.path.parent

    def keeping(self, names: tuple[str, ...]) -> Catalogue:
        """The same catalogue, which keeps these columns too."""
        return Catalogue(self.path, self.columns, self.needed, (*self.kept, *names)) if names else self

    def __iter__(self) -> Iterator[Product]:
        self.malformed = Malformed(self.path)
        if self.path.is_dir():
            self._require_kept(OF_FOLDERS, OF_FOLDERS)
            yield from _of_folder(self.path)
        else:
            yield from self._of_file()
        self.malformed.stop_if_too_many()

    def _of_file(self) -> Iterator[Product]:
        with decoded(self.path, self.encoding) as file:
            read = _jsonl if self.path.suffix.lower() == ".jsonl" else _table
            yield from read(file, self._roles, self.malformed, self.kept)

    def _roles(self, header: list[str]) -> dict[str, str]:
        """Role -> the name of its column. Raises UsageError where a named or a needed one is not there."""
        plain = {re.sub(r"[\s-]+", "_", name.lower()): name for name in reversed(header)}
        roles = {}
        for role in (one.name for one in fields(Columns)):
            wanted = getattr(self.columns, role)
            if wanted is not None and wanted not in header:
                column = unknown_name("column", wanted, header)
                raise UsageError(f"catalogue '{self.path}', columns.{role}: {column}")
            known = [wanted] if wanted else [plain[name] for name in KNOWN[role].split() if name in plain]
            if known:
                roles[role] = known[0]
            elif role in self.needed:
                raise UsageError(f"catalogue '{self.path}': {_missing(role, header)}")
        self._require_kept([*roles, *header], header)
        return roles

    def _require_kept(self, there: Sequence[str], shown: Sequence[str]) -> None:
        """Raises UsageError where a column to keep is not there. shown: the names that the message has."""
        for name in self.kept:
            if name not in there:
                raise UsageError(f"catalogue '{self.path}': {unknown_name('column', name, shown)}")


def titles_of(path: str | Path) -> list[str]:
    """The titles of a catalogue, or the lines of any other text file that are not blank."""
    path = Path(path)
    if path.is_dir() or path.suffix.lower() in FILES:
        return [as_text(product.title) for product in Catalogue(path, needed=("title",)) if product.title]
    if not path.is_file():
        raise UsageError(f"titles '{path}' do not exist; give a catalogue or a file with a title a line")
    with decoded(path, encoding_of(path)) as file:
        return [title for line in file if (title := line.strip())]


def is_address(image: str) -> bool:
    """Whether a picture is named by its address on the web.

    >>> is_address("https://shop.example/a.jpg"), is_address("images/a.jpg")
    (True, False)
    """
    return image.lower().startswith(("http://", "https://"))


def picture_id(image: str) -> str:
    """The id of a picture in a region store: its path without suffix, its address without scheme.

    >>> picture_id("images/a.jpg"), picture_id("https://shop.example/a.jpg?v=2")
    ('images/a', 'shop.example/a.jpg?v=2')
    """
    if not is_address(image):
        return readable(PurePath(without_suffix(image)))
    return image.partition("://")[2].partition("#")[0]


def _file_of(path: Path) -> Path:
    """The file of a catalogue, or the folder where the pictures themselves are it."""
    if path.is_file():
        if path.suffix.lower() not in FILES:
            raise UsageError(f"catalogue '{path}': got a {path.suffix or 'nameless'} file, wanted {', '.join(FILES)}")
        return path
    if not path.is_dir():
        raise UsageError(f"catalogue '{path}' does not exist; give a {', '.join(FILES)} file or a folder")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in FILES)
    if len(files) > 1:
        raise UsageError(f"folder '{path}' has several files: {', '.join(f.name for f in files)}; give one of them")
    return files[0] if files else path


def _of_folder(folder: Path) -> Iterator[Product]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() not in IMAGE_SUFFIXES or name.startswith("."):
                continue
            text, inside = path.with_suffix(".txt"), path.relative_to(folder)
            title = ""
            if text.is_file():
                with decoded(text, encoding_of(text)) as file:
                    title = file.read()
            category = inside.parent.as_posix()
            yield Product(
                inside.as_posix(), readable(PurePath(without_suffix(inside.as_posix()))), (inside.as_posix(),), title,
                "" if category == "." else category,
            )  # fmt: skip


def _table(lines: Iterable[str], roles: Roles, malformed: Malformed, kept: Sequence[str]) -> Iterator[Product]:
    first = next(iter(lines := iter(lines)), "")
    rows = csv_reader(itertools.chain([first], lines), max(",\t;|", key=first.count))
    header = [name.strip() for name in next(rows, [])]
    places = {role: header.index(name) for role, name in roles(header).items()}
    others = {name: at for at, name in enumerate(header) if at not in places.values() or name in kept}
    for row in csv_rows(rows, header, malformed):
        cells = {name: row.cells[at] for name, at in others.items()}
        yield _product(row.place, {role: row.cells[at] for role, at in places.items()}, cells)


def _jsonl(lines: Iterable[str], roles: Roles, malformed: Malformed, kept: Sequence[str]) -> Iterator[Product]:
    entries = _entries(lines, malformed)
    peeked = list(itertools.islice(entries, _PEEKED))
    if not peeked:
        malformed.stop_if_too_many()  # what is wrong with the lines, not that columns are missing
    header = dict.fromkeys(key for _, entry in peeked for key in entry)
    names = roles(list(header))
    for place, entry in itertools.chain(peeked, entries):
        cells = {name: cell for name, cell in entry.items() if name not in names.values() or name in kept}
        yield _product(place, {role: entry.get(name) for role, name in names.items()}, cells)


def _entries(lines: Iterable[str], malformed: Malformed) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        malformed.seen += 1
        try:
            entry = json.loads(line)
        except ValueError as error:
            malformed.add(f"line {number}", str(error))
            continue
        if isinstance(entry, dict):
            yield f"line {number}", entry
        else:
            malformed.add(f"line {number}", f"got {line.strip():.40}, wanted an object")


def _product(place: str, cells: dict[str, Any], others: dict[str, Any]) -> Product:
    texts = {role: _text(cell) for role, cell in cells.items() if role != "image"}
    images = tuple(_images(cells.get("image")))
    return Product(place, texts.pop("id", ""), images, texts.pop("title", ""), **texts, others=others)


def _text(cell: Any) -> str:
    return "" if cell is None else cell.strip() if isinstance(cell, str) else str(cell)


def _images(cell: Any) -> Iterator[str]:
    """The pictures that a cell names: a list, a list as JSON, or names with | or ; between them."""
    if isinstance(cell, str) and cell.startswith("["):
        try:
            cell = json.loads(cell)
        except ValueError:
            cell = [cell]
    given = cell if isinstance(cell, list) else _BETWEEN_IMAGES.split(_text(cell))
    names = filter(None, map(_text, given))
    yield from (name for name in names if is_address(name) or PurePath(name).name)  # "/" names nothing


def _missing(role: str, header: list[str]) -> str:
    likeness = {
        name: max(difflib.SequenceMatcher(None, name.lower(), known).ratio() for known in KNOWN[role].split())
        for name in header
    }
    nearest = max(likeness, key=lambda name: likeness[name], default="NAME")
    nearest = nearest if likeness.get(nearest, 0) >= LIKE else "NAME"  # a guess that is none misleads
    return (
        f"no column is known to hold the {role}; there are {', '.join(header) or 'none'}. "
        f"Name it:  --set columns.{role}={nearest}"
    )
