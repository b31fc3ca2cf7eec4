"""From signals to cases: one fused score, one ranked list under a budget, and a random share that keeps us honest.

    fused = what × (½ + ½ × who)

`what`: how bad the deeds are, by rules, correlations, outliers and a user's detectors, as noisy-or: each signal is an independent
chance that the session matters (Pearl, "Probabilistic Reasoning in Intelligent Systems", 1988, 4.3.2). `who`: how
new the access is. So grave deeds by their usual author from the usual place end at 0.5, and grave deeds from a new place above it:
0.5 is where a person should look. Novelty without any deed stays at 0.

Rules repeat themselves: the second hit of a session counts less than the first (several rules describe one deed), and a rule that an
identity, or most of its peers, had triggered in most of its earlier sessions counts little (routine).
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from audit_lab import tables
from audit_lab.hashing import short_id
from audit_lab.profile import SignalSettings
from audit_lab.signals.choice import DAYS, Limits, choose_cases
from audit_lab.signals.novelty import routine, whose_past

# What an outlier detector's full strength is worth as a chance that the session matters. Rules carry theirs in their strength.
WEIGHTS = {"new-deed": 0.8}
WEAK = 0.3
# The control plane carries out what others asked for: its new deeds are echoes, unless its own access is new too.
ECHO = {"controller": 0.3, "node": 0.3}
# Even complete routine leaves a trace, so that order is kept.
LEAST_ROUTINE = 0.1


class CaseTables(NamedTuple):
    """What fusion makes: tables candidates and scores, and how each day's budget was spent."""

    candidates: pl.DataFrame
    scores: pl.DataFrame
    days: pl.DataFrame


def rank_cases(
    sessions: pl.DataFrame, signals: pl.DataFrame, settings: SignalSettings, stories: pl.DataFrame | None = None,
    limits: Limits | None = None,
) -> CaseTables:
    """Fuse signals into one score per session and choose the cases that people or models will look at.

    Parameters
    ----------
    sessions, signals
        The tables of those names.
    settings
        `budget_cases` a day, `exploration_share` of it drawn at random, `seed`.
    stories
        Table stories. The causes and members of a story are one case, which scores as its highest session does; what controllers
        did because of it (role follow_up) stays outside. Without stories every session is a case.
    limits
        Tokens and money that a day may take, and a case takes.

    Returns
    -------
    candidates, days
        What `choose_cases` chose within each day's budget, and how that was spent.
    scores
        For every session the scores 'rules', 'outliers', 'fused', 'floors' (highest floor of its rules) and one for each outlier
        detector and user's detector.
    """
    tables.check(sessions, "sessions")
    tables.check(signals, "signals")
    if sessions.is_empty():
        return CaseTables(tables.empty("candidates"), tables.empty("scores"), pl.DataFrame(schema=DAYS))
    cases = _case_scores(sessions, signals, settings).join(_case_ids(sessions, stories), on="session_id").sort("session_id")
    choice = choose_cases(cases, signals, sessions, settings, limits)
    return CaseTables(choice.candidates, _long(cases, signals), choice.days)


