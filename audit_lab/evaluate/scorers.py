"""One score per session for each scorer that is compared: the detectors alone, the judge alone, and all of it together.

People look at cases, figures count sessions, and a story is one case of many sessions. So what is known of a case is shared out: a
session has what speaks of itself (its own fused score, the floor of its own rules), a verdict can lower that, and what a verdict
adds to the signals belongs to the sessions whose events its grounds cite. A case's highest session always has the case's score.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

# Shown for every evaluation, in the order of the flow; other detectors found in `scores` follow.
SCORERS = ("rules", "outliers", "fused", "judge", "all")
# Scores are rounded to six digits on their way; a smaller difference is none.
_SAME = 1e-6
# Weight of the fused score among equal ones.
_TIE = 1e-7
# Width of the band below the threshold into which what nobody was shown is pressed, so that its order is kept.
_BAND = 1e-3


class SessionScores(NamedTuple):
    """One value per session for each scorer, and what is missing.

    `by_scorer` maps a scorer to its scores; `why_not` a scorer that scored nothing to the reason; `shown` tells for
    each session whether it was a candidate: only such a session can be flagged by `all`.
    """

    by_scorer: dict[str, np.ndarray]
    why_not: dict[str, str]
    shown: np.ndarray


def session_scores(
    sessions: pl.DataFrame, scores: pl.DataFrame, candidates: pl.DataFrame, verdicts: pl.DataFrame, threshold: float | np.ndarray,
    session_events: pl.DataFrame | None = None,
) -> SessionScores:
    """Give each session one score per scorer.

    Parameters
    ----------
    sessions, scores, candidates, verdicts
        Tables of these names; of `sessions` only session_id is read.
    threshold
        Score from which a session is flagged, or one for each row of `sessions`.
    session_events
        Table of that name: tells which sessions of a story a verdict cites. Without it a story's highest session has what the
        verdict adds.

    Returns
    -------
    SessionScores, one value per row of `sessions`. A session has the highest score of its cases. Detectors: 0 where they
    scored nothing. `judge`: the usable verdict's score, shared out over the sessions of the case as said above, 0 where there is none.
    `all`: the same where there is a usable verdict, else the fused score, and never less than the floor of the session's own rules. A
    session that was no candidate was shown to nobody: it is never flagged, so from just below the threshold upward its fused score is
    pressed together below it; its order is kept.
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

    judged = _share_out(candidates, scores, verdicts, session_events)
    if verdicts.is_empty():
        why_not["judge"] = "no judge has run"
    else:
        found["judge"] = np.nan_to_num(spread(judged.select("session_id", score="judge")))

    shown = np.zeros(n, dtype=bool)
    if candidates.is_empty() and "fused" not in found:
        why_not["all"] = "no case was scored"
    else:
        lifted = pl.max_horizontal(pl.coalesce("judge", "own"), "own_floor")
        # A floor gives many sessions the same score: among them the fused one decides, as it does in the list of candidates.
        by_floor = (pl.col("own_floor") > pl.col("own_fused")) & (lifted == pl.col("own_floor"))
        tie = pl.when(by_floor).then(_TIE * pl.col("own_fused")).otherwise(0.0)
        alerted = spread(judged.select("session_id", score=pl.min_horizontal(lifted + tie, 1.0)))
        shown = ~np.isnan(alerted)
        found["all"] = np.where(shown, alerted, _pressed(found.get("fused", np.zeros(n)), threshold))
    return SessionScores(found, why_not, shown)


def _share_out(
    candidates: pl.DataFrame, scores: pl.DataFrame, verdicts: pl.DataFrame, session_events: pl.DataFrame | None
) -> pl.DataFrame:
    """Return, a row per case and session: `own_fused`, `own_floor`, `own` (the higher), `judge` (null without usable verdict)."""
    fused, floors = (
        scores.filter(pl.col("detector_id") == name).group_by("session_id").agg(pl.col("score").max().alias(name))
        for name in ("fused", "floors")
    )
    usable = (
        verdicts.filter(pl.col("usable") & pl.col("score").is_not_null())
        .group_by("case_id").agg(verdict=pl.col("score").max())
    )
    members = (
        candidates.select("case_id", "floor", case_score="score", session_id="session_ids").explode("session_id", empty_as_null=False)
        .join(fused, on="session_id", how="left").join(floors, on="session_id", how="left")
        .join(usable, on="case_id", how="left").join(_cited(verdicts, usable, session_events), on=["case_id", "session_id"], how="left")
        .sort("case_id", "fused", "session_id", descending=[False, True, False], nulls_last=True)
        .with_columns(leads=pl.int_range(pl.len()).over("case_id") == 0, cited=pl.col("cited").fill_null(value=False))
    )
    # Frames without scores of sessions, of another program say, tell only of the case: its first session stands for it.
    known = pl.col("fused").is_not_null().any().over("case_id")
    floored = (pl.col("floors").fill_null(0.0) > 0).any().over("case_id")
    own_fused = pl.when(known).then(pl.col("fused").fill_null(0.0)).when("leads").then("case_score").otherwise(0.0)
    own_floor = pl.when(floored).then("floors").when("leads").then("floor")
    raised = pl.col("verdict") > pl.max_horizontal("case_score", pl.col("floor").fill_null(0.0)) + _SAME
    named = pl.when(pl.col("cited").any().over("case_id")).then("cited").otherwise("leads")
    alone = pl.len().over("case_id") == 1
    known_floor = own_floor.fill_null(0.0)
    return members.with_columns(own_fused=own_fused, own_floor=known_floor, own=pl.max_horizontal(own_fused, known_floor)).select(
        "session_id", "own_fused", "own_floor", "own",
        judge=pl.when(alone | (raised & named)).then("verdict").when(pl.col("verdict").is_not_null())
        .then(pl.min_horizontal("own", "verdict")),
    )


def _cited(verdicts: pl.DataFrame, usable: pl.DataFrame, session_events: pl.DataFrame | None) -> pl.DataFrame:
    """Return case_id, session_id, cited (true): whose events the grounds that hold of a case's highest usable verdict name."""
    if session_events is None or verdicts.is_empty():
        return pl.DataFrame(schema={"case_id": pl.String, "session_id": pl.String, "cited": pl.Boolean})
    highest = verdicts.filter("usable").join(usable, on="case_id", how="inner").filter(pl.col("score") == pl.col("verdict"))
    return (
        highest.select("case_id", "grounds").explode("grounds", empty_as_null=False).unnest("grounds").filter("holds")
        .select("case_id", event_id="event_ids").explode("event_id", empty_as_null=False)
        .join(session_events, on="event_id", how="inner").select("case_id", "session_id", cited=pl.lit(value=True)).unique()
    )


def _pressed(fused: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Return scores that keep their order and stay below the threshold: those above the band's lower end share the band."""
    low = np.maximum(0.0, threshold - _BAND)
    squeezed = low + (fused - low) * (threshold - low) / (1.0 + _BAND - low)
    return np.minimum(np.where(fused > low, squeezed, fused), np.nextafter(threshold, -1.0))


def _others(scores: pl.DataFrame) -> list[str]:
    return sorted(set(scores["detector_id"].unique().to_list()) - set(SCORERS))
