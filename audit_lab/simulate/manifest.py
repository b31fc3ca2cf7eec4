"""What a simulation says about itself: counts, the report, and manifest.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audit_lab.simulate.aliases import Names
from audit_lab.simulate.calendar import Calendar, Drift
from audit_lab.simulate.load import Load
from audit_lab.simulate.recording import Recording
from audit_lab.simulate.rotate import RotatingWriter
from audit_lab.simulate.stage import StagedDay
from audit_lab.simulate.templates import SECOND, Library
from audit_lab.simulate.truth import cluster_name, time_text

FORMAT = 1  # of manifest.json and its companions


@dataclass(frozen=True)
class SimulationReport:
    """What was made. `as_dict()` is the JSON that the command prints."""

    out: Path
    n_events: int             # distinct audit IDs
    n_records: int            # lines: some requests are logged at several stages
    n_sessions: int           # as the default profile finds them
    n_malicious_sessions: int
    n_look_alike_sessions: int
    n_incidents: int          # malicious ones
    n_look_alikes: int
    n_templates: int          # distinct templates that were used
    n_given_up: int           # sessions and incidents that found no free place
    prevalence: float         # share of sessions that hold events of a malicious incident
    archives: tuple[Path, ...]
    bytes: int                # decompressed
    bytes_on_disk: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, paths as text."""
        values = asdict(self)
        return {**values, "out": str(self.out), "archives": [str(path) for path in self.archives]}


class Tally:
    """Counts what is made."""

    def __init__(self) -> None:
        self.n_events = self.n_records = self.n_given_up = 0
        self.sessions: Counter[str] = Counter()
        self.incidents: Counter[str] = Counter()
        self.variants: Counter[str] = Counter()
        self.uses: Counter[str] = Counter()

    def add(self, staged: StagedDay) -> None:
        """Count a day."""
        self.n_given_up += staged.n_given_up
        self.sessions.update(row["kind"] for row in staged.truth)
        self.incidents.update("malicious" if line["malicious"] else "look-alike" for line in staged.incidents)
        self.variants.update(line["variant"] for line in staged.incidents if line["malicious"])
        self.uses.update(session.template.template_id for session in staged.sessions)

    def report(self, folder: Path, writer: RotatingWriter) -> SimulationReport:
        """Return the counts as a report."""
        n_sessions = sum(self.sessions.values())
        return SimulationReport(
            folder, self.n_events, self.n_records, n_sessions, self.sessions["malicious"], self.sessions["look-alike"],
            self.incidents["malicious"], self.incidents["look-alike"], len(self.uses), self.n_given_up,
            self.sessions["malicious"] / n_sessions if n_sessions else 0.0, tuple(writer.files), writer.bytes, writer.bytes_on_disk,
        )


def make_manifest(
    asked: dict[str, Any], report: SimulationReport, recording: Recording, libraries: Sequence[Library], load: Load,
    drifts: Sequence[Drift], names: Names, tally: Tally,
) -> dict[str, Any]:
    """Return manifest.json: what was asked for, what was made, from what, and what was planted when."""
    calendar = load.calendar
    made = {key: value for key, value in report.as_dict().items() if key not in ("out", "archives", "bytes_on_disk")}
    made |= {"teams_per_cluster": load.teams, "variants": dict(sorted(tally.variants.items()))}
    return {
        "format": FORMAT, "asked": asked, "made": made,
        "recording": {
            "content_sha256": list(recording.digests), "n_records": recording.index.height, "n_skipped": recording.n_skipped,
            "n_incidents": len(recording.incidents),
        },
        "note": "Resampled from a recording: many sessions are copies of one template. Give the number of distinct templates with every "
                "figure and resample templates, not sessions. It proves scale, drift alarms and interval code, never accuracy.",
        "spans": [_span(library, number, calendar, tally) for number, library in enumerate(libraries)],
        "drifts": [_drift(drift, load, names) for drift in drifts],
        "archives": [str(path.relative_to(report.out)) for path in report.archives],
    }


def _span(library: Library, number: int, calendar: Calendar, tally: Tally) -> dict[str, Any]:
    first, last = calendar.span_days(number)
    templates = library.templates()
    used = [template for template in templates if tally.uses[template.template_id]]
    return {
        "name": library.span, "start": time_text(calendar.start_us(first)), "end": time_text(calendar.start_us(last + 1)),
        "n_actors": len(library.benign),
        "n_distinct_templates": dict(sorted(Counter(template.kind for template in used).items())),
        "templates": [
            {
                "template_id": template.template_id, "kind": template.kind, "actor_kind": template.lane.kind, "n_events": template.n_events,
                "duration_s": round(template.duration_us / SECOND, 3), "n_used": tally.uses[template.template_id],
            }
            for template in sorted(templates, key=lambda template: (template.kind, template.template_id))
        ],
    }


def _drift(drift: Drift, load: Load, names: Names) -> dict[str, Any]:
    """Return what was planted, in words that the data show."""
    clusters = range(load.clusters) if drift.cluster is None else [drift.cluster]
    details: dict[str, Any] = {}
    if drift.kind == "new_client":
        details = {"agent": drift.agent, "share_of_people": drift.share}
    elif drift.kind == "new_key":
        details = {"key": drift.key}
    elif drift.kind == "attacks":
        details = {"factor": drift.factor}
    elif drift.kind == "new_team":
        earlier = [other for other in load.drifts if other.kind == "new_team" and other.day <= drift.day]
        details = {"team": load.teams + earlier.index(drift)}
    lane = {"new_operator": load.operator, "volume": load.loud}.get(drift.kind)
    if lane:
        everywhere = [names.of_team(cluster, team) for cluster in clusters for team in range(load.teams_of_cluster(cluster))]
        details = {"actors": sorted({names.text(team, lane.user) for team in everywhere})}
        before, after = load.change(drift, clusters[0])
        # Whoever is busy already cannot do as much more as was asked for.
        details |= {"expected_sessions_a_day": {"before": round(before, 2), "after": round(after, 2)}}
    where = [cluster_name(cluster) for cluster in clusters]
    return {"kind": drift.kind, "at": time_text(load.calendar.start_us(drift.day)), "clusters": where, **details}
