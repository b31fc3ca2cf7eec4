"""The whole evaluation at one threshold: the same block of figures for each scorer, side by side."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.evaluate.audits import AuditEstimate, estimate_from_audits
from audit_lab.evaluate.calibrated import LearntCalibrator, calibrated_figures
from audit_lab.evaluate.case_level import case_figures, case_population, unscored_cases
from audit_lab.evaluate.cases import JudgeFigures, case_truth, judge_figures
from audit_lab.evaluate.confusion import CLASS_NAMES, MALICIOUS, session_figures, unscored_figures
from audit_lab.evaluate.incidents import IncidentMap, incident_figures, map_incidents, unscored_incidents
from audit_lab.evaluate.intervals import Rate, bootstrap_actors, exact
from audit_lab.evaluate.levels import cited_recall, event_figures
from audit_lab.evaluate.per_rule import rule_figures
from audit_lab.evaluate.points import operating_points, unscored_points
from audit_lab.evaluate.population import reviewed_cases
from audit_lab.evaluate.probability import probability_figures, unscored_probability
from audit_lab.evaluate.ranking import SHARES, average_precision_rate, threshold_at_share
from audit_lab.evaluate.result import Block, Evaluation, Scored
from audit_lab.evaluate.scorers import SCORERS, session_scores
from audit_lab.evaluate.splits import decay
from audit_lab.evaluate.views import histogram, incident_rows, incident_scores, long_scores, precision_recall_points
from audit_lab.hashing import frame_digest, short_id
from audit_lab.lines import Lines, case_lines, session_lines
from audit_lab.profile import EvaluateSettings


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
    signals: pl.DataFrame | None = None,
    versions: dict[str, str] | None = None,
    calibrator: LearntCalibrator | None = None,
) -> Evaluation:
    """Compare what was flagged with what is known to have happened.

    Parameters
    ----------
    sessions, session_events, incidents, labels, scores, candidates, verdicts
        Tables of these names. `labels` ties incidents to sessions; a session without a label counts as benign.
        `verdicts` are one judge's; where several are given the highest usable score of a case counts.
    events
        Table `events`, or those of incidents only, or only its columns event_id and time: then nothing is said about damage.
    settings
        Threshold, resamples, confidence, operating points.
    split
        Name of the data, repeated in every metric.
    seed
        Seed of the resampling.
    signals
        Table `signals`: gives the figures of each rule.
    versions
        Of code, rules, profile and prompt, repeated in every metric; the judges' come from `verdicts`.
    calibrator
        What turns scores into probabilities, learnt on earlier time.

    Returns
    -------
    Evaluation. A session is flagged when its score reaches the threshold of its cluster, whatever the scorer.

    Raises
    ------
    ContractError
        When a table does not fit `tables.py`.
    InputError
        When the threshold was learnt from these sessions or later ones (`learnt_until`, law 9), or a setting names no category.
    """
    for name, frame in (("sessions", sessions), ("session_events", session_events), ("incidents", incidents), ("labels", labels),
                        ("scores", scores), ("candidates", candidates), ("verdicts", verdicts)):
        tables.check(frame, name)
    sessions, labels = sessions.sort("session_id"), _standing(labels)
    data_start, data_end = _span(sessions)
    _require_later(data_start, settings)
    classes = session_class_codes(sessions, labels)
    placed = map_incidents(incidents, labels, sessions, events, settings.impact)
    actors = (sessions["cluster"] + "\x1f" + sessions["actor"]).to_numpy()
    draw = bootstrap_actors(actors, settings.bootstrap, settings.confidence, seed)
    cases = case_population(sessions, scores, candidates, classes, placed, settings.bootstrap, settings.confidence, seed)
    line = session_lines(sessions, settings)
    by_scorer, why_not, shown = session_scores(sessions, scores, candidates, verdicts, line, session_events)
    names = [*SCORERS, *(name for name in by_scorer if name not in SCORERS)]
    days = n_days(data_start, data_end)

    blocks, curve, flags = {}, {}, {}
    for name in names:
        if name in by_scorer:
            seen = shown if name == "all" else np.ones_like(shown)
            flags[name] = (by_scorer[name] >= line) & seen
            blocks[name] = Block(
                session_figures(classes, flags[name], draw), average_precision_rate(classes == MALICIOUS, by_scorer[name], draw),
                incident_figures(placed, flags[name], settings.confidence), case_figures(cases, by_scorer[name], flags[name]),
                operating_points(classes, by_scorer[name], seen, flags[name], draw, cases, days, settings),
                probability_figures(classes == MALICIOUS, np.clip(by_scorer[name], 0, 1), draw, settings.bins, among=seen),
            )
            curve[name] = _curve(by_scorer[name], classes, placed, settings.confidence)
        else:
            reason = why_not[name]
            blocks[name] = Block(
                unscored_figures(classes, reason), _null_precision(classes, reason), unscored_incidents(placed, reason),
                unscored_cases(cases, reason), unscored_points(classes, reason, settings), unscored_probability(classes.size, reason),
            )
            curve[name] = _null_curve(placed, reason)
    scored = {name: by_scorer[name] for name in names if name in by_scorer}
    best = incident_scores(scored, placed, flags)
    flagged = flags.get("all", np.zeros(sessions.height, dtype=bool))
    behind = _versions(verdicts) | (versions or {})
    long = long_scores(scored, sessions, classes, shown, flags)
    of_cases = case_lines(candidates, sessions, settings)
    audits, no_audits = _audits(scores, candidates, verdicts, labels, of_cases, settings.confidence)
    return Evaluation(
        evaluation_id=_evaluation_id(sessions, incidents, labels, scores, candidates, verdicts, settings, split, seed, behind),
        threshold=settings.threshold,
        split=split,
        data_start=data_start,
        data_end=data_end,
        confidence=settings.confidence,
        versions=behind,
        blocks=blocks,
        curve=curve,
        events=event_figures(sessions, session_events, labels, flagged, draw),
        judges=_judges(sessions, labels, candidates, verdicts, of_cases, settings, seed),
        rules=[] if signals is None else rule_figures(
            sessions, signals, classes, draw, settings.min_rule_sessions),
        weeks=decay(long, resamples=settings.bootstrap, confidence=settings.confidence, seed=seed),
        audits=audits,
        audits_reason=no_audits,
        calibrated=calibrated_figures(calibrator, sessions, classes == MALICIOUS, scored, shown, draw, settings.bins),
        cited=cited_recall(placed, labels, verdicts, of_cases, settings.confidence),
        left_out=placed.left_out,
        session_scores=long,
        precision_recall=precision_recall_points(scored, classes),
        histogram=histogram(scored, classes),
        incident_scores=best,
        incident_rows=incident_rows(incidents, labels, placed, best, placed.detected_at(flagged)),
        scored=Scored(classes, scored, shown, placed, draw, cases),
    )


def _span(sessions: pl.DataFrame) -> tuple[datetime | None, datetime | None]:
    return sessions["start"].min(), sessions["end"].max()  # type: ignore[return-value]


def n_days(start: datetime | None, end: datetime | None) -> int:
    """Return the days that data span, at least one: budgets are per day.

    >>> n_days(datetime(2026, 11, 1, 12), datetime(2026, 11, 3, 9))
    2
    """
    return 1 if start is None or end is None else max(1, math.ceil((end - start).total_seconds() / 86_400))


def _require_later(data_start: datetime | None, settings: EvaluateSettings) -> None:
    if settings.learnt_until is not None and data_start is not None and data_start <= settings.learnt_until:
        raise InputError(
            f"the threshold was learnt from sessions until {settings.learnt_until:%Y-%m-%d %H:%M:%S}, "
            f"these begin {data_start:%Y-%m-%d %H:%M:%S}",
            "evaluate later sessions only: since=…, or split_by_time",
        )


def _versions(verdicts: pl.DataFrame) -> dict[str, str]:
    judges = verdicts.select("judge_id", "judge_version").unique().sort("judge_id", "judge_version")
    return {"judge": " + ".join(f"{name}@{version}" for name, version in judges.iter_rows()) or "none"}


def _audits(
    scores: pl.DataFrame, candidates: pl.DataFrame, verdicts: pl.DataFrame, labels: pl.DataFrame, lines: Lines, confidence: float
) -> tuple[AuditEstimate | None, str | None]:
    """Return what people's reviews say of all cases, or why they say nothing."""
    if labels.filter(pl.col("target_kind") != "incident").is_empty():
        return None, "nobody has reviewed a case yet"
    try:
        return estimate_from_audits(reviewed_cases(scores, candidates, verdicts, labels, lines), confidence), None
    except InputError as error:
        return None, error.what


