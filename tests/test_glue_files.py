"""GLUE's tsv as they are: bare quotes, a header or none, labels as places."""

from __future__ import annotations

from pathlib import Path

import pytest

from interbert.errors import InterbertError
from interbert.tasks.glue_files import GLUE, Sentences, read_glue, write_submission
from interbert.tasks.rows import WHOLE


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_cola_has_no_header_and_its_quotes_are_letters(tmp_path: Path) -> None:
    path = written(tmp_path / "dev.tsv", 'gj04\t0\t*\tHe said "so.\ngj04\t1\t\tThe "rope" held.\n')
    assert read_glue(path, GLUE["cola"]).splits["validation"] == [
        Sentences("1", 'He said "so.', None, 0.0),
        Sentences("2", 'The "rope" held.', None, 1.0),
    ]


def test_colas_test_file_has_a_header_and_no_labels(tmp_path: Path) -> None:
    path = written(tmp_path / "test.tsv", "index\tsentence\n0\tBill held it.\n")
    assert read_glue(path, GLUE["cola"]).splits == {"test": [Sentences("0", "Bill held it.", None, None)]}


def test_rte_has_two_sentences_and_named_labels(tmp_path: Path) -> None:
    path = written(tmp_path / "train.tsv", "index\tsentence1\tsentence2\tlabel\n7\ta\tb\tnot_entailment\n")
    assert read_glue(path, GLUE["rte"]).splits["train"] == [Sentences("7", "a", "b", 1.0)]


def test_own_rows_in_csv_and_jsonl_are_read_too(tmp_path: Path) -> None:
    wanted = [Sentences("2", "good, really", None, 1.0)]
    assert read_glue(written(tmp_path / "a.csv", 'sentence,label\n"good, really",1\n'), GLUE["sst2"]).splits == {
        WHOLE: wanted
    }
    row = '{"id": 5, "sentence1": "a", "sentence2": "b", "score": 2.5, "split": "test"}\n'
    found = read_glue(written(tmp_path / "a.jsonl", row), GLUE["stsb"])
    assert found.splits == {"test": [Sentences("5", "a", "b", 2.5)]}


def test_a_file_without_the_names_of_its_columns_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "train.tsv", "a fine film\t1\n")
    with pytest.raises(InterbertError, match=r"its first line is 'a fine film \| 1', wanted the names of the columns"):
        read_glue(path, GLUE["sst2"])


@pytest.mark.parametrize(
    ("task", "row", "says"),
    [
        ("sst2", "a film\tneutral", "label 'neutral' is none of 0, 1"),
        ("sst2", "a film", "got 1 columns, wanted 2: sentence, label"),
        ("sst2", "a\tfilm\t1", "got 3 columns"),
        ("sst2", " \t1", "sentence is ' ', wanted a text"),
    ],
)
def test_bad_rows_are_counted(tmp_path: Path, task: str, row: str, says: str) -> None:
    good = "a film\t1\n" * 200
    found = read_glue(written(tmp_path / "train.tsv", f"sentence\tlabel\n{good}{row}\n"), GLUE[task])
    assert len(found.splits["train"]) == 200
    assert found.malformed[0].count == 1
    assert says in found.notes()[0]


def test_a_score_outside_0_to_5_is_counted(tmp_path: Path) -> None:
    rows = "sentence1\tsentence2\tscore\n" + "a\tb\t1.5\n" * 300
    found = read_glue(written(tmp_path / "dev.tsv", f"{rows}a\tb\t5.1\na\tb\tnan\n"), GLUE["stsb"])
    assert found.malformed[0].count == 2
    assert "score '5.1' is no number from 0 to 5" in found.malformed[0].examples[0]


def test_a_submission_is_a_tsv_of_index_and_prediction(tmp_path: Path) -> None:
    write_submission(tmp_path / "RTE.tsv", ["0", "1"], [1, 0], GLUE["rte"])
    assert (tmp_path / "RTE.tsv").read_text() == "index\tprediction\n0\tnot_entailment\n1\tentailment\n"
    write_submission(tmp_path / "STS-B.tsv", ["0"], [2.5], GLUE["stsb"])
    assert (tmp_path / "STS-B.tsv").read_text() == "index\tprediction\n0\t2.500\n"


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("task", "train", "dev"),
    [("cola", 8551, 527), ("sst2", 67349, 872), ("stsb", 5749, 1500), ("rte", 1985, 277)],
)
def test_glues_own_files_are_read_whole(shared: Path, task: str, train: int, dev: int) -> None:
    found = read_glue(shared / "data/glue" / GLUE[task].title, GLUE[task])
    assert {split: len(examples) for split, examples in found.splits.items()} == {"train": train, "validation": dev}
    assert found.notes() == []
