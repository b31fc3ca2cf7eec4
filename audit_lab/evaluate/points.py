"""The operating points that everybody asks for: at fixed recall, at fixed alerts a day, and at the prevalence of a real cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from audit_lab.evaluate.case_level import CasePopulation
from audit_lab.evaluate.confusion import MALICIOUS
from audit_lab.evaluate.intervals import ActorBootstrap, Rate, exact
from audit_lab.evaluate.operating import at_budget, fpr_at_recall, precision_at_prevalence
from audit_lab.profile import EvaluateSettings


@dataclass(frozen=True)
class Point:
    """One operating point: what was asked for, at which threshold it lies, and its rates by name."""

    kind: str
    target: float
    threshold: float | None
    alerts: int | None
    rates: dict[str, Rate]

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {self.kind: self.target, "threshold": self.threshold, "alerts": self.alerts} | {
            name: rate.as_dict() for name, rate in self.rates.items()}


def operating_points(
    classes: np.ndarray, scores: np.ndarray, shown: np.ndarray, flagged: np.ndarray, draw: ActorBootstrap, cases: CasePopulation,
    days: int, settings: EvaluateSettings,
) -> list[Point]:
    """Return the operating points of one scorer.

    Parameters
    ----------
    classes, scores, shown, flagged
        Class, score, whether some threshold can flag it, and whether it is flagged: one value per session.
    draw, cases
        Resamples of actors over the same sessions, and their cases.
    days
        Days that the data span.
    settings
        `recalls`, `alerts_per_day`, `prevalences`, `confidence`.

    Returns
    -------
    Points of kind 'recall' (fpr over sessions), 'alerts_per_day' (recall and precision over cases, incidents found; a case without any
    score is no alert) and 'prevalence' (precision over sessions at the evaluation's threshold).
    """
    reachable = np.where(shown, scores, -np.inf)
    points = []
    for recall in settings.recalls:
        threshold, fpr = fpr_at_recall(classes, reachable, recall, draw)
        if threshold is not None and np.isinf(threshold):
            threshold, fpr = None, Rate(None, None, None, fpr.n, "too few malicious sessions can be flagged at any threshold")
        points.append(Point("recall", recall, threshold, None, {"fpr": fpr}))
    heard = cases.highest(np.where(reachable > 0, reachable, -np.inf))
    best = cases.incidents.best(heard)[cases.incidents.malicious]
    for budget in settings.alerts_per_day:
        found = at_budget(cases.classes, heard, budget * days, cases.draw)
        threshold = found["threshold"]
        hits = 0 if threshold is None else int((best >= threshold).sum())
        incidents = exact(hits, best.size, settings.confidence, "malicious incidents")
        points.append(Point("alerts_per_day", budget, threshold, found["flagged"], {
            "recall": found["recall"], "precision": found["precision"], "incidents": incidents}))
    for prevalence in settings.prevalences:
        points.append(Point("prevalence", prevalence, None, None, {
            "precision": precision_at_prevalence(classes, flagged, prevalence, draw)}))
    return points


def unscored_points(classes: np.ndarray, reason: str, settings: EvaluateSettings) -> list[Point]:
    """Return the points of a scorer that scored nothing: null with a reason, never 0."""
    null = Rate(None, None, None, int((classes != MALICIOUS).sum()), reason)
    return [
        *(Point("recall", recall, None, None, {"fpr": null}) for recall in settings.recalls),
        *(Point("alerts_per_day", budget, None, None, dict.fromkeys(("recall", "precision", "incidents"), null))
          for budget in settings.alerts_per_day),
        *(Point("prevalence", prevalence, None, None, {"precision": null}) for prevalence in settings.prevalences),
    ]
