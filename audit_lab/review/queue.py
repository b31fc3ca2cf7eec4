"""The queue: which cases a person looks at, in which order, and which of them without seeing the score.

Alerts come by priority. Between them stand audits: cases that nobody would have looked at, drawn with a recorded probability, for who
looks only at alerts never learns what was missed. Some cases are shown blind, some to two people. Which ones follows from
the case's id and a seed, so it is the same for everybody and after every restart.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from audit_lab.errors import InputError
from audit_lab.lines import Lines, line_of, reaches
from audit_lab.profile import ReviewSettings

PRIORITIES = ("P1", "P2", "P3", "P4")
# What a front end must not show of a blind case: the score, and everything that follows from it.
HIDDEN_WHEN_BLIND = ("score", "priority", "priority_reason", "action", "kind", "sampling_probability")
TIME = pl.Datetime("us", "UTC")
QUEUE: dict[str, Any] = {
    "place": pl.Int64, "case_id": pl.String, "kind": pl.String, "state": pl.String, "is_blind": pl.Boolean, "priority": pl.String,
    "priority_reason": pl.String, "score": pl.Float64, "action": pl.String, "summary": pl.String, "n_sessions": pl.Int64,
    "n_events": pl.Int64, "actors": pl.List(pl.String), "start": TIME, "end": TIME, "n_labels": pl.Int64,
    "sampling_probability": pl.Float64, "session_ids": pl.List(pl.String),
}


def prioritise(
    candidates: pl.DataFrame, verdicts: pl.DataFrame, signals: pl.DataFrame, settings: ReviewSettings, threshold: Lines
) -> pl.DataFrame:
    """Give every candidate its score, its priority, and the reason of it.

    Parameters
    ----------
    candidates, verdicts, signals
        Tables of these names. A case counts with its best usable verdict, else with its fused score, never below its rules' floor.
    settings
        Scores from which a case is P1 and P2.
    threshold
        Score from which a case is flagged (P3), or the lines of the cases; below it is P4.

    Returns
    -------
    Table `candidates` with, for each: score (that which counts), is_flagged (a case drawn at random never is: it stands for those that
    were not drawn), priority (P1 to P4), priority_reason, and of the verdict that counts, null where there is none: judge_id,
    judge_version, action, verdict_summary, grounds.
    """
    best = (
        verdicts.filter(pl.col("usable") & pl.col("score").is_not_null())
        .sort("score", "judge_id", "judge_version", descending=[True, False, False])
        .unique("case_id", keep="first", maintain_order=True)
        .select("case_id", "judge_id", "judge_version", "action", "grounds", verdict="score", verdict_summary="summary")
    )
    members = candidates.select("case_id", session_id="session_ids").explode("session_id", empty_as_null=False)
    critical = (
        signals.filter((pl.col("severity") == "critical") & pl.col("kind").is_in(["rule", "correlation"])).join(members, on="session_id")
        .group_by("case_id").agg(critical=pl.col("detector_id").min())
    )
    known = (
        candidates.rename({"score": "fused"}).join(best, on="case_id", how="left", maintain_order="left")
        .join(critical, on="case_id", how="left", maintain_order="left")
        .with_columns(said=pl.coalesce("verdict", "fused"), floor_counts=pl.col("floor").fill_null(0.0))
        .with_columns(score=pl.max_horizontal("said", "floor_counts"), line=line_of(threshold))
        .with_columns(p2_line=pl.max_horizontal("line", pl.lit(settings.p2_score)))
    )
    score, flagged = pl.col("score"), reaches(pl.col("score"), threshold)
    priority = (
        pl.when(pl.col("critical").is_not_null() | (score >= settings.p1_score)).then(pl.lit("P1"))
        .when(score >= pl.col("p2_line")).then(pl.lit("P2")).when(flagged).then(pl.lit("P3")).otherwise(pl.lit("P4"))
    )
    rounded = score.round(2).cast(pl.String)
    whose = (
        pl.when(pl.col("floor_counts") > pl.col("said")).then(pl.format("score {}, the floor of a rule that matched", rounded))
        .when(pl.col("verdict").is_null()).then(pl.format("score {} of the signals, no verdict", rounded))
        .otherwise(pl.format("score {} of judge {}", rounded, "judge_id"))
    )
    compared = (
        pl.when(pl.col("priority") == "P1").then(pl.lit(f"at least {settings.p1_score:g}"))
        .when(pl.col("priority") == "P2").then(pl.format("at least {}", _said_line("p2_line")))
        .when(pl.col("priority") == "P3").then(pl.format("at least {}", _said_line("line")))
        .otherwise(pl.format("below {}", _said_line("line")))
    )
    reason = (
        pl.when((score < settings.p1_score) & (pl.col("priority") == "P1")).then(pl.format("critical rule {} matched", "critical"))
        .otherwise(pl.format("{}: {}", whose, compared))
    )
    return (
        known.with_columns(priority=priority, is_flagged=flagged & (pl.col("selected_by") != "exploration"))
        .with_columns(priority_reason=reason).drop("fused", "verdict", "critical", "said", "floor_counts", "line", "p2_line")
    )


def _said_line(name: str) -> pl.Expr:
    """Return a line as a reader writes it: 0.5, 1, 0.62."""
    return pl.col(name).map_elements(lambda line: f"{line:g}", return_dtype=pl.String)


def build_queue(
    prioritised: pl.DataFrame,
    sessions: pl.DataFrame,
    labels: pl.DataFrame,
    settings: ReviewSettings,
    *,
    author: str | None = None,
    drawn: pl.DataFrame | None = None,
    include: Sequence[str] = (),
    kinds: Sequence[str] = ("alert", "audit"),
) -> pl.DataFrame:
    """Put the cases that a person should look at in order.

    Parameters
    ----------
    prioritised
        What `prioritise` returned.
    sessions, labels
        Tables of these names; of `labels` those that stand. Only labels of cases by people take a case off the queue.
    settings
        Reviewers, shares and seed.
    author
        Whose queue; None = what anybody still has to look at.
    drawn
        Chosen cases below the line that were drawn for review: frame with case_id and sampling_probability.
    include
        Cases that are in the queue whatever was said of them, e.g. to correct a label.
    kinds
        alert (flagged), audit (drawn at random: exploration, or `drawn`), below (chosen, below the line, not drawn).

    Returns
    -------
    Frame, one row per case in the order of looking (columns and dtypes: QUEUE): `kind`; `state` open (nobody has labelled it), second (a
    second person is asked) or labelled (only with `include`); `is_blind`; score, priority, priority_reason, action; `summary`;
    n_sessions, n_events, actors, start and end; n_labels; sampling_probability of audits (null for the others). Nothing is hidden
    here: see `hide_blind`.

    Raises
    ------
    InputError
        When `author` is not one of the reviewers of the profile.
    """
    if author is not None and settings.reviewers and author not in settings.reviewers:
        raise InputError(f"'{author}' is not among the reviewers", f"the profile names: {', '.join(settings.reviewers)}")
    chances = drawn if drawn is not None else pl.DataFrame(schema={"case_id": pl.String, "sampling_probability": pl.Float64})
    chances = chances.select("case_id", drawn="sampling_probability")
    exploration = pl.col("selected_by") == "exploration"
    cases = prioritised.join(chances, on="case_id", how="left", maintain_order="left").with_columns(
        kind=pl.when("is_flagged").then(pl.lit("alert")).when(exploration | pl.col("drawn").is_not_null()).then(pl.lit("audit"))
        .otherwise(pl.lit("below")),
        sampling_probability=pl.when(exploration).then("sampling_probability").otherwise("drawn"),
    )
    ids = cases["case_id"].to_list()
    blind = pl.Series("blind", [_chance(settings.seed, "blind", item) < settings.blind_share for item in ids], dtype=pl.Boolean)
    twice = {item for item in ids if people_asked(item, settings) == 2}
    state, n_labels = _states(ids, labels, settings, author, twice)
    cases = cases.with_columns(
        is_blind=blind | (pl.col("kind") != "alert"),  # the low score of an audit would be the answer
        state=pl.Series(state, dtype=pl.String), n_labels=pl.Series(n_labels, dtype=pl.Int64),
    )
    wanted = (pl.col("kind").is_in(list(kinds)) & pl.col("state").is_in(["open", "second"])) | pl.col("case_id").is_in(list(include))
    described = cases.filter(wanted).join(_described(cases, sessions), on="case_id", how="left", maintain_order="left")
    ordered = _in_order(described.with_columns(summary=_summary()), settings.seed)
    return ordered.with_row_index("place", offset=1).select(pl.col(name).cast(dtype) for name, dtype in QUEUE.items())


def people_asked(case_id: str, settings: ReviewSettings) -> int:
    """Return how many people are asked about a case: 2 for `second_share` of the cases, else 1."""
    return 2 if _chance(settings.seed, "second", case_id) < settings.second_share else 1


def hide_blind(queue: pl.DataFrame) -> pl.DataFrame:
    """Return the queue as its reader may see it: score and all that follows from it null where the case is blind."""
    return queue.with_columns(
        pl.when("is_blind").then(None).otherwise(pl.col(name)).alias(name) for name in HIDDEN_WHEN_BLIND
    )


def audit_budget(prioritised: pl.DataFrame, settings: ReviewSettings) -> int:
    """Return how many chosen cases below the line should be drawn: `audit_share` of the alerts, rounded up."""
    return math.ceil(prioritised.filter("is_flagged").height * settings.audit_share)


def _chance(seed: int, what: str, case_id: str) -> float:
    """Return a number in [0, 1) that depends on seed, purpose and case alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}\x1f{what}\x1f{case_id}".encode()).digest()[:7]) / 2**56


