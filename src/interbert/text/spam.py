"""The spam filter (A.1: "pornography, abuse, politics, terrorism, …"): titles and their words in, verdicts out.

A list of words finds what is written plainly, and a classifier (`spam_model.py`) what a shop's own labelled titles
taught it. Both can be replaced or left out. The list of the package is short: spam_words/README.md says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from interbert.errors import UsageError
from interbert.text.spam_model import SpamModel

INNOCENT = "innocent"  # the file of phrases inside which nothing is found
CLASSIFIER = "classifier"  # the kind of what only the classifier finds


class Verdict(NamedTuple):
    """Why a title is spam. kind: the list's name, or "classifier".  why: the word, or how probable."""

    kind: str
    why: str


class WordList:
    """Words of several kinds, found where a word of the text begins, as its beginning or up to where a word ends.

    kinds: word -> kind.  innocent: phrases; a listed word inside one is not found. Letters' case makes no difference.
    """

    def __init__(self, kinds: dict[str, str], innocent: Sequence[str] = ()) -> None:
        self.kinds = {word.lower(): kind for word, kind in kinds.items()}
        self.innocent = tuple(phrase.lower() for phrase in innocent)
        self._by_first: dict[str, list[str]] = {}
        for word in self.kinds:
            self._by_first.setdefault(word[0], []).append(word)

    @classmethod
    def load(cls, folder: str | Path | None = None) -> WordList:
        """From the .txt files of a folder, each named after a kind; None: the package's own.

        Raises UsageError where there are none, or one is not UTF-8 text.
        """
        if folder is None:
            with as_file(files("interbert.text") / "spam_words") as own:
                return cls.load(own)
        lists = {path.stem: _words_of(path) for path in sorted(Path(folder).glob("*.txt"))}
        innocent = lists.pop(INNOCENT, [])
        if not any(lists.values()):
            raise UsageError(f"'{folder}' has no lists of words; wanted .txt files there, each named after a kind")
        return cls({word: kind for kind, words in lists.items() for word in words}, innocent)

    def find(self, text: str, words: Sequence[str]) -> Verdict | None:
        """The first listed word in a text. words: those of the text, which joined are the text.

        >>> spam = WordList({"色情": "pornography"})
        >>> spam.find("彩色情侣装", ["彩色", "情侣装"]), spam.find("色情图片", ["色情", "图片"])
        (None, Verdict(kind='pornography', why='色情'))
        """
        lower = text.lower()
        if len(lower) != len(text):  # a letter whose small form is two: places would move
            lower = text
        at = 0
        for word in words:
            for listed in self._by_first.get(lower[at], ()):
                if lower.startswith(listed, at) and self._is_word(lower, words, at, at + len(listed), at + len(word)):
                    return Verdict(self.kinds[listed], listed)
            at += len(word)
        return None

    def _is_word(self, text: str, words: Sequence[str], start: int, stop: int, end: int) -> bool:
        """Whether it stops within the word that it begins or where another ends, and no innocent phrase holds it."""
        if stop > end and stop not in accumulate(map(len, words)):
            return False
        return not any(first <= start and stop <= first + size for first, size in self._innocent_in(text))

    def _innocent_in(self, text: str) -> Iterator[tuple[int, int]]:
        """(place, length) of every innocent phrase."""
        for phrase in self.innocent:
            at = text.find(phrase)
            while at >= 0:
                yield at, len(phrase)
                at = text.find(phrase, at + 1)


def _words_of(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not UTF-8 text ({error}); save it as UTF-8") from error
    return [word for line in lines if (word := line.partition("#")[0].strip())]


@dataclass(frozen=True)
class SpamFilter:
    """A list of words with a classifier behind it; either may be None.

    threshold: probability from which on the classifier's word counts; its held-out lines say what that finds.
    """

    words: WordList | None = field(default_factory=WordList.load)
    model: SpamModel | None = None
    threshold: float = 0.5

    def judge(self, texts: Sequence[str], words: Sequence[Sequence[str]]) -> list[Verdict | None]:
        """A verdict for each text, None where it is innocent. words: those of each text."""
        verdicts = [self.words.find(text, cut) if self.words else None for text, cut in zip(texts, words, strict=True)]
        if self.model is not None and texts:
            for at, probability in enumerate(self.model.probabilities(texts).tolist()):
                if verdicts[at] is None and probability >= self.threshold:
                    verdicts[at] = Verdict(CLASSIFIER, f"probability {probability:.2f}")
        return verdicts
