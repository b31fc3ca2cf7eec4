"""The report's section on thresholds and calibration: what is in force and what taught it, what could be promised, what scores mean.

Every figure was made before: by the evaluation, and by the promises that the labels carry. What is not known says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from audit_lab.govern import numbers
from audit_lab.govern.inputs import ReportInput
from audit_lab.govern.summary import SCORER_NAMES

Words = Callable[..., str]
NOISIEST = 5  # rules named; all of them: audit-lab evaluate


def threshold_section(data: ReportInput, t: Words) -> dict[str, Any]:
    """Return what the section says.

    Returns
    -------
    rows (the threshold in force, then one per promise: name, threshold, note, found, flagged, fpr, precision, actors), measured (whether
    any row has figures), own (clusters with a threshold of their own, and it), untested (why nothing is said of the threshold in force, or
    None), precisions, judges (each name and rate), rules (name, rate, sessions, harmless), calibration (see `_calibration`).
    """
    evaluation = data.evaluation or {}
    rows = [_in_force(data, t), *(_promised(promise, t) for promise in data.promises)]
    rules = sorted(evaluation.get("rules") or (), key=lambda rule: (-(rule["fpr"]["value"] or 0.0), rule["rule"]))
    return {
        "rows": rows,
        "measured": any(row["flagged"] is not None for row in rows),
        "own": sorted(data.profile.evaluate.thresholds.items()),
        "untested": _untested(data, t),
        "precisions": [
            (t("1 malicious session in {n}", n=numbers.count(1 / point["prevalence"])), numbers.rate(point["precision"]))
            for point in evaluation.get("precision_at_prevalence") or ()
        ],
        "judges": [(name, numbers.rate(figures["fpr"])) for name, figures in (evaluation.get("judges") or {}).items()],
        "rules": [
            {"name": rule["rule"], "rate": numbers.rate(rule["fpr"]), "sessions": rule["sessions"],
             "harmless": rule["sessions"] - rule["malicious"]}
            for rule in rules[:NOISIEST] if rule["fpr"]["value"]
        ],
        "calibration": _calibration(data, t),
    }


def _in_force(data: ReportInput, t: Words) -> dict[str, Any]:
    learnt = data.profile.evaluate.learnt_until
    taught = (
        t("prior: no data taught it") if learnt is None else t("learnt from sessions until {time}", time=numbers.clock(learnt) + " UTC")
    )
    row = {**_unknown(), "name": t("in force"), "threshold": f"{data.threshold:g}", "note": taught, "chain": True}
    if data.evaluation is None:
        return row
    sessions, incidents = data.evaluation["sessions"], data.evaluation["incidents"]
    return {
        **row, "found": _of(incidents["found"], incidents["n"], t), "flagged": sessions["flagged"], "fpr": numbers.rate(sessions["fpr"]),
        "precision": numbers.rate(sessions["precision"]), "actors": _actors((data.details or {}).get("session_scores"), t),
    }


def _promised(promise: Mapping[str, Any], t: Words) -> dict[str, Any]:
    limit, sure = (f"{100 * promise[name]:g}\u00a0%" for name in ("limit", "confidence"))
    row = {**_unknown(), "name": t("at most {limit} of benign actors flagged, {sure} sure", limit=limit, sure=sure), "chain": False}
    there = promise.get("there")
    if promise["threshold"] is None or there is None:
        few = promise["n"] < promise["needed"]
        return {**row, "threshold": numbers.UNKNOWN, "note": (
            t("{n} independent benign actors, {needed} needed", n=numbers.count(promise["n"]), needed=numbers.count(promise["needed"]))
            if few else t("too many benign actors reach the highest score: only flagging nothing keeps it")
        )}
    return {
        **row, "threshold": f"{promise['threshold']:g}",
        "note": t("broken with probability at most {share}", share=numbers.percent(promise["violation"]).replace(" ", "\u00a0")),
        "found": _of(there["incidents_found"], there["incidents"], t), "flagged": there["flagged"], "fpr": numbers.rate(there["fpr"]),
        "precision": numbers.rate(there["precision"]), "actors": _of(there["actors_flagged"], there["actors"], t),
    }


def _unknown() -> dict[str, Any]:
    nothing = numbers.rate(None)
    return {"found": numbers.UNKNOWN, "flagged": None, "fpr": nothing, "precision": nothing, "actors": numbers.UNKNOWN}


def _of(found: int | None, n: int, t: Words) -> str:
    return numbers.UNKNOWN if found is None or not n else t("{found} of {n}", found=numbers.count(found), n=numbers.count(n))


def _actors(scores: pl.DataFrame | None, t: Words) -> str:
    """How many benign actors the threshold in force flags, in sessions that are not malicious."""
    if scores is None:
        return numbers.UNKNOWN
    harmless = scores.filter((pl.col("scorer") == "all") & (pl.col("class") != "malicious"))
    flagged = harmless.group_by("cluster", "actor").agg(pl.col("flagged").any())["flagged"]
    return _of(int(flagged.sum()), flagged.len(), t)


def _untested(data: ReportInput, t: Words) -> str | None:
    if data.evaluation is not None:
        return None
    learnt, last = data.profile.evaluate.learnt_until, data.sessions["start"].max()
    if learnt is not None and last is not None and last <= learnt:  # type: ignore[operator]
        return t("Every session here taught the threshold in force, so none is left to test it on: ingest later archives.")
    return t("No labelled incident was given, so nothing can be said of the threshold in force: audit-lab evaluate --incidents FILE.")


def _calibration(data: ReportInput, t: Words) -> dict[str, Any]:
    """Return taught (how the calibrator was learnt, or None), scorer, rows (name, n, brier, error), reason (why there are none)."""
    found = (data.evaluation or {}).get("calibration") or {}
    kept = data.calibrator
    if kept is None:
        how = t("Scores rank, they are no probabilities: audit-lab calibrate --probabilities learns what they mean from earlier labels.")
        return {"taught": None, "scorer": "", "rows": [], "reason": how}
    made, scorer = kept["calibrator"], kept["scorer"]
    taught = t("{method}, learnt from {n} sessions, {malicious} of them malicious, until {time}", method=made["method"].replace("_", "–"),
               n=numbers.count(made["n"]), malicious=numbers.count(made["positives"]), time=f"{kept['until'][:19].replace('T', ' ')} UTC")
    rows = [
        {"name": name, "n": figures["brier"]["n"], "brier": _plain(figures["brier"]), "error": _plain(figures["calibration_error"])}
        for name, figures in ((t("raw score"), found.get("raw")), (t("calibrated"), found.get("calibrated"))) if figures
    ]
    reason = None if rows else found.get("reason") or t("no later session with a label tests it")
    return {"taught": taught, "scorer": t(SCORER_NAMES[scorer]) if scorer in SCORER_NAMES else scorer, "rows": rows, "reason": reason}


def _plain(rate: Mapping[str, Any]) -> str:
    """A figure that is no share: three digits that mean something, its interval in brackets, or why there is none."""
    if rate["value"] is None:
        return f"{numbers.UNKNOWN} ({rate['reason']})" if rate.get("reason") else numbers.UNKNOWN
    bounds = "" if rate["low"] is None else f" ({rate['low']:.3g}–{rate['high']:.3g})"
    return f"{rate['value']:.3g}{bounds}"
