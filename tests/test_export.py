"""An export is the run's own answers, from files that another program reads."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pretraining_helpers import random_regions
from task_helpers import CONFIG, saved_run

from interbert import cli
from interbert.batch import make_batch
from interbert.errors import InterbertError
from interbert.model.alone import with_projections
from interbert.scoring import export
from interbert.scoring.export import FILES, IMAGE, TEXT, export_onnx
from interbert.scoring.scorer import Scorer, load

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
SPREAD = replace(CONFIG, initializer_range=0.3, dropout=0.1, attention_dropout=0.1)  # as trained
WORDS = [[2, 7, 9, 11, 3], [2, 8, 3]]
REGIONS = [random_regions(np.random.default_rng(0), count) for count in (4, 9)]


def answered(file: Path) -> NDArray[np.float32]:
    """As its README has it."""
    batch, session = make_batch(["", ""], WORDS, REGIONS), onnxruntime.InferenceSession(str(file))
    found: NDArray[np.float32] = session.run(
        None, {one.name: getattr(batch, one.name).numpy() for one in session.get_inputs()}
    )[0]
    return found


def test_the_verb_writes_what_scores_as_the_run_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = saved_run(tmp_path / "run", SPREAD), tmp_path / "models" / "exported"
    assert cli.run(["export", "onnx", str(run), "--out", str(out)]) == 0
    assert "pair.onnx, text.onnx, image.onnx; at most" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        *FILES, "README.md", "config.json", "tokenizer.json", "extractor.json"
    }  # fmt: skip
    wanted = load(run).margins_of(WORDS, REGIONS, show_progress_bar=False)
    np.testing.assert_allclose(answered(out / "pair.onnx"), wanted, rtol=1e-4, atol=1e-5)
    assert [path.name for path in out.parent.iterdir()] == ["exported"]


@pytest.mark.parametrize("kind", ["mul", "sum", "projections"])
def test_vectors_multiply_to_margins_alone(kind: str, tmp_path: Path) -> None:
    run = saved_run(
        tmp_path / "run", replace(SPREAD, fusion="sum" if kind == "sum" else "mul", region_confidence=False)
    )
    scorer = load(run)
    if kind == "projections":
        scorer = Scorer(with_projections(scorer.model), scorer.tokenizer, scorer.extractor, device="cpu")
    export_onnx(scorer, run, tmp_path / "out")
    texts, images = answered(tmp_path / "out" / "text.onnx"), answered(tmp_path / "out" / "image.onnx")
    np.testing.assert_allclose(images, scorer.encode_images(REGIONS, show_progress_bar=False), rtol=1e-3, atol=1e-5)
    batch = make_batch(["", ""], WORDS, REGIONS)
    from interbert.model.alone import image_alone, text_alone

    margins = scorer.model.margins_alone(text_alone(scorer.model, batch), image_alone(scorer.model, batch)).detach()
    apart = margins.numpy() - texts @ images.T
    np.testing.assert_allclose(apart[:, 0], apart[:, 1], rtol=1e-4, atol=1e-4)  # a constant of the text


def test_the_readme_names_every_input() -> None:
    assert all(f"| `{name}` |" in export.README for name in (*TEXT, *IMAGE))


def test_what_is_there_is_kept_and_what_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = saved_run(tmp_path / "run")
    with pytest.raises(InterbertError, match="is there already; give a new folder"):
        export_onnx(load(run), run, run)
    monkeypatch.setattr(export, "MOST_DIFFERENT", -1.0)
    with pytest.raises(InterbertError, match=r"pair.onnx differs from the model by .*; try other versions"):
        export_onnx(load(run), run, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert cli.run(["export", "onnx", str(run), "--out", str(tmp_path / "out")]) == 1
    assert "pip install 'interbert[onnx]'" in capsys.readouterr().err
    assert cli.run(["export", "tflite", str(run), "--out", str(tmp_path / "out")]) == 2
