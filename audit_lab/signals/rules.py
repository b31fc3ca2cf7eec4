"""Run rules on events, and say what they can and cannot see.

`run_rules` is the step of the flow: events and sessions in, the table `signals` out. `check_rules` is for the
person who keeps the rules: which can be judged on these data, which are blind and why, and who they fire on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import duckdb
import polars as pl
from sigma.correlations import SigmaRuleReference

from audit_lab import tables
from audit_lab.signals.rulebook import LEVELS, PACK, Rule, load_rules, usable
from audit_lab.signals.sigma.engine import match_rules, opened, run_correlation
from audit_lab.signals.sigma.fields import Field
from audit_lab.signals.sigma.mapping import audit_fields

__all__ = ["LEVELS", "PACK", "STRENGTH", "Rule", "check_rules", "load_rules", "run_rules"]

# Strength of a hit by level: comparable within the rules; fusion sets the weight of rules against other detectors.
STRENGTH = {"informational": 0.1, "low": 0.25, "medium": 0.5, "high": 0.75, "critical": 0.95}
# A session that only took part in a correlation, without its last event, is a little less sure to be the place to look.
INVOLVED = 0.8
MAX_EVENT_IDS = 50


def run_rules(rules: Sequence[Rule], events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Return the signals of all usable rules.

    Parameters
    ----------
    rules
        From `load_rules`; unusable ones are passed over.
    events, session_events
        The tables of these names. Events without a session give no signal.

    Returns
    -------
    polars.DataFrame
        Table `signals`: one row per session and rule, `strength` by the rule's level, `reason` the rule's title,
        `event_ids` the first 50 events in order of time. A correlation speaks for the session of its last event with
        full strength and for every other session that took part with 0.8 of it; its `event_ids` name the session's own first.
    """
    tables.check(session_events, "session_events")
    ready = usable(rules)
    found = _signals(ready, _hits(ready, tables.check(events, "events")), events, session_events)
    return tables.conform(found, "signals")


def _hits(rules: Sequence[Rule], events: pl.DataFrame) -> pl.DataFrame:
    """Return [rule, hit, i, is_last]: rows of `events` in the hits of each rule (place in `rules`)."""
    plain = [place for place, rule in enumerate(rules) if rule.kind == "rule"]
    places = {rules[place].rule_id: number for number, place in enumerate(plain)}
    parts = []
    with opened(_needed(rules, events)) as connection:
        matched = match_rules(connection, [rules[place].condition for place in plain])
        number_to_place = pl.DataFrame({"rule": range(len(plain)), "place": plain}, schema={"rule": pl.Int64, "place": pl.Int64})
        direct = matched.join(number_to_place, on="rule")
        parts.append(direct.select(pl.col("place").alias("rule"), pl.lit(0, pl.Int64).alias("hit"), "i", pl.lit(True).alias("is_last")))
        for place, rule in enumerate(rules):
            if rule.kind == "correlation":
                parts.append(_correlate(connection, place, rule, places))
    return pl.concat(parts)


def _correlate(connection: duckdb.DuckDBPyConnection, place: int, rule: Rule, places: dict[str, int]) -> pl.DataFrame:
    if rule.correlation is None:
        raise ValueError(f"rule '{rule.rule_id}' is no correlation")

    def number_of(reference: SigmaRuleReference) -> int:
        target = reference.rule
        return places[target.name or str(target.id)]

    episodes = run_correlation(connection, rule.correlation, audit_fields(), number_of).with_row_index("hit")
    return episodes.explode("members").select(
        pl.lit(place, pl.Int64).alias("rule"), pl.col("hit").cast(pl.Int64), pl.col("members").alias("i"),
        (pl.col("members") == pl.col("last")).alias("is_last"),
    )


def _needed(rules: Sequence[Rule], events: pl.DataFrame) -> pl.DataFrame:
    """Leave out the columns that no rule names: loading text is most of the work."""
    text = " ".join(f"{rule.condition} {rule.relevance} {rule.available}" for rule in rules)
    fields = audit_fields()
    for rule in rules:
        if rule.correlation is not None:
            text += " ".join(fields[name].sql for name in _correlation_fields(rule, fields))
    always = {"event_id", "time", "has_body", "truncated"}
    return events.select(column for column in events.columns if column in always or f'"{column}"' in text or f"({column})" in text)


def _correlation_fields(rule: Rule, fields: dict[str, Field]) -> list[str]:
    correlation = rule.correlation
    if correlation is None:
        return []
    names = [*(correlation.group_by or [])]
    value = getattr(correlation.condition, "fieldref", None)
    names += [value] if isinstance(value, str) else []
    names += [field for alias in correlation.aliases for field in alias.mapping.values()]
    return [name for name in names if name in fields]


