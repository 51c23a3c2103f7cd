"""Words of Chinese texts (A.1, "segment into words"): str in, words out whose join is the text again.

Texts that two segmenters cut do not belong together: rjieba keeps "SK-II" whole, jieba makes three words of it. So each
says its name and version, and a corpus keeps them.
"""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from interbert.errors import InterbertError, UsageError, unknown_name

Cut = Callable[[str], list[str]]


class UserWord(NamedTuple):
    """A word that the dictionary lacks. frequency: None takes what keeps it whole."""

    text: str
    frequency: int | None
    tag: str


@dataclass(frozen=True)
class SegmenterInfo:
    """What decides how a segmenter cuts. user_words_sha256: of the words added to its dictionary; "" without any."""

    name: str
    version: str
    user_words: int = 0
    user_words_sha256: str = ""


class Segmenter:
    """Cuts texts into words. Made by `load_segmenter`."""

    def __init__(self, info: SegmenterInfo, cut: Cut) -> None:
        self.info = info
        self._cut = cut

    def words(self, text: str) -> list[str]:
        """The words of a text, blanks and marks included.

        >>> PLAIN.words("red shoes, size 40")
        ['red', ' ', 'shoes', ',', ' ', 'size', ' ', '40']
        """
        return self._cut(text)


PLAIN = Segmenter(SegmenterInfo("plain", "1"), re.compile(r"\w+|\W").findall)
"""For languages with blanks between words: runs of letters and digits, and each other character."""


def load_segmenter(name: str = "rjieba", user_words: str | Path | None = None) -> Segmenter:
    """One of `SEGMENTERS`. user_words: a file with a word a line, its frequency and tag behind it or not, as jieba's.

    Raises UsageError for a name that does not exist or a file that is not such a dictionary, InterbertError where the
    segmenter's package is not installed.
    """
    if name not in SEGMENTERS:
        raise UsageError(unknown_name("segmenter", name, SEGMENTERS))
    words = () if user_words is None else read_user_words(Path(user_words))
    try:
        version, cut = SEGMENTERS[name](words)
    except ImportError as error:
        raise InterbertError(
            f"segmenter '{name}' needs a package that is not installed ({error}): pip install 'interbert[chinese]'"
        ) from error
    digest = hashlib.sha256(repr([tuple(word) for word in words]).encode()).hexdigest() if words else ""
    return Segmenter(SegmenterInfo(name, version, len(words), digest), cut)


def read_user_words(path: Path) -> tuple[UserWord, ...]:
    """The words of a user dictionary: `WORD [FREQUENCY [TAG]]` a line, UTF-8. Raises UsageError where it is not one."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"user words: '{path}' cannot be read as UTF-8 text ({error})") from error
    return tuple(_user_word(line, f"'{path}' line {number}") for number, line in enumerate(lines, 1) if line.strip())


def _user_word(line: str, place: str) -> UserWord:
    word, *rest = line.split()
    if len(rest) > 2 or (rest and rest[0].isdigit() is False and len(rest) == 2):
        raise UsageError(f"user words, {place}: got '{line.strip():.60}', wanted WORD, WORD FREQUENCY or "
                         "WORD FREQUENCY TAG")  # fmt: skip
    frequency = int(rest[0]) if rest and rest[0].isdigit() else None
    tag = rest[-1] if rest and not rest[-1].isdigit() else ""
    return UserWord(word, frequency, tag)


def _rjieba(words: Sequence[UserWord]) -> tuple[str, Cut]:
    from importlib.metadata import version

    import rjieba

    cutter = rjieba.Jieba()
    for word in words:
        cutter.add_word(word.text, word.frequency or cutter.suggest_freq(word.text), word.tag)
    cut: Cut = cutter.cut
    return version("rjieba"), cut


def _jieba(words: Sequence[UserWord]) -> tuple[str, Cut]:
    from importlib.metadata import version

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports pkg_resources, and has old escapes in its patterns
        import jieba

    jieba.setLogLevel(logging.WARNING)  # else it tells of its dictionary on stderr
    cutter = jieba.Tokenizer()
    cutter.initialize()
    for word in words:
        cutter.add_word(word.text, word.frequency, word.tag or None)
    cut: Cut = cutter.lcut
    return version("jieba"), cut


def _plain(words: Sequence[UserWord]) -> tuple[str, Cut]:
    if words:
        raise UsageError("user words: segmenter 'plain' has no dictionary; leave them out, or choose rjieba")
    return PLAIN.info.version, PLAIN.words


SEGMENTERS: dict[str, Callable[[Sequence[UserWord]], tuple[str, Cut]]] = {
    "rjieba": _rjieba,  # jieba's dictionary in Rust: about 18 times as fast, and it keeps brands whole
    "jieba": _jieba,
    "plain": _plain,
}
