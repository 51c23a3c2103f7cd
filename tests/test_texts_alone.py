"""Corpora of texts alone: every different text once, equal ones in one split, and no pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_helpers import captions, make_corpus, make_store, tiny_tokenizer

from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.corpus import Corpora, Corpus
from interbert.corpus.readers import Caption
from interbert.corpus.report import CorpusReport
from interbert.errors import InterbertError, UsageError
from interbert.text.segmenting import PLAIN

SAID = [
    Caption("1.jpg", "a dog", "train", "0", "pets"),
    Caption("2.jpg", "two  dogs", "train", "1", "pets"),
    Caption("3.jpg", "a cat", "validation", "2"),
    Caption("4.jpg", "a dog", "test", "3"),
    Caption("", "  ", "train", "4"),
]


def built(folder: Path, source: list[Caption] = SAID, **options: object) -> tuple[Corpus, CorpusReport]:
    settings = BuildOptions(**options)  # type: ignore[arg-type]
    report = build_corpus(source, None, tiny_tokenizer(), folder, settings, segmenter=PLAIN)
    return Corpus(folder), report


def test_every_different_text_is_there_once(tmp_path: Path) -> None:
    corpus, report = built(tmp_path / "texts")
    assert [corpus.text(at) for at in range(len(corpus))] == ["a dog", "two dogs", "a cat"]
    assert [corpus.image_id(at) for at in range(corpus.images)] == ["0", "1", "2"]
    assert report.captions == {"read": 5, "kept": 3}
    assert report.dropped == {"it says the same as an earlier one": 1, "it has no text": 1}


def test_a_text_is_held_out_where_any_that_equals_it_is(tmp_path: Path) -> None:
    corpus, report = built(tmp_path / "texts")
    assert [corpus.split(name).tolist() for name in ("train", "validation", "test")] == [[1], [2], [0]]
    assert report.splits["test"] == {"texts": 1, "images": 1}


def test_what_is_said_of_one_picture_stays_together_where_the_source_has_no_splits(tmp_path: Path) -> None:
    source = [Caption(f"{at // 5}.jpg", f"dog {'a ' * at}", None, f"{at}") for at in range(100)]
    corpus, _ = built(tmp_path / "texts", source, validation_share=0.5, max_words=200, max_unknown_share=1.0)
    splits = corpus.image_splits.reshape(20, 5)
    assert (splits == splits[:, :1]).all()
    assert 0 < splits.mean() < 1


def test_the_corpus_says_that_it_has_no_pictures(tmp_path: Path) -> None:
    corpus, report = built(tmp_path / "texts")
    assert corpus.text_alone
    assert corpus.description["regions"] is None
    assert corpus.description["version"] == 3
    assert "pictures" not in "\n".join(report.lines())
    assert (tmp_path / "texts" / "README.md").read_text(encoding="utf-8").startswith("# A corpus of texts alone")
    corpus.verify()


def test_regions_of_texts_alone_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    corpus, _ = built(tmp_path / "texts")
    with pytest.raises(InterbertError, match="has texts alone: there are no regions; build it with  --regions STORE"):
        corpus.regions(0)


def test_words_and_categories_are_kept(tmp_path: Path) -> None:
    corpus, _ = built(tmp_path / "texts")
    assert corpus.continues(1) is not None
    assert (corpus.category_names, corpus.image_categories.tolist()) == (["pets"], [0, 0, -1])


def test_texts_that_another_corpus_holds_out_are_not_trained_on(tmp_path: Path) -> None:
    built(tmp_path / "first")
    source = captions(("9", "a cat"), ("9", "red dog"))
    corpus, report = built(tmp_path / "second", source, leave_out_corpora=(str(tmp_path / "first"),))
    assert [corpus.text(at) for at in range(len(corpus))] == ["red dog"]
    assert report.dropped == {"a corpus to leave out holds its text out": 1}
    together = Corpora([tmp_path / "first", built(tmp_path / "third", source)[0]])
    assert [together.text(int(at)) for at in together.split("train")] == ["two dogs", "red dog"]


@pytest.mark.parametrize("option", [{"leave_out_stores": ("x",)}, {"leave_out_ids": ("1",)}, {"unique_pictures": True}])
def test_pictures_to_leave_out_are_refused(tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="a corpus of texts alone has no pictures to leave out"):
        built(tmp_path / "texts", **option)
    assert not list(tmp_path.iterdir())


def test_texts_alone_and_pictures_do_not_mix(tmp_path: Path) -> None:
    texts, _ = built(tmp_path / "texts")
    pictures = make_corpus(tmp_path / "pictures", make_store(tmp_path / "store", {"1": 2}), captions(("1", "a dog")))
    with pytest.raises(InterbertError, match="has texts alone, corpus .* has pictures: build it with  --regions"):
        Corpora([pictures, texts])
    with pytest.raises(InterbertError, match="has pictures, corpus .* has texts alone: pretrain on texts first"):
        Corpora([texts, pictures])


def test_a_source_without_texts_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match=r"nothing is left for the corpus:[\s\S]*Give a source with texts"):
        built(tmp_path / "texts", [Caption("", " ", "train", "0")])
    assert not list(tmp_path.iterdir())


def test_a_hundred_texts_have_their_own_hashes(tmp_path: Path) -> None:
    source = [Caption("", "dog " + "a " * at, None, f"{at}") for at in range(100)]
    corpus, _ = built(tmp_path / "texts", source, max_words=200)
    assert len(np.unique(corpus.image_hashes)) == 100
    assert (corpus.image_hashes > 0).all()
