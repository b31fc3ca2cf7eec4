"""A lab's thresholds and probabilities, learnt from labels of earlier time and proposed, never put in force by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from audit_lab.counting import counted
from audit_lab.errors import InputError
from audit_lab.evaluate import (
    Calibration,
    CostChoice,
    Costs,
    Evaluation,
    LearntCalibrator,
    Promise,
    cheapest,
    choose_threshold,
    fit_calibrator,
    thresholds_by_group,
    warm_up_threshold,
)
from audit_lab.evaluate.calibrators import Method
from audit_lab.evaluate.confusion import MALICIOUS
from audit_lab.evaluate.neyman_pearson import actor_maxima, scorer_rows
from audit_lab.evaluating import CALIBRATION, evaluate_lab
from audit_lab.holdings import standing_labels
from audit_lab.profile import Profile
from audit_lab.store import Store

# What the demo and the report look for: a share of benign actors that few labels can promise, and the one that people ask for.
LIMITS = (0.05, 0.005)
GROUPS = ("cluster", "actor_kind", "source_class")


@dataclass(frozen=True)
class WarmUp:
    """The threshold to use while labels come in, and how far the way is.

    `n_labelled` actors have a label, `needed` would carry the promise; `target` is the promised threshold, or the profile's where there is
    none yet (`target_is`).
    """

    threshold: float
    n_labelled: int
    needed: int
    start: float
    target: float
    target_is: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return dict(vars(self))

    def says(self) -> str:
        """Return it as one sentence."""
        way = f"between {self.start:g} on the first day and {self.target:.4g} ({self.target_is})"
        return f"warm-up: threshold {self.threshold:.4g}, {way}; {self.n_labelled} of {counted(self.needed, 'actor')} labelled"


def calibrate_lab(store: Store, profile: Profile, before: datetime | None = None, **goal: Any) -> Promise:
    """Choose a threshold with a promise from the lab's sessions, those before a moment where one is given.

    Parameters
    ----------
    store, profile
        The lab and its settings.
    before
        Only sessions that end before it: what comes after is left to test the threshold on.
    **goal
        As for `evaluate.choose_threshold`.
    """
    return choose_threshold(evaluation_before(store, profile, before), **goal)


def evaluation_before(store: Store, profile: Profile, before: datetime | None) -> Evaluation:
    """Evaluate what a new threshold may be learnt from; the time that taught the present one is not forbidden to the next."""
    prior = profile.model_copy(update={"evaluate": profile.evaluate.model_copy(update={"learnt_until": None})})
    return evaluate_lab(store, prior, until=before)


def cheapest_in_lab(
    store: Store, profile: Profile, review_minute: float, missed_incident: float, before: datetime | None = None,
    minutes_per_alert: float | None = None, scorer: str = "all",
) -> CostChoice:
    """Return the threshold of least cost, reviews and missed incidents together; no promise, but an interval."""
    costs = costs_of(store, profile, review_minute, missed_incident, minutes_per_alert)
    return cheapest(evaluation_before(store, profile, before), costs, scorer)


def costs_of(store: Store, profile: Profile, review_minute: float, missed_incident: float, minutes_per_alert: float | None = None) -> Costs:
    """Return what a look and a miss cost; the minutes of a look are the median that people recorded, else the profile's."""
    if minutes_per_alert is None:
        spent = standing_labels(store)["minutes"].drop_nulls()
        median = spent.median()
        minutes_per_alert = float(median) if isinstance(median, int | float) else profile.evaluate.minutes_per_alert
    return Costs(minutes_per_alert, review_minute, missed_incident)


def at_threshold(
    store: Store, profile: Profile, threshold: float, scorer: str = "all", since: datetime | None = None, until: datetime | None = None
) -> dict[str, Any]:
    """Return what a threshold would have flagged in a part of the lab's time.

    Returns
    -------
    `{threshold, scorer, flagged, fp, incidents_found, incidents, actors_flagged, actors}`: sessions, and benign actors.
    """
    found = evaluation_before(store, profile, until) if since is None else evaluate_lab(store, profile, since=since, until=until)
    return _figures_at(found, threshold, scorer)


def _figures_at(found: Evaluation, threshold: float, scorer: str) -> dict[str, Any]:
    row = found.sweep(scorer, np.array([threshold])).row(0, named=True)
    units = actor_maxima(scorer_rows(found.session_scores, scorer).filter(pl.col("class") != "malicious"))["score"]
    return {
        "threshold": threshold, "scorer": scorer, **{name: row[name] for name in ("flagged", "fp", "incidents_found", "incidents")},
        "actors_flagged": int((units >= threshold).sum()), "actors": units.len(),
    }


