"""Which columns rules need, and whether DuckDB can run them: what it refuses is told when loading, not in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import duckdb
import polars as pl
from sigma.correlations import SigmaRuleReference
from sigma.exceptions import SigmaError

from audit_lab import tables
from audit_lab.signals.rule import Rule
from audit_lab.signals.rulefiles import one_line
from audit_lab.signals.sigma.engine import correlation_query, match_rules, opened
from audit_lab.signals.sigma.fields import Field, identifier
from audit_lab.signals.sigma.mapping import audit_fields


def needed_columns(rules: Sequence[Rule], events: pl.DataFrame) -> pl.DataFrame:
    """Leave out the columns of `events` that no rule names: loading text is most of the work."""
    text = " ".join(f"{rule.condition} {rule.relevance} {rule.available}" for rule in rules)
    fields = audit_fields()
    text += " ".join(fields[name].sql for rule in rules for name in correlation_fields(rule, fields))
    always = {"event_id", "time", "has_body", "truncated"}
    return events.select(column for column in events.columns if column in always or f'"{column}"' in text or f"({column})" in text)


def correlation_fields(rule: Rule, fields: dict[str, Field]) -> list[str]:
    """Return the fields that a correlation groups by, counts or renames; [] for a plain rule."""
    correlation = rule.correlation
    if correlation is None:
        return []
    value = getattr(correlation.condition, "fieldref", None)
    names = [*(correlation.group_by or []), *([value] if isinstance(value, str) else value or [])]
    names += [field for alias in correlation.aliases for field in alias.mapping.values()]
    return [name for name in names if name in fields]


def with_references(rule: Rule, by_id: dict[str, Rule]) -> list[Rule]:
    """Return a rule and all that it builds on, each once."""
    wanted, queue = {rule.rule_id: rule}, list(rule.references)
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted[name] = by_id[name]
            queue.extend(by_id[name].references)
    return list(wanted.values())


def number_in(rules: Sequence[Rule]) -> dict[str, int]:
    """Return the place of each rule, by its id."""
    return {rule.rule_id: place for place, rule in enumerate(rules)}


def reference_in(rules: Sequence[Rule]) -> Callable[[SigmaRuleReference], int]:
    """Return what finds the place of the rule that a correlation refers to."""
    places = number_in(rules)
    return lambda reference: places[reference.rule.name or str(reference.rule.id)]


def planned(rules: Sequence[Rule]) -> list[Rule]:
    """Let DuckDB plan the rules of others once on no events, each on the columns that it would be given; mark those it refuses.

    A rule that builds on a refused one is refused with it: one bad rule must not stop the others.
    """
    if all(rule.built_in or rule.unusable for rule in rules):
        return list(rules)
    made: dict[str, Rule] = {}
    done = []
    with opened(tables.empty("events")) as connection:
        match_rules(connection, {})
        for rule in rules:
            reason = None if rule.built_in or rule.unusable else _refused(connection, rule, made)
            done.append(replace(rule, unusable=reason) if reason else rule)
            if not done[-1].unusable:
                made[rule.rule_id] = done[-1]
    return done


def _refused(connection: duckdb.DuckDBPyConnection, rule: Rule, made: dict[str, Rule]) -> str | None:
    broken = [name for name in rule.references if name not in made]
    if broken:
        return f"it builds on '{broken[0]}', which cannot be used"
    needed = with_references(rule, made)
    columns = ", ".join(identifier(name) for name in ("i", *needed_columns(needed, tables.empty("events")).columns))
    try:
        query = (f"SELECT i FROM source WHERE {rule.condition}" if rule.correlation is None
                 else correlation_query(rule.correlation, audit_fields(), reference_in(needed)))
        connection.execute(f"EXPLAIN WITH source AS (SELECT {columns} FROM temp.source) SELECT * FROM ({query})").fetchall()
    except (duckdb.Error, SigmaError) as error:
        return f"DuckDB refuses it: {one_line(error)}"
    return None
