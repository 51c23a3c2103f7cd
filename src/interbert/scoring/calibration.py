"""Matching margins -> probabilities (A.4's score, made to mean something): two ways to fit them, and one kept in a run.

A margin is the logit of "belong together" less the other. A calibration is a strictly increasing function from margins
to logits, so no order of scores ever changes. The probabilities are those of the base rate that it is for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from interbert.draws import generator_for
from interbert.errors import InterbertError
from interbert.files import sha256_of, write_json
from interbert.metrics import log_loss

FILE = "calibration.json"
FORMAT = 1
TAIL = 1e-3  # slope beyond the last knots of an isotonic fit: it keeps the order and says nothing more
Numbers = NDArray[np.float64]
Truth = NDArray[np.bool_]


@dataclass(frozen=True)
class Calibration:
    """Knots joined by straight lines, from margins to logits; beyond the first and the last one goes on with `slope`.

    margins, logits: [K], each strictly increasing.  base_rate: the share of matches among the pairs of the fit.
    prior: the share for which the probabilities are; another one than base_rate moves every logit alike.
    weights_sha256: of the model it was fitted to.  about: JSON values that say where it is from.
    """

    kind: str
    margins: tuple[float, ...]
    logits: tuple[float, ...]
    slope: float
    base_rate: float = 0.5
    prior: float = 0.5
    weights_sha256: str = ""
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (0 < self.base_rate < 1 and 0 < self.prior < 1):
            raise ValueError(f"got base_rate {self.base_rate} and prior {self.prior}, wanted both between 0 and 1")
        numbers = np.array([*self.margins, *self.logits, self.slope])
        rising = all((np.diff(of) > 0).all() for of in (self.margins, self.logits))
        if not (len(self.margins) == len(self.logits) > 0 and np.isfinite(numbers).all() and rising and self.slope > 0):
            raise ValueError("got knots that do not rise, or do not fit each other; wanted a strictly increasing line")

    def calibrated_logits(self, margins: ArrayLike) -> Numbers:
        """float64, of the shape of `margins`: the logits of the probabilities."""
        at = np.asarray(margins, np.float64)
        inside = np.interp(at, self.margins, self.logits)
        beyond = np.minimum(at - self.margins[0], 0) + np.maximum(at - self.margins[-1], 0)
        return np.asarray(inside + self.slope * beyond + logit(self.prior) - logit(self.base_rate))

    def probabilities(self, margins: ArrayLike) -> Numbers:
        """float64 in 0..1, of the shape of `margins`.

        >>> Calibration("line", (0.0,), (0.0,), 1.0, base_rate=0.5, prior=0.2).probabilities([0.0]).round(6).tolist()
        [0.2]
        """
        return sigmoid(self.calibrated_logits(margins))

    def save(self, run: Path) -> None:
        """Writes `calibration.json` into a run's folder."""
        write_json(run / FILE, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, run: Path) -> Calibration | None:
        """That of a run's folder, None where it has none.

        Raises InterbertError where the file is broken, or was made for other weights than the run's.
        """
        path = run / FILE
        if not path.is_file():
            return None
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            if value.pop("format") != FORMAT:
                raise ValueError(f"it is of another format than {FORMAT}")
            found = cls(**value)
            found = replace(found, margins=tuple(found.margins), logits=tuple(found.logits))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InterbertError(
                f"'{path}' is no calibration ({error}); remove it, or calibrate the run again"
            ) from error
        if found.weights_sha256 != sha256_of(run / "model.safetensors"):
            raise InterbertError(
                f"'{path}' was fitted to other weights than the run has now, so its probabilities are not theirs; run  "
                f"interbert calibrate  again, or read the raw scores (--raw, or load(…, calibrated=False))"
            )
        return found


RAW = Calibration("as it is", (0.0,), (0.0,), 1.0)  # the score as the model gives it


def as_it_is(margins: Numbers, true: Truth) -> Calibration:
    """The score as the model gives it, taken to be for the pairs' base rate."""
    return replace(RAW, base_rate=_rate(true), prior=_rate(true))


def line(margins: Numbers, true: Truth) -> Calibration:
    """Platt's: logit = a margin + b, a temperature and a bias, of the greatest likelihood.

    margins: [N].  true: [N], which pairs are matches. The targets are Platt's, a little inside 0 and 1, so that pairs
    which are wholly told apart have a fit too. Raises InterbertError where higher margins are matches less often.
    """
    matches, others = int(true.sum()), int((~true).sum())
    wanted = np.where(true, (matches + 1) / (matches + 2), 1 / (others + 2))
    middle, unit = float(margins.mean()), float(margins.std()) or 1.0
    slope, offset = _most_likely((margins - middle) / unit, wanted)
    if not slope > 0:
        raise InterbertError(
            "of the labelled pairs, those with higher scores are matches no more often than the rest, so no threshold "
            "is worth anything; look at the labels (1: text and picture belong together), or train more"
        )
    return Calibration("line", (0.0,), (offset - slope * middle / unit,), slope / unit, _rate(true), _rate(true))


