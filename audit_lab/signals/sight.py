"""What a rule can see in given events: which of its kind can be judged, and which fields that it cannot do without have no value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import duckdb
import polars as pl
from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationType

from audit_lab.signals.planned import correlation_fields
from audit_lab.signals.rule import Rule
from audit_lab.signals.sigma import DuckDBBackend, Field, audit_fields
from audit_lab.signals.sigma.leaves import FALSE

# What the API server writes of every request: where none has it, it was left out or lost on the way. Other fields are
# empty for a good reason where nobody did such a thing: no folder of a node mounted, no identity borrowed.
_ALWAYS = frozenset({
    "level", "stage", "verb", "uri", "user", "user_groups", "source_ip", "source_ips", "user_agent", "status", "decision", "grant_binding",
    "grant_role", "grant_reason", "uri_path", "acting_account", "client_family", "source_class",
})
# Columns worked out of others while reading, which have a word for 'nothing to go by' too.
_ORIGINS = {
    "client_family": ("user_agent",), "source_class": ("source_ip",), "command_classes": ("commands",), "granted_classes": ("granted",),
}


def without_value(events: pl.DataFrame) -> frozenset[str]:
    """Return the fields of `audit_fields` that no event has, derived ones by the columns they come from; an empty list is no value."""
    if events.is_empty():
        return frozenset()  # no events say nothing about what is logged
    columns = {name for name in events.columns if not _has_value(events[name])}
    found = set()
    for name, field in audit_fields().items():
        origins = _ORIGINS.get(name) or re.findall(r'"(\w+)"', field.sql)
        if origins and columns.issuperset(origins):
            found.add(name)
    return frozenset(found)


def _has_value(column: pl.Series) -> bool:
    if isinstance(column.dtype, pl.List):
        return bool((column.list.len() > 0).any())
    return column.null_count() < column.len()


def sight(
    connection: duckdb.DuckDBPyConnection, rule: Rule, below: Mapping[str, dict[str, Any]], empty: frozenset[str]
) -> dict[str, Any]:
    """Return `status`, `why`, `n_relevant` and `evaluable_share` of a rule.

    Parameters
    ----------
    connection
        Holds the events as the table `source`.
    below
        What was returned for the rules that it builds on.
    empty
        From `without_value`.
    """
    blocked = _blocked(rule, empty)
    if rule.correlation is not None:
        found = _over(rule, [below[name] for name in rule.references if name in below])
    else:
        relevant, evaluable = connection.execute(
            f"SELECT count(*), count(*) FILTER (WHERE {rule.available or 'TRUE'}) FROM source WHERE {rule.relevance}").fetchall()[0]
        share = evaluable / relevant if relevant else None
        hidden = relevant - evaluable
        why = f"{hidden} of {relevant} events of its kind have no body to judge (metadata only, or cut)" if hidden else ""
        why = why if relevant or blocked else "no event of its kind in these data"
        if rule.unknown_fields:
            why = "; ".join(filter(None, [why, f"audit events have no field {', '.join(rule.unknown_fields)}"]))
        found = {"status": _status(relevant, share), "why": why, "n_relevant": relevant, "evaluable_share": share}
    if blocked:
        needs = f"no event here has {', '.join(blocked)}, which it cannot do without"
        found |= {"status": "blind", "why": "; ".join(filter(None, [found["why"], needs]))}
    return found


def _over(rule: Rule, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a correlation sees, from the rows of the rules that it builds on."""
    shares = [row["evaluable_share"] for row in rows if row["evaluable_share"] is not None]
    share = min(shares) if shares else None
    relevant = sum(row["n_relevant"] for row in rows)
    status = _status(relevant, share)
    seeing = any(row["status"] in ("evaluable", "partly") for row in rows)
    if any(row["status"] == "blind" for row in rows):
        status = "blind" if _all_needed(rule) or not seeing else "partly"
    return {
        "status": status, "why": "; ".join(sorted({row["why"] for row in rows if row["why"]})), "n_relevant": relevant,
        "evaluable_share": share,
    }


def _all_needed(rule: Rule) -> bool:
    """Tell whether a correlation needs a hit of each of its rules."""
    if rule.correlation is None or rule.correlation.type not in (SigmaCorrelationType.TEMPORAL, SigmaCorrelationType.TEMPORAL_ORDERED):
        return False
    condition = rule.correlation.condition
    return isinstance(condition, SigmaCorrelationCondition) and condition.count >= len(rule.references)


def _blocked(rule: Rule, empty: frozenset[str]) -> list[str]:
    """Return the fields that every event should have, that none has, and without which the rule cannot match."""
    gone = empty & _ALWAYS
    fields: dict[str, Field] = audit_fields()
    if rule.correlation is not None:
        return sorted(set(correlation_fields(rule, fields)) & gone)
    mine = sorted(set(rule.fields) & gone)
    if not mine or rule.parsed is None:
        return []
    seeing = DuckDBBackend(fields={name: field for name, field in fields.items() if name not in gone})
    return mine if seeing.condition(rule.parsed) == FALSE else []


def _status(relevant: int, share: float | None) -> str:
    if not relevant or share is None:
        return "silent"
    return "evaluable" if share == 1 else "blind" if share == 0 else "partly"
