"""Two judges on the same candidates, side by side: how far they agree, what each costs, and where they differ.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.counting import counted
from audit_lab.lines import Lines, reaches

# Fewer common cases than this give no rank correlation (law 8).
MIN_CASES = 5
def compare_verdicts(first: pl.DataFrame, second: pl.DataFrame, threshold: Lines = 0.5) -> pl.DataFrame:
    """Return one row per case that both judged: both scores, whether they fall on different sides of the threshold, and grounds.

    Parameters
    ----------
    first, second
        Table verdicts of one judge each, on the same candidates.
    threshold
        Score from which a case is flagged, or the lines of the cases.

    Returns
    -------
    pl.DataFrame
        `case_id, score_a, score_b, difference` (b − a), `flips` (null where one abstained), `grounded_a, grounded_b, action_a, action_b`;
        the largest differences first.
    """
    tables.check(first, "verdicts")
    tables.check(second, "verdicts")
    wanted = {"score": "score", "grounded_share": "grounded", "action": "action", "abstain": "abstain"}
    sides = [
        frame.select("case_id", *(pl.col(name).alias(f"{short}_{letter}") for name, short in wanted.items()))
        for frame, letter in ((first, "a"), (second, "b"))
    ]
    joined = sides[0].join(sides[1], on="case_id", how="inner").with_columns((pl.col("score_b") - pl.col("score_a")).alias("difference"))
    flips = reaches(pl.col("score_a"), threshold) != reaches(pl.col("score_b"), threshold)
    order = [pl.col("difference").abs().fill_null(-1.0), pl.col("case_id")]
    return joined.with_columns(flips.alias("flips")).sort(*order, descending=[True, False]).select(
        "case_id", "score_a", "score_b", "difference", "flips", "grounded_a", "grounded_b", "action_a", "action_b", "abstain_a",
        "abstain_b",
    )


def compare_summary(first: pl.DataFrame, second: pl.DataFrame, threshold: Lines = 0.5) -> dict[str, Any]:
    """Return the comparison in a few numbers: cases, agreement, kappa, rank correlation, and per judge what it cost.

    A number that too few cases support is None, with the reason in `why`.
    """
    joined = compare_verdicts(first, second, threshold)
    both = joined.drop_nulls(["score_a", "score_b"])
    flags = both.select(a=reaches(pl.col("score_a"), threshold), b=reaches(pl.col("score_b"), threshold)).rows()
    agree = sum(a == b for a, b in flags) / len(flags) if flags else None
    enough = both.height >= MIN_CASES and both["score_a"].n_unique() > 1 and both["score_b"].n_unique() > 1
    return {
        "cases": joined.height, "both_scored": both.height, "flips": sum(a != b for a, b in flags), "agreement": agree,
        "kappa": _kappa(flags), "spearman": both.select(pl.corr("score_a", "score_b", method="spearman")).item() if enough else None,
        "why": None if enough else f"{counted(both.height, 'case')} with two scores, or all alike: too few for a correlation",
        "a": _bill(first), "b": _bill(second),
    }


def _kappa(flags: list[tuple[bool, bool]]) -> float | None:
    """Return Cohen's kappa of two flaggings; None where chance alone explains everything."""
    if not flags:
        return None
    n = len(flags)
    observed = sum(a == b for a, b in flags) / n
    first, second = sum(a for a, _ in flags) / n, sum(b for _, b in flags) / n
    chance = first * second + (1 - first) * (1 - second)
    return None if chance == 1 else (observed - chance) / (1 - chance)


def _bill(verdicts: pl.DataFrame) -> dict[str, Any]:
    costs = verdicts["cost_usd"].drop_nulls()
    return {
        "judge": "+".join(sorted(set(verdicts["judge_id"]))), "version": "+".join(sorted(set(verdicts["judge_version"]))),
        "abstained": verdicts["score"].null_count(), "usable": int(verdicts["usable"].sum()),
        "tokens": int(verdicts["tokens_in"].sum()) + int(verdicts["tokens_out"].sum()),
        "cost_usd": float(costs.sum()) if costs.len() == verdicts.height and verdicts.height else None,
    }
