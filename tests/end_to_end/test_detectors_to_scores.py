"""Detectors of transformers, from their folder to a score: extract, corpus, pretrain, load, predict on raw pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detector_helpers import NAMES, drawn_picture, edit_json, save_detector
from PIL import Image

import interbert
from interbert import cli
from interbert.errors import InterbertError
from interbert.vision.extractor import ELSEWHERE

TEXTS = ("a red box", "a green ball", "two things", "a box and a ball", "nothing much", "red and green")


def done(*command: object) -> None:
    assert cli.run([*map(str, command), "--quiet"]) == 0, command


def run_from(pictures: list[Path], kind: str, folder: Path) -> Path:
    """A run on regions of a small detector of that type, which stays in `folder`/detector."""
    rows = [{"id": p.stem, "image": str(p), "text": text} for p, text in zip(pictures, TEXTS, strict=True)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({word for t in TEXTS for word in t.split()})]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    detector = f"hf:{save_detector(kind, folder / 'detector')}"
    regions, corpus = folder / "regions", folder / "corpus"
    done("extract", folder / "pairs.jsonl", "--extractor", detector, "--out", regions, "--workers", 0)
    join = ("--format", "jsonl", "--regions", regions, "--tokenizer", folder / "vocab.txt")
    done("corpus", folder / "pairs.jsonl", *join, "--out", corpus, "--set", "validation_share=0.3")
    done(
        "pretrain",
        corpus,
        "--out",
        folder / "run",
        "--recipe",
        "tiny",
        "--set",
        "stages.epochs=1",
        "--set",
        "batch_size=2",
    )
    return folder / "run"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    for at in range(len(TEXTS)):
        drawn_picture(80 + 8 * at, 64).rotate(12 * at).save(folder / f"{at}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def run(pictures: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_from(pictures, "rt_detr_v2", tmp_path_factory.mktemp("run"))


def scores(run: Path, pictures: list[Path]) -> Any:
    return interbert.load(run, device="cpu").predict([("a red box", picture) for picture in pictures])


@pytest.mark.parametrize("kind", ["detr", "d_fine"])
def test_raw_pictures_are_scored_with_the_runs_detector(kind: str, pictures: list[Path], tmp_path: Path) -> None:
    run = run_from(pictures, kind, tmp_path)
    found = scores(run, pictures)
    assert found.shape == (6,)
    assert ((found >= 0) & (found <= 1)).all()
    store = interbert.RegionStore(tmp_path / "regions")
    of_store = scores(run, [store[picture.stem] for picture in pictures])  # type: ignore[misc]
    np.testing.assert_allclose(found, of_store, atol=2e-3)  # a store keeps features as float16


@pytest.mark.shared_data
def test_real_photos_are_scored(shared: Path, tmp_path: Path) -> None:
    photos = sorted((shared / "data" / "coco" / "images").glob("*.jpg"))[: len(TEXTS)]
    found = scores(run_from(photos, "rt_detr_v2", tmp_path), photos)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_run_names_its_detector(run: Path) -> None:
    said = json.loads((run / "extractor.json").read_text(encoding="utf-8"))
    assert said["name"] == f"hf:{run.parent / 'detector'}"
    assert len(said["weights_sha256"]) == 64
    assert said["classes"] == list(NAMES)
    assert said["settings"]["model_type"] == "rt_detr_v2"
    assert said["settings"]["max_regions"] == 36


def test_a_detector_that_changed_after_training_is_an_error(run: Path, pictures: list[Path]) -> None:
    config = run.parent / "detector" / "preprocessor_config.json"
    before = config.read_text(encoding="utf-8")
    edit_json(config, size={"height": 96, "width": 96})
    with pytest.raises(InterbertError, match="is another one: settings"):
        scores(run, pictures)
    config.write_text(before, encoding="utf-8")


def test_a_detector_that_was_moved_is_found_again(
    run: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = scores(run, pictures)
    moved = (run.parent / "detector").rename(run.parent / "moved")
    capsys.readouterr()
    assert cli.run(["score", "a red box", str(pictures[0]), "--from", str(run)]) == 1
    assert f"say so with  {ELSEWHERE}=hf:PLACE" in capsys.readouterr().err
    monkeypatch.setenv(ELSEWHERE, f"hf:{moved}")
    np.testing.assert_array_equal(scores(run, pictures), wanted)
    moved.rename(run.parent / "detector")


def test_a_store_goes_on_with_the_same_detector_and_no_other(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (50, 40), "red").save(tmp_path / "more.png")
    command = ["extract", str(tmp_path), "--out", str(run.parent / "regions"), "--workers", "0", "--extractor"]
    assert cli.run([*command, f"hf:{run.parent / 'detector'}"]) == 0
    other = save_detector("rt_detr_v2", tmp_path / "other", seed=1)
    assert cli.run([*command, f"hf:{other}"]) == 1
    assert "was made by another extractor (weights_sha256" in capsys.readouterr().err


def test_a_store_of_another_detector_is_not_ranked(run: Path, pictures: list[Path], tmp_path: Path) -> None:
    other = save_detector("rt_detr_v2", tmp_path / "other", seed=1)
    done("extract", pictures[0].parent, "--extractor", f"hf:{other}", "--out", tmp_path / "regions", "--workers", 0)
    assert cli.run(["rank", "a red box", str(tmp_path / "regions"), "--from", str(run)]) == 1
