"""Captions and a region store in, a corpus on disk out: cleaned, split by picture, test pictures removed (4.1).

A corpus is built in a folder beside its place and renamed when it is whole. What is dropped is counted by reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from interbert.corpus.describing import Made, describe
from interbert.corpus.gathering import Gathering, OfPictures, usable_pictures
from interbert.corpus.options import BuildOptions
from interbert.corpus.placing import placed
from interbert.corpus.readers import Accounted, Caption
from interbert.corpus.report import CorpusReport
from interbert.corpus.texts_alone import OfTexts
from interbert.corpus.writer import CorpusWriter
from interbert.errors import InterbertError
from interbert.text.segmenting import Segmenter
from interbert.text.tokenizer import Tokenizer
from interbert.vision.store import RegionStore

__all__ = ["BuildOptions", "build_corpus"]
_BLOCK = 20_000  # texts cut at once


def build_corpus(
    captions: Iterable[Caption],
    store: RegionStore | None,
    tokenizer: Tokenizer,
    out: str | Path,
    options: BuildOptions | None = None,
    *,
    segmenter: Segmenter | None = None,
    replace: bool = False,
    progress: bool = False,
) -> CorpusReport:
    """Joins captions with the store's pictures and writes the corpus to the folder `out`, whole or not at all.

    store: None makes a corpus of texts alone, whatever pictures the captions name.
    segmenter: marks which tokens are one word, for masking whole words (3.3) where no blanks say it.
    replace: an older corpus at `out` is replaced when the new one is whole.  progress: on stderr.
    Raises UsageError where `out` exists, InterbertError where nothing is left, more than 1 % of the source cannot be
    read, or the vocabulary does not know the texts.
    """
    out, options, report = Path(out), options or BuildOptions(), CorpusReport()
    with placed(out, replace) as building:
        spool = building / "spool"
        gathered: Gathering
        if store is None:
            gathered = OfTexts(spool, options, report)
        else:
            gathered = OfPictures(spool, usable_pictures(store, options, report), options, report)
        gathered.read(tqdm(captions, "reading captions", disable=not progress, unit=" captions"))
        if isinstance(captions, Accounted):
            captions.account(report)
        files = _write(building, gathered, tokenizer, segmenter, progress)
        spool.unlink()
        source = captions.path.name if isinstance(captions, Accounted) else "captions in memory"
        made = Made(source, store, tokenizer, segmenter, asdict(options), report, tuple(gathered.categories))
        describe(building, files, made)
    return report


def _cut(
    texts: list[str], tokenizer: Tokenizer, segmenter: Segmenter | None
) -> list[tuple[list[int], list[bool] | None]]:
    """The ids of each text, and which of them go on with a word where there is a segmenter."""
    if segmenter is None:
        return [(ids, None) for ids in tokenizer.encode_many(texts)]
    return list(tokenizer.encode_words(texts, [segmenter.words(text) for text in texts]))


def _write(
    building: Path, gathered: Gathering, tokenizer: Tokenizer, segmenter: Segmenter | None, progress: bool
) -> dict[str, Any]:
    """Cuts and writes all texts. Returns the description of the arrays."""
    report, limit = gathered.report, gathered.options.max_tokens
    words = unknown = 0
    categorised, segmented = bool(gathered.categories), segmenter is not None
    with CorpusWriter(building, tokenizer.vocabulary_size, segmented, categorised) as writer:
        bar = tqdm(total=len(gathered.ends) - 1, desc="cutting texts", disable=not progress, unit=" texts")
        kept, last = np.zeros(len(gathered), np.bool_), -1
        for block in _blocks(gathered.texts()):
            pieces = _cut([text for _, text in block], tokenizer, segmenter)
            for (item, text), (ids, continues) in zip(block, pieces, strict=True):
                if len(ids) == 2:
                    report.drop("the vocabulary has nothing for it", f"{gathered.id_of(item)}: {text}")
                    continue
                words, unknown = words + len(ids) - 2, unknown + ids.count(tokenizer.unknown_id)
                if len(ids) > limit:
                    report.note(f"texts cut to {limit} tokens", 1, text)
                    ids = [*ids[: limit - 1], tokenizer.sep_id]
                    continues = continues and [*continues[: limit - 1], False]
                if item != last:
                    writer.add_picture(*gathered.item(item))
                    kept[item], last = True, item
                writer.add_text(text, ids, continues)
            bar.update(len(block))
        bar.close()
    gathered.count_unused(kept)
    report.captions["kept"] = writer.texts
    if report.pictures:
        report.pictures["kept"] = writer.images
    if unknown > gathered.options.max_unknown_share * max(1, words):
        raise InterbertError(
            f"the vocabulary does not know {unknown / words:.0%} of the texts' pieces, wanted at most "
            f"{gathered.options.max_unknown_share:.0%}: is it of another language? Give the vocabulary of a BERT for "
            f"'{gathered.options.language}' texts"
        )
    report.note("pieces the vocabulary does not know", unknown)
    if not writer.texts:
        raise InterbertError(f"nothing is left for the corpus:\n{report}\n{gathered.advice}")
    return writer.files


def _blocks(texts: Iterator[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    while block := list(itertools.islice(texts, _BLOCK)):
        yield block
