"""Change points: when did the share of wrong labels, overrides or false alerts change, and a watch that notices while it happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.counting import counted
from audit_lab.errors import InputError
from audit_lab.profile import DriftSettings

_DEFAULTS = DriftSettings()


@dataclass(frozen=True)
class ChangePoint:
    """The stream changed before item `at` (from 0): share of ones before and after within its segment, and the p-value."""

    at: int
    before: float
    after: float
    p_value: float


def change_points(
    stream: np.ndarray, alpha: float = _DEFAULTS.change_alpha, min_segment: int = _DEFAULTS.change_segment, rounds: int = 499,
    seed: int = 7,
) -> list[ChangePoint]:
    """Find where a stream of zeros and ones (errors in order of time) changed its share.

    Binary segmentation (Scott & Knott 1974) with the Bernoulli likelihood ratio; each split has to be larger than in all but `alpha` of
    the segment's random orders, so nothing is assumed about the share itself.

    Parameters
    ----------
    stream
        True where the label contradicted the verdict, in order of time.
    alpha
        Chance of a false split in an unchanged segment.
    min_segment
        Fewest items on a side.
    rounds, seed
        Random orders, and their seed.

    Returns
    -------
    Change points in order; none where the stream is too short.
    """
    if min_segment < 1:
        raise InputError(f"segments of {min_segment} items", "give at least 1")
    found: list[ChangePoint] = []
    generator = np.random.default_rng(seed)
    open_segments = [(0, int(stream.size))]
    while open_segments:
        start, end = open_segments.pop()
        part = stream[start:end].astype(float)
        if part.size < 2 * min_segment:
            continue
        best, at = _best_split(part[None, :], min_segment)
        shuffled = generator.permuted(np.tile(part, (rounds, 1)), axis=1)
        beaten, _ = _best_split(shuffled, min_segment)
        p_value = float((1 + (beaten >= best[0] - 1e-12).sum()) / (1 + rounds))
        if p_value <= alpha:
            cut = int(at[0])
            found.append(ChangePoint(start + cut, float(part[:cut].mean()), float(part[cut:].mean()), p_value))
            open_segments += [(start, start + cut), (start + cut, end)]
    return sorted(found, key=lambda change: change.at)


def _best_split(rows: np.ndarray, min_segment: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest log-likelihood gain of each row over all splits, and where it is."""
    n = rows.shape[1]
    cuts = np.arange(min_segment, n - min_segment + 1)
    ones = rows.cumsum(axis=1)
    left, total = ones[:, cuts - 1], ones[:, -1:]
    gain = _likelihood(left, cuts) + _likelihood(total - left, n - cuts) - _likelihood(total, np.array([n]))
    best = gain.argmax(axis=1)
    return gain[np.arange(rows.shape[0]), best], cuts[best]


def _likelihood(ones: np.ndarray, size: np.ndarray) -> np.ndarray:
    share = ones / size
    with np.errstate(divide="ignore", invalid="ignore"):
        ones_part = np.where(share > 0, share * np.log(share), 0.0)
        zeros_part = np.where(share < 1, (1 - share) * np.log1p(-share), 0.0)
    return np.asarray(size * (ones_part + zeros_part))


def opinions(judged: pl.DataFrame) -> pl.DataFrame:
    """Return one row per judgement that stands beside a verdict, in order of time: case_id, start, flagged, malicious."""
    known = judged.filter(pl.col("malicious").is_not_null(), pl.col("score").is_not_null()).sort("start", "case_id")
    judgement = pl.col("opinion" if "opinion" in known.columns else "case_id")
    return known.group_by(judgement.alias("judgement"), maintain_order=True).agg(
        pl.col("case_id", "start").first(), pl.col("flagged", "malicious").any()
    ).drop("judgement")


