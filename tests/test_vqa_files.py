"""Questions in the challenge's json and in one's own rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interbert.errors import InterbertError
from interbert.tasks.rows import WHOLE
from interbert.tasks.vqa_files import Question, picture_names, read_questions, write_submission


def challenge(folder: Path, split: str, annotations: list[dict[str, Any]] | None, count: int = 1) -> Path:
    """Questions 100, 101, … about picture 25, and their annotations where there are any."""
    questions = [{"question_id": 100 + at, "image_id": 25, "question": "What is it?"} for at in range(count)]
    path = folder / f"v2_OpenEnded_mscoco_{split}_questions.json"
    path.write_text(json.dumps({"data_subtype": split, "questions": questions}))
    if annotations is not None:
        (folder / f"v2_mscoco_{split}_annotations.json").write_text(json.dumps({"annotations": annotations}))
    return path


def annotation(id: int, *answers: str) -> dict[str, Any]:
    given = [{"answer": answer, "answer_id": at} for at, answer in enumerate(answers)]
    return {"question_id": id, "answers": given, "multiple_choice_answer": answers[0], "answer_type": "other"}


def test_the_challenges_questions_are_joined_with_their_annotations(tmp_path: Path) -> None:
    challenge(tmp_path, "train2014", [annotation(100, "cat", "a cat")])
    challenge(tmp_path, "val2014", [annotation(100, "dog", "dog")])
    found = read_questions(tmp_path)
    names = ("25", "COCO_train2014_000000000025", "000000000025")
    assert found.splits["train"] == [Question(100, names, "What is it?", ("cat", "a cat"), "cat", "other", "")]
    assert [question.common for question in found.splits["validation"]] == ["dog"]


def test_an_id_of_0_is_an_id_and_without_one_the_number_of_the_line_is(tmp_path: Path) -> None:
    rows = [{"id": 0, "image": "a.jpg", "question": "What?"}, {"image": "a.jpg", "question": "What?"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [question.id for question in read_questions(tmp_path / "a.jsonl").splits[WHOLE]] == [0, "2"]


def test_questions_without_annotations_are_a_test_set(tmp_path: Path) -> None:
    found = read_questions(challenge(tmp_path, "test2015", None))
    assert found.splits["test"][0].answers == ()


def test_a_question_that_the_annotations_do_not_have_is_counted(tmp_path: Path) -> None:
    path = challenge(tmp_path, "train2014", [annotation(100 + at, "a") for at in range(199)], count=200)
    found = read_questions(path)
    assert len(found.splits["train"]) == 199
    assert "question_id 299 is not among the annotations" in found.notes()[0]


def test_files_that_are_not_the_challenges_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text('{"questions": []}')
    with pytest.raises(InterbertError, match=r"not named as the challenge's questions are"):
        read_questions(path)
    path = challenge(tmp_path, "val2014", None)
    path.write_text("[]")
    with pytest.raises(InterbertError, match="has no list 'questions'"):
        read_questions(path)


def test_own_rows_have_an_image_a_question_and_answers(tmp_path: Path) -> None:
    rows = [
        {"image": "a.jpg", "question": "What?", "answers": ["cat", "dog"], "split": "val"},
        {"image": "b.jpg", "question": "Where?", "answer": "The Road", "split": "test"},
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read_questions(tmp_path / "own.jsonl").splits
    assert found["validation"] == [Question("1", ("a.jpg",), "What?", ("cat", "dog"), "cat")]
    assert found["test"] == [Question("2", ("b.jpg",), "Where?", ("road",) * 10, "road")]


def test_a_csv_has_its_answers_between_bars(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("id,image,question,answers\n7,a.jpg,What?,cat|cat|dog\n8,b.jpg,What?,\n")
    found = read_questions(tmp_path / "own.csv").splits[WHOLE]
    assert [(question.id, question.answers) for question in found] == [("7", ("cat", "cat", "dog")), ("8", ())]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "What?", "answer": "cat"}, "the picture is None"),
        ({"image": "a.jpg", "answer": "cat"}, "no question among image, answer"),
        ({"image": "a.jpg", "question": "What?", "answers": [1]}, "wanted texts"),
        ({"image": "a.jpg", "question": "What?", "answers": {"cat": 3}}, "wanted a list of texts"),
        ({"image": "a.jpg", "question": "How many?", "answer": 2}, "answer: got 2, wanted a text"),
    ],
)
def test_rows_that_are_no_question_are_refused(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    (tmp_path / "own.jsonl").write_text(json.dumps(row))
    with pytest.raises(InterbertError, match=says):
        read_questions(tmp_path / "own.jsonl")


def test_a_number_is_a_picture_of_coco_and_a_name_is_its_own() -> None:
    assert picture_names("a/b.jpg") == ("a/b.jpg",)
    assert picture_names("25")[1:3] == ("COCO_train2014_000000000025", "COCO_val2014_000000000025")


def test_a_submission_is_the_challenges_json(tmp_path: Path) -> None:
    write_submission(tmp_path / "answers.json", [Question(100, ("25",), "What?")], ["cat"])
    assert json.loads((tmp_path / "answers.json").read_text()) == [{"question_id": 100, "answer": "cat"}]


@pytest.mark.shared_data
def test_the_official_files_and_their_rows_are_the_same_questions(shared: Path) -> None:
    official = read_questions(shared / "data/coco/official_format/v2_OpenEnded_mscoco_questions.json").splits[WHOLE]
    rows = read_questions(shared / "data/coco/vqa.jsonl").splits
    assert {split: len(questions) for split, questions in rows.items()} == {"train": 53, "validation": 13, "test": 6}
    by_id = {question.id: question for question in official}
    for question in [one for part in rows.values() for one in part]:
        theirs = by_id.pop(question.id)
        assert (theirs.text, theirs.answers, theirs.common) == (question.text, question.answers, question.common)
    assert by_id == {}


@pytest.mark.shared_data
def test_the_published_sample_is_read_whole(shared: Path) -> None:
    found = read_questions(shared / "data/vqa_v2").splits
    assert {split: len(questions) for split, questions in found.items()} == {
        "train": 32395,
        "validation": 6015 + 13398,  # vqa_val2014_single has one answer a question
        "test": 2012,
    }
