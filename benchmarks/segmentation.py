"""How well are real titles cut into words? Fifty of them, drawn by a seed and read by a person, word by word.

    python benchmarks/segmentation.py product1m_dev.jsonl product1m_test.jsonl

There is no gold cut of product titles at hand. The fifty were cut by rjieba and read; `READ` has every place that was
wrong, and how it reads. Names of brands and of goods that a dictionary of this trade would list count as one word.
Whatever stands in no line was read and is right, so the gold is the cut of rjieba (`READ_WITH` is its version) with
these lines put in. Prints one JSON object: of each segmenter the words found, precision, recall and F1 against that;
blanks and marks, which nobody gets wrong, are not counted.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from interbert.corpus.catalogue import titles_of
from interbert.text.segmenting import load_segmenter
from interbert.text.titles import Cleaning, TitleCleaner

SEED, COUNT = 0, 50
READ_WITH = "0.2.2"
READ = {  # the number of a title -> what rjieba made of a place, and the words that stand there
    1: [("包邮水乳", "包邮 水乳")],
    2: [("小 灯泡", "小灯泡")],
    4: [("水份 缘", "水份缘")],
    7: [("流 明水 乳", "流明 水乳"), ("敏感 肌", "敏感肌")],
    8: [("倩 碧水 磁场", "倩碧 水磁场")],
    11: [("小黑 瓶", "小黑瓶"), ("肌底 液", "肌底液")],
    12: [("肌肤 之钥", "肌肤之钥"), ("水日 乳夜 乳", "水 日乳 夜乳")],
    14: [("小 喜子", "小喜子"), ("环采臻 晳", "环采臻晳"), ("精华 露", "精华露")],
    15: [("修 护套 组", "修护 套组")],
    16: [("小黑 瓶大眼", "小黑瓶 大眼")],
    17: [("小黑 瓶套 盒", "小黑瓶 套盒")],
    19: [("小黑 瓶", "小黑瓶")],
    20: [("红 石榴", "红石榴")],
    21: [("肌肤 之钥", "肌肤之钥")],
    22: [("水 动力", "水动力"), ("保湿 乳", "保湿乳")],
    23: [("凝 露水", "凝露 水")],
    24: [("紫苏 水", "紫苏水")],
    28: [("滋润 型", "滋润型")],
    31: [("玻 尿酸", "玻尿酸")],
    32: [("神仙 水", "神仙水"), ("清莹 露", "清莹露")],
    33: [("红 石榴", "红石榴")],
    34: [("锁水洁面", "锁水 洁面"), ("润肤 水", "润肤水"), ("女正", "女 正")],
    35: [("自然 堂水润", "自然堂 水润")],
    36: [("塑颜护 眼霜", "塑颜 护眼霜")],
    37: [("法版兰蔻", "法版 兰蔻"), ("水份 缘", "水份缘")],
    38: [("兰蔻菁 纯臻 颜焕亮", "兰蔻 菁纯 臻颜 焕亮")],
    41: [("敏感 肌干皮", "敏感肌 干皮")],
    43: [("包邮欧 缇 丽", "包邮 欧缇丽")],
    44: [("焕采红 石榴", "焕采 红石榴")],
    45: [("sod 蜜", "sod蜜")],
    46: [("倩 碧", "倩碧"), ("水 磁场", "水磁场")],
    48: [("倩 碧水 磁场", "倩碧 水磁场")],
    49: [("洁肤 露", "洁肤露"), ("神仙 水", "神仙水"), ("大红 瓶", "大红瓶")],
}


def drawn(titles: list[str]) -> list[str]:
    """Fifty different titles, cleaned but not cut to a length."""
    cleaner = TitleCleaner("zh", Cleaning(max_characters=1000), load_segmenter())
    different = list(dict.fromkeys(title for title in cleaner.clean(titles) if title))
    random.Random(SEED).shuffle(different)
    return different[:COUNT]


def mended(words: list[str], number: int) -> list[str]:
    """The words of a title with what was read in place of what was wrong. Raises SystemExit where that is not there."""
    for wrong, right in READ.get(number, []):
        old = wrong.split()
        at = next((at for at in range(len(words)) if words[at : at + len(old)] == old), None)
        if at is None:
            raise SystemExit(f"title {number} has no '{wrong}': other titles or another rjieba than {READ_WITH}")
        words = [*words[:at], *right.split(), *words[at + len(old) :]]
    return words


def spans(words: list[str]) -> set[tuple[int, int]]:
    """Where each word begins and ends; without blanks and marks."""
    return {span for word, span in _placed(words) if any(map(str.isalnum, word))}


def _placed(words: list[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    start = 0
    for word in words:
        yield word, (start, start + len(word))
        start += len(word)


def measured(found: list[set[tuple[int, int]]], gold: list[set[tuple[int, int]]]) -> dict[str, float]:
    """Precision, recall and F1 of words over all titles; a word is right where both its ends are."""
    right = sum(len(ours & theirs) for ours, theirs in zip(found, gold, strict=True))
    words, wanted = sum(map(len, found)), sum(map(len, gold))
    whole = sum(ours == theirs for ours, theirs in zip(found, gold, strict=True))
    shares = {"precision": right / words, "recall": right / wanted, "f1": 2 * right / (words + wanted)}
    return {"words": words, "right": right, **{name: round(x, 4) for name, x in shares.items()}, "titles_right": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalogues", nargs="+", type=Path)
    given = parser.parse_args()
    titles = drawn([title for path in given.catalogues for title in titles_of(path)])
    names = ("rjieba", "jieba")
    cut = {name: [load_segmenter(name).words(title) for title in titles] for name in names}
    gold = [spans(mended(words, number)) for number, words in enumerate(cut["rjieba"], 1)]
    shown = {name: measured([spans(words) for words in cut[name]], gold) for name in names}
    versions = {name: load_segmenter(name).info.version for name in names}
    counts = {"titles": len(titles), "words": sum(map(len, gold)), "places_wrong": sum(map(len, READ.values()))}
    print(json.dumps({**counts, **shown, "versions": versions}, indent=1))


if __name__ == "__main__":
    main()
