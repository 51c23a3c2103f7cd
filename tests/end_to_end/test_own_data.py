"""docs/own-data.md: the files of each section are written, its commands run in order on a tiny model."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pretraining_helpers import EXTRACTOR, random_regions
from task_helpers import saved_run

from interbert import cli, sample
from interbert.vision.store import RegionStore

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
SECTIONS = {
    "retrieval": "`retrieval`",
    "matching": "`matching`",
    "vqa": "`vqa`",
    "vcr": "`vcr`",
    "glue": "`cola`, `sst2`, `stsb`, `rte`",
}
TIMES = 8  # so often each row of a page's files stands in ours: a batch has more than a page shows


def page(name: str) -> str:
    (section,) = re.findall(rf"^## [^\n]*\(tasks? {SECTIONS[name]}\)\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
    return str(section)


def commands(name: str) -> list[str]:
    return [line[2:] for block in re.findall(r"```console\n(.*?)```", page(name), re.S) for line in block.splitlines()]


def write_files(name: str, folder: Path) -> None:
    for path, text in re.findall(r"^`([\w./-]+)`\n```\n(.*?)```", page(name), re.S | re.M):
        header = "" if path.endswith((".jsonl", ".json")) else text.splitlines(keepends=True)[0]
        rows = text.removeprefix(header)
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(header + rows * (1 if path.endswith(".json") else TIMES), encoding="utf-8")


def place(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Runs the page's commands in the folder, beside a run and regions of the pictures a to d. Their exit statuses."""
    write_files(name, folder)
    saved_run(folder / "run")
    random = np.random.default_rng(0)
    for store, ids in (("regions", "abcd"), ("others", "xyz")):
        with RegionStore.writer(folder / store, EXTRACTOR) as writer:
            for id in ids:
                writer.append(id, random_regions(random, 6))
    monkeypatch.chdir(folder)
    return {command: cli.run([*shlex.split(command)[1:], "--quiet"]) for command in commands(name)}


def test_the_page_on_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_order = sample._in_order

    def few(data: list[Any]) -> Iterator[tuple[Any, str]]:
        return ((entry, kind) for entry, kind in in_order(data) if kind in ("a bird", "fruit", "a meal"))

    monkeypatch.setattr(sample, "_in_order", few)  # all 853 pictures would take minutes
    monkeypatch.chdir(tmp_path)
    statuses = {command: cli.run([*shlex.split(command)[1:], "--quiet"]) for command in commands("retrieval")}
    assert len(statuses) == 10
    assert set(statuses.values()) == {0}, statuses
    assert {"task.json", "evaluations", "scores", "report.html"} <= {
        path.name for path in Path("retrieval-run").iterdir()
    }
    assert list(Path("hard-run", "hard-negatives").glob("epoch-*.npy"))


def test_the_page_on_judged_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = place("matching", tmp_path, monkeypatch)
    assert len(statuses) == 3
    assert set(statuses.values()) == {0}, statuses
    found = json.loads((tmp_path / "matching-run" / "evaluations" / "matching-validation.json").read_text())
    assert (found["pairs"], found["that_fit"]) == (2 * TIMES, TIMES)
    assert "gain" in found["metrics"]["average_precision"]


def test_the_page_on_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = place("vqa", tmp_path, monkeypatch)
    assert len(statuses) == 5
    assert set(statuses.values()) == {0}, statuses
    assert len(json.loads((tmp_path / "answers.json").read_text())) == TIMES
    facts = json.loads((tmp_path / "vqa-run" / "task.json").read_text())["facts"]
    assert facts == {"answers": ["2", "dog"], "with_pictures": True}
    assert "<td>vqa score</td>" in (tmp_path / "vqa-run" / "report.html").read_text()
    unanswered = tmp_path / "unanswered.jsonl"  # as the challenge's test questions are
    unanswered.write_text('{"image": "a.jpg", "question": "What is on the road?"}\n')
    given = ["--from", "vqa-run", "--store", "regions", "--submission", "unanswered.json"]
    capsys.readouterr()
    assert cli.run(["evaluate", "vqa", str(unanswered), *given]) == 0
    assert capsys.readouterr().out == "vqa score  not measured\n"
    assert len(json.loads((tmp_path / "unanswered.json").read_text())) == 1


def test_the_page_on_answers_with_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = place("vcr", tmp_path, monkeypatch)
    assert len(statuses) == 6
    assert set(statuses.values()) == {0}, statuses
    with open(tmp_path / "leaderboard.csv", newline="") as file:
        assert [len(row) for row in csv.reader(file)] == [21] * (1 + TIMES)
    found = json.loads((tmp_path / "vcr-blind" / "evaluations" / "vcr-validation.json").read_text())
    assert found["stand_ins"] == found["questions"] == TIMES
    assert found["reads"] == "questions and regions made of the classes and boxes of their pictures' objects"


def test_the_page_on_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = place("glue", tmp_path, monkeypatch)
    assert len(statuses) == 5
    assert set(statuses.values()) == {0}, statuses
    assert (tmp_path / "SST-2.tsv").read_text().startswith("index\tprediction\n")
    assert (tmp_path / "films-seeds" / "seed-1" / "task.json").is_file()
