"""Visual commonsense reasoning: four texts a choice, links to regions, three accuracies, the leaderboard's csv."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from task_helpers import CONFIG, given, saved_run, task_model
from vcr_helpers import batch_of, linked, metadata, opened, row, store, written

from interbert.errors import InterbertError, UsageError
from interbert.tasks.finetuning import Finetuning, finetune
from interbert.tasks.task import Asked
from interbert.tasks.vcr import Vcr, VcrOptions, right_choices
from interbert.tasks.vcr_head import scores_of
from interbert.training.settings import Training


def test_both_sorts_of_choices_are_trained(tmp_path: Path) -> None:
    assert [(one.kind, one.right) for one in opened(tmp_path).trained[:4]] == [
        ("answer", 0), ("rationale", 1), ("answer", 1), ("rationale", 2),
    ]  # fmt: skip


def test_one_sort_of_choices_may_be_trained_alone(tmp_path: Path) -> None:
    assert {one.kind for one in opened(tmp_path, VcrOptions(choices="rationale")).trained} == {"rationale"}
    with pytest.raises(UsageError, match="max_tokens: got 4"):
        VcrOptions(max_tokens=4)


def test_a_choice_is_four_texts_with_one_picture(tmp_path: Path) -> None:
    batch = batch_of(opened(tmp_path), 0, 3)
    assert batch.ids[:2] == ["val-0:answer:0", "val-0:answer:1"]
    assert len(batch) == 8
    assert batch.features is not None
    assert torch.equal(batch.features[0], batch.features[3])
    assert batch.right is not None
    assert batch.right.tolist() == [0, 2]


def test_the_loss_is_the_cross_entropy_of_four(tmp_path: Path) -> None:
    task = opened(tmp_path)
    model, batch = task_model(task.head(CONFIG)), batch_of(task, 0, 1, 2)
    wanted = -scores_of(model, batch).view(3, 4).log_softmax(1)[torch.arange(3), batch.right].sum()
    assert torch.allclose(task.losses(model, batch)["choice"], wanted)
    assert task.counts(batch) == {"choice": 3.0}
    assert abs(wanted.item() / 3 - 1.386) < 0.01


def test_q_to_ar_is_right_only_where_both_are(tmp_path: Path) -> None:
    questions = opened(tmp_path).part("validation").questions  # right answers 0, 1, 2, 3; right rationales 1, 2, 3, 0
    found = np.zeros((4, 5, 4))
    found[0, 0, 0] = found[0, 1, 1] = 1  # both right
    found[1, 0, 1] = found[1, 2, 0] = 1  # the answer alone
    found[2, 0, 3] = found[2, 3, 3] = 1  # the rationale after the right answer, but another answer
    found[3, 0, 0] = found[3, 1, 0] = found[3, 4, 1] = 1  # the rationale that would be right after the wrong answer
    right = right_choices(questions, found)
    assert right["q_to_a"].tolist() == [1, 1, 0, 0]
    assert right["qa_to_r"].tolist() == [1, 0, 1, 0]
    assert right["q_to_ar"].tolist() == [1, 0, 0, 0]


def test_validation_and_evaluation_have_the_three_accuracies(tmp_path: Path) -> None:
    task = opened(tmp_path)
    model = task_model(task.head(CONFIG))
    found = task.validate(model)
    assert set(found) == {"q_to_a", "qa_to_r", "q_to_ar", "choice_accuracy"}
    assert found["choice_accuracy"] == (found["q_to_a"] + found["qa_to_r"]) / 2
    evaluated = task.evaluate(model, Asked(run=tmp_path, split="validation"))
    assert {name: one["value"] for name, one in evaluated["metrics"].items()} == {
        name: found[name] for name in ("q_to_a", "qa_to_r", "q_to_ar")
    }
    assert evaluated["reads"] == "questions and pictures"
    assert evaluated["metrics"]["q_to_ar"]["chance"] == 1 / 16


def test_without_rationales_there_is_q_to_a_alone(tmp_path: Path) -> None:
    task = opened(tmp_path, rationale_choices=None)
    found = task.validate(task_model(task.head(CONFIG)))
    assert found["choice_accuracy"] == found["q_to_a"]
    assert set(found) == {"q_to_a", "choice_accuracy"}
    asked = Asked(run=tmp_path, split="validation", submission=tmp_path / "out.csv")
    with pytest.raises(InterbertError, match="have no rationales of their own"):
        task.evaluate(task_model(task.head(CONFIG)), asked)


def test_a_submission_has_five_groups_of_probabilities(tmp_path: Path) -> None:
    task = opened(tmp_path)
    asked = Asked(run=tmp_path, split="validation", submission=tmp_path / "out.csv")
    task.evaluate(linked(task), asked)
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert [one[0] for one in rows] == ["annot_id", "val-0", "val-1", "val-2", "val-3"]
    numbers = np.array(rows[1:])[:, 1:].astype(float).reshape(4, 5, 4)
    assert np.allclose(numbers.sum(2), 1)


def test_missing_pictures_are_counted_or_said_to_be_stood_in_for(tmp_path: Path, caplog: Any) -> None:
    task = opened(tmp_path / "a", pictures=3)
    found = task.evaluate(task_model(task.head(CONFIG)), Asked(run=tmp_path, split="validation"))
    assert (found["questions"], found["left_out"]) == (3, 1)
    assert found["left_out_because"] == {"its picture is not in the region store": 1}
    task = opened(tmp_path / "b", VcrOptions(stand_ins=True), pictures=3)
    found = task.evaluate(task_model(task.head(CONFIG)), Asked(run=tmp_path, split="validation"))
    assert (found["questions"], found["left_out"], found["stand_ins"]) == (4, 0, 1)
    assert "1 of the questions with stand-ins" in found["reads"]
    assert "1 of the validation questions are read without their picture" in caplog.text


def test_a_submission_has_also_the_questions_whose_picture_is_not_there(tmp_path: Path, caplog: Any) -> None:
    task = opened(tmp_path, pictures=3)
    asked = Asked(run=tmp_path, split="validation", submission=tmp_path / "out.csv")
    found = task.evaluate(linked(task), asked)
    with open(tmp_path / "out.csv", newline="") as file:
        rows = {one[0]: np.array(one[1:], float) for one in list(csv.reader(file))[1:]}
    assert set(rows) == {"val-0", "val-1", "val-2", "val-3"}
    assert np.allclose(rows["val-3"].reshape(5, 4).sum(1), 1)
    assert found["submission"] == {"questions": 4, "with_few_regions": 0, "without_picture": 1}
    assert (found["questions"], found["left_out"], found["stand_ins"]) == (3, 1, 0)
    assert "1 questions are answered without their picture" in caplog.text


def test_a_question_about_no_objects_without_its_picture_can_be_submitted(tmp_path: Path) -> None:
    none = {"objects": [], "question": ["two", "?"], "answer_choices": [["a"], ["cat"], ["dog"], ["tree"]]}
    task = opened(tmp_path, pictures=3, **none, rationale_choices=[["old"], ["red"], ["big"], ["two"]])
    asked = Asked(run=tmp_path, split="validation", submission=tmp_path / "out.csv")
    assert task.evaluate(linked(task), asked)["submission"]["without_picture"] == 1


def test_questions_whose_objects_are_nowhere_said_to_be_are_counted(tmp_path: Path, caplog: Any) -> None:
    boxes = [[0, 0, 40, 60, 1], [50, 30, 90, 70, 1], [10, 10, 30, 70, 1]]
    metadata(tmp_path / "data" / "films" / "picture 1.json", boxes)
    task = opened(tmp_path)
    found = task.evaluate(task_model(task.head(CONFIG)), Asked(run=tmp_path, split="validation"))
    assert (found["questions"], found["unlinked"]) == (4, 3)
    assert "3 of the validation questions have no readable metadata" in caplog.text


def test_what_is_cut_is_counted_and_said(tmp_path: Path, caplog: Any) -> None:
    task = opened(tmp_path, VcrOptions(max_tokens=12))  # a question of 8 pieces, answers of at most 2, 3 marks
    assert max(task.lengths) == 1 + 4 + 12
    assert "8 of the 8 train choices are longer than 12 tokens" in caplog.text
    found = task.evaluate(task_model(task.head(CONFIG)), Asked(run=tmp_path, split="validation"))
    assert (found["choices"], found["cut"], found["cut_answers"]) == (8, 8, 0)
    assert "8 of the 8 validation choices are longer than 12 tokens: the end of the question is cut" in caplog.text
    whole = opened(tmp_path / "whole").evaluate(task_model(task.head(CONFIG)), Asked(run=tmp_path, split="validation"))
    assert (whole["choices"], whole["cut"]) == (8, 0)


def test_no_store_and_no_picture_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "data" / "train.jsonl", [row(0)])
    with pytest.raises(InterbertError, match="no region store was given"):
        Vcr.open(tmp_path / "data", VcrOptions(), given("vcr"))
    with pytest.raises(InterbertError, match="no question of the train split is left: its picture is not in"):
        opened(tmp_path, pictures=0).part("train")


def test_examples_show_the_chosen_answer_in_words(tmp_path: Path) -> None:
    task = opened(tmp_path)
    shown = task.examples(task_model(task.head(CONFIG)), 1)
    wrong = next(one for one in shown if not one.right)
    assert wrong.asked == "two jordan and casey on the road ?"
    assert "(wanted: " in wrong.said
    assert all(one.score is not None and 0.25 <= one.score < 1 for one in shown)  # the greatest of four


def test_finetuning_learns_the_choices(tmp_path: Path) -> None:
    for name in ("train", "val"):
        written(tmp_path / "data" / f"{name}.jsonl", [row(at, right=1) for at in range(4)])
    training = Training(learning_rate=0.006, ema=None, validate_every=30)
    plan = Finetuning("vcr", VcrOptions(), epochs=15, batch_size=4, training=training)
    run, regions = saved_run(tmp_path / "run"), store(tmp_path)
    found = finetune("vcr", tmp_path / "data", str(run), tmp_path / "out", plan, store=regions, progress=False)
    assert found.validation["q_to_ar"] == 1.0


def test_without_a_validation_split_there_is_nothing_to_validate_or_show(tmp_path: Path) -> None:
    written(tmp_path / "data" / "train.jsonl", [row(0)])
    task = Vcr.open(tmp_path / "data", VcrOptions(), given("vcr", store=store(tmp_path)))
    model = task_model(task.head(CONFIG))
    assert task.validate(model) == {}
    assert task.examples(model, 3) == []
