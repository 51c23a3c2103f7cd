"""What `interbert calibrate` does: a run and labelled pairs in, its `calibration.json` and `calibration.html` out.

Every figure is of pairs that the fit it measures did not see: the pairs are cut into folds that share no picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interbert.errors import InterbertError, UsageError
from interbert.files import sha256_of
from interbert.metrics import (
    bootstrap_interval,
    brier,
    calibration_error,
    log_loss,
    precision_recall,
    reliability,
)
from interbert.scoring.calibration import Calibration, chosen, fitted_apart, folds_of, logit, sigmoid
from interbert.scoring.labelled import ScoredPairs, labelled_pairs, scored
from interbert.scoring.scorer import load
from interbert.webpage import chart, write_page

PAGE = "calibration.html"
FOLDS = 5
SAMPLES = 300  # of a bootstrap
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
Numbers = NDArray[np.float64]
MEASURES: dict[str, Callable[[Numbers, NDArray[np.bool_]], float]] = {
    "log loss": log_loss,
    "Brier score": brier,
    "ECE, ten equal widths": calibration_error,
    "ECE, ten equal counts": lambda said, true: calibration_error(said, true, by="mass"),
}


@dataclass(frozen=True)
class Figure:
    """A measure of probabilities, the lower the better, with its 95 % intervals by resampling pictures.

    gain: before less after, its interval paired.
    """

    before: float
    before_interval: tuple[float, float]
    after: float
    after_interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]


@dataclass(frozen=True)
class Cut:
    """What a threshold does at the prior: pairs strictly above it are taken. precision is None where it takes none."""

    threshold: float
    precision: float | None
    recall: float
    taken: float


@dataclass(frozen=True)
class Wanted:
    """The lowest threshold whose precision is as wanted; None where no threshold reaches it.

    reached: the precision of thresholds chosen so, on pairs that had no part in choosing them, and its interval.
    """

    precision: float
    cut: Cut | None
    reached: float | None
    reached_interval: tuple[float, float] | None


@dataclass(frozen=True)
class CalibrationReport:
    """What was found. losses: log loss of each kind of fit, of which the lowest was taken.  curve: (recall, precision).

    diagram: (probability, share that is true, count) of each bin, before and after.  grid: a cut at every hundredth.
    """

    kind: str
    pairs: int
    matches: int
    pictures: int
    prior: float
    losses: dict[str, float]
    figures: dict[str, Figure]
    cuts: tuple[Cut, ...]
    grid: tuple[Cut, ...]
    wanted: Wanted | None
    left_out: dict[str, int]
    diagram: dict[str, list[list[float]]]
    curve: list[list[float]]

    def to_json(self) -> dict[str, Any]:
        """Everything, for --json."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        found = [
            f"{self.pairs:,} pairs of {self.pictures:,} pictures, {self.matches:,} of them matches; taken: {self.kind}",
            f"{'':<22}  {'before':<24}  {'after':<24}",
        ]
        found += [
            f"{name:<22}  {_shown(one.before, one.before_interval):<24}  {_shown(one.after, one.after_interval):<24}"
            for name, one in self.figures.items()
        ]
        found += [f"where {self.prior:.3g} of all pairs are matches:", "threshold  precision  recall  taken"]
        found += [
            f"{one.threshold:<9g}  {_precision(one):>9}  {one.recall:>6.3f}  {one.taken:>5.3f}" for one in self.cuts
        ]
        return found if self.wanted is None else [*found, wanted_line(self.wanted)]


def calibrate(
    run: Path,
    place: Path,
    *,
    store: Path | None = None,
    split: str = "validation",
    negatives: int = 1,
    prior: float | None = None,
    threshold: float = 0.6,
    precision: float | None = None,
    seed: int = 0,
    progress: bool = False,
) -> CalibrationReport:
    """Fits a run's scores to labelled pairs, and writes `calibration.json` and `calibration.html` into the run.

    place, store, split, negatives, seed: as `labelled_pairs` has them.  prior: the share of matches among the pairs
    that will be scored; None: as among these.  threshold: one more for the table.  precision: one that is wanted.
    Raises UsageError for numbers that are no shares, InterbertError where the pairs are too few or tell nothing.
    """
    for name, value in (("prior", prior), ("threshold", threshold), ("precision", precision)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"--{name}: got {value:g}, wanted a number between 0 and 1")
    if not run.is_dir():
        raise InterbertError(f"there is no folder '{run}'; wanted that of a run, into which its calibration is written")
    scorer, weights = load(run, calibrated=False), sha256_of(run / "model.safetensors")
    given = labelled_pairs(scorer, place, store=store, split=split, negatives=negatives, seed=seed)
    pairs = scored(scorer, given, progress)
    if not len(pairs.margins):
        raise InterbertError(f"'{place}': no pair can be scored: {dict(given.left_out) or 'there are none'}")
    folds = folds_of(pairs.pictures, pairs.true, FOLDS, seed)
    fit, losses = chosen(pairs.margins, pairs.true, folds)
    fit = replace(fit, prior=fit.base_rate if prior is None else prior)
    report = measured_report(pairs, folds, fit, losses, threshold, precision, dict(given.left_out))
    about = {**given.about, "sha256": given.digest, "seed": seed}
    about |= {
        name: value
        for name, value in report.to_json().items()
        if name not in ("diagram", "curve", "grid", "kind", "prior")
    }
    fit = replace(fit, weights_sha256=weights, about=about)
    write_page(run / PAGE, f"Calibration: {run.resolve().name}", page_body(report, run.resolve().name))
    fit.save(run)
    return report


