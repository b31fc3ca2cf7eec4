"""Incident level: which incidents were found, how soon, and which look-alikes were flagged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from audit_lab.evaluate.impact import first_impacts
from audit_lab.evaluate.intervals import Rate, exact

# Resampled medians of fewer incidents than this jump between a few values and claim too much.
MIN_INCIDENTS = 5
RESAMPLES = 1000
SEED = 7


@dataclass(frozen=True)
class IncidentMap:
    """Which rows of `sessions` hold each incident's events; arrays are aligned with `ids`.

    `first_event` and `session_end` are µs since 1970; `first_event` is nan for an incident without events in the data.
    `first_impact` is the time of the first event that did damage (`impact.first_impacts`), nan where none did; None when the
    events did not say what they are.
    """

    ids: list[str]
    malicious: np.ndarray
    rows: list[np.ndarray]
    first_event: np.ndarray
    session_end: np.ndarray
    left_out: list[str]
    first_impact: np.ndarray | None = None

    def best(self, scores: np.ndarray) -> np.ndarray:
        """Return the highest score among each incident's sessions; -inf for an incident without any."""
        return np.array([scores[rows].max() if rows.size else -np.inf for rows in self.rows], dtype=float)

    def detected_at(self, flagged: np.ndarray) -> np.ndarray:
        """Return when the first flagged session of each incident ended, µs since 1970; nan where none was flagged."""
        return np.array(
            [self.session_end[rows[flagged[rows]]].min() if flagged[rows].any() else np.nan for rows in self.rows], dtype=float
        )


@dataclass(frozen=True)
class IncidentFigures:
    """Found and missed incidents, and flagged look-alikes, at one threshold."""

    n: int
    found: int | None
    recall: Rate
    missed: list[str] | None
    time_to_detect_s: dict[str, Any]
    before_impact: Rate
    lead_s: dict[str, Any]
    look_alikes: int
    look_alikes_flagged: list[str] | None
    look_alike_rate: Rate

    def incidents_dict(self) -> dict[str, Any]:
        """Return the block `incidents` as a JSON object."""
        return {
            "n": self.n, "found": self.found, "recall": self.recall.as_dict(), "missed": self.missed,
            "time_to_detect_s": self.time_to_detect_s, "before_impact": self.before_impact.as_dict(), "lead_s": self.lead_s,
        }

    def benign_suspicious_dict(self) -> dict[str, Any]:
        """Return the block `benign_suspicious` as a JSON object."""
        flagged = self.look_alikes_flagged
        return {
            "n": self.look_alikes, "flagged": None if flagged is None else len(flagged), "ids": flagged,
            "rate": self.look_alike_rate.as_dict(),
        }


def map_incidents(
    incidents: pl.DataFrame, labels: pl.DataFrame, sessions: pl.DataFrame, events: pl.DataFrame, impact: Collection[str] = ()
) -> IncidentMap:
    """Find the sessions and the first event of each incident.

    Parameters
    ----------
    incidents, labels, sessions
        Tables of these names; labels of target_kind incident tie the other two.
    events
        Table `events`, or its columns event_id and time.
    impact
        Categories of predicates that do damage; needs the events' other columns.

    Returns
    -------
    IncidentMap in order of the incident file. An incident that lies wholly before or after the data (by its start and
    end, and without any event in them) could not be found and is left out, by name; any other one without
    events counts, and is missed.
    """
    placed = (
        labels.filter((pl.col("target_kind") == "incident") & pl.col("session_id").is_not_null())
        .join(sessions.select("session_id").with_row_index("row"), on="session_id", how="inner")
        .select("target_id", "row", "event_ids")
    )
    members = dict(placed.group_by("target_id").agg(pl.col("row").unique().sort()).iter_rows())
    first = dict(
        placed.select("target_id", event_id="event_ids").explode("event_id", empty_as_null=False)
        .join(events.select("event_id", "time"), on="event_id", how="inner")
        .group_by("target_id").agg(pl.col("time").min().dt.epoch("us").cast(pl.Float64)).iter_rows()
    )
    damage = first_impacts(events, placed, impact) if impact else None
    data_start, data_end = sessions["start"].min(), sessions["end"].max()
    ids, malicious, left_out = [], [], []
    for row in incidents.iter_rows(named=True):
        name = row["incident_id"]
        outside = data_start is not None and (
            (row["end"] is not None and row["end"] < data_start) or (row["start"] is not None and row["start"] > data_end)
        )
        if name not in members and outside:
            left_out.append(name)
            continue
        ids.append(name)
        malicious.append(row["malicious"])
    return IncidentMap(
        ids=ids,
        malicious=np.array(malicious, dtype=bool),
        rows=[np.array(members.get(name, []), dtype=np.int64) for name in ids],
        first_event=np.array([first.get(name, np.nan) for name in ids], dtype=float),
        session_end=sessions["end"].dt.epoch("us").to_numpy().astype(float),
        left_out=left_out,
        first_impact=None if damage is None else np.array([damage.get(name, np.nan) for name in ids], dtype=float),
    )


