"""`interbert reproduce` as a command, at the scale `tiny`, on some of the sample's drawings: a table from nothing."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interbert import cli, sample
from interbert.reproduce.steps import Pretrain

KINDS = ("a bird", "fruit", "a meal")  # of the sample; all 853 pictures would take minutes
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reproduce.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """The page's commands, without the name of the program."""
    lines = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
    return [shlex.split(line.removeprefix("$ "))[1:] for line in lines]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, with few drawings in the sample."""
    folder = tmp_path_factory.mktemp("tables")
    in_order = sample._in_order

    def few(data: list[Any]) -> Iterator[tuple[Any, str]]:
        return ((entry, kind) for entry, kind in in_order(data) if kind in KINDS)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sample, "_in_order", few)
        yield folder


@pytest.fixture(scope="module")
def statuses(place: Path) -> dict[str, int]:
    """The exit status of every command of docs/reproduce.md, run in their order."""
    return {shlex.join(command): cli.run([*command, "--quiet"]) for command in commands()}


def report(place: Path) -> Any:
    return json.loads((place / "tables" / "report.json").read_text(encoding="utf-8"))


def test_every_command_of_the_page_runs(statuses: dict[str, int]) -> None:
    assert len(statuses) >= 4
    assert set(statuses.values()) == {0}, statuses


def test_table_3_is_whole_beside_the_papers(place: Path, statuses: dict[str, int]) -> None:
    (table,) = [one for one in report(place)["tables"] if one["name"] == "table3"]
    cells = {(cell["row"], cell["column"]): cell for cell in table["cells"]}
    assert {cell["missing"] for cell in cells.values()} == {None}
    ours = cells["InterBERT", "R@10"]
    low, high = ours["interval"]
    assert 0 <= low <= ours["value"] <= high <= 100
    assert ours["paper"] == 92.7
    gain = cells["gain by pretraining", "R@10"]
    assert gain["value"] == pytest.approx(ours["value"] - cells["not pretrained", "R@10"]["value"])
    page = (place / "tables" / "report.html").read_text(encoding="utf-8")
    for name in ("VL-BERT, paper", "the figures show that it runs, nothing else", "Flickr30K", "sha256"):
        assert name in page


def test_figure_3_has_both_at_three_sizes_and_the_papers_gains_beside_ours(
    place: Path, statuses: dict[str, int]
) -> None:
    (table,) = [one for one in report(place)["tables"] if one["name"] == "figure3"]
    cells = {(cell["row"], cell["column"]): cell for cell in table["cells"]}
    assert {cell["missing"] for cell in cells.values()} == {None}
    assert {column for _, column in cells} == {"10K, or 1/20", "100K, or half", "200K, or all"}
    assert cells["gain by pretraining", "10K, or 1/20"]["paper"] == 12.0
    low, high = cells["with pretraining", "200K, or all"]["interval"]
    assert 0 <= low <= cells["with pretraining", "200K, or all"]["value"] <= high <= 100
    assert "P@5, by the number of pairs" in (place / "tables" / "report.html").read_text(encoding="utf-8")


def test_what_is_done_is_not_done_again_and_checkpoints_are_gone(place: Path, statuses: dict[str, int]) -> None:
    before = report(place)
    assert cli.run([*commands()[0], "--quiet"]) == 0
    assert report(place) == before
    assert not list((place / "tables").rglob("checkpoints"))


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(
    place: Path, statuses: dict[str, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(step: Pretrain, progress: bool) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pretrain, "do", stopped)
    command = ["reproduce", "table4", "--scale", "tiny", "--out", "tables", "--only", "words"]
    assert cli.run(command) == 130
    assert "what is done is kept. Go on with:  interbert " + shlex.join(command) in capsys.readouterr().err
    found = report(place)
    assert [table["name"] for table in found["tables"]] == ["table3", "table4", "table5", "figure3"]
    assert {cell["missing"] for cell in found["tables"][0]["cells"]} == {None}
    assert "not run yet" in {cell["missing"] for cell in found["tables"][1]["cells"]}


def test_another_scale_in_the_same_folder_is_one_sentence(
    place: Path, statuses: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "data" / "flickr8k" / "images").mkdir(parents=True)
    (place / "data" / "flickr8k" / "captions.jsonl").touch()
    command = ["reproduce", "table3", "--scale", "small", "--data", "data", "--out", "tables"]
    assert cli.run(command) == 1
    assert "was begun with scale tiny, not small; give another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["table3", "--scale", "small", "--out", "new"], "--data: the scale 'small' reads a folder with flickr8k"),
        (["table3", "--scale", "small", "--out", "new", "--data", "nowhere"], "no flickr8k/captions.jsonl"),
        (["table5", "--scale", "tiny", "--out", "new", "--only", "MNLI"], "no cell's name contains 'MNLI'"),
        (["table5", "--scale", "tiny", "--out", "new", "--data", "data"], "makes its own data"),
        (["table3", "--scale", "tiny", "--out", "new", "--init", "run"], "--init: of Figure 3 alone; table3 begins as"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_exit_status_2(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["reproduce", *given]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
