"""benchmarks/segmentation.py: F1 of words counted by hand, and the reading of fifty titles put into their cut."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from interbert.corpus.catalogue import titles_of

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def segmentation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("segmentation")


def test_a_word_is_right_where_both_its_ends_are(segmentation: ModuleType) -> None:
    found, gold = (segmentation.spans(words) for words in (["玻", "尿酸", " ", "水乳"], ["玻尿酸", " ", "水乳"]))
    measured = segmentation.measured([found], [gold])
    assert (measured["words"], measured["right"]) == (3, 1)  # of 玻, 尿酸, 水乳 against 玻尿酸, 水乳
    assert (measured["precision"], measured["recall"], measured["f1"]) == (0.3333, 0.5, 0.4)


def test_blanks_and_marks_are_no_words(segmentation: ModuleType) -> None:
    assert segmentation.spans(["SK-II", " ", "+", "面霜"]) == {(0, 5), (7, 9)}


def test_what_was_read_stands_in_place_of_what_was_wrong(segmentation: ModuleType) -> None:
    assert segmentation.mended(["兰蔻", "小黑", "瓶套", "盒", "精华"], 17) == ["兰蔻", "小黑瓶", "套盒", "精华"]
    with pytest.raises(SystemExit, match="title 17 has no '小黑 瓶套 盒'"):
        segmentation.mended(["兰蔻"], 17)


def test_no_reading_changes_a_character(segmentation: ModuleType) -> None:
    for places in segmentation.READ.values():
        assert all(wrong.replace(" ", "") == right.replace(" ", "") for wrong, right in places)


@pytest.mark.shared_data
def test_the_reading_is_of_the_titles_that_are_drawn(segmentation: ModuleType, shared: Path) -> None:
    files = [shared / "data" / "product_zh" / f"product1m_{part}.jsonl" for part in ("dev", "test")]
    titles = segmentation.drawn([title for file in files for title in titles_of(file)])
    words = [segmentation.load_segmenter("rjieba").words(title) for title in titles]
    gold = [segmentation.mended(cut, number) for number, cut in enumerate(words, 1)]
    assert sum(len(segmentation.spans(cut)) for cut in gold) == 604
