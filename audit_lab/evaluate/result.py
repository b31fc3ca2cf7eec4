"""What an evaluation returns: blocks of figures per scorer, frames for pictures, the JSON object and the table of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from audit_lab.errors import InputError
from audit_lab.evaluate.audits import AuditEstimate
from audit_lab.evaluate.calibrated import CalibratedFigures
from audit_lab.evaluate.case_level import CaseFigures, CasePopulation
from audit_lab.evaluate.cases import JudgeFigures
from audit_lab.evaluate.confusion import SessionFigures
from audit_lab.evaluate.incidents import IncidentFigures, IncidentMap
from audit_lab.evaluate.intervals import ActorBootstrap, Rate
from audit_lab.evaluate.levels import EventFigures
from audit_lab.evaluate.operating import threshold_sweep
from audit_lab.evaluate.per_rule import RuleFigures
from audit_lab.evaluate.points import Point
from audit_lab.evaluate.probability import ProbabilityFigures
from audit_lab.evaluate.rows import metric_rows

# Points of a curve in the JSON object; the frame `precision_recall` has all of them.
CURVE_POINTS = 200


@dataclass(frozen=True)
class Block:
    """The figures of one scorer."""

    sessions: SessionFigures
    average_precision: Rate
    incidents: IncidentFigures
    cases: CaseFigures
    points: list[Point]
    probability: ProbabilityFigures

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        precision = self.average_precision.as_dict()
        return {
            "sessions": self.sessions.as_dict(),
            "average_precision": precision.pop("value"),
            "average_precision_interval": precision,
            "incidents": self.incidents.incidents_dict(),
            "benign_suspicious": self.incidents.benign_suspicious_dict(),
            "cases": self.cases.as_dict(),
            "fpr_at_recall": [point.as_dict() for point in self.points if point.kind == "recall"],
            "alerts_per_day": [point.as_dict() for point in self.points if point.kind == "alerts_per_day"],
            "precision_at_prevalence": [point.as_dict() for point in self.points if point.kind == "prevalence"],
            "probability": self.probability.as_dict(),
        }


@dataclass(frozen=True)
class Scored:
    """What the figures were made from, one value per session (in order of session_id), for whoever wants more figures.

    `classes` are codes of `confusion`; `scores` by scorer; `shown` tells who was a candidate; `incidents` and `draw` lie
    over the same sessions, `cases` groups them.
    """

    classes: np.ndarray
    scores: dict[str, np.ndarray]
    shown: np.ndarray
    incidents: IncidentMap
    draw: ActorBootstrap
    cases: CasePopulation

    def reachable(self, scorer: str) -> np.ndarray:
        """Tell which sessions some threshold can flag: under `all` the candidates, else every one."""
        return self.shown if scorer == "all" else np.ones_like(self.shown)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes
    ----------
    evaluation_id, threshold, split
        Hash of all inputs and settings; score from which a session is flagged; which data.
    data_start, data_end, confidence
        Time of the sessions; confidence of the intervals.
    versions
        Of everything behind the figures: code, rules, profile, judge, prompt …
    blocks
        Block by scorer: rules, outliers, fused, judge, all, then further detectors.
    curve
        By scorer, for each share of non-malicious sessions let through: threshold, sessions let through, incidents found.
    events
        The figures of `all` over events.
    judges
        Figures over the cases that each judge answered, by judge_id and the beginning of its version.
    rules
        Figures of every rule that hit, by version.
    weeks
        Frame of `decay` for scorer `all`: recall, fpr and precision of each week.
    audits
        Recall and fpr from people's reviews and the recorded sampling probabilities; None without reviews, then `audits_reason` says why.
    calibrated
        Scores as probabilities on sessions later than those a calibrator learnt from; None, with the reason, where there is none.
    cited
        Share of malicious incidents of which a verdict above the threshold names an event in a ground that holds.
    left_out
        Incidents that lie wholly outside the data's time.
    session_scores
        Frame, one row per session × scorer: session_id, cluster, actor, start, class, scorer, score, flagged, and `shown`:
        whether any threshold can flag it (`all`: candidates only).
    precision_recall
        Frame: scorer, threshold, n_flagged, recall, precision; one row per distinct score.
    histogram
        Frame: scorer, class, bin_low, bin_high, n (sessions).
    incident_scores
        Frame: incident_id, scorer, score, rank (of the best session; 1 is first, ties count against it), found.
    incident_rows
        Frame, one row per incident: incident_id, title, malicious, technique_ids, n_sessions, n_events, first_event,
        found_by (scorers), rank and score under `all`, detected_at, time_to_detect_s.
    scored
        What all this was made from.
    """

    evaluation_id: str
    threshold: float
    split: str
    data_start: datetime | None
    data_end: datetime | None
    confidence: float
    versions: dict[str, str]
    blocks: dict[str, Block]
    curve: dict[str, list[dict[str, Any]]]
    events: EventFigures
    judges: dict[str, JudgeFigures]
    rules: list[RuleFigures]
    weeks: pl.DataFrame
    audits: AuditEstimate | None
    audits_reason: str | None
    calibrated: CalibratedFigures
    cited: Rate
    left_out: list[str]
    session_scores: pl.DataFrame
    precision_recall: pl.DataFrame
    histogram: pl.DataFrame
    incident_scores: pl.DataFrame
    incident_rows: pl.DataFrame
    scored: Scored

    def sweep(self, scorer: str = "all", thresholds: np.ndarray | None = None) -> pl.DataFrame:
        """Return the figures at many thresholds from the stored scores: see `threshold_sweep`.

        Raises
        ------
        InputError
            When the scorer has no scores.
        """
        if scorer not in self.scored.scores:
            raise InputError(f"no scores of '{scorer}' to sweep", f"scorers with scores: {', '.join(self.scored.scores) or 'none'}")
        parts = self.scored
        return threshold_sweep(parts.classes, parts.scores[scorer], parts.reachable(scorer), parts.incidents, parts.draw, thresholds)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of `audit-lab evaluate --json`; the top-level figures are those of `all`."""
        blocks = {scorer: block.as_dict() for scorer, block in self.blocks.items()}
        top = blocks["all"]
        return {
            "evaluation_id": self.evaluation_id,
            "split": self.split,
            "threshold": self.threshold,
            "confidence": self.confidence,
            "data": {"start": self.data_start and self.data_start.isoformat(), "end": self.data_end and self.data_end.isoformat()},
            "versions": self.versions,
            **top,
            "incidents": top["incidents"] | {"cited": self.cited.as_dict()},
            "events": self.events.as_dict(),
            "judges": {name: figures.as_dict() for name, figures in self.judges.items()},
            "rules": [rule.as_dict() for rule in self.rules],
            "by_week": [{**row, "period": row["period"].isoformat()} for row in self.weeks.iter_rows(named=True)],
            "audits": self.audits.as_dict() if self.audits else {"reason": self.audits_reason},
            "calibration": self.calibrated.as_dict(),
            "precision_recall": _curves(self.precision_recall),
            "incidents_outside_data": self.left_out,
            "by_detector": blocks,
            "curve": self.curve,
        }

    @property
    def metrics(self) -> pl.DataFrame:
        """The same figures as rows of table `metrics`."""
        return metric_rows(self)


def _curves(points: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return at most `CURVE_POINTS` points per scorer, the first and the last among them."""
    found = {}
    for (scorer,), part in points.group_by("scorer", maintain_order=True):
        places = np.unique(np.linspace(0, part.height - 1, min(part.height, CURVE_POINTS)).round().astype(int))
        found[str(scorer)] = part[places].drop("scorer").to_dicts()
    return found
