"""Pretrain, finetune, evaluate, as commands on drawn data; killed and gone on, the same bits as left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from finetuning_helpers import drawn_corpus
from toy import lines_without_timing

from interbert import cli

THREADS = {"OMP_NUM_THREADS": "1"}
SETTINGS = ("epochs=12", "batch_size=16", "dropout=0.0", "training.learning_rate=2e-3", "training.precision=fp32")
SETTINGS += ("training.threads=1", "training.checkpoint_every=7")  # 72 steps
FINETUNE = ["--recipe", "tiny", "--hard-negatives", *(part for one in SETTINGS for part in ("--set", one))]


def run(*command: object) -> None:
    assert cli.run([*map(str, command), "--quiet"]) == 0, command


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a run that learned each side alone for a short time, and one finetuned from it."""
    folder = tmp_path_factory.mktemp("drawn")
    corpus = drawn_corpus(folder).folder
    settings = ["stages.words=none", "stages.regions=none", "stages.matching=alone", "stages.epochs=5"]
    settings += [
        "training.learning_rate=3e-3",
        "training.threads=1",
        "training.precision=fp32",
        "model.dropout=0",
        "model.attention_dropout=0",
    ]
    given = [part for setting in settings for part in ("--set", setting)]
    run("pretrain", corpus, "--out", folder / "run", "--recipe", "tiny", *given)
    run("finetune", "retrieval", corpus, "--from", folder / "run", "--out", folder / "fine", *FINETUNE)
    return folder


