"""Are scores probabilities? Brier score with its decomposition, expected calibration error, reliability curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from audit_lab.evaluate.intervals import ActorBootstrap, Rate, exact

MIN_PER_BIN = 5
MIN_ACTORS = 2


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


@dataclass(frozen=True)
class ProbabilityFigures:
    """How good scores are as probabilities: Brier score and calibration error with intervals over actors, their parts, the curve."""

    brier: Rate
    calibration_error: Rate
    parts: Brier | None
    curve: pl.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        parts = vars(self.parts) if self.parts else {}
        return {
            "brier": self.brier.as_dict() | {name: parts.get(name) for name in ("reliability", "resolution", "uncertainty", "within")},
            "calibration_error": self.calibration_error.as_dict(), "reliability_curve": self.curve.to_dicts(),
        }


def probability_figures(
    positive: np.ndarray, scores: np.ndarray, draw: ActorBootstrap, n_bins: int = 10, unit: str = "sessions",
    among: np.ndarray | None = None,
) -> ProbabilityFigures:
    """Return Brier score, calibration error and reliability curve of scores, with intervals that resample actors.

    Parameters
    ----------
    positive, scores
        Outcome and score (0–1) of each session or case.
    draw
        Resamples of actors over the same sessions or cases.
    n_bins, unit
        Bins of equal mass, made once from all data; what is counted, for reasons.
    among
        Which of them count; all when None.

    Returns
    -------
    ProbabilityFigures. The interval of the calibration error is that of resampled errors, which lie above the true one where bins are
    small: its lower end may lie above 0 for a perfect judge.
    """
    inside = np.ones(scores.size, dtype=bool) if among is None else among
    hits, values = positive[inside], scores[inside]
    error = calibration_error(hits, values, n_bins)
    if error is None:
        nothing = Rate(None, None, None, 0, f"no {unit}")
        return ProbabilityFigures(nothing, nothing, None, reliability_curve(hits, values, n_bins, draw.confidence))
    squared = np.where(inside, (scores - positive) ** 2, 0.0)
    bins = equal_mass_bins(values, n_bins)
    codes = draw.codes[inside]
    # Per actor and bin: the sum of score − outcome. A resample's error is the sum of its absolute values over its size.
    gaps = np.zeros((draw.n_actors, int(bins.max()) + 1))
    np.add.at(gaps, (codes, bins), values - hits)
    size = np.bincount(codes, minlength=draw.n_actors)
    if int((size > 0).sum()) < MIN_ACTORS:
        bounded = Rate(error, None, None, int(values.size), f"all {unit} come from one actor: no interval over actors")
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = np.abs(draw.weights.astype(float) @ gaps).sum(axis=1) / (draw.weights @ size)
        bounded = draw.interval(error, drawn, int(values.size))
    return ProbabilityFigures(
        draw.ratio(squared, inside.astype(float), unit), bounded, brier(hits, values, n_bins),
        reliability_curve(hits, values, n_bins, draw.confidence),
    )


def unscored_probability(n: int, reason: str) -> ProbabilityFigures:
    """Return the figures of a scorer that scored nothing: null with a reason, never 0."""
    null = Rate(None, None, None, n, reason)
    nothing = np.zeros(0)
    return ProbabilityFigures(null, null, None, reliability_curve(nothing.astype(bool), nothing))


def _per_bin(bins: np.ndarray, scores: np.ndarray, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = np.bincount(bins)
    return size, np.bincount(bins, weights=scores) / size, np.bincount(bins, weights=outcome) / size
