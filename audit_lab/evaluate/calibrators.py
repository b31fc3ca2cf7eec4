"""From scores to probabilities, learnt from labels of earlier time.

Four methods, chosen by the number of labels, because the flexible ones overfit where labels are few:

| labels | method | source |
|---|---|---|
| below the floors | none: scores and the prior threshold stay | |
| up to 200 | Platt: logistic in the score's log-odds, with Platt's targets | Platt 1999; Lin, Lin & Weng 2007 |
| up to 1,000 | beta: logistic in ln s and −ln(1 − s), slopes not negative | Kull, Silva Filho & Flach 2017 |
| up to 5,000 | Venn–Abers: two isotonic fits, one for each answer the new case may have | Vovk, Petej & Fedorova 2015 |
| above | isotonic: what Venn–Abers comes to with many labels | Zadrozny & Elkan 2002 |

Every one is monotone: calibration changes what a score means, never who comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
import polars as pl
import scipy

from audit_lab.errors import InputError

Method = Literal["platt", "beta", "venn_abers", "isotonic"]
MIN_LABELS = 40
MIN_PER_CLASS = 10
# A score of exactly 0 or 1 has no log-odds.
EPSILON = 1e-6
# Venn–Abers refits at every distinct score: more than this many are first joined to bins of equal mass.
MAX_KNOTS = 400


@dataclass(frozen=True)
class Calibrator:
    """A fitted map from score to probability, plain numbers only: kept as JSON, never pickled.

    `knots` and `values` are its parameters: coefficients for platt and beta, steps for isotonic and venn_abers. `low` and
    `high` are the two Venn–Abers answers between which the probability lies.
    """

    method: Method
    knots: tuple[float, ...]
    values: tuple[float, ...]
    n: int
    positives: int
    low: tuple[float, ...] = field(default=())
    high: tuple[float, ...] = field(default=())

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Return the probability of each score; monotone, between 0 and 1."""
        values = np.asarray(scores, dtype=float)
        if self.method == "platt":
            return np.asarray(scipy.special.expit(self.values[0] * _log_odds(values) + self.values[1]))
        if self.method == "beta":
            clipped = np.clip(values, EPSILON, 1 - EPSILON)
            rising, falling, constant = self.values
            return np.asarray(scipy.special.expit(rising * np.log(clipped) - falling * np.log1p(-clipped) + constant))
        if self.method == "isotonic":
            return np.interp(values, self.knots, self.values)
        return np.asarray(self.values)[self._position(values)]

    def bounds(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the two Venn–Abers probabilities of each score, lower first; None for the other methods."""
        if self.method != "venn_abers":
            return None
        at = self._position(np.asarray(scores, dtype=float))
        return np.asarray(self.low)[at], np.asarray(self.high)[at]

    def _position(self, scores: np.ndarray) -> np.ndarray:
        """Return the place of each score among the knots: even = between two of them, odd = on one."""
        right = np.searchsorted(self.knots, scores, side="right")
        left = np.searchsorted(self.knots, scores, side="left")
        return np.asarray(left + right)

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibrator:
        """Build it again from `as_dict`."""
        parts: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**parts)


@dataclass(frozen=True)
class Calibration:
    """A calibrator, or the reason why there is none and the scores stay as they are."""

    calibrator: Calibrator | None
    n: int
    positives: int
    reason: str | None = None


def fit_calibrator(labelled: pl.DataFrame, before: datetime, method: Method | Literal["auto"] = "auto") -> Calibration:
    """Learn what scores mean from labels of earlier time.

    Parameters
    ----------
    labelled
        Frame with score (0–1), malicious (bool) and time (when the session ended), one row per labelled session.
    before
        Only sessions that ended before this time are used (law 9): give the start of what will be scored.
    method
        One of the four, or auto: by number of labels.

    Returns
    -------
    Calibration. Below 40 labels, or 10 of either class, there is none, with the reason.

    Raises
    ------
    InputError
        When the method is unknown or a score lies outside 0–1.
    """
    earlier = labelled.filter(pl.col("time") < before)
    scores, positive = earlier["score"].to_numpy().astype(float), earlier["malicious"].to_numpy().astype(bool)
    n, positives = int(positive.size), int(positive.sum())
    if n < MIN_LABELS or min(positives, n - positives) < MIN_PER_CLASS:
        return Calibration(None, n, positives, (
            f"{n} labels before {before:%Y-%m-%d %H:%M}, {positives} of them malicious; "
            f"{MIN_LABELS} are needed, {MIN_PER_CLASS} of each kind: scores and threshold stay as they are"
        ))
    if np.isnan(scores).any() or (scores < 0).any() or (scores > 1).any():
        raise InputError("scores outside 0–1 cannot be calibrated", "scale them first")
    chosen = method_for(n) if method == "auto" else method
    fits = {"platt": _platt, "beta": _beta, "venn_abers": _venn_abers, "isotonic": _isotonic}
    if chosen not in fits:
        raise InputError(f"no calibration method '{chosen}'", f"one of: auto, {', '.join(fits)}")
    return Calibration(fits[chosen](scores, positive), n, positives)


def method_for(n: int) -> Method:
    """Return the method for a number of labels.

    >>> [method_for(n) for n in (50, 500, 2000, 9000)]
    ['platt', 'beta', 'venn_abers', 'isotonic']
    """
    if n <= 200:
        return "platt"
    if n <= 1000:
        return "beta"
    return "venn_abers" if n <= 5000 else "isotonic"


def _log_odds(scores: np.ndarray) -> np.ndarray:
    clipped = np.clip(scores, EPSILON, 1 - EPSILON)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _logistic(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Fit a logistic regression whose slopes are not negative; the last coefficient is the constant."""
    design = np.column_stack([features, np.ones(len(features))])

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        linear = design @ coefficients
        return float((np.logaddexp(0, linear) - targets * linear).sum()), design.T @ (scipy.special.expit(linear) - targets)

    start = np.zeros(design.shape[1])
    start[:-1] = 0.1
    limits = [(0.0, None)] * features.shape[1] + [(None, None)]
    found = scipy.optimize.minimize(
        loss, start, jac=True, bounds=limits, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-9}
    )
    return np.asarray(found.x)


