"""Cleaning of titles: each step, and all of them in a row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interbert.errors import InterbertError, UsageError
from interbert.text import titles
from interbert.text.segmenting import load_segmenter
from interbert.text.spam import SpamFilter, WordList
from interbert.text.titles import (
    Cleaning,
    TitleCleaner,
    cut_by_words,
    half_width,
    in_script,
    with_chinese_only,
    without_control_characters,
    without_emoji,
    without_markup,
)


@pytest.fixture(scope="module")
def cleaner() -> TitleCleaner:
    return TitleCleaner("zh", segmenter=load_segmenter("rjieba"), spam=SpamFilter(WordList({"色情": "pornography"})))


def test_cutting_ends_where_a_word_ends_and_never_above_the_limit() -> None:
    words = ["玻尿酸", " ", "水乳", "套装"]  # 3 + 1 + 2 + 2
    assert [cut_by_words(words, most) for most in (8, 7, 6, 5, 4, 3)] == [
        "玻尿酸 水乳套装", "玻尿酸 水乳", "玻尿酸 水乳", "玻尿酸", "玻尿酸", "玻尿酸",
    ]  # fmt: skip


def test_of_a_first_word_longer_than_the_limit_the_beginning_stays() -> None:
    assert cut_by_words(["Donaudampfschifffahrt", "船"], 5) == "Donau"
    assert cut_by_words([], 5) == ""


def test_a_title_of_10000_characters_is_cut_to_at_most_36(cleaner: TitleCleaner) -> None:
    (short,) = cleaner.clean(["雪纺连衣裙夏季新款" * 1112])
    assert 30 <= len(short) <= 36
    assert ("雪纺连衣裙夏季新款" * 5).startswith(short)


def test_text_that_was_hidden_by_turning_it_round_reads_as_it_was_shown() -> None:
    assert without_control_characters("娇韵诗\u202e胸丰\u202c套装\u200b") == "娇韵诗丰胸套装"


def test_entities_and_tags_go_and_comparisons_stay() -> None:
    assert without_markup("<b>兰蔻</b>&times;2 &amp;lt; 1<2 <3cm>") == "兰蔻×2 &lt; 1<2 <3cm>"


def test_ornaments_become_blanks_and_a_heavy_plus_a_plus() -> None:
    assert without_emoji("★兰蔻🔥100ml➕20ml㊙") == " 兰蔻 100ml+20ml㊙"


def test_full_width_becomes_half_and_chinese_stops_stay() -> None:
    assert half_width("ＳＫ－ＩＩ（水）。①㎡") == "SK-II(水)。1m2"


def test_what_has_no_chinese_character_is_dropped_and_rare_ones_are_chinese() -> None:
    assert with_chinese_only("Nike Air 42 かな") == ""
    assert with_chinese_only("Nike 𠮷") == "Nike 𠮷"


def test_scripts_change_into_each_other() -> None:
    assert in_script("simplified")("入門體驗套裝") == "入门体验套装"
    assert in_script("traditional")("入门体验套装") == "入門體驗套裝"


def test_a_missing_package_of_scripts_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opencc", None)
    with pytest.raises(InterbertError, match=r"pip install 'interbert\[chinese\]'"):
        in_script("simplified")


def test_every_title_is_counted_at_every_step_that_it_reaches(cleaner: TitleCleaner) -> None:
    cleaner.reset()
    given = ["兰蔻&times;2", "Nike Air", "", "色情图片", "彩色情侣装", "韩国 AHC 套盒" * 8]
    cleaned = cleaner.clean(given)
    assert cleaned[:5] == ["兰蔻×2", "", "", "", "彩色情侣装"]
    counts = {name: (at.before, at.changed, at.dropped, at.after) for name, at in cleaner.counts.items()}
    assert counts["HTML entities and tags"] == (5, 1, 0, 5)
    assert counts["no Chinese character"] == (5, 0, 1, 4)
    assert counts["spam"] == (4, 0, 1, 3)
    assert counts["cut by words"] == (3, 1, 0, 3)
    assert cleaner.spam == {"pornography": 1}
    assert cleaner.counts["spam"].examples == ["色情图片  (pornography: 色情)"]


def test_cleaning_twice_changes_nothing_more(cleaner: TitleCleaner) -> None:
    once = cleaner.clean(["【正品】ＳＫ－ＩＩ\u3000神仙水&nbsp;２３０ｍｌ★" * 2, "兰蔻  小黑瓶\u200b"])
    assert cleaner.clean(once) == once


def test_what_is_switched_off_is_no_step() -> None:
    kept = Cleaning(emoji="kept", width="as given")
    cleaner = TitleCleaner("zh", kept, load_segmenter("rjieba"))
    assert cleaner.clean(["★ＳＫ水"]) == ["★ＳＫ水"]
    assert "emoji" not in cleaner.counts
    assert "into simplified" in TitleCleaner("zh", replace(kept, script="simplified"), load_segmenter("rjieba")).counts


def test_english_titles_need_no_segmenter_and_are_not_cut() -> None:
    title = "Nike Women As Trophy White T-Shirts with a very long name that goes on"
    assert TitleCleaner("en").clean([f" {title} &amp; ", "  "]) == [f"{title} &", ""]


def test_chinese_titles_without_a_segmenter_are_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="wanted rjieba or jieba"):
        TitleCleaner("zh")


def test_a_report_keeps_five_examples_of_a_step(cleaner: TitleCleaner) -> None:
    cleaner.reset()
    cleaner.clean(["Nike"] * 9)
    assert len(cleaner.counts["no Chinese character"].examples) == titles.EXAMPLES == 5
    assert cleaner.counts["no Chinese character"].dropped == 9


def test_an_and_sign_without_a_semicolon_is_no_entity() -> None:
    titles = ["pen&notebook set", "Type-C&microUSB cable", "A&B;C", "&#39;M&#x27; &eacute;"]
    assert [without_markup(title) for title in titles] == [*titles[:3], "'M' é"]
