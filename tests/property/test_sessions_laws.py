"""Laws of sessions, against a slow and obvious reference."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_lab import tables
from audit_lab.hashing import short_id
from audit_lab.profile import Profile, SessionSettings
from audit_lab.sessions import build_sessions, split_sessions
from audit_lab.sessions.late import late_changes, rewrite_sessions

EPOCH = datetime(2026, 1, 5, tzinfo=UTC)
ROWS = st.lists(
    st.fixed_dictionaries({
        "cluster": st.sampled_from(["c1", "c2"]),
        "user": st.sampled_from(["ann", "bob", None]),
        "impersonated_user": st.sampled_from([None, None, "root"]),
        "source_ip": st.sampled_from(["10.0.0.1", "10.0.0.2", None]),
        "client_family": st.sampled_from(["kubectl", "helm"]),
        "verb": st.sampled_from(["get", "list", "delete", "create"]),
        "resource": st.sampled_from(["pods", "secrets", None]),
        "name": st.sampled_from([None, "x", "y"]),
        "status": st.sampled_from([200, 401, 403, 404, None]),
        "at_us": st.integers(0, 40_000_000) | st.sampled_from([0, 1_000_000, 10_000_000, 20_000_000]),
    }),
    min_size=1, max_size=40,
)
SETTINGS = st.builds(
    SessionSettings, mode=st.sampled_from(["gap", "window"]), gap_s=st.sampled_from([0.5, 1.0, 3.0, 20.0]),
    window_s=st.sampled_from([2.0, 7.0]), max_length_s=st.sampled_from([1.0, 5.0, 12.5, 100.0]),
)
DEFAULTS = {
    "archive_id": "a-1", "position": 0, "n_stages": 1, "actor_kind": "human", "source_class": "private", "api_group": "",
    "truncated": False, "has_body": False,
}


def make_events(rows: list[dict]) -> pl.DataFrame:
    full = []
    for number, row in enumerate(rows):
        values = {**DEFAULTS, **row, "event_id": f"e{number:03d}"}
        values["time"] = EPOCH + timedelta(microseconds=values.pop("at_us"))
        user, other = values["user"], values["impersonated_user"]
        values["actor"] = "" if user is None else f"{user} as {other}" if other else user
        full.append(values)
    schema = tables.TABLES["events"].schema
    return tables.conform(pl.DataFrame(full, schema={name: schema[name] for name in full[0]}), "events")


def seconds(later: datetime, earlier: datetime) -> float:
    return (later - earlier) / timedelta(seconds=1)


def reference(events: pl.DataFrame, wanted: SessionSettings) -> dict[str, str]:
    """One key at a time, one event at a time."""
    streams = defaultdict(list)
    for row in events.iter_rows(named=True):
        streams[row["cluster"], row["actor"], row["source_ip"]].append((row["time"], row["event_id"]))
    found = {}
    for key, stream in streams.items():
        stream.sort()
        runs = [[stream[0]]]
        for event in stream[1:]:
            if wanted.mode == "gap" and seconds(event[0], runs[-1][-1][0]) > wanted.gap_s:
                runs.append([])
            runs[-1].append(event)
        pieces = []
        for run in runs:
            if wanted.mode == "gap" and seconds(run[-1][0], run[0][0]) <= wanted.max_length_s:
                pieces.append(run)
                continue
            step = wanted.max_length_s if wanted.mode == "gap" else min(wanted.window_s, wanted.max_length_s)
            tiles = defaultdict(list)
            for event in run:
                tiles[event[0].timestamp() // step].append(event)
            pieces.extend(tiles.values())
        for piece in pieces:
            for _, event_id in piece:
                found[event_id] = short_id("s", *key, piece[0][1])
    return found


@settings(max_examples=80, deadline=None)
@given(ROWS, SETTINGS, st.randoms(use_true_random=False))
def test_sessions_are_what_the_reference_finds_in_any_order(rows, wanted, random):
    events = make_events(rows)
    found = split_sessions(events, wanted)
    assert dict(found.iter_rows()) == reference(events, wanted)
    order = list(range(events.height))
    random.shuffle(order)
    assert split_sessions(events[order], wanted).sort("event_id").equals(found.sort("event_id"))


@settings(max_examples=50, deadline=None)
@given(ROWS, SETTINGS)
def test_partition_gap_and_cap(rows, wanted):
    events = make_events(rows)
    found = split_sessions(events, wanted)
    assert sorted(found["event_id"]) == sorted(events["event_id"])
    for part in events.join(found, on="event_id").sort("time").partition_by("session_id"):
        assert part.select("cluster", "actor", "source_ip").n_unique() == 1
        times = part["time"].to_list()
        assert seconds(times[-1], times[0]) <= wanted.max_length_s
        if wanted.mode == "gap":
            assert all(seconds(after, before) <= wanted.gap_s for before, after in pairwise(times))


@settings(max_examples=40, deadline=None)
@given(ROWS, SETTINGS, st.randoms(use_true_random=False))
def test_the_session_table_is_what_the_reference_finds_in_any_order(rows, wanted, random):
    profile = Profile(sessions=wanted)
    events = make_events(rows)
    made = build_sessions(events, profile)
    by_session = dict(made.session_events.iter_rows())
    every = sorted(events.iter_rows(named=True), key=lambda row: (row["time"], row["event_id"]))
    for session in made.sessions.iter_rows(named=True):
        own = [row for row in every if by_session[row["event_id"]] == session["session_id"]]
        past = [row for row in every if row["time"] < session["start"]
                and (row["cluster"], row["user"]) == (session["cluster"], session["user"])]
        sources, clients = {row["source_ip"] for row in past}, {row["client_family"] for row in past}
        named = session["user"] is not None and bool(past)
        assert session["n_events"] == len(own)
        assert (session["start"], session["end"]) == (own[0]["time"], own[-1]["time"])
        assert session["n_denied"] == sum(row["status"] == 403 for row in own)
        assert session["n_errors"] == sum(row["status"] == 404 for row in own)
        assert session["is_new_source"] == (named and session["source_ip"] not in sources)
        assert session["is_new_client"] == (named and bool({row["client_family"] for row in own} - clients))
        assert session["client_families"] == list(dict.fromkeys(row["client_family"] for row in own))
        assert session["n_new_actions"] == len({action_of(row) for row in own} - {action_of(row) for row in past})
        assert len(session["actions"]) == len({action_of(row) for row in own})
    order = list(range(events.height))
    random.shuffle(order)
    again = build_sessions(events[order], profile)
    assert again.sessions.equals(made.sessions)
    assert again.session_events.equals(made.session_events)


def action_of(row: dict) -> tuple:
    """What makes two of these rows different actions; the words themselves are tested elsewhere."""
    many = row["verb"] == "list" and row["name"] is None
    if row["resource"] is None:
        return ("call", bool(row["impersonated_user"]))
    return (row["verb"], row["resource"], many, bool(row["impersonated_user"]))


@settings(max_examples=30, deadline=None)
@given(ROWS, SETTINGS, st.data())
def test_late_events_rewrite_only_what_they_touch(rows, wanted, data):
    events = make_events(rows)
    late_rows = data.draw(st.sets(st.integers(0, events.height - 1), min_size=1, max_size=3))
    late = events[sorted(late_rows)]
    on_time = events.filter(~pl.col("event_id").is_in(late["event_id"].implode()))
    profile = Profile(sessions=wanted)
    before, after = build_sessions(on_time, profile), build_sessions(events, profile)
    changes = late_changes(before.sessions, late, wanted)
    change = dict(changes.iter_rows())
    # Only what is near a late event may change its id or its events …
    held_before, held_after = members(before.session_events), members(after.session_events)
    for session, held in held_before.items():
        if change.get(session) != "rewrite":
            assert held_after.get(session) == held
    # … and what is not called stale either has not changed at all.
    untouched = before.sessions.filter(~pl.col("session_id").is_in(list(change)))
    assert after.sessions.filter(pl.col("session_id").is_in(untouched["session_id"].implode())).equals(untouched)
    rewritten = rewrite_sessions(before.session_events, on_time, late, changes, wanted)
    assert members(rewritten) == held_after


def members(session_events: pl.DataFrame) -> dict[str, list[str]]:
    return {name: sorted(part["event_id"]) for (name,), part in session_events.partition_by("session_id", as_dict=True).items()}
