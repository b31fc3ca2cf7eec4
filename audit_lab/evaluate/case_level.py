"""Case level: what people open. A story is one case, so a figure over cases says what an alert is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from audit_lab.evaluate.confusion import MALICIOUS
from audit_lab.evaluate.incidents import IncidentMap
from audit_lab.evaluate.intervals import ActorBootstrap, Rate, bootstrap_actors
from audit_lab.evaluate.ranking import average_precision_rate


@dataclass(frozen=True)
class CasePopulation:
    """All cases of a run: `of_session` gives the case (from 0) of each session; the rest has one entry per case.

    `actors` and resamples are those of a case's first session; `incidents` maps incidents to cases.
    """

    of_session: np.ndarray
    classes: np.ndarray
    incidents: IncidentMap
    draw: ActorBootstrap

    @property
    def n(self) -> int:
        """Number of cases."""
        return int(self.classes.size)

    def highest(self, values: np.ndarray) -> np.ndarray:
        """Return the highest value among each case's sessions."""
        best = np.full(self.n, -np.inf)
        np.maximum.at(best, self.of_session, values)
        return best


@dataclass(frozen=True)
class CaseFigures:
    """Rates over cases at one threshold."""

    n: int
    malicious: int
    flagged: int | None
    recall: Rate
    fpr: Rate
    precision: Rate
    average_precision: Rate

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {name: value.as_dict() if isinstance(value, Rate) else value for name, value in vars(self).items()}


def case_population(
    sessions: pl.DataFrame, scores: pl.DataFrame, candidates: pl.DataFrame, classes: np.ndarray, placed: IncidentMap,
    resamples: int, confidence: float, seed: int,
) -> CasePopulation:
    """Group sessions to cases.

    Parameters
    ----------
    sessions, scores, candidates
        Tables of these names; sessions in the order of `classes` and `placed`. A session that no table puts in a case is its own.
    classes, placed
        Class code of each session, incidents over the same sessions.
    resamples, confidence, seed
        Of the bootstrap over actors.
    """
    pairs = pl.concat([
        scores.select("session_id", "case_id"),
        candidates.select("case_id", session_id="session_ids").explode("session_id", empty_as_null=False).select("session_id", "case_id"),
    ]).sort("session_id", "case_id").unique("session_id", keep="first", maintain_order=True)
    named = sessions.select("session_id", "start", actor=pl.col("cluster") + "\x1f" + pl.col("actor")).join(
        pairs, on="session_id", how="left", maintain_order="left").with_columns(case=pl.coalesce("case_id", "session_id"))
    _, of_session = np.unique(named["case"].to_numpy().astype(str), return_inverse=True)
    n = int(of_session.max()) + 1 if of_session.size else 0
    of_case = np.zeros(n, dtype=np.int64)
    np.maximum.at(of_case, of_session, classes)
    order = np.argsort(named["start"].dt.epoch("us").to_numpy(), kind="stable")
    # Walking backward in time, what is written last is a case's first session.
    first = np.zeros(n, dtype=np.int64)
    first[of_session[order[::-1]]] = order[::-1]
    ended = np.full(n, np.inf)
    np.minimum.at(ended, of_session, placed.session_end)
    incidents = IncidentMap(
        placed.ids, placed.malicious, [np.unique(of_session[rows]) for rows in placed.rows], placed.first_event, ended, placed.left_out,
        placed.first_impact,
    )
    draw = bootstrap_actors(named["actor"].to_numpy().astype(str)[first], resamples, confidence, seed)
    return CasePopulation(of_session, of_case, incidents, draw)


def case_figures(cases: CasePopulation, scores: np.ndarray, flagged: np.ndarray) -> CaseFigures:
    """Return rates over cases; a case is flagged when one of its sessions is, and scores as its highest."""
    called = cases.highest(flagged.astype(float)) > 0
    malicious = cases.classes == MALICIOUS
    return CaseFigures(
        n=cases.n, malicious=int(malicious.sum()), flagged=int(called.sum()),
        recall=cases.draw.rate(called, malicious, "malicious cases"),
        fpr=cases.draw.rate(called, ~malicious, "cases that are not malicious"),
        precision=cases.draw.rate(malicious, called, "flagged cases"),
        average_precision=average_precision_rate(malicious, cases.highest(scores), cases.draw, "malicious cases"),
    )


def unscored_cases(cases: CasePopulation, reason: str) -> CaseFigures:
    """Return the figures of a scorer that scored nothing: null with a reason, never 0."""
    malicious = int((cases.classes == MALICIOUS).sum())

    def null(n: int) -> Rate:
        return Rate(None, None, None, n, reason)

    return CaseFigures(cases.n, malicious, None, null(malicious), null(cases.n - malicious), null(0), null(malicious))
