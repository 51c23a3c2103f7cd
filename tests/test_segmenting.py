"""Words of Chinese texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interbert.errors import InterbertError, UsageError
from interbert.text import segmenting
from interbert.text.segmenting import PLAIN, load_segmenter, read_user_words

TITLE = "韩国AHC玻尿酸 SK-II套盒"


@pytest.mark.parametrize("name", ["rjieba", "jieba"])
def test_words_joined_are_the_text_again_blanks_and_marks_included(name: str) -> None:
    words = load_segmenter(name).words(TITLE + "，  ★\t🔥")
    assert "".join(words) == TITLE + "，  ★\t🔥"
    assert "韩国" in words


def test_rjieba_keeps_a_brand_whole_that_jieba_cuts() -> None:
    assert "SK-II" in load_segmenter("rjieba").words(TITLE)
    assert "SK-II" not in load_segmenter("jieba").words(TITLE)


@pytest.mark.parametrize("name", ["rjieba", "jieba"])
@pytest.mark.parametrize("line", ["玻尿酸", "玻尿酸 100000", "玻尿酸 100000 n", "玻尿酸 n"])
def test_a_user_word_stays_whole(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "words.txt").write_text("\ufeff" + line + "\n\n", encoding="utf-8")
    assert "玻尿酸" not in load_segmenter(name).words(TITLE)
    cutter = load_segmenter(name, tmp_path / "words.txt")
    assert "玻尿酸" in cutter.words(TITLE)
    assert cutter.info.user_words == 1


def test_a_segmenter_says_its_name_and_version_and_what_words_were_added(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("玻尿酸\n", encoding="utf-8")
    plain, taught = load_segmenter("rjieba").info, load_segmenter("rjieba", tmp_path / "words.txt").info
    assert plain.name == "rjieba"
    assert plain.version[0].isdigit()
    assert plain.user_words_sha256 == ""
    assert len(taught.user_words_sha256) == 64


def test_a_line_with_more_than_a_word_a_number_and_a_tag_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("玻尿酸\nhyaluronic acid is it\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 2: got 'hyaluronic acid is it', wanted WORD"):
        read_user_words(tmp_path / "words.txt")


def test_a_name_that_does_not_exist_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'rjieba'"):
        load_segmenter("rjeiba")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(words: object) -> tuple[str, segmenting.Cut]:
        raise ImportError("No module named 'rjieba'")

    monkeypatch.setitem(segmenting.SEGMENTERS, "rjieba", missing)
    with pytest.raises(InterbertError, match=r"pip install 'interbert\[chinese\]'"):
        load_segmenter("rjieba")


def test_plain_words_are_runs_of_letters_and_take_no_dictionary(tmp_path: Path) -> None:
    assert PLAIN.words("T-shirt, red") == ["T", "-", "shirt", ",", " ", "red"]
    (tmp_path / "words.txt").write_text("shirt\n", encoding="utf-8")
    with pytest.raises(UsageError, match="'plain' has no dictionary"):
        load_segmenter("plain", tmp_path / "words.txt")


@pytest.mark.shared_data
def test_words_of_6227_real_titles_are_the_titles_again(shared: Path) -> None:
    cutter = load_segmenter("rjieba")
    for name in ("dev", "test"):
        for line in (shared / f"data/product_zh/product1m_{name}.jsonl").read_text(encoding="utf-8").splitlines():
            title = json.loads(line)["title"]
            assert "".join(cutter.words(title)) == title