def incident_figures(incidents: IncidentMap, flagged: np.ndarray, confidence: float = 0.95) -> IncidentFigures:
    """Return which incidents are found when the sessions of `flagged` are flagged.

    An incident is found when a flagged session holds one of its events. Time to detect: from its first event to the end of the first such
    session, seconds. `before_impact`: share of the incidents with damage that were found before it was done; one that was not found was
    not found in time. `lead_s`: seconds from detection to the first damage, below 0 where it came too late. Incidents are independent
    of each other: their rates have exact intervals, medians those of resampled incidents.
    """
    hit = np.array([bool(flagged[rows].any()) for rows in incidents.rows], dtype=bool)
    attack = incidents.malicious
    n, n_benign = int(attack.sum()), int((~attack).sum())
    detected = incidents.detected_at(flagged)
    delays = (detected - incidents.first_event)[attack & hit] / 1e6
    before, leads = _before_impact(incidents, detected, confidence)
    return IncidentFigures(
        n=n,
        found=int((attack & hit).sum()),
        recall=exact(int((attack & hit).sum()), n, confidence, "malicious incidents"),
        missed=[name for name, miss in zip(incidents.ids, attack & ~hit, strict=True) if miss],
        time_to_detect_s=_delays(delays[np.isfinite(delays)], confidence, "no incident was found"),
        before_impact=before,
        lead_s=leads,
        look_alikes=n_benign,
        look_alikes_flagged=[name for name, bad in zip(incidents.ids, ~attack & hit, strict=True) if bad],
        look_alike_rate=exact(int((~attack & hit).sum()), n_benign, confidence, "benign-but-suspicious incidents"),
    )


def _before_impact(incidents: IncidentMap, detected: np.ndarray, confidence: float) -> tuple[Rate, dict[str, Any]]:
    if incidents.first_impact is None:
        reason = "the events do not say what they did"
        return Rate(None, None, None, 0, reason), _delays(np.zeros(0), confidence, reason)
    harmful = incidents.malicious & np.isfinite(incidents.first_impact)
    leads = ((incidents.first_impact - detected) / 1e6)[harmful]
    in_time = exact(int((leads > 0).sum()), int(harmful.sum()), confidence, "incidents with damage")
    return in_time, _delays(leads[np.isfinite(leads)], confidence, "no incident with damage was found")


def unscored_incidents(incidents: IncidentMap, reason: str) -> IncidentFigures:
    """Return the figures of a scorer that scored nothing: null with a reason, never 0."""
    n, n_benign = int(incidents.malicious.sum()), int((~incidents.malicious).sum())
    nothing = _delays(np.zeros(0), 0.95, reason)
    null = Rate(None, None, None, n, reason)
    return IncidentFigures(n, None, null, None, nothing, null, nothing, n_benign, None, Rate(None, None, None, n_benign, reason))


def _delays(seconds: np.ndarray, confidence: float, nothing: str) -> dict[str, Any]:
    """Return median with its interval over resampled incidents, 90th percentile and maximum; seconds."""
    if not seconds.size:
        return {"n": 0, "median": None, "low": None, "high": None, "p90": None, "max": None, "reason": nothing}
    ends: tuple[float | None, float | None] = (None, None)
    if seconds.size >= MIN_INCIDENTS:
        draws = np.random.default_rng(SEED).integers(0, seconds.size, (RESAMPLES, seconds.size))
        low, high = np.quantile(np.median(seconds[draws], axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
        ends = (float(low), float(high))
    few = {"reason": f"too few incidents for an interval: {seconds.size} of {MIN_INCIDENTS}"} if ends[0] is None else {}
    return {
        "n": int(seconds.size), "median": float(np.median(seconds)), "low": ends[0], "high": ends[1],
        "p90": float(np.quantile(seconds, 0.9)), "max": float(seconds.max()), **few,
    }
