"""Margins made probabilities: the fits, their choice, and the file in a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from task_helpers import saved_run

from interbert.errors import InterbertError
from interbert.files import sha256_of
from interbert.metrics import calibration_error, log_loss
from interbert.scoring.calibration import (
    RAW,
    Calibration,
    chosen,
    fitted_apart,
    folds_of,
    isotonic,
    line,
    logit,
    pooled,
    sigmoid,
)

Drawn = tuple[NDArray[np.float64], NDArray[np.bool_]]


def drawn(count: int, chance: Callable[[NDArray[np.float64]], NDArray[np.float64]], seed: int = 0) -> Drawn:
    """Margins, and labels that are true with the chance that a function gives their margin."""
    random = np.random.default_rng(seed)
    margins = random.normal(0, 4, count)
    return margins, random.random(count) < chance(margins)


def overconfident(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    return sigmoid(0.4 * margins - 1)


def stepwise(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(margins > 1, 0.9, np.where(margins > -3, 0.4, 0.02))


def test_the_line_finds_the_temperature_and_bias_that_made_the_labels() -> None:
    fit = line(*drawn(20_000, overconfident))
    assert fit.slope == pytest.approx(0.4, abs=0.02)
    assert fit.logits[0] == pytest.approx(-1, abs=0.06)


def test_the_line_is_that_of_scikit_learn_without_penalty() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    margins, true = drawn(3000, overconfident)
    theirs = linear.LogisticRegression(C=np.inf, tol=1e-10).fit(margins[:, None], true)
    fit = line(margins, true)
    assert fit.slope == pytest.approx(float(theirs.coef_[0, 0]), rel=0.01)
    assert fit.logits[0] == pytest.approx(float(theirs.intercept_[0]), abs=0.01)


def test_pooling_is_isotonic_regression() -> None:
    oracle = pytest.importorskip("sklearn.isotonic").IsotonicRegression()
    random = np.random.default_rng(1)
    counts = random.integers(1, 5, 200).astype(np.float64)
    means = np.linspace(0, 1, 200) + random.normal(0, 0.4, 200)
    blocks = pooled(means * counts, counts)
    wanted = oracle.fit_transform(np.arange(200), means, sample_weight=counts)
    np.testing.assert_allclose(np.repeat(blocks[:, 1], blocks[:, 0].astype(int)), wanted)
    assert (np.diff(blocks[:, 1]) > 0).all()


def test_an_isotonic_fit_by_hand() -> None:
    margins, true = np.array([-2.0, -1.0, 0.0, 1.0]), np.array([False, True, False, True])
    fit = isotonic(margins, true)
    # with the made-up ends: 1 of 2, 1 of 1, 0 of 1, 1 of 2; the first three pool to 2 of 4, which the last equals
    assert fit.margins == (pytest.approx((-2 * 2 - 1 + 0 + 1 * 2) / 6),)
    assert fit.logits == (pytest.approx(0),)


@pytest.mark.parametrize("fit", [line, isotonic])
def test_pairs_that_are_wholly_told_apart_have_a_finite_fit(fit: Callable[..., Calibration]) -> None:
    margins = np.concatenate([np.linspace(-9, -1, 50), np.linspace(1, 9, 50)])
    said = fit(margins, margins > 0).probabilities(margins)
    assert 0 < said[0] < 0.05
    assert 0.95 < said[-1] < 1
    assert math.isfinite(log_loss(said, margins > 0))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([line, isotonic]), st.floats(0.01, 0.99))
def test_no_calibration_changes_the_order_or_makes_ties(
    seed: int, fit: Callable[..., Calibration], prior: float
) -> None:
    found = replace(fit(*drawn(120, stepwise, seed)), prior=prior)
    margins = np.sort(np.random.default_rng(seed).normal(0, 8, 300))
    assert (np.diff(found.calibrated_logits(margins)) > 0).all()


def test_a_prior_moves_the_odds_by_the_odds_of_the_base_rate() -> None:
    fit = line(*drawn(2000, overconfident))
    rare = replace(fit, prior=0.01)
    margins = np.array([-3.0, 0.0, 5.0])
    odds = [one.probabilities(margins) / (1 - one.probabilities(margins)) for one in (fit, rare)]
    np.testing.assert_allclose(odds[1] / odds[0], (0.01 / 0.99) / (fit.base_rate / (1 - fit.base_rate)))


def test_at_another_base_rate_the_prior_makes_it_right_again() -> None:
    margins, true = drawn(40_000, overconfident)
    kept = ~true | (np.random.default_rng(1).random(len(true)) < 0.1)  # nine matches in ten are gone
    fit = line(margins, true)
    moved = replace(fit, prior=float(true[kept].mean()))
    error = [calibration_error(one.probabilities(margins[kept]), true[kept]) for one in (fit, moved)]
    assert error[1] < 0.01 < 0.1 < error[0]


@pytest.mark.parametrize(
    ("chance", "kind"),
    [(overconfident, "line"), (stepwise, "isotonic"), (lambda margins: sigmoid(margins), "as it is")],
)
def test_the_kind_is_the_one_that_fits_pairs_it_did_not_see(
    chance: Callable[..., NDArray[np.float64]], kind: str
) -> None:
    margins, true = drawn(6000, chance, seed=5)
    fit, losses = chosen(margins, true, np.arange(6000) % 5)
    assert fit.kind == kind == min(losses, key=lambda one: losses[one])
    assert fit.base_rate == fit.prior == true.mean()


def test_a_probability_is_by_a_fit_that_did_not_see_its_fold() -> None:
    margins, true = drawn(100, overconfident)
    folds = np.arange(100) % 4
    seen = line(margins[folds != 2], true[folds != 2]).probabilities(margins[folds == 2])
    np.testing.assert_array_equal(fitted_apart("line", margins, true, folds)[folds == 2], seen)


def test_scores_that_go_the_wrong_way_are_refused() -> None:
    margins, true = drawn(500, overconfident)
    with pytest.raises(InterbertError, match="higher scores are matches no more often"):
        line(-margins, true)


def test_folds_share_no_picture() -> None:
    pictures = [f"picture {at % 40}" for at in range(400)]
    folds = folds_of(pictures, np.arange(400) % 3 == 0, 5)
    assert all(len({fold for name, fold in zip(pictures, folds, strict=True) if name == one}) == 1 for one in pictures)
    assert np.bincount(folds).tolist() == [80] * 5


def test_too_few_pairs_are_refused_with_their_count() -> None:
    with pytest.raises(InterbertError, match="of 20 labelled pairs of 20 pictures, 3 belong together; wanted"):
        folds_of([str(at) for at in range(20)], np.arange(20) < 3, 5)


def test_beyond_the_knots_the_slope_goes_on() -> None:
    fit = Calibration("by hand", (0.0, 2.0), (-1.0, 3.0), 0.5)
    assert fit.calibrated_logits([-2, 0, 1, 2, 4]).tolist() == [-2, -1, 1, 3, 4]
    assert RAW.probabilities([0.0, 100.0, -1000.0]).tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"margins": (1.0, 0.0), "logits": (0.0, 1.0)},
        {"margins": (0.0, 1.0), "logits": (0.0, 0.0)},
        {"margins": (), "logits": ()},
        {"slope": 0.0},
        {"logits": (math.nan,)},
        {"prior": 1.0},
    ],
)
def test_a_calibration_that_does_not_rise_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="wanted"):
        replace(RAW, **wrong)  # type: ignore[arg-type]


def test_a_saved_calibration_is_that_of_its_run(tmp_path: Path) -> None:
    run = saved_run(tmp_path / "run")
    assert Calibration.load(run) is None
    fit = replace(isotonic(*drawn(200, stepwise)), weights_sha256=sha256_of(run / "model.safetensors"))
    fit.save(run)
    assert Calibration.load(run) == fit


def test_a_calibration_of_other_weights_is_refused(tmp_path: Path) -> None:
    run = saved_run(tmp_path / "run")
    replace(RAW, weights_sha256="of other weights").save(run)
    with pytest.raises(InterbertError, match="fitted to other weights than the run has now"):
        Calibration.load(run)


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2}', '{"format": 1, "kind": "line"}'])
def test_a_broken_file_is_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(InterbertError, match="is no calibration"):
        Calibration.load(tmp_path)


def test_a_file_with_knots_that_fall_is_broken(tmp_path: Path) -> None:
    RAW.save(tmp_path)
    value = json.loads((tmp_path / "calibration.json").read_text())
    (tmp_path / "calibration.json").write_text(json.dumps(value | {"slope": -1.0}))
    with pytest.raises(InterbertError, match="is no calibration"):
        Calibration.load(tmp_path)


def test_logits_and_their_inverse() -> None:
    assert sigmoid(np.asarray(logit(np.array([0.1, 0.5, 0.999])))).tolist() == pytest.approx([0.1, 0.5, 0.999])
