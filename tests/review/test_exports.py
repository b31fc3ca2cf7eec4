"""Findings for other systems: OCSF that a consumer accepts, tickets in which an attacker's text is nothing but text."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from audit_lab import tables
from audit_lab.profile import ReviewSettings
from audit_lab.review import choose_findings, detection_finding, make_finding, new_label, prioritise, ticket, ticket_markdown
from audit_lab.review.tickets import code, escape

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOSTILE = "`]](http://evil.example)<script>alert(1)</script>![x](http://evil.example/p.png)\n# owned\n@all #1 *b*"
# Attributes that OCSF 1.9.0 requires, by hand from the schema: class detection_finding with what it extends, and its objects.
REQUIRED = {
    "": ("activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id", "metadata", "finding_info"),
    "metadata": ("version", "product"), "metadata.product": ("name",), "finding_info": ("uid",), "finding_info.analytic": ("type_id",),
    "finding_info.related_analytics": ("type_id",), "finding_info.related_events": ("uid",), "evidences.api": ("operation",),
    "evidences.api.request": ("uid",), "observables": ("type_id",), "notes": ("comment",),
}
# At least one of these stands in each of such objects.
ONE_OF = {
    "evidences": ("actor", "api", "src_endpoint", "resources"), "evidences.actor": ("user",), "evidences.actor.user": ("name", "uid"),
    "evidences.src_endpoint": ("ip",), "resources": ("name", "uid"), "evidences.resources": ("name", "uid"),
    "finding_info.attacks": ("technique", "tactic", "sub_technique"), "finding_info.attacks.technique": ("name", "uid"),
    "notes.owner": ("name", "uid"), "finding_info.analytic": ("name", "uid"),
}
ENUMS = {
    "activity_id": {1: "Create", 2: "Update", 3: "Close"}, "severity_id": {2: "Low", 3: "Medium", 4: "High", 5: "Critical"},
    "status_id": {1: "New", 2: "In Progress", 3: "Suppressed"}, "priority_id": {1: "Low", 2: "Medium", 3: "High", 4: "Critical"},
    "verdict_id": {0: "Unknown", 1: "False Positive", 2: "True Positive", 5: "Benign", 7: "Insufficient Data"},
}


def view(text: str = "web", **more: Any) -> dict[str, Any]:
    event = {"event_id": "e1", "time": "2026-11-23T05:00:00Z", "session_id": "s-1", "actor": text, "source_ip": "203.0.113.9", "verb": "get",
             "target": f"secrets{text}", "place": f"prod/{text}", "status": 200, "decision": "allow", "command": text, "is_cited": True, "is_hit": False}
    return {
        "case_id": "c-1", "priority": "P1", "priority_reason": "score 0.91 of judge m: at least 0.85", "score": 0.91, "action": "ask_owner",
        "kind": "alert", "judge": "m", "summary": "The actor read a secret.", "summary_by": "template", "start": "2026-11-23T05:00:00Z",
        "end": "2026-11-23T05:01:00Z", "n_events": 2, "n_sessions": 1, "actors": [text],
        "sessions": [{"session_id": "s-1", "actor": text, "source_ip": "203.0.113.9", "start": "2026-11-23T05:00:00Z",
                      "end": "2026-11-23T05:01:00Z", "n_events": 2, "n_denied": 0, "role": None, "summary": "human read secret"}],
        "signals": [{"detector_id": "r-1", "kind": "rule", "severity": "high", "strength": 0.7, "reason": "x", "n_sessions": 1, "event_ids": ["e1"]},
                    {"detector_id": "new-deed", "kind": "outlier", "severity": None, "strength": 0.7, "reason": "x", "n_sessions": 1, "event_ids": []}],
        "grounds": [{"sentence": "The actor read a secret by name once.", "mark": "holds", "wrong": None, "note": None, "event_ids": ["e1"]},
                    {"sentence": "The actor was denied twice.", "mark": "wrong", "wrong": "found 0", "note": None, "event_ids": []}],
        "checks": ["Compare with what this actor usually does."],
        "events": [event, {**event, "event_id": "e2", "actor": "", "source_ip": None, "verb": None, "target": "", "place": "", "status": None,
                           "command": None, "is_cited": False, "is_hit": True}],
        **more,
    }


def finding(text: str = "web", verdict: str | None = None, labels: pl.DataFrame | None = None, **more: Any) -> dict[str, Any]:
    rules = {"r-1": {"title": f"Rule {text}", "version": "1", "techniques": ("T1552.007",)}}
    return make_finding(view(text, **more), verdict, tables.empty("labels") if labels is None else labels, rules, ["prod"])


def parts(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every object of a JSON value with its path; list places left out."""
    found = [(path, value)] if isinstance(value, dict) else []
    items = value.items() if isinstance(value, dict) else [("", item) for item in value] if isinstance(value, list) else []
    for name, item in items:
        found += parts(item, ".".join(part for part in (path, name) if part))
    return found


def require_ocsf(event: dict[str, Any]) -> None:
    for path, value in parts({key: item for key, item in event.items() if key != "unmapped"}):
        assert set(REQUIRED.get(path, ())) <= set(value), path
        assert path not in ONE_OF or set(ONE_OF[path]) & set(value), path
        assert None not in value.values(), f"{path}: an absent attribute is left out, it is not null"
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    for name, captions in ENUMS.items():
        sibling = {"activity_id": "activity_name"}.get(name, name.removesuffix("_id"))
        assert captions[event[name]] == event[sibling], name
    for name in ("time", "start_time", "end_time"):
        assert isinstance(event[name], int)
        assert event[name] > 1_700_000_000_000, "milliseconds"


