"""Choosing a threshold when no promise is possible yet, or when costs decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from audit_lab.errors import InputError
from audit_lab.evaluate.incidents import IncidentMap
from audit_lab.evaluate.intervals import ActorBootstrap
from audit_lab.evaluate.operating import flagged_per_actor

# A flat cost curve hides how little the choice matters: everything within this share of the least cost is named.
NEARLY = 0.05


@dataclass(frozen=True)
class Costs:
    """What a look and a miss cost, in one currency.

    `minutes_per_alert` of a reviewer at `per_minute` each; `per_missed_incident` when one is not found.
    """

    minutes_per_alert: float
    per_minute: float
    per_missed_incident: float

    @property
    def per_alert(self) -> float:
        """Cost of one alert."""
        return self.minutes_per_alert * self.per_minute


@dataclass(frozen=True)
class CostChoice:
    """The threshold of least cost, its cost with an interval, and the range of thresholds that cost nearly as little."""

    threshold: float | None
    cost: float | None
    low: float | None
    high: float | None
    nearly_from: float | None
    nearly_to: float | None
    n_incidents: int
    curve: pl.DataFrame
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object, without the curve."""
        return {name: value for name, value in vars(self).items() if name != "curve"}

    def says(self) -> str:
        """Return it as one sentence."""
        if self.threshold is None:
            return f"no threshold: {self.reason}"
        return (f"threshold {self.threshold:g} costs least: {self.cost:,.0f} over the data at hand ({self.low:,.0f} to {self.high:,.0f}); "
                f"from {self.nearly_from:g} to {self.nearly_to:g} it costs at most {NEARLY:.0%} more")


def cheapest_threshold(
    scores: np.ndarray,
    shown: np.ndarray,
    incidents: IncidentMap,
    draw: ActorBootstrap,
    costs: Costs,
    thresholds: np.ndarray | None = None,
    seed: int = 7,
) -> CostChoice:
    """Find the threshold with the least cost of alerts and missed incidents together.

    Parameters
    ----------
    scores, shown
        Score of each session and whether it can be flagged.
    incidents, draw
        Incidents and resamples of actors over the same sessions.
    costs
        What a look and a miss cost.
    thresholds
        Thresholds to compare; 0, 0.01 … 1 when none.
    seed
        Seed for resampling incidents.

    Returns
    -------
    CostChoice. Its interval resamples actors (alerts) and incidents (misses); `curve` has one row per threshold with threshold,
    alerts, missed, cost, low, high. Null with a reason when there is no malicious incident: then flagging nothing would win.

    Raises
    ------
    InputError
        When a cost is negative.
    """
    if min(costs.minutes_per_alert, costs.per_minute, costs.per_missed_incident) < 0:
        raise InputError("a cost below 0", "give minutes and prices of 0 or more")
    marks = np.linspace(0, 1, 101) if thresholds is None else np.sort(np.asarray(thresholds, dtype=float))
    reachable = np.where(shown, scores, -np.inf)
    best = incidents.best(reachable)[incidents.malicious]
    empty = pl.DataFrame(schema=dict.fromkeys(("threshold", "alerts", "missed", "cost", "low", "high"), pl.Float64))
    if not best.size:
        return CostChoice(None, None, None, None, None, None, 0, empty, "no malicious incidents: what a miss costs cannot be weighed")
    missed = best[:, None] < marks
    steps = np.searchsorted(marks, reachable, side="right")
    alerts_by_actor = flagged_per_actor(steps, np.ones(steps.size, dtype=bool), draw, marks.size)
    alerts = alerts_by_actor.sum(axis=0).astype(float)
    cost = alerts * costs.per_alert + missed.sum(axis=0) * costs.per_missed_incident
    resamples = draw.weights.shape[0]
    picks = np.random.default_rng(seed).multinomial(best.size, np.full(best.size, 1 / best.size), size=resamples)
    drawn = (draw.weights @ alerts_by_actor) * costs.per_alert + (picks @ missed) * costs.per_missed_incident
    tail = (1 - draw.confidence) / 2
    low, high = np.minimum(np.quantile(drawn, tail, axis=0), cost), np.maximum(np.quantile(drawn, 1 - tail, axis=0), cost)
    curve = pl.DataFrame({
        "threshold": marks, "alerts": alerts, "missed": missed.sum(axis=0).astype(float),
        "cost": cost.astype(float), "low": low, "high": high,
    })
    # Of equally cheap thresholds the lowest shows people most.
    at = int(np.argmin(cost))
    near = np.flatnonzero(cost <= cost[at] * (1 + NEARLY))
    return CostChoice(
        threshold=float(marks[at]), cost=float(cost[at]), low=float(low[at]), high=float(high[at]),
        nearly_from=float(marks[near[0]]), nearly_to=float(marks[near[-1]]), n_incidents=int(best.size), curve=curve,
    )


