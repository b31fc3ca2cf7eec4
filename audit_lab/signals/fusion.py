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

import math
from typing import NamedTuple

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.hashing import short_id
from audit_lab.profile import SignalSettings
from audit_lab.signals.novelty import routine

# Share of `what` that stands when nothing about the access is new.
USUAL_ACCESS = 0.5
# Each further signal of a session counts this much of the one before.
REPEAT = 0.6
# What a detector's full strength is worth as a chance that the session matters. Rules carry theirs in their strength.
WEIGHTS = {"new-deed": 0.8, "odd-sequence": 0.3, "odd-numbers": 0.3, "far-summary": 0.3}
# The control plane carries out what others asked for: its new deeds are echoes, unless its own access is new too.
ECHO = {"controller": 0.3, "node": 0.3}
# Even complete routine leaves a trace, so that order is kept.
LEAST_ROUTINE = 0.1
# Scores from which a case counts as high, middle or low when the exploration share is drawn.
STRATA = (0.25, 0.1)


class CaseTables(NamedTuple):
    """What fusion makes."""

    candidates: pl.DataFrame
    scores: pl.DataFrame


def rank_cases(
    sessions: pl.DataFrame, signals: pl.DataFrame, settings: SignalSettings, stories: pl.DataFrame | None = None
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

    Returns
    -------
    candidates
        Every case with a rule's floor, then the highest fused scores, then the random share, within the budget (floors pass
        even beyond it). `sampling_probability` is 1 for chosen cases, and for drawn ones the chance they had.
    scores
        For every session the scores 'rules', 'outliers', 'fused' and one for each outlier detector and user's detector.
    """
    tables.check(sessions, "sessions")
    tables.check(signals, "signals")
    if sessions.is_empty():
        return CaseTables(tables.empty("candidates"), tables.empty("scores"))
    cases = _case_scores(sessions, signals).join(_case_ids(sessions, stories), on="session_id").sort("session_id")
    return CaseTables(_choose(cases, signals, settings, _days(sessions)), _long(cases, signals))


def _case_scores(sessions: pl.DataFrame, signals: pl.DataFrame) -> pl.DataFrame:
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
    weight = pl.col("detector_id").replace_strict(WEIGHTS, default=1.0, return_dtype=pl.Float64)
    is_outlier = pl.col("kind") == "outlier"
    others = others.with_columns(
        chance=pl.col("strength") * pl.when(is_outlier).then(weight * (pl.col("who") + (1 - pl.col("who")) * echo)).otherwise(1.0)
    )
    both = pl.concat([hits.select("session_id", "chance"), others.select("session_id", "chance")])
    outlying = others.filter(is_outlier)
    what = pl.col("what").fill_null(0.0)
    return (
        kinds.join(access, on="session_id", how="left")
        .join(_noisy_or(both, "what"), on="session_id", how="left")
        .join(_noisy_or(hits, "rules"), on="session_id", how="left")
        .join(_noisy_or(outlying, "odd"), on="session_id", how="left")
        .with_columns(pl.col("who", "rules", "odd").fill_null(0.0))
        .with_columns(
            fused=(what * _access_factor()).round(6), outliers=(pl.col("odd") * _access_factor()).round(6), rules=pl.col("rules").round(6),
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


def _access_factor() -> pl.Expr:
    return USUAL_ACCESS + (1 - USUAL_ACCESS) * pl.col("who")


def _damped(hits: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Rule hits with `chance`: their strength, less what is routine for this identity or for most of its peers."""
    if hits.is_empty():
        return hits.with_columns(chance=pl.lit(0.0))
    circles = sessions.select(
        "session_id", "start", world="cluster", identity=pl.col("user").fill_null(pl.concat_str(pl.lit("?"), "actor_kind")),
        peers="actor_kind",
    )
    return routine(hits, circles).with_columns(
        chance=pl.col("strength") * (LEAST_ROUTINE + (1 - LEAST_ROUTINE) * (1 - pl.col("own_routine")) * (1 - pl.col("peer_routine")))
    )


def _noisy_or(chances: pl.DataFrame, name: str) -> pl.DataFrame:
    """Combine the chances of each session: the strongest whole, each further one less by REPEAT."""
    place = pl.int_range(pl.len()).over("session_id")
    return (
        chances.sort("session_id", "chance", descending=[False, True])
        .with_columns(left=1 - pl.col("chance").clip(0.0, 0.999) * pl.lit(REPEAT).pow(place))
        .group_by("session_id", maintain_order=True).agg((1 - pl.col("left").product()).alias(name))
    )


def _days(sessions: pl.DataFrame) -> int:
    """Days that the sessions span, at least one: the budget is per day."""
    span = (sessions["end"].max() - sessions["start"].min()).total_seconds()  # type: ignore[operator, union-attr]
    return max(1, math.ceil(span / 86_400))


