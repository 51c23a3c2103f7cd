"""A shop's export, as shops write them: GB18030, own names of columns, mixed line ends, everything wrong once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from corpus_helpers import make_store
from PIL import Image

from interbert import cli
from interbert.corpus.corpus import Corpus
from interbert.text.tokenizer import SPECIAL

ROWS = [
    "编号,商品名,主图链接,类目,店铺",
    "1,【正品】ＡＨＣ玻尿酸水乳套装★,pictures/1.jpg,护肤,甲",
    "2,Nike Air Max,pictures/2.jpg,护肤,甲",
    "3,真钱百家乐在线赌博,pictures/3.jpg,护肤,乙",
    "4,,pictures/4.jpg,护肤,乙",
    f"5,{'雪纺连衣裙夏季新款' * 1200},pictures/5.jpg,女装,乙",
    "6,兰蔻小黑瓶精华&times;2,https://shop.example/6.jpg,护肤,乙",
    "1,【正品】ＡＨＣ玻尿酸水乳套装★,pictures/7.jpg,护肤,甲",
    "8,男士洗面奶套装,,护肤,甲",
]
ENDS = ("\r\n", "\n")
NAMED = ["--set", "columns.title=商品名", "--set", "columns.image=主图链接"]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the export, the regions of its pictures and a vocabulary."""
    text = "".join(row + ENDS[at % 2] for at, row in enumerate(ROWS))
    (tmp_path / "shop.csv").write_bytes(text.encode("gb18030"))
    make_store(tmp_path / "regions", {f"pictures/{at}": 3 for at in (1, 2, 3, 4, 5, 7)}).close()
    characters = [chr(at) for at in (*range(33, 65), *range(91, 127), *range(0x4E00, 0xA000))]
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, *characters]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def corpus_command(*more: str) -> list[str]:
    command = ["corpus", "shop.csv", "--format", "products", "--language", "zh", "--tokenizer", "vocab.txt"]
    return [*command, "--regions", "regions", "--out", "corpus", "--quiet", *more]


def test_what_is_kept_and_what_is_dropped_is_all_that_was_read(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(corpus_command(*NAMED, "--json")) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["captions"] == {"read": 8, "kept": 3}
    assert report["dropped"] == {
        "its title was dropped in cleaning": 2,
        "it has no title": 1,
        "it has no picture": 1,
        "its picture is not in the region store": 1,
    }
    assert report["notes"]["products read as GB18030"] == 8
    assert report["notes"]["products that come again with another picture, both kept"] == 1
    steps = {step["name"]: (step["changed"], step["dropped"]) for step in report["steps"]}
    assert steps["no Chinese character"] == (0, 1)
    assert steps["spam"] == (0, 1)
    assert steps["cut by words"] == (1, 0)
    corpus = Corpus(shop / "corpus")
    texts = [corpus.text(at) for at in range(len(corpus))]
    assert texts[0] == texts[2] == "【正品】AHC玻尿酸水乳套装"
    assert 30 <= len(texts[1]) <= 36


def test_a_category_is_chosen_and_the_report_is_a_table(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(corpus_command(*NAMED, "--category", "女装")) == 0
    shown = capsys.readouterr().out
    assert "8 read          1 kept" in shown
    assert "its category is not wanted" in shown
    assert "cleaning of titles" in shown


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            [],
            "hold the image; there are 编号, 商品名, 主图链接, 类目, 店铺. Name it:  --set columns.image=主图链接",
        ),
        ([*NAMED, "--category", "女鞋装"], "there is no category '女鞋装'"),
        ([*NAMED, "--segmenter", "none"], "Chinese titles: got no segmenter"),
        ([*NAMED, "--set", "cleaning.max_charactres=9"], "did you mean 'cleaning.max_characters'"),
        ([*NAMED, "--text-field", "商品名"], "a catalogue's columns are named by --set columns.title=NAME"),
        ([*NAMED, "--spam-model", "none"], "spam model 'none' does not exist"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_leaves_nothing(
    shop: Path, capsys: pytest.CaptureFixture[str], more: list[str], sentence: str
) -> None:
    assert cli.run(corpus_command(*more)) == 2
    assert sentence in capsys.readouterr().err
    assert sorted(path.name for path in shop.iterdir()) == ["regions", "shop.csv", "vocab.txt"]


def test_addresses_are_refused_without_a_folder_to_fetch_them_into(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / "pictures").mkdir()
    for at in (1, 2, 3, 4, 5, 7):
        Image.new("RGB", (64, 64), "white").save(shop / f"pictures/{at}.jpg")
    command = ["extract", "shop.csv", "--format", "products", "--out", "new", "--workers", "0", "--quiet"]
    assert cli.run([*command, "--set", "columns.image=主图链接"]) == 2
    assert "1 pictures are addresses on the web, such as https://shop.example/6.jpg; give --download" in (
        capsys.readouterr().err
    )
    assert not (shop / "new").exists()


def test_titles_alone_are_a_corpus_where_it_is_said_so(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "titles.csv").write_text("标题\n红色连衣裙\n蓝色运动鞋\n红色连衣裙\n", encoding="utf-8")
    command = ["corpus", "titles.csv", "--format", "products", "--language", "zh", "--tokenizer", "vocab.txt", "--json"]
    assert cli.run([*command, "--out", "titles", "--text-alone"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["captions"] == {"read": 3, "kept": 2}
    assert report["dropped"] == {"it says the same as an earlier one": 1}
    assert Corpus("titles").text_alone


def test_the_titles_of_a_catalogue_with_pictures_need_none_of_them(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        word for word in corpus_command(*NAMED, "--text-alone", "--json") if word not in ("--regions", "regions")
    ]
    assert cli.run(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["captions"] == {"read": 8, "kept": 4}
    assert "it has no picture" not in report["dropped"]


@pytest.mark.parametrize(("more", "got"), [((), "neither"), (("--regions", "regions", "--text-alone"), "both")])
def test_a_corpus_has_regions_or_says_that_it_has_none(
    shop: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], got: str
) -> None:
    assert cli.run(["corpus", "shop.csv", "--format", "products", "--out", "corpus", *more]) == 2
    assert f"--text-alone for texts without pictures: got {got}" in capsys.readouterr().err
