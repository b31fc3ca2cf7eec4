"""When a window or chain of a correlation qualifies: its condition, as SQL."""

from __future__ import annotations

import itertools
import math
from typing import Any

from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionNOT,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaCorrelationType,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)
from sigma.exceptions import SigmaCorrelationConditionError, SigmaFeatureNotSupportedByBackendError

_SIGNS = {
    SigmaCorrelationConditionOperator.LT: "<",
    SigmaCorrelationConditionOperator.LTE: "<=",
    SigmaCorrelationConditionOperator.GT: ">",
    SigmaCorrelationConditionOperator.GTE: ">=",
    SigmaCorrelationConditionOperator.EQ: "=",
    SigmaCorrelationConditionOperator.NEQ: "<>",
}


def enough(rule: SigmaCorrelationRule) -> str | None:
    """Return what a whole group must hold for any window of it to qualify, or None where nothing can be said."""
    condition = rule.condition
    if isinstance(condition, SigmaExtendedCorrelationCondition):
        return None
    if condition.op not in (SigmaCorrelationConditionOperator.GTE, SigmaCorrelationConditionOperator.GT):
        return None
    measure = {
        SigmaCorrelationType.EVENT_COUNT: "count(DISTINCT id)",
        SigmaCorrelationType.VALUE_COUNT: "count(DISTINCT v)",
        SigmaCorrelationType.TEMPORAL: "count(DISTINCT slot)",
        SigmaCorrelationType.TEMPORAL_ORDERED: "count(DISTINCT slot)",
    }.get(rule.type)
    return f"{measure} {_SIGNS[condition.op]} {condition.count}" if measure else None


def numeric(rule: SigmaCorrelationRule) -> bool:
    """Tell whether the correlation computes with its value."""
    return rule.type in (
        SigmaCorrelationType.VALUE_SUM, SigmaCorrelationType.VALUE_AVG,
        SigmaCorrelationType.VALUE_MEDIAN, SigmaCorrelationType.VALUE_PERCENTILE,
    )


def aggregate(rule: SigmaCorrelationRule) -> tuple[str, str]:
    """Return the window aggregate and the column that it needs beside id and time."""
    if rule.type == SigmaCorrelationType.EVENT_COUNT:
        return "count(*)", "1 AS one"
    if rule.type == SigmaCorrelationType.VALUE_COUNT:
        return "count(DISTINCT v)", "v"
    if rule.type == SigmaCorrelationType.VALUE_SUM:
        return "sum(v)", "v"
    if rule.type == SigmaCorrelationType.VALUE_AVG:
        return "avg(v)", "v"
    percentile = 50 if rule.type == SigmaCorrelationType.VALUE_MEDIAN else getattr(rule.condition, "percentile", None)
    if percentile is None or not 0 <= percentile <= 100:
        raise SigmaCorrelationConditionError("a percentile between 0 and 100 is needed", source=rule.source)
    return f"quantile_cont(v, {percentile / 100})", "v"


def qualifies(rule: SigmaCorrelationRule) -> str:
    """Return the condition on a window, over its `metric` or over `p0`, `p1` … (which rules are present)."""
    condition = rule.condition
    if not isinstance(condition, SigmaExtendedCorrelationCondition):
        return f"metric {_SIGNS[condition.op]} {condition.count}"
    slots = {reference.reference: slot for slot, reference in enumerate(rule.referenced_rules)}

    def expression(node: Any) -> str:
        if isinstance(node, SigmaRuleReference):
            return f"COALESCE(p{slots[node.reference]}, FALSE)"
        if isinstance(node, CorrelationConditionNOT):
            # Absence can only be told once the time after an event has passed: a window that ends at an event cannot.
            raise SigmaFeatureNotSupportedByBackendError("'not' in a correlation condition is not supported")
        word = " AND " if isinstance(node, CorrelationConditionAND) else " OR "
        return "(" + word.join(expression(argument) for argument in node.args) + ")"

    return expression(condition.parsed)


def clauses(rule: SigmaCorrelationRule) -> list[list[int]]:
    """Return the chains that satisfy an ordered correlation, each as the rules' places in order."""
    places = list(range(len(rule.referenced_rules)))
    condition = rule.condition
    if not isinstance(condition, SigmaExtendedCorrelationCondition):
        if condition.op not in (SigmaCorrelationConditionOperator.GTE, SigmaCorrelationConditionOperator.GT):
            raise SigmaFeatureNotSupportedByBackendError("an ordered correlation needs 'gte' or 'gt' in its condition")
        least = math.ceil(condition.count) if condition.op == SigmaCorrelationConditionOperator.GTE else math.floor(condition.count) + 1
        if not 1 <= least <= len(places):
            raise SigmaCorrelationConditionError(f"{least} of {len(places)} rules cannot be met", source=rule.source)
        return [list(chosen) for chosen in itertools.combinations(places, least)]
    slots = {reference.reference: slot for slot, reference in enumerate(rule.referenced_rules)}

    def terms(node: Any) -> list[set[int]]:
        if isinstance(node, SigmaRuleReference):
            return [{slots[node.reference]}]
        if isinstance(node, CorrelationConditionNOT):
            raise SigmaFeatureNotSupportedByBackendError("'not' in a correlation condition is not supported")
        children = [terms(argument) for argument in node.args]
        if not isinstance(node, CorrelationConditionAND):
            return [term for child in children for term in child]
        return [set().union(*combination) for combination in itertools.product(*children)]

    return [list(term) for term in sorted({tuple(sorted(term)) for term in terms(condition.parsed)})]


def extreme(rule: SigmaCorrelationRule) -> str:
    """Return which of the values of overlapping windows stands for them: the one furthest past the condition."""
    below = (SigmaCorrelationConditionOperator.LT, SigmaCorrelationConditionOperator.LTE)
    return "min" if getattr(rule.condition, "op", None) in below else "max"


def length(ways: list[list[int]]) -> str:
    """Return SQL for the number of rules in the chain of a `clause`."""
    return "CASE clause " + " ".join(f"WHEN {number} THEN {len(slots)}" for number, slots in enumerate(ways)) + " END"
