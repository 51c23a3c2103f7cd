"""A page to look at: held-out pictures recalled for topics with their scores, beside what an untrained model recalls.

A picture is right for a topic where the topic is one of the picture's own texts; what the pool holds of them is the
share that drawing at random would find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from interbert.batch import Regions
from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError, UsageError
from interbert.pretraining.job import Pretraining
from interbert.pretraining.run import feature_sample, init_kind, started
from interbert.scoring.scorer import Scorer, load
from interbert.training.report import picture_file
from interbert.webpage import figure, picture_uri, write_page


@dataclass(frozen=True)
class Recalled:
    """A picture of a topic's best. image: its number in the corpus.  right: whether the topic is one of its texts."""

    image: int
    score: float
    right: bool


@dataclass(frozen=True)
class Topic:
    """What both models recall. pool_right: how many pictures of the pool are right; 0 where nothing is known."""

    text: str
    pool: int
    pool_right: int
    trained: tuple[Recalled, ...]
    untrained: tuple[Recalled, ...]

    @property
    def possible(self) -> int:
        """The most that a best list can have right."""
        return min(len(self.trained), self.pool_right)


@dataclass(frozen=True)
class RecallReport:
    """What the page says, topic by topic."""

    topics: tuple[Topic, ...]

    def lines(self) -> list[str]:
        """For people, a line each: right of the best after and before training, and the pool's share."""
        wide = max(len(topic.text) for topic in self.topics)
        lines = []
        for topic in self.topics:
            after, before = right(topic.trained), right(topic.untrained)
            known = f"{after:>2} right of {len(topic.trained)} (untrained {before}); {share(topic):.2f} of the pool are"
            lines.append(f"{topic.text:<{wide}}  {known if topic.pool_right else 'what is right is not known'}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Everything, for --json."""
        return asdict(self)


def right(recalled: Sequence[Recalled]) -> int:
    """How many are right."""
    return sum(one.right for one in recalled)


def share(topic: Topic) -> float:
    """Of the pool's pictures, how many are right."""
    return topic.pool_right / topic.pool


def read_topics(path: Path) -> list[str]:
    """A topic a line; blank lines do not count."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not UTF-8 ({error.reason} at byte {error.start}); save it so") from error
    return [line.strip() for line in lines if line.strip()]


def recall_page(
    corpus_folder: Path,
    run: str | Path,
    topics: Sequence[str],
    out: Path,
    *,
    init: str | None = None,
    split: str = "validation",
    best: int = 10,
    progress: bool = True,
) -> RecallReport:
    """Ranks a split's pictures for each topic, by the run and by the model it began as, and writes the page.

    init: what the run was started from, as given to `pretrain`. Raises UsageError without topics, InterbertError where
    the split has no pictures or the corpus does not fit the run.
    """
    if not topics:
        raise UsageError("there are no topics; give --topic TEXT or --topics FILE")
    corpus, scorer = Corpus(corpus_folder), load(run)
    corpus.require(f"run '{run}'", scorer.extractor, scorer.tokenizer)
    pool = np.unique(corpus.images_of[corpus.split(split)]).tolist()
    if not pool:
        raise InterbertError(
            f"split '{split}' of corpus '{corpus_folder}' has no pictures; build it with held-out ones"
        )
    regions = [corpus.regions(image) for image in pool]
    texts = [{corpus.text(text).casefold() for text in corpus.texts_of(image)} for image in pool]
    models = (scorer, untrained(corpus, scorer, init))
    found = []
    for topic in tqdm(topics, "recall", unit="topic", disable=None if progress else True):
        is_right = [topic.casefold() in said for said in texts]
        lists = [_best(model, topic, pool, regions, is_right, best) for model in models]
        found.append(Topic(topic, len(pool), sum(is_right), *lists))
    report = RecallReport(tuple(found))
    write_page(out, "What the model has learned", _body(report, corpus, run))
    return report


def untrained(corpus: Corpus, scorer: Scorer, init: str | None) -> Scorer:
    """The run's model as it was before its first step: its configuration, started from `init` with seed 0."""
    tokenizer, seed = corpus.tokenizer(), Pretraining().training.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, _ = started(Pretraining(model=scorer.model.config), init, corpus, tokenizer)
    if model.config.region_standardised and init_kind(init) != "run":
        model.image_embedding.standardise(feature_sample(corpus, seed))
    return Scorer(model, tokenizer, scorer.extractor, device=scorer.device)


def _best(
    scorer: Scorer, topic: str, pool: Sequence[int], regions: Sequence[Regions], is_right: Sequence[bool], best: int
) -> tuple[Recalled, ...]:
    ranked = scorer.rank(topic, regions, best, show_progress_bar=False)
    return tuple(Recalled(pool[one["corpus_id"]], one["score"], is_right[one["corpus_id"]]) for one in ranked)


def _body(report: RecallReport, corpus: Corpus, run: str | Path) -> str:
    known = [topic for topic in report.topics if topic.pool_right]
    pool = report.topics[0].pool
    parts = [
        "<h1>What the model has learned</h1>",
        f"<p>The {pool} pictures below took no part in training. For each topic, all of them were scored against its "
        "words, and the best are shown: by the trained model, and by the same model before it was trained.</p>",
    ]
    if known:
        parts += [_summary(known)]
    shown = {one.image for topic in report.topics for one in (*topic.trained, *topic.untrained)}
    pictures = {image: _picture(corpus, image) for image in shown}
    parts += [_topic(topic, corpus, pictures) for topic in report.topics]
    parts.append(
        f"<footer>Run {escape(str(run))}, corpus {escape(str(corpus.folder))}. Scores are probabilities that picture "
        "and words belong together. A tick marks pictures that carry the topic among their own texts.</footer>"
    )
    return "\n".join(parts)


def _summary(topics: Sequence[Topic]) -> str:
    rows = "".join(
        f"<tr><td>{escape(topic.text)}</td><td class=number>{right(topic.trained)} of {len(topic.trained)}</td>"
        f"<td class=number>{right(topic.untrained)} of {len(topic.untrained)}</td>"
        f"<td class=number>{topic.pool_right} of {topic.pool} ({share(topic):.0%})</td></tr>"
        for topic in topics
    )
    best = sum(len(topic.trained) for topic in topics)
    after, before = (sum(right(getattr(t, name)) for t in topics) / best for name in ("trained", "untrained"))
    chance = sum(share(topic) * len(topic.trained) for topic in topics) / best
    return (
        "<section><h2>How often it is right</h2>"
        f"<p class=soft>Of all pictures shown, {after:.0%} are right after training, {before:.0%} before; drawn at "
        f"random, {chance:.0%} would be.</p><table><thead><tr><th>Topic</th><th class=number>Trained</th>"
        "<th class=number>Untrained</th><th class=number>In the pool</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></section>"
    )


def _topic(topic: Topic, corpus: Corpus, pictures: dict[int, str | None]) -> str:
    said = ""
    if topic.pool_right:
        most = f"; more than {topic.possible} cannot be" if topic.possible < len(topic.trained) else ""
        said = (
            f"<p class=soft>{right(topic.trained)} of the best {len(topic.trained)} are right where "
            f"{share(topic):.2f} of the pool are{most}; untrained, {right(topic.untrained)}.</p>"
        )
    rows = [
        f"<div class=label>{label}</div><div class=row>"
        + "".join(figure(pictures[one.image], _name(corpus, one.image), one.score, right=one.right) for one in best)
        + "</div>"
        for label, best in (("Trained", topic.trained), ("Untrained", topic.untrained))
    ]
    return f"<section><h2>{escape(topic.text)}</h2>{said}{''.join(rows)}</section>"


def _name(corpus: Corpus, image: int) -> str:
    return corpus.text(corpus.texts_of(image)[0])


def _picture(corpus: Corpus, image: int) -> str | None:
    file = picture_file(corpus, image)
    return None if file is None else picture_uri(file)