def _states(
    ids: list[str], labels: pl.DataFrame, settings: ReviewSettings, author: str | None, twice: set[str]
) -> tuple[list[str], list[int]]:
    """Return per case whether this author is asked: open, second, or labelled (said, enough said, or somebody else's)."""
    said: dict[str, set[str]] = {}
    for case_id, who in labels.filter(pl.col("target_kind") == "case").select("target_id", "author").iter_rows():
        said.setdefault(case_id, set()).add(who)
    states = []
    for case_id in ids:
        by, wanted = said.get(case_id, set()), 2 if case_id in twice else 1
        asked = assigned(case_id, settings)[:wanted]
        mine = author is None or ((not asked or author in asked) and author not in by)
        states.append("labelled" if len(by) >= wanted or not mine else "second" if by else "open")
    return states, [len(said.get(case_id, ())) for case_id in ids]


def assigned(case_id: str, settings: ReviewSettings) -> list[str]:
    """Return the reviewers in the order in which they are asked about a case; who joins or leaves changes few cases.

    Highest random weight (Thaler & Ravishankar 1998).
    """
    return sorted(settings.reviewers, key=lambda name: (-_chance(settings.seed, f"who\x1f{name}", case_id), name))


def _described(cases: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    members = cases.select("case_id", session_id="session_ids").explode("session_id", empty_as_null=False)
    return (
        members.join(sessions.select("session_id", "actor", "start", "end", "n_events", first_summary="summary"), on="session_id")
        .sort("case_id", "start", "session_id").group_by("case_id", maintain_order=True)
        .agg(actors=pl.col("actor").unique(maintain_order=True), start=pl.col("start").min(), end=pl.col("end").max(),
             n_events=pl.col("n_events").sum(), n_sessions=pl.len(), first_summary=pl.col("first_summary").first())
    )


def _summary() -> pl.Expr:
    """The verdict's summary; where there is none, or the case is blind (a summary quotes the score), what was checked; else a session's."""
    held = pl.col("grounds").list.eval(
        pl.when(pl.element().struct.field("holds")).then(pl.element().struct.field("sentence")).otherwise(None)
    ).list.drop_nulls().list.join(" ")
    checked = pl.when(held.str.len_chars() > 0).then(held)
    return pl.coalesce(pl.when(~pl.col("is_blind")).then("verdict_summary"), checked, "first_summary").fill_null("")


def _in_order(cases: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Alerts by priority, then score; audits in a random order, evenly among them; the rest below the line at the end.

    A case that was drawn at random, but then judged above the line, waits no longer than an alert of its priority.
    """
    by_score: dict[str, Any] = {"by": ["priority", "score", "case_id"], "descending": [False, True, False]}
    is_audit = (pl.col("kind") == "audit") & (pl.col("priority") == PRIORITIES[-1])
    alerts = cases.filter(~is_audit & (pl.col("kind") != "below")).sort(**by_score)
    audits = cases.filter(is_audit)
    order = sorted(range(audits.height), key=lambda row: _chance(seed, "order", audits["case_id"][row]))
    audits = audits[order]
    every = (alerts.height + 1) / (audits.height + 1)
    alerts = alerts.with_columns(at=pl.int_range(pl.len()).cast(pl.Float64))
    audits = audits.with_columns(at=(pl.int_range(pl.len()) + 1) * every - 0.5)
    rest = cases.filter(pl.col("kind") == "below").sort(**by_score).with_columns(at=pl.lit(math.inf))
    return pl.concat([alerts, audits, rest]).sort("at", maintain_order=True)
