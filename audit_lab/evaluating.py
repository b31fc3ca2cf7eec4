"""A lab against what is known to have happened: evaluation, the ladder of stages, and how figures changed with versions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from audit_lab import __version__, tables
from audit_lab.digests import code_digest, rules_digest
from audit_lab.errors import InputError
from audit_lab.evaluate import Evaluation, LearntCalibrator, Rate, Rung, evaluate, ladder, n_days
from audit_lab.evaluate.rows import VERSIONS
from audit_lab.evaluate.scorers import session_scores
from audit_lab.holdings import standing_labels
from audit_lab.judge import load_template, make_judge
from audit_lab.lines import session_lines
from audit_lab.pipeline import Run, judge_candidates
from audit_lab.profile import Profile
from audit_lab.signals import load_rules, rank_cases, run_rules_aside
from audit_lab.store import Store

CALIBRATION = "calibration"
# Model rungs stay empty until answers are there.
NO_MODEL = "no model run"


@dataclass(frozen=True)
class Evidence:
    """The tables that an evaluation needs, of some sessions only."""

    sessions: pl.DataFrame
    session_events: pl.DataFrame
    events: pl.DataFrame
    incidents: pl.DataFrame
    labels: pl.DataFrame
    scores: pl.DataFrame
    candidates: pl.DataFrame
    verdicts: pl.DataFrame
    signals: pl.DataFrame


def gather(store: Store, since: datetime | None = None, until: datetime | None = None) -> Evidence:
    """Read what an evaluation needs.

    Parameters
    ----------
    store
        The lab.
    since, until
        Only sessions that start at or after `since`, and that end before `until`. One that lies across either is on neither side. An
        incident whose sessions all lie elsewhere is left out; one that no session holds is judged by its own dates.

    Raises
    ------
    InputError
        When no session is left.
    """
    sessions, labels, incidents = store.read("sessions"), standing_labels(store), store.read("incidents")
    inside = pl.lit(value=True)
    if since is not None:
        inside &= pl.col("start") >= since
    if until is not None:
        inside &= pl.col("end") < until
    kept = sessions.filter(inside)
    if kept.is_empty():
        first, last = sessions["start"].min(), sessions["end"].max()
        span = f"the lab's sessions lie between {str(first)[:19]} and {str(last)[:19]}"
        raise InputError("no session in that time", span if sessions.height else "audit-lab run")
    members = kept.select("session_id")
    own = labels.join(members, on="session_id", how="semi")
    held, held_here = (frame.filter(pl.col("target_kind") == "incident")["target_id"].unique() for frame in (labels, own))
    elsewhere = held.filter(~held.is_in(held_here.implode()))
    of_incidents = own.filter(pl.col("target_kind") == "incident").select(event_id="event_ids").explode("event_id", empty_as_null=False)
    candidates = store.read("candidates")
    cases = candidates.select("case_id", session_id="session_ids").explode("session_id", empty_as_null=False)
    judged = cases.join(members, on="session_id", how="semi").select("case_id").unique()
    return Evidence(
        kept,
        store.scan("session_events").join(members.lazy(), on="session_id", how="semi").collect(),
        store.scan("events").join(of_incidents.unique().lazy(), on="event_id", how="semi").collect(),
        incidents.filter(~pl.col("incident_id").is_in(elsewhere.implode())),
        own,
        store.scan("scores").join(members.lazy(), on="session_id", how="semi").collect(),
        candidates.join(judged, on="case_id", how="semi", maintain_order="left"),
        store.read("verdicts").join(judged, on="case_id", how="semi", maintain_order="left"),
        store.scan("signals").join(members.lazy(), on="session_id", how="semi").collect(),
    )


def evaluate_lab(
    store: Store, profile: Profile, *, split: str | None = None, since: datetime | None = None, until: datetime | None = None, seed: int = 7
) -> Evaluation:
    """Evaluate a lab, or a part of its time.

    Parameters
    ----------
    store, profile
        The lab and its settings. With `evaluate.learnt_until`, only later sessions count (law 9).
    split
        Name of the data in every metric; says the time limits when not given.
    since, until
        Only sessions that start at or after, and end before.
    seed
        Of the resampling.

    Raises
    ------
    InputError
        When the lab holds neither incidents nor labels, or no session in that time.
    """
    if store.rows("incidents") == 0 and store.rows("labels") == 0:
        raise InputError("no incidents to compare with", "audit-lab evaluate --incidents FILE (JSON lines, see docs/evaluation.md)")
    since = _later(profile, since)
    if taught_all(store, profile):
        raise InputError(
            f"every session is among those that taught the threshold (learnt_until {profile.evaluate.learnt_until:%Y-%m-%d %H:%M:%S})",
            "ingest later archives: what taught a threshold cannot test it",
        )
    found = gather(store, since, until)
    remembered = store.remembered(CALIBRATION)
    return evaluate(
        **vars(found), settings=profile.evaluate, split=split or split_name(since, until), seed=seed, versions=versions(store, profile),
        calibrator=LearntCalibrator.from_dict(remembered) if remembered else None,
    )


def taught_all(store: Store, profile: Profile) -> bool:
    """Say whether every session is among those that taught the threshold: then nothing is left to test it on (law 9)."""
    learnt = profile.evaluate.learnt_until
    if learnt is None:
        return False
    last = store.scan("sessions").select(pl.col("start").max()).collect().item()
    return bool(last is None or last <= learnt)


def _later(profile: Profile, since: datetime | None = None) -> datetime | None:
    """Return from when sessions count: never what the threshold was learnt from."""
    learnt = profile.evaluate.learnt_until
    if learnt is None:
        return since
    first = learnt + timedelta(microseconds=1)
    return first if since is None else max(first, since)


def split_name(since: datetime | None, until: datetime | None) -> str:
    """Return the name of a part of the data.

    >>> split_name(None, None), split_name(datetime(2026, 11, 1), None)
    ('all', 'from 2026-11-01 00:00:00')
    """
    parts = [f"{word} {moment:%Y-%m-%d %H:%M:%S}" for word, moment in (("from", since), ("before", until)) if moment is not None]
    return " ".join(parts) or "all"


def versions(store: Store, profile: Profile) -> dict[str, str]:
    """Return the versions behind an evaluation, as columns of table `metrics` name them (the judges' are in `verdicts`)."""
    judges = set(store.scan("verdicts").select("judge_id").unique().collect()["judge_id"])
    template = load_template(profile.judge.prompt, profile.judge.lang) if judges - {"baseline"} else None
    return {
        "code": f"{__version__} {code_digest()[:16]}", "rules": rules_digest(profile.signals)[:16], "profile": profile.digest[:16],
        "prompt": f"{template.name} {template.digest[:16]}" if template else "none",
    }


def keep_metrics(store: Store, fresh: pl.DataFrame, now: datetime) -> None:
    """Add an evaluation to table metrics; earlier ones stay, so that figures can be followed from version to version."""
    key = tables.TABLES["metrics"].key
    with store.writing():
        known = store.read("metrics")
        # What takes a run of its own is not forgotten because a later look at the same evaluation has not tried it again.
        tried = known.filter((pl.col("measure") == "injection_success") & pl.col("value").is_not_null())
        added = fresh.join(tried if fresh.height > 1 else tried.clear(), on=key, how="anti", nulls_equal=True)
        both = pl.concat([known, added.with_columns(at=pl.lit(now, dtype=tables.TIME))])
        store.replace("metrics", both.unique(key, keep="last", maintain_order=True), str(fresh["evaluation_id"][0]))


def history(metrics: pl.DataFrame) -> pl.DataFrame:
    """Return how the main figures changed with the versions of judge, prompt, rules and settings.

    Parameters
    ----------
    metrics
        Table `metrics`.

    Returns
    -------
    Frame, one row per evaluation, the earliest first: at, split, threshold, judge, prompt, rules, profile, code, then incident_recall,
    fpr with fpr_low and fpr_high, precision, case_precision under scorer `all`.
    """
    of = ["evaluation_id", "at", "split", "threshold", "judge", "prompt", "rules", "profile", "code"]
    own = metrics.filter((pl.col("scorer") == "all") & pl.col("period").is_null())
    frame = own.select(of).unique("evaluation_id", keep="first", maintain_order=True)
    wanted = {"incident_recall": ("incident", "recall"), "fpr": ("session", "fpr"), "precision": ("session", "precision"),
              "case_precision": ("case", "precision")}
    for name, (unit, measure) in wanted.items():
        part = own.filter((pl.col("unit") == unit) & (pl.col("measure") == measure))
        columns = {name: "value", **({"fpr_low": "low", "fpr_high": "high"} if name == "fpr" else {})}
        frame = frame.join(part.select("evaluation_id", **columns), on="evaluation_id", how="left", maintain_order="left")
    return frame.sort("at", nulls_last=False, maintain_order=True)


# ---- the ladder ----------------------------------------------------------------------------------------------


def climb(store: Store, profile: Profile, alerts_per_day: int | None = None) -> pl.DataFrame:
    """Return the ladder of stages at an equal budget: see `evaluate.ladder`.

    Parameters
    ----------
    store, profile
        The lab and its settings.
    alerts_per_day
        Cases a day that every stage may raise; all budgets of `evaluate.alerts_per_day` when None.

    Returns
    -------
    Frame of `ladder` with alerts_per_day in front: raw rules (no exception applied), with exceptions, + outliers (the fused score),
    + baseline judge, + model, + cascade. Rungs of models are null until a model has judged this lab's candidates.
    """
    found = gather(store, _later(profile))
    evaluation = evaluate(**vars(found), settings=profile.evaluate.model_copy(update={"bootstrap": 100, "impact": []}), split="ladder")
    cases = evaluation.scored.cases
    order = found.sessions.sort("session_id").select("session_id")
    rungs = [
        Rung(name, None if values is None else cases.highest(values), reason)
        for name, values, reason in _rungs(store, profile, found, order, evaluation.scored.scores)
    ]
    days = n_days(evaluation.data_start, evaluation.data_end)
    budgets = profile.evaluate.alerts_per_day if alerts_per_day is None else [alerts_per_day]
    return pl.concat([
        ladder(rungs, cases.classes, cases.incidents, budget * days, profile.evaluate.confidence)
        .select(pl.lit(budget, pl.Int64).alias("alerts_per_day"), pl.all())
        for budget in budgets
    ])


def _rungs(
    store: Store, profile: Profile, found: Evidence, order: pl.DataFrame, scores: dict[str, np.ndarray]
) -> list[tuple[str, np.ndarray | None, str | None]]:
    rules = load_rules(profile.signals.rules)
    raw = run_rules_aside(rules, store.read("events"), store.read("session_events"), ()).signals
    ranked = rank_cases(store.read("sessions"), raw, profile.signals, store.read("stories")).scores
    named = ranked.filter(pl.col("detector_id") == "rules").group_by("session_id").agg(pl.col("score").max())
    bare = order.join(named, on="session_id", how="left", maintain_order="left")["score"].fill_null(0.0).to_numpy()

    def judged(verdicts: pl.DataFrame) -> np.ndarray:
        made = session_scores(
            found.sessions.sort("session_id"), found.scores, found.candidates, verdicts,
            session_lines(found.sessions.sort("session_id"), profile.evaluate), found.session_events,
        )
        return np.where(made.shown, made.by_scorer["all"], -np.inf)

    said = found.verdicts
    baseline = said.filter(pl.col("judge_id") == "baseline")
    if baseline.is_empty():
        changed = profile.model_copy(update={"judge": profile.judge.model_copy(update={"judge": "baseline"})})
        baseline = judge_candidates(Run(store, changed), make_judge(changed.judge)).verdicts
        baseline = baseline.join(found.candidates, on="case_id", how="semi")
    model = said.filter(pl.col("judge_id") != "baseline")
    cascaded = profile.judge.large is not None
    alone, together = (None, model) if cascaded else (model, None)
    missing = "the cascade ran, its first model alone did not" if cascaded and model.height else NO_MODEL
    rungs = [
        ("raw rules", bare, None),
        ("with exceptions", scores.get("rules"), None if "rules" in scores else "no scores of 'rules'"),
        ("+ outliers", scores.get("fused"), None if "fused" in scores else "no scores of 'fused'"),
        ("+ baseline judge", judged(baseline), None),
    ]
    for name, verdicts, reason in (("+ model", alone, missing), ("+ cascade", together, NO_MODEL)):
        ran = verdicts is not None and verdicts.height > 0
        rungs.append((name, judged(verdicts) if ran and verdicts is not None else None, None if ran else reason))
    return rungs


def rate_rows(evaluation: Evaluation, scorer: str, unit: str, measure: str, rate: Rate) -> pl.DataFrame:
    """Return one figure more as a row of table `metrics` that belongs to an evaluation."""
    of = evaluation.metrics.head(1).select("evaluation_id", "split", "threshold", "confidence", "data_start", "data_end", *VERSIONS)
    return tables.conform(of.with_columns(
        scorer=pl.lit(scorer), unit=pl.lit(unit), measure=pl.lit(measure), value=pl.lit(rate.value, dtype=pl.Float64),
        low=pl.lit(rate.low, dtype=pl.Float64), high=pl.lit(rate.high, dtype=pl.Float64), n=pl.lit(rate.n),
        reason=pl.lit(rate.reason, dtype=pl.String),
    ), "metrics")


def ladder_rows(evaluation: Evaluation, rungs: pl.DataFrame) -> pl.DataFrame:
    """Return a ladder as rows of table `metrics` that belong to an evaluation."""
    of = evaluation.metrics.head(1).drop("scorer", "unit", "measure", "value", "low", "high", "n", "prevalence", "reason", "period")
    rows = rungs.select(
        scorer=pl.format("rung {}", "rung"), unit=pl.lit("incident"), measure=pl.format("recall_at_{}_a_day", "alerts_per_day"),
        value="recall", low="recall_low", high="recall_high", n="incidents", reason="reason",
    )
    return tables.conform(rows.join(of, how="cross"), "metrics")
