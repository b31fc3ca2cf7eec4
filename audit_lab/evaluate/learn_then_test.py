"""Learn then test: thresholds with a promise about any rate, also one that does not fall steadily as the threshold rises.

Angelopoulos, Bates, Candès, Jordan & Lei, "Learn then Test: calibrating predictive algorithms to achieve risk control" (2021). Each
threshold of a grid that was fixed beforehand has the null hypothesis "its rate is above the limit". From k wrong ones among n independent
units its p-value is P(Binomial(n, limit) ≤ k). Thresholds are tested in an order that was fixed beforehand as well, from the one that is
safest by construction, and testing ends with the first that is not rejected (fixed-sequence testing): all rejected ones keep
the promise together, with no correction for their number.

The order statistic of `neyman_pearson` is the special case of a rate that falls steadily; it needs no grid and is never worse there.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import scipy

from audit_lab.counting import counted
from audit_lab.errors import InputError
from audit_lab.evaluate.neyman_pearson import Promise, actor_maxima, needed_units, reachable_only, scorer_rows, too_few

# Fixed beforehand, as the method asks: 0, 0.005 … 1.
GRID = np.round(np.linspace(0, 1, 201), 3)
# Starting points where no end of the grid is safe by construction; each has an equal part of the allowed error (Bonferroni).
STARTS = 5


def binomial_p_value(wrong: np.ndarray, n: np.ndarray, limit: float) -> np.ndarray:
    """Return, for each threshold, the p-value of "the rate is above `limit`" from `wrong` of `n` independent units; 1 without units.

    >>> binomial_p_value(np.array([0, 1]), np.array([59, 59]), 0.05).round(3).tolist()
    [0.048, 0.199]
    """
    return np.where(n > 0, scipy.stats.binom.cdf(wrong, np.maximum(n, 1), limit), 1.0)


def passed_in_sequence(p_values: np.ndarray, error: float) -> int:
    """Return how many hypotheses are rejected when they are tested in the given order until the first that is not.

    >>> passed_in_sequence(np.array([0.01, 0.04, 0.2, 0.01]), 0.05)
    2
    """
    kept = np.flatnonzero(p_values > error)
    return int(kept[0]) if kept.size else int(p_values.size)


def calibrate_fpr(session_scores: pl.DataFrame, max_fpr: float, confidence: float, scorer: str = "all") -> Promise:
    """Choose the lowest threshold of the grid whose share of flagged benign actors is at most `max_fpr`; arguments as `calibrate`.

    Tested from the highest threshold downward.
    """
    rows = scorer_rows(session_scores, scorer)
    units = actor_maxima(rows.filter(pl.col("class") != "malicious"))["score"].to_numpy()
    flagged = (units[None, :] >= GRID[:, None]).sum(axis=1)
    made = _downward(flagged, np.full(GRID.size, units.size), max_fpr, confidence)
    return reachable_only(replace(made, kind="fpr", unit="actors", scorer=scorer))


def calibrate_recall(best: np.ndarray, min_recall: float, confidence: float, scorer: str = "all") -> Promise:
    """Choose the highest threshold at which the share of missed incidents is at most 1 − `min_recall`.

    Parameters
    ----------
    best
        The best score that each malicious incident's sessions reach; -inf where no threshold can find it
        (`IncidentMap.best` over reachable scores). Incidents are the independent units.
    min_recall, confidence
        Share to find at least, and the probability with which that holds.
    scorer
        Whose scores, for the record.

    Returns
    -------
    Promise over incidents. `limit` is the share that may be missed. Tested from the lowest threshold upward.

    >>> calibrate_recall(np.full(20, 0.8), 0.85, 0.95).threshold
    0.8
    """
    limit = round(1 - min_recall, 12)
    needed = needed_units(limit, confidence)
    n = int(best.size)
    missed = (best[None, :] < GRID[:, None]).sum(axis=1)
    p_values = binomial_p_value(missed, np.full(GRID.size, n), limit)
    passed = passed_in_sequence(p_values, 1 - confidence)
    made = Promise(None, limit, confidence, "malicious incidents", n, needed, None, None, kind="recall", method="learn then test",
                   scorer=scorer)
    if n < needed:
        return replace(made, reason=too_few(n, "malicious incidents", needed))
    if not passed:
        return replace(made, reason=f"{int(missed[0])} of {n} malicious incidents are found at no threshold: more would have to be found")
    at = passed - 1
    return replace(made, threshold=float(GRID[at]), violation=float(p_values[at]), observed=float(missed[at] / n))


def calibrate_precision(session_scores: pl.DataFrame, min_precision: float, confidence: float, scorer: str = "all") -> Promise:
    """Choose the lowest threshold at which the share of benign ones among the flagged actors is at most 1 − `min_precision`.

    Parameters
    ----------
    session_scores
        Frame of `Evaluation.session_scores`.
    min_precision, confidence, scorer
        Share of flagged actors that are to be malicious at least; as in `calibrate`.

    Returns
    -------
    Promise over flagged actors. This rate does not fall steadily, so an order statistic cannot promise it, and the highest thresholds
    flag too few actors to be safe by construction: testing goes downward from five places of the grid, each with a fifth of the
    allowed error.
    """
    limit = round(1 - min_precision, 12)
    rows = scorer_rows(session_scores, scorer)
    reachable = pl.when("shown").then("score").otherwise(-math.inf)
    units = rows.group_by("cluster", "actor").agg(
        score=reachable.max(), bad=(pl.col("class") == "malicious").any()).sort("cluster", "actor")
    scores, benign = units["score"].to_numpy(), ~units["bad"].to_numpy()
    above = scores[None, :] >= GRID[:, None]
    flagged, wrong = above.sum(axis=1), (above & benign[None, :]).sum(axis=1)
    error = (1 - confidence) / STARTS
    needed, most = needed_units(limit, 1 - error), int(flagged[0])
    made = Promise(None, limit, confidence, "flagged actors", most, needed, None, None, kind="precision", method="learn then test",
                   scorer=scorer)
    if most < needed:
        return replace(made, reason=f"{counted(most, 'actor')} at any score, {needed} needed")
    p_values = binomial_p_value(wrong, flagged, limit)
    kept = _kept(p_values[::-1], error)[::-1]
    if not kept.any():
        best = int(np.argmin(np.where(flagged > 0, wrong / np.maximum(flagged, 1), np.inf)))
        return replace(made, n=int(flagged[best]), reason=(
            f"at no threshold the data show it; the best share is {1 - wrong[best] / flagged[best]:.0%} of {int(flagged[best])} actors, "
            f"from {GRID[best]:g}"))
    at = int(np.flatnonzero(kept)[0])
    return replace(made, threshold=float(GRID[at]), n=int(flagged[at]), violation=min(float(p_values[at]) * STARTS, 1 - confidence),
                   observed=float(wrong[at] / flagged[at]))


def calibrate_daily_cost(
    daily_cost: np.ndarray, max_cost: float, max_share_of_days: float, confidence: float
) -> tuple[Promise, np.ndarray]:
    """Find thresholds at which few days cost more than `max_cost`, alerts and missed incidents together.

    Parameters
    ----------
    daily_cost
        Cost of each day (rows) at each threshold of `GRID` (columns): see `policies.daily_costs`.
    max_cost
        Most that a day may cost, in the currency of `daily_cost`.
    max_share_of_days, confidence
        Share of days that may cost more, and the probability with which that holds.

    Returns
    -------
    (Promise over days, which thresholds of `GRID` keep it). The promise names the one of these with the least mean cost. Costs neither rise
    nor fall steadily with the threshold, so testing starts at five places of the grid, each with a fifth of the allowed error.
    """
    if max_cost < 0:
        raise InputError(f"a daily cost of {max_cost:g}", "give 0 or more")
    error = (1 - confidence) / STARTS
    n, needed = int(daily_cost.shape[0]), needed_units(max_share_of_days, 1 - error)
    made = Promise(None, max_share_of_days, confidence, "days", n, needed, None, None, kind="usd_per_day", method="learn then test",
                   target=max_cost)
    kept = np.zeros(GRID.size, dtype=bool)
    if n < needed:
        return replace(made, reason=too_few(n, "days", needed)), kept
    over = (daily_cost > max_cost).sum(axis=0)
    p_values = binomial_p_value(over, np.full(GRID.size, n), max_share_of_days)
    kept = _kept(p_values, error)
    if not kept.any():
        return replace(made, reason=f"at every threshold too many days cost over {max_cost:g}"), kept
    mean = np.where(kept, daily_cost.mean(axis=0), np.inf)
    at = int(np.argmin(mean))
    # What was spent on the choice among five sequences belongs into the bound.
    bound = min(float(p_values[at]) * STARTS, 1 - confidence)
    return replace(made, threshold=float(GRID[at]), violation=bound, observed=float(over[at] / n)), kept


def _kept(p_values: np.ndarray, error: float) -> np.ndarray:
    """Tell which hypotheses are rejected when testing starts at each of `STARTS` places and goes on to the right until one is not."""
    kept = np.zeros(p_values.size, dtype=bool)
    for start in np.linspace(0, p_values.size - 1, STARTS + 1)[:-1].astype(int):
        kept[start : start + passed_in_sequence(p_values[start:], error)] = True
    return kept


def _downward(flagged: np.ndarray, n: np.ndarray, limit: float, confidence: float) -> Promise:
    needed, units = needed_units(limit, confidence), int(n[0])
    made = Promise(None, limit, confidence, "actors", units, needed, None, None, method="learn then test")
    if units < needed:
        return replace(made, reason=too_few(units, "actors", needed))
    p_values = binomial_p_value(flagged[::-1], n[::-1], limit)
    passed = passed_in_sequence(p_values, 1 - confidence)
    if not passed:
        return replace(made, reason=f"{int(flagged[-1])} of {units} benign actors reach the highest score")
    at = GRID.size - passed
    return replace(made, threshold=float(GRID[at]), violation=float(p_values[passed - 1]), observed=float(flagged[at] / units))