def _platt(scores: np.ndarray, positive: np.ndarray) -> Calibrator:
    # Platt's targets keep a separable sample from claiming certainty.
    up, down = int(positive.sum()), int((~positive).sum())
    targets = np.where(positive, (up + 1) / (up + 2), 1 / (down + 2))
    coefficients = _logistic(_log_odds(scores)[:, None], targets)
    return Calibrator("platt", (), tuple(map(float, coefficients)), int(positive.size), up)


def _beta(scores: np.ndarray, positive: np.ndarray) -> Calibrator:
    up, down = int(positive.sum()), int((~positive).sum())
    targets = np.where(positive, (up + 1) / (up + 2), 1 / (down + 2))
    clipped = np.clip(scores, EPSILON, 1 - EPSILON)
    coefficients = _logistic(np.column_stack([np.log(clipped), -np.log1p(-clipped)]), targets)
    return Calibrator("beta", (), tuple(map(float, coefficients)), int(positive.size), up)


def _grouped(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    knots, codes = np.unique(scores, return_inverse=True)
    weight = np.bincount(codes).astype(float)
    return knots, np.bincount(codes, weights=positive.astype(float)) / weight, weight


def _isotonic(scores: np.ndarray, positive: np.ndarray) -> Calibrator:
    knots, share, weight = _grouped(scores, positive)
    fitted = scipy.optimize.isotonic_regression(share, weights=weight).x
    return Calibrator("isotonic", tuple(map(float, knots)), tuple(map(float, fitted)), int(positive.size), int(positive.sum()))


def _venn_abers(scores: np.ndarray, positive: np.ndarray) -> Calibrator:
    if np.unique(scores).size > MAX_KNOTS:
        ends = np.unique(np.quantile(scores, np.linspace(0, 1, MAX_KNOTS + 1)[1:], method="higher"))
        scores = ends[np.searchsorted(ends, scores, side="left")]
    knots, share, weight = _grouped(scores, positive)
    answers: list[list[float]] = [[], []]
    for place in range(2 * knots.size + 1):
        for answer in (0, 1):
            answers[answer].append(_with_one_more(share, weight, place, float(answer)))
    low, high = np.maximum.accumulate(answers[0]), np.maximum.accumulate(answers[1])
    merged = high / (1 - low + high)
    return Calibrator(
        "venn_abers", tuple(map(float, knots)), tuple(map(float, merged)), int(positive.size), int(positive.sum()),
        tuple(map(float, low)), tuple(map(float, high)),
    )


def _with_one_more(share: np.ndarray, weight: np.ndarray, place: int, answer: float) -> float:
    """Return the isotonic value at `place` when one more case with this answer stood there; odd = on a knot, even = between."""
    knot = place // 2
    if place % 2:
        weights = weight.copy()
        weights[knot] += 1
        values = share.copy()
        values[knot] = (share[knot] * weight[knot] + answer) / weights[knot]
    else:
        weights = np.insert(weight, knot, 1.0)
        values = np.insert(share, knot, answer)
    return float(scipy.optimize.isotonic_regression(values, weights=weights).x[knot])
