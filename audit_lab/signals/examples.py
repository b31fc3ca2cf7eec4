"""The events that a rule file itself gives as examples: those it must find, and those it must leave alone.

An example is a mapping of `events` columns; what it leaves out is filled in with an ordinary request, and columns that
follow from others (`actor_kind`, `client_family`, `command_classes` …) are worked out as the archive reader does. A
correlation's example is a list of such events, with `at` for the seconds since its first.

A list where a column has one value stands for several events, one for each; `times: 10` for ten of a kind. To a plain rule each
is an example of its own, in a correlation they follow one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from audit_lab import classes, tables
from audit_lab.errors import InputError
from audit_lab.signals.hits import find_hits
from audit_lab.signals.planned import with_references
from audit_lab.signals.rulebook import Rule, usable

_START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_ORDINARY: dict[str, Any] = {
    "cluster": "example", "archive_id": "a-example", "position": 0, "n_stages": 1, "level": "RequestResponse", "stage": "ResponseComplete",
    "user": "jane", "user_groups": ["system:authenticated"], "source_ip": "10.0.0.5", "user_agent": "kubectl/v1.33.1 (linux/amd64)",
    "verb": "get", "uri": "/api/v1/pods", "api_group": "", "api_version": "v1", "decision": "allow", "status": 200,
    "truncated": False, "has_body": True,
}
EXAMPLES = {"rule_id": pl.String, "example": pl.String, "expected": pl.Boolean, "found": pl.Boolean}


def example_events(specs: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the table `events` for example events; each may say `at`, seconds since the first.

    >>> example_events([{"user": "system:anonymous", "verb": "list"}]).select("actor_kind", "verb").rows()
    [('anonymous', 'list')]
    """
    return tables.conform(pl.DataFrame([_event(number, spec) for number, spec in enumerate(specs)],
                                       schema=tables.TABLES["events"].schema, strict=True), "events")


def spread(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the events that one example stands for; shorter lists begin again.

    >>> spread({"verb": ["create", "patch"], "resource": "pods", "images": ["a", "b"]})[1]
    {'verb': 'patch', 'resource': 'pods', 'images': ['a', 'b']}
    """
    schema = tables.TABLES["events"].schema
    plain = {name: value for name, value in spec.items() if name != "times"}
    # For a column that holds lists, a list of lists.
    several = {
        name: value for name, value in plain.items()
        if isinstance(value, list) and value and (not isinstance(schema.get(name), pl.List) or isinstance(value[0], list))
    }
    n = max([int(spec.get("times", 1)), *(len(values) for values in several.values())])
    return [{**plain, **{name: values[k % len(values)] for name, values in several.items()}} for k in range(n)]


def _event(number: int, spec: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(spec) - set(tables.TABLES["events"].columns) - {"at"})
    if unknown:
        raise InputError(f"an example event has no column '{unknown[0]}'", "use the columns of the table events")
    event = {**_ORDINARY, **spec}
    moment = _START + timedelta(seconds=float(event.pop("at", number)))
    user = event["user"] or None
    borrowed = event.get("impersonated_user")
    return {
        "event_id": f"e{number}", "time": moment, "stage_time": moment, "user": user,
        "actor": f"{user} as {borrowed}" if borrowed else user or "",
        "actor_kind": classes.actor_kind(user), "source_class": classes.source_class(event["source_ip"]),
        "source_ips": [event["source_ip"]], "client_family": classes.client_family(event["user_agent"]),
        "command_classes": _classes(event.get("commands"), classes.command_classes),
        "granted_classes": _classes(event.get("granted"), classes.grant_classes),
        **{name: value for name, value in event.items() if name != "user"},
    }


def _classes(values: Sequence[str] | None, classify: Any) -> list[str] | None:
    if values is None:
        return None
    return list(dict.fromkeys(word for value in values for word in classify(value)))


def run_examples(rules: Sequence[Rule]) -> pl.DataFrame:
    """Run every rule on its own examples; one row per example: `expected` and `found`.

    Raises
    ------
    InputError
        When an example is not made of `events` columns.
    """
    ready = usable(rules)
    examples = [
        (rule, f"{kind} {number}", expected, [event for spec in _listed(example) for event in spread(spec)])
        for rule in ready
        for kind, expected in (("positive", True), ("negative", False))
        for number, example in enumerate(rule.tests.get(kind) or [], start=1)
    ]
    rows = _plain([item for item in examples if item[0].kind == "rule"])
    for rule, name, expected, specs in examples:
        if rule.kind == "correlation":
            needed = with_references(rule, {other.rule_id: other for other in ready})
            hits = find_hits(needed, example_events(specs)).kept
            rows.append((rule.rule_id, name, expected, hits.filter(pl.col("rule") == needed.index(rule)).height > 0))
    return pl.DataFrame(rows, schema=EXAMPLES, orient="row")


def _listed(example: Any) -> list[Any]:
    return example if isinstance(example, list) else [example]


def _plain(examples: list[tuple[Rule, str, bool, list[Any]]]) -> list[tuple[str, str, bool, bool]]:
    """Run plain rules on all their examples at once: one table of events instead of hundreds."""
    rules = list(dict.fromkeys(rule for rule, *_ in examples))
    events = example_events([spec for *_, specs in examples for spec in specs])
    found = set(find_hits(rules, events).kept.select("rule", "i").iter_rows())
    rows, first = [], 0
    for rule, name, expected, specs in examples:
        place = rules.index(rule)
        # Every event of an example counts by itself: of several, each must come out as the file says.
        each = [(place, first + k) in found for k in range(len(specs))]
        rows.append((rule.rule_id, name, expected, all(each) if expected else any(each)))
        first += len(specs)
    return rows
