"""Rules over events and sessions: the table of signals, bodies that cannot be judged, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.signals.checks import check_rules
from audit_lab.signals.coverage import coverage_matrix
from audit_lab.signals.examples import example_events
from audit_lab.signals.rulebook import Rule, load_rules
from audit_lab.signals.rules import run_rules

PACK = load_rules()


def sessions_of(events: pl.DataFrame, session_ids: list[str] | None = None) -> pl.DataFrame:
    """One session for all events, or the given one for each."""
    return pl.DataFrame({"event_id": events["event_id"], "session_id": session_ids or ["s-1"] * events.height})


def signals_of(specs: list[dict[str, Any]], session_ids: list[str] | None = None, rules: list[Rule] = PACK) -> dict[tuple[str, str], dict[str, Any]]:
    events = example_events(specs)
    signals = run_rules(rules, events, sessions_of(events, session_ids))
    assert tables.check(signals, "signals").height == signals.select("session_id", "detector_id").unique().height
    return {(row["session_id"], row["detector_id"]): row for row in signals.to_dicts()}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


SIMPLE = """
title: Somebody reads {what}
id: 11111111-1111-4111-8111-1111111111{n}
logsource: {{product: kubernetes, service: audit}}
detection: {{s: {{objectRef.resource: {what}}}, condition: s}}
level: high
author: A. Person
"""


def test_a_signal_tells_rule_strength_and_events() -> None:
    found = signals_of([{"verb": "create", "resource": "pods", "subresource": "exec", "commands": ["ls"]}] * 60)
    signal = found["s-1", "exec-into-pod"]
    assert (signal["kind"], signal["severity"], signal["strength"], signal["floor"]) == ("rule", "low", 0.25, None)
    assert signal["reason"] == "Command run in a pod"
    assert signal["event_ids"] == [f"e{place}" for place in range(50)]


def test_a_floor_comes_with_its_rule() -> None:
    found = signals_of([{"verb": "create", "resource": "pods", "subresource": "exec",
                         "commands": ["cat /var/run/secrets/kubernetes.io/serviceaccount/token"]}])
    assert found["s-1", "exec-token-read"]["floor"] == 0.8


def test_a_chain_speaks_for_all_its_sessions_and_loudest_for_the_last() -> None:
    found = signals_of([
        {"verb": "create", "resource": "serviceaccounts", "namespace": "shop", "name": "helper"},
        {"verb": "create", "resource": "rolebindings", "namespace": "shop", "name": "h", "role_ref": "Role/r", "subjects": ["ServiceAccount/shop/helper"]},
        {"user": "system:serviceaccount:shop:helper", "verb": "list", "resource": "configmaps", "namespace": "shop"},
    ], ["s-1", "s-1", "s-2"])
    last, first = found["s-2", "account-created-bound-used"], found["s-1", "account-created-bound-used"]
    assert last["kind"] == "correlation" and last["strength"] == 0.75 and first["strength"] == pytest.approx(0.6)
    assert last["event_ids"] == ["e2", "e0", "e1"] and first["event_ids"] == ["e0", "e1", "e2"]


def test_rules_that_only_serve_correlations_give_no_signal() -> None:
    found = signals_of([{"user": "system:serviceaccount:shop:web", "verb": "list", "resource": "pods", "user_agent": "okhttp/4"}])
    assert not found


def test_events_without_session_give_no_signal() -> None:
    events = example_events([{"verb": "create", "resource": "pods", "subresource": "exec"}])
    assert run_rules(PACK, events, tables.empty("session_events")).height == 0


def test_no_events_no_signals() -> None:
    assert run_rules(PACK, tables.empty("events"), tables.empty("session_events")).height == 0


def test_the_same_input_gives_the_same_signals() -> None:
    events = example_events([{"verb": "create", "resource": "pods", "subresource": "exec", "commands": ["env"]}, {"status": 403}] * 20)
    first, second = (run_rules(PACK, events, sessions_of(events)) for _ in range(2))
    assert first.equals(second)


# ---- what cannot be judged -------------------------------------------------------------------------------


def checked(specs: list[dict[str, Any]], rule_id: str) -> dict[str, Any]:
    events = example_events(specs)
    row, = check_rules([rule for rule in PACK if rule.rule_id == rule_id], events, sessions_of(events)).to_dicts()
    return row


POD: dict[str, Any] = {"verb": "create", "resource": "pods", "namespace": "shop"}


def test_a_cut_body_is_not_evaluable_and_not_a_miss() -> None:
    row = checked([{**POD, "privileged": False}, {**POD, "truncated": True}, {**POD, "has_body": False}, {"verb": "list", "resource": "pods"}],
                  "privileged-container")
    assert (row["status"], row["n_relevant"], row["n_events"]) == ("partly", 3, 0)
    assert row["evaluable_share"] == pytest.approx(1 / 3)
    assert "2 of 3" in row["why"]


def test_a_rule_whose_bodies_are_all_missing_is_blind() -> None:
    row = checked([{**POD, "has_body": False}], "privileged-container")
    assert (row["status"], row["evaluable_share"]) == ("blind", 0.0)


def test_a_rule_without_events_of_its_kind_is_silent_with_no_share() -> None:
    row = checked([{"verb": "list", "resource": "nodes"}], "privileged-container")
    assert (row["status"], row["evaluable_share"]) == ("silent", None)


def test_a_rule_that_needs_no_body_is_evaluable_without_one() -> None:
    row = checked([{"verb": "create", "resource": "pods", "subresource": "exec", "has_body": False, "commands": ["ls"]}], "exec-discovery")
    assert (row["status"], row["evaluable_share"]) == ("evaluable", 1.0)


def test_check_says_who_a_rule_fires_on() -> None:
    row = checked([{"verb": "create", "resource": "pods", "subresource": "exec"},
                   {"user": "system:serviceaccount:a:b", "verb": "create", "resource": "pods", "subresource": "exec"},
                   {"verb": "get", "resource": "pods", "subresource": "attach"}], "exec-into-pod")
    assert row["actor_kinds"] == "human 2, service_account 1" and row["actors"] == "jane 2, system:serviceaccount:a:b 1" and row["n_sessions"] == 1 and row["runtime_ms"] >= 0


def test_a_correlation_is_as_blind_as_what_it_builds_on() -> None:
    chain = [rule for rule in PACK if rule.rule_id in ("service-account-created", "cluster-admin-bound", "service-account-by-hand",
                                                       "powerful-account-used")]
    events = example_events([{"verb": "create", "resource": "clusterrolebindings", "has_body": False}])
    row = check_rules(chain, events, sessions_of(events)).filter(pl.col("rule_id") == "powerful-account-used").to_dicts()[0]
    assert row["status"] == "blind"
    matrix = coverage_matrix(PACK, check_rules(PACK, events, sessions_of(events)))
    assert matrix.filter(pl.col("behaviour_id") == "B41")["status"].item() == "covered"  # silent is not blind


def test_a_rule_that_never_alerts_covers_nothing() -> None:
    silent = [rule for rule in PACK if rule.rule_id in ("account-acts", "person-acts")]
    row = coverage_matrix(silent).filter(pl.col("behaviour_id") == "B59").to_dicts()[0]
    assert (row["status"], row["n_rules"], row["rules"], sorted(row["base_rules"])) == ("open", 0, [], ["account-acts", "person-acts"])
    row = coverage_matrix(PACK).filter(pl.col("behaviour_id") == "B59").to_dicts()[0]
    assert (row["status"], row["n_rules"], row["rules"]) == ("covered", 1, ["masters-group-used"])


# ---- a user's own rules ----------------------------------------------------------------------------------


def test_a_users_rules_run_beside_the_pack(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", SIMPLE.format(what="configmaps", n="11"))
    rules = load_rules([tmp_path])
    assert len(rules) == len(PACK) + 1 and [rule.author for rule in rules if not rule.built_in] == ["A. Person"]
    found = signals_of([{"verb": "get", "resource": "configmaps"}], rules=rules)
    assert found["s-1", "11111111-1111-4111-8111-111111111111"]["reason"] == "Somebody reads configmaps"


@pytest.mark.parametrize(("text", "words"), [
    ("title: [", "not readable as YAML"),
    ("just text", "neither 'detection' nor 'correlation'"),
    ("title: x\ndetection: {s: {verb: get}, condition: s}", "log source"),
    ("title: x\nlogsource: {product: windows}\ndetection: {s: {EventID: 1}, condition: s}", "not kubernetes/audit"),
    ("title: x\nlogsource: {product: kubernetes}\ndetection: {s: {verb: get}}", "condition"),
    ("title: x\nlogsource: {product: kubernetes}\ndetection: {s: {verb: get}, condition: s and nothing}", "nothing"),
    ("title: x\nlogsource: {product: kubernetes}\ndetection: {s: {verb|re: '('}, condition: s}", "invalid"),
    ("title: x\nlogsource: {product: kubernetes}\ndetection: {s: {CommandLine: x}, condition: s}", "no field CommandLine"),
    ("title: x\ncorrelation: {type: event_count, rules: [gone], timespan: 1m, condition: {gte: 2}}", "gone"),
    ("title: x\nlogsource: {product: kubernetes}\ndetection: {s: {verb: get}, condition: s}\naudit_lab: {floor: 3}", "from 0 to 1"),
    ("title: x\nlogsource: {product: kubernetes}\ndetection: {s: {verb: get}, condition: s}\naudit_lab: {floor: high}", "from 0 to 1"),
    ("title: x\nlogsource: {product: kubernetes}\ndetection: {s: {verb: get}, condition: s}\naudit_lab: {behaviours: 5}", "no list"),
    ("title: x\nlogsource: {product: kubernetes}\ndetection: {s: {verb: get}, condition: s}\naudit_lab: {flor: 0.5}", "unknown key 'flor'"),
    ("title: x\nlogsource: {product: kubernetes}\ndetection: {s: {verb: get}, condition: s}\naudit_lab: {tests: [1]}", "no lists of events"),
    ("title: x\nlogsource: {product: kubernetes}\ndetection: {s: [null], condition: s}", "without a field"),
    ("title: x\nlogsource: {product: kubernetes}\ndetection: {s: {verb|expand: '%verbs%'}, condition: s}", "%verbs%"),
    ("title: x\nlogsource: {product: kubernetes}\nfilter: {rules: [a], s: {verb: get}, condition: not s}", "write an exception"),
    ("title: x\nlogsource: {product: azure, service: activitylogs}\ndetection: {s: {operationName: x}, condition: s}", "azure/activitylogs"),
    ("title: x\nlevel: deadly\nlogsource: {product: kubernetes}\ndetection: {s: {verb: get}, condition: s}", "deadly"),
])
def test_a_rule_that_cannot_run_is_kept_with_its_reason(tmp_path: Path, text: str, words: str) -> None:
    write(tmp_path, "bad.yml", text)
    write(tmp_path, "good.yml", SIMPLE.format(what="configmaps", n="11"))
    rules = load_rules([tmp_path], pack=False)
    bad, = [rule for rule in rules if rule.unusable]
    assert words in bad.unusable and "\n" not in bad.unusable and len(rules) == 2
    with pytest.raises(InputError, match=r"bad\.yml"):
        load_rules([tmp_path], pack=False, strict=True)
    events = example_events([{"verb": "get", "resource": "configmaps"}])
    assert run_rules(rules, events, sessions_of(events)).height == 1
    status = check_rules(rules, events, sessions_of(events))
    assert set(status["status"]) == {"unusable", "evaluable"}


def test_folders_that_do_not_work_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of rules"):
        load_rules([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="no rule"):
        load_rules([tmp_path])
    write(tmp_path, "bytes.yml", "x").write_bytes(b"\xff\xfe\x00")
    assert load_rules([tmp_path], pack=False)[0].unusable is not None


def test_a_rule_read_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path, "a.yml", SIMPLE.format(what="configmaps", n="11"))
    write(tmp_path, "b.yml", SIMPLE.format(what="pods", n="11"))
    first, second = load_rules([tmp_path], pack=False)
    assert first.unusable is None and "already read" in str(second.unusable)


def test_a_correlation_may_name_a_rule_of_another_file(tmp_path: Path) -> None:
    write(tmp_path, "chain.yml", "title: Twice\nname: twice\ncorrelation: {type: event_count, rules: [exec-into-pod], group-by: [user.username], "
                                 "timespan: 1h, condition: {gte: 2}, generate: true}\nlevel: high")
    found = signals_of([{"verb": "create", "resource": "pods", "subresource": "exec"}] * 2, rules=load_rules([tmp_path]))
    assert found["s-1", "twice"]["event_ids"] == ["e0", "e1"]
    assert ("s-1", "exec-into-pod") in found


def test_a_bomb_of_aliases_is_refused(tmp_path: Path) -> None:
    levels = "\n".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))
    write(tmp_path, "bomb.yml", f"title: x\nlogsource: {{product: kubernetes}}\ndetection:\n  a0: &a0 [x, y]\n{levels}\n  condition: a8\n")
    assert "alias" in str(load_rules([tmp_path], pack=False)[0].unusable)


def test_rules_cannot_read_files(tmp_path: Path) -> None:
    secret = write(tmp_path, "secret.csv", "a\n1")
    write(tmp_path, "rule.yml", SIMPLE.format(what=f"\"' OR (SELECT count(*) FROM read_csv('{secret}')) > 0 OR '\"", n="11"))
    assert signals_of([{"verb": "get", "resource": "configmaps"}], rules=load_rules([tmp_path], pack=False)) == {}


def test_what_the_engine_refuses_is_told_when_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audit_lab.signals.sigma import leaves

    monkeypatch.setattr(leaves, "number_leaf", lambda field, number: f"no_such_function({field.sql})")
    write(tmp_path, "odd.yml", "title: x\nlogsource: {product: kubernetes}\ndetection: {s: {responseStatus.code: 403}, condition: s}")
    assert "DuckDB refuses it" in str(load_rules([tmp_path], pack=False)[0].unusable)
