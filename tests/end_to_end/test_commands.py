"""The commands of the demo, one after the other, on a few pictures of the sample and the tiny model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interbert
from interbert import cli, sample
from interbert.sample import make_sample

KINDS = ("a bird", "fruit", "sport")  # eight pictures of each


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small catalogue, its regions, its corpus and a run: everything the commands leave."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "PIXELS", 96)  # painting 853 of full size takes six seconds
        make_sample(folder / "all")
    lines = (folder / "all" / "catalogue.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [line for kind in KINDS for line in [line for line in lines if f'"kind": "{kind}"' in line][:8]]
    (folder / "all" / "few.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    for command in (
        ["extract", folder / "all" / "few.jsonl", "--out", folder / "regions", "--workers", "0"],
        ["corpus", folder / "all" / "few.jsonl", "--format", "jsonl", "--regions", folder / "regions"]
        + ["--out", folder / "corpus", "--set", "validation_share=0.3"],
        ["pretrain", folder / "corpus", "--out", folder / "run", "--recipe", "tiny", "--set", "stages.epochs=1"],
    ):
        assert cli.run([*map(str, command), "--quiet"]) == 0, command
    return folder


def answer(capsys: pytest.CaptureFixture[str], *command: object) -> Any:
    capsys.readouterr()
    assert cli.run([*map(str, command), "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_has_the_files_that_load_takes_and_a_report(place: Path) -> None:
    names = {path.name for path in (place / "run").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "extractor.json", "training.jsonl"} <= names
    assert "report.html" in names


def test_score_gives_what_predict_gives(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = sorted((place / "all" / "images").glob("1f34*.png"))[:2]
    found = answer(capsys, "score", "a piece of fruit", *pictures, "--from", place / "run")
    wanted = interbert.load(place / "run").predict([("a piece of fruit", picture) for picture in pictures])
    assert [one["image"] for one in found["results"]] == [str(picture) for picture in pictures]
    np.testing.assert_allclose([one["score"] for one in found["results"]], wanted, atol=1e-6)


def test_rank_of_a_catalogue_and_of_its_region_store_agree(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_store = answer(capsys, "rank", "a bird", place / "regions", "--from", place / "run", "--top-k", 5)
    of_files = answer(capsys, "rank", "a bird", place / "all" / "few.jsonl", "--from", place / "run", "--top-k", 5)
    assert of_store["scored"] == of_files["scored"] == 24
    scores = [[one["score"] for one in found["results"]] for found in (of_store, of_files)]
    assert scores[0] == sorted(scores[0], reverse=True)
    np.testing.assert_allclose(*scores, atol=2e-3)  # a store keeps features as float16


def test_rank_skips_a_broken_picture_and_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place / "some"
    folder.mkdir(exist_ok=True)
    (folder / "good.png").write_bytes(next((place / "all" / "images").glob("1f34*.png")).read_bytes())
    (folder / "bad.png").write_bytes(b"no picture")
    capsys.readouterr()
    assert cli.run(["rank", "fruit", str(folder), "--from", str(place / "run")]) == 3
    said = capsys.readouterr()
    assert re.fullmatch(r"0\.\d{4}  good\n", said.out)
    assert "skipped 'bad'" in said.err


def test_the_page_shows_held_out_pictures_for_each_topic(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = place / "page.html"
    topics = ["--topic", "a bird", "--topic", "something nobody wrote"]
    report = answer(capsys, "page", place / "corpus", "--from", place / "run", *topics, "--out", out, "--best", 3)
    bird, unknown = report["topics"]
    assert 0 < bird["pool_right"] < bird["pool"] < 24
    assert unknown["pool_right"] == 0
    assert len(bird["trained"]) == len(bird["untrained"]) == 3
    text = out.read_text(encoding="utf-8")
    assert text.count('<img src="data:image/webp') == 2 * 2 * 3
    assert f"where {bird['pool_right'] / bird['pool']:.2f} of the pool are" in text
    assert "<script" not in text


def test_pretrain_of_a_finished_run_changes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (place / "run" / "model.safetensors").read_bytes()
    command = ["pretrain", place / "corpus", "--out", place / "run", "--recipe", "tiny", "--set", "stages.epochs=1"]
    answer(capsys, *command)
    assert (place / "run" / "model.safetensors").read_bytes() == before


def test_a_run_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["score", "a bird", "bird.png", "--from", "./no-such-run"]) == 1
    assert capsys.readouterr().err.startswith("interbert: there is no folder './no-such-run'")
