"""How much of the exact answer the vectors alone find, measured on topics of the index and kept beside it.

In: a `Searcher`. Out: a `Measurement`, from which the recall of every number of candidates can be read.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from interbert.draws import generator_for
from interbert.errors import UsageError
from interbert.recall.memory import NEVER, Measurement
from interbert.recall.search import MAX_TOPIC, Searcher
from interbert.recall.store import Selection

log = logging.getLogger(__name__)

TOPICS, PICTURES, ANSWERS = 64, 2_000, 20
FEW_TOPICS, FEW_PICTURES = 16, 280  # at the first use, while somebody waits
HEAD = 0.75  # of the pictures: those that vectors put first, among which the usual candidates are
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
    pictures; of more than `most_pictures`, those that vectors put first and some drawn of the others. A drawn one that
    is better than a topic's best stands for as many as were not drawn, and each of them for an answer never found.
    Raises UsageError where there is no topic.
    """
    everything = searcher.store.select(searcher.version, None)
    pictures, first = np.unique(everything.pictures, return_index=True)
    asked = list(topics) if topics is not None else _titles(searcher, everything.rows, most_topics)
    if not asked:
        raise UsageError("no product of the index has a title to take for a topic; give topics in a file")
    few = len(pictures) <= most_pictures
    head = len(pictures) if few else max(1, int(HEAD * most_pictures))
    drawn = np.sort(_drawn(len(pictures), 0 if few else most_pictures - head, "pictures"))
    sample = Selection(drawn, pictures[drawn], everything.regions[first[drawn]])
    ranks, missed = np.empty((len(asked), min(answers, head)), np.int32), 0.0
    for at, topic in enumerate(tqdm(asked, "measuring", disable=None if progress else True, delay=1, leave=False)):
        near = _nearest(searcher, topic, head)
        margins = searcher.exact_margins([topic], near.pictures, near.regions)[0]
        ranks[at] = np.argsort(-margins, kind="stable")[: ranks.shape[1]]
        others = sample.at(~np.isin(sample.pictures, near.pictures))
        if len(others):
            better = searcher.exact_margins([topic], others.pictures, others.regions)[0] > margins[ranks[at, -1]]
            missed += float(better.mean()) * (len(pictures) - head)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    sizes = head + len(sample), len(pictures)
    found = Measurement(searcher.model_key, created, searcher.version, *sizes, with_missed(ranks, missed))
    if searcher.memory is not None:
        searcher.memory.keep_measurement(found)
    return found


def with_missed(ranks: NDArray[np.int32], missed: float) -> NDArray[np.int32]:
    """Where so many answers of all topics together are never found: in place of each topic's last ones.

    >>> with_missed(np.array([[0, 1], [2, 0]], np.int32), 1.2).tolist()
    [[0, 1], [2, 2147483647]]
    """
    found = ranks.T.copy()  # the topics' best, their second best, …
    found.reshape(-1)[max(0, found.size - math.ceil(missed - 0.5)) :] = NEVER
    return found.T.copy()


def measure_if_unknown(searcher: Searcher, progress: bool = False) -> None:
    """A small measurement where there is none yet; where no product has a title, that is said instead."""
    if searcher.memory is None or searcher.memory.measurement(searcher.model_key) is not None:
        return
    if not searcher.memory.is_usable:
        log.warning("the cascade's recall is not known: it could not be kept, and would be measured at every search")
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


def _nearest(searcher: Searcher, topic: str, count: int) -> Selection:
    """One product of each of the first pictures by vectors alone, best first."""
    found, _ = searcher.store.nearest(searcher.version, None, searcher.query(topic), count)
    return found.at(np.diff(found.pictures, prepend=-1) != 0)  # those of one picture stand together


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


def _drawn(count: int, most: int, what: str) -> NDArray[np.int64]:
    """At most so many of 0..count-1, in random order."""
    generator = generator_for(0, "measure", what)
    return torch.randperm(count, generator=generator)[:most].numpy()
