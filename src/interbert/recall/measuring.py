"""How much of the exact answer the vectors alone find, measured on topics of the index and kept beside it.

In: a `Searcher`. Out: a `Measurement`, from which the recall of every number of candidates can be read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from interbert.draws import generator_for
from interbert.errors import UsageError
from interbert.recall.memory import Measurement
from interbert.recall.search import MAX_TOPIC, Searcher

log = logging.getLogger(__name__)

TOPICS, PICTURES, ANSWERS = 64, 2_000, 20
FEW_TOPICS, FEW_PICTURES = 16, 256  # at the first use, while somebody waits
_TRIED = 20  # products looked at for each topic that is wanted


def measure(
    searcher: Searcher,
    topics: Sequence[str] | None = None,
    *,
    most_topics: int = TOPICS,
    most_pictures: int = PICTURES,
    answers: int = ANSWERS,
    progress: bool = False,
) -> Measurement:
    """Measures, and has the searcher's memory keep it.

    topics: None takes titles of the index's own products, drawn at random, as many as `most_topics`. They meet all
    pictures, or so many drawn at random; the exact answer is the best `answers` of those.
    Raises UsageError where there is no topic.
    """
    everything = searcher.store.select(searcher.version, None)
    pictures, first = np.unique(everything.pictures, return_index=True)
    drawn = np.sort(_drawn(len(pictures), most_pictures, "pictures"))
    asked = list(topics) if topics is not None else _titles(searcher, everything.rows, most_topics)
    if not asked:
        raise UsageError("no product of the index has a title to take for a topic; give topics in a file")
    sample, regions = pictures[drawn], everything.regions[first[drawn]]
    ranks = np.empty((len(asked), min(answers, len(sample))), np.int32)
    bar = tqdm(_groups(asked), "measuring", disable=None if progress else True, delay=1, leave=False)
    at = 0
    for group in bar:
        margins = searcher.exact_margins(group, sample, regions)
        for topic, of_topic in zip(group, margins, strict=True):
            best = np.argsort(-of_topic, kind="stable")[: ranks.shape[1]]
            ranks[at] = _alone_ranks(searcher, topic, sample)[best]
            at += 1
    created = datetime.now(UTC).isoformat(timespec="seconds")
    found = Measurement(searcher.model_key, created, searcher.version, len(sample), len(pictures), ranks)
    if searcher.memory is not None:
        searcher.memory.keep_measurement(found)
    return found


def measure_if_unknown(searcher: Searcher, progress: bool = False) -> None:
    """A small measurement where there is none yet; where no product has a title, that is said instead."""
    if searcher.memory is None or searcher.memory.measurement(searcher.model_key) is not None:
        return
    try:
        found = measure(searcher, most_topics=FEW_TOPICS, most_pictures=FEW_PICTURES, progress=progress)
    except UsageError as error:
        log.warning("the cascade's recall is not known: %s", error)
        return
    log.info(
        "the cascade's recall was measured on %d topics and %d of %d pictures; for more:  interbert index --measure",
        len(found.ranks),
        found.pictures,
        found.all_pictures,
    )


def _alone_ranks(searcher: Searcher, topic: str, sample: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [n]: the place of each sampled picture (ascending) among them, by vectors alone, from 0."""
    everything = len(searcher.store.select(searcher.version, None))
    nearest, _ = searcher.store.nearest(searcher.version, None, searcher.query(topic), everything)
    order = nearest.pictures[np.isin(nearest.pictures, sample)]
    distinct, first = np.unique(order, return_index=True)
    ranks = np.empty(len(distinct), np.int64)
    ranks[np.argsort(first, kind="stable")] = np.arange(len(distinct))
    return ranks


def _titles(searcher: Searcher, rows: NDArray[np.int64], most: int) -> list[str]:
    """Distinct titles that the model can read."""
    found: dict[str, None] = {}
    drawn = rows[_drawn(len(rows), most * _TRIED, "titles")]
    for product in searcher.store.products(drawn.tolist()):
        if len(found) < most and _is_readable(searcher, title := product.title[:MAX_TOPIC]):
            found.setdefault(title)
    return list(found)


def _is_readable(searcher: Searcher, title: str) -> bool:
    try:
        return len(searcher.read(title)) > 0
    except UsageError:
        return False


def _groups(topics: Sequence[str], size: int = 8) -> list[Sequence[str]]:
    return [topics[start : start + size] for start in range(0, len(topics), size)]


def _drawn(count: int, most: int, what: str) -> NDArray[np.int64]:
    """At most so many of 0..count-1, in random order."""
    generator = generator_for(0, "measure", what)
    return torch.randperm(count, generator=generator)[:most].numpy()
