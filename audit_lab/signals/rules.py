"""Run rules on events: the step of the flow, events and sessions in, the table `signals` out."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import polars as pl
from sigma.correlations import SigmaRuleReference

from audit_lab import tables
from audit_lab.signals.rulebook import LEVELS, PACK, Rule, load_rules, usable
from audit_lab.signals.sigma.engine import match_rules, opened, run_correlation
from audit_lab.signals.sigma.fields import Field
from audit_lab.signals.sigma.mapping import audit_fields

__all__ = ["LEVELS", "PACK", "STRENGTH", "Rule", "find_hits", "load_rules", "needed_columns", "run_rules"]

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
    found = _signals(ready, find_hits(ready, tables.check(events, "events")), events, session_events)
    return tables.conform(found, "signals")


def find_hits(rules: Sequence[Rule], events: pl.DataFrame) -> pl.DataFrame:
    """Return [rule, hit, i, is_last]: rows of `events` in the hits of each rule (place in `rules`)."""
    plain = [place for place, rule in enumerate(rules) if rule.kind == "rule"]
    places = {rules[place].rule_id: number for number, place in enumerate(plain)}
    parts = []
    with opened(needed_columns(rules, events)) as connection:
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


def needed_columns(rules: Sequence[Rule], events: pl.DataFrame) -> pl.DataFrame:
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
