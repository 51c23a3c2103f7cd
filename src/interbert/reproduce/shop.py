"""Steps of Figure 3: a catalogue with Chinese titles, and the corpora of its categories (5.1, A.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.catalogue import Catalogue
from interbert.corpus.corpus import Corpus
from interbert.corpus.products import ProductCaptions, ProductOptions, product_build_options
from interbert.reproduce.chinese_titles import chinese_title
from interbert.reproduce.generated import SPLITS, write_lines
from interbert.reproduce.steps import Build, Step, settings_words, short
from interbert.settings import changed, read_pairs
from interbert.text.segmenting import load_segmenter
from interbert.text.spam import SpamFilter, WordList
from interbert.text.titles import TitleCleaner
from interbert.text.tokenizer import SPECIAL, Tokenizer
from interbert.vision.store import RegionStore

PRETRAINING, FINETUNING = "pretraining", "finetuning"
EVERY = 3  # of the sample's kinds, the first of so many is pretrained on


@dataclass(frozen=True, kw_only=True)
class Rendered(Step):
    """An English catalogue of fashion products with Chinese titles made by rule. products: a jsonl file."""

    products: Path

    def command(self) -> list[str]:
        """In words."""
        return ["(take", str(self.products), "and make Chinese titles by rule from its attribute columns)"]

    def do(self, progress: bool) -> dict[str, Any]:
        """Writes catalogue.jsonl: the products as they are, but for the title, and the English one as title_en."""
        lines = self.products.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        made = [row | {"title": chinese_title(row), "title_en": row["title"]} for row in rows]
        write_lines(self.folder / "catalogue.jsonl", (json.dumps(row, ensure_ascii=False) for row in made))
        return {"products": len(made), "titles": len({row["title"] for row in made})}


@dataclass(frozen=True, kw_only=True)
class Drawn(Step):
    """The sample as a shop: its Chinese names as titles, its kinds in two parts, and a vocabulary of its characters."""

    sample: Path

    def command(self) -> list[str]:
        """In words."""
        return ["(take", str(self.sample), "as a shop: Chinese names as titles, kinds in two parts, a vocabulary)"]

    def do(self, progress: bool) -> dict[str, Any]:
        """Writes catalogue.jsonl and vocab.txt."""
        rows = [json.loads(line) for line in (self.sample / "catalogue.jsonl").read_text(encoding="utf-8").splitlines()]
        rows = [row for row in rows if row["kind"] and row["title_zh"]]
        kinds = {kind: at for at, kind in enumerate(dict.fromkeys(row["kind"] for row in rows))}
        made = [
            {"id": row["id"], "image": row["image"], "title": row["title_zh"], "split": SPLITS[at % len(SPLITS)],
             "category": FINETUNING if kinds[row["kind"]] % EVERY else PRETRAINING}
            for at, row in enumerate(rows)
        ]  # fmt: skip
        write_lines(self.folder / "catalogue.jsonl", (json.dumps(row, ensure_ascii=False) for row in made))
        characters = sorted({character for row in made for character in row["title"].lower()} - {" "})
        write_lines(self.folder / "vocab.txt", [*SPECIAL, *characters, *(f"##{one}" for one in characters)])
        return {"products": len(made), "characters": len(characters)}


@dataclass(frozen=True, kw_only=True)
class BuildProducts(Build):
    """A corpus of some categories of a catalogue. vocabulary: a file.  products: settings of `ProductOptions`."""

    vocabulary: Path
    categories: tuple[str, ...]
    products: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """`interbert corpus --format products`."""
        words = ["interbert", "corpus", str(self.captions), "--format", self.format, "--language", "zh"]
        words += ["--regions", str(self.store.folder), "--out", str(self.folder), "--tokenizer", str(self.vocabulary)]
        words += [word for category in self.categories for word in ("--category", category)]
        return [*words, *settings_words((*self.products, *self.settings))]

    def do(self, progress: bool) -> dict[str, Any]:
        """Builds it; what a broken try has left is replaced."""
        wanted = changed(ProductOptions(categories=self.categories), read_pairs(self.products))
        options: BuildOptions = changed(product_build_options("zh"), read_pairs(self.settings))
        segmenter = load_segmenter()
        spam = SpamFilter(WordList.load(), None, wanted.spam_threshold)
        cleaner = TitleCleaner("zh", wanted.cleaning, segmenter, spam)
        captions = ProductCaptions(Catalogue(self.captions, wanted.columns), cleaner, wanted)
        with RegionStore(self.store.folder) as store:
            report = build_corpus(
                captions, store, Tokenizer.load(self.vocabulary), self.folder, options,
                segmenter=segmenter, replace=True, progress=progress,
            )  # fmt: skip
        corpus = Corpus(self.folder)
        counts: Mapping[str, Any] = {"texts": len(corpus), "pictures": corpus.images}
        return {**counts, "splits": report.splits, "hash": short(corpus.digest)}
