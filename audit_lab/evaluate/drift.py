"""Drift of frames of your own: do this period's rows look like those of another one? (What a lab watches itself: `drift_periods`.)

With many sessions every difference is significant, so an alarm needs both: a difference that chance between days does not make (days are
exchanged between the two periods, so that sessions of one day stay together; false discoveries controlled over all features after
Benjamini & Hochberg 1995), and one that is large enough to matter (PSI or Wasserstein distance).
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
import scipy

from audit_lab.errors import InputError
from audit_lab.evaluate.distances import Statistic, jensen_shannon, population_stability, wasserstein_rows
from audit_lab.profile import DriftSettings

# What is large enough to matter is said once, in the profile.
MIN_PSI, MIN_WASSERSTEIN = DriftSettings().min_psi, DriftSettings().min_wasserstein
MIN_DAYS = 3  # fewer say nothing of chance between days: with two on a side every tenth dealing would be as extreme
KNOTS = 64
FLOATS = dict.fromkeys(("psi", "jensen_shannon", "wasserstein", "p_value", "q_value"), pl.Float64)
SCHEMA = {
    "feature": pl.String, "kind": pl.String, "n_reference": pl.Int64, "n_current": pl.Int64, **FLOATS, "drifted": pl.Boolean,
    "reason": pl.String,
}


def find_drift(
    reference: pl.DataFrame, current: pl.DataFrame, features: list[str], alpha: float = 0.05, rounds: int = 999, seed: int = 7
) -> pl.DataFrame:
    """Compare two periods, feature by feature.

    Parameters
    ----------
    reference, current
        Frames with day (any value that names a day or another block) and the features, one row per session or event; texts and
        booleans are compared as categories, numbers as distributions.
    features
        Columns to compare.
    alpha
        Share of false discoveries among the alarms that is accepted.
    rounds, seed
        Exchanges of days (all of them where there are fewer), and their seed.

    Returns
    -------
    Frame, one row per feature: feature, kind (category, number), n_reference, n_current, psi, jensen_shannon (distance, base 2,
    0–1), wasserstein (in standard deviations of the reference; numbers only), p_value, q_value, drifted, reason. The p-value is
    null, with a reason, below three days on a side.

    Raises
    ------
    InputError
        When a feature is missing.
    """
    missing = [name for name in ["day", *features] if name not in reference.columns or name not in current.columns]
    if missing:
        raise InputError(f"no column {', '.join(missing)} to compare", "give frames with day and every feature")
    rows = [_one_feature(reference, current, name, rounds, seed) for name in features]
    known = [row["p_value"] for row in rows if row["p_value"] is not None]
    adjusted = iter(scipy.stats.false_discovery_control(known, method="bh") if known else [])
    for row in rows:
        row["q_value"] = float(next(adjusted)) if row["p_value"] is not None else None
        large = (row["wasserstein"] or 0.0) >= MIN_WASSERSTEIN or (row["psi"] or 0.0) >= MIN_PSI
        row["drifted"] = None if row["q_value"] is None else bool(row["q_value"] <= alpha and large)
    return pl.DataFrame(rows, schema=SCHEMA)


def _one_feature(reference: pl.DataFrame, current: pl.DataFrame, name: str, rounds: int, seed: int) -> dict[str, Any]:
    both = pl.concat([
        reference.select(pl.col("day").cast(pl.String), value=name, now=pl.lit(False)),
        current.select(pl.col("day").cast(pl.String), value=name, now=pl.lit(True)),
    ], how="vertical_relaxed")
    numeric = both.schema["value"].is_numeric()
    if numeric:
        both = both.filter(pl.col("value").is_not_null()).with_columns(pl.col("value").cast(pl.Float64))
    days = both.select("day", "now").unique().sort("now", "day")
    row: dict[str, Any] = {
        "feature": name, "kind": "number" if numeric else "category", "n_reference": both.filter(~pl.col("now")).height,
        "n_current": both.filter("now").height, "psi": None, "jensen_shannon": None, "wasserstein": None, "p_value": None, "reason": None,
    }
    if not row["n_reference"] or not row["n_current"]:
        return row | {"reason": "no values in one of the periods"}
    now = both["now"].to_numpy()
    if numeric:
        values = both["value"].to_numpy()
        spread = float(values[~now].std()) or float(values.std()) or 1.0
        row["wasserstein"] = float(scipy.stats.wasserstein_distance(values[~now], values[now])) / spread
        edges = np.unique(np.quantile(values[~now], np.linspace(0, 1, 11)[1:-1]))
        coarse = _counts(days, both, np.searchsorted(edges, values, side="left"), edges.size + 1)
        knots = np.unique(np.quantile(values, np.linspace(0, 1, KNOTS + 1)))
        fine = _counts(days, both, np.searchsorted(knots, values, side="left"), knots.size + 1)
        widths = np.append(np.diff(knots), 0.0) if knots.size > 1 else np.zeros(knots.size)
        statistic: Statistic = wasserstein_rows(widths)
    else:
        codes = both["value"].cast(pl.String).fill_null("\x00").to_numpy()
        kinds, places = np.unique(codes, return_inverse=True)
        coarse = fine = _counts(days, both, places, kinds.size)
        statistic = jensen_shannon
    current_days = days["now"].to_numpy()
    old, new = coarse[~current_days].sum(axis=0), coarse[current_days].sum(axis=0)
    row["psi"] = population_stability(old, new)
    row["jensen_shannon"] = float(jensen_shannon(old[None, :], new[None, :])[0])
    if min(int((~current_days).sum()), int(current_days.sum())) < MIN_DAYS:
        return row | {"reason": f"fewer than {MIN_DAYS} days in one of the periods: chance between days is unknown"}
    return row | {"p_value": _exchange_days(fine, current_days, statistic, rounds, seed)}


def _counts(days: pl.DataFrame, both: pl.DataFrame, places: np.ndarray, n_places: int) -> np.ndarray:
    """Return how many rows of each day fall into each place (days × places)."""
    numbered = both.select("day", "now").join(days.with_row_index("row"), on=["day", "now"], how="left", maintain_order="left")
    flat = numbered["row"].to_numpy().astype(np.int64) * n_places + places
    return np.bincount(flat, minlength=days.height * n_places).reshape(days.height, n_places).astype(float)


def _exchange_days(counts: np.ndarray, current: np.ndarray, statistic: Statistic, rounds: int, seed: int) -> float:
    """Return the permutation p-value: how often days dealt out at random differ as much as the two periods do."""
    n, n_current = current.size, int(current.sum())
    everything = math.comb(n, n_current)
    if everything <= rounds + 1:
        chosen = np.zeros((everything, n))
        for row, picked in enumerate(combinations(range(n), n_current)):
            chosen[row, list(picked)] = 1
    else:
        generator = np.random.default_rng(seed)
        chosen = (generator.random((rounds, n)).argsort(axis=1) < n_current).astype(float)
    new = chosen @ counts
    old = counts.sum(axis=0) - new
    observed = statistic(counts[~current].sum(axis=0)[None, :], counts[current].sum(axis=0)[None, :])[0]
    alike = (old.sum(axis=1) > 0) & (new.sum(axis=1) > 0)
    extreme = int((statistic(old[alike], new[alike]) >= observed - 1e-12).sum())
    return extreme / everything if everything <= rounds + 1 else (1 + extreme) / (1 + int(alike.sum()))


def centroid_drift(
    vectors: np.ndarray, days: np.ndarray, current: np.ndarray, rounds: int = 999, seed: int = 7
) -> tuple[float | None, float | None]:
    """Return how far the mean of embeddings moved (cosine distance) and its p-value over exchanged days; None where unknown.

    Parameters
    ----------
    vectors, days, current
        One embedding, one day and one flag (in the current period) per session.
    rounds, seed
        As in `find_drift`.
    """
    current = np.asarray(current, dtype=bool)
    if not current.any() or current.all():
        return None, None
    labels = np.array([f"{day}\x1f{flag}" for day, flag in zip(days, current, strict=True)])
    names, codes = np.unique(labels, return_inverse=True)
    sums = np.zeros((names.size, vectors.shape[1]))
    np.add.at(sums, codes, vectors)
    of_current = np.array([name.endswith("True") for name in names])

    def distance(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = (old * new).sum(axis=1) / (np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1))
        return np.asarray(1 - np.nan_to_num(cosine, nan=1.0))

    moved = float(distance(sums[~of_current].sum(axis=0)[None, :], sums[of_current].sum(axis=0)[None, :])[0])
    if min(int(of_current.sum()), int((~of_current).sum())) < MIN_DAYS:
        return moved, None
    n, n_current = names.size, int(of_current.sum())
    chosen = (np.random.default_rng(seed).random((rounds, n)).argsort(axis=1) < n_current).astype(float)
    new = chosen @ sums
    extreme = int((distance(sums.sum(axis=0) - new, new) >= moved - 1e-12).sum())
    return moved, (1 + extreme) / (1 + rounds)


def new_values(reference: pl.DataFrame, current: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Return values that the reference never had (new verbs, API groups, resources, client families …).

    Returns
    -------
    Frame: column, value, n (rows of `current`), most frequent first within a column.
    """
    parts = [pl.DataFrame(schema={"column": pl.String, "value": pl.String, "n": pl.Int64})]
    for name in columns:
        known = reference.select(pl.col(name).cast(pl.String)).unique()
        parts.append(
            current.select(pl.col(name).cast(pl.String)).drop_nulls().join(known, on=name, how="anti")
            .group_by(value=name).agg(n=pl.len().cast(pl.Int64)).sort(["n", "value"], descending=[True, False])
            .select(pl.lit(name).alias("column"), "value", "n")
        )
    return pl.concat(parts)


