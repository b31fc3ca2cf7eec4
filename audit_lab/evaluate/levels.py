"""The other levels: events, and incidents whose events a verdict names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from audit_lab.evaluate.incidents import IncidentMap
from audit_lab.evaluate.intervals import ActorBootstrap, Rate, exact
from audit_lab.lines import Lines, reaches


@dataclass(frozen=True)
class EventFigures:
    """Rates over events: an event is flagged when its session is. What a reviewer has to read, rather than to open."""

    n: int
    malicious: int
    recall: Rate
    fpr: Rate
    precision: Rate

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {name: value.as_dict() if isinstance(value, Rate) else value for name, value in vars(self).items()}


def event_figures(
    sessions: pl.DataFrame, session_events: pl.DataFrame, labels: pl.DataFrame, flagged: np.ndarray, draw: ActorBootstrap
) -> EventFigures:
    """Return recall, false-positive rate and precision over events.

    Parameters
    ----------
    sessions, session_events, labels
        Tables of these names; malicious events are those that malicious incidents name.
    flagged
        Whether each row of `sessions` is flagged.
    draw
        Resamples of actors over the same sessions.

    Returns
    -------
    EventFigures; intervals resample actors.
    """
    n_events = session_events.group_by("session_id").agg(n=pl.len())
    named = (
        labels.filter((pl.col("verdict") == "malicious") & pl.col("session_id").is_not_null())
        .select("session_id", event="event_ids").explode("event", empty_as_null=False)
        .group_by("session_id").agg(bad=pl.col("event").n_unique())
    )
    counts = (
        sessions.select("session_id").join(n_events, on="session_id", how="left", maintain_order="left")
        .join(named, on="session_id", how="left", maintain_order="left").with_columns(pl.col("n", "bad").fill_null(0))
    )
    total, bad = counts["n"].to_numpy().astype(float), counts["bad"].to_numpy().astype(float)
    return EventFigures(
        n=int(total.sum()), malicious=int(bad.sum()),
        recall=draw.ratio(bad * flagged, bad, "malicious events"),
        fpr=draw.ratio((total - bad) * flagged, total - bad, "events that are not malicious"),
        precision=draw.ratio(bad * flagged, total * flagged, "flagged events"),
    )


def cited_recall(incidents: IncidentMap, labels: pl.DataFrame, verdicts: pl.DataFrame, threshold: Lines, confidence: float = 0.95) -> Rate:
    """Return the share of malicious incidents of which a verdict names at least one event in a ground that holds.

    Stricter than 'found': the alert does not only cover the incident, it points at it. Only usable verdicts at or above the
    threshold count.
    """
    n = int(incidents.malicious.sum())
    if verdicts.is_empty():
        return Rate(None, None, None, n, "no judge has run")
    cited = (
        verdicts.filter(pl.col("usable") & reaches(pl.col("score"), threshold)).select("grounds").explode("grounds", empty_as_null=False)
        .unnest("grounds").filter("holds").select(event="event_ids").explode("event", empty_as_null=False).unique()
    )
    named = (
        labels.filter(pl.col("target_kind") == "incident").select("target_id", event="event_ids").explode("event", empty_as_null=False)
        .join(cited, on="event", how="semi")["target_id"].unique().to_list()
    )
    hits = sum(name in set(named) for name, bad in zip(incidents.ids, incidents.malicious, strict=True) if bad)
    return exact(hits, n, confidence, "malicious incidents")
