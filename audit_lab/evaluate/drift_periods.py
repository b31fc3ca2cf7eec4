"""Drift period by period: is this week like the ones that rules, thresholds and calibration were learnt on?

With many sessions every difference is significant, so an alarm needs both. It is more than chance between days makes: days (within
weekdays and weekends) are dealt out at random between reference and period, and false discoveries are controlled over all features of a
week, or of all days that are compared together (Benjamini & Hochberg 1995, each family with the same weight). And it is large enough to
matter beyond what chance gives. A value that was never there is tested exactly: how likely is it that all its days lie after the
reference, given how many there are (Fisher); values that could not be significant wherever their days lay are no tests (Tarone 1990).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import scipy

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.evaluate.distances import (
    HALF,
    Statistic,
    by_chance,
    cosine_distance,
    exchange_test,
    jensen_shannon,
    likeliest_change,
    likeliest_shift,
    log_ratio,
    mean_shift,
    population_stability,
    rate_deviance,
    stability_rows,
    wasserstein_rows,
)
from audit_lab.evaluate.drift_counts import FAMILIES, DriftCounts
from audit_lab.evaluate.drift_features import Feature, deciles, features_of, movers, pooled, scale, vector_rows
from audit_lab.evaluate.drift_windows import Window, period_of, windows_of
from audit_lab.profile import DriftSettings

BLOCKS = {"week": "1d", "day": "1h"}  # what is dealt out where weeks, or days, are compared
MIN_BLOCKS = 3


def drift_periods(counts: DriftCounts, settings: DriftSettings, by: str = "week", since: datetime | None = None) -> pl.DataFrame:
    """Compare each later period with the reference.

    Parameters
    ----------
    counts
        Counts by day (`by` week) or by hour (`by` day): see `count_drift`.
    settings
        Reference, false discoveries, effect sizes that are alarming.
    by
        week or day.
    since
        Compare from here on, with the periods directly before; when None the first periods are the reference, at most two
        thirds of what there is.

    Returns
    -------
    Table `drifts`, in order of period and family. A family that cannot be compared has one row with the reason; so have all of them where
    there is only one period.

    Raises
    ------
    InputError
        When `by` is neither, or nothing lies before `since`.
    """
    if by not in BLOCKS:
        raise InputError(f"no drift by '{by}'", "week or day")
    features = features_of(counts, settings.values)
    rows: list[dict[str, Any]] = []
    blocks = sorted(set(counts.counts["block"].to_list()))
    windows = windows_of(blocks, settings, by, since)
    if blocks and not windows:
        alone = {"period": period_of(blocks[-1], by), "by": by, "reason": f"all data lie within one {by}: two are needed to compare"}
        rows = [{**_empty(family, family, "none"), **alone} for family in FAMILIES]
    idles: list[dict[str, int]] = []
    made: list[tuple[Window, list[dict[str, Any]]]] = []
    for window in windows:
        found = [row for feature in features.values() if (row := _compare(feature, window, settings)) is not None]
        if counts.sums is not None:
            found.append(_centroid(counts.sums, window, settings))
        new, idle = _new_values(counts.counts, window, settings)
        made.append((window, found + new))
        idles.append(idle)
    if by == "day" and settings.days_together:
        _control([row for _, some in made for row in some], {name: sum(idle.get(name, 0) for idle in idles) for name in FAMILIES}, settings)
    else:
        for (_, some), idle in zip(made, idles, strict=True):
            _control(some, idle, settings)
    for window, some in made:
        rows += [{**row, "period": window.period, "by": by} for row in _with_since(some, features, counts.sums, window)]
        rows += [{**_empty(family, family, "none"), "period": window.period, "by": by, "reason": why} for family, why in counts.why.items()]
    return tables.conform(pl.DataFrame(rows, schema=tables.TABLES["drifts"].schema), "drifts")


# ---- one feature ---------------------------------------------------------------------------------------------


def _empty(family: str, feature: str, kind: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(tables.TABLES["drifts"].columns), "family": family, "feature": feature, "value": "", "kind": kind,
        "n_reference": 0.0, "n_current": 0.0,
    }


def _compare(feature: Feature, window: Window, settings: DriftSettings) -> dict[str, Any] | None:
    """Return the row of a feature; None for the volume of an actor that is new: that is told as a new value."""
    matrix = feature.matrix[[feature.row_of[block] for block in window.blocks]]
    values = feature.values
    if feature.kind == "category":
        matrix, values = pooled(matrix, values, settings.values)
    mine = window.exchange.current
    old, new = matrix[~mine].sum(axis=0), matrix[mine].sum(axis=0)
    row = _empty(feature.family, feature.name, feature.kind)
    row |= {"n_reference": _counted(old, feature.kind), "n_current": _counted(new, feature.kind)}
    if feature.kind == "volume" and not old[0]:
        return None
    if feature.kind in ("rate", "volume"):
        if not old[1] or not new[1]:
            return row | {"reason": "nothing was counted in one of the periods"}
        before, after = old[0] / old[1], new[0] / new[1]
        ratio = float((new[0] + HALF) / new[1] / ((old[0] + HALF) / old[1]))
        row |= {"before": float(before), "after": float(after), "ratio": ratio}
        return row | _tested(matrix, window, rate_deviance, log_ratio, abs(np.log(ratio)), np.log(settings.min_ratio))
    if not old.sum() or not new.sum():
        return row | {"reason": "nothing was counted in one of the periods"}
    row["jensen_shannon"] = float(jensen_shannon(old[None, :], new[None, :])[0])
    if feature.kind == "number":
        n_bins, width, start = scale(feature.family)
        centres = start + width * np.arange(n_bins)
        before, after = float(old @ centres / old.sum()), float(new @ centres / new.sum())
        spread = float(np.sqrt(old @ (centres - before) ** 2 / old.sum())) or width
        statistic = wasserstein_rows(np.full(n_bins, width / spread))
        distance = float(statistic(old[None, :], new[None, :])[0])
        row |= {"before": before, "after": after, "wasserstein": distance, "psi": population_stability(*deciles(old, new))}
        return row | _tested(matrix, window, statistic, statistic, distance, settings.min_wasserstein)
    row |= {"psi": population_stability(old, new), "detail": movers(old, new, values)}
    return row | _tested(matrix, window, jensen_shannon, stability_rows, row["psi"], settings.min_psi)


def _counted(side: np.ndarray, kind: str) -> float:
    """Return how much is known: of a rate what it divides by, of a volume its events, else everything."""
    return float(side[1] if kind == "rate" else side[0] if kind == "volume" else side.sum())


def _tested(
    matrix: np.ndarray, window: Window, statistic: Statistic, effect: Statistic, size: float, enough: float
) -> dict[str, Any]:
    """Return p-value, chance level of the effect, and whether the effect beyond chance is large (as `alarm`, before the p-value)."""
    sides = int((~window.exchange.current).sum()), int(window.exchange.current.sum())
    if min(sides) < MIN_BLOCKS:
        return {"reason": f"{sides[1]} blocks of time in the period, {sides[0]} like them in the reference: at least {MIN_BLOCKS} are "
                          "needed to know chance"}
    chance = by_chance(matrix, window.exchange, effect)
    return {"p_value": exchange_test(matrix, window.exchange, statistic), "by_chance": chance, "alarm": bool(size - chance >= enough)}


def _centroid(sums: pl.DataFrame, window: Window, settings: DriftSettings) -> dict[str, Any]:
    rows = vector_rows(sums, window.blocks)
    mine = window.exchange.current
    old, new = rows[~mine].sum(axis=0), rows[mine].sum(axis=0)
    row = _empty("embeddings", "centroid of summaries", "vector") | {"n_reference": float(old[-1]), "n_current": float(new[-1])}
    if not old[-1] or not new[-1]:
        return row | {"reason": "no vectors in one of the periods"}
    shift = float(mean_shift(old[None, :], new[None, :])[0])
    row |= {"wasserstein": shift, "detail": f"cosine distance {cosine_distance(old, new):.4f}"}
    return row | _tested(rows, window, mean_shift, mean_shift, shift, settings.min_shift)


# ---- new values ----------------------------------------------------------------------------------------------


def _new_values(counts: pl.DataFrame, window: Window, settings: DriftSettings) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return a row for each value of the period that the reference never had, and per family how many more were tested (p-value 1).

    Two questions are asked of a value, each at half the level: do all its blocks lie in the period (what begins and is frequent is told at
    once), and do all of them lie after the reference (what is rare but stays is told a week later)?
    """
    mine = [block for block, flag in zip(window.blocks, window.exchange.current, strict=True) if flag]
    n_reference, n_later, n_mine = len(window.reference), len(window.since) - len(window.reference), len(mine)
    seen = (
        counts.filter((pl.col("kind") == "presence") & pl.col("block").is_in(window.since) & (pl.col("n") > 0))
        .with_columns(mine=pl.col("block").is_in(mine), known=pl.col("block").is_in(window.reference))
        .group_by("family", "feature", "value")
        .agg(blocks=pl.len(), mine=pl.col("mine").sum(), known=pl.col("known").any(), n=pl.col("n").filter("mine").sum(),
             first=pl.col("block").min())
        .filter(pl.col("blocks") <= n_later).sort("family", "feature", "value")
    )
    rows: list[dict[str, Any]] = []
    idle: dict[str, int] = {}
    for family, feature, value, blocks, of_mine, known, n, first in seen.iter_rows():
        at_best = _chance_of(blocks, n_reference, n_mine, n_later, alone=blocks <= n_mine)
        # A value whose blocks could not be significant wherever they lay is told, but is no test.
        testable = at_best <= settings.alpha
        if known or not of_mine:
            idle[family] = idle.get(family, 0) + int(testable)
            continue
        rows.append(_empty(family, feature, "presence") | {
            "value": value, "n_current": float(n), "before": 0.0, "after": of_mine / n_mine, "alarm": testable, "since": first,
            "p_value": _chance_of(blocks, n_reference, n_mine, n_later, alone=of_mine == blocks),
        })
    return rows, idle


