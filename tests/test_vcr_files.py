"""Questions of visual commonsense reasoning as their files have them; tags become names."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vcr_helpers import metadata, row, written

from interbert.errors import InterbertError
from interbert.tasks.rows import WHOLE
from interbert.tasks.vcr_files import named, names_of, read_metadata, read_vcr, text_of, write_submission


def test_a_question_has_its_choices_with_tags_as_numbers(tmp_path: Path) -> None:
    found = read_vcr(written(tmp_path / "val.jsonl", [row(0, right=2)])).splits["validation"][0]
    assert (found.id, found.picture, found.answer, found.rationale) == ("val-0", "films/picture 0.jpg", 2, 3)
    assert found.question == ("two", (0, 2), "on", "the", "road", "?")
    assert found.answers[0] == ((1,), "play")
    assert len(found.rationales) == 4


def test_rationales_that_repeat_the_answers_are_none(tmp_path: Path) -> None:
    one = row(0)
    found = read_vcr(written(tmp_path / "a.jsonl", [one | {"rationale_choices": one["answer_choices"]}]))
    assert found.splits[WHOLE][0].rationales == ()
    assert found.splits[WHOLE][0].rationale is None


def test_a_test_set_has_no_labels(tmp_path: Path) -> None:
    one = {key: value for key, value in row(0).items() if not key.endswith("_label")}
    found = read_vcr(written(tmp_path / "test.jsonl", [one])).splits["test"][0]
    assert (found.answer, found.rationale) == (None, None)
    assert len(found.rationales) == 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"answer_choices": [["a"]] * 3}, "answer_choices: got 3 choices, wanted 4"),
        ({"answer_choices": None}, "answer_choices: got no choices, wanted 4"),
        ({"answer_label": 4}, "answer_label is 4, wanted a number from 0 to 3"),
        ({"answer_label": "first"}, "answer_label is 'first'"),
        ({"question": ["who", [3]]}, r"question has the tag \[3\], wanted numbers from 0 below 3"),
        ({"question": []}, r"question is \[\], wanted a list of words and tags"),
        ({"objects": None}, "objects are None, wanted names"),
    ],
)
def test_lines_that_are_no_question_are_counted(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    good = [row(at) for at in range(120)]
    found = read_vcr(written(tmp_path / "a.jsonl", [*good, row(0, **changes)]))
    assert len(found.splits[WHOLE]) == 120
    assert found.malformed[0].count == 1
    with pytest.raises(InterbertError, match=says):
        read_vcr(written(tmp_path / "b.jsonl", [row(0, **changes)]))


COLUMNS = "id,image,objects,question,answer_0,answer_1,answer_2,answer_3,answer_label,rationale_0,rationale_1"


def test_a_csv_has_a_column_for_each_choice_and_tags_in_its_texts(tmp_path: Path) -> None:
    header = COLUMNS + ",rationale_2,rationale_3,rationale_label\n"
    (tmp_path / "val.csv").write_text(
        header + '0,a.jpg,person|dog,"Is [0, 1] here?",Yes,No,It is [1].,Two,2,A,B,C,D,0\n'
    )
    found = read_vcr(tmp_path).splits["validation"][0]
    assert (found.id, found.picture, found.objects) == ("0", "a.jpg", ("person", "dog"))
    assert found.question == ("Is", (0, 1), "here?")
    assert found.answers[2] == ("It", "is", (1,), ".")
    assert (found.answer, found.rationale, len(found.rationales)) == (2, 0, 4)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0,a.jpg,dog,Who?,A,B,C,,0,,", "no text under answer_3, wanted 4 choices"),
        ("0,a.jpg,dog,Who?,A,B,C,D,0,A,", "no text under rationale_1, rationale_2, rationale_3, wanted 4 choices"),
        ("0,a.jpg,dog,Who?,A,B,C,D,first,,", "answer_label is 'first', wanted a number from 0 to 3"),
        ("0,a.jpg,dog,Who is [1]?,A,B,C,D,0,,", r"question has the tag \[1\], wanted numbers from 0 below 1"),
        ("0,,dog,Who?,A,B,C,D,0,,", "image is ''"),
    ],
)
def test_a_line_of_a_csv_that_is_no_question_says_why(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "val.csv").write_text(f"{COLUMNS}\n{line}\n")
    with pytest.raises(InterbertError, match=says):
        read_vcr(tmp_path)


def test_persons_get_first_names_in_their_order_and_things_their_class() -> None:
    assert names_of(["car", "person", "cup", "person"]) == ["car", "jordan", "cup", "casey"]
    assert len(set(names_of(["person"] * 20))) == 20
    assert names_of(["person"] * 21)[20] == "jordan"


def test_a_tag_of_several_objects_names_them_all() -> None:
    tokens = ("Are", (0, 2, 1), "here")
    assert named(tokens, ["jordan", "dog", "casey"]) == [
        ("Are", None), ("jordan", 0), ("and", None), ("casey", 2), ("and", None), ("dog", 1), ("here", None),
    ]  # fmt: skip
    assert text_of(tokens, ["jordan", "dog", "casey"]) == "Are jordan and casey and dog here"


def test_metadata_say_where_the_objects_are(tmp_path: Path) -> None:
    question = read_vcr(written(tmp_path / "a.jsonl", [row(0)])).splits[WHOLE][0]
    assert read_metadata(question, [tmp_path]) is None
    metadata(tmp_path / "picture 0.json", [[0, 0, 50, 40, 0.9], [10, 10, 10, 20, 0.8], [1, 2, 3, 4, 0.7]])
    found = read_metadata(question, [tmp_path / "nowhere", tmp_path])
    assert found is not None
    assert found.boxes.tolist() == [[0, 0, 50, 40], [10, 10, 11, 20], [1, 2, 3, 4]]  # a thin box is one pixel wide
    assert found.confidence.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert found.image_size == (100, 80)


def test_metadata_of_another_picture_are_refused(tmp_path: Path) -> None:
    question = read_vcr(written(tmp_path / "a.jsonl", [row(0)])).splits[WHOLE][0]
    path = metadata(tmp_path / "films" / "picture 0.json", [[0, 0, 5, 4, 1]], names=["dog"])
    with pytest.raises(InterbertError, match="has the objects dog, question 'val-0' has person, dog, person"):
        read_metadata(question, [tmp_path])
    path.write_text("[]")
    with pytest.raises(InterbertError, match="is no metadata of VCR"):
        read_metadata(question, [tmp_path])


def test_a_submission_is_the_leaderboards_csv(tmp_path: Path) -> None:
    write_submission(tmp_path / "out.csv", ["val-0"], np.arange(20).reshape(1, 5, 4) / 100)
    with open(tmp_path / "out.csv", newline="") as file:
        (entry,) = csv.DictReader(file)
    assert list(entry)[:6] == [
        "annot_id",
        "answer_0",
        "answer_1",
        "answer_2",
        "answer_3",
        "rationale_conditioned_on_a0_0",
    ]
    assert list(entry)[-1] == "rationale_conditioned_on_a3_3"
    assert (entry["annot_id"], entry["answer_1"], entry["rationale_conditioned_on_a3_3"]) == ("val-0", "0.01", "0.19")


@pytest.mark.shared_data
def test_the_published_files_are_read_whole(shared: Path) -> None:
    folder = shared / "data/vcr"
    (questions,) = read_vcr(folder / "gd_vcr_val.jsonl").splits.values()
    assert len(questions) == 586
    assert not any(question.rationales for question in questions)
    assert all(question.answer is not None for question in questions)
    (low_order,) = read_vcr(folder / "gd_vcr_low_order.jsonl").splits.values()
    assert len(low_order) == 59
    assert text_of(questions[0].question, names_of(questions[0].objects)) == "What is morgan doing ?"


@pytest.mark.shared_data
def test_the_first_records_of_vcr_are_read_with_their_boxes(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/vcr"
    (questions,) = read_vcr(folder / "vcr_v1_examples.jsonl").splits.values()
    first = questions[0]
    assert (first.answer, first.rationale, len(first.rationales)) == (2, 3, 4)
    (tmp_path / Path(first.metadata).name).write_bytes((folder / "vcr_v1_metadata_val-0.json").read_bytes())
    found = read_metadata(first, [tmp_path])
    assert found is not None
    assert found.boxes.shape == (6, 4)
    assert found.image_size == (1920, 797)
