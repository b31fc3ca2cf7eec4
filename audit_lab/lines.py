"""Is this flagged? The score from which a session or a case is: one number, or one for each cluster that has its own.

Evaluation, queue, judge, report, drift and feedback all ask here, so that they cannot call different things flagged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from audit_lab.profile import EvaluateSettings


@dataclass(frozen=True)
class CaseLines:
    """The line of each case: `default`, but for the cases in `own`."""

    default: float
    own: Mapping[str, float] = field(default_factory=dict)

    def of(self, case_id: str) -> float:
        """Return the score from which this case is flagged."""
        return self.own.get(case_id, self.default)


# A plain number is a line that all cases share.
Lines = CaseLines | float


def session_lines(sessions: pl.DataFrame, settings: EvaluateSettings) -> np.ndarray:
    """Return the score from which each session is flagged, one for each row of table `sessions`: that of its cluster."""
    return sessions.select(_of_cluster(settings)).to_series().to_numpy()


def case_lines(candidates: pl.DataFrame, sessions: pl.DataFrame | pl.LazyFrame, settings: EvaluateSettings) -> CaseLines:
    """Return the score from which each case is flagged: that of its cluster; the lowest where its sessions lie in several.

    Parameters
    ----------
    candidates, sessions
        Tables of these names.
    settings
        Section evaluate of the profile: `threshold`, and `thresholds` of clusters.
    """
    if not settings.thresholds:
        return CaseLines(settings.threshold)
    members = candidates.lazy().select("case_id", session_id="session_ids").explode("session_id", empty_as_null=False)
    lines = members.join(sessions.lazy().select("session_id", line=_of_cluster(settings)), on="session_id").group_by("case_id").agg(
        pl.col("line").min())
    return CaseLines(settings.threshold, dict(lines.filter(pl.col("line") != settings.threshold).collect().iter_rows()))


def line_of(lines: Lines) -> pl.Expr:
    """Return the line of a frame's column `case_id` as an expression."""
    if isinstance(lines, CaseLines):
        return pl.col("case_id").replace_strict(dict(lines.own), default=lines.default, return_dtype=pl.Float64)
    return pl.lit(float(lines))


def reaches(score: pl.Expr, lines: Lines) -> pl.Expr:
    """Return whether a score reaches the line of its row's case; null where there is no score.

    >>> scores = pl.DataFrame({"case_id": ["a", "b"], "score": [0.5, 0.5]})
    >>> scores.select(reaches(pl.col("score"), CaseLines(0.4, {"b": 0.6}))).to_series().to_list()
    [True, False]
    """
    return score >= line_of(lines)


def line_at(lines: Lines, case_id: str) -> float:
    """Return the line of one case."""
    return lines.of(case_id) if isinstance(lines, CaseLines) else float(lines)


def _of_cluster(settings: EvaluateSettings) -> pl.Expr:
    return pl.col("cluster").replace_strict(settings.thresholds, default=settings.threshold, return_dtype=pl.Float64)