def _choose(cases: pl.DataFrame, signals: pl.DataFrame, settings: SignalSettings, days: int) -> pl.DataFrame:
    budget = settings.budget_cases * days
    n_random = math.floor(budget * settings.exploration_share)
    floors = signals.group_by("session_id").agg(pl.col("floor").max())
    order = pl.max_horizontal("fused", pl.col("floor").fill_null(0.0))
    ordered = (
        cases.join(floors, on="session_id", how="left").sort(order, "fused", "session_id", descending=[True, True, False])
        .group_by("case_id", maintain_order=True)
        .agg(pl.col("session_id", "n_case").first(), pl.col("fused", "floor").max(), session_ids=pl.col("session_id"))
        .sort(order, "fused", "session_id", descending=[True, True, False])
    )
    held = ordered.filter(pl.col("floor").is_not_null())
    room = max(0, budget - n_random - held.height)
    ranked = ordered.filter(pl.col("floor").is_null() & (pl.col("fused") > 0)).head(room)
    rest = ordered.join(pl.concat([held, ranked]), on="case_id", how="anti")
    drawn = _explore(rest, n_random, settings.seed)
    chosen = pl.concat([
        held.with_columns(selected_by=pl.lit("floor"), sampling_probability=pl.lit(1.0)),
        ranked.with_columns(selected_by=pl.lit("rank"), sampling_probability=pl.lit(1.0)),
        drawn.with_columns(selected_by=pl.lit("exploration")),
    ], how="diagonal")
    first = pl.col("selected_by") != "exploration"
    return tables.conform(
        chosen.sort(first, order, "fused", "session_id", descending=[True, True, True, False])
        .with_row_index("rank", offset=1)
        .join(_reasons(signals), on="session_id", how="left", maintain_order="left")
        .with_columns(
            score="fused",
            why=pl.when(pl.col("n_case") > 1).then(pl.format("story of {} sessions | ", "n_case")).otherwise(pl.lit(""))
            + pl.when(first).then(pl.col("why").fill_null("highest fused score")).otherwise(
                pl.format("drawn at random, 1 in {}", (1 / pl.col("sampling_probability")).round(0).cast(pl.Int64))),
        ),
        "candidates",
    )


def _explore(rest: pl.DataFrame, n: int, seed: int) -> pl.DataFrame:
    """Draw `n` cases, equally many from each stratum of score as far as they last, without replacement."""
    stratum = np.digitize(rest["fused"].to_numpy(), sorted(STRATA))
    present, sizes = np.unique(stratum, return_counts=True)
    quota = dict.fromkeys(present.tolist(), 0)
    room = dict(zip(present.tolist(), sizes.tolist(), strict=True))
    for _ in range(min(n, rest.height)):
        # The stratum that got least so far, the highest first among equals.
        level = min((key for key in room if quota[key] < room[key]), key=lambda key: (quota[key], -key))
        quota[level] += 1
    draw = np.random.default_rng(seed)
    picked: list[int] = []
    chance: list[float] = []
    for level, wanted in sorted(quota.items()):
        members = np.flatnonzero(stratum == level)
        picked += sorted(draw.choice(members, size=wanted, replace=False).tolist())
        chance += [wanted / len(members)] * wanted
    return rest[picked].with_columns(sampling_probability=pl.Series(chance, dtype=pl.Float64))


def _reasons(signals: pl.DataFrame) -> pl.DataFrame:
    """One line per session: its strongest rule, its newest deed and its access, whichever are there."""
    ordered = signals.with_columns(_rule=pl.col("kind").is_in(["rule", "correlation"])).sort(
        "session_id", "strength", "detector_id", descending=[False, True, False]
    )
    rules = ordered.filter("_rule").group_by("session_id", maintain_order=True).agg(
        rule=pl.col("reason").first(), n=pl.len()
    ).with_columns(rule=pl.when(pl.col("n") > 1).then(pl.format("{} and {} more rules", "rule", pl.col("n") - 1)).otherwise("rule"))
    other = (
        ordered.filter(~pl.col("_rule")).group_by("session_id", maintain_order=True).agg(pl.col("reason").head(2))
        .with_columns(other=pl.col("reason").list.join(" | "))
    )
    return (
        signals.select("session_id").unique(maintain_order=True)
        .join(rules, on="session_id", how="left").join(other.select("session_id", "other"), on="session_id", how="left")
        .select("session_id", why=pl.concat_str("rule", "other", separator=" | ", ignore_nulls=True))
    )


def _long(cases: pl.DataFrame, signals: pl.DataFrame) -> pl.DataFrame:
    """Scores of every session and scorer; a detector that said nothing of a session scores 0."""
    wide = cases.unpivot(["rules", "outliers", "fused"], index=["case_id", "session_id"], variable_name="detector_id", value_name="score")
    detectors = signals.filter(~pl.col("kind").is_in(["rule", "correlation"])).select("session_id", "detector_id", "strength")
    single = (
        cases.select("case_id", "session_id").join(detectors.select("detector_id").unique(), how="cross")
        .join(detectors, on=["session_id", "detector_id"], how="left")
        .with_columns(score=pl.col("strength").fill_null(0.0))
    )
    return tables.conform(
        pl.concat([wide, single.select("case_id", "session_id", "detector_id", "score")]).sort("case_id", "detector_id"), "scores"
    )
