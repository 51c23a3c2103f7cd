"""What a finetuned run keeps, and its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from interbert.errors import InterbertError
from interbert.files import write_json
from interbert.tasks.finetuned import read_examples, read_task, write_examples, write_task_report
from interbert.training.report import Picture, Shown


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    write_json(folder / "task.json", {"task": "retrieval", "validation": {"recall_at_1": 0.25}})
    (folder / "training.jsonl").write_text('{"step": 3, "losses": {"choice": 1.1}, "seconds": 2.0}\n')
    return folder


def some_examples(folder: Path) -> list[Shown]:
    Image.new("RGB", (80, 60), "white").save(folder / "dog.png")
    picture = Picture(folder / "dog.png", "ranked first", 0.75, ((0.1, 0.1, 0.6, 0.9),))
    return [Shown("a dog", "its own", True, (picture,), 0.8), Shown("<b>", "no", False, (Picture(None), picture))]


def test_examples_come_back_as_they_were(run: Path) -> None:
    examples = some_examples(run)
    write_examples(run, examples)
    assert read_examples(run) == examples
    assert read_examples(run.parent) == []


def test_the_report_has_our_figures_beside_the_published(run: Path) -> None:
    (run / "evaluations").mkdir()
    metrics = {"recall_at_1": {"value": 0.5, "interval": [0.4, 0.625]}, "median_rank": {"value": None}}
    found = {"split": "test", "zero_shot": False, "metrics": metrics}
    write_json(run / "evaluations" / "retrieval-test.json", found)
    text = write_task_report(run, {"paper": {"recall_at_1": 0.619}}).read_text(encoding="utf-8")
    ours = "<td class=number>0.500<small>0.400 to 0.625</small></td>"
    assert f"<td>recall at 1</td><td class=number>0.250</td>{ours}" in text
    assert "<td class=number>0.619</td>" in text
    assert "<td>median rank</td><td class=number></td><td class=number></td><td class=number></td>" in text


def test_the_report_has_the_validation_before_the_first_step(run: Path) -> None:
    write_json(run / "before.json", {"recall_at_1": 0.125})
    text = write_task_report(run, {}).read_text(encoding="utf-8")
    assert "<td>recall at 1</td><td class=number>0.125</td><td class=number>0.250</td>" in text
    assert "validation, before finetuning" in text


def test_the_report_has_what_chance_gives_beside_ours(run: Path) -> None:
    (run / "evaluations").mkdir()
    metrics = {
        "q_to_a": {"value": 0.5, "interval": [0.4, 0.6], "chance": 0.25},
        "vqa_score": {"value": None, "chance": None},
    }
    write_json(run / "evaluations" / "a.json", {"split": "test", "zero_shot": False, "metrics": metrics})
    text = write_task_report(run, {}).read_text(encoding="utf-8")
    assert "<td class=number>0.500<small>0.400 to 0.600</small><small>by chance 0.250</small></td>" in text


def test_the_report_counts_what_was_asked_left_out_and_cut(run: Path) -> None:
    (run / "evaluations").mkdir()
    counts = {"questions": 1200, "left_out": 3, "stand_ins": 0, "cut": 7}
    write_json(run / "evaluations" / "vcr-test.json", {"split": "test", "zero_shot": False, "metrics": {}} | counts)
    text = write_task_report(run, {}).read_text(encoding="utf-8")
    assert "<td>questions</td><td class=number></td><td class=number>1,200</td>" in text
    assert "<td>left out</td><td class=number></td><td class=number>3</td>" in text
    assert "<td>cut</td>" in text
    assert "<td>stand ins</td>" not in text  # there were none


def test_the_report_shows_examples_right_and_wrong_with_their_pictures(run: Path) -> None:
    write_examples(run, some_examples(run))
    text = write_task_report(run, {}).read_text(encoding="utf-8")
    right, wrong = text.index("<h2>Right</h2>"), text.index("<h2>Wrong</h2>")
    assert right < text.index("<b>a dog</b>") < wrong < text.index("<b>&lt;b&gt;</b>")
    assert text.count('src="data:image/webp;base64,') == 2
    assert "<b>0.75</b> ranked first" in text


def test_a_run_that_was_not_finetuned_has_no_task(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="it is no finetuned run"):
        read_task(tmp_path)
    (tmp_path / "task.json").write_text(json.dumps([1]))
    with pytest.raises(InterbertError, match="does not describe a task"):
        read_task(tmp_path)
