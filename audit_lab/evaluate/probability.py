"""Are scores probabilities? Brier score with its decomposition, expected calibration error, reliability curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from audit_lab.evaluate.intervals import exact

MIN_PER_BIN = 5


@dataclass(frozen=True)
class Brier:
    """Mean squared error of probabilities, taken apart (Murphy 1973, with the within-bin terms of Stephenson 2008).

    `score` = `reliability` − `resolution` + `uncertainty` + `within`, exactly. Reliability (lower is better): how far
    each bin's mean probability is from its share of positives. Resolution (higher is better): how far these shares are from
    the overall share. `within` is what grouping into bins leaves over: 0 where each bin holds one distinct score.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float
    n: int


def equal_mass_bins(scores: np.ndarray, n_bins: int) -> np.ndarray:
    """Return the bin of each score, from 0: bins of about the same number of scores, equal scores in one bin.

    Fewer bins come out where ties join them.

    >>> equal_mass_bins(np.array([0.1, 0.2, 0.2, 0.9]), 2).tolist()
    [0, 1, 1, 1]
    """
    if not scores.size:
        return np.zeros(0, dtype=np.int64)
    _, codes, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # A tied group goes where its middle falls: it belongs to one bin only.
    middle = counts.cumsum() - counts / 2
    placed = np.minimum((middle * n_bins / scores.size).astype(np.int64), n_bins - 1)
    return np.unique(placed, return_inverse=True)[1][codes]


def brier(positive: np.ndarray, scores: np.ndarray, n_bins: int = 10) -> Brier | None:
    """Return the Brier score and its parts over `n_bins` bins of equal mass; None without sessions.

    >>> parts = brier(np.array([True, False]), np.array([0.8, 0.4]))
    >>> round(parts.score, 2), round(parts.uncertainty, 2)
    (0.1, 0.25)
    """
    if not scores.size:
        return None
    outcome = positive.astype(float)
    bins = equal_mass_bins(scores, n_bins)
    size, mean_score, share = _per_bin(bins, scores, outcome)
    overall = outcome.mean()
    reliability = float((size * (mean_score - share) ** 2).sum() / scores.size)
    resolution = float((size * (share - overall) ** 2).sum() / scores.size)
    uncertainty = float(overall * (1 - overall))
    score = float(((scores - outcome) ** 2).mean())
    return Brier(score, reliability, resolution, uncertainty, score - (reliability - resolution + uncertainty), int(scores.size))


def calibration_error(positive: np.ndarray, scores: np.ndarray, n_bins: int = 10) -> float | None:
    """Return the expected calibration error with bins of equal mass (Nixon et al. 2019); None without sessions.

    The mean distance between a bin's mean score and its share of positives, weighted by the bin's size.
    """
    if not scores.size:
        return None
    size, mean_score, share = _per_bin(equal_mass_bins(scores, n_bins), scores, positive.astype(float))
    return float((size * np.abs(mean_score - share)).sum() / scores.size)


def reliability_curve(positive: np.ndarray, scores: np.ndarray, n_bins: int = 10, confidence: float = 0.95) -> pl.DataFrame:
    """Return how often what was called p came true.

    Returns
    -------
    Frame, one row per bin of equal mass: bin (from 0), score_low, score_high, mean_score, n, positives, share, and the exact
    interval low, high of the share. The three are null, with a `reason`, where a bin holds fewer than five sessions.
    """
    rows = []
    bins = equal_mass_bins(scores, n_bins)
    for number in range(int(bins.max()) + 1 if bins.size else 0):
        inside = bins == number
        n, hits = int(inside.sum()), int(positive[inside].sum())
        few = n < MIN_PER_BIN
        bound = exact(hits, n, confidence)
        rows.append({
            "bin": number, "score_low": float(scores[inside].min()), "score_high": float(scores[inside].max()),
            "mean_score": float(scores[inside].mean()), "n": n, "positives": hits, "share": None if few else bound.value,
            "low": None if few else bound.low, "high": None if few else bound.high,
            "reason": f"fewer than {MIN_PER_BIN} sessions" if few else None,
        })
    floats = ("score_low", "score_high", "mean_score", "share", "low", "high")
    order = ("bin", "score_low", "score_high", "mean_score", "n", "positives", "share", "low", "high", "reason")
    types = {name: pl.Float64 if name in floats else pl.String if name == "reason" else pl.Int64 for name in order}
    return pl.DataFrame(rows, schema=types)


def _per_bin(bins: np.ndarray, scores: np.ndarray, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = np.bincount(bins)
    return size, np.bincount(bins, weights=scores) / size, np.bincount(bins, weights=outcome) / size
