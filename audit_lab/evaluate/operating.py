"""Operating points: what a threshold gives and costs, before one is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from audit_lab.errors import InputError
from audit_lab.evaluate.confusion import MALICIOUS
from audit_lab.evaluate.incidents import IncidentMap
from audit_lab.evaluate.intervals import ActorBootstrap, Rate

MIN_ACTORS = 2


def precision_at_prevalence(classes: np.ndarray, flagged: np.ndarray, prevalence: float, draw: ActorBootstrap) -> Rate:
    """Return the precision that the same recall and false-positive rate give at another share of malicious sessions.

    A recording is dense in attacks; a cluster is not. By Bayes: recall·π / (recall·π + fpr·(1 − π)). The interval
    resamples actors; where no benign session was flagged, the exact upper end of the false-positive rate bounds it below.

    Parameters
    ----------
    classes, flagged
        Class and flag of each session.
    prevalence
        Share of malicious sessions that is assumed, between 0 and 1.
    draw
        Resamples of actors over the same sessions.
    """
    if not 0 < prevalence < 1:
        raise InputError(f"a prevalence of {prevalence:g}", "give a share between 0 and 1, e.g. 0.001")
    malicious = classes == MALICIOUS
    recall = draw.rate(flagged, malicious, "malicious sessions")
    fpr = draw.rate(flagged, ~malicious, "sessions that are not malicious")
    n = int(malicious.size)
    if recall.value is None or fpr.value is None:
        return Rate(None, None, None, n, recall.reason or fpr.reason)
    if not flagged.any():
        return Rate(None, None, None, n, "no flagged sessions")
    value = _bayes(recall.value, fpr.value, prevalence)
    if recall.low is None or recall.high is None or fpr.low is None or fpr.high is None:
        return Rate(value, None, None, n, recall.reason or fpr.reason)
    if fpr.value in (0.0, 1.0) or recall.value in (0.0, 1.0):
        # The bootstrap is silent about a rate without variation: combine the worst and the best ends instead.
        return Rate(value, min(value, _bayes(recall.low, fpr.high, prevalence)), max(value, _bayes(recall.high, fpr.low, prevalence)), n)
    counts = np.column_stack([draw.per_actor(mask) for mask in (flagged & malicious, malicious, flagged & ~malicious, ~malicious)])
    drawn = draw.weights @ counts
    with np.errstate(invalid="ignore", divide="ignore"):
        hit, false = drawn[:, 0] / drawn[:, 1], drawn[:, 2] / drawn[:, 3]
        resampled = hit * prevalence / (hit * prevalence + false * (1 - prevalence))
    return draw.interval(value, resampled, n)


def _bayes(recall: float, fpr: float, prevalence: float) -> float:
    above = recall * prevalence
    below = above + fpr * (1 - prevalence)
    return above / below if below else 0.0


def fpr_at_recall(classes: np.ndarray, scores: np.ndarray, recall: float, draw: ActorBootstrap) -> tuple[float | None, Rate]:
    """Return the highest threshold that reaches `recall` over malicious sessions, and the false-positive rate there."""
    malicious = classes == MALICIOUS
    if not malicious.any():
        return None, Rate(None, None, None, int((~malicious).sum()), "no malicious sessions")
    wanted = max(int(np.ceil(recall * malicious.sum() - 1e-9)), 1)
    threshold = float(np.sort(scores[malicious])[::-1][wanted - 1])
    return threshold, draw.rate(scores >= threshold, ~malicious, "sessions that are not malicious")


def at_budget(classes: np.ndarray, scores: np.ndarray, n_alerts: int, draw: ActorBootstrap) -> dict[str, Any]:
    """Return recall and precision when at most `n_alerts` sessions are flagged, from the highest score down.

    Sessions with equal scores are flagged together or not at all; `flagged` says how many were.
    """
    if n_alerts < 0:
        raise InputError(f"a budget of {n_alerts} alerts", "give 0 or more")
    threshold = budget_threshold(scores[np.isfinite(scores)], n_alerts)  # -inf: no threshold can flag it
    flagged = scores >= threshold
    malicious = classes == MALICIOUS
    return {
        "budget": n_alerts, "threshold": float(threshold) if np.isfinite(threshold) else None, "flagged": int(flagged.sum()),
        "recall": draw.rate(flagged, malicious, "malicious sessions"), "precision": draw.rate(malicious, flagged, "flagged sessions"),
    }


def budget_threshold(scores: np.ndarray, n_alerts: int) -> float:
    """Return the lowest threshold at which at most `n_alerts` sessions are flagged; +inf when ties allow none.

    >>> budget_threshold(np.array([0.9, 0.5, 0.5]), 2)
    0.9
    """
    values, counts = np.unique(scores, return_counts=True)
    enough = np.flatnonzero(counts[::-1].cumsum() <= n_alerts)
    return float(values[::-1][enough[-1]]) if enough.size else float("inf")


def threshold_sweep(
    classes: np.ndarray,
    scores: np.ndarray,
    shown: np.ndarray,
    incidents: IncidentMap,
    draw: ActorBootstrap,
    thresholds: np.ndarray | None = None,
) -> pl.DataFrame:
    """Compute the figures at many thresholds from stored scores; nothing upstream runs again.

    Parameters
    ----------
    classes, scores, shown
        Class, score and whether it can be flagged, for each session.
    incidents
        Map of incidents over the same sessions.
    draw
        Resamples of actors over the same sessions.
    thresholds
        Thresholds to look at; 0, 0.01 … 1 when none.

    Returns
    -------
    Frame, one row per threshold, ascending: threshold, flagged, tp, fp, recall, fpr, precision each with _low and
    _high (95 % or as `draw` says, percentile over actors), incidents_found, incidents. Null where undefined. The bounds are those of the
    bootstrap alone: at a rate of exactly 0 or 1 see `ActorBootstrap.rate`.
    """
    marks = np.linspace(0, 1, 101) if thresholds is None else np.sort(np.asarray(thresholds, dtype=float))
    reachable = np.where(shown, scores, -np.inf)
    malicious = classes == MALICIOUS
    # First mark that a session does not reach: it is flagged at all marks before that one.
    steps = np.searchsorted(marks, reachable, side="right")
    tp, fp = (flagged_per_actor(steps, mask, draw, marks.size) for mask in (malicious, ~malicious))
    counts = {"tp": tp.sum(axis=0), "fp": fp.sum(axis=0)}
    positives, negatives = draw.per_actor(malicious), draw.per_actor(~malicious)
    drawn_tp, drawn_fp = draw.weights @ tp, draw.weights @ fp
    best = incidents.best(reachable)[incidents.malicious]
    columns: dict[str, Any] = {
        "threshold": marks, "flagged": (counts["tp"] + counts["fp"]).astype(np.int64),
        "tp": counts["tp"].astype(np.int64), "fp": counts["fp"].astype(np.int64),
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        for name, value, drawn, actors in (
            ("recall", counts["tp"] / positives.sum(), drawn_tp / (draw.weights @ positives)[:, None], (positives > 0).sum()),
            ("fpr", counts["fp"] / negatives.sum(), drawn_fp / (draw.weights @ negatives)[:, None], (negatives > 0).sum()),
            ("precision", counts["tp"] / (counts["tp"] + counts["fp"]), drawn_tp / (drawn_tp + drawn_fp), ((tp + fp) > 0).sum(axis=0)),
        ):
            low, high = _percentiles(drawn, draw.confidence)
            known = np.asarray(actors) >= MIN_ACTORS
            columns[name] = value
            columns[f"{name}_low"] = np.where(known, np.minimum(low, value), np.nan)
            columns[f"{name}_high"] = np.where(known, np.maximum(high, value), np.nan)
    columns["incidents_found"] = (best[None, :] >= marks[:, None]).sum(axis=1).astype(np.int64)
    columns["incidents"] = np.full(marks.size, best.size, dtype=np.int64)
    return pl.DataFrame(columns).with_columns(pl.selectors.float().fill_nan(None))


def flagged_per_actor(steps: np.ndarray, mask: np.ndarray, draw: ActorBootstrap, n_marks: int) -> np.ndarray:
    """Return how many sessions of `mask` each actor has flagged at each threshold (actors × thresholds)."""
    flat = draw.codes[mask] * (n_marks + 1) + steps[mask]
    reached = np.bincount(flat, minlength=draw.n_actors * (n_marks + 1)).reshape(draw.n_actors, n_marks + 1)
    # steps = s means: at or above the marks 0 … s-1. So mark j is reached by all with steps > j.
    return reached[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:].astype(np.float32)


def _percentiles(drawn: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    tail = (1 - confidence) / 2
    ordered = np.sort(drawn, axis=0)  # nan last
    defined = np.isfinite(ordered).sum(axis=0)
    columns = np.arange(drawn.shape[1])
    ends = []
    for share in (tail, 1 - tail):
        place = np.clip(share * (defined - 1), 0, None)
        below, above = np.floor(place).astype(int), np.ceil(place).astype(int)
        ends.append(ordered[below, columns] + (place - below) * (ordered[above, columns] - ordered[below, columns]))
    few = defined < drawn.shape[0] / 2
    return np.where(few, np.nan, ends[0]), np.where(few, np.nan, ends[1])
