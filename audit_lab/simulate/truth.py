"""What is true about simulated data: the lines of sessions.jsonl and incidents.jsonl, and a way to join them to found sessions."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from audit_lab.errors import InputError
from audit_lab.simulate.aliases import Names
from audit_lab.simulate.calendar import Calendar
from audit_lab.simulate.incidents import PlannedIncident, Splitting
from audit_lab.simulate.session import Session

_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "template_id": pl.String, "other_template_ids": pl.List(pl.String), "kind": pl.String, "incident_id": pl.String, "variant": pl.String,
    "span": pl.String, "cluster": pl.String, "team": pl.Int64, "actor": pl.String, "source_ip": pl.String, "start": pl.String,
    "end": pl.String, "n_events": pl.Int64, "first_audit_id": pl.String, "last_audit_id": pl.String,
}


class Truth:
    """Writes down what staged sessions are."""

    def __init__(self, names: Names, calendar: Calendar, splitting: Splitting) -> None:
        self.names, self.calendar, self.splitting = names, calendar, splitting

    def of_benign(self, session: Session) -> dict[str, Any]:
        """Return the line of a benign session: one template, found again as it is."""
        first, last = session.first_and_last_audit_id(self.names.seed)
        return self._line([session], "benign", session.start_us, session.end_us, len(session.events), first, last)

    def of_incident(self, incident: PlannedIncident, sessions: list[Session]) -> list[dict[str, Any]]:
        """Return the lines of an incident's sessions as a reader finds them: slower ones fall apart, mixed ones flow together."""
        lines = []
        seats: dict[tuple[str, str], list[Session]] = defaultdict(list)
        for session in sessions:
            seats[session.seat].append(session)
        for together in seats.values():
            times = np.concatenate([session.start_us + session.offsets_us for session in together])
            owners = np.concatenate([np.full(len(session.events), place) for place, session in enumerate(together)])
            ids = [audit_id for session in together for audit_id in session.audit_ids(self.names.seed)]
            order = np.argsort(times, kind="stable")
            for positions in self.splitting.cuts(times[order]):
                chosen = order[positions]
                parts = sorted((together[place] for place in sorted(set(owners[chosen].tolist()))), key=lambda part: part.incident is None)
                kind = incident.episode.kind if parts[0].incident else "benign"
                lines.append(self._line(
                    parts, kind, int(times[chosen[0]]), int(times[chosen[-1]]), len(chosen), ids[chosen[0]], ids[chosen[-1]]
                ))
        return lines

    def incident(self, planned: PlannedIncident, sessions: list[Session]) -> dict[str, Any]:
        """Return the line of the incident file: what a labeller would know, and which templates it came from."""
        incident = planned.episode.incident
        times = np.concatenate([session.start_us + session.offsets_us for session in sessions])
        return {
            "incident_id": planned.incident_id, "title": incident.title, "malicious": incident.malicious,
            "technique_ids": list(incident.technique_ids), "start": time_text(int(times.min())), "end": time_text(int(times.max())),
            "users": sorted({self.names.text(session.names, session.template.lane.user) for session in sessions}),
            "source_ips": sorted({session.source for session in sessions}),
            "audit_ids": [audit_id for session in sessions for audit_id in session.audit_ids(self.names.seed)],
            **({"reason": incident.reason} if not incident.malicious else {}),
            "template_ids": sorted({session.template.template_id for session in sessions}), "variant": planned.variant,
            "recorded_incident": incident.incident_id, "category": incident.category, "cluster": cluster_name(planned.cluster),
            "span": self._span(planned.day),
        }

    def _line(self, parts: list[Session], kind: str, start_us: int, end_us: int, n_events: int, first: str, last: str) -> dict[str, Any]:
        main = parts[0]
        template_id = main.template.template_id
        return {
            "template_id": template_id,
            "other_template_ids": sorted({part.template.template_id for part in parts} - {template_id}),
            "kind": kind, "incident_id": main.incident.incident_id if main.incident else None,
            "variant": main.incident.variant if main.incident else None, "span": self._span(main.day),
            "cluster": cluster_name(main.cluster), "team": main.team, "actor": main.actor, "source_ip": main.source or None,
            "start": time_text(start_us), "end": time_text(end_us), "n_events": n_events, "first_audit_id": first, "last_audit_id": last,
        }

    def _span(self, day: int) -> str:
        return self.calendar.span_names[self.calendar.span_of_day[day]]


def read_truth(folder: str | Path) -> pl.DataFrame:
    """Return sessions.jsonl of a simulation as a frame, one row per simulated session.

    Raises
    ------
    InputError
        When the folder holds no simulation.
    """
    path = Path(folder) / "sessions.jsonl"
    if not path.is_file():
        raise InputError(f"no simulation in '{folder}'", "it holds sessions.jsonl; make one with: audit-lab simulate")
    frame = pl.read_ndjson(path, schema=_SCHEMA)
    return frame.with_columns(pl.col("start", "end").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC"))


def match_sessions(truth: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Join simulated sessions to found ones by their first event.

    Columns in: of `truth` as `read_truth` returns it; of `session_events` `event_id` and `session_id`. Columns out: those of
    `truth`, then `session_id` (null where no found session holds the first event). Resample `template_id`, not sessions:
    sessions of one template are copies.
    """
    found = session_events.select(pl.col("event_id").alias("first_audit_id"), "session_id")
    return truth.join(found, on="first_audit_id", how="left", maintain_order="left")


def cluster_name(cluster: int) -> str:
    """Return the name of a cluster: 'cluster-01' is the first."""
    return f"cluster-{cluster + 1:02d}"


def time_text(moment_us: int) -> str:
    """Return microseconds since 1970 as audit logs write them.

    >>> time_text(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
