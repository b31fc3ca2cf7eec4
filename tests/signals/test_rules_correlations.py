"""Correlations of others over audit events: their fields mean what they say, and a bad one is one rule that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit_lab.signals import planned
from audit_lab.signals.examples import example_events
from audit_lab.signals.hits import find_hits
from audit_lab.signals.rulebook import Rule, load_rules

READS = """
title: Read
name: read
logsource: {product: kubernetes, service: audit}
detection: {s: {verb: get, objectRef.resource: secrets}, condition: s}
---
title: Write
name: write
logsource: {product: kubernetes, service: audit}
detection: {s: {verb: update, objectRef.resource: secrets}, condition: s}
"""


def with_correlation(folder: Path, text: str) -> list[Rule]:
    (folder / "r.yml").write_text(f"title: X\nname: x\ncorrelation: {{{text}}}\n---{READS}", encoding="utf-8")
    return load_rules([folder], pack=False)


@pytest.mark.parametrize(("text", "n_hits"), [
    ("type: value_count, rules: [read], timespan: 1m, condition: {gte: 3, field: responseStatus.code}", 1),
    ("type: value_count, rules: [read], timespan: 1m, condition: {gte: 3, field: annotations.authorization.k8s.io/decision}", 0),
    ("type: event_count, rules: [read], timespan: 1m, group-by: [responseStatus.code], condition: {gte: 2}", 0),
    ("type: event_count, rules: [read], timespan: 1m, group-by: [annotations.authorization.k8s.io/decision], condition: {gte: 2}", 1),
    ("type: temporal, rules: [read, write], timespan: 1m, group-by: [code], "
     "aliases: {code: {read: responseStatus.code, write: responseStatus.code}}", 0),
])
def test_a_status_code_in_a_correlation_is_the_code(tmp_path: Path, text: str, n_hits: int) -> None:
    rules = with_correlation(tmp_path, text)
    specs = [{"verb": verb, "resource": "secrets", "status": status} for verb, status in
             (("get", 200), ("get", 404), ("get", 500), ("update", 409))]
    found = find_hits(rules, example_events(specs)).kept
    assert [rule.unusable for rule in rules] == [None] * 3
    assert found.filter(found["rule"] == 2)["hit"].n_unique() == n_hits


def test_several_value_fields_are_counted_together(tmp_path: Path) -> None:
    # None of these columns is named by any other rule.
    rules = with_correlation(tmp_path, "type: value_count, rules: [read], timespan: 1m, "
                                       "condition: {gte: 2, field: [objectRef.namespace, status_reason, credential_pod]}")
    specs = [{"verb": "get", "resource": "secrets", "namespace": "shop", "status_reason": reason, "credential_pod": "p"} for reason in ("a", "b", "b")]
    found = find_hits(rules, example_events(specs)).kept
    assert [rule.unusable for rule in rules] == [None] * 3 and found.filter(found["rule"] == 2).height == 3


def test_a_correlation_that_duckdb_refuses_is_one_unusable_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = planned.correlation_query
    monkeypatch.setattr(planned, "correlation_query", lambda rule, *rest: "SELECT no_such" if rule.name == "x" else real(rule, *rest))
    (tmp_path / "z.yml").write_text(
        "title: Y\nname: y\ncorrelation: {type: event_count, rules: [x], timespan: 1h, condition: {gte: 2}}", encoding="utf-8")
    rules = {rule.rule_id: rule for rule in with_correlation(tmp_path, "type: event_count, rules: [read], timespan: 1m, condition: {gte: 2}")}
    assert "DuckDB refuses it" in str(rules["x"].unusable) and "no_such" in str(rules["x"].unusable)
    assert rules["y"].unusable == "it builds on 'x', which cannot be used" and rules["read"].unusable is None


def test_a_missing_column_is_noticed_when_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules are planned on the columns that a run would give them, not on all there are."""
    monkeypatch.setattr(planned, "correlation_fields", lambda rule, fields: [])
    rules = with_correlation(tmp_path, "type: value_count, rules: [read], timespan: 1m, condition: {gte: 2, field: credential_pod}")
    assert "credential_pod" in str(rules[-1].unusable)
