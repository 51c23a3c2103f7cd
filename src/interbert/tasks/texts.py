"""One text or two as the model reads them: `[CLS] first [SEP] second [SEP]` with BERT's token types."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from interbert.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)


class Joined(NamedTuple):
    """A text, or two, as the model reads them. types: of the tokens.  cut: whether something of it is not read."""

    words: list[int]
    types: list[int]
    cut: bool


def joined(first: Sequence[int], second: Sequence[int] | None, max_tokens: int, tokenizer: Tokenizer) -> Joined:
    """A text, or two, as one sequence. first, second: pieces without `[CLS]` and `[SEP]`.

    What is too long loses pieces from the end of the longer of the two, one by one, the second first where they are
    equally long (BERT's way).
    """
    if second is None:
        words = [tokenizer.cls_id, *first[: max_tokens - 2], tokenizer.sep_id]
        return Joined(words, [0] * len(words), len(first) > max_tokens - 2)
    one, two = kept_lengths(len(first), len(second), max_tokens - 3)
    words = [tokenizer.cls_id, *first[:one], tokenizer.sep_id, *second[:two], tokenizer.sep_id]
    return Joined(words, [0] * (one + 2) + [1] * (two + 1), one + two < len(first) + len(second))


def kept_lengths(first: int, second: int, room: int) -> tuple[int, int]:
    """How many pieces of each of two texts stay where there is room for so many of both.

    >>> kept_lengths(5, 3, 10), kept_lengths(9, 3, 7), kept_lengths(9, 9, 7)
    ((5, 3), (4, 3), (4, 3))
    """
    if first + second <= room:
        return first, second
    longer, shorter = max(first, second), min(first, second)
    if longer - shorter >= first + second - room:
        return (room - second, second) if first > second else (first, room - first)
    return room - room // 2, room // 2


def pieces_of(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The pieces of each text, without `[CLS]` and `[SEP]`."""
    return [ids[1:-1] for ids in tokenizer.encode_many(list(texts))]


def encoded(texts: Sequence[str], max_tokens: int, tokenizer: Tokenizer, what: str) -> tuple[list[list[int]], int]:
    """`[CLS] pieces [SEP]` of each text, at most so many, and how many texts were cut, which is said.

    what: the texts are called in the message, "questions".
    """
    read = tokenizer.encode_many(texts)
    cut = sum(len(ids) > max_tokens for ids in read)
    if cut:
        log.warning("%d of %d %s are longer than %d tokens: cut", cut, len(read), what, max_tokens)
    return [ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]] for ids in read], cut
