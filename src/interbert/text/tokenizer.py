"""str in, WordPiece ids out, as BERT cuts texts (3.1: vocabulary 30,522, `[CLS] words [SEP]`).

A text is only ever text: "[MASK]" written in a caption is three pieces, not the special token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from interbert.errors import InterbertError, UsageError
from interbert.files import whole_file
from interbert.text.encoding import readable

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"  # begins a piece that goes on with the word before it
LONGEST_WORD = 100  # characters; a longer one is unknown (BERT)


class Tokenizer:
    """BERT's WordPiece over a vocabulary. Made by `load`; equal texts give equal ids on every machine.

    vocabulary: piece -> id, with the five special pieces.  lower_case: whether texts are lower-cased first.
    strip_accents: None strips where texts are lower-cased, as BERT.  split_chinese: each Chinese character a word.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        lower_case: bool,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
        clean: bool = True,
        longest_word: int = LONGEST_WORD,
    ) -> None:
        missing = [piece for piece in SPECIAL if piece not in vocabulary]
        if missing:
            raise InterbertError(
                f"vocabulary: got {len(vocabulary)} pieces without {', '.join(missing)}; wanted BERT's"
            )
        self.lower_case = lower_case
        self.pad_id, self.unknown_id, self.cls_id, self.sep_id, self.mask_id = (vocabulary[piece] for piece in SPECIAL)
        self.special_ids = {vocabulary[piece] for piece in SPECIAL}
        self.vocabulary_size = max(vocabulary.values()) + 1
        self._settings = [lower_case, strip_accents, split_chinese, clean, longest_word]
        model = models.WordPiece(
            vocabulary,
            unk_token="[UNK]",  # noqa: S106 (no password)
            continuing_subword_prefix=CONTINUATION,
            max_input_chars_per_word=longest_word,
        )
        cutter = tokenizers.Tokenizer(model)
        cutter.normalizer = normalizers.BertNormalizer(clean, split_chinese, strip_accents, lower_case)
        cutter.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        cutter.decoder = decoders.WordPiece(prefix=CONTINUATION)
        ends = [(piece, vocabulary[piece]) for piece in ("[CLS]", "[SEP]")]
        cutter.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
        cutter.add_special_tokens(list(SPECIAL))  # for readers of the saved file
        cutter.encode_special_tokens = True  # a text that holds "[MASK]" does not mean the mask
        self._cutter = cutter

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """From `tokenizer.json`, from `vocab.txt`, or from a folder with either (the first is preferred).

        A vocab.txt is lower-cased as `do_lower_case` of a tokenizer_config.json beside it says; without one, where the
        vocabulary has no capitals. Padding and truncation of a tokenizer.json are switched off.
        Raises UsageError where nothing is there, InterbertError where it is not a BERT vocabulary.
        """
        file = _vocabulary_file(Path(path))
        try:
            text = file.read_text(encoding="utf-8")
            if file.suffix == ".json":
                return cls(**_of_tokenizer_json(json.loads(text)))
            return cls(**_of_vocab_txt(text, file.with_name("tokenizer_config.json")))
        except (InterbertError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = error if isinstance(error, InterbertError) else f"{type(error).__name__}: {error}"
            raise InterbertError(
                f"'{file}' is not a BERT vocabulary: {why}. Give a vocab.txt or tokenizer.json of a BERT"
            ) from error

    def save(self, path: str | Path) -> None:
        """Writes a tokenizer.json that `load` and Hugging Face's libraries read."""
        with whole_file(path) as file:
            file.write(self._cutter.to_str())

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokenizer, (self._cutter.get_vocab(with_added_tokens=False), *self._settings)

    def encode(self, text: str, max_tokens: int | None = None) -> list[int]:
        """`[CLS] pieces [SEP]` as ids; at most `max_tokens` of them, the last always `[SEP]`."""
        return self.encode_many([text], max_tokens)[0]

    def encode_many(self, texts: Sequence[str], max_tokens: int | None = None) -> list[list[int]]:
        """`encode` of each text, in order, on all cores where there are many."""
        if max_tokens is not None and max_tokens < 2:
            raise UsageError(f"max_tokens: got {max_tokens}, wanted at least 2, for [CLS] and [SEP]")
        room = None if max_tokens is None else max_tokens - 2
        cut = self._cutter.encode_batch_fast([readable(text) for text in texts], add_special_tokens=False)
        return [[self.cls_id, *encoding.ids[:room], self.sep_id] for encoding in cut]

    def encode_places(self, text: str, max_tokens: int | None = None) -> tuple[list[int], list[tuple[int, int]]]:
        """`encode`, and where each piece begins and ends in `readable(text)`; (0, 0) of `[CLS]` and `[SEP]`."""
        room = None if max_tokens is None else max_tokens - 2
        cut = self._cutter.encode(readable(text), add_special_tokens=False)
        ids, places = cut.ids[:room], cut.offsets[:room]
        return [self.cls_id, *ids, self.sep_id], [(0, 0), *places, (0, 0)]

    def encode_words(
        self, texts: Sequence[str], words: Sequence[Sequence[str]], max_tokens: int | None = None
    ) -> list[tuple[list[int], list[bool]]]:
        """`encode` of each text, and for each id whether its piece goes on with the word before it.

        words: those of each text, as a segmenter found them; joined they are the text. Where one begins inside a piece
        ("24k精华" in 24 and k精华), nothing begins.
        """
        room = None if max_tokens is None else max_tokens - 2
        found = []
        for encoding, cut in zip(self._cutter.encode_batch(list(texts), add_special_tokens=False), words, strict=True):
            begins = {0, *accumulate(map(len, cut))}
            ids, starts = encoding.ids[:room], [start for start, _ in encoding.offsets[:room]]
            goes_on = [
                start not in begins or bool(self.is_continuation[at]) for at, start in zip(ids, starts, strict=True)
            ]
            found.append(([self.cls_id, *ids, self.sep_id], [False, *goes_on, False]))
        return found

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The pieces of ids. Raises UsageError for an id that the vocabulary does not have."""
        pieces = []
        for at in ids:
            piece = self._cutter.id_to_token(int(at))
            if piece is None:
                raise UsageError(f"tokens: got id {at}, wanted ids below {self.vocabulary_size} that have a piece")
            pieces.append(piece)
        return pieces

    @cached_property
    def is_continuation(self) -> NDArray[np.bool_]:
        """bool [V]: true for pieces that go on with the word before them ("##ing")."""
        marks = np.zeros(self.vocabulary_size, np.bool_)
        for piece, at in self._cutter.get_vocab(with_added_tokens=False).items():
            marks[at] = piece.startswith(CONTINUATION)
        return marks

    @cached_property
    def digest(self) -> str:
        """Hexadecimal sha256 of everything that decides which ids a text gets."""
        vocabulary = sorted(self._cutter.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
        return hashlib.sha256(json.dumps([vocabulary, self._settings]).encode()).hexdigest()


def _vocabulary_file(path: Path) -> Path:
    if path.is_dir():
        for name in ("tokenizer.json", "vocab.txt"):
            if (path / name).is_file():
                return path / name
        raise UsageError(f"folder '{path}' has no tokenizer.json and no vocab.txt; give a folder or file of a BERT")
    if not path.is_file():
        raise UsageError(f"vocabulary '{path}' does not exist; give a vocab.txt, a tokenizer.json or a folder with one")
    return path


def _of_vocab_txt(text: str, configuration: Path) -> dict[str, Any]:
    """The arguments of `Tokenizer` from one piece a line and the tokenizer_config.json beside it, if there is one."""
    lines = text.removesuffix("\n").split("\n")
    vocabulary = {piece.removesuffix("\r"): at for at, piece in enumerate(lines)}
    said = json.loads(configuration.read_text(encoding="utf-8")) if configuration.is_file() else {}
    return {
        "vocabulary": vocabulary,
        "lower_case": said.get("do_lower_case", not _has_capitals(vocabulary)),
        "strip_accents": said.get("strip_accents"),
        "split_chinese": said.get("tokenize_chinese_chars", True),
    }


def _has_capitals(vocabulary: dict[str, int]) -> bool:
    """Whether one piece in a thousand or more has capitals. Lower-cased ones hold a few marks that do ("<S>")."""
    capitals = sum(
        piece != piece.lower() for piece in vocabulary if not (piece.startswith("[") and piece.endswith("]"))
    )
    return capitals * 1000 >= len(vocabulary)


def _of_tokenizer_json(value: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `Tokenizer` from a tokenizer.json. Raises InterbertError where it cuts otherwise than BERT."""
    model, normalizer, splitter = value["model"], value["normalizer"] or {}, value["pre_tokenizer"] or {}
    kinds = (model.get("type"), normalizer.get("type"), splitter.get("type"))
    if kinds != ("WordPiece", "BertNormalizer", "BertPreTokenizer"):
        raise InterbertError(f"it cuts with {kinds}, wanted WordPiece, BertNormalizer and BertPreTokenizer")
    if (model["unk_token"], model["continuing_subword_prefix"]) != ("[UNK]", CONTINUATION):
        raise InterbertError(
            f"it writes '{model['unk_token']}' and '{model['continuing_subword_prefix']}' for [UNK] and ##"
        )
    added = [token["content"] for token in value.get("added_tokens", []) if token["content"] not in SPECIAL]
    if added:
        raise InterbertError(f"it has added tokens ({', '.join(added[:5])}); put them into the vocabulary")
    return {
        "vocabulary": model["vocab"],
        "lower_case": normalizer["lowercase"],
        "strip_accents": normalizer["strip_accents"],
        "split_chinese": normalizer["handle_chinese_chars"],
        "clean": normalizer["clean_text"],
        "longest_word": model["max_input_chars_per_word"],
    }
