"""A run calibrated on labelled pairs: its figures, its thresholds, and what `load` then gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pretraining_helpers import EXTRACTOR, WORDS, random_regions
from task_helpers import saved_run

import interbert
from interbert.errors import InterbertError, UsageError
from interbert.scoring.calibrating import calibrate, cut, lowest_threshold, reaching
from interbert.scoring.calibration import folds_of, sigmoid
from interbert.scoring.labelled import ScoredPairs
from interbert.vision.store import RegionStore

PAIRS = 240


def place_of(folder: Path) -> Path:
    """A run, a store and pairs in `folder`, the pairs labelled by the run's own margins with some noise."""
    random = np.random.default_rng(3)
    run = saved_run(folder / "run")
    with RegionStore.writer(folder / "regions", EXTRACTOR) as writer:
        for at in range(40):
            writer.append(f"p{at}", random_regions(random, 4))
    store, scorer = RegionStore(folder / "regions"), interbert.load(run, device="cpu")
    texts = [" ".join(random.choice(WORDS, 4)) for _ in range(PAIRS)]
    margins = scorer.margins([(text, store[f"p{at % 40}"]) for at, text in enumerate(texts)])
    unit = (margins - margins.mean()) / margins.std()
    true = random.random(PAIRS) < sigmoid(3 * unit)
    rows = [{"text": text, "image": f"p{at % 40}", "label": int(true[at])} for at, text in enumerate(texts)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return place_of(tmp_path_factory.mktemp("calibrated"))


def calibrated(place: Path, **changes: Any) -> Any:
    return calibrate(place / "run", place / "pairs.jsonl", store=place / "regions", **changes)


def test_a_calibrated_run_gives_better_probabilities_in_the_same_order(place: Path) -> None:
    report = calibrated(place, precision=0.8)
    gain = report.figures["log loss"]
    assert gain.gain_interval[0] > 0
    assert gain.gain == pytest.approx(gain.before - gain.after)
    assert report.losses[report.kind] == pytest.approx(gain.after)
    raw, now = (interbert.load(place / "run", device="cpu", calibrated=wanted) for wanted in (False, True))
    store = RegionStore(place / "regions")
    pairs = [("a dog on the road", store[f"p{at}"]) for at in range(40)]
    before, after = raw.predict(pairs), now.predict(pairs)
    assert (np.argsort(before) == np.argsort(after)).all()
    assert np.ptp(after) > 2 * np.ptp(before)  # an untrained model is sure of nothing; the labels follow its order
    assert [one["corpus_id"] for one in now.rank(pairs[0][0], [picture for _, picture in pairs])] == [
        one["corpus_id"] for one in raw.rank(pairs[0][0], [picture for _, picture in pairs])
    ]


def test_the_run_keeps_what_it_was_calibrated_with(place: Path) -> None:
    report = calibrated(place)
    kept = json.loads((place / "run" / "calibration.json").read_text())
    assert kept["kind"] == report.kind
    assert kept["about"]["from"] == "pairs.jsonl"
    assert (kept["about"]["pairs"], kept["about"]["pictures"], kept["about"]["matches"]) == (PAIRS, 40, report.matches)
    assert kept["base_rate"] == kept["prior"] == pytest.approx(report.matches / PAIRS)
    assert kept["about"]["figures"]["log loss"]["after"] == report.figures["log loss"].after
    page = (place / "run" / "calibration.html").read_text()
    assert page.count("<svg") == 3
    assert "<script" not in page


def test_calibrating_again_gives_the_same_file(place: Path) -> None:
    calibrated(place)
    first = (place / "run" / "calibration.json").read_bytes()
    calibrated(place)
    assert (place / "run" / "calibration.json").read_bytes() == first


def test_a_prior_moves_the_scores_and_the_precisions(place: Path) -> None:
    store = RegionStore(place / "regions")
    as_labelled = calibrated(place, threshold=0.35)
    often = interbert.load(place / "run", device="cpu").predict(("a dog", store["p0"]))
    rare = calibrated(place, threshold=0.35, prior=0.05)
    seldom = interbert.load(place / "run", device="cpu").predict(("a dog", store["p0"]))
    assert seldom < often
    assert rare.prior == 0.05
    assert sum(one.taken for one in rare.cuts) < sum(one.taken for one in as_labelled.cuts)
    assert 0.35 in [one.threshold for one in rare.cuts]


def test_what_a_threshold_takes_by_hand() -> None:
    said, true = np.array([0.9, 0.6, 0.6, 0.2]), np.array([True, True, False, False])
    weights = np.where(true, 0.5, 1.5)  # matches are rarer than here
    found = cut(0.6, said, true, weights)
    assert (found.precision, found.recall, found.taken) == (1.0, 0.5, 0.125)  # strictly above
    found = cut(0.5, said, true, weights)
    assert (found.precision, found.recall, found.taken) == (pytest.approx(1 / 2.5), 1.0, 2.5 / 4)
    assert cut(0.95, said, true, weights).precision is None


def test_the_lowest_threshold_of_a_precision_lies_between_two_probabilities() -> None:
    said, true = np.array([0.9, 0.8, 0.7, 0.6, 0.2]), np.array([True, False, True, True, False])
    assert lowest_threshold(0.75, said, true, np.ones(5)) == pytest.approx(0.4)
    assert lowest_threshold(0.9, said, true, np.ones(5)) == pytest.approx(0.85)
    assert lowest_threshold(0.5, said, true, np.ones(5)) == pytest.approx(0.1)
    assert lowest_threshold(0.7, said, ~true, np.ones(5)) is None


def test_a_wanted_precision_is_reached_on_pairs_that_did_not_choose() -> None:
    random = np.random.default_rng(0)
    said = random.random(4000)
    true = random.random(4000) < said
    pairs = ScoredPairs(said, true, [str(at % 800) for at in range(4000)])
    found = reaching(0.8, said, pairs, np.ones(4000), folds_of(pairs.pictures, true, 5))
    assert found.cut is not None
    assert found.cut.threshold == pytest.approx(0.6, abs=0.05)  # the mean of what is above 0.6 is 0.8
    assert found.reached is not None
    assert found.reached_interval is not None
    assert found.reached_interval[0] < 0.8 < found.reached_interval[1]


def test_a_number_that_is_no_share_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for name in ("prior", "threshold", "precision"):
        with pytest.raises(UsageError, match=f"--{name}: got 1.5, wanted a number between 0 and 1"):
            calibrate(tmp_path, tmp_path / "pairs.jsonl", **{name: 1.5})  # type: ignore[arg-type]


def test_pairs_without_a_picture_that_can_be_read_are_an_error(place: Path) -> None:
    (place / "lost.jsonl").write_text(json.dumps({"text": "a dog", "image": "x", "label": 1}))
    with pytest.raises(InterbertError, match="no pair can be scored: {'its picture cannot be read': 1}"):
        calibrate(place / "run", place / "lost.jsonl", store=place / "regions")


def test_a_run_trained_on_after_its_calibration_is_refused(place: Path) -> None:
    calibrated(place)
    weights = place / "run" / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))  # one bit of the last weight
    try:
        with pytest.raises(InterbertError, match="fitted to other weights .* interbert calibrate  again"):
            interbert.load(place / "run")
        assert interbert.load(place / "run", calibrated=False).calibration.kind == "as it is"
    finally:
        weights.write_bytes(before)
