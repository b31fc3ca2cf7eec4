"""Figures that need no threshold, or choose it themselves: average precision, its curve, the share let through."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy

from audit_lab.evaluate.intervals import ActorBootstrap, Rate

SHARES = (0.01, 0.02, 0.05, 0.10, 0.20)


def average_precision(positive: np.ndarray, scores: np.ndarray) -> float | None:
    """Return the area under the precision-recall steps, ties as one step (as scikit-learn does); None without positives.

    >>> average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]))
    0.8333333333333333
    """
    steps = precision_recall(positive, scores)
    if not positive.any():
        return None
    gained = np.diff(steps["recall"].to_numpy(), prepend=0.0)
    return float((gained * steps["precision"].to_numpy()).sum())


def precision_recall(positive: np.ndarray, scores: np.ndarray) -> pl.DataFrame:
    """Return precision and recall at each distinct score, from the highest down.

    Returns
    -------
    Frame with threshold, n_flagged (sessions at or above it), recall, precision; recall is 0 where there is no positive.
    """
    thresholds, codes = np.unique(scores, return_inverse=True)
    flagged = np.bincount(codes, minlength=thresholds.size)[::-1].cumsum()
    hits = np.bincount(codes, weights=positive.astype(float), minlength=thresholds.size)[::-1].cumsum()
    total = max(float(positive.sum()), 1.0)
    return pl.DataFrame({
        "threshold": thresholds[::-1].astype(float), "n_flagged": flagged.astype(np.int64),
        "recall": hits / total, "precision": hits / flagged,
    })


def average_precision_rate(positive: np.ndarray, scores: np.ndarray, draw: ActorBootstrap, unit: str = "malicious sessions") -> Rate:
    """Return the average precision with its interval over resampled actors; n = number of positives."""
    value = average_precision(positive, scores)
    n = int(positive.sum())
    if value is None:
        return Rate(None, None, None, 0, f"no {unit}")
    actors = int((draw.per_actor(positive) > 0).sum())
    if actors < 2:
        return Rate(value, None, None, n, f"all {unit} come from one actor: no interval over actors")
    return draw.interval(value, resampled_average_precision(positive, scores, draw), n)


def resampled_average_precision(positive: np.ndarray, scores: np.ndarray, draw: ActorBootstrap) -> np.ndarray:
    """Return the average precision in each resample; nan where a resample holds no positive.

    Only steps that hold a positive add to the sum, so each actor is reduced to its counts between these steps: all
    resamples are then two sparse matrix products.
    """
    steps = np.unique(scores[positive])[::-1]
    # Step of a session: the first positive's score that is not above its own; sessions below all steps change nothing.
    step = np.searchsorted(-steps, -scores, side="left")
    relevant = step < steps.size
    place = (step[relevant], draw.codes[relevant])
    shape = (steps.size, draw.n_actors)
    flagged = scipy.sparse.csr_array((np.ones(place[0].size, dtype=np.float32), place), shape=shape)
    hits = scipy.sparse.csr_array((positive[relevant].astype(np.float32), place), shape=shape)
    hits_drawn = (hits @ draw.weights.T).astype(float)
    flagged_drawn = (flagged @ draw.weights.T).astype(float).cumsum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(hits_drawn.cumsum(axis=0) / flagged_drawn)
        return np.asarray((hits_drawn * precision).sum(axis=0) / hits_drawn.sum(axis=0))


def threshold_at_share(scores: np.ndarray, malicious: np.ndarray, share: float) -> tuple[float | None, int]:
    """Return the lowest threshold that lets at most `share` of the non-malicious sessions through, and how many it lets.

    Sessions with equal scores pass together or not at all. None when even the highest score lets too many through.

    >>> threshold_at_share(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, False, False, False]), 0.5)
    (0.9, 0)
    """
    thresholds, codes = np.unique(scores, return_inverse=True)
    passed = np.bincount(codes, weights=(~malicious).astype(float), minlength=thresholds.size)[::-1].cumsum()
    allowed = int(np.floor(share * float((~malicious).sum()) + 1e-9))
    last = int(np.searchsorted(passed, allowed, side="right")) - 1
    if last < 0:
        return None, 0
    return float(thresholds[::-1][last]), int(passed[last])
