"""A shop's catalogue in, captions out: titles cleaned, copies and categories sorted out (A.1, "TaoMultimodal").

The catalogue is read once; what stays is spooled to a temporary file, of which so much is kept in memory as the choice
among all products needs. Everything that is left out is counted.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from interbert.corpus.build import BuildOptions
from interbert.corpus.catalogue import Catalogue, Columns, Product, picture_id
from interbert.corpus.readers import Caption, is_split, split_of
from interbert.corpus.report import CorpusReport
from interbert.corpus.topics import TopicTemplates
from interbert.errors import UsageError, unknown_name
from interbert.text.duplicates import first_alike, plain_form, sketches
from interbert.text.titles import Cleaning, TitleCleaner

_BLOCK = 4096  # products cleaned at once
_NAMED = 50  # categories that a message names


@dataclass(frozen=True)
class ProductOptions:
    """What is taken of a catalogue. Numbers of 0 set no limit."""

    columns: Columns = field(default_factory=Columns)
    cleaning: Cleaning = field(default_factory=Cleaning)
    categories: tuple[str, ...] = ()  # only these; a product of several belongs to the first that names it
    per_seller: int = 0  # products, in the catalogue's order
    per_title: int = 0  # products whose titles differ at most in capitals, blanks and marks
    spam_threshold: float = 0.5  # probability from which on the classifier's word counts, where there is one
    topics: tuple[str, ...] = ()  # further texts of a product, made of its columns, as in "{colour} {category}"
    alike: float = 0.0  # titles that share this much of their pairs of characters are copies: the first stays; 0.8

    def __post_init__(self) -> None:
        if min(self.per_seller, self.per_title) < 0 or not 0 <= self.alike <= 1:
            raise UsageError(
                f"per_seller {self.per_seller}, per_title {self.per_title}, alike {self.alike}: "
                "wanted 0 or more, and a share in 0..1"
            )
        TopicTemplates(self.topics)


def product_build_options(language: Literal["en", "zh"]) -> BuildOptions:
    """How the corpus of a catalogue is built (A.1): at most 16 regions of a confidence over 0.1, at least one.

    Goods on white ground look alike: within 4 bits of a hash every fifth does, within 1 one in sixty, and a photo that
    was saved again lies within 1 in 93 of 100 cases or more (the log has the figures).
    """
    return BuildOptions(language=language, min_regions=1, max_regions=16, min_confidence=0.1, leave_out_distance=1)


class ProductCaptions:
    """The main pictures of a catalogue with their cleaned titles, as `build_corpus` takes them. Can be read again.

    After its title a picture also has the texts that `topics` make of its product's columns, cleaned alike.

    Of a `Catalogue` that does not need pictures, also the titles of products without one: for a corpus of texts alone.
    Raises, while reading, UsageError for a category that no product has, or a topic's column that there is not.
    """

    def __init__(self, catalogue: Catalogue, cleaner: TitleCleaner, options: ProductOptions | None = None) -> None:
        self.cleaner, self.options = cleaner, options or ProductOptions()
        self.templates = TopicTemplates(self.options.topics)
        self.catalogue = catalogue.keeping(self.templates.columns)
        self.path = catalogue.path
        self._report = CorpusReport()

    def __iter__(self) -> Iterator[Caption]:
        self._report = CorpusReport()
        self.cleaner.reset()
        with tempfile.TemporaryFile() as spool:
            read = _Read(spool, self.options, self._report)
            for products in _blocks(read.wanted(self.catalogue)):
                titles = self.cleaner.clean([product.title for product in products])
                read.add(products, titles, self._topics(products))
            for at in np.flatnonzero(read.chosen()).tolist():
                caption, topics = read.row(at)
                yield caption
                for number, topic in enumerate(topics, 1):
                    yield replace(caption, text=topic, id=f"{caption.id}, topic {number}")

    def _topics(self, products: Sequence[Product]) -> list[list[str]]:
        """The cleaned texts that each product's columns make; those that cleaning drops are counted."""
        if not self.options.topics:
            return [[] for _ in products]
        made = [self.templates.of(_cells(product)) for product in products]
        cleaned = iter(self.cleaner.clean([text for texts in made for text in texts]))
        kept: list[list[str]] = [[] for _ in products]
        for at, texts in enumerate(made):
            for text in texts:
                if topic := next(cleaned):
                    kept[at].append(topic)
                else:
                    self._report.drop("what its columns say was dropped in cleaning", f"{products[at].place}: {text}")
        return kept

    def account(self, report: CorpusReport) -> None:
        """Adds to a report what the last reading left out, and every step of the cleaning."""
        mine, malformed = self._report, self.catalogue.malformed
        report.captions["read"] += sum(mine.dropped.values())
        report.take(mine)
        report.add_malformed(malformed.count, malformed.examples)
        report.steps = [count.to_json() for count in self.cleaner.counts.values()]
        encoding = self.catalogue.encoding
        if encoding.name not in ("utf-8", "utf-8-sig"):
            report.note(f"products read as {encoding.name.upper()}", malformed.seen)
        if encoding.broken_lines:
            where = f"the first is line {encoding.first}"
            report.note(f"lines with bytes that mean nothing in {encoding.name.upper()}", encoding.broken_lines, where)


