"""Training the spam classifier on a shop's own labelled titles, and measuring the filter on titles held out (A.1).

In: lines of LABEL, TAB, TITLE. Out: a model, and precision and recall of the word lists, of the model, and of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interbert.draws import seed_for
from interbert.errors import InterbertError, UsageError
from interbert.text.encoding import decoded, encoding_of
from interbert.text.segmenting import Segmenter
from interbert.text.spam import WordList
from interbert.text.spam_model import SpamModel, Training, fit

INNOCENT_LABELS, SPAM_LABELS = ("0", "ok"), ("1", "spam")
THRESHOLDS = (0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Found:
    """What a filter finds of labelled titles: counts, and what follows from them (None where nothing was found)."""

    spam: int
    innocent: int
    spam_found: int
    innocent_found: int

    @property
    def found(self) -> int:
        """How many titles it found."""
        return self.spam_found + self.innocent_found

    @property
    def precision(self) -> float | None:
        """Of what it found, the share that is spam."""
        return self.spam_found / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Of the spam, the share that it found."""
        return self.spam_found / self.spam if self.spam else None

    def to_json(self) -> dict[str, Any]:
        """Counts, precision and recall."""
        return {**asdict(self), "precision": self.precision, "recall": self.recall}


def count_found(is_spam: NDArray[np.bool_], found: NDArray[np.bool_]) -> Found:
    """is_spam, found: bool [N].

    >>> count_found(np.array([True, True, False]), np.array([True, False, True]))
    Found(spam=2, innocent=1, spam_found=1, innocent_found=1)
    """
    spam = int(is_spam.sum())
    return Found(spam, len(is_spam) - spam, int((is_spam & found).sum()), int((~is_spam & found).sum()))


def read_labelled(path: Path) -> tuple[list[str], NDArray[np.bool_]]:
    """Lines of LABEL, TAB, TITLE -> titles and whether each is spam. Labels: 0 or ok, 1 or spam.

    Raises UsageError where the file is not there or a line is not so.
    """
    if not path.is_file():
        raise UsageError(f"labelled titles '{path}' do not exist; give a file with lines of LABEL, TAB, TITLE")
    texts, labels = [], []
    with decoded(path, encoding_of(path)) as file:
        for number, line in enumerate(file, 1):
            label, tab, text = line.strip("\r\n").partition("\t")
            if not line.strip():
                continue
            if not tab or label.strip().lower() not in INNOCENT_LABELS + SPAM_LABELS:
                raise UsageError(
                    f"'{path}' line {number}: got '{line.strip():.60}', wanted LABEL, TAB, TITLE with a label of "
                    f"{', '.join(INNOCENT_LABELS)} (innocent), {', '.join(SPAM_LABELS)} (spam)"
                )
            texts.append(text.strip())
            labels.append(label.strip().lower() in SPAM_LABELS)
    return texts, np.array(labels, np.bool_)


def is_held_out(text: str, share: float) -> bool:
    """Whether a title is for measuring, not for training. Decided by the title, so that copies stay together."""
    return seed_for("held out of spam training", text) / 2.0**63 < share


@dataclass(frozen=True)
class SpamReport:
    """What training gave. measured: name of a filter -> what it finds of the held-out titles."""

    trained_on: int
    spam_trained_on: int
    held_out: int
    measured: dict[str, Found]

    def to_json(self) -> dict[str, Any]:
        """Counts, and each filter's numbers."""
        return asdict(self) | {"measured": {name: found.to_json() for name, found in self.measured.items()}}

    def lines(self) -> list[str]:
        """The report for people."""
        if not self.held_out:
            return ["no titles were held out, so nothing is measured"]
        lines = [f"of {self.held_out:,} held-out titles  precision     recall      found"]
        for name, found in self.measured.items():
            lines.append(f"  {name:<26}{_share(found.precision)}  {_share(found.recall)}  {found.found:>9,}")
        return lines


def _share(share: float | None) -> str:
    return f"{'-' if share is None else f'{share:.3f}':>9}"


def train_spam(
    path: Path, out: Path, segmenter: Segmenter, words: WordList, held_out: float = 0.2, seed: int = 0
) -> SpamReport:
    """Trains on a file of labelled titles and writes the model to `out`. held_out: the share that measures it.

    Raises UsageError as `read_labelled`, InterbertError where there is not some spam and some that is none to train on.
    """
    texts, is_spam = read_labelled(path)
    aside = np.fromiter((is_held_out(text, held_out) for text in texts), np.bool_, len(texts))
    learned = [text for text, out_of_it in zip(texts, aside, strict=True) if not out_of_it]
    kinds = is_spam[~aside]
    if not kinds.any() or kinds.all():
        raise InterbertError(
            f"'{path}': got {int(kinds.sum())} titles of spam and {int((~kinds).sum())} innocent ones to train on, "
            "wanted some of both"
        )
    model = fit(learned, kinds, Training(seed=seed))
    held = [text for text, out_of_it in zip(texts, aside, strict=True) if out_of_it]
    measured = _measured(model, words, segmenter, held, is_spam[aside])
    model.facts = {"trained_on": str(len(learned)), "spam": str(int(kinds.sum())), "seed": str(seed)}
    model.save(out)
    return SpamReport(len(learned), int(kinds.sum()), len(held), measured)


def _measured(
    model: SpamModel, words: WordList, segmenter: Segmenter, texts: Sequence[str], is_spam: NDArray[np.bool_]
) -> dict[str, Found]:
    listed = np.fromiter((words.find(text, segmenter.words(text)) is not None for text in texts), np.bool_, len(texts))
    probable = model.probabilities(texts)
    measured = {"word lists": count_found(is_spam, listed)}
    for threshold in THRESHOLDS:
        measured[f"classifier from {threshold}"] = count_found(is_spam, probable >= threshold)
        measured[f"both from {threshold}"] = count_found(is_spam, listed | (probable >= threshold))
    return measured
