"""Answers are normalised and scored as the VQA challenge's own code did it, row by recorded row."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interbert.tasks.vqa_answers import (
    answer_vocabulary,
    most_common,
    normalised,
    official_score,
    soft_targets,
    summary,
    without_punctuation,
)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("The two dogs.", "2 dogs"),
        ("couldnt", "couldn't"),
        ("couldn'tve", "couldn't've"),
        ("1,000", "1000"),
        ("3.5.", "3.5"),
        ("black/white", "black white"),
        ("None", "0"),
        (" a\nb\tc ", "b c"),
        ("a", ""),
    ],
)
def test_an_answer_loses_its_articles_its_punctuation_and_its_number_words(answer: str, wanted: str) -> None:
    assert normalised(answer) == wanted


def test_a_mark_beside_a_blank_is_removed_and_one_between_words_is_a_blank() -> None:
    assert without_punctuation("black - white") == "black  white"
    assert without_punctuation("black-white") == "black white"


def test_only_the_first_32_periods_are_removed() -> None:
    assert without_punctuation("." * 40) == "." * 8


def test_answers_that_all_annotators_gave_are_compared_as_they_are() -> None:
    assert official_score("the dog", ["the dog"] * 10) == 1.0
    assert official_score("dog", ["the dog"] * 10) == 0.0
    assert math.isclose(official_score("dog", ["the dog"] * 3 + ["cat"] * 7), 0.9)


def test_summary_gives_percent_by_kind() -> None:
    found = summary([1.0, 0.5, 0.0], ["number", "other", "other"], ["how many", "what", "what"])
    assert found.overall == 50.0
    assert found.per_answer_type == {"number": 100.0, "other": 25.0}
    assert found.per_question_type == {"how many": 100.0, "what": 25.0}


def test_the_vocabulary_counts_questions_after_normalising() -> None:
    assert answer_vocabulary(["Yes", "yes.", "no", "two", "2", "2"], min_occurrences=2) == ("2", "yes")


def test_of_answers_equally_common_the_first_given_is_taken() -> None:
    assert most_common(["b", "a", "a", "b"]) == "b"


def test_soft_targets_are_thirds_of_annotators_up_to_1() -> None:
    places = {"red": 0, "pink": 1}
    assert soft_targets(["red", "Red", "pink", "pink", "pink", "a pink", "rose"], places) == {0: 2 / 3, 1: 1.0}
    assert soft_targets(["rose"] * 10, places) == {}


@pytest.mark.shared_data
def test_every_recorded_normalisation_is_ours(shared: Path) -> None:
    count = 0
    for row in rows(shared / "data/vqa_v2/official_eval/normalization.jsonl"):
        count += 1
        assert without_punctuation(row["raw"].strip()) == row["after_punctuation"]
        assert normalised(row["raw"]) == row["normalized"]
    assert count == 1786


@pytest.mark.shared_data
def test_every_recorded_score_and_the_summary_are_ours(shared: Path) -> None:
    folder = shared / "data/vqa_v2/official_eval"
    recorded = list(rows(folder / "predictions_scored.jsonl"))
    scores = [official_score(row["prediction"], row["answers"]) for row in recorded]
    assert len(scores) == 2000
    assert [round(100 * score, 2) for score in scores] == [row["accuracy"] for row in recorded]
    theirs = json.loads((folder / "summary.json").read_text())
    ours = summary(scores, [row["answer_type"] for row in recorded], [row["question_type"] for row in recorded])
    assert ours.overall == theirs["overall"]
    assert ours.per_answer_type == theirs["perAnswerType"]
    assert ours.per_question_type == theirs["perQuestionType"]


@pytest.mark.shared_data
def test_the_vocabulary_of_a_sample_lies_in_the_published_one(shared: Path) -> None:
    folder = shared / "data/vqa_v2"
    published = set(json.loads((folder / "trainval_label2ans.json").read_text()))
    ours = answer_vocabulary(row["multiple_choice_answer"] for row in rows(folder / "vqa_train.jsonl.gz"))
    assert [answer for answer in ours if answer not in published] == []
    assert ours[:2] == ("yes", "no")


def test_of_no_question_there_is_no_percentage() -> None:
    assert summary([], [], []).overall is None
