"""Small worlds for the tests of outliers and fusion: people with habits, and somebody who breaks them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from audit_lab import tables
from audit_lab.hashing import short_id

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_EVENT = {
    "cluster": "c1", "archive_id": "a-1", "position": 0, "n_stages": 1, "user": "ann", "actor_kind": "human", "source_ip": "10.0.0.1",
    "source_class": "private", "client_family": "kubectl", "verb": "get", "api_group": "", "resource": "pods", "truncated": False,
    "has_body": False, "status": 200, "decision": "allow",
}


class World(tuple):
    """(sessions, events, session_events) of hand-made sessions."""

    __slots__ = ()


def world(*visits: dict) -> World:
    """Return the tables of one session per visit: `at` (minutes), `deeds` (list of event values), and common event values."""
    events, sessions, placed = [], [], []
    for number, visit in enumerate(visits):
        common = {**_EVENT, **{key: value for key, value in visit.items() if key not in ("at", "deeds", "minutes")}}
        start = START + timedelta(minutes=visit.get("at", 10 * number))
        deeds = visit.get("deeds") or [{}]
        session_id = short_id("s", number, common["user"])
        times = [start + timedelta(seconds=index) for index in range(len(deeds))]
        if "minutes" in visit:
            times[-1] = start + timedelta(minutes=visit["minutes"])
        for index, (deed, time) in enumerate(zip(deeds, times, strict=True)):
            row = {**common, **deed, "event_id": f"e{number:04d}-{index:03d}", "time": time}
            row["actor"] = row["user"] or ""
            events.append(row)
            placed.append({"event_id": row["event_id"], "session_id": session_id})
        sessions.append({
            "session_id": session_id, "cluster": common["cluster"], "actor": common["user"] or "", "user": common["user"],
            "actor_kind": common["actor_kind"], "source_ip": common["source_ip"], "source_class": common["source_class"],
            "client_families": [common["client_family"]], "start": start, "end": times[-1],
            "duration_s": (times[-1] - start).total_seconds(), "n_events": len(deeds),
            **dict.fromkeys((
                "n_writes", "n_denied", "n_unauthenticated", "n_errors", "n_namespaces", "n_resources", "n_secrets", "n_secret_lists",
                "n_exec", "n_rbac_writes", "n_new_actions"), 0),
            "is_new_source": False, "is_new_client": False, "actions": ["read pod"], "summary": "human user-1", "summary_digest": "d",
        })
    event_schema = tables.TABLES["events"].schema
    keys = {key for row in events for key in row}
    frame = pl.DataFrame(events, schema={name: kind for name, kind in event_schema.items() if name in keys})
    return World((
        tables.conform(pl.DataFrame(sessions, schema_overrides={"start": tables.TIME, "end": tables.TIME}), "sessions"),
        tables.conform(frame, "events"),
        tables.conform(pl.DataFrame(placed), "session_events"),
    ))


def make_signals(*rows: dict) -> pl.DataFrame:
    """Return a frame of table signals; everything but session_id has a default."""
    full = [{
        "detector_id": "r1", "detector_version": "1", "kind": "rule", "strength": 0.5, "reason": "a rule", "event_ids": ["e"],
        "severity": None, "floor": None, "p_value": None, **row,
    } for row in rows]
    return tables.conform(pl.DataFrame(full, schema=tables.TABLES["signals"].schema) if full else tables.empty("signals"), "signals")
