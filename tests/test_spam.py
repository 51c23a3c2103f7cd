"""The spam filter: words that stand as words, and innocent titles that contain them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from interbert.errors import UsageError
from interbert.text.segmenting import Segmenter, load_segmenter
from interbert.text.spam import SpamFilter, WordList
from interbert.text.spam_model import BUCKETS, SpamModel


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return load_segmenter("rjieba")


@pytest.fixture(scope="module")
def words() -> WordList:
    return WordList.load()


def kinds(words: WordList, segmenter: Segmenter, titles: list[str]) -> list[str | None]:
    found = (words.find(title, segmenter.words(title)) for title in titles)
    return [verdict.kind if verdict else None for verdict in found]


INNOCENT = [  # what is sold, with a listed word across its words
    "彩色情侣装短袖T恤",  # 色情
    "男性爱用的保湿乳液",  # 性爱
    "路口交通标志贴纸",  # 口交
    "出口交货纯棉毛巾",  # 口交
    "澳洲羊毛片被芯",  # 毛片
    "做爱心早餐的模具",  # 做爱
    "淘博彩色铅笔48色",  # 博彩
    "热熔胶枪支架",  # 枪支
    "天津大麻花零食",  # 大麻
    "大麻籽油护手霜",  # 大麻, as a word, inside an innocent phrase
    "维生素A片",
    "三级片剂分装盒",  # 三级片
    "大麻哈鱼子罐头",  # 大麻, at the beginning of a longer word
]


@pytest.mark.parametrize("title", INNOCENT)
def test_an_innocent_title_that_contains_a_listed_word_is_kept(
    words: WordList, segmenter: Segmenter, title: str
) -> None:
    assert kinds(words, segmenter, [title]) == [None]


def test_every_kind_is_found(words: WordList, segmenter: Segmenter) -> None:
    titles = [
        "高清色情电影下载",
        "真钱百家乐在线赌博",
        "买冰毒加微信",
        "恐怖组织宣传品",
        "竞选拉票服务",
        "你这个王八蛋T恤",
    ]
    expected = ["pornography", "gambling", "drugs", "terrorism", "politics", "abuse"]
    assert kinds(words, segmenter, titles) == expected


def test_a_listed_word_that_the_dictionary_cuts_is_found_over_its_pieces() -> None:
    assert WordList({"网上投注": "gambling"}).find("网上投注站", ["网上", "投注", "站"]) is not None
    assert WordList({"网上投": "gambling"}).find("网上投注站", ["网上", "投注", "站"]) is None


def test_a_listed_word_is_found_at_the_beginning_of_a_longer_word_not_at_its_end() -> None:
    words = WordList({"色情": "pornography", "性爱": "pornography"})
    assert words.find("色情图片", ["色情图片"]) is not None
    assert words.find("母性爱", ["母性爱"]) is None


def test_capitals_make_no_difference_and_a_letter_that_grows_does_no_harm() -> None:
    words = WordList({"Porn": "pornography"})
    assert words.find("PORN video", ["PORN", " ", "video"]) == ("pornography", "porn")
    assert words.find("İporn", ["İ", "porn"]) is not None


def test_an_innocent_phrase_covers_only_what_stands_in_it() -> None:
    words = WordList({"大麻": "drugs"}, ["大麻籽油"])
    assert words.find("大麻籽油", ["大麻", "籽油"]) is None
    assert words.find("大麻籽油和大麻", ["大麻", "籽油", "和", "大麻"]) == ("drugs", "大麻")


def test_lists_of_ones_own_replace_the_packages(tmp_path: Path) -> None:
    (tmp_path / "adverts.txt").write_text("# ours\n加微信 # come to me\n", encoding="utf-8")
    (tmp_path / "innocent.txt").write_text("加微信支付\n", encoding="utf-8")
    words = WordList.load(tmp_path)
    assert words.kinds == {"加微信": "adverts"}
    assert words.innocent == ("加微信支付",)


def test_a_folder_without_lists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no lists of words"):
        WordList.load(tmp_path)


def test_the_packages_lists_are_short_and_no_word_is_in_two(words: WordList) -> None:
    folder = Path(__file__).resolve().parents[1] / "src/interbert/text/spam_words"
    lines = [line for path in folder.glob("*.txt") if path.stem != "innocent" for line in path.read_text().splitlines()]
    listed = [line.lower() for line in lines if line and not line.startswith("#")]
    assert sorted(listed) == sorted(words.kinds)
    assert len(listed) < 200


def test_the_classifier_finds_what_the_list_does_not() -> None:
    always = SpamModel(np.zeros(BUCKETS, np.float32), bias=2.0)  # probability 0.88
    texts, cut = ["色情", "裙子"], [["色情"], ["裙子"]]
    judge = SpamFilter(WordList({"色情": "pornography"}), always)
    assert judge.judge(texts, cut) == [("pornography", "色情"), ("classifier", "probability 0.88")]
    assert SpamFilter(None, always, threshold=0.9).judge(texts, cut) == [None, None]
    assert SpamFilter(None, None).judge(texts, cut) == [None, None]


@pytest.mark.shared_data
def test_none_of_6227_real_titles_is_dropped(shared: Path, words: WordList, segmenter: Segmenter) -> None:
    for name in ("dev", "test"):
        lines = (shared / f"data/product_zh/product1m_{name}.jsonl").read_text(encoding="utf-8").splitlines()
        titles = [json.loads(line)["title"] for line in lines]
        assert not [title for title, kind in zip(titles, kinds(words, segmenter, titles), strict=True) if kind]
