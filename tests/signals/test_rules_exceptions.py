"""Noise: exceptions are narrow, counted, expire, and never hide an incident or a floor by accident."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.signals.examples import example_events
from audit_lab.signals.exceptions import ROUTINE, RuleException, expired_note, load_exceptions
from audit_lab.signals.rulebook import Rule, load_rules
from audit_lab.signals.rules import RuleTables, run_rules_aside
from audit_lab.signals.tuning import exceptions_toml, propose_exceptions

PACK = load_rules()
EXEC: dict[str, Any] = {"verb": "create", "resource": "pods", "subresource": "exec", "namespace": "shop", "commands": ["ls"]}


def some(*names: str) -> list[Rule]:
    return [rule for rule in PACK if rule.rule_id in names]


def run(specs: list[dict[str, Any]], exceptions: list[RuleException], rules: list[Rule], today: date | None = None) -> RuleTables:
    events = example_events(specs)
    members = pl.DataFrame({"event_id": events["event_id"], "session_id": [f"s-{row}" for row in events["actor"]]})
    return run_rules_aside(rules, events, members, exceptions, today)


def exception(**scope: Any) -> RuleException:
    return RuleException("x", "owner", "reason", **scope)


@pytest.mark.parametrize(("scope", "hides"), [
    ({"users": ("jane",)}, True), ({"users": ("JAN?",)}, False), ({"users": ("jan?",)}, True), ({"users": ("Jane",)}, False), ({"sources": ("private",)}, True),
    ({"sources": ("public",)}, False), ({"namespaces": ("Shop",)}, False), ({"namespaces": ("sh0p",)}, False), ({"users": ("j*",)}, True), ({"users": ("jan",)}, False),
    ({"users": (".*",)}, False), ({"actor_kinds": ("human",)}, True), ({"actor_kinds": ("node",)}, False),
    ({"namespaces": ("shop",)}, True), ({"namespaces": ("shop-*",)}, False), ({"clients": ("kubectl",)}, True),
    ({"paths": ("/api/v1/*",)}, True), ({"paths": ("/healthz",)}, False), ({"users": ("jane",), "namespaces": ("other",)}, False),
    ({"users": ("jane",), "rules": ("port-*",)}, False), ({"users": ("jane",), "rules": ("exec-*",)}, True), ({}, False),
])
def test_every_scope_must_fit(scope: dict[str, Any], hides: bool) -> None:
    signals, hidden, listed = run([EXEC], [exception(**scope)], some("exec-into-pod"))
    assert (signals.height, hidden.height, listed["n_hidden"].item()) == ((0, 1, 1) if hides else (1, 0, 0))
    tables.check(listed, "exceptions")
    tables.check(hidden, "signals")


def test_an_exception_for_an_image_needs_every_image() -> None:
    rules = some("privileged-container")
    agent = exception(images=("registry.example/agent:*",))
    pod = {"verb": "create", "resource": "pods", "privileged": True}
    assert run([{**pod, "images": ["registry.example/agent:1"]}], [agent], rules).signals.height == 0
    assert run([{**pod, "images": ["registry.example/agent:1", "evil"]}], [agent], rules).signals.height == 1
    assert run([{**pod, "images": []}], [agent], rules).signals.height == 1
    assert run([pod], [agent], rules).signals.height == 1


def test_a_name_borrowed_is_another_actor() -> None:
    signals = run([{**EXEC, "impersonated_user": "system:admin"}], [exception(users=("jane",))], some("exec-into-pod")).signals
    assert signals.height == 1


def test_only_the_covered_events_go() -> None:
    signals, hidden, _ = run([EXEC, {**EXEC, "namespace": "bank"}], [exception(namespaces=("shop",))], some("exec-into-pod"))
    assert signals["event_ids"].to_list() == [["e1"]] and hidden.height == 0


def test_a_hidden_event_is_no_part_of_a_correlation() -> None:
    rules = some("secret-read", "exec-into-pod", "secrets-and-exec")
    specs = [EXEC, {"verb": "get", "resource": "secrets", "namespace": "shop", "name": "db"}]
    assert "secrets-and-exec" in run(specs, [], rules).signals["detector_id"].to_list()
    assert run(specs, [exception(namespaces=("shop",), rules=("exec-into-pod",))], rules).signals.height == 0


def test_a_correlation_has_exceptions_of_its_own() -> None:
    rules = some("secret-read", "exec-into-pod", "secrets-and-exec")
    specs = [EXEC, {"verb": "get", "resource": "secrets", "namespace": "bank", "name": "db"}]
    whole = run(specs, [exception(users=("jane",), rules=("secrets-and-exec",))], rules)
    assert whole.signals["detector_id"].to_list() == ["exec-into-pod"] and whole.hidden["detector_id"].to_list() == ["secrets-and-exec"]
    part = run(specs, [exception(namespaces=("shop",), rules=("secrets-and-exec",))], rules)
    assert "secrets-and-exec" in part.signals["detector_id"].to_list()


def test_a_floor_is_hidden_only_by_name() -> None:
    token = [{**EXEC, "commands": ["cat /var/run/secrets/kubernetes.io/serviceaccount/token"]}]
    assert run(token, [exception(users=("jane",))], some("exec-token-read")).signals.height == 1
    assert run(token, [exception(users=("jane",), rules=("exec-token-*",))], some("exec-token-read")).signals.height == 1
    assert run(token, [exception(users=("jane",), rules=("exec-token-read",))], some("exec-token-read")).signals.height == 0


def test_an_expired_exception_hides_nothing() -> None:
    old = [exception(users=("jane",), expires=date(2026, 1, 31))]
    assert run([EXEC], old, some("exec-into-pod"), today=date(2026, 1, 31)).signals.height == 0
    assert run([EXEC], old, some("exec-into-pod"), today=date(2026, 2, 1)).signals.height == 1


def test_expired_exceptions_are_named_and_every_exception_has_an_end() -> None:
    known = [*ROUTINE, exception(users=("jane",), expires=date(2026, 1, 31))]
    assert all(item.expires for item in ROUTINE)
    assert expired_note(known, date(2026, 1, 31)) is None
    note = expired_note(known, date(2026, 2, 1))
    assert note is not None and f"'{known[-1].exception_id}' (2026-01-31, {known[-1].owner})" in note and "health" not in note


def test_a_title_of_two_lines_is_shown_as_one(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(
        'title: "Two\\n lines"\nname: two\nlogsource: {product: kubernetes}\ndetection: {s: {verb: get}, condition: s}', encoding="utf-8")
    (tmp_path / "s.yml").write_text(
        'title: "Not\\n usable"\nname: bad\nlogsource: {product: kubernetes}\ndetection: {s: {verb|nope: get}, condition: s}', encoding="utf-8")
    assert {rule.title for rule in load_rules([tmp_path], pack=False)} == {"Two lines", "Not usable"}


def test_routine_is_ready_made_for_added_rules_and_not_for_the_pack(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(
        "title: Refused\nname: refused\nlogsource: {product: kubernetes}\ndetection: {s: {responseStatus.code: [401, 403]}, condition: s}",
        encoding="utf-8")
    refused, = load_rules([tmp_path], pack=False)
    specs = [
        {"user": "", "uri": "/readyz?verbose", "status": 401}, {"user": "system:node:n1", "resource": "pods", "status": 403},
        {"user": "system:serviceaccount:kube-system:job-controller", "resource": "pods", "status": 403}, {"resource": "pods", "status": 403},
    ]
    tables_of = run(specs, list(ROUTINE), [refused])
    assert tables_of.signals["session_id"].to_list() == ["s-jane"]
    assert dict(tables_of.exceptions.select("exception_id", "n_hidden").iter_rows()) == {"health-endpoints": 1, "control-plane-routine": 2}
    node = [{"user": "system:node:n1", "source_ip": "198.51.100.7", "verb": "list", "resource": "pods"}]
    assert run(node, list(ROUTINE), some("system-identity-from-public-address")).signals.height == 1


# ---- files -----------------------------------------------------------------------------------------------

GOOD = """
[[exception]]
id = "inventory"
rules = ["secrets-listed-cluster-wide"]
users = ["inventory@corp.example"]
owner = "security team"
reason = "ticket 4711"
expires = 2027-01-31
"""


def test_a_file_of_exceptions(tmp_path: Path) -> None:
    path = tmp_path / "exceptions.toml"
    path.write_text(GOOD, encoding="utf-8")
    made = load_exceptions(path)[-1]
    assert (made.exception_id, made.users, made.expires) == ("inventory", ("inventory@corp.example",), date(2027, 1, 31))
    assert made.scope == "rules secrets-listed-cluster-wide; actor 'inventory@corp.example'"
    assert len(load_exceptions(path, routine=False)) == 1


@pytest.mark.parametrize(("change", "words"), [
    (("owner =", "holder ="), "unknown key 'holder'"), (('owner = "security team"', 'owner = " "'), "no owner"),
    (('reason = "ticket 4711"\n', ""), "no reason"), (("expires = 2027-01-31", ""), "no expiry"),
    (("expires = 2027-01-31", 'expires = "soon"'), "no expiry"), (('users = ["inventory@corp.example"]\n', ""), "covers everything"),
    (('users = ["inventory@corp.example"]', 'users = ["*"]'), "covers everything"), (('["inventory@corp.example"]', '"a"'), "list of texts"),
    (('users = ["inventory@corp.example"]', 'actor_kinds = ["robots"]'), "none of the actor_kinds"), (("[[exception]]", "[exception]"), "only"),
    (("[[exception]]", "[[exception"), "not TOML"), (('id = "inventory"', 'id = "health-endpoints"'), "twice"),
])
def test_a_bad_file_of_exceptions_is_said(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    path = tmp_path / "exceptions.toml"
    path.write_text(GOOD.replace(*change), encoding="utf-8")
    with pytest.raises(InputError, match=words) as caught:
        load_exceptions(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_of_exceptions_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file of exceptions"):
        load_exceptions(tmp_path / "none.toml")


# ---- proposals -------------------------------------------------------------------------------------------

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def history(malicious: list[str], days: int = 8) -> dict[str, pl.DataFrame]:
    """Jane and Eve each run a command a day; sessions named in `malicious` are labelled so."""
    specs = [{**EXEC, "user": user, "at": day * 86400.0 + place} for day in range(days) for place, user in enumerate(("jane", "eve"))]
    events = example_events(specs)
    members = events.select("event_id", (pl.lit("s-") + pl.col("user") + "-" + (pl.col("time") - FIRST).dt.total_days().cast(pl.String)).alias("session_id"))
    joined = members.join(events, on="event_id")
    blank = dict.fromkeys(tables.TABLES["sessions"].columns)
    sessions = pl.DataFrame([
        {**blank, "session_id": row["session_id"], "cluster": "c", "actor": row["actor"], "actor_kind": "human", "source_class": "private",
         "start": row["time"], "end": row["time"], "duration_s": 0.0, "summary": "", "summary_digest": "",
         **{n: 0 for n in tables.TABLES["sessions"].columns if n.startswith("n_")}, "is_new_source": False, "is_new_client": False}
        for row in joined.to_dicts()
    ], schema=tables.TABLES["sessions"].schema)
    labels = pl.DataFrame([
        {"label_id": s, "target_kind": "incident", "target_id": f"I-{s}", "session_id": s, "verdict": "malicious", "author": "a", "at": None,
         "reason": None, "event_ids": []} for s in malicious
    ], schema=tables.TABLES["labels"].schema)
    signals = run_rules_aside(some("exec-into-pod"), events, members).signals
    return {"signals": signals, "events": events, "sessions": sessions, "session_events": members, "labels": labels}


def test_what_keeps_coming_is_proposed_and_what_hides_an_incident_is_refused() -> None:
    found = propose_exceptions(PACK, **history(["s-eve-2"]), until=FIRST + 30 * DAY)
    by_user = {row["user"]: row for row in found.to_dicts()}
    assert by_user["jane"]["status"] == "proposed" and by_user["jane"]["n_sessions"] == 8
    assert by_user["eve"]["status"] == "refused" and "I-s-eve-2" in by_user["eve"]["why"]


CHAIN = """
title: First
name: first
logsource: {product: kubernetes}
detection: {s: {subresource: exec, user: jane}, condition: s}
---
title: Second
name: second
logsource: {product: kubernetes}
detection: {s: {subresource: exec, user: eve}, condition: s}
---
title: Both
name: both
correlation: {type: temporal_ordered, rules: [first, second], timespan: 1m, group-by: [namespace], generate: true}
"""


def test_a_leg_of_an_incident_that_somebody_else_made_is_not_proposed_away(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(CHAIN, encoding="utf-8")
    rules = load_rules([tmp_path], pack=False)
    for malicious, until, status in ((["s-eve-2"], 30, "refused"), ([], 30, "proposed"), (["s-eve-7"], 6, "proposed")):
        tables_of = history(malicious)
        tables_of["signals"] = run_rules_aside(rules, tables_of["events"], tables_of["session_events"]).signals
        found = propose_exceptions(rules, **tables_of, until=FIRST + until * DAY)
        jane = {row["rule_id"]: row for row in found.filter(pl.col("user") == "jane").to_dicts()}
        assert jane["first"]["status"] == jane["both"]["status"] == status
        assert status == "proposed" or "could take a signal from the labelled incident I-s-eve-2" in jane["first"]["why"]


def test_only_what_was_before_counts() -> None:
    tables_of = history(["s-eve-7"])
    early = {row["user"]: row["status"] for row in propose_exceptions(PACK, **tables_of, until=FIRST + 6 * DAY).to_dicts()}
    assert early == {"jane": "proposed", "eve": "proposed"}  # the incident had not happened yet
    assert propose_exceptions(PACK, **tables_of, until=FIRST + 3 * DAY).height == 0  # three sessions are no habit
    tables_of = history(["s-eve-5"])
    runs_on = pl.when(pl.col("session_id") == "s-eve-5").then(pl.lit(FIRST + 9 * DAY)).otherwise("end")
    tables_of["sessions"] = tables_of["sessions"].with_columns(end=runs_on.cast(tables_of["sessions"].schema["end"]))
    early = {row["user"]: row["status"] for row in propose_exceptions(PACK, **tables_of, until=FIRST + 6 * DAY).to_dicts()}
    assert early == {"jane": "proposed", "eve": "proposed"}  # it had begun, and nobody had judged it


def test_a_rule_with_a_floor_is_never_proposed() -> None:
    with_floor = [Rule(**{**rule.__dict__, "floor": 0.8}) if rule.rule_id == "exec-into-pod" else rule for rule in PACK]
    assert propose_exceptions(with_floor, **history([]), until=FIRST + 30 * DAY).height == 0


def test_a_proposal_becomes_an_exception_once_somebody_answers_for_it(tmp_path: Path) -> None:
    tables_of = history(["s-eve-2"])
    text = exceptions_toml(propose_exceptions(PACK, **tables_of, until=FIRST + 30 * DAY))
    path = tmp_path / "exceptions.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="no owner"):
        load_exceptions(path)
    path.write_text(text.replace('owner = ""', 'owner = "me"').replace('reason = ""', 'reason = "routine"'), encoding="utf-8")
    left = run_rules_aside(some("exec-into-pod"), tables_of["events"], tables_of["session_events"], load_exceptions(path)).signals
    assert {name.split("-")[1] for name in left["session_id"]} == {"eve"}


def test_what_anybody_can_be_is_never_proposed() -> None:
    tables_of = history([])
    events = tables_of["events"].with_columns(
        actor=pl.when(pl.col("user") == "jane").then(pl.lit("system:anonymous")).otherwise("actor"),
        actor_kind=pl.when(pl.col("user") == "jane").then(pl.lit("anonymous")).otherwise("actor_kind"))
    by_user = {row["user"]: row for row in propose_exceptions(PACK, **{**tables_of, "events": events}, until=FIRST + 30 * DAY).to_dicts()}
    assert by_user["system:anonymous"]["status"] == "refused" and "anybody" in by_user["system:anonymous"]["why"]
    assert by_user["eve"]["status"] == "proposed" and by_user["eve"]["share_of_rule"] == 0.5


def test_a_proposal_does_not_follow_its_user_to_another_network() -> None:
    tables_of = history([])
    proposal = propose_exceptions(PACK, **tables_of, until=FIRST + 30 * DAY).filter(pl.col("user") == "jane").to_dicts()[0]
    assert proposal["source"] == "private" and "source 'private'" in proposal["scope"]
    made = exception(users=("jane",), sources=("private",), rules=("exec-into-pod",))
    assert run([EXEC], [made], some("exec-into-pod")).signals.height == 0
    assert run([{**EXEC, "source_ip": "198.51.100.4"}], [made], some("exec-into-pod")).signals.height == 1


def test_hostile_names_stay_inside_their_quotes(tmp_path: Path) -> None:
    name = 'x"]\nusers = ["*"] # \u202e*'
    proposals = propose_exceptions(PACK, **history([]), until=FIRST + 30 * DAY).with_columns(user=pl.lit(name))
    path = tmp_path / "exceptions.toml"
    path.write_text(exceptions_toml(proposals).replace('owner = ""', 'owner = "me"').replace('reason = ""', 'reason = "r"'), encoding="utf-8")
    assert {made.users for made in load_exceptions(path, routine=False)} == {(name.replace("*", "?"),)}
