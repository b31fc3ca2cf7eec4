"""Rows of table verdicts and egress: one place that builds them, so that every judge says the same things."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from audit_lab import tables
from audit_lab.judge.schema import Answer
from audit_lab.judge.sentences import check_sentences
from audit_lab.vocabulary import ACTIONS

# The name of a judge in shadow: what it says is kept apart.
CHALLENGER = "challenger"
# Score from which an action is the least that fits; a person decides.
_STEPS = ((0.8, "escalate"), (0.5, "review"), (0.3, "ask_owner"), (0.1, "watch"), (0.0, "close"))
# What a verdict cost: summed where more than one answer went into it.
BILL = ("tokens_in", "tokens_out", "attempts", "cost_usd")


class JudgeTables(NamedTuple):
    """What a judge hands over: one verdict per candidate, and one row per call that left the machine."""

    verdicts: pl.DataFrame
    egress: pl.DataFrame


def verdict_row(
    case_id: str, judge_id: str, judge_version: str, *, answer: Answer | None = None, floor: float | None = None,
    prompt_sha256: str = "", summary_by: str = "model", **more: Any,
) -> dict[str, Any]:
    """Return one row of table verdicts; grounds are unchecked until `verify_verdicts`.

    The score is never below `floor` (a rule's word stands), and null where the judge abstained or gave no answer. Where the floor decides,
    the action is raised with it.
    """
    said = answer is not None and answer.score is not None and not answer.abstain
    raw = answer.score if said and answer is not None else None
    row: dict[str, Any] = {
        "case_id": case_id, "judge_id": judge_id, "judge_version": judge_version, "model": None, "prompt_sha256": prompt_sha256,
        "score": None if raw is None else max(raw, floor or 0.0), "raw_score": raw, "spread": None,
        "usable": raw is not None, "set_aside": None,
        "summary": None, "summary_ko": None, "summary_by": None, "summary_wrong": None, "grounds": [], "grounded_share": None,
        "omitted": None, "checks": [], "action": None,
        "abstain": None, "attempts": 0, "tokens_in": 0, "tokens_out": 0, "cost_usd": None, "latency_ms": None, "cached": False,
    }
    if answer is not None:
        row.update(
            summary=answer.summary or None, summary_by=summary_by, checks=check_sentences(answer.checks),
            action=raised_action(answer.action, raw, floor),
            grounds=[{
                "claim": ground.claim.model_dump(), "event_ids": ground.event_ids, "holds": None, "wrong": None, "sentence": None,
                "sentence_ko": None, "relevance": None, "note": None,
            } for ground in answer.grounds],
            # Who speaks must be seen: everything else in this column is ours.
            abstain=None if said else f"the model abstained: {answer.abstain}" if summary_by == "model" else answer.abstain,
        )
    return {**row, **more}


def least_action(score: float) -> str:
    """Return the least action that fits a score.

    >>> least_action(0.7), least_action(0.05)
    ('review', 'close')
    """
    return next(action for line, action in _STEPS if score >= line)


def raised_action(action: str | None, raw: float | None, floor: float | None) -> str | None:
    """Return what a judge proposed, raised to the least action that fits a rule's floor where that is above what it said.

    >>> raised_action("close", 0.01, 0.7), raised_action("escalate", 0.01, 0.7), raised_action("close", 0.01, None)
    ('review', 'escalate', 'close')
    """
    if not floor or (raw is not None and raw >= floor):
        return action
    least = least_action(floor)
    return max(action or least, least, key=ACTIONS.index)


def verdict_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as table verdicts."""
    return tables.check(pl.DataFrame(rows, schema=tables.TABLES["verdicts"].schema), "verdicts")


def with_bill(verdicts: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Return `verdicts` with what `other`'s answers on the same cases cost added: both were paid for, whichever is kept."""
    answered = other.filter(pl.col("model").is_not_null()).select(
        "case_id", *(pl.col(name).alias(f"more_{name}") for name in BILL), pl.lit(True).alias("more"))
    joined = verdicts.join(answered, on="case_id", how="left", maintain_order="left")
    return joined.with_columns(
        pl.when("more").then(pl.col(name) + pl.col(f"more_{name}")).otherwise(name).alias(name) for name in BILL).select(verdicts.columns)


def egress_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return rows as table egress."""
    return tables.check(pl.DataFrame(rows, schema=tables.TABLES["egress"].schema), "egress")