def _signals(rules: Sequence[Rule], hits: pl.DataFrame, events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    facts = pl.DataFrame(
        [
            {
                "rule": place, "detector_id": rule.rule_id, "detector_version": rule.version, "kind": rule.kind, "severity": rule.level,
                "full": STRENGTH.get(rule.level, STRENGTH["low"]), "floor": rule.floor, "reason": rule.title,
            }
            for place, rule in enumerate(rules) if rule.emits
        ],
        schema={
            "rule": pl.Int64, "detector_id": pl.String, "detector_version": pl.String, "kind": pl.String, "severity": pl.String,
            "full": pl.Float64, "floor": pl.Float64, "reason": pl.String,
        },
    )
    keyed = events.select("event_id", "time").with_row_index("i").with_columns(pl.col("i").cast(pl.Int64))
    placed = (
        hits.join(facts.select("rule", "kind"), on="rule")
        .join(keyed, on="i")
        .join(session_events.select("event_id", "session_id"), on="event_id", how="inner")
        .sort("rule", "time", "event_id", "hit")
    )
    own = placed.group_by("rule", "session_id", maintain_order=True).agg(
        pl.col("event_id").unique(maintain_order=True).head(MAX_EVENT_IDS).alias("own_ids"), pl.col("is_last").any()
    )
    others = (
        placed.filter(pl.col("kind") == "correlation").select("rule", "hit", "session_id").unique()
        .join(placed.group_by("rule", "hit", maintain_order=True).agg(pl.col("event_id").head(MAX_EVENT_IDS).alias("hit_ids")),
              on=["rule", "hit"])
        .sort("rule", "session_id", "hit")
        .group_by("rule", "session_id", maintain_order=True).agg(pl.col("hit_ids").explode().head(2 * MAX_EVENT_IDS))
    )
    strength = pl.col("full") * pl.when("is_last").then(1.0).otherwise(INVOLVED)
    return (
        own.join(others, on=["rule", "session_id"], how="left")
        .join(facts, on="rule")
        .with_columns(
            strength.alias("strength"),
            pl.concat_list("own_ids", pl.col("hit_ids").fill_null([])).list.unique(maintain_order=True).list.head(MAX_EVENT_IDS)
            .alias("event_ids"),
        )
        .sort("detector_id", "session_id")
        .drop("rule", "own_ids", "hit_ids", "is_last", "full")
    )


CHECKS = {
    "rule_id": pl.String, "title": pl.String, "kind": pl.String, "level": pl.String, "status": pl.String, "why": pl.String,
    "n_relevant": pl.Int64, "evaluable_share": pl.Float64, "n_events": pl.Int64, "n_sessions": pl.Int64, "runtime_ms": pl.Float64,
    "actor_kinds": pl.String, "source": pl.String,
}


def check_rules(rules: Sequence[Rule], events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Say per rule what it can see in these events and who it fires on.

    Returns
    -------
    polars.DataFrame
        One row per rule: `status` (evaluable, partly, blind, unusable, silent), `why`, `n_relevant` (events of the kind it
        looks at), `evaluable_share` (of those whose body can be judged; null when there is none), `n_events` and
        `n_sessions` it fired on, `runtime_ms`, `actor_kinds` ('human 12, node 3'). An event whose body was cut or never logged is
        not evaluable, which is not the same as no match. `silent`: no event of its kind in these data.
    """
    events = tables.check(events, "events")
    ready = usable(rules)
    signals_of = _hits(ready, events)
    sessions = events.select("event_id", "actor_kind").with_row_index("i").with_columns(pl.col("i").cast(pl.Int64)).join(
        session_events, on="event_id", how="left", maintain_order="left")
    empty = {name for name in events.columns if events[name].null_count() == events.height}
    rows, seen = [], {}
    with opened(_needed(ready, events)) as connection:
        for place, rule in enumerate(ready):
            mine = signals_of.filter(pl.col("rule") == place).unique("i").join(sessions, on="i")
            row = _sight(connection, rule, seen) | {
                "n_events": mine.height,
                "n_sessions": mine["session_id"].drop_nulls().n_unique(),
                "actor_kinds": ", ".join(f"{kind} {n}" for kind, n in mine["actor_kind"].value_counts(sort=True).sort(
                    ["count", "actor_kind"], descending=[True, False]).head(3).iter_rows()),
            }
            unseen = sorted(set(rule.fields) & empty)
            if unseen and not row["n_events"]:
                row["why"] = "; ".join(filter(None, [row["why"], f"no event here has {', '.join(unseen)}"]))
            seen[rule.rule_id] = row
            rows.append(row)
    done = {rule.rule_id: row for rule, row in zip(ready, rows, strict=True)}
    out = []
    for rule in rules:
        row = done.get(rule.rule_id) if not rule.unusable else {"status": "unusable", "why": rule.unusable, "n_events": 0, "n_sessions": 0}
        out.append({"rule_id": rule.rule_id, "title": rule.title, "kind": rule.kind, "level": rule.level, "source": rule.source, **(row or {})})
    return pl.DataFrame(out, schema=CHECKS)


def _sight(connection: duckdb.DuckDBPyConnection, rule: Rule, seen: dict[str, dict[str, object]]) -> dict[str, object]:
    """Count the events that a rule looks at, and those among them that it can judge; time its own scan."""
    if rule.kind == "correlation":
        below = [seen[name] for name in rule.references if name in seen]
        shares = [float(str(row["evaluable_share"])) for row in below if row.get("evaluable_share") is not None]
        share = min(shares) if shares else None
        relevant = sum(int(str(row["n_relevant"])) for row in below)
        why = "; ".join(sorted({str(row["why"]) for row in below if row["why"]}))
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
    return {"status": _status(relevant, share), "why": why, "n_relevant": relevant, "evaluable_share": share, "runtime_ms": round(runtime_ms, 2)}


def _status(relevant: int, share: float | None) -> str:
    if not relevant or share is None:
        return "silent"
    return "evaluable" if share == 1 else "blind" if share == 0 else "partly"
