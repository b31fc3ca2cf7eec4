"""Do reviewers agree beyond chance? Cohen's κ for two, Krippendorff's α for any number with gaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

MIN_TARGETS = 10
RESAMPLES = 1000


@dataclass(frozen=True)
class Agreement:
    """A coefficient (1 = always, 0 = as chance would), its interval over resampled targets, and the number of targets."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return dict(vars(self))


def ratings(labels: pl.DataFrame, leave_out: tuple[str, ...] = ("unsure",)) -> tuple[np.ndarray, list[str], list[str]]:
    """Turn labels into a table of ratings.

    Parameters
    ----------
    labels
        Table `labels`, only those that stand (`current_labels`).
    leave_out
        Verdicts that count as no rating.

    Returns
    -------
    (ratings, authors, verdicts): one row per author, one column per target; the place of the verdict in `verdicts`, -1 where
    the author did not rate the target.
    """
    named = pl.col("target_kind") + "\x1f" + pl.col("target_id")
    rows = labels.filter(~pl.col("verdict").is_in(list(leave_out))).with_columns(target=named)
    rows = rows.unique(["target", "author"], keep="last", maintain_order=True)
    authors, targets, verdicts = (rows[name].unique().sort().to_list() for name in ("author", "target", "verdict"))
    table = np.full((len(authors), len(targets)), -1, dtype=np.int64)
    places = [{value: place for place, value in enumerate(values)} for values in (authors, targets, verdicts)]
    for author, target, verdict in rows.select("author", "target", "verdict").iter_rows():
        table[places[0][author], places[1][target]] = places[2][verdict]
    return table, authors, verdicts


def cohen_kappa(first: np.ndarray, second: np.ndarray, confidence: float = 0.95, seed: int = 7) -> Agreement:
    """Return Cohen's κ of two reviewers (Cohen 1960).

    Parameters
    ----------
    first, second
        Verdict codes of the same targets, -1 = not rated; only targets that both rated count.
    confidence, seed
        Of the interval over resampled targets.

    >>> both = np.array([0, 1, 1, 0, 1, 0, 1, 1, 0, 0])
    >>> cohen_kappa(both, both).value
    1.0
    """
    both = (first >= 0) & (second >= 0)
    pairs = np.column_stack([first[both], second[both]])
    return _with_interval(pairs, _kappa, confidence, seed)


def krippendorff_alpha(table: np.ndarray, confidence: float = 0.95, seed: int = 7) -> Agreement:
    """Return Krippendorff's α for nominal verdicts, any number of reviewers, gaps allowed (Krippendorff 2011).

    Parameters
    ----------
    table
        Verdict codes, one row per reviewer, one column per target, -1 = not rated. Targets with one rating tell nothing and are left out.
    confidence, seed
        Of the interval over resampled targets.
    """
    rated = table[:, (table >= 0).sum(axis=0) >= 2] if table.size else table
    return _with_interval(rated.T, _alpha, confidence, seed)


def _kappa(pairs: np.ndarray) -> float:
    size = int(pairs.max()) + 1
    counts = np.bincount(pairs[:, 0] * size + pairs[:, 1], minlength=size * size).reshape(size, size) / len(pairs)
    by_chance = float(counts.sum(axis=1) @ counts.sum(axis=0))
    return float((np.trace(counts) - by_chance) / (1 - by_chance)) if by_chance < 1 else np.nan


def _alpha(targets: np.ndarray) -> float:
    size = int(targets.max()) + 1
    counts = np.stack([(targets == code).sum(axis=1) for code in range(size)], axis=1).astype(float)
    ratings_each = counts.sum(axis=1)
    observed = float(((ratings_each**2 - (counts**2).sum(axis=1)) / (ratings_each - 1)).sum())
    totals, n = counts.sum(axis=0), counts.sum()
    expected = float((n**2 - (totals**2).sum()) / (n - 1))
    return 1 - observed / expected if expected else np.nan


def _with_interval(units: np.ndarray, coefficient: Any, confidence: float, seed: int) -> Agreement:
    n = len(units)
    if n == 0:
        return Agreement(None, None, None, 0, "no target that two reviewers rated")
    value = coefficient(units)
    if np.isnan(value):
        return Agreement(None, None, None, n, "all verdicts are the same: agreement beyond chance is not defined")
    if n < MIN_TARGETS:
        return Agreement(float(value), None, None, n, f"fewer than {MIN_TARGETS} targets: no interval")
    generator = np.random.default_rng(seed)
    drawn = np.array([coefficient(units[generator.integers(0, n, n)]) for _ in range(RESAMPLES)])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size < RESAMPLES / 2:
        return Agreement(float(value), None, None, n, "the verdicts vary too little for an interval")
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Agreement(float(value), min(float(low), float(value)), max(float(high), float(value)), n)
