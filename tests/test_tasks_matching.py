"""Matching of labelled pairs: what is trained, what is measured, and what is left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretraining_helpers import EXTRACTOR, random_regions
from task_helpers import CONFIG, given, task_model

from interbert.errors import InterbertError
from interbert.tasks.matching import Matching, MatchingOptions
from interbert.tasks.task import Asked
from interbert.vision.store import RegionStore

ROWS = [("a dog", "a", 1), ("a cat", "a", 0), ("two cats", "b", 1), ("a tree", "b", 0)]


def opened(folder: Path, rows: Sequence[tuple[str, str, int]] = ROWS, split: str = "train", **options: Any) -> Matching:
    """Those pairs in one split, about the pictures "a" and "b"."""
    with RegionStore.writer(folder / "regions", EXTRACTOR) as writer:
        for id, count in (("a", 4), ("b", 6)):
            writer.append(id, random_regions(np.random.default_rng(count), count))
    lines = [json.dumps({"text": text, "image": image, "label": label}) for text, image, label in rows]
    (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return Matching.open(folder, MatchingOptions(**options), given("matching", store=folder / "regions"))


def test_a_batch_has_the_labels_of_its_pairs_and_the_loss_is_that_of_matching(tmp_path: Path) -> None:
    task, model = opened(tmp_path), task_model(None)
    batch = task.make(np.array([2, 1]), [torch.Generator()] * 2, 0)
    assert batch.is_match is not None
    assert (batch.ids, batch.is_match.tolist()) == (["two cats:b", "a cat:a"], [True, False])
    margins = torch.from_numpy(task.predict(model, task.part("train").readings))[[2, 1]]
    wanted = torch.nn.functional.softplus(torch.stack([-margins[0], margins[1]])).sum()
    torch.testing.assert_close(task.losses(model, batch)["matching"], wanted.float())
    assert task.counts(batch) == {"matching": 2.0}


def test_predictions_do_not_depend_on_the_order_of_the_pairs(tmp_path: Path) -> None:
    task, model = opened(tmp_path), task_model(None)
    readings = task.part("train").readings
    np.testing.assert_allclose(task.predict(model, readings[::-1])[::-1], task.predict(model, readings), atol=1e-6)


def test_what_is_measured_is_of_all_pairs_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = opened(tmp_path, split="test"), task_model(None)
    monkeypatch.setattr(task, "predict", lambda *_: np.array([2.0, 1.0, -1.0, -2.0]))
    found = task.evaluate(model, Asked(tmp_path))
    assert found["metrics"]["average_precision"]["value"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["metrics"]["accuracy"]["value"] == 0.5
    softplus = np.logaddexp(0, [-2.0, 1.0, 1.0, -2.0])
    assert found["metrics"]["log_loss"]["value"] == pytest.approx(softplus.mean())
    assert found["metrics"]["average_precision"]["chance"] == 0.5
    assert (found["pairs"], found["that_fit"], found["pictures"]) == (4, 2, 2)


def test_the_interval_draws_pictures_with_all_their_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = opened(tmp_path, split="test"), task_model(None)
    monkeypatch.setattr(task, "predict", lambda *_: np.array([2.0, -2.0, -2.0, 2.0]))  # all of "a" right, none of "b"
    assert task.evaluate(model, Asked(tmp_path))["metrics"]["accuracy"]["interval"] == (0.0, 1.0)


def test_a_pair_without_its_picture_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = opened(tmp_path, [*ROWS, ("a dog", "elsewhere", 1)], split="test")
    found = task.evaluate(task_model(None), Asked(tmp_path))
    assert (found["pairs"], found["left_out"]) == (4, 1)
    assert "1 of the test pairs left out" in caplog.text


def test_a_long_text_is_cut_and_counted(tmp_path: Path) -> None:
    task = opened(tmp_path, [("dog " * 40, "a", 1)], split="test")
    assert len(task.part("test").readings[0].words) == CONFIG.max_text_tokens
    assert task.part("test").cut == 1


def test_pairs_of_which_none_fits_and_a_missing_store_are_refused(tmp_path: Path) -> None:
    task = opened(tmp_path, [("a cat", "a", 0)], split="test")
    with pytest.raises(InterbertError, match="no pair of the test split has label 1"):
        task.evaluate(task_model(None), Asked(tmp_path))
    with pytest.raises(InterbertError, match="give --store"):
        Matching.open(tmp_path, MatchingOptions(), given("matching"))


def test_the_report_shows_pairs_judged_right_and_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = opened(tmp_path, split="validation")
    readings = [task.part("validation").readings[at] for at in (1, 0, 3)]
    monkeypatch.setattr(task, "_validated", lambda: readings)
    monkeypatch.setattr(task, "predict", lambda *_: np.array([-1.0, 1.0, 1.0]))  # what it recalls is shown first
    right, wrong = task.examples(task_model(None), 1)
    assert (right.asked, right.said, right.right) == ("a dog", "fits", True)
    assert (wrong.asked, wrong.said, wrong.right) == ("a tree", "fits; people: does not fit", False)
