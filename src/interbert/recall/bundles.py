"""Thousands of topics recalled in one go (appendix A.4, Figure 4): a line of JSON each, for a recommender.

In: topics and a `Searcher`. Out: a file of lines, whole or not there; until then they stand in FILE.partial. The same
command takes over the lines that still hold: of the same topic, model, calibration, index version and reviews.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from interbert.errors import InterbertError, UsageError
from interbert.files import sync_folder, whole_file
from interbert.recall.search import Answer, Question, Searcher
from interbert.recall.topics import Topic, Topics
from interbert.scoring.calibration import RAW, Calibration

Line = dict[str, Any]


@dataclass(frozen=True)
class BundleReport:
    """What was recalled. taken_over: lines that were there.  failures: topic -> why it cannot be asked."""

    topics: int
    recalled: int
    taken_over: int
    empty: int
    failures: dict[str, str] = field(default_factory=dict)

    def lines(self, out: Path) -> Iterator[str]:
        """For people."""
        done = self.recalled + self.taken_over
        yield f"{out}: {done} topics, {self.recalled} recalled now, {self.taken_over} taken over"
        if self.empty:
            yield f"{self.empty} of them have no product"
        yield from (f"topic '{name:.60}' was left out: {why}" for name, why in self.failures.items())

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def recall_topics(
    searcher: Searcher, topics: Sequence[Topic], base: Question, kept: Topics | None = None, progress: bool = False
) -> Iterator[tuple[Topic, Answer]]:
    """What each topic bundles, topics of one filter together. base: what is asked where a topic says nothing.

    kept: products that reviews have dropped from a topic are left out. Raises UsageError where a topic cannot be asked.
    """
    ordered = sorted(topics, key=lambda topic: topic.question(base).where or "")
    dropped = {topic.name: kept.dropped(topic.name) if kept else set() for topic in ordered}
    asked = [topic.question(base, len(dropped[topic.name])) for topic in ordered]
    answers = searcher.recall_all([topic.title for topic in ordered], asked, progress)
    for topic, answer in zip(ordered, answers, strict=True):
        yield topic, _without(answer, dropped[topic.name], topic.question(base))


def write_bundles(
    searcher: Searcher,
    topics: Sequence[Topic],
    base: Question,
    out: Path,
    *,
    kept: Topics | None = None,
    keep: bool = False,
    progress: bool = False,
) -> BundleReport:
    """Recalls topics into `out`, a line of JSON each. kept: see `recall_topics`.  keep: each is kept there too.

    A topic that cannot be asked is left out and reported. Raises InterbertError where the file cannot be written,
    UsageError where it holds something else.
    """
    _check_file(out)
    asked, failures = _askable(searcher, topics, base)
    heads = {topic.name: _head(searcher, topic, base, kept) for topic in asked}
    partial = out.with_name(out.name + ".partial")
    try:
        with _alone(out):
            there = {**_lines_of(out, heads), **_lines_of(partial, heads)}
            if keep and kept is not None:
                version = searcher.version
                there = {name: line for name, line in there.items() if kept.has(_kept_topic(heads[name]), version)}
            missing = [topic for topic in asked if topic.name not in there]
            empty = sum(not line["items"] for line in there.values())
            with _goes_on(partial, there.values()) as file:
                found = recall_topics(searcher, missing, base, kept)
                for topic, answer in tqdm(found, "topics", len(missing), disable=None if progress else True, delay=1):
                    if keep and kept is not None:
                        kept.put(_kept_topic(heads[topic.name]), answer)
                    empty += not answer.hits
                    file.write(_to_line(heads[topic.name], answer))
                    file.flush()
                os.fsync(file.fileno())
            os.replace(partial, out)
            sync_folder(out.parent)
    except OSError as error:
        raise InterbertError(
            f"'{out}' cannot be written ({error.strerror}); mend this, and the same command goes on"
        ) from error
    return BundleReport(len(topics), len(missing), len(there), empty, failures)


def _askable(searcher: Searcher, topics: Sequence[Topic], base: Question) -> tuple[list[Topic], dict[str, str]]:
    """The topics that can be asked, and of the others why not."""
    good: list[Topic] = []
    failures: dict[str, str] = {}
    for topic in topics:
        try:
            searcher.check(topic.title, topic.question(base))
            good.append(topic)
        except UsageError as error:
            failures[topic.name] = str(error)
    if not good:
        name, why = next(iter(failures.items()), ("", "there are none"))
        raise UsageError(f"no topic can be asked; the first, '{name:.60}': {why}")
    return good, failures


def _without(answer: Answer, dropped: set[str], asked: Question) -> Answer:
    """Without dropped products, and so many as were asked for."""
    hits = [hit for hit in answer.hits if hit.id not in dropped]
    return replace(answer, question=asked, hits=hits[: asked.top_k])


def _head(searcher: Searcher, topic: Topic, base: Question, kept: Topics | None) -> Line:
    """What a line was asked of: lines with equal heads are equal."""
    asked = topic.question(base)
    return asdict(topic.filled(base)) | {
        "mode": asked.mode,
        "candidates": asked.candidates if asked.mode == "cascade" else None,
        "dropped": sorted(kept.dropped(topic.name)) if kept else [],
        "index_version": searcher.version,
        "model": searcher.score_key,
        "calibration": _named(searcher.scorer.calibration),
    }


def _kept_topic(head: Line) -> Topic:
    return Topic(*(head[name] for name in ("name", "title", "sub_title", "threshold", "filter", "limit")))


def _to_line(head: Line, answer: Answer) -> str:
    items = [{"id": hit.id, "score": hit.score, "title": hit.title, "image": hit.image} for hit in answer.hits]
    found = {
        "cover": items[0]["id"] if items else None,
        "total_passed": answer.passed,
        "total_scored": answer.scored,
        "total_recalled": answer.recalled,
        "measured_recall": answer.measured,
        "items": items,
    }
    return json.dumps(head | found, ensure_ascii=False) + "\n"


def _lines_of(path: Path, heads: Mapping[str, Line]) -> dict[str, Line]:
    """The lines of a file that still hold, by the names of their topics; a torn last one does not."""
    found: dict[str, Line] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for text in file:
                line = _whole(text)
                head = heads.get(str(line.get("name")))
                if head is not None and {name: line.get(name) for name in head} == head and "items" in line:
                    found[line["name"]] = line
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InterbertError(f"'{path}' cannot be read ({error.strerror}); give another --out") from error
    return found


def _check_file(path: Path) -> None:
    """Raises UsageError where a file is there that is none of ours, which would be replaced."""
    if path.is_file() and path.stat().st_size:
        with open(path, encoding="utf-8", errors="replace") as file:
            if not _whole(file.readline()).keys() >= {"name", "items", "index_version"}:
                raise UsageError(f"--out: '{path}' holds something else than recalled topics; give another file")


def _whole(text: str) -> Line:
    try:
        line = json.loads(text) if text.endswith("\n") else {}
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Inside, no other process writes `out`. Raises InterbertError where one does."""
    path = out.with_name(f".{out.name}.lock")
    with open(path, "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InterbertError(f"'{out}' is being written by another process; wait for it, or give another") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _goes_on(partial: Path, lines: Iterable[Line]) -> IO[str]:
    """The partial file, with these lines, open for more."""
    with whole_file(partial) as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return open(partial, "a", encoding="utf-8")


def _named(calibration: Calibration) -> str:
    """Equal where the probabilities are."""
    if calibration == RAW:
        return "raw"
    numbers = (calibration.margins, calibration.logits, calibration.slope, calibration.base_rate, calibration.prior)
    return f"{calibration.kind}:{hashlib.sha256(repr(numbers).encode()).hexdigest()[:16]}"
