"""A topic in, the products whose picture fits it out (appendix A.4): strictly above a threshold, best first.

`exact` gives every product that passes the filter the model's full score. `cascade` takes the best by the vectors of
pictures and topic read alone, and gives those the full score; it says what share of the exact answer that is known to
find. Answers come as pictures are scored: pictures with equally many regions together, so that nothing is padded.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from interbert.errors import InterbertError, UsageError
from interbert.model.alone import alone_query
from interbert.recall.filters import Filter, parse
from interbert.recall.index import open_index, scorer_of
from interbert.recall.memory import ScoreMemory
from interbert.recall.store import Cell, ProductStore, Selection
from interbert.scoring.scorer import Scorer
from interbert.tasks.ranking import STRIPE, Stripe, pairs_at_once
from interbert.training.inference import scoring

THRESHOLD = 0.6  # the paper's (A.4)
CANDIDATES = 200
MAX_TOPIC = 1_000  # characters
TOPICS_AT_ONCE = 32  # that meet a stripe of pictures together
REMEMBER_SECONDS = 60.0  # a kill loses at most the scores of so long
Mode = Literal["exact", "cascade"]


@dataclass(frozen=True)
class Question:
    """What is asked of a search. threshold: only scores strictly above it.  top_k: only the best so many of those.

    where: a filter on columns, see `filters`.  candidates: of a cascade, pictures that get the full score.
    """

    threshold: float = THRESHOLD
    mode: Mode = "exact"
    top_k: int | None = None
    where: str | None = None
    candidates: int = CANDIDATES

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:  # also where it is no number
            raise UsageError(f"threshold: got {self.threshold}, wanted a number in 0..1")
        if self.mode not in ("exact", "cascade"):
            raise UsageError(f"mode: got '{self.mode}', wanted exact or cascade")
        if (self.top_k is not None and self.top_k < 1) or self.candidates < 1:
            raise UsageError(f"top_k {self.top_k}, candidates {self.candidates}: wanted at least 1")


@dataclass(frozen=True)
class Hit:
    """A product that was found. score: in [0, 1].  image: as its catalogue named it.  cells: its columns.

    picture: the key of what it shows.
    """

    id: str
    title: str
    score: float
    image: str
    picture: str
    cells: dict[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True)
class Early:
    """What a search has found since it last said so. scored, total: products so far, and in all."""

    scored: int
    total: int
    hits: list[Hit]


@dataclass(frozen=True)
class Answer:
    """What a search has found: hits best first; recalled counts all above the threshold, also beyond top_k.

    passed: products that pass the filter.  scored: those of them that got a full score.  measured: of a cascade, the
    share of the exact answer that it is known to find, and how that is known.
    """

    topic: str
    question: Question
    index_version: int
    hits: list[Hit]
    passed: int
    scored: int
    recalled: int
    seconds: float
    measured: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "topic": self.topic,
            "threshold": self.question.threshold,
            "mode": self.question.mode,
            "total_passed": self.passed,
            "total_scored": self.scored,
            "total_recalled": self.recalled,
            "items": [vars(hit) for hit in self.hits],
            "measured_recall": self.measured,
            "index_version": self.index_version,
            "seconds": round(self.seconds, 3),
        }


class Part(NamedTuple):
    """Places of topics, int64 [t], and of distinct pictures, int64 [n], that meet each other at once."""

    topics: NDArray[np.int64]
    pictures: NDArray[np.int64]


class Searcher:
    """One version of an index with its model; `open_searcher` makes it. Several threads may ask."""

    def __init__(
        self, store: ProductStore, scorer: Scorer, memory: ScoreMemory | None = None, version: int | None = None
    ) -> None:
        versions = store.versions()
        if not versions:
            raise InterbertError("the index has no products yet; give  interbert index CATALOGUE  again, to its end")
        self.store, self.scorer, self.memory = store, scorer, memory
        if memory is not None:
            memory.belong_to(store.picture_key)
        self.version = versions[-1].number if version is None else version
        self.model_key = store.facts.weights_sha256
        self.score_key = self.model_key if scorer.precision == "fp32" else f"{self.model_key} in {scorer.precision}"

    def recall(self, topic: str, question: Question | None = None) -> Answer:
        """The products of a topic."""
        (answer,) = self.recall_all([topic], question)
        return answer

    def recall_all(
        self, topics: Sequence[str], question: Question | Sequence[Question] | None = None, progress: bool = False
    ) -> Iterator[Answer]:
        """The products of each topic, in order; pictures are read once for many topics.

        question: of all topics, or one for each; neighbours with the same filter share the reading of pictures.
        Raises UsageError for a topic that says nothing or too much, or a filter that doesn't parse.
        """
        questions = [question or Question()] * len(topics) if not isinstance(question, Sequence) else question
        filters = {where: self._filter(where) for where in {one.where for one in questions}}
        words = self._words(topics)  # before the first is scored
        for part in _together(questions):
            began = time.perf_counter()
            where = filters[questions[part][0].where]
            passed = self.store.select(self.version, where)
            chosen = self._chosen(topics[part.start], questions[part.start], where, passed)
            found = _Found(self, chosen, questions[part])
            for places, margins in self._scored(topics[part], words[part], chosen, progress):
                found.add(places, margins)
            seconds = (time.perf_counter() - began) / len(topics[part])
            for at, topic in enumerate(topics[part]):
                yield self._answer(topic, found, at, passed, seconds)

    def stream(self, topic: str, question: Question | None = None) -> Generator[Early, None, Answer]:
        """Products as they are found, in any order; with top_k, those among the best so far. Returns the answer."""
        question, began = question or Question(), time.perf_counter()
        words, where = self._words([topic]), self._filter(question.where)
        passed = self.store.select(self.version, where)
        chosen = self._chosen(topic, question, where, passed)
        found, scored = _Found(self, chosen, [question]), 0
        for places, margins in self._scored([topic], words, chosen):
            (new,) = found.add(places, margins)
            scored += int(found.counts[places].sum())
            yield Early(scored, len(chosen), found.hits(new))
        return self._answer(topic, found, 0, passed, time.perf_counter() - began)

    def check(self, topic: str, question: Question) -> None:
        """Raises UsageError for what `recall` would raise it for."""
        self.read(topic)
        self._filter(question.where)

    def read(self, topic: str) -> NDArray[np.int64]:
        """A topic's token ids, as many as the model reads.

        Raises UsageError where it is empty, too long, or of a language that the model doesn't know.
        """
        if not topic.strip():
            raise UsageError("the topic is empty; wanted some words")
        if len(topic) > MAX_TOPIC:
            raise UsageError(f"the topic has {len(topic):,} characters; wanted at most {MAX_TOPIC:,}")
        tokenizer, limit = self.scorer.tokenizer, self.scorer.model.config.max_text_tokens
        ids = tokenizer.encode(topic, limit)
        if all(id == tokenizer.unknown_id for id in ids[1:-1]):
            raise UsageError(f"topic '{topic:.60}': the model's vocabulary has none of its words; is it its language?")
        return np.array(ids, np.int64)

    def query(self, topic: str) -> NDArray[np.float32]:
        """float32 [F]: a picture's vector alone times it is its margin with the topic alone, less a constant."""
        (vector,) = self.scorer.encode_text([topic], show_progress_bar=False)
        return alone_query(self.scorer.model, torch.from_numpy(vector)).numpy()

    def exact_margins(
        self, topics: Sequence[str], pictures: NDArray[np.int64], regions: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The margins of topics with distinct pictures by their numbers, each pair read together: float32 [topics, n].

        pictures: int64 [n].  regions: int64 [n], how many each has.
        """
        order = np.argsort(pictures)
        selection = Selection(order, pictures[order], regions[order])
        found = np.empty((len(topics), len(pictures)), np.float32)
        for places, margins in self._scored(topics, [self.read(topic) for topic in topics], selection):
            found[:, order[places]] = margins
        return found

    def _words(self, topics: Sequence[str]) -> list[NDArray[np.int64]]:
        """Token ids of topics; how many were cut is said once."""
        self.scorer.words(topics)
        return [self.read(topic) for topic in topics]

    def _filter(self, where: str | None) -> Filter | None:
        return None if not where else parse(where, self.store.columns())

    def _chosen(self, topic: str, question: Question, where: Filter | None, passed: Selection) -> Selection:
        """The products that get a full score, of those that pass the filter."""
        if question.mode == "exact":
            return passed
        return self.store.nearest(self.version, where, self.query(topic), question.candidates)[0]

    def _scored(
        self,
        topics: Sequence[str],
        words: Sequence[NDArray[np.int64]],
        selection: Selection,
        progress: bool = False,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """(places in the ascending distinct pictures of `selection`, margins [topics, n]) until all have one.

        Remembered ones come first. What was computed is remembered also where nobody waits for the rest.
        """
        pictures, first = np.unique(selection.pictures, return_index=True)
        regions = selection.regions[first]
        margins = np.full((len(topics), len(pictures)), np.nan, np.float32)
        for at, topic in enumerate(topics):
            margins[at] = self._remembered(topic, pictures)
        known = np.isfinite(margins)
        at_once = np.flatnonzero(known.all(0))
        if len(at_once):
            yield at_once, margins[:, at_once]
        missing = np.flatnonzero(~known.all(0))
        missing = missing[np.argsort(regions[missing], kind="stable")]
        parts = [missing[start : start + STRIPE] for start in range(0, len(missing), STRIPE)]
        remembered = time.monotonic()
        try:
            todo = [Part(np.flatnonzero(~known[:, at].all(1)), at) for at in parts]
            done = self._parts_computed(words, pictures, todo)
            bar = tqdm(done, "scoring", len(parts), disable=None if progress else True, delay=1, leave=False)
            for (lacking, part), found in bar:
                margins[np.ix_(lacking, part)] = found
                yield part, margins[:, part]
                if time.monotonic() - remembered > REMEMBER_SECONDS:
                    known = self._remember(topics, pictures, margins, known)
                    remembered = time.monotonic()
        finally:
            self._remember(topics, pictures, margins, known)

    def _parts_computed(
        self, words: Sequence[NDArray[np.int64]], pictures: NDArray[np.int64], parts: Sequence[Part]
    ) -> Iterator[tuple[Part, NDArray[np.float32]]]:
        """Every part with its margins, in any order."""
        for part in parts:
            yield part, self._computed([words[at] for at in part.topics.tolist()], pictures[part.pictures])

    def _computed(self, words: Sequence[NDArray[np.int64]], pictures: NDArray[np.int64]) -> NDArray[np.float32]:
        """Margins of texts with pictures, float32 [texts, n]. Raises InterbertError where one is not finite."""
        regions = self.store.regions(pictures.tolist())
        model = self.scorer.model_for(len(words) * len(regions))
        positions = max(map(len, words)) + 1 + sum(map(len, regions)) // len(regions)
        with scoring(self.scorer.precision, self.scorer.device):
            margins = Stripe(model, regions, pairs_at_once(self.scorer.device, positions)).margins(words)
        if not np.isfinite(margins).all():
            raise InterbertError("a score is not a finite number; the weights or the index's regions are broken")
        return margins

    def _remembered(self, topic: str, pictures: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [n]: known margins, NaN for the others."""
        found = np.full(len(pictures), np.nan, np.float32)
        if self.memory is not None:
            there, margins = self.memory.margins(self.score_key, topic)
            _, mine, theirs = np.intersect1d(pictures, there, assume_unique=True, return_indices=True)
            found[mine] = margins[theirs]
        return found

    def _remember(
        self, topics: Sequence[str], pictures: NDArray[np.int64], margins: NDArray[np.float32], known: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Keeps what is new since `known`. Returns what is known from then on."""
        new = np.isfinite(margins) & ~known
        if self.memory is not None:
            for at in np.flatnonzero(new.any(1)).tolist():
                self.memory.keep(self.score_key, topics[at], pictures[new[at]], margins[at, new[at]])
        return new | known

    def _answer(self, topic: str, found: _Found, at: int, passed: Selection, seconds: float) -> Answer:
        """Of the topic in place `at`, once everything is scored."""
        asked, counts = found.questions[at], (len(passed), int(found.counts.sum()), found.recalled[at])
        return Answer(topic, asked, self.version, found.best(at), *counts, seconds, self._measured(asked, passed))

    def _measured(self, question: Question, passed: Selection) -> dict[str, Any] | None:
        """What is known of the cascade's recall; None where it is exact, or nothing was measured."""
        one = None if self.memory is None or question.mode == "exact" else self.memory.measurement(self.model_key)
        pictures = np.count_nonzero(np.bincount(passed.pictures))
        return None if one is None else one.to_json(question.candidates, int(pictures))


Scored = tuple[float, int, float]  # less the margin, the product's row, the score: sorted, the best come first


class _Found:
    """Products above the threshold of each of several questions, at most its `top_k`; `recalled` counts all."""

    def __init__(self, searcher: Searcher, chosen: Selection, questions: Sequence[Question]) -> None:
        self._store, self._scorer, self.questions = searcher.store, searcher.scorer, questions
        _, of_picture = np.unique(chosen.pictures, return_inverse=True)
        self.counts = np.bincount(of_picture)  # products of each distinct picture
        self._rows = chosen.rows[np.argsort(of_picture, kind="stable")]
        self._ends = np.cumsum(self.counts)
        self._best: list[list[Scored]] = [[] for _ in questions]
        self.recalled = [0] * len(questions)

    def add(self, places: NDArray[np.int64], margins: NDArray[np.float32]) -> list[list[Scored]]:
        """Takes margins of pictures, and returns for each topic which products are new among its best."""
        return [self._added(at, places, of_topic) for at, of_topic in enumerate(margins)]

    def best(self, topic: int) -> list[Hit]:
        """The best products of a topic, best first."""
        return self.hits(sorted(self._best[topic]))

    def hits(self, found: Sequence[Scored]) -> list[Hit]:
        """What was found, in that order."""
        both = zip(found, self._store.products([row for _, row, _ in found]), strict=True)
        return [Hit(one.id, one.title, score, one.image, one.picture, dict(one.cells)) for (_, _, score), one in both]

    def _added(self, topic: int, places: NDArray[np.int64], margins: NDArray[np.float32]) -> list[Scored]:
        scores, question = self._scorer.probabilities(margins), self.questions[topic]
        above = scores > np.float32(question.threshold)
        of_pictures = zip(places[above].tolist(), margins[above].tolist(), scores[above].tolist(), strict=True)
        new = sorted(
            (-margin, row, score)
            for place, margin, score in of_pictures
            for row in self._rows[self._ends[place] - self.counts[place] : self._ends[place]].tolist()
        )
        self.recalled[topic] += len(new)
        if question.top_k is None:
            self._best[topic] += new
            return new
        self._best[topic] = sorted(self._best[topic] + new)[: question.top_k]
        return [one for one in new if one <= self._best[topic][-1]]


def open_searcher(
    folder: str | Path,
    run: str | Path | None = None,
    revision: str | None = None,
    version: int | None = None,
    *,
    address: str | None = None,
    calibrated: bool = True,
    precision: str = "fp32",
) -> Searcher:
    """The searcher of an index in a folder, with the model it was made with.

    run: where that model is now; None: where it was.  version: None is the newest.  address: as of `open_index`.
    calibrated, precision: as of `load`.
    """
    store = open_index(folder := Path(folder), address)
    scorer = scorer_of(store, folder, run, revision, calibrated=calibrated, precision=precision)
    return Searcher(store, scorer, ScoreMemory(folder / "scores.sqlite"), version)


def _together(questions: Sequence[Question]) -> Iterator[slice]:
    """Neighbours whose pictures are the same, at most `TOPICS_AT_ONCE`; of a cascade each has its own candidates."""
    start = 0
    while start < len(questions):
        end, first = start + 1, questions[start]
        most = min(len(questions), start + (TOPICS_AT_ONCE if first.mode == "exact" else 1))
        while end < most and (questions[end].mode, questions[end].where) == (first.mode, first.where):
            end += 1
        yield slice(start, end)
        start = end