def measured_report(
    pairs: ScoredPairs,
    folds: NDArray[np.int64],
    fit: Calibration,
    losses: dict[str, float],
    threshold: float,
    precision: float | None,
    left_out: dict[str, int],
) -> CalibrationReport:
    """The figures before and after, each pair's probability by a fit that did not see its picture."""
    before, after = sigmoid(pairs.margins), fitted_apart(fit.kind, pairs.margins, pairs.true, folds)
    at_prior = sigmoid(logit(after.clip(1e-12, 1 - 1e-12)) + logit(fit.prior) - logit(fit.base_rate))
    weights = np.where(pairs.true, fit.prior / fit.base_rate, (1 - fit.prior) / (1 - fit.base_rate))
    _, precisions, recalls = precision_recall(at_prior, pairs.true, weights)
    return CalibrationReport(
        kind=fit.kind,
        pairs=len(pairs.true),
        matches=int(pairs.true.sum()),
        pictures=len(set(pairs.pictures)),
        prior=fit.prior,
        losses=losses,
        figures={name: _figure(of, before, after, pairs) for name, of in MEASURES.items()},
        cuts=tuple(cut(one, at_prior, pairs.true, weights) for one in sorted({*THRESHOLDS, threshold})),
        grid=tuple(cut(at / 100, at_prior, pairs.true, weights) for at in range(101)),
        wanted=None if precision is None else reaching(precision, at_prior, pairs, weights, folds),
        left_out=left_out,
        diagram={name: reliability(said, pairs.true).tolist() for name, said in (("before", before), ("after", after))},
        curve=np.stack([recalls, precisions], 1)[_some(len(recalls))].tolist(),
    )


def cut(threshold: float, said: Numbers, true: NDArray[np.bool_], weights: Numbers) -> Cut:
    """What pairs strictly above a threshold are."""
    above = said > threshold
    taken, right = float(weights[above].sum()), float(weights[above & true].sum())
    return Cut(
        threshold, right / taken if taken else None, right / float(weights[true].sum()), taken / float(weights.sum())
    )


def lowest_threshold(precision: float, said: Numbers, true: NDArray[np.bool_], weights: Numbers) -> float | None:
    """The lowest threshold above which the precision is at least as wanted, None where no threshold has that.

    It lies in the middle between the last probability that is taken and the next.
    """
    values, precisions, _ = precision_recall(said, true, weights)
    good = np.flatnonzero(precisions >= precision)
    if not len(good):
        return None
    last = int(good[-1])
    return float(values[last] + (values[last + 1] if last + 1 < len(values) else 0.0)) / 2


def reaching(precision: float, said: Numbers, pairs: ScoredPairs, weights: Numbers, folds: NDArray[np.int64]) -> Wanted:
    """The threshold for a precision, and the precision that thresholds chosen on other folds have on each fold."""
    found = lowest_threshold(precision, said, pairs.true, weights)
    if found is None:
        return Wanted(precision, None, None, None)
    above = np.zeros(len(said), bool)
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        chosen_apart = lowest_threshold(precision, said[~out], pairs.true[~out], weights[~out])
        above[out] = said[out] > (1.0 if chosen_apart is None else chosen_apart)
    rows = _by_picture(pairs.pictures, np.stack([weights * (above & pairs.true), weights * above], 1))

    def share(drawn: Numbers) -> float:
        right, taken = drawn.sum(0)
        return float(right / taken) if taken else 1.0

    taken = bool(above.any())
    interval = bootstrap_interval(rows, share, SAMPLES) if taken else None
    return Wanted(precision, cut(found, said, pairs.true, weights), share(rows) if taken else None, interval)


