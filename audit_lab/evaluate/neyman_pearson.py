"""Thresholds with a promise: the false-alert rate exceeds a limit with at most a stated probability.

Neyman–Pearson order statistic (Tong, Feng & Li, "Neyman–Pearson classification algorithms and NP receiver operating
characteristics", Science Advances 4, 2018). From n independent benign units in ascending order of score, the rule "flag what is
above the k-th" has a rate over `max_fpr` with probability at most P(Binomial(n, 1 − max_fpr) ≥ k), whatever the distribution.

The sessions of one actor are no independent units. So a unit is an actor, its score the highest of its benign
sessions, and the promise is about benign actors: how many of them would see any of their sessions flagged. The mean over actors
of each one's share of flagged sessions is never larger than that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
import polars as pl
import scipy

from audit_lab.errors import InputError

# Thresholds are told with so many digits: people copy them.
DECIMALS = 6


@dataclass(frozen=True)
class Promise:
    """A threshold and what is promised about it, or why none can be given.

    Attributes
    ----------
    threshold
        Flag from this score on; None when refused.
    limit, confidence, unit
        The promise: the share of units flagged wrongly is at most `limit` with probability `confidence`.
    n, needed
        Independent units at hand, and how many the promise needs at least.
    violation
        Exact bound on the probability that the rate exceeds the limit; None when refused.
    observed
        Share of the units at hand that the threshold flags; None when refused.
    reason
        Why it was refused.
    kind, target, method, scorer
        What is limited: 'fpr' (share of benign actors flagged), 'recall' (share of incidents missed), 'precision' (share of benign ones
        among flagged actors), 'alerts_per_day' or 'usd_per_day' (share of days over `target`); how it was found; whose scores.
    since, until
        The time of the sessions that it was learnt from: only later ones may be judged by it (law 9).
    """

    threshold: float | None
    limit: float
    confidence: float
    unit: str
    n: int
    needed: int
    violation: float | None
    observed: float | None
    reason: str | None = None
    kind: Literal["fpr", "recall", "precision", "alerts_per_day", "usd_per_day"] = "fpr"
    target: float | None = None
    method: str = "order statistic"
    scorer: str = "all"
    since: datetime | None = None
    until: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**vars(self), "since": self.since and self.since.isoformat(), "until": self.until and self.until.isoformat()}

    def says(self) -> str:
        """Return the promise, or the refusal, as one sentence."""
        if self.threshold is None:
            return f"no threshold: {self.reason}"
        what = {
            "fpr": f"over {self.limit:.3g} of benign actors are flagged",
            "recall": f"over {self.limit:.3g} of malicious incidents are missed",
            "precision": f"over {self.limit:.3g} of the flagged actors are benign",
            "alerts_per_day": f"over {self.limit:.3g} of days have more than {self.target:g} alerts" if self.target is not None else "",
            "usd_per_day": f"over {self.limit:.3g} of days cost more than {self.target:g}" if self.target is not None else "",
        }[self.kind]
        return (f"threshold {self.threshold:.4g}: {what} with probability at most {self.violation:.3g} "
                f"({self.observed:.3g} of the {self.n} {self.unit} at hand)")


def needed_units(limit: float, confidence: float) -> int:
    """Return how many independent benign units a promise needs at least.

    >>> needed_units(0.005, 0.95), needed_units(0.05, 0.95)
    (598, 59)
    """
    _check(limit, confidence)
    return math.ceil(math.log(1 - confidence) / math.log(1 - limit) - 1e-12)


def order_statistic(n: int, limit: float, confidence: float) -> int | None:
    """Return the smallest k (from 1) whose violation probability is at most 1 − `confidence`; None when n is too small.

    >>> order_statistic(598, 0.005, 0.95), order_statistic(597, 0.005, 0.95)
    (598, None)
    """
    _check(limit, confidence)
    # P(Binomial(n, 1 - limit) >= k) falls as k grows.
    bounds = scipy.stats.binom.sf(np.arange(n), n, 1 - limit)
    enough = np.flatnonzero(bounds <= 1 - confidence)
    return int(enough[0]) + 1 if enough.size else None


def promise_threshold(scores: np.ndarray, limit: float, confidence: float, unit: str = "actors") -> Promise:
    """Return the lowest threshold that keeps the promise, from the scores of independent benign units.

    Parameters
    ----------
    scores
        One score per unit; -inf for a unit that no threshold can flag.
    limit, confidence
        Highest rate wanted, and the probability with which it is kept.
    unit
        What a unit is, for the words of a refusal.

    Returns
    -------
    Promise. Units with equal scores are flagged together or not at all.

    >>> promise_threshold(np.linspace(0, 1, 30), 0.05, 0.95).reason
    '30 independent actors, 59 needed'
    """
    n, needed = int(scores.size), needed_units(limit, confidence)
    k = order_statistic(n, limit, confidence)
    if k is None:
        return Promise(None, limit, confidence, unit, n, needed, None, None, too_few(n, unit, needed))
    ascending = np.sort(scores)
    # Flag what is strictly above the k-th; where even that is -inf, every score that exists may be flagged.
    cut = float(ascending[k - 1])
    threshold = rounded_up(float(np.nextafter(cut, np.inf))) if np.isfinite(cut) else 0.0
    violation = float(scipy.stats.binom.sf(k - 1, n, 1 - limit))
    return Promise(threshold, limit, confidence, unit, n, needed, violation, float((scores >= threshold).mean()))


def too_few(n: int, unit: str, needed: int) -> str:
    """Return the words of a refusal.

    >>> too_few(1, "days", 59)
    '1 independent day, 59 needed'
    """
    return f"{n} independent {unit.removesuffix('s') if n == 1 else unit}, {needed} needed"


def rounded_up(threshold: float) -> float:
    """Return a threshold with few digits, never below the exact one: a promise about alerts survives it, and so do people's eyes.

    >>> rounded_up(0.61234567), rounded_up(0.5)
    (0.612346, 0.5)
    """
    short = round(threshold, DECIMALS)
    return short if short >= threshold else round(short + 10**-DECIMALS, DECIMALS)


def calibrate(
    session_scores: pl.DataFrame, max_fpr: float, confidence: float, scorer: str = "all"
) -> Promise:
    """Choose the threshold of a scorer so that benign actors are rarely flagged.

    Parameters
    ----------
    session_scores
        Frame of `Evaluation.session_scores`: cluster, actor, class, scorer, score, shown. Only earlier sessions than those
        the threshold will be used on belong here (law 9).
    max_fpr
        Highest share of benign actors that may be flagged.
    confidence
        Probability with which that holds.
    scorer
        Whose scores. A session without a label counts as benign, as everywhere in the evaluation.

    Returns
    -------
    Promise over actors; refused, with the needed number, when there are too few.

    Raises
    ------
    InputError
        When a number is out of range or the scorer has no scores.
    """
    rows = scorer_rows(session_scores, scorer)
    units = actor_maxima(rows.filter(pl.col("class") != "malicious"))
    return reachable_only(replace(promise_threshold(units["score"].to_numpy(), max_fpr, confidence), scorer=scorer))


def scorer_rows(session_scores: pl.DataFrame, scorer: str) -> pl.DataFrame:
    """Return the rows of one scorer.

    Raises
    ------
    InputError
        When it has none.
    """
    rows = session_scores.filter(pl.col("scorer") == scorer)
    if rows.is_empty():
        known = ", ".join(session_scores["scorer"].unique(maintain_order=True).to_list()) or "none"
        raise InputError(f"no scores of '{scorer}' to calibrate on", f"scorers with scores: {known}")
    return rows


def actor_maxima(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return each actor's highest score (cluster, actor, score); -inf where none of its sessions can be flagged."""
    reachable = pl.when("shown").then("score").otherwise(-math.inf)
    return sessions.group_by("cluster", "actor").agg(score=reachable.max()).sort("cluster", "actor")


