"""What an evaluation returns: blocks of figures per scorer, frames for pictures, the JSON object and the table of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.evaluate.cases import JudgeFigures
from audit_lab.evaluate.confusion import SessionFigures
from audit_lab.evaluate.incidents import IncidentFigures, IncidentMap
from audit_lab.evaluate.intervals import ActorBootstrap, Rate
from audit_lab.evaluate.levels import EventFigures
from audit_lab.evaluate.operating import threshold_sweep


@dataclass(frozen=True)
class Block:
    """The figures of one scorer."""

    sessions: SessionFigures
    average_precision: Rate
    incidents: IncidentFigures

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        precision = self.average_precision.as_dict()
        return {
            "sessions": self.sessions.as_dict(),
            "average_precision": precision.pop("value"),
            "average_precision_interval": precision,
            "incidents": self.incidents.incidents_dict(),
            "benign_suspicious": self.incidents.benign_suspicious_dict(),
        }


@dataclass(frozen=True)
class Scored:
    """What the figures were made from, one value per session (in order of session_id), for whoever wants more figures.

    `classes` are codes of `confusion`; `scores` by scorer; `shown` tells who was a candidate; `incidents` and `draw` lie
    over the same sessions.
    """

    classes: np.ndarray
    scores: dict[str, np.ndarray]
    shown: np.ndarray
    incidents: IncidentMap
    draw: ActorBootstrap

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
    blocks
        Block by scorer: rules, outliers, fused, judge, all, then further detectors.
    curve
        By scorer, for each share of non-malicious sessions let through: threshold, sessions let through, incidents found.
    events
        The figures of `all` over events.
    judges
        Figures over the cases that each judge answered, by judge_id and the beginning of its version.
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
    blocks: dict[str, Block]
    curve: dict[str, list[dict[str, Any]]]
    events: EventFigures
    judges: dict[str, JudgeFigures]
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
            **top,
            "incidents": top["incidents"] | {"cited": self.cited.as_dict()},
            "events": self.events.as_dict(),
            "judges": {name: figures.as_dict() for name, figures in self.judges.items()},
            "incidents_outside_data": self.left_out,
            "by_detector": blocks,
            "curve": self.curve,
        }

    @property
    def metrics(self) -> pl.DataFrame:
        """The same figures as rows of table `metrics`."""
        rows: list[dict[str, Any]] = []

        def add(scorer: str, unit: str, measure: str, rate: Rate, prevalence: float | None) -> None:
            rows.append({
                "evaluation_id": self.evaluation_id, "scorer": scorer, "unit": unit, "measure": measure, "value": rate.value,
                "low": rate.low, "high": rate.high, "n": rate.n, "split": self.split, "prevalence": prevalence, "reason": rate.reason,
            })

        for scorer, block in self.blocks.items():
            figures, incidents = block.sessions, block.incidents
            prevalence = figures.malicious / figures.n if figures.n else None
            for measure in ("recall", "fpr", "precision", "fpr_without_look_alikes"):
                add(scorer, "session", measure, getattr(figures, measure), prevalence)
            add(scorer, "session", "average_precision", block.average_precision, prevalence)
            add(scorer, "incident", "recall", incidents.recall, None)
            add(scorer, "incident", "look_alikes_flagged", incidents.look_alike_rate, None)
            delay = incidents.time_to_detect_s
            add(scorer, "incident", "median_time_to_detect_s", Rate(delay["median"], None, None, delay["n"], delay.get("reason")), None)
            for point in self.curve[scorer]:
                found = point["recall"]
                rate = Rate(found["value"], found["low"], found["high"], found["n"], found.get("reason"))
                add(scorer, "incident", f"recall_at_fpr_{point['share']:g}", rate, None)
        events, share = self.events, self.events.malicious / self.events.n if self.events.n else None
        for measure in ("recall", "fpr", "precision"):
            add("all", "event", measure, getattr(events, measure), share)
        add("all", "incident", "cited", self.cited, None)
        for name, judge in self.judges.items():
            for measure in ("recall", "fpr", "precision", "average_precision", "answered_share", "usable_share"):
                add(name, "case", measure, getattr(judge, measure), judge.prevalence)
        return tables.conform(pl.DataFrame(rows, infer_schema_length=None), "metrics")
