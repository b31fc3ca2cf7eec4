from datetime import timedelta

import polars as pl
import pytest
from session_frames import START, make_events

from audit_lab.hashing import short_id
from audit_lab.profile import SessionSettings
from audit_lab.sessions import split_sessions

MINUTE = SessionSettings(gap_s=60, max_length_s=600)


def groups(events: pl.DataFrame, settings: SessionSettings = MINUTE) -> list[list[str]]:
    found = split_sessions(events, settings)
    return sorted(sorted(part["event_id"].to_list()) for part in found.partition_by("session_id"))


def test_a_pause_ends_a_session_and_the_gap_itself_does_not():
    events = make_events({"at": 0}, {"at": 60}, {"at": 120.000001})
    assert groups(events) == [["e0000", "e0001"], ["e0002"]]


def test_source_impersonation_and_cluster_make_sessions_of_their_own():
    events = make_events(
        {}, {"source_ip": "10.0.0.2"}, {"source_ip": None}, {"impersonated_user": "bob"}, {"cluster": "c2"}, {"user": None}, {},
    )
    assert groups(events) == [["e0000", "e0006"], ["e0001"], ["e0002"], ["e0003"], ["e0004"], ["e0005"]]


def test_a_run_longer_than_the_cap_is_cut_on_the_clock():
    # START is a multiple of ten minutes: a run from 9:05 to 9:25 is cut at 9:10 and 9:20.
    events = make_events(*({"at": second} for second in range(300, 1501, 50)))
    found = split_sessions(events, MINUTE).join(events.select("event_id", "time"), on="event_id")
    starts = found.group_by("session_id").agg(pl.col("time").min()).sort("time")["time"].to_list()
    assert [start - START for start in starts] == [timedelta(seconds=300), timedelta(seconds=600), timedelta(seconds=1200)]


def test_a_run_as_long_as_the_cap_is_one_session():
    events = make_events(*({"at": 300 + second} for second in range(0, 601, 60)))
    assert len(groups(events)) == 1


def test_a_late_event_changes_only_sessions_near_it():
    on_time = make_events(*({"at": second, "event_id": f"n{second}"} for second in range(0, 7200, 30)))
    late = make_events({"at": -30, "event_id": "late"})
    before, after = split_sessions(on_time, MINUTE), split_sessions(pl.concat([on_time, late]), MINUTE)
    both = before.join(after, on="event_id", suffix="_after")
    assert both.filter(pl.col("session_id") != pl.col("session_id_after")).is_empty()
    assert after["session_id"].n_unique() == before["session_id"].n_unique() + 1


def test_windows_tumble_on_the_clock_and_obey_the_cap():
    windows = SessionSettings(mode="window", window_s=300, max_length_s=600)
    events = make_events({"at": 299}, {"at": 300}, {"at": 301}, {"at": 599.999999}, {"at": 600})
    assert groups(events, windows) == [["e0000"], ["e0001", "e0002", "e0003"], ["e0004"]]
    capped = SessionSettings(mode="window", window_s=300, max_length_s=100)
    assert len(groups(events, capped)) == 4


@pytest.mark.parametrize("source", ["10.0.0.1", None, "2001:db8::1"])
@pytest.mark.parametrize("n", [1, 6_000])  # few are hashed one by one, many in the database
def test_ids_are_the_hashes_that_the_contract_names(source, n):
    events = make_events(*({"event_id": f"é-{i}", "at": 100 * i, "source_ip": source} for i in range(n)))
    expected = [short_id("s", "c1", "ann", source, f"é-{i}") for i in range(n)]
    assert split_sessions(events, MINUTE)["session_id"].to_list() == expected


def test_of_events_at_the_same_time_the_smaller_id_is_first():
    events = make_events({"event_id": "b", "at": 1}, {"event_id": "a", "at": 1})
    assert split_sessions(events, MINUTE)["session_id"].unique().to_list() == [short_id("s", "c1", "ann", "10.0.0.1", "a")]


def test_no_events_no_sessions():
    assert split_sessions(make_events({}).clear(), MINUTE).schema == {"event_id": pl.String, "session_id": pl.String}


def test_rows_keep_their_order():
    events = make_events({"at": 9}, {"at": 1, "user": "bob"}, {"at": 5}, {"at": 0, "user": "bob"})
    found = split_sessions(events, MINUTE)
    assert found["event_id"].to_list() == events["event_id"].to_list()
    assert found["session_id"][0] == found["session_id"][2]
    assert found["session_id"][1] == found["session_id"][3]


def test_archives_that_span_centuries_are_split_too():
    century = 36_525 * 86_400
    events = make_events(*({"user": f"u{i}", "at": i % 7 * century} for i in range(-300, 300)), {"user": "u0", "at": 30})
    assert split_sessions(events, MINUTE)["session_id"].n_unique() == 600
