"""Which events are in the hits of which rule: plain rules first, then exceptions, then correlations over what is left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import duckdb
import polars as pl
from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationConditionOperator, SigmaCorrelationType, SigmaRuleReference

from audit_lab.errors import InputError
from audit_lab.signals.exceptions import RuleException, hidden_by
from audit_lab.signals.planned import needed_columns, number_in
from audit_lab.signals.rule import Rule
from audit_lab.signals.sigma.engine import match_rules, opened, replace_hits, run_correlation
from audit_lab.signals.sigma.mapping import audit_fields

HIDDEN = {"rule": pl.Int64, "i": pl.Int64, "exception_id": pl.String}


class Hits(NamedTuple):
    """`kept`: [rule, hit, i, is_last], rows of the events in the hits of each rule; `hidden`: [rule, i, exception_id]."""

    kept: pl.DataFrame
    hidden: pl.DataFrame


def find_hits(
    rules: Sequence[Rule], events: pl.DataFrame, exceptions: Sequence[RuleException] = (), today: date | None = None
) -> Hits:
    """Return the hits of usable rules on the table `events`; `rule` is the rule's place in `rules`, `i` the event's row.

    An event that an exception hides is no hit, and no part of a correlation either. A hit of a correlation is hidden by
    an exception of its own only when that covers all its events.
    """
    by_id = {rule.rule_id: rule for rule in rules}
    for rule in rules:
        missing = [name for name in rule.references if name not in by_id]
        if missing:
            raise InputError(f"rule '{rule.rule_id}' builds on '{missing[0]}', which was not given", "pass both, or neither")
    with opened(needed_columns(rules, events)) as connection:
        matched = match_rules(connection, {place: rule.condition for place, rule in enumerate(rules) if rule.kind == "rule"})
        hidden = hidden_by(rules, matched, events, exceptions, today)
        if hidden.height:
            matched = matched.join(hidden, on=["rule", "i"], how="anti", maintain_order="left")
            replace_hits(connection, matched)
        counts = {rules[place].rule_id: n for place, n in matched["rule"].value_counts().iter_rows()}
        parts = [matched.select("rule", pl.lit(0, pl.Int64).alias("hit"), "i", pl.lit(True).alias("is_last"))]
        for place, rule in enumerate(rules):
            if rule.kind == "correlation" and _possible(rule, counts, by_id):
                found = _correlate(connection, place, rule, rules)
                own = hidden_by(rules, found.select("rule", "i").unique(), events, exceptions, today)
                covered = found.join(own, on=["rule", "i"], how="left", maintain_order="left")
                whole = pl.col("exception_id").is_not_null().all().over("hit")
                hidden = pl.concat([hidden, covered.filter(whole).select("rule", "i", "exception_id").unique()])
                parts.append(covered.filter(~whole).select("rule", "hit", "i", "is_last"))
    return Hits(pl.concat(parts), hidden)


def _possible(rule: Rule, counts: dict[str, int], by_id: dict[str, Rule]) -> bool:
    """Tell whether the rules below have hits enough: most correlations need not be planned at all on a small batch."""
    if rule.correlation is None:
        return counts.get(rule.rule_id, 0) > 0
    below = [by_id[name] for name in rule.references]
    present = [_possible(other, counts, by_id) for other in below]
    condition = rule.correlation.condition
    ordered = rule.correlation.type in (SigmaCorrelationType.TEMPORAL, SigmaCorrelationType.TEMPORAL_ORDERED)
    if ordered and isinstance(condition, SigmaCorrelationCondition) and condition.op == SigmaCorrelationConditionOperator.GTE:
        return sum(present) >= condition.count
    return any(present)


def _correlate(connection: duckdb.DuckDBPyConnection, place: int, rule: Rule, rules: Sequence[Rule]) -> pl.DataFrame:
    if rule.correlation is None:
        raise ValueError(f"rule '{rule.rule_id}' is no correlation")
    places = number_in(rules)

    def number_of(reference: SigmaRuleReference) -> int:
        return places[reference.rule.name or str(reference.rule.id)]

    episodes = run_correlation(connection, rule.correlation, audit_fields(), number_of).with_row_index("hit")
    return episodes.explode("members").select(
        pl.lit(place, pl.Int64).alias("rule"), pl.col("hit").cast(pl.Int64), pl.col("members").alias("i"),
        (pl.col("members") == pl.col("last")).alias("is_last"),
    )
