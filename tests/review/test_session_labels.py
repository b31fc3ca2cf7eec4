"""From incidents to labels of sessions."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audit_lab import tables
from audit_lab.review import label_sessions, match_incidents, read_incidents, session_classes

T0 = datetime(2026, 11, 23, 5, tzinfo=UTC)
EVENT_SCHEMA = {name: tables.TABLES["events"].schema[name] for name in ("event_id", "time", "user", "actor", "source_ip", "source_ips")}


def events(*rows: tuple[str, int, str | None, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [{"event_id": name, "time": T0 + timedelta(seconds=second), "user": user, "actor": user or "", "source_ip": ip,
          "source_ips": ["192.0.2.9", ip]} for name, second, user, ip in rows], schema=EVENT_SCHEMA)


def incident(name: str, malicious: bool = True, **keys: Any) -> dict[str, Any]:
    return {"incident_id": name, "title": "t", "malicious": malicious, "technique_ids": [], "start": None, "end": None, "users": [],
            "source_ips": [], "audit_ids": [], "reason": None, "other": None, **keys}


def incidents(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=tables.TABLES["incidents"].schema)


def in_session(**members: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    pairs = [(event, session) for session, found in members.items() for event in found]
    session_events = pl.DataFrame(pairs, schema={"event_id": pl.String, "session_id": pl.String}, orient="row")
    return pl.DataFrame({"session_id": list(members)}, schema={"session_id": pl.String}), session_events


def test_one_row_per_incident_and_session_with_its_events_in_order() -> None:
    log = events(("e1", 0, "u", "10.0.0.1"), ("e3", 2, "u", "10.0.0.1"), ("e2", 1, "u", "10.0.0.1"), ("e4", 3, "v", "10.0.0.2"))
    sessions, session_events = in_session(s1=["e1", "e2", "e3"], s2=["e4"])
    found = label_sessions(
        incidents(incident("a", audit_ids=["e3", "e2", "e4", "gone"]), incident("b", False, audit_ids=["e1"], reason="ours")),
        sessions, session_events, log, author="known.jsonl")
    tables.check(found, "labels")
    assert found.select("target_id", "session_id", "verdict", "event_ids", "author", "at").rows() == [
        ("a", "s1", "malicious", ["e2", "e3"], "known.jsonl", None),
        ("a", "s2", "malicious", ["e4"], "known.jsonl", None),
        ("b", "s1", "benign-but-suspicious", ["e1"], "known.jsonl", None),
    ]
    assert found["reason"].to_list() == ["t", "t", "ours"]
    assert found["label_id"].n_unique() == 3


def test_malicious_wins_and_unsure_says_nothing() -> None:
    log = events(("e1", 0, "u", "10.0.0.1"), ("e2", 1, "u", "10.0.0.1"))
    sessions, session_events = in_session(s1=["e1", "e2"])
    found = label_sessions(
        incidents(incident("a", False, audit_ids=["e1"]), incident("b", True, audit_ids=["e2"])), sessions, session_events, log)
    assert session_classes(found).rows() == [("s1", "malicious")]
    assert session_classes(found.with_columns(verdict=pl.lit("unsure"))).is_empty()


def test_ids_depend_on_content_only() -> None:
    log = events(("e1", 0, "u", "10.0.0.1"), ("e2", 1, "u", "10.0.0.1"))
    sessions, session_events = in_session(s1=["e1", "e2"])
    known = incidents(incident("a", audit_ids=["e1", "e2"]))
    one = label_sessions(known, sessions, session_events, log)
    again = label_sessions(known, sessions, session_events.reverse(), log.reverse())
    assert one.equals(again)


def test_without_audit_ids_users_addresses_and_time_all_have_to_fit() -> None:
    log = events(
        ("early", -1, "u", "10.0.0.1"), ("first", 0, "u", "10.0.0.1"), ("last", 10, "u", "10.0.0.1"), ("late", 11, "u", "10.0.0.1"),
        ("other user", 5, "v", "10.0.0.1"), ("other address", 5, "u", "10.0.0.2"), ("failed", 5, None, "10.0.0.1"),
    )
    when = {"start": T0, "end": T0 + timedelta(seconds=10)}
    found = match_incidents(incidents(
        incident("both", users=["u"], source_ips=["10.0.0.1"], **when), incident("user", users=["u"], **when),
        incident("failed", users=[""], **when), incident("forwarded", users=["v"], source_ips=["192.0.2.9"], **when)), log)
    by_incident = {name: sorted(group["event_id"]) for (name,), group in found.group_by("incident_id")}
    assert by_incident == {
        "both": ["first", "last"], "user": ["first", "last", "other address"], "failed": ["failed"], "forwarded": ["other user"],
    }


def test_no_match_gives_an_empty_table() -> None:
    sessions, session_events = in_session(s1=["e1"])
    found = label_sessions(incidents(incident("a", audit_ids=["x"])), sessions, session_events, events(("e1", 0, "u", "10.0.0.1")))
    assert tables.check(found, "labels").is_empty()
    assert session_classes(found).is_empty()


def test_the_recorded_incident_file_is_read_whole() -> None:
    folder = Path(os.environ.get("AUDIT_LAB_RECORDINGS", Path(__file__).parents[3] / "shared" / "data"))
    path = folder / "dev" / "labels.jsonl"
    if not path.exists():
        pytest.skip("the recordings are not on this machine")
    frame = read_incidents(path)
    assert frame["malicious"].sum() == 30
    assert frame.height == 58
    assert frame.filter(~pl.col("malicious"))["reason"].null_count() == 0