def _blocks(products: Iterator[Product]) -> Iterator[list[Product]]:
    while block := list(itertools.islice(products, _BLOCK)):
        yield block


class _Read:
    """The products that stay, as they come: rows in the spool, numbers of them in memory (about 100 bytes each)."""

    def __init__(self, spool: IO[bytes], options: ProductOptions, report: CorpusReport) -> None:
        self.spool, self.options, self.report = spool, options, report
        self.ends, self.forms, self.sellers = array("q", [0]), array("Q"), array("Q")
        self.sketches: list[NDArray[np.uint64]] = []
        self._categories: dict[str, int] = {}
        self._belongs: dict[int, int] = {}  # hash of a product's or picture's id -> its category
        self._ids, self._pictures = array("Q"), array("Q")  # hashes of products' ids and of their pictures' names

    def wanted(self, products: Catalogue) -> Iterator[Product]:
        """The products of the wanted categories that have a title, and a picture where pictures are needed."""
        for product in products:
            category = self._category(product)
            if self.options.categories and category not in self.options.categories:
                self._drop("its category is not wanted", product)
            elif not product.images and "image" in products.needed:
                self._drop("it has no picture", product)
            elif not product.title.strip():
                self._drop("it has no title", product)
            elif product.split and not is_split(product.split):
                self._drop("its split is not known", product)
            else:
                self._note(product, "image" in products.needed)
                yield replace(product, category=category)
        self._note_again()
        missing = [name for name in self.options.categories if name not in self._categories]
        if missing:
            known = list(self._categories)[:_NAMED]
            raise UsageError(f"catalogue '{products.path}': {unknown_name('category', missing[0], known)}")

    def add(self, products: Sequence[Product], titles: Sequence[str], topics: Sequence[Sequence[str]]) -> None:
        """Spools products with their cleaned titles and topics; those whose titles cleaning dropped are counted."""
        kept = [one for one in zip(products, titles, topics, strict=True) if one[1]]
        for product in (product for product, title in zip(products, titles, strict=True) if not title):
            self._drop("its title was dropped in cleaning", product)
        forms = [plain_form(title) for _, title, _ in kept]
        if self.options.alike and kept:
            self.sketches.append(sketches(forms))
        for (product, title, said), form in zip(kept, forms, strict=True):
            split = split_of(product.split) if product.split else None
            image = "".join(product.images[:1])
            row = json.dumps([image, title, split, product.place, product.category, said]).encode()
            self.spool.write(row)
            self.ends.append(self.ends[-1] + len(row))
            self.forms.append(_hash(form))
            self.sellers.append(_hash(product.seller) if product.seller else 0)

    def chosen(self) -> NDArray[np.bool_]:
        """bool: which rows stay after the limits; the others are counted."""
        chosen = np.ones(len(self.forms), np.bool_)
        if self.options.alike and len(chosen):
            first = first_alike(
                np.concatenate(self.sketches), lambda at: plain_form(self.row(at)[0].text), self.options.alike
            )
            self._leave(chosen, first != np.arange(len(first)), "its title is nearly that of an earlier product")
        if self.options.per_title:
            late = _occurrence(np.array(self.forms, np.uint64), chosen) >= self.options.per_title
            self._leave(chosen, late, f"{self.options.per_title} earlier products have its title")
        if self.options.per_seller:
            sellers = np.array(self.sellers, np.uint64)
            late = (_occurrence(sellers, chosen) >= self.options.per_seller) & (sellers != 0)
            self._leave(chosen, late, f"its seller has {self.options.per_seller} products already")
        return chosen

    def row(self, at: int) -> tuple[Caption, list[str]]:
        """A row as its title's caption, and its topics."""
        self.spool.seek(self.ends[at])
        image, title, split, place, category, topics = json.loads(self.spool.read(self.ends[at + 1] - self.ends[at]))
        return Caption(image if "://" not in image else picture_id(image), title, split, place, category), topics

    def _leave(self, chosen: NDArray[np.bool_], which: NDArray[np.bool_], reason: str) -> None:
        for at in np.flatnonzero(chosen & which).tolist():
            caption, _ = self.row(at)
            self.report.drop(reason, f"{caption.image}: {caption.text}")
        chosen &= ~which

    def _category(self, product: Product) -> str:
        """The category that a product belongs to: the first that was given to it or to its picture."""
        own = self._categories.setdefault(product.category, len(self._categories))
        if not self.options.categories:
            return product.category
        keys = [_hash("product", product.id)] if product.id else []
        keys += [_hash("picture", image) for image in product.images[:1]]
        first = next((self._belongs[key] for key in keys if key in self._belongs), own)
        for key in keys:
            self._belongs.setdefault(key, first)
        if first == own:
            return product.category
        name = next(name for name, at in self._categories.items() if at == first)
        self.report.note("products of two categories, which belong to the first", 1, f"{product.place}: {name}")
        return name

    def _note(self, product: Product, of_pictures: bool) -> None:
        if of_pictures and len(product.images) > 1:
            self.report.note("further pictures of a product: only the main one is used", len(product.images) - 1)
        if product.id:
            self._ids.append(_hash(product.id))
            self._pictures.append(_hash(*product.images[:1]))

    def _note_again(self) -> None:
        ids, pictures = np.array(self._ids, np.uint64), np.array(self._pictures, np.uint64)
        _, first, of_id = np.unique(ids, return_index=True, return_inverse=True)
        again = int((pictures != pictures[first[of_id]]).sum()) if len(ids) else 0
        self.report.note("products that come again with another picture, both kept", again)

    def _drop(self, reason: str, product: Product) -> None:
        image = product.images[0] if product.images else "no picture"
        self.report.drop(reason, f"{product.place}: {image}: {product.title}")


def _cells(product: Product) -> dict[str, Any]:
    """The cells of a product by what they hold ("category") and by the names of their columns."""
    known = {role.name: getattr(product, role.name) for role in fields(Columns) if role.name != "image"}
    return {**known, **product.others}


def _hash(*texts: str) -> int:
    """64 bits of texts."""
    joined = "\0".join(texts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest())


def _occurrence(keys: NDArray[np.uint64], among: NDArray[np.bool_]) -> NDArray[np.int64]:
    """int64 [N]: how many earlier places of `among` have the same key; 0 for places outside it.

    >>> _occurrence(np.array([7, 7, 8, 7], np.uint64), np.array([True, True, True, True])).tolist()
    [0, 1, 0, 2]
    """
    found = np.zeros(len(keys), np.int64)
    places = np.flatnonzero(among)
    order = places[np.argsort(keys[places], kind="stable")]
    starts = np.flatnonzero(np.r_[True, keys[order][1:] != keys[order][:-1]]) if len(order) else order
    found[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return found
