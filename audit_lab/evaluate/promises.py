"""One door to all promises about a threshold: name the goal, get the threshold or the number of units it would need."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import polars as pl

from audit_lab.errors import InputError
from audit_lab.evaluate.learn_then_test import GRID, calibrate_daily_cost, calibrate_fpr, calibrate_precision, calibrate_recall
from audit_lab.evaluate.neyman_pearson import Promise, actor_maxima, calibrate, calibrate_budget, scorer_rows
from audit_lab.evaluate.policies import CostChoice, Costs, cheapest_threshold, daily_costs, group_thresholds
from audit_lab.evaluate.result import Evaluation

Method = Literal["order statistic", "learn then test"]
METHODS = ("order statistic", "learn then test")
GOALS = ("max_fpr", "min_recall", "min_precision", "alerts_per_day", "max_usd_per_day")


def choose_threshold(
    evaluation: Evaluation,
    *,
    max_fpr: float | None = None,
    min_recall: float | None = None,
    min_precision: float | None = None,
    alerts_per_day: int | None = None,
    max_usd_per_day: float | None = None,
    costs: Costs | None = None,
    max_share_of_days: float = 0.05,
    confidence: float = 0.95,
    scorer: str = "all",
    method: Method = "order statistic",
) -> Promise:
    """Choose a threshold that keeps one promise.

    Parameters
    ----------
    evaluation
        Of earlier sessions than those the threshold is for (law 9).
    max_fpr, min_recall, min_precision, alerts_per_day, max_usd_per_day
        The goal, exactly one: share of benign actors flagged at most; share of malicious incidents found at least; share of malicious
        actors among the flagged ones at least; alerts a day at most; cost of a day at most (with `costs`).
    costs
        What a look and a missed incident cost.
    max_share_of_days
        Share of days that may exceed alerts_per_day or max_usd_per_day.
    confidence
        Probability with which the promise holds.
    scorer
        Whose scores.
    method
        How max_fpr is reached; the other goals have one method.

    Returns
    -------
    Promise; refused with the reason, and the number of independent units that are needed, when the data cannot carry it.

    Raises
    ------
    InputError
        When not exactly one goal is given, a number is out of range, or the scorer has no scores.
    """
    given = {"max_fpr": max_fpr, "min_recall": min_recall, "min_precision": min_precision, "alerts_per_day": alerts_per_day,
             "max_usd_per_day": max_usd_per_day}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise InputError(f"{len(named)} goals for a threshold", f"give exactly one of {', '.join(GOALS)}")
    if method not in METHODS:
        raise InputError(f"no method '{method}'", f"one of: {', '.join(METHODS)}")
    scores = evaluation.session_scores
    if max_fpr is not None:
        made = (calibrate if method == "order statistic" else calibrate_fpr)(scores, max_fpr, confidence, scorer)
    elif min_recall is not None:
        made = calibrate_recall(incident_bests(evaluation, scorer)["best"].to_numpy(), min_recall, confidence, scorer)
    elif min_precision is not None:
        made = calibrate_precision(scores, min_precision, confidence, scorer)
    elif alerts_per_day is not None:
        made = calibrate_budget(scores, alerts_per_day, max_share_of_days, confidence, scorer)
    elif costs is None:
        raise InputError("a daily cost without prices", "say what a review minute and a missed incident cost")
    else:
        spent = daily_costs(scorer_rows(scores, scorer), incident_bests(evaluation, scorer), costs, GRID, scorer)
        made = replace(calibrate_daily_cost(spent, float(max_usd_per_day or 0), max_share_of_days, confidence)[0], scorer=scorer)
    return replace(made, since=evaluation.data_start, until=evaluation.data_end)


def incident_bests(evaluation: Evaluation, scorer: str) -> pl.DataFrame:
    """Return one row per malicious incident: incident_id, time (first event; null where it has none), best (highest reachable score)."""
    scorer_rows(evaluation.session_scores, scorer)
    parts = evaluation.scored
    reachable = np.where(parts.reachable(scorer), parts.scores[scorer], -np.inf)
    placed = parts.incidents
    return pl.DataFrame(
        {"incident_id": placed.ids, "time": placed.first_event, "best": placed.best(reachable), "malicious": placed.malicious},
        schema={"incident_id": pl.String, "time": pl.Float64, "best": pl.Float64, "malicious": pl.Boolean},
    ).filter("malicious").select("incident_id", pl.col("time").fill_nan(None).cast(pl.Int64).cast(pl.Datetime("us", "UTC")), "best")


def cheapest(evaluation: Evaluation, costs: Costs, scorer: str = "all", seed: int = 7) -> CostChoice:
    """Return the threshold of least cost over the evaluation's time, with an interval: see `cheapest_threshold`."""
    scorer_rows(evaluation.session_scores, scorer)
    parts = evaluation.scored
    return cheapest_threshold(parts.scores[scorer], parts.reachable(scorer), parts.incidents, parts.draw, costs, seed=seed)


def thresholds_by_group(
    evaluation: Evaluation, groups: pl.DataFrame, max_fpr: float, confidence: float = 0.95, scorer: str = "all"
) -> pl.DataFrame:
    """Return a threshold for each group of actors, shrunk to the common one where its data are few: see `group_thresholds`.

    Parameters
    ----------
    groups
        Frame with cluster, actor and group, one row per actor.
    max_fpr, confidence, scorer
        As in `choose_threshold`; where the common promise is refused, the evaluation's threshold takes its place.

    Returns
    -------
    Frame of `group_thresholds`; the promise is about all groups together, a group's own threshold carries none.
    """
    common = choose_threshold(evaluation, max_fpr=max_fpr, confidence=confidence, scorer=scorer)
    benign = scorer_rows(evaluation.session_scores, scorer).filter(pl.col("class") != "malicious")
    units = actor_maxima(benign).join(groups.select("cluster", "actor", "group"), on=["cluster", "actor"], how="inner")
    return group_thresholds(
        units.select("group", "score"), evaluation.threshold if common.threshold is None else common.threshold, max_fpr, common.needed)
