"""The tables at each scale: the paper's rows and numbers, steps that are shared, commands that do the same."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from interbert import cli
from interbert.errors import UsageError
from interbert.reproduce.cells import Exhibit, steps_of
from interbert.reproduce.reproduction import Wanted, listed, listed_lines, reproduce
from interbert.reproduce.scales import setting_of
from interbert.reproduce.steps import Finetune, Pretrain, Step
from interbert.reproduce.tables import EXHIBITS, TABLE_5_PUBLISHED, exhibits_of

SCALES = ("tiny", "small", "paper")
OUT = Path("DIR")


def made(scale: str, name: str = "all", seeds: int = 1, data: Path | None = None) -> list[Exhibit]:
    return exhibits_of(name, setting_of(scale, OUT, data, seeds))


def steps(scale: str, name: str = "all", seeds: int = 1) -> dict[str, Step]:
    found = steps_of(cell for exhibit in made(scale, name, seeds) for cell in exhibit.cells)
    return {step.name: step for step in found}


@pytest.mark.parametrize("scale", SCALES)
def test_every_cell_is_of_a_row_and_a_column_and_no_two_are_one(scale: str) -> None:
    for exhibit in made(scale):
        rows = [row.name for row in exhibit.rows]
        assert {(cell.row in rows, cell.column in exhibit.columns) for cell in exhibit.cells} == {(True, True)}
        names = [cell.name for cell in exhibit.cells]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("scale", SCALES)
def test_every_command_is_one_that_the_program_takes(scale: str) -> None:
    for step in steps(scale).values():
        _, verb, *words = step.command()
        if not words[-1].endswith(")"):  # of what is generated or split, there is no command
            command = cli.program.commands[verb]
            command.make_context(verb, list(words), obj=cli.Screen(), resilient_parsing=False)


@pytest.mark.parametrize("scale", SCALES)
def test_a_training_and_its_command_have_the_same_settings(scale: str, capsys: pytest.CaptureFixture[str]) -> None:
    trainings = [step for step in steps(scale, "table5").values() if isinstance(step, Pretrain | Finetune)]
    for step in trainings[:4]:
        assert cli.run([*step.command()[1:], "--print-config", "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["training"]["seed"] == step.plan.training.seed
        assert printed["batch_size"] == step.plan.batch_size


def test_one_pretrained_run_serves_tables_3_and_5() -> None:
    alone = [set(steps("small", name)) for name in ("table3", "table5")]
    assert {"pretrained/interbert", "regions/flickr8k", "corpora/flickr8k"} <= alone[0] & alone[1]
    others = set(steps("small", "table4")) | set(steps("small", "figure3"))
    assert len(steps("small")) == len(alone[0] | alone[1] | others)


def test_seeds_are_of_finetuning_and_in_table_4_of_pretraining() -> None:
    found = steps("tiny", "table5", seeds=3)
    assert sum(name.startswith("finetuned/cola/interbert/") for name in found) == 3
    assert sum(name.startswith("pretrained/") for name in found) == 2
    third = found["finetuned/cola/interbert/seed-2"]
    assert isinstance(third, Finetune)
    assert third.plan.training.seed == 2
    found = steps("tiny", "table4", seeds=2)
    assert sum(name.startswith("pretrained/mlm-mom/") for name in found) == 2


@pytest.mark.parametrize("scale", SCALES)
def test_the_three_of_table_4_take_as_many_steps(scale: str) -> None:
    plans = [one.plan for one in steps(scale, "table4").values() if isinstance(one, Pretrain)]
    assert [[(stage.words, stage.regions) for stage in plan.stages] for plan in plans] == [
        [("mlm", "mom")],
        [("msm", "mrm")],
        [("mlm", "mom"), ("msm", "mrm")],
    ]
    assert len({sum(stage.epochs for stage in plan.stages) for plan in plans}) == 1
    assert {plan.masking.msm_rate for plan in plans} == {0.10}


def test_the_contestants_of_table_5_differ_in_their_start_alone() -> None:
    found = {name: one for name, one in steps("small", "table5").items() if name.startswith("finetuned/rte/")}
    plans = {repr(one.plan) for one in found.values() if isinstance(one, Finetune)}
    starts = [one.begun for one in found.values() if isinstance(one, Finetune)]
    assert len(plans) == 1
    assert starts == [
        "new:small,independence_layers=0+bert:minilm",
        "DIR/pretrained/single-stream",
        "DIR/pretrained/interbert",
    ]


def test_the_papers_averages_and_differences_are_those_of_its_tasks() -> None:
    for name, values in TABLE_5_PUBLISHED.items():
        tasks = [values[task] for task in ("CoLA", "SST-2", "STS-B", "RTE")]
        assert values["Avg."] == pytest.approx(sum(tasks) / 4, abs=0.051), name
    ours, bert, less = (TABLE_5_PUBLISHED[name] for name in ("InterBERT", "BERT-base", "InterBERT less BERT"))
    assert less == pytest.approx({task: ours[task] - bert[task] for task in ours})


def test_the_paper_is_as_in_its_appendix() -> None:
    found = steps("paper")
    retrieval = found["finetuned/retrieval/interbert/seed-0"]
    assert isinstance(retrieval, Finetune)
    assert (retrieval.plan.min_regions, retrieval.plan.max_regions, retrieval.plan.epochs) == (90, 100, 20)
    run = found["pretrained/two-stages/seed-0"]
    assert isinstance(run, Pretrain)
    assert [corpus.name for corpus in run.corpora] == ["corpora/cc", "corpora/sbu"]  # 4.6: CC and SBU alone
    assert "--leave-out-corpus DIR/corpora/flickr30k" in shlex.join(found["corpora/coco"].command())


def small_data(folder: Path, *names: str) -> Path:
    for name in ("flickr8k/captions.jsonl", *names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "flickr8k" / "images").mkdir()
    return folder


def test_data_that_are_not_there_are_missing_cells(tmp_path: Path) -> None:
    data = small_data(tmp_path / "data", "glue/CoLA/train.tsv", "glue/CoLA/dev.tsv")
    (table,) = made("small", "table5", data=data)
    missing = {cell.name: cell.missing for cell in table.cells if cell.missing}
    assert missing["BERT / RTE"] == "the data have no glue/RTE/train.tsv"
    assert "BERT / CoLA" not in missing
    assert missing["InterBERT / Avg."]


def test_regions_that_are_there_are_not_extracted_again(tmp_path: Path) -> None:
    data = small_data(tmp_path / "data", "flickr8k/regions/store.json")
    (table,) = made("small", "table4", data=data)
    (store,) = [step for step in steps_of(table.cells) if step.name == "regions/flickr8k"]
    assert store.command() == ["interbert", "store", "info", str(data / "flickr8k" / "regions")]


def test_questions_without_a_training_part_are_split(tmp_path: Path) -> None:
    data = small_data(tmp_path / "data", "vcr/gd_vcr_val.jsonl")
    (table,) = made("small", "table3", data=data)
    assert "gd_vcr_val.jsonl, a fifth of its pictures held out" in table.here
    assert {cell.missing for cell in table.cells if cell.column.startswith("VCR")} == {""}
    assert {cell.missing for cell in table.cells if cell.column == "VQA"} == {"the data have no coco/vqa.jsonl"}


def test_a_list_has_every_step_with_its_cost_and_command_and_does_nothing(tmp_path: Path) -> None:
    found = listed(Wanted("all", "paper", tmp_path / "out"))
    assert len(found["steps"]) == len(steps("paper"))
    pretraining = next(step for step in found["steps"] if step["name"] == "pretrained/interbert")
    assert pretraining["operations"] == pytest.approx(3.9e18, rel=0.1)  # 95.5M pairs of 13.6 GFLOP, three passes
    lines = listed_lines(found)
    assert any("interbert pretrain" in line and "--recipe paper" in line for line in lines)
    assert lines[-1].startswith("cells: InterBERT / R@1")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_and_other_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").touch()
    with pytest.raises(UsageError, match="holds something else; give a new folder"):
        reproduce(Wanted("table3", "tiny", tmp_path / "out"))


def test_the_verb_knows_the_tables_and_scales_that_there_are() -> None:
    def choices(name: str) -> Any:
        return next(one.type.choices for one in cli.reproduce.params if one.name == name)  # type: ignore[attr-defined]

    assert isinstance(cli.reproduce, click.Command)
    assert list(choices("table")) == [*EXHIBITS, "all"]
    assert list(choices("scale")) == list(SCALES)
