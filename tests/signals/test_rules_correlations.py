"""Correlations of others over audit events: their fields mean what they say, and a bad one is one rule that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

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
