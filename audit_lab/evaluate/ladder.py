"""The ladder: what each stage adds when every stage may raise the same number of alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from audit_lab.counting import counted
from audit_lab.errors import InputError
from audit_lab.evaluate.comparison import mcnemar
from audit_lab.evaluate.confusion import MALICIOUS
from audit_lab.evaluate.incidents import IncidentMap
from audit_lab.evaluate.intervals import exact
from audit_lab.evaluate.operating import budget_threshold

# From here down a difference on the same incidents counts as more than chance.
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Rung:
    """One stage: its name and one score per session, or None with the reason why it has not run ('no model run')."""

    name: str
    scores: np.ndarray | None
    reason: str | None = None


def ladder(rungs: Sequence[Rung], classes: np.ndarray, incidents: IncidentMap, n_alerts: int, confidence: float = 0.95) -> pl.DataFrame:
    """Compare stages at an equal budget of alerts.

    Parameters
    ----------
    rungs
        Stages in order, each with everything below it: raw rules, with exceptions, + outliers, + baseline judge, + model, + cascade.
        A score of 0 or below is never flagged: a stage that says nothing of a session does not fill its budget with it.
    classes
        Class code of each session.
    incidents
        Map of incidents over the same sessions.
    n_alerts
        Sessions that each stage may flag, from its highest score down; ties go together or not at all.

    Returns
    -------
    Frame, one row per rung: rung, threshold, alerts, precision, incidents_found, incidents, recall, recall_low, recall_high,
    gained and lost (incidents against the last rung that ran), p_value (exact McNemar on incidents), says (in words), reason.
    A rung that has not run is null.

    Raises
    ------
    InputError
        When the budget is below 1.
    """
    if n_alerts < 1:
        raise InputError(f"a budget of {n_alerts} alerts", "give 1 or more")
    rows: list[dict[str, Any]] = []
    before: np.ndarray | None = None
    for rung in rungs:
        if rung.scores is None:
            rows.append({"rung": rung.name, "incidents": int(incidents.malicious.sum()), "says": rung.reason, "reason": rung.reason})
            continue
        heard = np.where(rung.scores > 0, rung.scores, -np.inf)
        threshold = _threshold(heard, n_alerts)
        flagged = heard >= threshold
        found = np.array([bool(flagged[members].any()) for members in incidents.rows], dtype=bool)[incidents.malicious]
        recall = exact(int(found.sum()), found.size, confidence, "malicious incidents")
        row = {
            "rung": rung.name, "threshold": None if np.isinf(threshold) else threshold, "alerts": int(flagged.sum()),
            "precision": float((classes[flagged] == MALICIOUS).mean()) if flagged.any() else None,
            "incidents_found": int(found.sum()), "incidents": found.size,
            "recall": recall.value, "recall_low": recall.low, "recall_high": recall.high, "reason": recall.reason,
        }
        rows.append(row | _against(before, found))
        before = found
    texts, counts = ("rung", "says", "reason"), ("alerts", "incidents_found", "incidents", "gained", "lost")
    order = ("rung", "threshold", "alerts", "precision", "incidents_found", "incidents", "recall", "recall_low", "recall_high",
             "gained", "lost", "p_value", "says", "reason")
    types = {name: pl.String if name in texts else pl.Int64 if name in counts else pl.Float64 for name in order}
    return pl.DataFrame(rows, schema=types)


def _threshold(heard: np.ndarray, n_alerts: int) -> float:
    real = heard[np.isfinite(heard)]
    return budget_threshold(real, n_alerts) if real.size else float("inf")


def _against(before: np.ndarray | None, found: np.ndarray) -> dict[str, Any]:
    if before is None:
        return {"says": "first rung"}
    gained, lost = int((found & ~before).sum()), int((~found & before).sum())
    p_value = mcnemar(lost, gained, found.size)
    net = gained - lost
    if net == 0:
        says = "adds nothing at this budget"
    elif net < 0:
        says = f"loses {counted(-net, 'incident')} at this budget"
    else:
        says = f"finds {counted(net, 'more incident')}"
    if net and p_value is not None and p_value > SIGNIFICANT:
        says += ", which may be chance"
    return {"gained": gained, "lost": lost, "p_value": p_value, "says": says}