@pytest.mark.parametrize(("verdict", "activity", "status", "said"), [
    (None, "Create", "New", "Unknown"), ("malicious", "Update", "In Progress", "True Positive"), ("unsure", "Update", "In Progress", "Insufficient Data"),
    ("benign", "Close", "Suppressed", "False Positive"), ("benign-but-suspicious", "Close", "Suppressed", "Benign"),
])
def test_a_finding_is_a_valid_ocsf_detection_finding(verdict: str | None, activity: str, status: str, said: str) -> None:
    labels = None if verdict is None else new_label("case", "c-1", verdict, "kim", NOW, reason="because")
    event = detection_finding(finding(verdict=verdict, labels=labels), NOW, "0.1.0")
    require_ocsf(json.loads(json.dumps(event)))
    assert (event["class_uid"], event["metadata"]["version"], event["metadata"]["profiles"]) == (2004, "1.9.0", ["incident"])
    assert (event["activity_name"], event["status"], event["verdict"]) == (activity, status, said)
    assert event["finding_info"]["attacks"] == [{"technique": {"uid": "T1552.007"}}]
    assert [note["owner"]["name"] for note in event["notes"]] == ([] if verdict is None else ["kim"])
    assert event["unmapped"]["priority_reason"] == "score 0.91 of judge m: at least 0.85"
    assert event["start_time"] == 1795410000000


def test_a_ticket_says_priority_and_why_what_was_checked_and_that_nothing_was_blocked() -> None:
    labels = new_label("case", "c-1", "unsure", "kim", NOW, reason="asked the team")
    made = ticket(finding(verdict="unsure", labels=labels))
    assert json.loads(json.dumps(made)) == made
    assert (made["priority"], made["status"], made["proposed_action"], made["techniques"]) == ("P1", "in review", "ask_owner", ["T1552.007"])
    text = ticket_markdown(finding(verdict="unsure", labels=labels))
    for wanted in ("# P1: The actor read a secret by name once", "Priority P1: score 0.91 of judge m: at least 0.85", "Nothing was blocked",
                   "**holds**: The actor read a secret by name once.", "**does not hold**: The actor was denied twice. (found 0)",
                   "- [ ] Compare with what this actor usually does.", "`kim`: unsure, `asked the team`", "`203.0.113.9`"):
        assert wanted in text, wanted


def rendered(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


def test_hostile_text_stays_text_in_markdown() -> None:
    labels = new_label("case", "c-1", "unsure", HOSTILE, NOW, reason=HOSTILE)
    for by in ("template", "model"):
        plain = rendered(ticket_markdown(finding(verdict="unsure", labels=labels)))
        shown = rendered(ticket_markdown(finding(HOSTILE, "unsure", labels, summary=HOSTILE, summary_by=by, checks=[HOSTILE])))
        outside = re.sub(r"<code>.*?</code>", "", shown, flags=re.S)
        for bad in ("<script", "<img", "<a "):
            assert bad not in shown, bad
        if by == "model":
            assert "evil.example" not in outside, "it stands in code spans alone"
        assert shown.count("<h1>") == 1
        assert shown.count("<h2>") == plain.count("<h2>")
        assert "alert(1)" in shown


@given(st.text(max_size=60))
def test_a_code_span_shows_exactly_its_text(text: str) -> None:
    text = " ".join(text.split())
    shown = rendered(f"- x {code(text)} y")
    (inside,) = re.findall(r"<code>(.*?)</code>", shown, flags=re.S)
    assert html.unescape(inside) == (text or "–").replace("\0", "\ufffd")


@given(st.text(alphabet=st.sampled_from("ab<>&*_`[]()!#|~\\\"' -1.:/"), max_size=40))
def test_an_escaped_sentence_shows_exactly_its_text(text: str) -> None:
    text = " ".join(f"x {text} x".split())
    shown = rendered(f"- {escape(text)}")
    assert html.unescape(re.sub(r"</?(ul|li|p)>", "", shown)).strip() == text


def test_findings_are_the_flagged_and_what_people_called_malicious() -> None:
    cases = pl.DataFrame([
        {"case_id": name, "rank": 1, "session_ids": [f"s-{name}"], "score": score, "floor": None, "selected_by": by, "sampling_probability": 1.0,
         "why": "x"} for name, score, by in (("a", 0.9, "rank"), ("b", 0.6, "rank"), ("c", 0.2, "rank"), ("d", 0.1, "exploration"))
    ], schema=tables.TABLES["candidates"].schema)
    judged = prioritise(cases, tables.empty("verdicts"), tables.empty("signals"), ReviewSettings(), 0.5)
    labels = pl.concat([
        new_label("case", "b", "benign", "kim", NOW), new_label("case", "b", "unsure", "lee", NOW), new_label("case", "d", "malicious", "kim", NOW),
        new_label("case", "c", "benign", "kim", NOW)])
    assert choose_findings(judged, labels).rows() == [("a", True, None), ("b", True, "unsure"), ("d", False, "malicious")]
