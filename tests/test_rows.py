"""Rows of a task's own files, the good ones as dicts and the bad ones counted."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from interbert.corpus.readers import Malformed
from interbert.errors import InterbertError, UsageError
from interbert.tasks.rows import WHOLE, read_examples, rows_of, split_of_name, split_of_row, text_in


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def labels(path: Path, malformed: Malformed) -> Iterator[tuple[str | None, str]]:
    for _, row in rows_of(path, malformed):
        yield split_of_row(row), text_in(row, "label")


def test_a_csv_row_is_a_dict_by_the_first_line(tmp_path: Path) -> None:
    path, malformed = written(tmp_path / "a.csv", 'text,label\n"a, ""b""",x\n'), Malformed(tmp_path)
    assert list(rows_of(path, malformed)) == [("line 2", {"text": 'a, "b"', "label": "x"})]
    assert (malformed.seen, malformed.count) == (1, 0)


def test_a_quote_in_a_tsv_is_a_letter(tmp_path: Path) -> None:
    path, malformed = written(tmp_path / "a.tsv", 'text\tlabel\n"a\tx\n'), Malformed(tmp_path)
    assert list(rows_of(path, malformed)) == [("line 2", {"text": '"a', "label": "x"})]
    assert (malformed.seen, malformed.count) == (1, 0)


def test_jsonl_may_be_gzipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"label": "x"}\n'))
    assert list(rows_of(path, Malformed(path))) == [("line 1", {"label": "x"})]


@pytest.mark.parametrize(
    ("name", "bad", "says"),
    [
        ("a.jsonl", '{"label": \n[1]\n', "it is no JSON object"),
        ("a.csv", "label\nx,y\n", "got 2 columns, wanted 1: label"),
        ("a.csv", 'label\n"x\n', "unexpected end of data"),
        ("a.tsv", "label\nx\ty\n", "got 2 columns, wanted 1: label"),
    ],
)
def test_bad_rows_are_counted_with_their_reason(tmp_path: Path, name: str, bad: str, says: str) -> None:
    malformed = Malformed(tmp_path)
    assert list(rows_of(written(tmp_path / name, bad), malformed)) == []
    assert malformed.count >= 1
    assert says in " ".join(malformed.examples)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no .jsonl, .csv or .tsv"):
        list(rows_of(written(tmp_path / "a.xml", "<a/>"), Malformed(tmp_path)))


@pytest.mark.parametrize(
    ("name", "split"),
    [("train.tsv", "train"), ("gd_vcr_val.jsonl", "validation"), ("x_test2015.json", "test"), ("none.csv", None)],
)
def test_a_files_name_says_its_split(name: str, split: str | None) -> None:
    assert split_of_name(name) == split


def test_a_folders_files_are_read_by_split_and_a_rows_own_split_goes_first(tmp_path: Path) -> None:
    written(tmp_path / "train.csv", "label,split\na,\nb,test\n")
    written(tmp_path / "dev.csv", "label,split\nc,\n")
    written(tmp_path / "notes.csv", "not read")
    assert read_examples(tmp_path, (".csv",), labels).splits == {"train": ["a"], "test": ["b"], "validation": ["c"]}


def test_a_lone_file_without_splits_is_whole(tmp_path: Path) -> None:
    assert read_examples(written(tmp_path / "a.csv", "label\nx\n"), (".csv",), labels).splits == {WHOLE: ["x"]}


def test_what_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_examples(tmp_path / "nowhere", (".csv",), labels)
    with pytest.raises(UsageError, match=r"no \*\.csv whose name says train"):
        read_examples(tmp_path, (".csv",), labels)
    with pytest.raises(InterbertError, match="holds no example"):
        read_examples(written(tmp_path / "a.csv", "label\n"), (".csv",), labels)


def test_more_than_one_bad_row_in_a_hundred_stops_the_reading(tmp_path: Path) -> None:
    rows = "x\n" * 99 + "x,y\n"
    found = read_examples(written(tmp_path / "a.csv", "label\n" + rows), (".csv",), labels)
    assert found.notes() == [
        "a.csv: 1 of 100 entries left out, the first: a.csv, line 101: got 2 columns, wanted 1: label"
    ]
    with pytest.raises(InterbertError, match="2 of 101 entries cannot be read"):
        read_examples(written(tmp_path / "a.csv", "label\n" + rows + "x,y\n"), (".csv",), labels)


def test_a_part_is_a_split_or_the_whole_file(tmp_path: Path) -> None:
    whole = read_examples(written(tmp_path / "a.csv", "label\nx\n"), (".csv",), labels)
    assert whole.part("test") == whole.training() == ["x"]
    named = read_examples(written(tmp_path / "dev.csv", "label\nx\n"), (".csv",), labels)
    assert named.part("validation") == ["x"]
    with pytest.raises(InterbertError, match="no train split in the data, only validation"):
        named.training()


def test_the_digest_is_of_the_examples(tmp_path: Path) -> None:
    found = [read_examples(written(tmp_path / "a.csv", f"label\n{text}\n"), (".csv",), labels) for text in "xxy"]
    first, second, third = (one.digest("train") for one in found)
    assert first == second != third


def test_a_text_is_taken_under_the_first_name_there_is() -> None:
    assert text_in({"sentence1": "a"}, "sentence", "sentence1") == "a"
    for row in ({"sentence": 3}, {"sentence": " "}, {"other": "a"}):
        with pytest.raises(ValueError, match="sentence"):
            text_in(row, "sentence")