def daily_costs(
    session_scores: pl.DataFrame, incidents: pl.DataFrame, costs: Costs, thresholds: np.ndarray, scorer: str = "all"
) -> np.ndarray:
    """Return what each day costs at each threshold: reviews of its alerts, and its incidents that are missed.

    Parameters
    ----------
    session_scores
        Frame of `Evaluation.session_scores`: start, scorer, score, shown.
    incidents
        Frame with time (of the incident's first event) and best (its highest reachable score, -inf where none), one row per malicious
        incident; an incident belongs to the day it began.
    costs, thresholds, scorer
        What a look and a miss cost; ascending thresholds; whose scores.

    Returns
    -------
    Array of days (every day from the first session's to the last one's, quiet ones too) × thresholds.
    """
    marks = np.asarray(thresholds, dtype=float)
    rows = session_scores.filter(pl.col("scorer") == scorer)
    if rows.is_empty():
        return np.zeros((0, marks.size))
    first, last = rows["start"].dt.date().min(), rows["start"].dt.date().max()
    days = pl.DataFrame({"day": pl.date_range(first, last, "1d", eager=True)}).with_row_index("row")  # type: ignore[arg-type]

    def per_day(frame: pl.DataFrame, scores: np.ndarray, below: bool) -> np.ndarray:
        placed = frame.select(day=pl.first().dt.date()).join(days, on="day", how="left", maintain_order="left")["row"].to_numpy()
        steps = np.searchsorted(marks, scores, side="right")
        counts = np.zeros((days.height, marks.size + 1))
        known = ~np.isnan(placed.astype(float))
        np.add.at(counts, (placed[known].astype(int), steps[known]), 1)
        # A score passes the marks before its step, and falls short of those from it on.
        return counts.cumsum(axis=1)[:, :-1] if below else counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]

    reachable = np.where(rows["shown"].to_numpy(), rows["score"].to_numpy(), -np.inf)
    alerts = per_day(rows.select("start"), reachable, below=False)
    missed = per_day(incidents.select("time"), incidents["best"].to_numpy(), below=True)
    return alerts * costs.per_alert + missed * costs.per_missed_incident


def warm_up_threshold(n_units: int, needed: int, start: float, target: float) -> float:
    """Return the threshold to use while labels come in: low first, tightening towards the target.

    Parameters
    ----------
    n_units
        Independent benign units reviewed so far.
    needed
        Units that the promise needs (`neyman_pearson.needed_units`).
    start, target
        Threshold on the first day, and the one once there are enough units (the prior one, then the promised one).

    Returns
    -------
    A threshold that never falls as units come in; `start` is never above `target`.

    >>> [round(warm_up_threshold(n, 60, 0.2, 0.5), 2) for n in (0, 30, 60, 90)]
    [0.2, 0.35, 0.5, 0.5]
    """
    if needed < 1:
        raise InputError(f"a warm-up over {needed} units", "give at least 1")
    low = min(start, target)
    return low + (target - low) * min(max(n_units, 0) / needed, 1.0)


def group_thresholds(scores: pl.DataFrame, global_threshold: float, max_rate: float, needed: int) -> pl.DataFrame:
    """Return a threshold for each cluster or team, shrunk to the global one where its data are few.

    A group's own threshold is the one that flags at most `max_rate` of its benign units. With n of them it weighs n / (n + `needed`),
    the global one the rest: a group without data has the global one, a large one nearly its own.

    Parameters
    ----------
    scores
        Frame with group and score, one row per independent benign unit.
    global_threshold
        Threshold for everybody.
    max_rate
        Highest share of benign units to flag.
    needed
        Units from which a group's own data count as much as the global ones.

    Returns
    -------
    Frame, one row per group: group, n, own (its own threshold, null below 1 / max_rate units: fewer say nothing about such
    a rate), weight, threshold, observed (share of its units flagged there).
    """
    if needed < 1:
        raise InputError(f"shrinkage over {needed} units", "give at least 1")
    rows = []
    for (group,), part in scores.sort("group").group_by("group", maintain_order=True):
        values = np.sort(part["score"].to_numpy())
        enough = values.size * max_rate >= 1
        allowed = int(np.floor(values.size * max_rate + 1e-9))
        own = None
        if enough and allowed < values.size:
            highest_left = float(values[values.size - allowed - 1])
            # Where no threshold can flag what has to be left out, everything that exists may be flagged.
            own = float(np.nextafter(highest_left, np.inf)) if np.isfinite(highest_left) else 0.0
        weight = 0.0 if own is None else values.size / (values.size + needed)
        threshold = global_threshold if own is None else weight * own + (1 - weight) * global_threshold
        rows.append({"group": group, "n": values.size, "own": own, "weight": weight, "threshold": threshold,
                     "observed": float((values >= threshold).mean())})
    return pl.DataFrame(rows, schema={"group": pl.String, "n": pl.Int64, "own": pl.Float64, "weight": pl.Float64,
                                      "threshold": pl.Float64, "observed": pl.Float64})