def answer(capsys: pytest.CaptureFixture[str], *command: object) -> Any:
    capsys.readouterr()
    assert cli.run([*map(str, command), "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)


def test_finetuned_is_better_than_zero_shot_and_that_than_chance(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["evaluate", "retrieval", place / "corpus", "--processes", 1]
    zero_shot = answer(capsys, *ask, "--from", place / "run", "--zero-shot")["metrics"]
    finetuned = answer(capsys, *ask, "--from", place / "fine")["metrics"]
    chance = finetuned["recall_at_1"]["chance"]
    assert chance < zero_shot["recall_at_1"]["value"] < finetuned["recall_at_1"]["value"]
    low, high = finetuned["recall_at_1"]["interval"]
    assert chance < low <= finetuned["recall_at_1"]["value"] <= high <= 1


def test_what_finetuning_gained_is_said_with_its_interval(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["evaluate", "retrieval", place / "corpus", "--from", place / "fine", "--against", place / "run"]
    low, _ = answer(capsys, *ask, "--processes", 1)["metrics"]["recall_at_1"]["gain"]["interval"]
    assert low > 0
    assert cli.run(list(map(str, ask))) == 0
    said = capsys.readouterr().out
    assert "recall at 1 " in said
    assert ", gained +" in said
    assert f"gained over '{place / 'run'}' zero-shot, with the paired 95 % interval" in said


def test_the_report_shows_the_paper_beside_ours_and_examples(place: Path) -> None:
    text = (place / "fine" / "report.html").read_text(encoding="utf-8")
    assert "InterBERT (paper)" in text
    assert "<h2>Wrong</h2>" in text
    assert "Loss of choice" in text


def test_a_killed_finetuning_goes_on_to_the_same_bits(place: Path) -> None:
    out = place / "broken"
    command = [sys.executable, "-m", "interbert", "finetune", "retrieval", str(place / "corpus"), *FINETUNE]
    command += ["--from", str(place / "run"), "--out", str(out), "--json"]
    for moment in (10, 40):
        process = subprocess.Popen(command, env=os.environ | THREADS, stdout=-1, stderr=-1)
        while process.poll() is None and lines(out) < moment:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    done = subprocess.run(command, env=os.environ | THREADS, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["summary"]["resumed_from"] > 0
    for name in ("model.safetensors", "hard-negatives/epoch-011.npy"):
        assert (out / name).read_bytes() == (place / "fine" / name).read_bytes()
    assert lines_without_timing(out) == lines_without_timing(place / "fine")


def lines(out: Path) -> int:
    journal = out / "training.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def test_several_seeds_are_evaluated_together(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, out = place / "corpus", place / "seeds"
    settings = ["--recipe", "tiny", "--set", "epochs=1", "--set", "batch_size=48", "--seeds", 2]
    found = answer(capsys, "finetune", "retrieval", corpus, "--from", "new:tiny", "--out", out, *settings)
    assert found["runs"] == ["seed-0", "seed-1"]
    found = answer(capsys, "evaluate", "retrieval", corpus, "--from", out, "--processes", 1)
    values = [one["metrics"]["recall_at_5"]["value"] for one in found["runs"]]
    assert found["metrics"]["recall_at_5"]["mean"] == pytest.approx(sum(values) / 2)
    ask = ["evaluate", "retrieval", corpus, "--from", out, "--processes", 1, "--against"]
    assert answer(capsys, *ask, out)["metrics"]["recall_at_5_gain"]["values"] == [0, 0]  # seed by seed
    found = answer(capsys, *ask, place / "fine")
    assert found["metrics"]["recall_at_5_gain"]["mean"] < 0  # each over the same one
    assert found["runs"][0]["against"] == found["runs"][1]["against"]


def test_runs_of_several_seeds_are_set_against_as_many(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "two").mkdir()
    (place / "two" / "seeds.json").write_text('{"runs": ["seed-0", "seed-1"]}')
    ask = ["evaluate", "retrieval", place / "corpus", "--from", place / "fine", "--against", place / "two"]
    assert cli.run(list(map(str, ask))) == 2
    assert "got a folder of 2 runs for 1 of --from; give one run" in capsys.readouterr().err


def test_regions_may_be_asked_for_and_what_has_too_few_gives_exit_status_3(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["evaluate", "retrieval", place / "corpus", "--from", place / "run", "--zero-shot", "--regions", "5:6"]
    assert cli.run([*map(str, ask), "--processes", "1"]) == 3
    said = capsys.readouterr()
    assert "recall at 1 " in said.out
    assert "left out" in said.err


def test_a_pretrained_run_ranks_the_same_pictures_as_zero_shot(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask = [place / "corpus", "--from", place / "run", "--queries", 4, "--processes", 1]
    pretrained = answer(capsys, "evaluate", "pretraining", *ask)["retrieval"]
    zero_shot = answer(capsys, "evaluate", "retrieval", *ask, "--zero-shot")
    assert pretrained["pictures"] == zero_shot["pictures"] == 16
    assert pretrained["queries"] == zero_shot["captions"] == 4
    low, high = pretrained["recall_at_5"]["interval"]
    assert low <= pretrained["recall_at_5"]["value"] <= high


@pytest.mark.parametrize("setting", ["pool=4", "options.pool=4"])
def test_a_setting_of_an_evaluation_may_be_called_as_finetune_calls_it(
    place: Path, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["evaluate", "products", place / "corpus", "--from", place / "run", "--zero-shot", "--processes", 1]
    assert answer(capsys, *ask, "--set", setting)["pools"] == 4


@pytest.mark.parametrize(
    ("task", "given", "said"),
    [
        ("pretraining", ["--zero-shot"], "--zero-shot: pretraining has no use for it, only retrieval"),
        ("pretraining", ["--regions", "90:100"], "--regions: pretraining has no use for it"),
        ("retrieval", ["--submission", "a.csv"], "--submission: retrieval has no use for it, only vqa, vcr"),
        ("vqa", ["--queries", "3"], "--queries: vqa has no use for it, only pretraining, retrieval"),
        ("cola", ["--store", "regions"], "--store: cola has no use for it, only vqa, vcr"),
        ("retrieval", ["--set", "pool=30"], "--set: retrieval has no use for it, only products"),
        ("pretraining", ["--against", "run"], "--against: pretraining has no use for it, only retrieval"),
        ("vcr", ["--revision", "main"], "--revision: vcr has no use for it, only pretraining"),
    ],
)
def test_an_option_that_a_task_has_no_use_for_is_refused(
    task: str, given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["evaluate", task, "data", "--from", "run", *given]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--regions", "9:3"], "wanted at least 1, and no MAX below MIN"),
        (["--regions", "many"], "got 'many', wanted MIN:MAX"),
        (["--recipe", "huge"], "there is no recipe of retrieval 'huge'"),
        (["--set", "options.negatvies=2"], "did you mean 'options.negatives'"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_exit_status_2(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["finetune", "retrieval", "corpus", "--from", "run", "--out", str(tmp_path / "out"), "--recipe", "tiny"]
    assert cli.run([*command, *given]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
