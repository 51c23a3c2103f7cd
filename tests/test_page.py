"""The recall page: what is right, what is counted, what is written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from interbert.errors import UsageError
from interbert.scoring import page
from interbert.scoring.page import Recalled, RecallReport, Topic, read_topics, recall_page, share


def topic(text: str, pool_right: int, trained: str, untrained: str) -> Topic:
    """A pool of 20; the best are written as "x" for right and "." for wrong, scores falling."""
    lists = [
        tuple(Recalled(at, 0.9 - at / 10, mark == "x") for at, mark in enumerate(marks))
        for marks in (trained, untrained)
    ]
    return Topic(text, 20, pool_right, *lists)


def test_the_report_counts_the_right_ones_of_both_models() -> None:
    report = RecallReport((topic("a bird", 5, "xxx.x", "..x.."), topic("fruit", 4, "x....", ".....")))
    assert report.lines() == [
        "a bird   4 right of 5 (untrained 1); 0.25 of the pool are",
        "fruit    1 right of 5 (untrained 0); 0.20 of the pool are",
    ]


def test_where_no_picture_has_the_topic_nothing_is_claimed() -> None:
    assert RecallReport((topic("joy", 0, ".....", "....."),)).lines() == ["joy  what is right is not known"]


def test_a_best_list_cannot_have_more_right_than_the_pool_has() -> None:
    assert topic("a bird", 2, "xx...", ".....").possible == 2
    assert topic("a bird", 12, "xx...", ".....").possible == 5
    assert share(topic("a bird", 2, "xx...", ".....")) == 0.1


class NamedPictures:
    """Stands for a Corpus of pictures named a, b, c … without files."""

    folder = Path("corpus")

    def texts_of(self, image: int) -> range:
        return range(image, image + 1)

    def text(self, text: int) -> str:
        return f"<{'abcde'[text]}>"

    def image_id(self, image: int) -> str:
        return str(image)

    store = SimpleNamespace(info=lambda id: None)


def test_the_page_says_the_figures_and_shows_names_as_text() -> None:
    stub: Any = NamedPictures()
    html = page._body(RecallReport((topic("a & b", 2, "xx...", "..x.."),)), stub, "runs/mine")
    assert "2 of the best 5 are right where 0.10 of the pool are; more than 2 cannot be; untrained, 1." in html
    assert "Of all pictures shown, 40% are right after training, 20% before; drawn at random, 10% would be." in html
    assert "<b>0.90</b> &lt;a&gt;" in html
    assert "a &amp; b" in html
    assert html.count('class="right"') == 3


def test_topics_are_read_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "topics.txt").write_text("a bird\n\n  fruit \n", encoding="utf-8")
    assert read_topics(tmp_path / "topics.txt") == ["a bird", "fruit"]
    with pytest.raises(UsageError, match="cannot be read"):
        read_topics(tmp_path / "none.txt")


def test_a_page_without_topics_is_a_wrong_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --topic TEXT or --topics FILE"):
        recall_page(tmp_path, "run", [], tmp_path / "page.html")
