"""The prefilter: it finds what the interaction finds, changes no interaction score, goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finetuning_helpers import drawn_corpus, tiny_run
from recall_helpers import indexed, shop

from interbert import cli
from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError, UsageError
from interbert.files import sha256_of
from interbert.model.interbert import InterBert
from interbert.scoring.calibration import Calibration
from interbert.scoring.scorer import load
from interbert.task_recipes import prefilter_tiny
from interbert.tasks.evaluation import evaluate_task
from interbert.tasks.finetuning import Finetuning, finetune
from interbert.tasks.prefilter import PrefilterOptions, alone_places, following_loss
from interbert.tasks.task import Asked
from interbert.tasks.teacher import Reader

OPTIONS = PrefilterOptions(listed=16, answers=4, validation_queries=12, validation_pool=16)


def plan(epochs: int = 30, **options: Any) -> Finetuning:
    made = prefilter_tiny()
    return replace(made, epochs=epochs, options=replace(OPTIONS, **options), training=replace(made.training, threads=1))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a run, and the run's prefilter."""
    folder = tmp_path_factory.mktemp("prefilter")
    tiny_run(folder / "run", drawn_corpus(folder))
    weights = sha256_of(folder / "run" / "model.safetensors")
    Calibration("line", (0.0,), (-1.0,), 0.5, weights_sha256=weights).save(folder / "run")
    finetune("prefilter", folder / "corpus", str(folder / "run"), folder / "out", plan(), progress=False)
    return folder


def evaluated(place: Path, run: str, **changes: Any) -> dict[str, Any]:
    asked = Asked(place / run, processes=1, precision="fp32")
    return evaluate_task("prefilter", place / "corpus", asked, **changes)


def test_it_finds_more_of_the_exact_best_than_before(place: Path) -> None:
    lines = [json.loads(line) for line in (place / "out" / "training.jsonl").read_text("utf-8").splitlines()]
    found = [line["validation"]["found_at_two_fifteenths"] for line in lines if "validation" in line]
    assert max(found) > found[0]
    metrics = evaluated(place, "out")["metrics"]
    after, before = (metrics[f"found_at_a_fifteenth{end}"] for end in ("", "_without_projections"))
    low, high = after["interval"]
    assert before["value"] < low <= after["value"] <= high


def test_the_interaction_score_is_the_same(place: Path) -> None:
    corpus = Corpus(place / "corpus")
    pairs = [(corpus.text(text), corpus.regions(corpus.image_of(text))) for text in range(40)]
    before, after = (load(place / run, calibrated=False).predict(pairs) for run in ("run", "out"))
    assert np.abs(before - after).max() <= 1e-6
    assert sha256_of(place / "run" / "model.safetensors") != sha256_of(place / "out" / "model.safetensors")


def test_the_calibration_of_its_start_holds(place: Path) -> None:
    corpus = Corpus(place / "corpus")
    pairs = [(corpus.text(text), corpus.regions(corpus.image_of(text))) for text in range(5)]
    before, after = (load(place / run).predict(pairs) for run in ("run", "out"))
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_scores_are_computed_once_and_a_stopped_run_goes_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    together: Callable[..., Any] = Reader._together

    def stopping(self: Reader, text: int, images: Any) -> Any:
        scored.append(text)
        if len(scored) == 30:
            raise KeyboardInterrupt
        return together(self, text, images)

    monkeypatch.setattr(Reader, "_together", stopping)
    given = ("prefilter", place / "corpus", str(place / "run"), tmp_path / "out", plan(epochs=2))
    with pytest.raises(KeyboardInterrupt):
        finetune(*given, progress=False)
    finetune(*given, progress=False)
    texts = min(OPTIONS.texts, 96) + OPTIONS.validation_queries
    assert texts <= len(scored) < texts + 14  # the last part alone is computed again
    assert not list((tmp_path / "out" / "prefilter").glob("*/part-*"))


def test_what_was_computed_for_other_settings_is_not_taken(place: Path, tmp_path: Path) -> None:
    given = ("prefilter", place / "corpus", str(place / "run"), tmp_path / "out")
    (tmp_path / "out" / "prefilter").mkdir(parents=True)
    (tmp_path / "out" / "prefilter" / "of.json").write_text("{}", encoding="utf-8")
    (tmp_path / "out" / "prefilter" / "train.npz").write_bytes(b"old")
    assert finetune(*given, plan(epochs=1), progress=False).summary.steps == 6


def test_another_finetuning_leaves_the_projections_behind(place: Path, tmp_path: Path) -> None:
    from finetuning_helpers import small_plan

    assert InterBert.from_pretrained(place / "out").alone is not None
    finetune("retrieval", place / "corpus", str(place / "out"), tmp_path / "out", small_plan(), progress=False)
    assert InterBert.from_pretrained(tmp_path / "out").alone is None


def test_a_run_without_projections_can_be_measured_too(place: Path) -> None:
    found = evaluated(place, "run", zero_shot=True)
    assert list(found["metrics"]) == ["found_at_a_fifteenth"]
    assert (found["pictures"], found["answers"]) == (16, 16)


def test_vectors_of_two_prefilters_never_mix(tmp_path: Path) -> None:
    from interbert.model.alone import with_projections

    place = shop(tmp_path, 4)
    indexed(place)
    with_projections(InterBert.from_pretrained(place / "run")).save_pretrained(place / "run")
    with pytest.raises(InterbertError, match="scores of two models do not mix"):
        indexed(place)


def test_the_command_trains_and_measures(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = [
        "finetune",
        "prefilter",
        str(place / "corpus"),
        "--from",
        str(place / "run"),
        "--out",
        str(tmp_path / "out"),
    ]
    settings = ["--set", "epochs=1", "--set", "options.answers=4", "--set", "training.threads=1"]
    assert cli.run([*train, "--out", str(tmp_path / "out"), "--recipe", "tiny", *settings, "--quiet"]) == 0
    measure = ["evaluate", "prefilter", str(place / "corpus"), "--from", str(tmp_path / "out"), "--queries", "8"]
    capsys.readouterr()
    assert cli.run([*measure, "--processes", "1", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["captions"], found["pictures"], found["answers"]) == (8, 16, 4)


@pytest.mark.parametrize("wrong", [{"listed": 1}, {"hard_share": 1.5}, {"temperature": 0.0}, {"contrast": -1.0}])
def test_options_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="wanted"):
        PrefilterOptions(**wrong)


def test_following_is_free_where_both_say_the_same_up_to_a_constant() -> None:
    margins = torch.tensor([[1.0, 2.0, -3.0]])
    assert float(following_loss(margins + 7, margins, 2.0)) == pytest.approx(0, abs=1e-6)
    assert float(following_loss(-margins, margins, 2.0)) > 1


def test_places_count_ties_against() -> None:
    assert alone_places(np.array([[0.5, 0.5, 0.1]], np.float32), np.array([[1, 2]])).tolist() == [[1, 2]]
