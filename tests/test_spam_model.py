"""The spam classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interbert.errors import InterbertError, UsageError
from interbert.text.spam_model import BUCKETS, SpamModel, Training, fit

GOODS = [f"{colour}{thing}" for colour in "红蓝白黑绿黄" for thing in ("连衣裙", "运动鞋", "双肩包", "T恤", "保温杯")]
SPAM = [f"{call}{bait}" for call in ("加微信", "点击", "速来", "扫码") for bait in ("领红包", "送现金", "日赚千元")]
LABELS = np.array([False] * len(GOODS) + [True] * len(SPAM))


@pytest.fixture(scope="module")
def model() -> SpamModel:
    return fit(GOODS + SPAM, LABELS, Training(epochs=20, batch_size=16))


def test_what_it_learned_from_it_knows_and_new_titles_too(model: SpamModel) -> None:
    assert np.array_equal(model.probabilities(GOODS + SPAM) > 0.5, LABELS)
    new = model.probabilities(["紫色连衣裙", "加微信送现金领红包"])
    assert new[0] < 0.5 < new[1]


def test_the_same_titles_give_the_same_model_and_another_seed_another(model: SpamModel) -> None:
    again = fit(GOODS + SPAM, LABELS, Training(epochs=20, batch_size=16))
    other = fit(GOODS + SPAM, LABELS, Training(epochs=20, batch_size=16, seed=1))
    assert np.array_equal(model.weights, again.weights)
    assert not np.array_equal(model.weights, other.weights)


def test_a_titles_probability_does_not_depend_on_its_company(model: SpamModel) -> None:
    alone = [float(model.probabilities([text])[0]) for text in ("", "红T恤", SPAM[0])]
    assert np.allclose(model.probabilities(["", "红T恤", SPAM[0]]), alone, atol=1e-6)
    assert len(model.probabilities([])) == 0


def test_the_score_is_the_sum_of_the_runs_over_the_root_of_their_number() -> None:
    ones = SpamModel(np.ones(BUCKETS, np.float32), 0.0)  # "ab" and its end: 3 + 2 + 1 runs
    assert np.allclose(ones.probabilities(["ab"]), 1 / (1 + np.exp(-6 / np.sqrt(6))))


def test_it_is_saved_and_loaded_with_what_it_was_made_of(tmp_path: Path, model: SpamModel) -> None:
    model.facts = {"trained_on": "42"}
    model.save(tmp_path / "spam.safetensors")
    loaded = SpamModel.load(tmp_path / "spam.safetensors")
    assert np.array_equal(loaded.probabilities(SPAM), model.probabilities(SPAM))
    assert loaded.facts == {"trained_on": "42"}


def test_no_file_and_another_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make one with  interbert spam train"):
        SpamModel.load(tmp_path / "none")
    (tmp_path / "other").write_text("not a model")
    with pytest.raises(InterbertError, match="is not a spam model"):
        SpamModel.load(tmp_path / "other")
