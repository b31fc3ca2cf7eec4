"""Which events are in the hits of which rule: plain rules, correlations over them, and both again without what exceptions cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

import duckdb
import polars as pl
from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationConditionOperator, SigmaCorrelationType

from audit_lab.errors import InputError
from audit_lab.signals.exceptions import RuleException, hidden_by
from audit_lab.signals.planned import needed_columns, number_in, reference_in, with_references
from audit_lab.signals.rule import Rule
from audit_lab.signals.sigma.engine import match_rules, opened, replace_hits, run_correlation
from audit_lab.signals.sigma.mapping import audit_fields


class Hits(NamedTuple):
    """`kept`: [rule, hit, i, is_last], rows of the events in the hits of each rule; `hidden`: [rule, i, exception_id]."""

    kept: pl.DataFrame
    hidden: pl.DataFrame


def find_hits(
    rules: Sequence[Rule], events: pl.DataFrame, exceptions: Sequence[RuleException] = (), today: date | None = None
) -> Hits:
    """Return the hits of usable rules on the table `events`; `rule` is the rule's place in `rules`, `i` the event's row.

    An event that an exception hides is no hit, and no part of a correlation either, except of one with a floor that the
    exception does not name. What a correlation loses that way is in `hidden` too, under the exceptions that covered events of
    the same hit. A hit of a correlation is hidden by an exception of its own only when that covers all its events.
    """
    check_references(rules)
    with opened(needed_columns(rules, events)) as connection:
        matched = match_rules(connection, {place: rule.condition for place, rule in enumerate(rules) if rule.kind == "rule"})
        hidden = hidden_by(rules, matched, events, exceptions, today)
        raw = _correlated(connection, rules, matched, {place for place, rule in enumerate(rules) if rule.correlation is not None})
        left = dict(raw)
        lost = _lost(rules, raw, matched, hidden, events, exceptions, today)
        for places, rows in lost:
            remaining = matched.join(rows, on=["rule", "i"], how="anti", maintain_order="left")
            replace_hits(connection, remaining)
            left |= _correlated(connection, rules, remaining, places)
    plain = matched.join(hidden, on=["rule", "i"], how="anti", maintain_order="left")
    parts = [plain.select("rule", pl.lit(0, pl.Int64).alias("hit"), "i", pl.lit(True).alias("is_last"))]
    aside = [hidden]
    removed = {place: rows for places, rows in lost for place in places}
    for place, found in sorted(left.items()):
        own = hidden_by(rules, found.select("rule", "i").unique(), events, exceptions, today)
        covered = found.join(own, on=["rule", "i"], how="left", maintain_order="left")
        whole = pl.col("exception_id").is_not_null().all().over("hit")
        parts.append(covered.filter(~whole).select("rule", "hit", "i", "is_last"))
        aside.append(covered.filter(whole).select("rule", "i", "exception_id").unique())
        if place in removed:
            aside.append(_missing(raw[place], found, removed[place]))
    return Hits(pl.concat(parts), pl.concat(aside))


def check_references(rules: Sequence[Rule]) -> None:
    """Raise an InputError where a correlation was given without what it builds on."""
    names = {rule.rule_id for rule in rules}
    for rule in rules:
        missing = [name for name in rule.references if name not in names]
        if missing:
            raise InputError(f"rule '{rule.rule_id}' builds on '{missing[0]}', which was not given", "pass both, or neither")


def _lost(
    rules: Sequence[Rule], raw: Mapping[int, pl.DataFrame], matched: pl.DataFrame, hidden: pl.DataFrame, events: pl.DataFrame,
    exceptions: Sequence[RuleException], today: date | None,
) -> list[tuple[set[int], pl.DataFrame]]:
    """Return groups of correlations with the hits [rule, i, exception_id] below them that they must do without.

    Only correlations whose own rules lost a hit are there: the others need not be run again.
    """
    if hidden.is_empty():
        return []
    by_id, places = {rule.rule_id: rule for rule in rules}, number_in(rules)
    touched = set(hidden["rule"])
    open_: set[int] = set()
    groups = []
    for place in raw:
        below = {places[other.rule_id] for other in with_references(rules[place], by_id)}
        if not touched & below:
            continue
        if rules[place].floor is None:
            open_.add(place)
            continue
        # A floor is hidden by name only: what other exceptions cover still counts here.
        naming = [exception for exception in exceptions if exception.applies(rules[place])]
        rows = hidden_by(rules, matched.filter(pl.col("rule").is_in(list(below))), events, naming, today)
        if rows.height:
            groups.append(({place}, rows))
    return [*([(open_, hidden)] if open_ else []), *groups]


def _missing(raw: pl.DataFrame, found: pl.DataFrame, removed: pl.DataFrame) -> pl.DataFrame:
    """Return [rule, i, exception_id] of the events that a correlation has lost with the hits below it that were `removed`.

    Each is there once for every exception that covered an event of the same hit; an event that is covered itself, for its own.
    """
    covers = removed.select("i", pl.col("exception_id").alias("cover")).unique()
    blamed = raw.join(covers, on="i").select("hit", pl.col("cover").alias("exception_id")).unique()
    rows = raw.join(found.select("i").unique(), on="i", how="anti").select("rule", "hit", "i")
    return (
        rows.join(blamed, on="hit").join(covers, on="i", how="left")
        .select("rule", "i", pl.coalesce("cover", "exception_id").alias("exception_id")).unique().sort("i", "exception_id")
    )


def _correlated(
    connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], matched: pl.DataFrame, places: set[int]
) -> dict[int, pl.DataFrame]:
    """Return the hits of the correlations at `places` over the table `hits` of the connection, whose rows are `matched`."""
    by_id = {rule.rule_id: rule for rule in rules}
    counts = {rules[place].rule_id: n for place, n in matched["rule"].value_counts().iter_rows()}
    none = pl.DataFrame(schema={"rule": pl.Int64, "hit": pl.Int64, "i": pl.Int64, "is_last": pl.Boolean})
    return {
        place: correlate(connection, place, rules) if _possible(rules[place], counts, by_id) else none
        for place in sorted(places)
    }


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


def correlate(connection: duckdb.DuckDBPyConnection, place: int, rules: Sequence[Rule]) -> pl.DataFrame:
    """Return the hits of the correlation at `place`, [rule, hit, i, is_last], over the tables `source` and `hits` of the connection."""
    rule = rules[place]
    if rule.correlation is None:
        raise ValueError(f"rule '{rule.rule_id}' is no correlation")
    episodes = run_correlation(connection, rule.correlation, audit_fields(), reference_in(rules)).with_row_index("hit")
    return episodes.explode("members").select(
        pl.lit(place, pl.Int64).alias("rule"), pl.col("hit").cast(pl.Int64), pl.col("members").alias("i"),
        (pl.col("members") == pl.col("last")).alias("is_last"),
    )