def _most_likely(numbers: Numbers, wanted: Numbers) -> tuple[float, float]:
    """(a, b) of the greatest likelihood of sigmoid(a x + b), by Newton's steps, halved where they do not gain."""
    rows = np.stack([numbers, np.ones(len(numbers))], 1)
    fitted = np.array([0.0, logit(wanted.mean())])
    for _ in range(100):
        said = sigmoid(rows @ fitted)
        curvature = rows.T @ (rows * (said * (1 - said))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, rows.T @ (said - wanted))
        now = _cross_entropy(rows @ fitted, wanted)
        while np.abs(step).max() > 1e-9 and _cross_entropy(rows @ (fitted - step), wanted) > now:
            step /= 2
        fitted = fitted - step
        if np.abs(step).max() < 1e-9:
            break
    return float(fitted[0]), float(fitted[1])


def isotonic(margins: Numbers, true: Truth) -> Calibration:
    """The increasing steps of the greatest likelihood (pool adjacent violators), their middles joined.

    Joined, they rise strictly: no two margins get one probability (centred isotonic regression; Oron and Flournoy,
    2017). A made-up match below all margins and a made-up miss above keep every probability off 0 and 1.
    """
    ends = [margins.min(), margins.max()]
    values, of = np.unique(np.concatenate([margins, ends]), return_inverse=True)
    counts = np.bincount(of).astype(np.float64)
    matches = np.bincount(of, np.concatenate([true, [True, False]])).astype(np.float64)
    blocks = pooled(matches, counts)
    starts = np.cumsum(blocks[:, 0].astype(np.int64)) - blocks[:, 0].astype(np.int64)
    middles = np.add.reduceat(counts * values, starts) / np.add.reduceat(counts, starts)
    knots = tuple(middles.tolist()), tuple(logit(blocks[:, 1]).tolist())
    return Calibration("isotonic", *knots, TAIL, _rate(true), _rate(true))


def pooled(sums: Numbers, counts: Numbers) -> Numbers:
    """Pool adjacent violators: float64 [K, 2], of each block how many entries it has and its mean; the means rise.

    sums, counts: [N], of each entry the sum of what is averaged and its weight, above 0.

    >>> pooled(np.array([1.0, 0.0, 2.0]), np.array([1.0, 1.0, 2.0])).tolist()
    [[2.0, 0.5], [1.0, 1.0]]
    """
    blocks: list[list[float]] = []  # entries, sum, weight
    for total, count in zip(sums.tolist(), counts.tolist(), strict=True):
        blocks.append([1, total, count])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            last = blocks.pop()
            blocks[-1] = [one + other for one, other in zip(blocks[-1], last, strict=True)]
    return np.array([[entries, total / count] for entries, total, count in blocks])


KINDS: dict[str, Callable[[Numbers, Truth], Calibration]] = {"as it is": as_it_is, "line": line, "isotonic": isotonic}


def fitted_apart(kind: str, margins: Numbers, true: Truth, folds: NDArray[np.int64]) -> Numbers:
    """The probability of each pair by a fit that did not see its fold: float64 [N]. folds: [N], from 0."""
    found = np.empty(len(margins))
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        found[out] = KINDS[kind](margins[~out], true[~out]).probabilities(margins[out])
    return found


def chosen(margins: Numbers, true: Truth, folds: NDArray[np.int64]) -> tuple[Calibration, dict[str, float]]:
    """The kind of the lowest log loss on pairs that its fit did not see, fitted to all; and the loss of each kind."""
    losses = {kind: log_loss(fitted_apart(kind, margins, true, folds), true) for kind in KINDS}
    best = min(losses, key=lambda kind: losses[kind])
    return KINDS[best](margins, true), losses


def folds_of(groups: Sequence[Any], true: Truth, count: int, seed: int = 0) -> NDArray[np.int64]:
    """A fold from 0 for each pair: those of one group (a picture) share one, and every fold has matches and others.

    groups: [N].  Raises InterbertError where there are too few of either for that.
    """
    names, of = np.unique(np.asarray(groups), return_inverse=True)
    order = torch.randperm(len(names), generator=generator_for(seed, "folds")).numpy()
    found = np.asarray(order[of] % count, np.int64)
    for label, what in ((True, "belong together"), (False, "do not")):
        if len(np.unique(found[true == label])) < count:
            raise InterbertError(
                f"of {len(true)} labelled pairs of {len(names)} pictures, {int((true == label).sum())} {what}; wanted "
                f"some in each of {count} parts that share no picture: give more pairs"
            )
    return found


def logit(probability: Any) -> Any:
    """log(p / (1 - p)), of a number or an array."""
    return np.log(probability) - np.log1p(-probability)


def sigmoid(logits: Numbers) -> Numbers:
    """1 / (1 + exp(-x)) without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)))


def _rate(true: Truth) -> float:
    return float(true.mean())


def _cross_entropy(logits: Numbers, wanted: Numbers) -> float:
    return float((np.logaddexp(0, logits) - wanted * logits).mean())