def _case_scores(sessions: pl.DataFrame, signals: pl.DataFrame, settings: SignalSettings) -> pl.DataFrame:
    """One row per session: case_id, and the scores of all scorers."""
    kinds = sessions.select("session_id", "actor_kind")
    access = signals.filter(pl.col("detector_id") == "new-access").select("session_id", who="strength")
    ruled = pl.col("kind").is_in(["rule", "correlation"])
    hits = _damped(signals.filter(ruled), sessions)
    others = (
        signals.filter(~ruled & (pl.col("detector_id") != "new-access"))
        .join(kinds, on="session_id").join(access, on="session_id", how="left")
        .with_columns(who=pl.col("who").fill_null(0.0))
    )
    echo = pl.col("actor_kind").replace_strict(ECHO, default=1.0, return_dtype=pl.Float64)
    weight = pl.col("detector_id").replace_strict(WEIGHTS, default=WEAK, return_dtype=pl.Float64)
    is_outlier = pl.col("kind") == "outlier"
    others = others.with_columns(
        chance=pl.col("strength") * pl.when(is_outlier).then(weight * (pl.col("who") + (1 - pl.col("who")) * echo)).otherwise(1.0)
    )
    both = pl.concat([hits.select("session_id", "chance"), others.select("session_id", "chance")])
    outlying = others.filter(is_outlier)
    what = pl.col("what").fill_null(0.0)
    access_factor = settings.usual_access + (1 - settings.usual_access) * pl.col("who")
    return (
        kinds.join(access, on="session_id", how="left")
        .join(_noisy_or(both, "what", settings.repeat), on="session_id", how="left")
        .join(_noisy_or(hits, "rules", settings.repeat), on="session_id", how="left")
        .join(_noisy_or(outlying, "odd", settings.repeat), on="session_id", how="left")
        .with_columns(pl.col("who", "rules", "odd").fill_null(0.0))
        .with_columns(
            fused=(what * access_factor).round(6), outliers=(pl.col("odd") * access_factor).round(6), rules=pl.col("rules").round(6),
        )
        .select("session_id", "fused", "rules", "outliers")
    )


def _case_ids(sessions: pl.DataFrame, stories: pl.DataFrame | None) -> pl.DataFrame:
    """Return session_id, case_id, n_case: the sessions of a story share a case, any other session is its own."""
    told = tables.empty("stories") if stories is None else stories.filter(pl.col("role") != "follow_up")
    grouped = (
        sessions.select("session_id")
        .join(told.select("session_id", "story_id").unique("session_id", keep="first"), on="session_id", how="left")
        .with_columns(group=pl.coalesce("story_id", "session_id"))
        .group_by("group").agg(pl.col("session_id").sort())
    )
    ids = [short_id("c", *members) for members in grouped["session_id"].to_list()]
    return (
        grouped.with_columns(case_id=pl.Series(ids, dtype=pl.String), n_case=pl.col("session_id").list.len())
        .explode("session_id").select("session_id", "case_id", "n_case")
    )


def _damped(hits: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Rule hits with `chance`: their strength, less what is routine for this identity or for most of its peers."""
    if hits.is_empty():
        return hits.with_columns(chance=pl.lit(0.0))
    circles = whose_past(sessions)
    return routine(hits, circles).with_columns(
        chance=pl.col("strength") * (LEAST_ROUTINE + (1 - LEAST_ROUTINE) * (1 - pl.col("own_routine")) * (1 - pl.col("peer_routine")))
    )


def _noisy_or(chances: pl.DataFrame, name: str, repeat: float) -> pl.DataFrame:
    """Combine the chances of each session: the strongest whole, each further one less by `repeat`."""
    place = pl.int_range(pl.len()).over("session_id")
    return (
        chances.sort("session_id", "chance", descending=[False, True])
        .with_columns(left=1 - pl.col("chance").clip(0.0, 0.999) * pl.lit(repeat).pow(place))
        .group_by("session_id", maintain_order=True).agg((1 - pl.col("left").product()).alias(name))
    )


def _long(cases: pl.DataFrame, signals: pl.DataFrame) -> pl.DataFrame:
    """Scores of every session and scorer; a detector that said nothing of a session scores 0."""
    floors = signals.group_by("session_id").agg(floors=pl.col("floor").max().fill_null(0.0))
    wide = cases.join(floors, on="session_id", how="left").with_columns(pl.col("floors").fill_null(0.0)).unpivot(
        ["rules", "outliers", "fused", "floors"], index=["case_id", "session_id"], variable_name="detector_id", value_name="score",
    )
    detectors = signals.filter(~pl.col("kind").is_in(["rule", "correlation"])).select("session_id", "detector_id", "strength")
    single = (
        cases.select("case_id", "session_id").join(detectors.select("detector_id").unique(), how="cross")
        .join(detectors, on=["session_id", "detector_id"], how="left")
        .with_columns(score=pl.col("strength").fill_null(0.0))
    )
    both = pl.concat([wide, single.select("case_id", "session_id", "detector_id", "score")])
    return tables.conform(both.sort("case_id", "detector_id", "session_id"), "scores")
