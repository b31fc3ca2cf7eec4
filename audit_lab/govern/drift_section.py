"""The report's section on drift: what alarms, as rows of words and numbers, and why nothing could be compared where that is so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from audit_lab.govern import numbers
from audit_lab.govern.inputs import ReportInput

MOST = 30  # alarms listed; the others are counted
UNITS = {"category": "PSI", "number": "SD", "vector": "SD", "rate": "×", "volume": "×"}


def drift_section(data: ReportInput, t: Callable[..., str]) -> dict[str, Any] | None:
    """Return what the section says; None where drift was not looked at.

    Returns
    -------
    n_periods, first (start of the first one compared), n_features, alarms (rows: since, told, is_on, feature, what, size), left_out (alarms
    not listed), why (feature, or None for all of them, and reason), of which only `why` is filled where nothing was compared.
    """
    table = data.drifts
    if table.is_empty():
        return None
    compared = table.filter(pl.col("kind") != "none")
    alarms = [] if data.drift_alarms is None else list(data.drift_alarms.iter_rows(named=True))
    why = table.filter(pl.col("reason").is_not_null()).select("feature", "reason").unique(maintain_order=True)
    return {
        "n_periods": compared["period"].n_unique(), "first": compared["period"].min(),
        "n_features": compared.filter(pl.col("kind") != "presence")["feature"].n_unique(),
        "alarms": [_row(alarm, t) for alarm in alarms[:MOST]], "left_out": max(0, len(alarms) - MOST),
        "why": list(why.iter_rows()) if compared.height else [(None, reason) for reason in why["reason"].unique(maintain_order=True)],
    }


def _row(alarm: dict[str, Any], t: Callable[..., str]) -> dict[str, Any]:
    kind, before, after = alarm["kind"], alarm["before"], alarm["after"]
    if kind == "presence":
        size = t("new, on {share} of the time", share=numbers.percent(after))
    elif kind in UNITS:
        size = f"{UNITS[kind]} {alarm['size']:.2f}"
    else:
        size = ""
    spell = numbers.percent if kind in ("rate", "change point") else (lambda number: f"{number:,.3g}")
    moved = "" if before is None or kind == "presence" else f"{spell(before)} → {spell(after)}"
    return {
        "since": alarm["since"], "told": alarm["first_period"], "is_on": alarm["is_on"], "feature": alarm["feature"],
        "what": alarm["value"] if kind == "presence" else alarm["detail"] or moved, "size": size,
    }