def _figure(
    measure: Callable[[Numbers, NDArray[np.bool_]], float], before: Numbers, after: Numbers, pairs: ScoredPairs
) -> Figure:
    _, of = np.unique(pairs.pictures, return_inverse=True)
    groups = np.split(np.argsort(of, kind="stable"), np.cumsum(np.bincount(of))[:-1])
    every = np.arange(len(groups), dtype=np.float64)

    def interval(statistic: Callable[[NDArray[np.int64]], float]) -> tuple[float, float]:
        return bootstrap_interval(
            every, lambda drawn: statistic(np.concatenate([groups[int(one)] for one in drawn])), SAMPLES
        )

    def value(said: Numbers, which: NDArray[np.int64]) -> float:
        return measure(said[which], pairs.true[which])

    whole = np.arange(len(before))
    return Figure(
        value(before, whole),
        interval(lambda which: value(before, which)),
        value(after, whole),
        interval(lambda which: value(after, which)),
        value(before, whole) - value(after, whole),
        interval(lambda which: value(before, which) - value(after, which)),
    )


def _by_picture(pictures: Sequence[str], rows: Numbers) -> Numbers:
    """The sums of the rows of each picture."""
    _, of = np.unique(pictures, return_inverse=True)
    return np.stack([np.bincount(of, column) for column in rows.T], 1)


def _some(count: int, most: int = 400) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _shown(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _precision(one: Cut) -> str:
    return "-" if one.precision is None else f"{one.precision:.3f}"


def wanted_line(wanted: Wanted) -> str:
    """For people: the threshold for a precision, and what it is worth."""
    if wanted.cut is None:
        return f"precision {wanted.precision:g}: no threshold reaches it on these pairs"
    apart = ""
    if wanted.reached is not None and wanted.reached_interval is not None:
        apart = f"; chosen so on other pairs, precision {_shown(wanted.reached, wanted.reached_interval)}"
    return (
        f"precision {wanted.precision:g}: threshold {wanted.cut.threshold:.4f}, recall {wanted.cut.recall:.3f}{apart}"
    )


def page_body(report: CalibrationReport, name: str) -> str:
    """The page's HTML."""
    figures = "".join(
        f"<tr><td>{escape(what)}</td><td class=number>{_shown(one.before, one.before_interval)}</td>"
        f"<td class=number>{_shown(one.after, one.after_interval)}</td>"
        f"<td class=number>{_shown(one.gain, one.gain_interval)}</td></tr>"
        for what, one in report.figures.items()
    )
    rows = "".join(
        f"<tr><td>{one.threshold:g}</td><td class=number>{_precision(one)}</td><td class=number>{one.recall:.3f}</td>"
        f"<td class=number>{one.taken:.3f}</td></tr>"
        for one in report.cuts
    )
    wanted = "" if report.wanted is None else f"<p>{escape(wanted_line(report.wanted))}</p>"
    return (
        f"<h1>Calibration</h1><p class=soft>{escape(name)}: {report.pairs:,} labelled pairs of {report.pictures:,} "
        f"pictures, {report.matches:,} of which belong together. Taken: {report.kind}. Every figure is of pairs whose "
        f"pictures took no part in the fit that it measures.</p>"
        "<section><h2>Before and after</h2><p class=soft>The lower the better; in brackets the 95 % interval, by "
        "resampling pictures. Of few pairs an ECE is above 0 by chance alone.</p><div style='overflow-x:auto'><table>"
        "<tr><th></th><th class=number>before</th><th class=number>after</th><th class=number>gain</th></tr>"
        f"{figures}</table></div></section>"
        f"<section><h2>Curves</h2><div class=charts>{''.join(f'<div>{one}</div>' for one in _charts(report))}</div>"
        "</section>"
        f"<section><h2>Where to cut</h2><p class=soft>Where {report.prior:.3g} of all pairs are matches; a pair is "
        f"taken strictly above the threshold.</p>{wanted}<table><tr><th>threshold</th><th class=number>precision</th>"
        f"<th class=number>recall</th><th class=number>taken</th></tr>{rows}</table></section>"
    )


def _charts(report: CalibrationReport) -> list[str]:
    diagram = {name: [(x, y) for x, y, _ in table] for name, table in report.diagram.items()}
    return [
        chart("Share true, by probability said", {"as said": [(0, 0), (1, 1)], **diagram}),
        chart(
            "By the threshold",
            {
                "precision": [(one.threshold, one.precision) for one in report.grid if one.precision is not None],
                "recall": [(one.threshold, one.recall) for one in report.grid],
            },
        ),
        chart("Precision, by recall", {"": [(x, y) for x, y in report.curve]}),
    ]
