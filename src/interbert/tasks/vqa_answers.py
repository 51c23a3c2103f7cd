"""Answers to questions about pictures: how the VQA challenge makes them alike, scores them, and what may be answered.

In: texts that people gave. Out: normalised texts, the official score, the vocabulary of answers and soft targets over
it (4.2, VQA 2.0: 3,129 answers). What the official code does by mistake is done here too, and said.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from interbert.metrics import vqa_score

PUNCTUATION = (*';/[]"{}()=+\\_-><@`,?!',)
MOST_PERIODS = 32  # of one answer are removed: the official code gives a flag (re.UNICODE, 32) where a count is read
PERIOD = re.compile(r"\.(?!\d)")
NUMBER_WITH_COMMA = re.compile(r"\d,\d")
ARTICLES = {"a", "an", "the"}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = {"none": "0"} | {word: str(number) for number, word in enumerate(NUMBERS)}
CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def contractions(words: Iterable[str]) -> dict[str, str]:
    """How each contracted word is written with one apostrophe missing -> the word.

    >>> contractions(["y'all'll"])
    {"yall'll": "y'all'll", "y'allll": "y'all'll"}
    """
    return {word[:at] + word[at + 1 :]: word for word in words for at, letter in enumerate(word) if letter == "'"}


MENDED = contractions(CONTRACTED.split()) | {"somebody'd": "somebodyd"}  # the last is the official table's own


def without_punctuation(text: str) -> str:
    """Marks removed where the answer has that mark beside a blank, or a comma inside a number; else blanks for marks.

    Periods stay only before a digit.

    >>> without_punctuation("black/white"), without_punctuation("1,000"), without_punctuation("p.m.")
    ('black white', '1000', 'pm')
    """
    has_number = NUMBER_WITH_COMMA.search(text) is not None
    cleaned = text
    for mark in PUNCTUATION:
        beside_blank = mark + " " in text or " " + mark in text
        cleaned = cleaned.replace(mark, "" if beside_blank or has_number else " ")
    return PERIOD.sub("", cleaned, count=MOST_PERIODS)


def without_articles(text: str) -> str:
    """Lower case, numbers to ten as digits, articles left out, apostrophes of contractions put back.

    >>> without_articles("The two dogs dont")
    "2 dogs don't"
    """
    words = [DIGITS.get(word, word) for word in text.lower().split()]
    return " ".join(MENDED.get(word, word) for word in words if word not in ARTICLES)


def normalised(answer: str) -> str:
    """An answer as the challenge compares it: blanks at its ends, punctuation, articles and number words apart."""
    return without_articles(without_punctuation(stripped(answer)))


def stripped(answer: str) -> str:
    """An answer on one line, without blanks at its ends."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


def official_score(predicted: str, answers: Sequence[str]) -> float:
    """The challenge's score in 0..1 of one answer, given what the annotators said.

    Where all of them said the same, the official code compares the texts as they are, without normalising.

    >>> official_score("A Dog", ["dog"] * 4 + ["puppy"] * 6), official_score("A Dog", ["dog"] * 10)
    (1.0, 0.0)
    """
    said, given = stripped(predicted), [stripped(answer) for answer in answers]
    if len(set(given)) > 1:
        said, given = normalised(said), [normalised(answer) for answer in given]
    return vqa_score(said, given)


@dataclass(frozen=True)
class Scores:
    """What the official evaluation prints, in percent. overall: the mean over all questions; None of none."""

    overall: float | None
    per_answer_type: Mapping[str, float | None]
    per_question_type: Mapping[str, float | None]


def summary(scores: Sequence[float], answer_types: Sequence[str], question_types: Sequence[str]) -> Scores:
    """The means of scores in 0..1, in percent, rounded to two places as the official evaluation does."""

    def means(kinds: Sequence[str]) -> dict[str, float | None]:
        grouped: dict[str, list[float]] = defaultdict(list)
        for kind, score in zip(kinds, scores, strict=True):
            grouped[kind].append(score)
        return {kind: _percent(grouped[kind]) for kind in sorted(grouped)}

    return Scores(_percent(scores), means(answer_types), means(question_types))


def _percent(scores: Sequence[float]) -> float | None:
    return round(100 * float(np.mean(scores)), 2) if len(scores) else None


def most_common(answers: Sequence[str]) -> str:
    """The answer that most annotators gave, of several the one that was given first."""
    return Counter(answers).most_common(1)[0][0]


def answer_vocabulary(answers: Iterable[str], min_occurrences: int = 9) -> tuple[str, ...]:
    """What may be answered: the normalised answers that are the most common one of at least so many questions.

    answers: one a question, the one that most annotators gave. The most frequent come first, equals by the alphabet.

    >>> answer_vocabulary(["Yes", "yes", "no", "a no", "maybe"], min_occurrences=2)
    ('no', 'yes')
    """
    counts = Counter(normalised(answer) for answer in answers)
    kept = [answer for answer, count in counts.items() if count >= min_occurrences]
    return tuple(sorted(kept, key=lambda answer: (-counts[answer], answer)))


def soft_targets(answers: Sequence[str], places: Mapping[str, int]) -> dict[int, float]:
    """Place in the vocabulary -> min(1, annotators who gave it / 3), for every answer that the vocabulary has.

    Empty where it has none of them.

    >>> soft_targets(["red"] * 2 + ["Pink"] * 7 + ["no idea"], {"pink": 0, "red": 1}) == {0: 1.0, 1: 2 / 3}
    True
    """
    counts = Counter(normalised(answer) for answer in answers)
    return {places[answer]: min(1.0, count / 3) for answer, count in counts.items() if answer in places}
