"""What rules can and cannot see in the data at hand: for the person who keeps them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import duckdb
import polars as pl

from audit_lab import tables
from audit_lab.signals.hits import check_references, correlate
from audit_lab.signals.planned import needed_columns
from audit_lab.signals.rulebook import Rule, usable
from audit_lab.signals.sight import sight, without_value
from audit_lab.signals.sigma.engine import match_rules, numbered, opened

CHECKS = {
    "rule_id": pl.String, "title": pl.String, "kind": pl.String, "level": pl.String, "status": pl.String, "why": pl.String,
    "n_relevant": pl.Int64, "evaluable_share": pl.Float64, "n_hits": pl.Int64, "n_events": pl.Int64, "n_sessions": pl.Int64,
    "runtime_ms": pl.Float64,
    "actor_kinds": pl.String, "actors": pl.String, "source": pl.String,
}


def check_rules(rules: Sequence[Rule], events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Say per rule what it can see in these events and who it fires on.

    Returns
    -------
    polars.DataFrame
        One row per rule: `status` (evaluable, partly, blind, unusable, silent), `why`, `n_relevant` (events of the kind it
        looks at), `evaluable_share` (of those whose body can be judged; null when there is none), `n_hits` (the episodes
        of a correlation; of a rule its events), `n_events` and `n_sessions` it fired on, `runtime_ms` (of its own scan, or of
        its correlation over the hits below), `actor_kinds` ('human 12, node 3') and `actors`, the three it fires on most. An
        event whose body was cut or never logged is not evaluable, which is not the same as no match. `blind`: no such event
        can be judged, or none in these data has a field that the rule cannot do without. `silent`: no event of its kind.
    """
    events = tables.check(events, "events")
    ready = usable(rules)
    check_references(ready)
    sessions = numbered(events.select("event_id", "actor_kind", "actor")).join(
        session_events, on="event_id", how="left", maintain_order="left")
    empty = without_value(events)
    seen: dict[str, dict[str, Any]] = {}
    with opened(needed_columns(ready, events)) as connection:
        matched = match_rules(connection, {place: rule.condition for place, rule in enumerate(ready) if rule.kind == "rule"})
        for place, rule in enumerate(ready):
            rows, n_hits, runtime_ms = _timed(connection, place, ready, matched)
            mine = rows.join(sessions, on="i")
            fired = {
                "n_hits": n_hits, "n_events": rows.height, "n_sessions": mine["session_id"].drop_nulls().n_unique(),
                "runtime_ms": round(runtime_ms, 2), "actor_kinds": _most(mine["actor_kind"]), "actors": _most(mine["actor"]),
            }
            # What fires is not blind, whatever its fields say.
            row = sight(connection, rule, seen, empty if not n_hits else frozenset()) | fired
            unseen = sorted(name for name in set(rule.fields) & empty if name not in row["why"])
            if unseen and not n_hits:
                row["why"] = "; ".join(filter(None, [row["why"], f"no event here has {', '.join(unseen)}"]))
            seen[rule.rule_id] = row
    out = []
    for rule in rules:
        facts = {"rule_id": rule.rule_id, "title": rule.title, "kind": rule.kind, "level": rule.level, "source": rule.source}
        unusable = {"status": "unusable", "why": rule.unusable, "n_hits": 0, "n_events": 0, "n_sessions": 0}
        out.append(facts | (unusable if rule.unusable else seen[rule.rule_id]))
    return pl.DataFrame(out, schema=CHECKS)


def _timed(
    connection: duckdb.DuckDBPyConnection, place: int, rules: Sequence[Rule], matched: pl.DataFrame
) -> tuple[pl.DataFrame, int, float]:
    """Return the events [i] that a rule fires on, how many hits they are, and how long it took by itself, in ms."""
    begun = time.perf_counter()
    if rules[place].correlation is None:
        connection.execute(f"SELECT count(*) FROM source WHERE {rules[place].condition}").fetchall()
        rows = matched.filter(pl.col("rule") == place).select("i")
        return rows, rows.height, (time.perf_counter() - begun) * 1000
    found = correlate(connection, place, rules)
    return found.select("i").unique(), found["hit"].n_unique(), (time.perf_counter() - begun) * 1000


def _most(values: pl.Series) -> str:
    """Return the three most frequent values with their counts; what has no name is '(none)'."""
    counts = values.replace("", "(none)").value_counts().sort(["count", values.name], descending=[True, False]).head(3)
    return ", ".join(f"{value} {n}" for value, n in counts.iter_rows())
