"""What rules can and cannot see in the data at hand: for the person who keeps them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import duckdb
import polars as pl

from audit_lab import tables
from audit_lab.signals.hits import find_hits
from audit_lab.signals.planned import needed_columns
from audit_lab.signals.rulebook import Rule, usable
from audit_lab.signals.sigma.engine import opened

CHECKS = {
    "rule_id": pl.String, "title": pl.String, "kind": pl.String, "level": pl.String, "status": pl.String, "why": pl.String,
    "n_relevant": pl.Int64, "evaluable_share": pl.Float64, "n_events": pl.Int64, "n_sessions": pl.Int64, "runtime_ms": pl.Float64,
    "actor_kinds": pl.String, "actors": pl.String, "source": pl.String,
}


def check_rules(rules: Sequence[Rule], events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Say per rule what it can see in these events and who it fires on.

    Returns
    -------
    polars.DataFrame
        One row per rule: `status` (evaluable, partly, blind, unusable, silent), `why`, `n_relevant` (events of the kind it
        looks at), `evaluable_share` (of those whose body can be judged; null when there is none), `n_events` and
        `n_sessions` it fired on, `runtime_ms`, `actor_kinds` ('human 12, node 3') and `actors`, the three it
        fires on most. An event whose body was cut or never logged is
        not evaluable, which is not the same as no match. `silent`: no event of its kind in these data.
    """
    events = tables.check(events, "events")
    ready = usable(rules)
    signals_of = find_hits(ready, events).kept
    sessions = events.select("event_id", "actor_kind", "actor").with_row_index("i").with_columns(pl.col("i").cast(pl.Int64)).join(
        session_events, on="event_id", how="left", maintain_order="left")
    empty = {name for name in events.columns if events[name].null_count() == events.height}
    seen: dict[str, dict[str, Any]] = {}
    with opened(needed_columns(ready, events)) as connection:
        for place, rule in enumerate(ready):
            mine = signals_of.filter(pl.col("rule") == place).unique("i").join(sessions, on="i")
            row = _sight(connection, rule, seen) | {
                "n_events": mine.height,
                "n_sessions": mine["session_id"].drop_nulls().n_unique(),
                "actor_kinds": _most(mine["actor_kind"]), "actors": _most(mine["actor"]),
            }
            unseen = sorted(set(rule.fields) & empty)
            if unseen and not row["n_events"]:
                row["why"] = "; ".join(filter(None, [row["why"], f"no event here has {', '.join(unseen)}"]))
            seen[rule.rule_id] = row
    out = []
    for rule in rules:
        facts = {"rule_id": rule.rule_id, "title": rule.title, "kind": rule.kind, "level": rule.level, "source": rule.source}
        told = {"status": "unusable", "why": rule.unusable, "n_events": 0, "n_sessions": 0} if rule.unusable else seen[rule.rule_id]
        out.append(facts | told)
    return pl.DataFrame(out, schema=CHECKS)


def _most(values: pl.Series) -> str:
    """Return the three most frequent values with their counts; what has no name is '(none)'."""
    counts = values.replace("", "(none)").value_counts().sort(["count", values.name], descending=[True, False]).head(3)
    return ", ".join(f"{value} {n}" for value, n in counts.iter_rows())


def _sight(connection: duckdb.DuckDBPyConnection, rule: Rule, seen: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Count the events that a rule looks at, and those among them that it can judge; time its own scan."""
    if rule.kind == "correlation":
        below = [seen[name] for name in rule.references if name in seen]
        shares = [row["evaluable_share"] for row in below if row["evaluable_share"] is not None]
        share = min(shares) if shares else None
        relevant = sum(row["n_relevant"] for row in below)
        why = "; ".join(sorted({row["why"] for row in below if row["why"]}))
        return {"status": _status(relevant, share), "why": why, "n_relevant": relevant, "evaluable_share": share, "runtime_ms": None}
    judged = rule.available or "TRUE"
    relevant, evaluable = connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE {judged}) FROM source WHERE {rule.relevance}").fetchall()[0]
    begun = time.perf_counter()
    connection.execute(f"SELECT count(*) FROM source WHERE {rule.condition}").fetchall()
    runtime_ms = (time.perf_counter() - begun) * 1000
    share = evaluable / relevant if relevant else None
    hidden = relevant - evaluable
    why = f"{hidden} of {relevant} events of its kind have no body to judge (metadata only, or cut)" if hidden else ""
    if not relevant:
        why = "no event of its kind in these data"
    if rule.unknown_fields:
        why = "; ".join(filter(None, [why, f"audit events have no field {', '.join(rule.unknown_fields)}"]))
    sight = {"status": _status(relevant, share), "why": why, "n_relevant": relevant, "evaluable_share": share}
    return sight | {"runtime_ms": round(runtime_ms, 2)}


def _status(relevant: int, share: float | None) -> str:
    if not relevant or share is None:
        return "silent"
    return "evaluable" if share == 1 else "blind" if share == 0 else "partly"