def _chance_of(blocks: int, n_reference: int, n_mine: int, n_later: int, *, alone: bool) -> float:
    """Return the p-value of a value whose `blocks` all lie after the reference, `alone` when they all lie in the period.

    >>> round(_chance_of(5, 28, 7, 14, alone=True), 7), round(_chance_of(8, 28, 7, 14, alone=False), 7)
    (0.0001294, 5.09e-05)
    """
    chances = [float(scipy.stats.hypergeom.pmf(blocks, n_reference + n_later, n_later, blocks))]
    if alone:
        chances.append(float(scipy.stats.hypergeom.pmf(blocks, n_reference + n_mine, n_mine, blocks)))
    return min(1.0, 2 * min(chances))


def _control(rows: list[dict[str, Any]], idle: dict[str, int], settings: DriftSettings) -> None:
    """Write q-values over all tests of a period (or of all days together), and let an alarm stand only where its q-value is small enough.

    Benjamini–Hochberg with weights (Genovese, Roeder & Wasserman 2006): each family weighs the same however many features it has, else a
    hundred rules would drown the one centroid.
    """
    tested = [row for row in rows if row["p_value"] is not None and not (row["kind"] == "presence" and row["alarm"] is False)]
    sizes = {family: idle.get(family, 0) for family in FAMILIES}
    for row in tested:
        sizes[row["family"]] += 1
    total, families = sum(sizes.values()), sum(size > 0 for size in sizes.values())
    if not tested:
        return
    weighted = [min(1.0, row["p_value"] * sizes[row["family"]] * families / total) for row in tested]
    adjusted = scipy.stats.false_discovery_control(weighted + [1.0] * (total - len(tested)), method="bh")
    for row, q_value in zip(tested, adjusted, strict=False):
        row["q_value"] = float(q_value)
        row["alarm"] = bool(row["alarm"] and q_value <= settings.alpha)


def _with_since(
    rows: list[dict[str, Any]], features: dict[str, Feature], sums: pl.DataFrame | None, window: Window
) -> list[dict[str, Any]]:
    """Add to each alarm the block from which on the data are explained best."""
    for row in rows:
        if not row["alarm"]:
            row["since"] = None
        elif row["kind"] == "vector" and sums is not None:
            row["since"] = window.since[likeliest_shift(vector_rows(sums, window.since))]
        elif row["kind"] != "presence":
            feature = features[row["feature"]]
            matrix = feature.matrix[[feature.row_of[block] for block in window.since]]
            rated = feature.kind in ("rate", "volume")
            counted, exposure = (matrix[:, :1], matrix[:, 1]) if rated else (matrix, None)
            row["since"] = window.since[likeliest_change(counted, window.since_strata, exposure)]
    return rows