def drift_by_week(
    observations: pl.DataFrame, features: list[str], reference_weeks: int = 4, alpha: float = 0.05, seed: int = 7
) -> pl.DataFrame:
    """Compare each later week with the first ones.

    Parameters
    ----------
    observations
        Frame with day (a date) and the features, one row per session: see `session_observations`.
    features, alpha, seed
        As in `find_drift`; false discoveries are controlled within each week, because each week asks for a decision.
    reference_weeks
        Weeks (from Monday) that the others are compared with.

    Returns
    -------
    The frame of `find_drift` with the week's Monday as `week` before it; no rows when there is no later week.
    """
    weeks = observations.with_columns(week=pl.col("day").dt.truncate("1w"))
    names = weeks["week"].unique().sort().to_list()
    reference = weeks.filter(pl.col("week").is_in(names[:reference_weeks]))
    parts = [pl.DataFrame(schema={"week": pl.Date, **SCHEMA})]
    for week in names[reference_weeks:]:
        found = find_drift(reference, weeks.filter(pl.col("week") == week), features, alpha, seed=seed)
        parts.append(found.select(pl.lit(week, dtype=pl.Date).alias("week"), pl.all()))
    return pl.concat(parts)


def session_observations(sessions: pl.DataFrame, scores: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return what of a session is watched for drift.

    Parameters
    ----------
    sessions
        Table `sessions`.
    scores
        Frame with session_id and score, when scores shall be watched too.

    Returns
    -------
    Frame, one row per session: day (UTC), actor_kind, source_class, client_family (the first), log_events, log_writes, log_denied,
    n_namespaces, is_new_source, is_new_client, and score where given. Counts are log(1 + n): a few huge sessions would hide the rest.
    """
    logs = {f"log_{name}": pl.col(f"n_{name}").cast(pl.Float64).log1p() for name in ("events", "writes", "denied")}
    frame = sessions.select(
        "session_id", "actor_kind", "source_class", client_family=pl.col("client_families").list.first(), day=pl.col("start").dt.date(),
        **logs, n_namespaces=pl.col("n_namespaces"), is_new_source=pl.col("is_new_source"), is_new_client=pl.col("is_new_client"),
    )
    if scores is not None:
        frame = frame.join(scores.select("session_id", "score"), on="session_id", how="left", maintain_order="left")
    return frame.drop("session_id")