def error_changes(judged: pl.DataFrame, by: str = "week", settings: DriftSettings = _DEFAULTS) -> pl.DataFrame:
    """Find where labels began to contradict verdicts more, or less, often.

    Parameters
    ----------
    judged
        case_id, start (UTC), score, flagged (bool), malicious (bool; null where nobody said so): one row per judged case. Where `opinion`
        is given, cases with the same one are one judgement (an incident with ten cases is no ten opinions), flagged when any of them is.
    by
        week or day: names the period in which a change lies.
    settings
        Section drift of the profile: change_alpha, change_segment, seed.

    Returns
    -------
    Table `drifts`, one row per change (family overrides, feature 'label errors', value 1, 2 …); where there is none one row that says so,
    null with a reason where labelled cases are too few. before and after are the shares of wrong verdicts around the change.
    """
    known, min_segment = opinions(judged), settings.change_segment
    wrong = known.select(pl.col("flagged") != pl.col("malicious")).to_series().to_numpy().astype(bool)
    base: dict[str, Any] = {
        **dict.fromkeys(tables.TABLES["drifts"].columns), "by": by, "family": "overrides", "feature": "label errors",
        "kind": "change point",
        "n_reference": 0.0, "n_current": float(wrong.size), "alarm": False, "value": "",
    }
    if judged.is_empty():
        return tables.empty("drifts")
    starts: list[datetime] = known["start"].to_list()
    last: datetime = judged["start"].max()  # type: ignore[assignment]
    rows = []
    if wrong.size < 2 * min_segment:
        reason = f"{counted(wrong.size, 'case')} with a verdict and a label, {2 * min_segment} needed"
        rows.append(base | {"period": last, "alarm": None, "reason": reason})
    found = change_points(wrong, settings.change_alpha, min_segment, seed=settings.seed)
    cuts = [0, *(change.at for change in found), int(wrong.size)]
    for number, change in enumerate(found, start=1):
        rows.append(base | {
            "value": str(number), "period": starts[change.at], "since": starts[change.at], "before": change.before,
            "after": change.after, "n_reference": float(change.at - cuts[number - 1]), "n_current": float(cuts[number + 1] - change.at),
            "p_value": change.p_value, "alarm": True,
        })
    if not rows:
        rows.append(base | {"period": last, "before": float(wrong.mean()), "after": float(wrong.mean())})
    every = "1w" if by == "week" else "1d"
    return tables.conform(
        pl.DataFrame(rows, schema=tables.TABLES["drifts"].schema).with_columns(pl.col("period").dt.truncate(every)), "drifts"
    )


def watch(stream: np.ndarray, usual: float, worse: float) -> np.ndarray:
    """Return the running evidence that the share of ones rose from `usual` to `worse` (Bernoulli CUSUM, Page 1954).

    It never falls below 0; the alarm is given where it first reaches `watch_limit`.

    >>> watch(np.array([False, True, True]), 0.1, 0.3).round(2).tolist()
    [0.0, 1.1, 2.2]
    """
    if not 0 < usual < worse < 1:
        raise InputError(f"a usual share of {usual:g} and a worse one of {worse:g}", "give two shares between 0 and 1, the usual one first")
    rise, fall = np.log(worse / usual), np.log((1 - worse) / (1 - usual))
    steps = fall + (rise - fall) * stream.astype(float)
    walk = np.concatenate([[0.0], steps.cumsum()])
    return np.asarray((walk - np.minimum.accumulate(walk))[1:])


def watch_limit(usual: float, worse: float, n: int, false_alarm: float = 0.05, rounds: int = 2000, seed: int = 7) -> float:
    """Return the evidence that an unchanged stream of `n` items reaches with probability `false_alarm` at most, by simulation."""
    streams = np.random.default_rng(seed).random((rounds, n)) < usual
    highest = np.array([watch(stream, usual, worse).max(initial=0.0) for stream in streams])
    # Strictly above the quantile: the walk moves in steps, so many runs share the same highest value.
    return float(np.nextafter(np.quantile(highest, 1 - false_alarm, method="higher"), np.inf))


def first_alarm(stream: np.ndarray, usual: float, worse: float, limit: float) -> int | None:
    """Return the item (from 0) at which the watch gives its first alarm; None when it gives none."""
    reached = np.flatnonzero(watch(stream, usual, worse) >= limit)
    return int(reached[0]) if reached.size else None
