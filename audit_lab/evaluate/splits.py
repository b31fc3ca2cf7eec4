"""Time order: what trains, tunes or calibrates comes before what it is tested on; and how figures change with time."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl

from audit_lab.errors import InputError
from audit_lab.evaluate.intervals import bootstrap_actors


class TimeSplit(NamedTuple):
    """Sessions before a moment, from it on, and those that lie across it and belong to neither."""

    earlier: pl.DataFrame
    later: pl.DataFrame
    across: pl.DataFrame


def split_by_time(sessions: pl.DataFrame, at: datetime) -> TimeSplit:
    """Split sessions at a moment.

    Parameters
    ----------
    sessions
        Frame with start and end.
    at
        The moment (with its time zone).

    Returns
    -------
    TimeSplit: earlier ones end before `at`, later ones start at or after it; a session across it would let the future leak
    into the past, so it is in neither.
    """
    earlier, later = pl.col("end") < at, pl.col("start") >= at
    return TimeSplit(sessions.filter(earlier), sessions.filter(later), sessions.filter(~earlier & ~later))


def require_time_order(trained_on: pl.DataFrame, tested_on: pl.DataFrame) -> None:
    """Refuse a test on data that do not come after what was trained on.

    Parameters
    ----------
    trained_on, tested_on
        Frames with start and end, one row per session.

    Raises
    ------
    InputError
        When a tested session starts before the last trained one ends.
    """
    last, first = trained_on["end"].max(), tested_on["start"].min()
    if isinstance(last, datetime) and isinstance(first, datetime) and first <= last:
        raise InputError(
            f"tested on data from {first:%Y-%m-%d %H:%M:%S}, trained on data until {last:%Y-%m-%d %H:%M:%S}",
            "test on later data only: split_by_time gives both sides",
        )


def decay(
    session_scores: pl.DataFrame, threshold: float | None = None, scorer: str = "all", every: str = "1w", resamples: int = 1000,
    confidence: float = 0.95, seed: int = 7,
) -> pl.DataFrame:
    """Return the figures of each week (or another period), so that a loss shows while it can still be repaired.

    Parameters
    ----------
    session_scores
        Frame of `Evaluation.session_scores`.
    threshold, scorer
        Which scorer, flagged from which score; as the evaluation flagged when None.
    every
        Length of a period in Polars' notation: 1w, 1d, 6h …
    resamples, confidence, seed
        Of the bootstrap over actors, within each period.

    Returns
    -------
    Frame, one row per period and measure, in order of time: period (start, UTC), measure (recall, fpr, precision), value, low, high,
    n, reason.
    """
    rows = session_scores.filter(pl.col("scorer") == scorer).with_columns(period=pl.col("start").dt.truncate(every)).sort("session_id")
    found = []
    for (period,), part in rows.sort("period", "session_id").group_by("period", maintain_order=True):
        reached = part["flagged"] if threshold is None else part["score"] >= threshold
        flagged = (part["shown"] & reached).to_numpy()
        malicious = (part["class"] == "malicious").to_numpy()
        draw = bootstrap_actors((part["cluster"] + "\x1f" + part["actor"]).to_numpy(), resamples, confidence, seed)
        for measure, hits, among, unit in (
            ("recall", flagged, malicious, "malicious sessions"),
            ("fpr", flagged, ~malicious, "sessions that are not malicious"),
            ("precision", malicious, flagged, "flagged sessions"),
        ):
            rate = draw.rate(np.asarray(hits), np.asarray(among), unit)
            found.append({"period": period, "measure": measure, **vars(rate)})
    floats = dict.fromkeys(("value", "low", "high"), pl.Float64)
    return pl.DataFrame(found, schema={"period": rows.schema["period"], "measure": pl.String, **floats, "n": pl.Int64, "reason": pl.String})
