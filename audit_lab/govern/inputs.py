"""What a report is made from: tables and facts, nothing else. The report reads no file and no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.lines import CaseLines, case_lines
from audit_lab.profile import Profile


@dataclass(frozen=True)
class ReportInput:
    """The tables and facts of one report; a table that is left out is empty.

    Parameters
    ----------
    period
        What the report is about, in words: '2026-11', 'sample'.
    generated_at
        When it was made, in words (UTC). An argument, so that the same input gives the same bytes.
    profile
        Settings in force: threshold, budget, gap, digest.
    archives, quarantine, sessions, session_events, links, stories, signals, candidates, scores, verdicts, egress, labels, incidents
        Tables of these names. `session_events` is needed for the sessions of candidates and labels only.
    events
        Table `events`: at least those in sessions of candidates and those that labels name.
    evaluation
        The object of `audit-lab evaluate --json`; None where no labels are given.
    details
        Its frames by name: 'precision_recall', 'histogram', 'session_scores', 'incident_rows'; those left out are not drawn.
    drifts, drift_alarms
        Table `drifts`, and what in it alarms, once each (frame of `audit_lab.drifting.drift_alarms`).
    promises
        What the labels can promise (`audit_lab.calibrating.promised_thresholds`): `Promise.as_dict()` each, with `there`, the figures of
        its threshold on the data it was learnt from; none where there are no labels.
    calibrator
        The lab's calibrator as JSON object (`evaluate.LearntCalibrator`): calibrator, scorer, until; None where none was learnt.
    blind
        What cannot be seen and why: rows with 'what', 'why' and, where it is known, 'n'.
    versions
        Name to version or digest, in the order to show: rules, judge, model, packages.
    lang
        'en' or 'ko'.
    """

    period: str
    generated_at: str
    profile: Profile = field(default_factory=Profile)
    archives: pl.DataFrame = field(default_factory=partial(tables.empty, "archives"))
    quarantine: pl.DataFrame = field(default_factory=partial(tables.empty, "quarantine"))
    sessions: pl.DataFrame = field(default_factory=partial(tables.empty, "sessions"))
    session_events: pl.DataFrame = field(default_factory=partial(tables.empty, "session_events"))
    events: pl.DataFrame = field(default_factory=partial(tables.empty, "events"))
    links: pl.DataFrame = field(default_factory=partial(tables.empty, "links"))
    stories: pl.DataFrame = field(default_factory=partial(tables.empty, "stories"))
    signals: pl.DataFrame = field(default_factory=partial(tables.empty, "signals"))
    candidates: pl.DataFrame = field(default_factory=partial(tables.empty, "candidates"))
    scores: pl.DataFrame = field(default_factory=partial(tables.empty, "scores"))
    verdicts: pl.DataFrame = field(default_factory=partial(tables.empty, "verdicts"))
    egress: pl.DataFrame = field(default_factory=partial(tables.empty, "egress"))
    labels: pl.DataFrame = field(default_factory=partial(tables.empty, "labels"))
    incidents: pl.DataFrame = field(default_factory=partial(tables.empty, "incidents"))
    drifts: pl.DataFrame = field(default_factory=partial(tables.empty, "drifts"))
    drift_alarms: pl.DataFrame | None = None
    evaluation: Mapping[str, Any] | None = None
    details: Mapping[str, pl.DataFrame] | None = None
    promises: Sequence[Mapping[str, Any]] = ()
    calibrator: Mapping[str, Any] | None = None
    blind: Sequence[Mapping[str, Any]] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    lang: str = "en"

    def __post_init__(self) -> None:
        for name in TABLE_FIELDS:
            tables.check(getattr(self, name), name)

    @property
    def threshold(self) -> float:
        """Score from which a case is flagged: the evaluation's, else the profile's."""
        stated = (self.evaluation or {}).get("threshold")
        return self.profile.evaluate.threshold if stated is None else float(stated)

    @property
    def lines(self) -> CaseLines:
        """Score from which each case is flagged: `threshold`, or that of its cluster."""
        return case_lines(self.candidates, self.sessions, self.profile.evaluate.model_copy(update={"threshold": self.threshold}))


TABLE_FIELDS = (
    "archives", "quarantine", "sessions", "session_events", "links", "stories", "events", "signals", "candidates", "scores", "verdicts",
    "egress", "labels", "incidents", "drifts",
)
