"""Each rule against labelled incidents: what its hits were worth, by its version, so that a worse one is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from audit_lab.counting import counted
from audit_lab.evaluate.confusion import MALICIOUS
from audit_lab.evaluate.intervals import ActorBootstrap, Rate


@dataclass(frozen=True)
class RuleFigures:
    """What one version of a rule found: sessions, malicious ones among them, and the rates; intervals resample actors."""

    rule: str
    version: str
    sessions: int
    malicious: int
    precision: Rate
    fpr: Rate

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {name: value.as_dict() if isinstance(value, Rate) else value for name, value in vars(self).items()}


def rule_figures(
    sessions: pl.DataFrame, signals: pl.DataFrame, classes: np.ndarray, draw: ActorBootstrap, min_sessions: int
) -> list[RuleFigures]:
    """Return the figures of every rule that hit.

    Parameters
    ----------
    sessions, signals
        Tables of these names; sessions in the order of `classes` and `draw`.
    classes, draw
        Class code of each session, resamples of actors over the same sessions.
    min_sessions
        Sessions with a hit below which a rule has no precision (`evaluate.min_rule_sessions`).

    Returns
    -------
    Figures in order of rule and version. `precision` (1 − it is the share of false positives among its hits) is null below `min_sessions`;
    `fpr` is the share of all sessions that are not malicious in which the rule hit.
    """
    hits = signals.filter(pl.col("kind").is_in(["rule", "correlation"])).select("detector_id", "detector_version", "session_id").unique()
    placed = hits.join(sessions.select("session_id").with_row_index("row"), on="session_id", how="inner").sort("detector_id", "row")
    malicious = classes == MALICIOUS
    found = []
    for (rule, version), part in placed.group_by("detector_id", "detector_version", maintain_order=True):
        hit = np.zeros(classes.size, dtype=bool)
        hit[part["row"].to_numpy()] = True
        n, bad = int(hit.sum()), int((hit & malicious).sum())
        precision = draw.rate(malicious, hit, "sessions with a hit")
        if n < min_sessions:
            precision = Rate(None, None, None, n, f"{counted(n, 'session')} with a hit, {min_sessions} needed")
        fpr = draw.rate(hit, ~malicious, "sessions that are not malicious")
        found.append(RuleFigures(str(rule), str(version or ""), n, bad, precision, fpr))
    return sorted(found, key=lambda figures: (figures.rule, figures.version))