def calibrate_budget(
    session_scores: pl.DataFrame, alerts_per_day: int, max_share_of_days: float, confidence: float, scorer: str = "all"
) -> Promise:
    """Choose a threshold so that few days have more than `alerts_per_day` alerts.

    A day exceeds its budget of B alerts exactly when its (B+1)-th highest score reaches the threshold: that score is the
    day's unit score, and the same order statistic promises over days, taken as independent.

    Parameters
    ----------
    session_scores
        Frame of `Evaluation.session_scores`, needing start, scorer, score, shown.
    alerts_per_day
        The budget, malicious sessions included: people look at all alerts.
    max_share_of_days
        Highest share of days that may exceed it.
    confidence, scorer
        As in `calibrate`.

    Returns
    -------
    Promise over days (UTC); refused with the needed number when there are too few.
    """
    if alerts_per_day < 0:
        raise InputError(f"a budget of {alerts_per_day} alerts a day", "give 0 or more")
    ranked = (
        scorer_rows(session_scores, scorer)
        .with_columns(day=pl.col("start").dt.date(), score=pl.when("shown").then("score").otherwise(-math.inf))
        .group_by("day").agg(next_score=pl.col("score").top_k(alerts_per_day + 1).sort(descending=True)).sort("day")
    )
    units = [row[-1] if len(row) > alerts_per_day else -math.inf for row in ranked["next_score"].to_list()]
    made = promise_threshold(np.array(units, dtype=float), max_share_of_days, confidence, "days")
    return reachable_only(replace(made, kind="alerts_per_day", target=float(alerts_per_day), scorer=scorer))


def reachable_only(promise: Promise) -> Promise:
    """Refuse a threshold above the highest possible score: it would only say that nothing may be flagged."""
    if promise.threshold is None or promise.threshold <= 1:
        return promise
    who = promise.unit if promise.unit == "days" else f"benign {promise.unit}"
    return replace(promise, threshold=None, violation=None, observed=None,
                   reason=f"too many {who} reach the highest score: only flagging nothing keeps the promise")


def _check(limit: float, confidence: float) -> None:
    if not 0 < limit < 1:
        raise InputError(f"a false-positive limit of {limit:g}", "give a share between 0 and 1, e.g. 0.05")
    if not 0 < confidence < 1:
        raise InputError(f"a confidence of {confidence:g}", "give a probability between 0 and 1, e.g. 0.95")
