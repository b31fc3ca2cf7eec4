"""Findings as tickets: priority with its reason, what was checked, what is left to check; as JSON and as markdown.

In markdown every text that an attacker or a model wrote stands in a code span: there it is shown as it is, and no link, image,
mention or heading comes of it, also where a tracker turns plain addresses and @names into links.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from audit_lab.phrases import CHECKS
from audit_lab.review.findings import cited_events

TICKET_VERSION = 1
EVENTS_SHOWN, EVENTS_TOLD = 15, 60
_SESSION = ("session_id", "actor", "source_ip", "start", "end", "n_events", "n_denied", "role", "summary")
MARKS = {"holds": "holds", "wrong": "does not hold", "unchecked": "not checked"}
_OURS = {english for english, _ in CHECKS.values()}


def ticket(finding: Mapping[str, Any]) -> dict[str, Any]:
    """Return a finding (`review.make_finding`) as a ticket of JSON values.

    Returns
    -------
    `ticket_version`, `id` (the case), `title`, `priority`, `priority_reason`, `status`, `verdict` and `labels` of people, `score`,
    `proposed_action` (for a person: nothing is blocked), `summary` with `summary_by`, `start`, `end`, `clusters`, `actors`,
    `sources`, `techniques`, `rules`, `grounds` (sentence, mark, wrong, event_ids), `checks`, `sessions`, `events` (those that grounds and
    rules cite).
    """
    same = (
        "title", "priority", "priority_reason", "status", "verdict", "labels", "score", "summary", "summary_by", "start", "end", "clusters",
        "actors", "sources", "techniques", "rules", "checks",
    )
    return {
        "ticket_version": TICKET_VERSION, "id": finding["case_id"], **{name: finding[name] for name in same},
        "proposed_action": finding["action"],
        "grounds": [{name: ground[name] for name in ("sentence", "mark", "wrong", "event_ids")} for ground in finding["grounds"]],
        "sessions": [
            {name: session[name] for name in _SESSION} for session in finding["sessions"]
        ],
        "events": [
            {name: event[name] for name in ("event_id", "time", "actor", "verb", "target", "place", "status", "command")}
            for event in cited_events(finding, EVENTS_TOLD)
        ],
    }


def ticket_markdown(finding: Mapping[str, Any]) -> str:
    """Return a finding (`review.make_finding`) as a ticket in CommonMark."""
    case = ticket(finding)
    action = (case["proposed_action"] or "none").replace("_", " ")
    unverified = " (written by a model, not verified)" if case["summary_by"] == "model" else ""
    # Our own sentences are in a closed vocabulary; a model's are not.
    summary = code(case["summary"]) if case["summary_by"] == "model" else escape(case["summary"])
    lines = [
        f"# {case['priority']}: {escape(case['title'])}", "",
        f"- Case {code(case['id'])}, status {case['status']}",
        f"- Priority {case['priority']}: {escape(case['priority_reason'])}",
        f"- Who: {', '.join(code(actor or 'unauthenticated') for actor in case['actors'][:10])}",
        f"- From: {', '.join(map(code, case['sources'][:10])) or 'no address'}",
        f"- When: {case['start']} to {case['end']}; cluster {', '.join(map(code, case['clusters']))}",
        f"- Proposed: {escape(action)}. Nothing was blocked: a person decides.", "",
        f"{summary}{unverified}", "", "## What was checked", "",
        *(_ground(ground) for ground in case["grounds"]), *(["Nothing that could be checked was said."] if not case["grounds"] else []),
        "", "## To check", "",
        *(f"- [ ] {escape(check) if check in _OURS else code(check)}" for check in case["checks"]), "", "## Rules", "",
        *(f"- {code(rule['id'])} ({rule['severity'] or 'no severity'}): {code(rule['title'])}" for rule in case["rules"]),
        *(["No rule matched."] if not case["rules"] else []),
        *([f"- ATT&CK: {', '.join(map(code, case['techniques']))}"] if case["techniques"] else []),
        "", "## Events", "", *(_event(event) for event in cited_events(finding, EVENTS_SHOWN)),
    ]
    left = len(case["events"]) - EVENTS_SHOWN
    lines += [f"- … and {left} more: `audit-lab show {case['id']}`"] if left > 0 else []
    if case["labels"]:
        lines += ["", "## What people said", ""]
        lines += [_said(label) for label in case["labels"]]
    return "\n".join(lines) + "\n"


def code(text: Any) -> str:
    """Return a text as a code span, whatever it holds.

    >>> print(code("a`b"))
    ``a`b``
    >>> print(code("`x`"))
    `` `x` ``
    """
    shown = " ".join(str(text).split()) or "–"
    fence = "`" * (max((len(run) for run in re.findall(r"`+", shown)), default=0) + 1)
    room = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{room}{shown}{room}{fence}"


def escape(text: Any) -> str:
    r"""Return a sentence of ours as markdown text: what means something in markdown or HTML means itself.

    >>> print(escape("1853 times *and* <b>more</b>"))
    1853 times \*and\* &lt;b&gt;more&lt;/b&gt;
    """
    shown = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~!@])", r"\\\1", shown)


def _ground(ground: Mapping[str, Any]) -> str:
    wrong = f" ({escape(ground['wrong'])})" if ground["wrong"] else ""
    return f"- **{MARKS[ground['mark']]}**: {escape(ground['sentence'])}{wrong}"


def _said(label: Mapping[str, Any]) -> str:
    because = f", {code(label['reason'])}" if label["reason"] else ""
    return f"- {label['at'] or 'no time'} {code(label['author'])}: {label['verdict']}{because}"


def _event(event: Mapping[str, Any]) -> str:
    what = " ".join(part for part in (event["verb"], event["target"], event["place"]) if part)
    command = f" command {code(event['command'])}" if event["command"] else ""
    ended = f" → {event['status']}" if event["status"] is not None else ""
    return f"- {event['time']} {code(what)}{ended}{command} {code(event['event_id'])}"
