"""What says of a corpus what it is: corpus.json, README.md, tokenizer.json, extractor.json.

In: what it was made of and the report of its build. Out: files in its folder; docs/formats.md describes them.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import interbert
from interbert.corpus.arrays import FORMAT, FORMAT_VERSION, open_array
from interbert.corpus.corpus import SPLITS
from interbert.corpus.report import CorpusReport
from interbert.files import whole_file, write_json
from interbert.text.segmenting import Segmenter
from interbert.text.tokenizer import Tokenizer
from interbert.vision.provenance import TEXT_ALONE, ExtractorInfo
from interbert.vision.store import RegionStore


@dataclass(frozen=True)
class Made:
    """What a corpus was made of.

    source: the name of the captions' file.  store: None of texts alone.  options: every setting of the build.
    categories: of its pictures, by their numbers.
    """

    source: str
    store: RegionStore | None
    tokenizer: Tokenizer
    segmenter: Segmenter | None
    options: dict[str, Any]
    report: CorpusReport
    categories: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """Of the format: what needs nothing of a later one stays readable for readers of the earlier."""
        return FORMAT_VERSION if self.store is None else 2 if self.segmenter else 1

    @property
    def extractor(self) -> ExtractorInfo:
        """The extractor that made the regions."""
        return TEXT_ALONE if self.store is None else self.store.extractor

    @property
    def settings(self) -> dict[str, Any]:
        """The options, of long lists only the length."""
        return self.options | {"leave_out_ids": len(self.options["leave_out_ids"])}


def describe(building: Path, files: dict[str, Any], made: Made) -> None:
    """Writes the files. files: the description of the arrays."""
    made.report.splits = _split_counts(building, files)
    made.tokenizer.save(building / "tokenizer.json")
    made.extractor.save(building / "extractor.json")
    write_json(
        building / "corpus.json",
        {
            "format": FORMAT,
            "version": made.version,
            "interbert": interbert.__version__,
            "source": made.source,
            "regions": made.store and os.path.relpath(made.store.folder.resolve(), building.resolve()),
            "tokenizer": {"digest": made.tokenizer.digest, "vocabulary_size": made.tokenizer.vocabulary_size},
            "segmenter": asdict(made.segmenter.info) if made.segmenter else None,
            "categories": list(made.categories),
            "options": made.settings,
            "report": made.report.to_json(),
            "files": files,
        },
    )
    with whole_file(building / "README.md") as file:
        file.write(_readme(made))


def _split_counts(building: Path, files: dict[str, Any]) -> dict[str, dict[str, int]]:
    images = np.bincount(open_array(building, "split", files["split"]), minlength=len(SPLITS))
    of_texts = open_array(building, "split", files["split"])[open_array(building, "image_of", files["image_of"])]
    texts = np.bincount(of_texts, minlength=len(SPLITS))
    return {name: {"texts": int(texts[at]), "images": int(images[at])} for at, name in enumerate(SPLITS)}


def _readme(made: Made) -> str:
    tokenizer, lines = made.tokenizer, "\n".join(made.report.lines())
    letters = "lower-cased" if tokenizer.lower_case else "with capitals"
    segmenter = made.segmenter and made.segmenter.info
    words = f"\n- words: of {segmenter.name} {segmenter.version}" if segmenter else ""
    chosen = "\n".join(f"- {name}: {value}" for name, value in made.settings.items())
    title, holds, regions = _of_texts() if made.store is None else _of_pictures(made.extractor)
    return f"""# {title}

Made by interbert {interbert.__version__} (format {made.version}) from `{made.source}`, for training an InterBERT.
{holds} Open it with `interbert.corpus.corpus.Corpus(FOLDER)`. corpus.json also describes the arrays (.bin)
and has their checksums.

- {regions}
- vocabulary: {tokenizer.vocabulary_size} pieces, {letters} (tokenizer.json){words}

## Settings
{chosen}

## What was kept
```
{lines}
```
"""


def _of_pictures(extractor: ExtractorInfo) -> tuple[str, str, str]:
    return (
        "A corpus of texts and pictures",
        "It holds texts, their tokens, and which picture each belongs to; the pictures' regions are in the region\n"
        "store that corpus.json names.",
        f"extractor of the regions: {extractor.name}, {extractor.feature_size} numbers a region (extractor.json)",
    )


def _of_texts() -> tuple[str, str, str]:
    return (
        "A corpus of texts alone",
        "It holds texts and their tokens and no pictures: the text side can be pretrained on it, by its hidden words.",
        "no pictures, so no regions",
    )
