"""What exceptions take from correlations: it is counted under who took it, and a floor is never lost by the way."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audit_lab.signals.examples import example_events
from audit_lab.signals.exceptions import RuleException
from audit_lab.signals.rulebook import Rule, load_rules
from audit_lab.signals.rules import RuleTables, run_rules_aside

PACK = load_rules()
READS = [{"verb": "get", "resource": "secrets", "namespace": "shop", "name": f"s{n}", "user": "bob"} for n in range(40)]
FLOORED = """
title: Read
name: read
logsource: {product: kubernetes}
detection: {s: {verb: get, objectRef.resource: secrets}, condition: s}
---
title: Read twice
name: twice
level: critical
correlation: {type: event_count, rules: [read], timespan: 1m, group-by: [user.username], condition: {gte: 2}}
audit_lab: {floor: 0.8}
"""


def run(specs: list[dict[str, Any]], exceptions: list[RuleException], rules: list[Rule], today: date | None = None) -> RuleTables:
    events = example_events(specs)
    members = pl.DataFrame({"event_id": events["event_id"], "session_id": [f"s-{row}" for row in events["actor"]]})
    return run_rules_aside(rules, events, members, exceptions, today)


def exception(name: str = "x", **scope: Any) -> RuleException:
    return RuleException(name, "owner", "reason", **scope)


def counts(tables_of: RuleTables) -> dict[str, int]:
    return dict(tables_of.exceptions.select("exception_id", "n_hidden").iter_rows())


def ids(signals: pl.DataFrame) -> list[str]:
    return sorted(signals["detector_id"])


@pytest.fixture
def floored(tmp_path: Path) -> list[Rule]:
    (tmp_path / "r.yml").write_text(FLOORED, encoding="utf-8")
    return load_rules([tmp_path], pack=False)


@pytest.mark.parametrize("rules", [("*",), ("secret-read",), ("many-secrets-read",)])
def test_a_correlation_that_is_lost_is_counted(rules: tuple[str, ...]) -> None:
    assert ids(run(READS, [], PACK).signals) == ["many-secrets-read"]
    told = run(READS, [exception(users=("bob",), rules=rules)], PACK)
    assert (told.signals.height, ids(told.hidden), counts(told)) == (0, ["many-secrets-read"], {"x": 1})


def test_every_signal_that_goes_is_counted_under_who_took_it() -> None:
    chain = [{"verb": "get", "resource": "secrets", "namespace": "shop", "name": "db", "user": "bob"},
             {"verb": "create", "resource": "pods", "subresource": "exec", "namespace": "bank", "commands": ["ls"], "user": "bob"}]
    before = run(chain, [], PACK)
    assert "secrets-and-exec" in ids(before.signals)
    told = run(chain, [exception("reads", namespaces=("shop",)), exception("other", users=("jane",))], PACK)
    assert ids(told.hidden) == sorted(set(ids(before.signals)) - set(ids(told.signals))) == ["secrets-and-exec"]
    assert counts(told) == {"reads": 1, "other": 0}
    both = run(chain, [exception("reads", namespaces=("shop",)), exception("execs", namespaces=("bank",))], PACK)
    assert both.signals.height == 0 and ids(both.hidden) == ids(before.signals)
    assert counts(both) == {"reads": 1, "execs": both.hidden.height}, "each had a part in the chain"


CHAIN = """
title: First
name: first
logsource: {product: kubernetes}
detection: {s: {verb: get, user: jane}, condition: s}
---
title: Second
name: second
logsource: {product: kubernetes}
detection: {s: {verb: get, user: eve}, condition: s}
---
title: Both
name: both
correlation: {type: temporal, rules: [first, second], timespan: 1m, group-by: [namespace]}
"""


def test_an_event_that_is_covered_itself_is_counted_under_its_own_exception(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(CHAIN, encoding="utf-8")
    specs = [{**READS[0], "user": user} for user in ("jane", "eve")]
    told = run(specs, [exception("hers", users=("jane",)), exception("theirs", users=("eve",))], load_rules([tmp_path], pack=False))
    assert told.hidden.select("session_id", "detector_id").sort("session_id").rows() == [("s-eve", "both"), ("s-jane", "both")]
    assert counts(told) == {"hers": 1, "theirs": 1}, "each session's part of the chain is its own exception's"


def test_a_correlation_that_goes_on_without_the_covered_events_is_not_counted() -> None:
    told = run([*READS, *({**spec, "namespace": "bank"} for spec in READS)], [exception(namespaces=("bank",))], PACK)
    assert ids(told.signals) == ["many-secrets-read"] and (told.hidden.height, counts(told)) == (0, {"x": 0})


@pytest.mark.parametrize(("rules", "stays"), [
    (("*",), True), (("read",), True), (("twic?",), True), (("twice",), False), (("read", "twice"), False),
])
def test_a_correlation_with_a_floor_is_hidden_only_by_its_own_name(floored: list[Rule], rules: tuple[str, ...], stays: bool) -> None:
    told = run(READS[:3], [exception(users=("bob",), rules=rules)], floored)
    assert (ids(told.signals), ids(told.hidden)) == ((["twice"], []) if stays else ([], ["twice"]))
    assert counts(told) == {"x": 0 if stays else 1}
    if stays:
        assert told.signals["event_ids"].to_list() == [["e0", "e1", "e2"]]


def test_an_exception_beside_the_one_that_names_a_floor_takes_nothing_from_it(floored: list[Rule]) -> None:
    specs = [{**READS[0], "namespace": namespace} for namespace in ("a", "b", "b")]
    named, other = exception("named", namespaces=("a",), rules=("read", "twice")), exception("other", namespaces=("b",), rules=("read",))
    assert run(specs, [other, named], floored).signals["event_ids"].to_list() == [["e1", "e2"]]
