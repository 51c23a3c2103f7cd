"""`evaluate TASK`: of a finetuned run and of a pretrained one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from finetuning_helpers import drawn_corpus, tiny_run
from task_helpers import saved_run

from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError, UsageError
from interbert.files import write_json
from interbert.tasks.evaluation import evaluate_task
from interbert.tasks.finetuning import Finetuning, finetune
from interbert.tasks.glue import GlueOptions
from interbert.tasks.task import Asked
from interbert.training.settings import Training


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return drawn_corpus(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def run(corpus: Corpus, tmp_path: Path) -> Path:
    """As finetuned: at most three regions of a picture."""
    run = tiny_run(tmp_path / "run", corpus)
    known = {"task": "retrieval", "options": {"augmentation": {"mirror": True}, "hard_pool": 7}, "facts": {}}
    write_json(run / "task.json", {**known, "min_regions": 1, "max_regions": 3, "validation": {}})
    return run


def evaluated(corpus: Corpus, run: Path, task: str = "retrieval", split: str = "test", **given: Any) -> dict[str, Any]:
    return evaluate_task(task, corpus.folder, Asked(run, split, processes=1), **given)


def test_a_finetuned_run_is_asked_with_the_regions_it_was_finetuned_with(corpus: Corpus, run: Path) -> None:
    as_finetuned = evaluated(corpus, run)
    assert as_finetuned["metrics"] == evaluated(corpus, run, regions=(1, 3))["metrics"]
    facts = [json.loads(file.read_text()) for file in (run / "scores").glob("*/scores.json")]
    assert [fact["max_regions"] for fact in facts] == [3]
    evaluated(corpus, run, regions=(1, None))
    assert len(list((run / "scores").iterdir())) == 2  # of all regions


def test_a_finetuned_run_is_not_measured_as_if_it_were_pretrained(corpus: Corpus, run: Path) -> None:
    with pytest.raises(UsageError, match="was finetuned for retrieval; give the pretrained run"):
        evaluated(corpus, run, zero_shot=True)
    write_json(run / "task.json", {"task": "prefilter"})  # leaves the matching head as it was
    assert evaluated(corpus, run, zero_shot=True)["zero_shot"]


def test_too_few_pictures_to_rank_are_an_error_that_says_of_how_many_regions(corpus: Corpus, run: Path) -> None:
    with pytest.raises(InterbertError, match="has 0 pictures of 90 regions or more in its test split"):
        evaluated(corpus, run, regions=(90, 100))


def test_examples_that_were_trained_on_are_told_as_such(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, data = saved_run(tmp_path / "run"), tmp_path / "films.tsv"
    data.write_text("sentence\tlabel\n" + "a dog\t1\ntwo cats\t0\n" * 8)
    plan = Finetuning("sst2", GlueOptions(), epochs=1, batch_size=8, training=Training(ema=None))
    finetune("sst2", data, str(run), tmp_path / "out", plan, progress=False)
    assert "the run has its last weights" in caplog.text  # one file, no validation split
    assert evaluate_task("sst2", data, Asked(tmp_path / "out"))["trained_on"]
    assert "these are the examples that the run was trained on" in caplog.text
    other = tmp_path / "others.tsv"
    other.write_text("sentence\tlabel\na cat\t1\n")
    assert "trained_on" not in evaluate_task("sst2", other, Asked(tmp_path / "out"))


def test_the_result_stays_in_the_run_and_stands_in_its_report(corpus: Corpus, run: Path) -> None:
    found = evaluated(corpus, run, split="validation")
    kept = json.loads((run / "evaluations" / "retrieval-validation.json").read_text())
    assert kept["metrics"]["recall_at_5"]["value"] == found["metrics"]["recall_at_5"]["value"]
    assert (found["task"], found["split"], found["zero_shot"]) == ("retrieval", "validation", False)
    assert "InterBERT (paper)" in (run / "report.html").read_text(encoding="utf-8")


def test_what_has_too_few_regions_is_counted(corpus: Corpus, run: Path) -> None:
    found = evaluated(corpus, run, regions=(5, None))
    assert found["left_out"] > 0
    assert found["captions"] + found["left_out"] == 32


def test_a_pretrained_run_needs_zero_shot(corpus: Corpus, tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "pretrained", corpus)
    with pytest.raises(InterbertError, match="was not finetuned: .* give --zero-shot"):
        evaluated(corpus, run)
    assert evaluated(corpus, run, zero_shot=True)["pictures"] == 16
    assert not (run / "report.html").exists()


def test_a_run_of_another_task_is_refused(corpus: Corpus, run: Path) -> None:
    with pytest.raises(InterbertError, match="was finetuned for retrieval, not for cola"):
        evaluated(corpus, run, "cola")


def test_a_folder_that_is_no_run_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it has no config.json"):
        evaluated(corpus, tmp_path)


def test_a_task_with_a_head_of_its_own_has_no_zero_shot(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    (tmp_path / "CoLA").mkdir()
    (tmp_path / "CoLA" / "dev.tsv").write_text("x\t1\t\ta dog plays .\nx\t0\t*\tdog a .\n")
    (run / "task.json").unlink()
    with pytest.raises(UsageError, match="cola has a head of its own, which only finetuning gives"):
        evaluate_task("cola", tmp_path / "CoLA", Asked(run), zero_shot=True)


def test_a_run_gains_over_the_pretrained_one_that_it_is_set_against(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    pretrained = tiny_run(tmp_path / "pretrained", corpus)
    found = evaluated(corpus, run, against=pretrained)
    zero_shot = found["against"]
    assert (zero_shot["run"], zero_shot["zero_shot"]) == (str(pretrained), True)
    for name, figure in found["metrics"].items():
        more = figure["value"] - zero_shot["metrics"][name]["value"]
        assert figure["gain"]["value"] == pytest.approx(-more if name.startswith("median") else more)
    assert any(figure["gain"]["value"] for figure in found["metrics"].values())  # three regions are not all
    assert "and its gain over pretrained zero-shot" in (run / "report.html").read_text(encoding="utf-8")


def test_a_run_gains_nothing_over_itself(corpus: Corpus, run: Path) -> None:
    for figure in evaluated(corpus, run, against=run)["metrics"].values():
        assert figure["gain"] == {"value": 0.0, "interval": (0.0, 0.0)}


def test_one_run_that_several_are_set_against_is_measured_once(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    pretrained, others = tiny_run(tmp_path / "pretrained", corpus), {}
    first = evaluated(corpus, run, against=pretrained, others=others)
    (pretrained / "model.safetensors").unlink()
    assert evaluated(corpus, run, against=pretrained, others=others)["metrics"] == first["metrics"]
    with pytest.raises(InterbertError):
        evaluated(corpus, run, against=pretrained, others={})


def test_runs_that_read_other_examples_are_not_compared(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    other = tiny_run(tmp_path / "other", corpus)
    write_json(other / "task.json", {"task": "retrieval", "options": {}, "min_regions": 4, "max_regions": 9})
    with pytest.raises(UsageError, match="not measured on the same examples; .* give --regions MIN:MAX here"):
        evaluated(corpus, run, against=other)
    assert evaluated(corpus, run, against=other, regions=(1, 9))["against"]["zero_shot"] is False


def test_what_cannot_be_compared_is_said_before_anything_is_measured(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    write_json(tiny_run(tmp_path / "other", corpus) / "task.json", {"task": "cola"})
    with pytest.raises(InterbertError, match="was finetuned for cola, not for retrieval"):
        evaluated(corpus, run, against=tmp_path / "other")
    with pytest.raises(UsageError, match="^--against: got '.*nowhere', wanted the folder of a run"):
        evaluated(corpus, run, against=tmp_path / "nowhere")
    assert not (run / "scores").exists()