def promised_thresholds(store: Store, profile: Profile, evaluation: Evaluation | None) -> list[dict[str, Any]]:
    """Return what the lab's labels can promise at each of `LIMITS`, and what each threshold does on the sessions it was learnt from.

    Parameters
    ----------
    store, profile
        The lab and its settings.
    evaluation
        The lab's evaluation where it has one: it is not made again, unless it leaves out the sessions that taught the present threshold.

    Returns
    -------
    `Promise.as_dict()` each, with `there`: the figures of `at_threshold`, then fpr and precision over sessions with intervals; None where
    the promise was refused. Empty where the lab holds neither incidents nor labels.
    """
    if evaluation is None or profile.evaluate.learnt_until is not None:
        if not store.rows("incidents") and not store.rows("labels"):
            return []
        evaluation = evaluation_before(store, profile, None)
    found = []
    for limit in LIMITS:
        promise = choose_threshold(evaluation, max_fpr=limit)
        there = None
        if promise.threshold is not None:
            parts = evaluation.scored
            flagged = parts.reachable(promise.scorer) & (parts.scores[promise.scorer] >= promise.threshold)
            malicious = parts.classes == MALICIOUS
            there = _figures_at(evaluation, promise.threshold, promise.scorer) | {
                "fpr": parts.draw.rate(flagged, ~malicious, "sessions that are not malicious").as_dict(),
                "precision": parts.draw.rate(malicious, flagged, "flagged sessions").as_dict(),
            }
        found.append(promise.as_dict() | {"there": there})
    return found


def warm_up(store: Store, profile: Profile, promise: Promise, before: datetime | None = None) -> WarmUp:
    """Return the threshold for the time until a promise can be given: low first, tightening with every labelled actor.

    Actors count once a person or an incident file has said something of one of their sessions: labels are what is waited for.
    """
    sessions = store.scan("sessions").select("session_id", "cluster", "actor", "end").collect()
    if before is not None:
        sessions = sessions.filter(pl.col("end") < before)
    labelled = standing_labels(store).filter(pl.col("verdict").is_in(["benign", "benign-but-suspicious"]))
    n = sessions.join(labelled, on="session_id", how="semi").select("cluster", "actor").unique().height
    start = profile.evaluate.warm_up_threshold
    target, said = (promise.threshold, "promised") if promise.threshold is not None else (profile.evaluate.threshold, "of the profile")
    return WarmUp(warm_up_threshold(n, promise.needed, start, target), n, promise.needed, min(start, target), target, said)


def groups_in_lab(
    store: Store, profile: Profile, by: str | dict[str, str], max_fpr: float, confidence: float = 0.95, scorer: str = "all",
    before: datetime | None = None,
) -> pl.DataFrame:
    """Return a threshold per group of actors, shrunk to the common one where its data are few.

    Parameters
    ----------
    by
        'cluster', 'actor_kind' or 'source_class', or a dict actor -> team (actors that it does not name form the group 'other').
    max_fpr, confidence, scorer, before
        As for `calibrate_lab`.

    Raises
    ------
    InputError
        When there is no such group.
    """
    sessions = store.read("sessions")
    if isinstance(by, dict):
        group = pl.col("actor").replace_strict(by, default="other", return_dtype=pl.String)
    elif by in GROUPS:
        group = pl.col(by)
    else:
        raise InputError(f"no group '{by}'", f"one of: {', '.join(GROUPS)}, or a mapping of actors to teams")
    # An actor seen under several values belongs to the one it is seen under most.
    groups = (
        sessions.select("cluster", "actor", group=group).group_by("cluster", "actor", "group").agg(n=pl.len())
        .sort("cluster", "actor", "n", "group", descending=[False, False, True, False])
        .unique(["cluster", "actor"], keep="first", maintain_order=True)
    )
    return thresholds_by_group(evaluation_before(store, profile, before), groups, max_fpr, confidence, scorer)


def learn_probabilities(
    store: Store, profile: Profile, before: datetime | None = None, scorer: str = "all", method: Method | str = "auto", keep: bool = True
) -> Calibration:
    """Learn what a scorer's scores mean from labels of earlier time, and remember it for later sessions.

    Parameters
    ----------
    store, profile
        The lab and its settings.
    before
        Only sessions that ended before it; all when None: then what is learnt is for archives that are still to come.
    scorer, method
        Whose scores, and how (`evaluate.fit_calibrator`).
    keep
        Remember it in the lab: evaluations then show raw and calibrated scores side by side, cases their probability.

    Returns
    -------
    Calibration; without calibrator, and with the reason, when labels are too few: then scores and threshold stay as they are.
    Where an incident file is given, a session without a label counts as benign; else only sessions that people labelled count.
    """
    found = evaluation_before(store, profile, before)
    rows = scorer_rows(found.session_scores, scorer).filter("shown")
    ends = store.scan("sessions").select("session_id", "end").collect()
    rows = rows.join(ends, on="session_id", how="inner")
    if store.rows("incidents") == 0:
        rows = rows.join(standing_labels(store).filter(pl.col("verdict") != "unsure"), on="session_id", how="semi")
    labelled = rows.select("score", malicious=pl.col("class") == "malicious", time="end")
    last = found.data_end
    if last is None:
        raise InputError("no session to learn from", "audit-lab run")
    until = before or last + timedelta(microseconds=1)
    learnt = fit_calibrator(labelled, until, method)  # type: ignore[arg-type]
    if keep and learnt.calibrator is not None:
        with store.writing():
            store.remember(CALIBRATION, LearntCalibrator(learnt.calibrator, scorer, until).as_dict())
    return learnt


def probability_of(store: Store, score: float | None) -> float | None:
    """Return the probability that a case's score means by the lab's calibrator; None where there is none or it is for another scorer."""
    remembered = store.remembered(CALIBRATION)
    if remembered is None or score is None or remembered["scorer"] not in ("all", "fused"):
        return None
    return float(LearntCalibrator.from_dict(remembered).calibrator.apply(np.array([score]))[0])
