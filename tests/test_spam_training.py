"""Training and measuring the spam filter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score
from test_spam_model import GOODS, SPAM

from interbert.errors import InterbertError, UsageError
from interbert.text.segmenting import load_segmenter
from interbert.text.spam import WordList
from interbert.text.spam_model import SpamModel
from interbert.text.spam_training import count_found, is_held_out, read_labelled, train_spam


def labelled(folder: Path) -> Path:
    path = folder / "labelled.tsv"
    lines = [f"ok\t{text}" for text in GOODS] + [f"spam\t{text}" for text in SPAM]
    path.write_bytes("\r\n".join(lines).encode("gb18030"))
    return path


def test_precision_and_recall_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    spam, found = random.random(200) < 0.3, random.random(200) < 0.4
    counted = count_found(spam, found)
    assert counted.precision == pytest.approx(precision_score(spam, found))
    assert counted.recall == pytest.approx(recall_score(spam, found))


def test_of_nothing_there_is_no_precision() -> None:
    nothing = count_found(np.zeros(2, bool), np.zeros(2, bool))
    assert (nothing.precision, nothing.recall) == (None, None)


def test_the_held_out_lines_are_not_trained_on_and_measured(tmp_path: Path) -> None:
    words = WordList({"领红包": "adverts"})
    report = train_spam(labelled(tmp_path), tmp_path / "model", load_segmenter("rjieba"), words, held_out=0.3)
    aside = [text for text in GOODS + SPAM if is_held_out(text, 0.3)]
    assert 0 < len(aside) == report.held_out
    assert report.trained_on == len(GOODS) + len(SPAM) - len(aside)
    assert SpamModel.load(tmp_path / "model").facts["trained_on"] == str(report.trained_on)
    lists, both = report.measured["word lists"], report.measured["both from 0.5"]
    assert lists.spam == sum(text in SPAM for text in aside)
    assert lists.innocent_found == 0
    assert both.spam_found >= lists.spam_found
    assert "precision" in report.lines()[0]
    assert report.to_json()["measured"]["word lists"]["spam"] == lists.spam


def test_copies_of_a_title_are_on_the_same_side() -> None:
    assert is_held_out("裙子", 0.0) is False
    assert is_held_out("裙子", 1.0) is True
    assert abs(sum(is_held_out(str(at), 0.2) for at in range(2000)) / 2000 - 0.2) < 0.03


def test_a_line_without_a_known_label_names_itself(tmp_path: Path) -> None:
    (tmp_path / "bad.tsv").write_text("ok\t裙子\nmaybe\t鞋子\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 2: got 'maybe\t鞋子', wanted LABEL, TAB, TITLE"):
        read_labelled(tmp_path / "bad.tsv")


def test_training_needs_both_kinds(tmp_path: Path) -> None:
    (tmp_path / "one.tsv").write_text("ok\t裙子\nok\t鞋子\n", encoding="utf-8")
    with pytest.raises(InterbertError, match="got 0 titles of spam and 2 innocent ones"):
        train_spam(tmp_path / "one.tsv", tmp_path / "model", load_segmenter("rjieba"), WordList({"a": "b"}), 0.0)
