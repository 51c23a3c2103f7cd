"""Titles of products, cleaned as the paper cleans TaoMultimodal's (A.1), and what real catalogues need beside it.

In: titles as a shop wrote them. Out: titles as a corpus takes them, "" for one that is dropped, and counts of steps.
The paper's: drop what has no Chinese character, segment, drop spam, cut by words to 36 characters. Those that only mend
how a title is written are ours. Each is a pure function; `TitleCleaner` puts them in a row.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from interbert.errors import InterbertError, UsageError
from interbert.text.encoding import readable
from interbert.text.segmenting import PLAIN, Segmenter
from interbert.text.spam import SpamFilter, Verdict

EXAMPLES = 5
SHOWN = 60  # characters of a title in a report
_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|\w+);")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>")
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]")
_BACKWARDS = re.compile("\u202e([^\u202c\u202d\u202e]*)[\u202c\u202d]?")
_SIGNS = {"➕": "+", "➖": "-", "➗": "÷", "✖": "×"}  # emoji that say something in "100ml➕20ml"
_EMOJI = re.compile(
    "[\u20e3\u231a\u231b\u23e9-\u23fa\u2600-\u27bf\u2b05-\u2b55\u3030\u303d\ufe00-\ufe0f\U0001f000-\U0001faff]"
)


@dataclass(frozen=True)
class Cleaning:
    """What is done with titles."""

    max_characters: int = 36  # of Chinese titles, blanks included; longer ones are cut where a word ends (A.1)
    emoji: Literal["removed", "kept"] = "removed"  # also ornaments such as ★
    width: Literal["half", "as given"] = "half"  # "ＳＫ－ＩＩ" becomes "SK-II" (Unicode's NFKC)
    script: Literal["as given", "simplified", "traditional"] = "as given"  # of Chinese; needs the package OpenCC

    def __post_init__(self) -> None:
        if self.max_characters < 1:
            raise UsageError(f"max_characters: got {self.max_characters}, wanted 1 or more")


def without_broken_characters(text: str) -> str:
    """Lone surrogates and U+FFFD go: what stood there is lost.

    >>> without_broken_characters("caf\\ufffd 咖啡")
    'caf 咖啡'
    """
    return readable(text).replace("\ufffd", "")


def without_markup(text: str) -> str:
    """HTML's entities become their characters, its tags go. What has no semicolon is none: A&section is no A§ion.

    >>> without_markup("<span class=H>衬衫</span> &lt;b&gt;A&amp;B&lt;/b&gt; <3cm")
    '衬衫 A&B <3cm'
    """
    if "&" in text:
        text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
    return _TAG.sub("", text) if "<" in text else text


def without_control_characters(text: str) -> str:
    """What cannot be seen goes (control, format, private and unassigned characters); every kind of blank is " ".

    Between U+202E and U+202C text is shown from right to left, by which words are hidden: it is turned round.

    >>> without_control_characters("雪纺\\u200b裙\\u3000夏\\t季"), without_control_characters("\\u202e致紧\\u202c眼霜")
    ('雪纺裙 夏 季', '紧致眼霜')
    """
    if text.isprintable():
        return text
    text = _BACKWARDS.sub(lambda found: found[1][::-1], text)
    return "".join(" " if at.isspace() else at for at in text if at.isspace() or at.isprintable())


def without_emoji(text: str) -> str:
    """Emoji and ornaments become a blank, signs of arithmetic what they mean.

    >>> without_emoji("🔥包邮★新款1\\ufe0f\\u20e3"), without_emoji("100ml➕20ml")
    (' 包邮 新款1  ', '100ml+20ml')
    """
    return text if text.isascii() else _EMOJI.sub(lambda found: _SIGNS.get(found[0], " "), text)


def half_width(text: str) -> str:
    """One form of each character (NFKC): full width becomes half, ① becomes 1, ㎡ becomes m2.

    >>> half_width("ＳＫ－ＩＩ（神仙水）２３０ｍｌ")
    'SK-II(神仙水)230ml'
    """
    return unicodedata.normalize("NFKC", text)


def with_single_blanks(text: str) -> str:
    """No blanks at the ends, one at a time between.

    >>> with_single_blanks("  SK  II ")
    'SK II'
    """
    return " ".join(text.split())


def with_chinese_only(text: str) -> str:
    """The title, or "" where it has no Chinese character (A.1).

    >>> with_chinese_only("SK-II 230ml"), with_chinese_only("SK-II 神仙水")
    ('', 'SK-II 神仙水')
    """
    return text if _CHINESE.search(text) else ""


def cut_by_words(words: Sequence[str], max_characters: int) -> str:
    """So many whole words that they have at most `max_characters` (A.1), joined; of a longer first one, its beginning.

    >>> cut_by_words(["韩国", "AHC", "黄金", "套盒"], 8)
    '韩国AHC黄金'
    """
    length = stop = 0
    for word in words:
        if length + len(word) > max_characters:
            break
        length, stop = length + len(word), stop + 1
    return "".join(words[:stop]).rstrip() or (words[0][:max_characters] if words else "")


def in_script(script: Literal["simplified", "traditional"]) -> Callable[[str], str]:
    """A function that writes Chinese in that script. Raises InterbertError where OpenCC is not installed."""
    try:
        import opencc
    except ImportError as error:
        raise InterbertError(
            f"script '{script}' needs the package OpenCC ({error}): pip install 'interbert[chinese]'; "
            "or set cleaning.script='as given'"
        ) from error
    convert: Callable[[str], str] = opencc.OpenCC("t2s" if script == "simplified" else "s2t").convert
    return convert


@dataclass
class StepCount:
    """What one step did. before: titles that came to it.  examples: the first five that it changed or dropped."""

    name: str
    before: int = 0
    changed: int = 0
    dropped: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def after(self) -> int:
        """Titles that went on."""
        return self.before - self.dropped

    def to_json(self) -> dict[str, Any]:
        """What corpus.json keeps."""
        return asdict(self) | {"after": self.after}

    def note(self, before: str, after: str, why: str = "") -> None:
        """Counts one title."""
        self.before += 1
        if before == after:
            return
        self.changed += bool(after)
        self.dropped += not after
        if len(self.examples) < EXAMPLES:
            self.examples.append(
                f"{_short(before)}{f' -> {_short(after)}' if after else ''}{f'  ({why})' if why else ''}"
            )


def _short(text: str) -> str:
    text = readable(text)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


class TitleCleaner:
    """Cleans titles by the block and counts. `counts` has the steps in their order, `spam` the kinds of what was spam.

    segmenter: None takes the default of the language.  spam: None leaves the filter out.
    """

    def __init__(
        self,
        language: Literal["zh", "en"],
        cleaning: Cleaning | None = None,
        segmenter: Segmenter | None = None,
        spam: SpamFilter | None = None,
    ) -> None:
        self.language, self.cleaning, self.filter = language, cleaning or Cleaning(), spam
        self.segmenter = segmenter or PLAIN
        if language == "zh" and self.segmenter is PLAIN:
            raise UsageError("Chinese titles: got no segmenter, wanted rjieba or jieba to find their words")
        self.steps = self._steps()
        self.reset()

    def reset(self) -> None:
        """Counts from nothing."""
        names = [*self.steps, *(["spam"] if self.filter else []), *(["cut by words"] if self.language == "zh" else [])]
        self.counts = {name: StepCount(name) for name in names}
        self.spam: Counter[str] = Counter()

    def _steps(self) -> dict[str, Callable[[str], str]]:
        """The steps that need no words, by the name that a report gives them."""
        steps: dict[str, Callable[[str], str]] = {
            "broken characters": without_broken_characters,
            "HTML entities and tags": without_markup,
            "control characters": without_control_characters,
        }
        if self.cleaning.emoji == "removed":
            steps["emoji"] = without_emoji
        if self.cleaning.width == "half":
            steps["full width"] = half_width
        if self.cleaning.script != "as given":
            steps[f"into {self.cleaning.script}"] = in_script(self.cleaning.script)
        steps["blanks"] = with_single_blanks
        if self.language == "zh":
            steps["no Chinese character"] = with_chinese_only
        return steps

    def clean(self, titles: Sequence[str]) -> list[str]:
        """The cleaned titles in their order, "" for each that is dropped."""
        texts = list(titles)
        for name, change in self.steps.items():
            texts = self._counted(name, texts, [change(text) for text in texts])
        if self.filter is None and self.language != "zh":
            return texts
        words = [self.segmenter.words(text) if text else [] for text in texts]
        if self.filter is not None:
            verdicts = self.filter.judge(texts, words)
            kept = ["" if verdict else text for text, verdict in zip(texts, verdicts, strict=True)]
            texts = self._counted("spam", texts, kept, verdicts)
        if self.language == "zh":
            most = self.cleaning.max_characters
            short = [
                cut_by_words(cut, most) if len(text) > most else text for text, cut in zip(texts, words, strict=True)
            ]
            texts = self._counted("cut by words", texts, short)
        return texts

    def _counted(
        self, name: str, before: list[str], after: list[str], verdicts: Sequence[Verdict | None] = ()
    ) -> list[str]:
        """`after`, noted in the count of a step; titles that were dropped earlier do not count."""
        count = self.counts[name]
        for at, (old, new) in enumerate(zip(before, after, strict=True)):
            if old != new:
                verdict = verdicts[at] if verdicts else None
                count.note(old, new, f"{verdict.kind}: {verdict.why}" if verdict else "")
                if verdict:
                    self.spam[verdict.kind] += 1
            elif old:
                count.before += 1
        return after
