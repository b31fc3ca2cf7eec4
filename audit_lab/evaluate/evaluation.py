"""The whole evaluation at one threshold: the same block of figures for each scorer, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.evaluate.confusion import CLASS_NAMES, MALICIOUS, SessionFigures, session_figures, unscored_figures
from audit_lab.evaluate.incidents import IncidentFigures, IncidentMap, incident_figures, map_incidents, unscored_incidents
from audit_lab.evaluate.intervals import ActorBootstrap, Rate, bootstrap_actors, wilson
from audit_lab.evaluate.operating import threshold_sweep
from audit_lab.evaluate.ranking import SHARES, average_precision_rate, threshold_at_share
from audit_lab.evaluate.scorers import SCORERS, session_scores
from audit_lab.evaluate.views import histogram, incident_rows, incident_scores, long_scores, precision_recall_points
from audit_lab.hashing import frame_digest, short_id
from audit_lab.profile import EvaluateSettings


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
        return {
            "evaluation_id": self.evaluation_id,
            "split": self.split,
            "threshold": self.threshold,
            **blocks["all"],
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
        return tables.conform(pl.DataFrame(rows, infer_schema_length=None), "metrics")


def evaluate(
    sessions: pl.DataFrame,
    session_events: pl.DataFrame,
    events: pl.DataFrame,
    incidents: pl.DataFrame,
    labels: pl.DataFrame,
    scores: pl.DataFrame,
    candidates: pl.DataFrame,
    verdicts: pl.DataFrame,
    settings: EvaluateSettings,
    *,
    split: str = "all",
    seed: int = 7,
) -> Evaluation:
    """Compare what was flagged with what is known to have happened.

    Parameters
    ----------
    sessions, session_events, incidents, labels, scores, candidates, verdicts
        Tables of these names. `labels` ties incidents to sessions; a session without a label counts as benign.
        `verdicts` are one judge's; where several are given the highest usable score of a case counts.
    events
        Table `events`, or its columns event_id and time.
    settings
        Threshold, resamples and confidence.
    split
        Name of the data, repeated in every metric.
    seed
        Seed of the resampling.

    Returns
    -------
    Evaluation. A session is flagged when its score reaches the threshold, whatever the scorer.

    Raises
    ------
    ContractError
        When a table does not fit `tables.py`.
    """
    for name, frame in (("sessions", sessions), ("session_events", session_events), ("incidents", incidents), ("labels", labels),
                        ("scores", scores), ("candidates", candidates), ("verdicts", verdicts)):
        tables.check(frame, name)
    sessions = sessions.sort("session_id")
    classes = session_class_codes(sessions, labels)
    placed = map_incidents(incidents, labels, sessions, events)
    actors = (sessions["cluster"] + "\x1f" + sessions["actor"]).to_numpy()
    draw = bootstrap_actors(actors, settings.bootstrap, settings.confidence, seed)
    by_scorer, why_not, shown = session_scores(sessions, scores, candidates, verdicts, settings.threshold)
    names = [*SCORERS, *(name for name in by_scorer if name not in SCORERS)]

    blocks, curve = {}, {}
    for name in names:
        if name in by_scorer:
            blocks[name] = _block(by_scorer[name], classes, placed, draw, settings)
            curve[name] = _curve(by_scorer[name], classes, placed, settings.confidence)
        else:
            reason = why_not[name]
            blocks[name] = Block(unscored_figures(classes, reason), _null_precision(classes, reason), unscored_incidents(placed, reason))
            curve[name] = _null_curve(placed, reason)
    scored = {name: by_scorer[name] for name in names if name in by_scorer}
    best = incident_scores(scored, placed, settings.threshold)
    flagged = scored["all"] >= settings.threshold if "all" in scored else np.zeros(sessions.height, dtype=bool)
    return Evaluation(
        evaluation_id=_evaluation_id(sessions, incidents, labels, scores, candidates, verdicts, settings, split, seed),
        threshold=settings.threshold,
        split=split,
        blocks=blocks,
        curve=curve,
        left_out=placed.left_out,
        session_scores=long_scores(scored, sessions, classes, shown, settings.threshold),
        precision_recall=precision_recall_points(scored, classes),
        histogram=histogram(scored, classes),
        incident_scores=best,
        incident_rows=incident_rows(incidents, labels, placed, best, placed.detected_at(flagged)),
        scored=Scored(classes, scored, shown, placed, draw),
    )


def session_class_codes(sessions: pl.DataFrame, labels: pl.DataFrame) -> np.ndarray:
    """Return BENIGN, LOOK_ALIKE or MALICIOUS for each row of `sessions`; malicious wins where a session holds both.

    Rows of `labels` without a session, or with verdict unsure, change nothing.
    """
    order = {name: code for code, name in enumerate(CLASS_NAMES)}
    strongest = (
        labels.filter(pl.col("verdict").is_in(list(order)) & pl.col("session_id").is_not_null())
        .group_by("session_id").agg(code=pl.col("verdict").replace_strict(order, return_dtype=pl.Int64).max())
    )
    joined = sessions.select("session_id").join(strongest, on="session_id", how="left", maintain_order="left")
    return joined["code"].fill_null(0).to_numpy().astype(np.int64)


def _block(
    scores: np.ndarray, classes: np.ndarray, placed: IncidentMap, draw: ActorBootstrap, settings: EvaluateSettings
) -> Block:
    flagged = scores >= settings.threshold
    return Block(
        session_figures(classes, flagged, draw),
        average_precision_rate(classes == MALICIOUS, scores, draw),
        incident_figures(placed, flagged, settings.confidence),
    )


def _null_precision(classes: np.ndarray, reason: str) -> Rate:
    return Rate(None, None, None, int((classes == MALICIOUS).sum()), reason)


def _curve(scores: np.ndarray, classes: np.ndarray, placed: IncidentMap, confidence: float) -> list[dict[str, Any]]:
    malicious = classes == MALICIOUS
    if malicious.all():
        return _null_curve(placed, "no session that is not malicious")
    best = placed.best(scores)[placed.malicious]
    points = []
    for share in SHARES:
        threshold, passed = threshold_at_share(scores, malicious, share)
        found = 0 if threshold is None else int((best >= threshold).sum())
        recall = wilson(found, best.size, confidence, "malicious incidents")
        points.append({
            "share": share, "threshold": threshold, "let_through": passed, "of": int((~malicious).sum()),
            "found": found, "n": int(best.size), "recall": recall.as_dict(),
        })
    return points


def _null_curve(placed: IncidentMap, reason: str) -> list[dict[str, Any]]:
    n = int(placed.malicious.sum())
    null = Rate(None, None, None, n, reason).as_dict()
    return [{"share": share, "threshold": None, "let_through": None, "of": None, "found": None, "n": n, "recall": null} for share in SHARES]


def _evaluation_id(
    sessions: pl.DataFrame, incidents: pl.DataFrame, labels: pl.DataFrame, scores: pl.DataFrame, candidates: pl.DataFrame,
    verdicts: pl.DataFrame, settings: EvaluateSettings, split: str, seed: int,
) -> str:
    volatile = tuple(name for name, column in tables.TABLES["verdicts"].columns.items() if column.volatile)
    parts = [
        frame_digest(sessions.select("session_id", "actor", "end"), ("session_id",)),
        frame_digest(incidents, ("incident_id",)),
        frame_digest(labels, ("label_id",), ("at",)),
        frame_digest(scores, ("case_id", "detector_id")),
        frame_digest(candidates, ("case_id",)),
        frame_digest(verdicts, tables.TABLES["verdicts"].key, volatile),
    ]
    return short_id("m", *parts, settings.model_dump_json(), split, seed)
