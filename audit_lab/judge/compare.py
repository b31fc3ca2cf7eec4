"""Two judges on the same candidates, side by side: how far they agree, what each costs, and where they differ.

Also the fixed probes that notice a model which was changed behind its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from scipy.stats import spearmanr

from audit_lab import tables
from audit_lab.hashing import short_id
from audit_lab.judge.cache import LineFile
from audit_lab.judge.local import LocalJudge
from audit_lab.judge.models import ModelJudge

PROBES_FILE = "probes.jsonl"
# Fewer common cases than this give no rank correlation (law 8).
MIN_CASES = 5
# Answers at temperature 0 still wander a little; a score that moves further means another model.
PROBE_TOLERANCE = 0.1
_PROBES: dict[str, tuple[str, ...]] = {
    "ordinary": (
        "session 1: human user-1 from private source-1, client kubectl, 12 requests in 40s, 0 writes, 0 denied, 0 unauthenticated, "
        "usual source and client",
        "list pods: allowed x8 at +0s to +30s, in ns-1", "read configmap: allowed x4 at +31s to +40s, in ns-1",
        "innocence: 2 of 2 actions done by this actor before, in 31 earlier sessions; reads only, nothing changed; nothing denied",
    ),
    "takeover": (
        "session 1: human user-1 from public source-1, client http_library, 41 requests in 90s, 2 writes, 6 denied, 0 unauthenticated, "
        "new source and new client",
        "list secrets cluster-wide: allowed x1 at +2s", "bind cluster-admin cluster-wide to user: allowed x1 at +30s",
        "exec pod running token_read: allowed x1 at +60s, in ns-1",
        "innocence: 0 of 6 actions done by this actor before, in 14 earlier sessions",
    ),
    "on call": (
        "session 1: human user-1 from private source-1, client kubectl, 25 requests in 300s, 1 writes, 0 denied, 0 unauthenticated, "
        "usual source and client",
        "read pod log: allowed x10 at +0s to +120s, in ns-1", "exec pod running shell: allowed x1 at +150s, in ns-1",
        "patch deployment: allowed x1 at +290s, in ns-1",
        "innocence: 3 of 4 actions done by this actor before, in 9 earlier sessions; nothing denied",
    ),
}


def compare_verdicts(first: pl.DataFrame, second: pl.DataFrame, threshold: float = 0.5) -> pl.DataFrame:
    """Return one row per case that both judged: both scores, whether they fall on different sides of the threshold, and grounds.

    Parameters
    ----------
    first, second
        Table verdicts of one judge each, on the same candidates.
    threshold
        Score from which a case is flagged.

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
    flips = (pl.col("score_a") >= threshold) != (pl.col("score_b") >= threshold)
    order = [pl.col("difference").abs().fill_null(-1.0), pl.col("case_id")]
    return joined.with_columns(flips.alias("flips")).sort(*order, descending=[True, False]).select(
        "case_id", "score_a", "score_b", "difference", "flips", "grounded_a", "grounded_b", "action_a", "action_b", "abstain_a",
        "abstain_b",
    )


def compare_summary(first: pl.DataFrame, second: pl.DataFrame, threshold: float = 0.5) -> dict[str, Any]:
    """Return the comparison in a few numbers: cases, agreement, kappa, rank correlation, and per judge what it cost.

    A number that too few cases support is None, with the reason in `why`.
    """
    joined = compare_verdicts(first, second, threshold)
    both = joined.drop_nulls(["score_a", "score_b"])
    flags = [(a >= threshold, b >= threshold) for a, b in both.select("score_a", "score_b").iter_rows()]
    agree = sum(a == b for a, b in flags) / len(flags) if flags else None
    enough = both.height >= MIN_CASES and both["score_a"].n_unique() > 1 and both["score_b"].n_unique() > 1
    return {
        "cases": joined.height, "both_scored": both.height, "flips": sum(a != b for a, b in flags), "agreement": agree,
        "kappa": _kappa(flags), "spearman": float(spearmanr(both["score_a"], both["score_b"]).statistic) if enough else None,
        "why": None if enough else f"{both.height} cases with two scores, or all alike: too few for a correlation",
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


def probe_model(judge: ModelJudge | LocalJudge, folder: Path | None = None) -> pl.DataFrame:
    """Ask a model the fixed probes afresh and compare with the first time it was asked.

    Parameters
    ----------
    judge
        A judge at an endpoint. Its kept answers are not used: a probe is always asked.
    folder
        Where the first answers are kept; None compares with nothing.

    Returns
    -------
    pl.DataFrame
        `probe, score, before, model, model_before, changed`: true where the endpoint names another model, or a score moved by more
        than `PROBE_TOLERANCE`; null the first time.
    """
    evidence = tables.conform(pl.DataFrame([
        {"case_id": short_id("c", "probe", name), "row": row, "query_id": "probe", "text": text, "event_ids": [], "claim": None}
        for name, texts in _PROBES.items() for row, text in enumerate(texts, start=1)
    ], schema=tables.TABLES["evidence"].schema), "evidence")
    names = {short_id("c", "probe", name): name for name in _PROBES}
    candidates = tables.conform(pl.DataFrame({
        "case_id": list(names), "rank": range(1, len(names) + 1), "session_ids": [[] for _ in names], "score": 0.0, "floor": None,
        "selected_by": "probe", "sampling_probability": 1.0, "why": "probe",
    }), "candidates")
    fresh = LocalJudge(judge.settings) if judge.settings.gguf else ModelJudge(judge.settings)
    try:
        verdicts = fresh(candidates, evidence, tables.empty("signals")).verdicts
    finally:
        fresh.close()
    file = LineFile(folder / PROBES_FILE if folder else None)
    held = {item["probe"]: item for item in reversed(file.read()) if item.get("asked") == judge.settings.model}
    rows = []
    for case_id, score, model in verdicts.select("case_id", "raw_score", "model").iter_rows():
        name = names[case_id]
        before = held.get(name)
        moved = before is not None and _moved(score, before["score"])
        rows.append({
            "probe": name, "score": score, "before": before["score"] if before else None, "model": model,
            "model_before": before["model"] if before else None,
            "changed": None if before is None else moved or model != before["model"],
        })
        file.append({"probe": name, "asked": judge.settings.model, "score": score, "model": model})
    return pl.DataFrame(rows, schema={"probe": pl.String, "score": pl.Float64, "before": pl.Float64, "model": pl.String,
                                      "model_before": pl.String, "changed": pl.Boolean})


def _moved(now: float | None, before: float | None) -> bool:
    if now is None or before is None:
        return now is not before
    return abs(now - before) > PROBE_TOLERANCE
