"""Simulate: long, labelled archives out of a short recording."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TextIO

from audit_lab.errors import InputError
from audit_lab.private import private_file, private_folder
from audit_lab.profile import SessionSettings
from audit_lab.simulate.aliases import Names
from audit_lab.simulate.calendar import Drift, default_drifts, make_calendar
from audit_lab.simulate.compile import compile_templates
from audit_lab.simulate.identities import Identities
from audit_lab.simulate.incidents import VARIANTS, Mixture, PlannedIncident, Splitting, count_sessions, plan_incidents
from audit_lab.simulate.load import Load
from audit_lab.simulate.manifest import SimulationReport, Tally, make_manifest
from audit_lab.simulate.recording import read_recording
from audit_lab.simulate.render import Renderer
from audit_lab.simulate.rotate import RotatingWriter
from audit_lab.simulate.stage import Stage
from audit_lab.simulate.templates import SECOND, Lane, Library, make_libraries
from audit_lab.simulate.truth import cluster_name


def simulate(
    sources: str | Path | Sequence[str | Path], out: str | Path, *,
    days: int, events: int, clusters: int = 1, seed: int = 7, prevalence: float = 0.01, look_alikes: float | None = None,
    stretch: float = 5.0, gap_s: float = 60.0, start: str | date = "2027-01-04",
    spans: Mapping[str, float] | Sequence[tuple[str, float]] | None = None, drifts: Sequence[Drift] | None = None,
    variants: Mapping[str, float] | None = None, teams: int | None = None, people_share: float = 0.5,
    labels: str | Path | None = None, max_session_events: int = 150, max_template_events: int = 25_000,
    rotate_mib: float = 32.0, threads: int = 2, progress: Callable[[int, int], None] | None = None,
) -> SimulationReport:
    """Resample a recording into archives of `days` days and `clusters` clusters in the shape that a kube-apiserver writes.

    Writes into the folder `out`: `archives/<cluster>/audit-<time>.log.gz`; `incidents.jsonl` (incident file); `sessions.jsonl`
    (one line per session with template_id, kind, span, cluster, actor, source, first and last audit ID); `manifest.json` (seed,
    stretch, spans, templates, planted drifts, what was asked and what was made). Same arguments and same recording: same bytes.

    Parameters
    ----------
    sources
        Raw archives (files or folders) of a recording, with its incident file beside them or given as `labels`.
    events
        Number of events (audit IDs); met to about a percent.
    prevalence, look_alikes
        Share of sessions that belong to malicious incidents, and to benign ones that look like it (default: as many).
    stretch, gap_s
        Factor by which recorded time is stretched, and the pause that ends a recorded session, seconds. Their product is the
        gap with which the sessions are found again: 5 × 60 s is the default profile's 5 minutes.
    start
        First day (a Monday by default, so that weeks are calendar weeks); all times are UTC.
    spans
        Names and shares of consecutive time spans (default: learn, calibrate, test). No template is used in two of them.
    drifts
        Planted changes (default: one of each kind in a simulation of ten days or more; `()` for none).
    variants
        Shares of incident variants: recorded, slower, split, mixed.
    teams
        Copies of the recorded people and applications per cluster, each with names of its own (default: as many as `events` need).
    people_share
        Share of benign sessions that people have; machines have the rest.
    max_session_events, max_template_events
        Largest piece of an actor that never pauses, and events of all benign templates together.
    rotate_mib, threads
        Size of an archive before compression, and threads that compress.
    progress
        Called with (events done, events in all) as the work goes on.

    Raises
    ------
    InputError
        When an argument is out of range, the folder is not empty, or the recording does not hold what is asked for.
    """
    look_alikes = prevalence if look_alikes is None else look_alikes
    _check(days, events, clusters, seed, prevalence, look_alikes, stretch, gap_s, people_share, teams, rotate_mib, threads)
    folder = _empty_folder(Path(out))
    calendar = make_calendar(start, days, spans)
    planted = default_drifts(days, clusters) if drifts is None else tuple(drifts)
    # The longest session is the default profile's, so that what fits here is not cut there.
    splitting = Splitting(round(gap_s * stretch * SECOND), round(SessionSettings().max_length_s * SECOND))
    mixture = Mixture(prevalence, look_alikes, dict(variants or VARIANTS), stretch, splitting)

    recording = read_recording(sources, labels)
    shares = [(name, float(calendar.span_of_day.count(number))) for number, name in enumerate(calendar.span_names)]
    libraries = make_libraries(
        recording, shares, seed, gap_s=gap_s, max_length_s=splitting.cap_us / SECOND / stretch,
        max_session_events=max_session_events, max_template_events=max_template_events,
    )
    identities = Identities(recording.index)
    load = Load(
        libraries, calendar, clusters, planted, lambda lane: _is_common(identities, lane),
        seed=seed, stretch=stretch, separation_s=2 * gap_s * stretch, people_share=people_share, teams=teams,
    )
    absent = [drift.kind for drift in planted if load.missing(drift)]
    if absent and drifts is not None:
        raise InputError(f"the recording has nobody for drift '{absent[0]}'", "it needs service accounts with sessions in every span")
    load.drifts = planted = tuple(drift for drift in planted if not load.missing(drift))
    incidents = _fit(load, libraries, mixture, events, [seed, days, clusters])
    names = Names(identities, seed)
    stage = Stage(load, names, incidents, planted, splitting, stretch)
    compiled = compile_templates(recording, [template for library in libraries for template in library.templates()], identities)
    renderer = Renderer(compiled, identities, seed, stretch)

    tally = Tally()
    with (
        RotatingWriter(folder / "archives", int(rotate_mib * (1 << 20)), threads) as writer,
        private_file(folder / "sessions.jsonl").open("w", encoding="utf-8", newline="\n") as sessions_file,
        private_file(folder / "incidents.jsonl").open("w", encoding="utf-8", newline="\n") as incidents_file,
    ):
        for cluster in range(clusters):
            for day in range(days):
                staged = stage.day(cluster, day)
                tally.add(staged)
                _write_lines(sessions_file, staged.truth)
                _write_lines(incidents_file, staged.incidents)
                keys = sorted({drift.key for drift in planted if drift.kind == "new_key" and drift.holds(cluster, day)})
                for lines, times, n_events in renderer.lines(staged.sessions, keys):
                    writer.write(cluster_name(cluster), lines, times)
                    tally.n_events += n_events
                    tally.n_records += len(lines)
                    if progress:
                        progress(min(tally.n_events, events), events)
                writer.rotate()  # a file holds no more than one day
    report = tally.report(folder, writer)
    asked = {
        "days": days, "events": events, "clusters": clusters, "seed": seed, "prevalence": prevalence, "look_alikes": look_alikes,
        "stretch": stretch, "gap_s": gap_s, "start": calendar.first_day.isoformat(), "variants": dict(mixture.variants),
        "people_share": people_share, "max_session_events": max_session_events, "max_template_events": max_template_events,
        "rotate_mib": rotate_mib,
    }
    manifest = make_manifest(asked, report, recording, libraries, load, planted, names, tally)
    private_file(folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def _fit(load: Load, libraries: Sequence[Library], mixture: Mixture, events: int, seed: Sequence[int]) -> list[PlannedIncident]:
    """Fit benign activity and incidents to each other: together they make the events and the prevalence asked for."""
    load.fit(events)
    n_sessions = float(load.expected_sessions().sum())
    for _ in range(6):
        incidents = plan_incidents(libraries, load, mixture, seed, n_sessions)
        load.fit(max(1.0, events - sum(len(move.events) for incident in incidents for move in incident.moves)))
        found = float(load.expected_sessions().sum()) + sum(count_sessions(incident.moves, mixture.splitting) for incident in incidents)
        if abs(found - n_sessions) < 0.003 * n_sessions:
            break
        n_sessions = found
    return incidents


def _is_common(identities: Identities, lane: Lane) -> bool:
    """Tell whether a lane looks the same in every team: a name that every cluster has, from an address of its own."""
    parts = [part for text in (lane.user, lane.impersonated, lane.source) for part in identities.split(text)]
    return all(isinstance(part, str) or part in identities.shared for part in parts)


def _write_lines(stream: TextIO, rows: Sequence[Mapping[str, Any]]) -> None:
    stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _empty_folder(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{folder}' is not empty", "name a new folder: simulated archives are never mixed with others")
    return private_folder(folder)


def _check(
    days: int, events: int, clusters: int, seed: int, prevalence: float, look_alikes: float, stretch: float, gap_s: float,
    people_share: float, teams: int | None, rotate_mib: float, threads: int,
) -> None:
    for name, value, good, hint in (
        ("days", days, days >= 1, "at least 1"), ("events", events, events >= 1, "at least 1"),
        ("clusters", clusters, 1 <= clusters <= 99, "1 to 99"), ("seed", seed, seed >= 0, "0 or more"),
        ("prevalence", prevalence, 0 <= prevalence <= 0.5, "a share of sessions, 0 to 0.5"),
        ("look_alikes", look_alikes, 0 <= look_alikes <= 0.4, "a share of sessions, 0 to 0.4"),
        ("stretch", stretch, stretch > 0, "above 0"), ("gap_s", gap_s, gap_s > 0, "above 0"),
        ("people_share", people_share, 0 < people_share < 1, "between 0 and 1"),
        ("teams", teams, teams is None or 1 <= teams <= 120, "1 to 120"), ("rotate_mib", rotate_mib, rotate_mib > 0, "above 0"),
        ("threads", threads, threads >= 1, "at least 1"),
    ):
        if not good:
            raise InputError(f"{name} is {value}", hint)

