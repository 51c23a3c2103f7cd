"""Files of labelled pairs: each kind says the same, and what cannot be read is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from interbert.errors import InterbertError
from interbert.tasks.matching_files import LabelledPair, read_pairs_of


def test_jsonl_csv_and_tsv_hold_the_same_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a dog", "image": "a.jpg", "label": 1, "split": "val"}\n')
    (tmp_path / "a.csv").write_text("text,image,label,split\na dog,a.jpg,1,val\n")
    (tmp_path / "a.tsv").write_text("text\timage\tlabel\tsplit\na dog\ta.jpg\t1\tval\n")
    for name in ("a.jsonl", "a.csv", "a.tsv"):
        assert read_pairs_of(tmp_path / name).splits == {"validation": [LabelledPair("a dog", "a.jpg", True)]}


def test_a_label_that_is_neither_0_nor_1_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,image,label\na dog,a.jpg,yes\n")
    with pytest.raises(InterbertError, match="label is 'yes', wanted 1 where text and picture belong together, else 0"):
        read_pairs_of(tmp_path / "a.csv")
