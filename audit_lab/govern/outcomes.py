"""What became of each incident: found by what, or missed, and why it may have been missed.

The reasons are a closed list and computed from the tables; each states its numbers. They say where to look,
not what is certain: more than one may hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from audit_lab.govern.cases import Case
from audit_lab.govern.inputs import ReportInput
from audit_lab.govern.numbers import score

SHARE_OF_ROUTINE = 0.1  # an incident that makes up less of its session is called mixed into routine
FEW_EVENTS = 3
WRITES = ("create", "update", "patch")  # requests that carry a body worth a rule

# Code of a reason -> its sentence; the order is the order of the flow.
REASONS: dict[str, str] = {
    "no_events": "none of its events is in the archives",
    "no_session": "{n} of its {total} events lie in no session",
    "no_body": "{n} of its {total} writes were logged without their body: rules on bodies were blind there",
    "truncated": "the API server cut the bodies of {n} of its {total} events",
    "few_events": "only {n} events: little to judge by",
    "mixed": "its {n} events are mixed into sessions of {total} events of routine",
    "no_rule": "no rule fired on its sessions",
    "no_signal": "no detector raised a signal on its sessions",
    "out_of_budget": "not chosen for judgement: best score {score}, the lowest that was chosen by rank had {lowest}",
    "below_threshold": "judged, but scored {score}, below the threshold {threshold}",
    "unusable": "its verdict was set aside: its grounds did not hold, or told nothing",
    "abstained": "the judge gave no score",
}


@dataclass(frozen=True)
class Outcome:
    """An incident as the report shows it: `detectors` raised signals on it, `found_by` are scorers that would flag it alone."""

    anchor: str
    incident_id: str
    title: str
    malicious: bool
    reason: str
    techniques: list[str]
    start: datetime | None
    n_events: int
    n_sessions: int
    flagged: bool
    cases: list[Case]
    detectors: list[str]
    found_by: list[str]
    delay_s: float | None
    why_missed: list[tuple[str, dict[str, Any]]]


def build_outcomes(data: ReportInput, cases: list[Case]) -> list[Outcome]:
    """Return what became of each incident of the incident file, in its order; those outside the time of the data are left out.

    `flagged` follows the evaluation where it is given, so that the report and `audit-lab evaluate` never differ.
    """
    incident_labels = data.labels.filter(pl.col("target_kind") == "incident")
    by_incident: dict[str, list[dict[str, Any]]] = {}
    for row in incident_labels.iter_rows(named=True):
        by_incident.setdefault(row["target_id"], []).append(row)
    missed, flagged_lookalikes = _stated(data.evaluation)
    facts = _facts(data)
    outside = set((data.evaluation or {}).get("incidents_outside_data") or ())
    return [
        _outcome(
            number,
            row,
            by_incident.get(row["incident_id"], []),
            cases,
            missed if row["malicious"] else None,
            None if row["malicious"] else flagged_lookalikes,
            facts,
            data,
        )
        for number, row in enumerate(data.incidents.iter_rows(named=True), start=1)
        if row["incident_id"] not in outside
    ]


def _stated(evaluation: Mapping[str, Any] | None) -> tuple[set[str] | None, set[str] | None]:
    incidents = (evaluation or {}).get("incidents") or {}
    lookalikes = (evaluation or {}).get("benign_suspicious") or {}
    missed = set(incidents["missed"]) if incidents.get("missed") is not None else None
    flagged = set(lookalikes["ids"]) if lookalikes.get("ids") is not None else None
    return missed, flagged


def _outcome(
    number: int,
    row: Mapping[str, Any],
    labels: list[dict[str, Any]],
    cases: list[Case],
    missed: set[str] | None,
    lookalikes: set[str] | None,
    facts: _Facts,
    data: ReportInput,
) -> Outcome:
    sessions = {label["session_id"] for label in labels if label["session_id"] is not None}
    own = [case for case in cases if sessions & {member["session_id"] for member in case.sessions}]
    hits = [case for case in own if case.flagged]
    if missed is not None:
        flagged = row["incident_id"] not in missed
    elif lookalikes is not None:
        flagged = row["incident_id"] in lookalikes
    else:
        flagged = bool(hits)
    event_ids = {event_id for label in labels for event_id in label["event_ids"]}
    first = min((facts.time[event_id] for event_id in event_ids if event_id in facts.time), default=row["start"])
    measured = facts.measured.get(row["incident_id"], {})
    ended = min((case.end for case in hits if case.end), default=None)
    delay = max(0.0, (ended - first).total_seconds()) if flagged and ended and first else None
    signals = facts.signals.filter(pl.col("session_id").is_in(sorted(sessions)))
    detectors = signals.sort("strength", "detector_id", descending=[True, False])["detector_id"].unique(maintain_order=True).to_list()
    return Outcome(
        anchor=f"incident-{number}",
        incident_id=row["incident_id"],
        title=row["title"],
        malicious=row["malicious"],
        reason=row["reason"] or "",
        techniques=row["technique_ids"],
        start=first,
        n_events=len(event_ids | set(row["audit_ids"])),
        n_sessions=len(sessions),
        flagged=flagged,
        cases=own,
        detectors=detectors,
        found_by=list(measured.get("found_by") or []),
        delay_s=measured.get("time_to_detect_s", delay),
        why_missed=[] if flagged or not row["malicious"] else why_missed(event_ids | set(row["audit_ids"]), sessions, own, facts, data),
    )


@dataclass(frozen=True)
class _Facts:
    time: dict[str, datetime]
    events: pl.DataFrame
    signals: pl.DataFrame
    session_of: dict[str, str]
    size: dict[str, int]
    best: dict[str, float]
    lowest: float | None
    measured: dict[str, dict[str, Any]]


def _facts(data: ReportInput) -> _Facts:
    fused = data.scores.filter(pl.col("detector_id") == "fused") if data.scores.height else data.scores
    measured = (data.details or {}).get("incident_rows")
    by_rank = data.candidates.filter(pl.col("selected_by") == "rank")
    return _Facts(
        time=dict(data.events.select("event_id", "time").iter_rows()),
        events=data.events.select("event_id", "has_body", "truncated", writes=pl.col("verb").is_in(WRITES)),
        signals=data.signals,
        session_of=dict(data.session_events.select("event_id", "session_id").iter_rows()),
        size=dict(data.sessions.select("session_id", "n_events").iter_rows()),
        best=dict(fused.group_by("session_id").agg(pl.col("score").max()).iter_rows()),
        lowest=by_rank["score"].min() if by_rank.height else None,  # type: ignore[arg-type]
        measured={} if measured is None else {row["incident_id"]: row for row in measured.iter_rows(named=True)},
    )


def why_missed(
    event_ids: set[str],
    sessions: set[str],
    own: list[Case],
    facts: _Facts,
    data: ReportInput,
) -> list[tuple[str, dict[str, Any]]]:
    """Return codes of `REASONS` with their numbers, in the order of the flow."""
    found = facts.events.filter(pl.col("event_id").is_in(sorted(event_ids)))
    if not found.height and not sessions:
        return [("no_events", {})]
    reasons: list[tuple[str, dict[str, Any]]] = []
    total = found.height
    homeless = sum(1 for event_id in found["event_id"] if event_id not in facts.session_of)
    writes = found.filter("writes").height
    bodiless = found.filter(pl.col("writes") & ~pl.col("has_body") & ~pl.col("truncated")).height
    cut = found.filter(pl.col("truncated")).height
    for code, n, of in (("no_session", homeless, total), ("no_body", bodiless, writes), ("truncated", cut, total)):
        if n:
            reasons.append((code, {"n": n, "total": of}))
    if 0 < total <= FEW_EVENTS:
        reasons.append(("few_events", {"n": total}))
    around = sum(facts.size.get(session, 0) for session in sessions)
    if total and total < SHARE_OF_ROUTINE * around:
        reasons.append(("mixed", {"n": total, "total": around}))
    signals = facts.signals.filter(pl.col("session_id").is_in(sorted(sessions)))
    if not signals.height:
        reasons.append(("no_signal", {}))
    elif not signals.filter(pl.col("kind").is_in(["rule", "correlation"])).height:
        reasons.append(("no_rule", {}))
    return reasons + (_judged(own, data) if own else _unchosen(sessions, facts))


def _unchosen(sessions: set[str], facts: _Facts) -> list[tuple[str, dict[str, Any]]]:
    best = max((facts.best[session] for session in sessions if session in facts.best), default=None)
    return [("out_of_budget", {"score": score(best), "lowest": score(facts.lowest)})] if sessions else []


def _judged(own: list[Case], data: ReportInput) -> list[tuple[str, dict[str, Any]]]:
    reasons: list[tuple[str, dict[str, Any]]] = []
    verdicts = [case.verdict for case in own if case.verdict]
    if verdicts and all(verdict["score"] is None for verdict in verdicts):
        reasons.append(("abstained", {}))
    elif any(not verdict["usable"] for verdict in verdicts):
        reasons.append(("unusable", {}))
    best = max(own, key=lambda case: case.score)
    reasons.append(("below_threshold", {"score": score(best.score), "threshold": score(data.lines.of(best.case_id))}))
    return reasons
