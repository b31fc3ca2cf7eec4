"""What `rules check` says: blind for want of a field, hits beside events, and how long each rule takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audit_lab.signals.checks import check_rules
from audit_lab.signals.examples import example_events
from audit_lab.signals.rulebook import load_rules

READ = {"verb": "get", "resource": "secrets"}
LOST = {"user_agent": None, "source_ip": None, "source_ips": [], "grant_binding": None, "grant_role": None}


def check(folder: Path, text: str, events: pl.DataFrame) -> dict[str, dict[str, Any]]:
    (folder / "r.yml").write_text(text, encoding="utf-8")
    found = check_rules(load_rules([folder], pack=False), events, events.select("event_id", session_id=pl.lit("s")))
    return {row["rule_id"]: row for row in found.to_dicts()}


def rule(detection: str, name: str = "x") -> str:
    return f"title: {name}\nname: {name}\nlogsource: {{product: kubernetes}}\ndetection: {{{detection}}}\n---\n"


@pytest.mark.parametrize(("detection", "status", "word"), [
    ("s: {userAgent|contains: sqlmap}, condition: s", "blind", "user_agent"),
    ("s: {sourceIPs|cidr: 8.0.0.0/8}, condition: s", "blind", "source_ips"),
    ("s: {annotations.authorization.k8s.io/reason|contains: admin}, condition: s", "blind", "grant_reason"),
    ("s: {client_family: curl}, condition: s", "blind", "client_family"),
    ("s: {source_class: public}, t: {verb: get}, condition: all of them", "blind", "source_class"),
    ("s: {userAgent|contains: x}, t: {sourceIPs|cidr: 8.0.0.0/8}, condition: s or t", "blind", "source_ips, user_agent"),
    ("s: {userAgent|contains: sqlmap}, t: {verb: delete}, condition: s or t", "evaluable", ""),
    ("s: {verb: get}, t: {userAgent|contains: kubectl}, condition: s and not t", "evaluable", ""),
    ("s: {userAgent: null}, condition: s", "evaluable", ""),
    ("s: {verb: get, impersonatedUser.username: root}, condition: s", "silent", "impersonated_user"),
])
def test_a_rule_is_blind_without_a_field_that_every_way_to_match_needs(tmp_path: Path, detection: str, status: str, word: str) -> None:
    schema = example_events([READ]).schema
    events = example_events([READ, {"verb": "delete", "resource": "pods"}]).with_columns(
        pl.lit(value, schema[name]).alias(name) for name, value in LOST.items())
    row = check(tmp_path, rule(detection), events)["x"]
    assert (row["status"], word in row["why"]) == (status, True)
    there = check(tmp_path, rule(detection), example_events([{**READ, "grant_binding": "b"}]))["x"]
    assert there["status"] != "blind"


def test_what_fires_is_not_blind(tmp_path: Path) -> None:
    """A class that was worked out of a field is there where the field itself has no value."""
    events = example_events([READ]).with_columns(user_agent=pl.lit(None, pl.String), client_family=pl.lit("none"))
    row = check(tmp_path, rule("s: {client_family: none}, condition: s"), events)["x"]
    assert (row["status"], row["n_hits"], row["why"]) == ("evaluable", 1, "")


def test_no_events_make_no_rule_blind(tmp_path: Path) -> None:
    assert check(tmp_path, rule("s: {userAgent: x}, condition: s"), example_events([READ]).head(0))["x"]["status"] == "silent"


def correlation(text: str, name: str = "c") -> str:
    return f"title: {name}\nname: {name}\ncorrelation: {{timespan: 1m, {text}}}\n---\n"


def test_a_correlation_is_blind_as_its_rules_and_its_groups_are(tmp_path: Path) -> None:
    rules = rule("s: {userAgent: x}, condition: s", "agent") + rule("s: {verb: get}, condition: s", "reads")
    rules += correlation("type: temporal, rules: [agent, reads]", "both")
    rules += correlation("type: event_count, rules: [agent, reads], condition: {gte: 9}", "either")
    rules += correlation("type: event_count, rules: [reads], group-by: [userAgent], condition: {gte: 9}", "grouped")
    rules += correlation("type: event_count, rules: [agent], condition: {gte: 9}", "alone")
    events = example_events([READ]).with_columns(user_agent=pl.lit(None, pl.String))
    found = check(tmp_path, rules, events)
    assert {name: row["status"] for name, row in found.items()} == {
        "agent": "blind", "reads": "evaluable", "both": "blind", "either": "partly", "grouped": "blind", "alone": "blind"}
    assert "user_agent" in found["both"]["why"] and "user_agent" in found["grouped"]["why"]


def test_hits_are_episodes_and_correlations_are_timed(tmp_path: Path) -> None:
    events = example_events([{**READ, "at": at} for at in (0, 1, 2, 600, 601, 5000)])
    rules = rule("s: {verb: get}, condition: s", "reads") + correlation("type: event_count, rules: [reads], condition: {gte: 2}")
    found = check(tmp_path, rules, events)
    assert [(found[name]["n_hits"], found[name]["n_events"]) for name in ("reads", "c")] == [(6, 6), (2, 5)]
    assert found["c"]["runtime_ms"] > 0
