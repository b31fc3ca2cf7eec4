"""One score per session for each scorer that is compared: the detectors alone, the judge alone, and all of it together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

# Shown for every evaluation, in the order of the flow; other detectors found in `scores` follow.
SCORERS = ("rules", "outliers", "fused", "judge", "all")


class SessionScores(NamedTuple):
    """One value per session for each scorer, and what is missing.

    `by_scorer` maps a scorer to its scores; `why_not` a scorer that scored nothing to the reason; `shown` tells for
    each session whether it was a candidate: only such a session can be flagged by `all`.
    """

    by_scorer: dict[str, np.ndarray]
    why_not: dict[str, str]
    shown: np.ndarray


def session_scores(
    sessions: pl.DataFrame, scores: pl.DataFrame, candidates: pl.DataFrame, verdicts: pl.DataFrame, threshold: float
) -> SessionScores:
    """Give each session one score per scorer.

    Parameters
    ----------
    sessions, scores, candidates, verdicts
        Tables of these names; of `sessions` only session_id is read.
    threshold
        Score from which a session is flagged.

    Returns
    -------
    SessionScores, one value per row of `sessions`. A session has the highest score of its cases. Detectors: 0 where they
    scored nothing. `judge`: the usable verdict's score, 0 where there is none. `all`: a candidate has its usable verdict's
    score, else its fused score, and never less than its rules' floor; a session that was no candidate was shown to nobody, so
    its fused score is scaled below the threshold: it keeps its order and is never flagged.
    """
    n = sessions.height
    position = sessions.select("session_id").with_row_index("row")
    found: dict[str, np.ndarray] = {}
    why_not: dict[str, str] = {}

    def spread(frame: pl.DataFrame) -> np.ndarray:
        """Turn (session_id, score) into one value per session: the highest, nan where there is none."""
        best = frame.filter(pl.col("score").is_not_null()).group_by("session_id").agg(pl.col("score").max())
        values = np.full(n, np.nan)
        placed = position.join(best, on="session_id", how="inner")
        values[placed["row"].to_numpy()] = placed["score"].to_numpy()
        return values

    for detector in ["rules", "outliers", "fused", *_others(scores)]:
        rows = scores.filter(pl.col("detector_id") == detector).select("session_id", "score")
        if rows.is_empty():
            why_not[detector] = f"no scores of '{detector}'"
            continue
        found[detector] = np.nan_to_num(spread(rows))

    cases = candidates.select("case_id", "floor", fused="score", session_id="session_ids").explode("session_id", empty_as_null=False)
    usable = (
        verdicts.filter(pl.col("usable") & pl.col("score").is_not_null())
        .group_by("case_id").agg(verdict=pl.col("score").max())
    )
    judged = cases.join(usable, on="case_id", how="left")
    if verdicts.is_empty():
        why_not["judge"] = "no judge has run"
    else:
        found["judge"] = np.nan_to_num(spread(judged.select("session_id", score="verdict")))

    shown = np.zeros(n, dtype=bool)
    if candidates.is_empty() and "fused" not in found:
        why_not["all"] = "no case was scored"
    else:
        alerted = spread(judged.select("session_id", score=pl.max_horizontal(pl.coalesce("verdict", "fused"), "floor")))
        shown = ~np.isnan(alerted)
        fused = found.get("fused", np.zeros(n))
        unseen = np.minimum(fused * threshold, np.nextafter(threshold, -1.0))
        found["all"] = np.where(shown, alerted, unseen)
    return SessionScores(found, why_not, shown)


def _others(scores: pl.DataFrame) -> list[str]:
    return sorted(set(scores["detector_id"].unique().to_list()) - set(SCORERS))
