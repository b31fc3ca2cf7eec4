"""Fixed questions that notice a model which was changed behind its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.errors import JudgeError
from audit_lab.hashing import short_id
from audit_lab.judge.cache import LineFile
from audit_lab.judge.cascade import CascadeJudge
from audit_lab.judge.local import LocalJudge
from audit_lab.judge.models import ModelJudge

PROBES_FILE = "probes.jsonl"
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


# Fewer cases than this may well deserve one score.
MIN_CASES = 5
_COLUMNS = {
    "asked": pl.String, "probe": pl.String, "score": pl.Float64, "before": pl.Float64, "model": pl.String, "model_before": pl.String,
    "changed": pl.Boolean, "why": pl.String,
}


def probe_model(judge: Any, folder: Path | None = None, *, accept: bool = False) -> pl.DataFrame:
    """Ask a model the fixed probes afresh and compare with the first time it was asked, or the last that was accepted.

    Parameters
    ----------
    judge
        A judge at an endpoint, or a cascade, whose endpoints are asked one after the other. Kept answers are not used: a probe is
        always asked, and each call is on the account.
    folder
        Where answers to probes are kept; None compares with nothing.
    accept
        Compare later answers with those of now: the change is known and wanted.

    Returns
    -------
    pl.DataFrame
        `asked` (the model's name in the profile), `probe, score, before, model, model_before`, `changed`: true where the endpoint names
        another model, or a score moved by more than `judge.probe_tolerance`; null the first time; and `why`.

    Raises
    ------
    JudgeError
        When the judge asks no model, or the endpoint gives no answer.
    """
    endpoints = judge.endpoints() if isinstance(judge, CascadeJudge) else [judge]
    if not all(isinstance(endpoint, ModelJudge | LocalJudge) for endpoint in endpoints):
        hint = "probes are for the judge 'openai': set judge.judge, or give --judge openai"
        raise JudgeError(f"judge '{judge.judge_id}' asks no model", hint)
    return pl.concat([_probe(endpoint, folder, accept) for endpoint in endpoints])


def probe_notes(probed: pl.DataFrame) -> list[str]:
    """Return a line per model that was changed behind its name."""
    changed = probed.filter("changed")
    return [
        f"model '{asked}' is not what it was ({part['why'][0]}): kept answers are of the model before; audit-lab judge --probe says more"
        for (asked,), part in changed.group_by("asked", maintain_order=True)
    ]


def sameness_notes(verdicts: pl.DataFrame) -> list[str]:
    """Return a line where a model gave all its cases, of at least `MIN_CASES`, one and the same score: then it does not look at them."""
    asked = verdicts.filter(pl.col("model").is_not_null() & pl.col("raw_score").is_not_null())
    if asked.height < MIN_CASES or asked["raw_score"].n_unique() > 1:
        return []
    return [f"the model gave all {asked.height} cases the score {asked['raw_score'][0]:.2f}: compare it with the baseline first"]


def _probe(judge: ModelJudge | LocalJudge, folder: Path | None, accept: bool) -> pl.DataFrame:
    evidence = tables.conform(pl.DataFrame([
        {"case_id": short_id("c", "probe", name), "row": row, "query_id": "probe", "text": text, "event_ids": [], "claim": None}
        for name, texts in _PROBES.items() for row, text in enumerate(texts, start=1)
    ], schema=tables.TABLES["evidence"].schema), "evidence")
    names = {short_id("c", "probe", name): name for name in _PROBES}
    candidates = tables.conform(pl.DataFrame({
        "case_id": list(names), "rank": range(1, len(names) + 1), "session_ids": [[] for _ in names], "score": 0.0, "floor": None,
        "selected_by": "probe", "sampling_probability": 1.0, "why": "probe",
    }), "candidates")
    kind = LocalJudge if judge.settings.gguf else ModelJudge
    fresh = kind(judge.settings, folder, judge_id=judge.judge_id, fresh=True)
    if isinstance(fresh, ModelJudge):
        # Probes are about nobody: they may go anywhere.
        fresh.permit(names)
    try:
        verdicts = fresh(candidates, evidence, tables.empty("signals")).verdicts
    finally:
        fresh.close()
    file = LineFile(folder / PROBES_FILE if folder else None)
    asked = f"{judge.settings.model} in {judge.settings.lang}, prompt {fresh.template_name}"
    held: dict[str, dict[str, Any]] = {}
    for item in file.read():
        if item.get("asked") == asked and (item.get("accepted") or item["probe"] not in held):
            held[item["probe"]] = item
    rows = []
    for case_id, score, model in verdicts.select("case_id", "raw_score", "model").iter_rows():
        name = names[case_id]
        before = held.get(name)
        why = _why(score, model, before, judge.settings.probe_tolerance)
        rows.append({
            "asked": judge.settings.model, "probe": name, "score": score, "before": before["score"] if before else None, "model": model,
            "model_before": before["model"] if before else None, "changed": None if before is None else bool(why), "why": why,
        })
        file.append({"probe": name, "asked": asked, "score": score, "model": model, "accepted": accept})
    return pl.DataFrame(rows, schema=_COLUMNS)


def _why(score: float | None, model: str | None, before: dict[str, Any] | None, tolerance: float) -> str | None:
    if before is None:
        return None
    if model != before["model"]:
        return "the endpoint names another model"
    if (score is None) != (before["score"] is None):
        return "it abstains where it answered before, or the other way round"
    if score is not None and abs(score - before["score"]) > tolerance:
        return f"the score moved by {abs(score - before['score']):.2f}"
    return None
