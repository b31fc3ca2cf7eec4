"""A desk over made-up cases for the widget's tests: as many as one likes, with an attack in every text a client can write."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab.review import Desk
from audit_lab.review.queue import QUEUE

RAN = "document.documentElement.dataset.ran"
ATTACKS = (
    "<script>document.documentElement.dataset.ran=1</script>", '"><img src=x onerror="document.documentElement.dataset.ran=2">',
    "<svg onload=document.documentElement.dataset.ran=3>", "javascript:document.documentElement.dataset.ran=4",
    "</style><script>document.documentElement.dataset.ran=5</script>", "${document.documentElement.dataset.ran=6}",
)
START = datetime(2026, 11, 2, 8, tzinfo=UTC)
SECRET_SCORE = 0.8765
CHECKS = ["List the secrets that were read.", "Ask the actor.", "Look for a change ticket."]


def queue(n: int, blind_every: int = 5) -> pl.DataFrame:
    """`n` cases, P1 to P4; every `blind_every`-th is blind."""
    rows = [{
        "place": at + 1, "case_id": f"c-{at:05d}", "kind": "alert", "state": "open", "is_blind": at % blind_every == blind_every - 1,
        "priority": f"P{1 + at * 4 // n}", "priority_reason": f"score {SECRET_SCORE} of judge baseline", "score": SECRET_SCORE,
        "action": "review", "summary": "The actor listed the secrets of all namespaces.", "n_sessions": 2, "n_events": 3,
        "actors": [f"actor-{at} {ATTACKS[at % len(ATTACKS)]}"], "start": START, "end": START + timedelta(minutes=5), "n_labels": 0,
        "sampling_probability": None, "session_ids": [f"s-{at}a", f"s-{at}b"],
    } for at in range(n)]
    return pl.DataFrame(rows, schema=QUEUE)


def view(case_id: str) -> dict[str, Any]:
    """A case as `review.view.case_view` gives it."""
    attack = ATTACKS[int(case_id[2:]) % len(ATTACKS)]
    session = {
        "actor": f"kim {attack}", "actor_kind": "human", "source_ip": "192.0.2.7", "source_class": "public", "duration_s": 60.0,
        "n_events": 3, "n_denied": 1, "summary": f"human from public source {attack}", "clients": ["kubectl"], "role": "cause",
    }
    event = {
        "time": "2026-11-02T08:00:01Z", "session_id": "s-a", "actor": f"kim {attack}", "source_ip": "192.0.2.7", "verb": "list",
        "target": "secrets", "place": attack, "status": 403, "decision": "forbid", "command": attack, "is_cited": True, "is_hit": False,
    }
    return {
        "case_id": case_id, "is_blind": False, "priority": "P1", "priority_reason": f"score {SECRET_SCORE} of judge baseline",
        "score": SECRET_SCORE, "kind": "alert", "action": "review", "sampling_probability": None, "why": f"highest score {SECRET_SCORE}",
        "judge": "baseline", "summary": f"It gives {SECRET_SCORE}. {attack}", "summary_by": "model", "summary_wrong": None, "omitted": None,
        "abstain": None,
        "sessions": [
            {**session, "session_id": "s-a", "start": "2026-11-02T08:00:00Z", "end": "2026-11-02T08:01:00Z"},
            {**session, "session_id": "s-b", "start": "2026-11-02T08:03:00Z", "end": "2026-11-02T08:05:00Z", "role": "member"}],
        "links": [{"kind": "token_used", "from_session": "s-a", "to_session": "s-b", "object": attack}],
        "signals": [{"detector_id": "secrets-listed", "kind": "rule", "severity": "high", "strength": SECRET_SCORE, "reason": attack,
                     "n_sessions": 1, "event_ids": ["e-1"]}],
        "grounds": [{"sentence": "The actor listed secrets.", "mark": "holds", "wrong": None, "note": None, "event_ids": ["e-1"]},
                    {"sentence": "The actor made a role.", "mark": "wrong", "wrong": "no such event", "note": None, "event_ids": []}],
        "checks": CHECKS, "events": [{**event, "event_id": "e-1"}], "n_left": {"sessions": 0, "signals": 0, "events": 0},
    }


def desk(n: int, ledger: str) -> Desk:
    """A desk over `n` cases that writes every label it keeps to the file `ledger`, one JSON line each."""
    def keep(labels: pl.DataFrame) -> None:
        with Path(ledger).open("a", encoding="utf-8") as file:
            for row in labels.select("target_id", "verdict", "reason", "checks_done", "blind", "replaces").to_dicts():
                file.write(json.dumps(row) + "\n")

    def originals(event_ids: Any) -> list[dict[str, Any]]:
        return [{"auditID": event_id, "userAgent": ATTACKS[0], "token": "***"} for event_id in event_ids]

    return Desk(queue(n), view, "kim", keep=keep, originals=originals)