def _standing(labels: pl.DataFrame) -> pl.DataFrame:
    """Leave out labels that were replaced or withdrawn: the ledger keeps them, figures do not."""
    replaced = labels["replaces"].drop_nulls().implode()
    return labels.filter(~pl.col("label_id").is_in(replaced) & (pl.col("verdict") != "withdrawn"))


def _judges(
    sessions: pl.DataFrame, labels: pl.DataFrame, candidates: pl.DataFrame, verdicts: pl.DataFrame, lines: Lines,
    settings: EvaluateSettings, seed: int,
) -> dict[str, JudgeFigures]:
    truth = case_truth(candidates, sessions, labels)
    found = {}
    for (judge, version), part in verdicts.sort("judge_id", "judge_version").group_by("judge_id", "judge_version", maintain_order=True):
        name = f"{judge}@{str(version)[:12]}"
        found[name] = judge_figures(truth, part, lines, settings.bootstrap, settings.confidence, seed)
    return found


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
        recall = exact(found, best.size, confidence, "malicious incidents")
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
    verdicts: pl.DataFrame, settings: EvaluateSettings, split: str, seed: int, versions: dict[str, str],
) -> str:
    parts = [
        frame_digest(sessions.select("session_id", "actor", "end"), ("session_id",)),
        frame_digest(incidents, ("incident_id",)),
        frame_digest(labels, ("label_id",), _volatile("labels")),
        frame_digest(scores, ("case_id", "detector_id")),
        frame_digest(candidates, ("case_id",)),
        frame_digest(verdicts, tables.TABLES["verdicts"].key, _volatile("verdicts")),
    ]
    return short_id("m", *parts, settings.model_dump_json(), split, seed, sorted(versions.items()))


def _volatile(name: str) -> tuple[str, ...]:
    return tuple(column for column, spec in tables.TABLES[name].columns.items() if spec.volatile)
