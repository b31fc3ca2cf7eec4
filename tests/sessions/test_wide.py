from datetime import timedelta

import polars as pl
import pytest
from session_frames import START, make_events

from audit_lab.profile_files import load_profile
from audit_lab.sessions import FEATURES, build_sessions, session_features
from audit_lab.sessions.habits import clock_distance, company, network

SAMPLE = load_profile("sample", {})


def wide(*rows: dict, **more: bool) -> pl.DataFrame:
    events = make_events(*rows)
    made = build_sessions(events, SAMPLE)
    found = session_features(events, made.session_events, made.sessions, **more)
    return found.join(made.sessions.select("session_id", "user", "start"), on="session_id")


def habit(user: str, n: int, **row: object) -> list[dict]:
    return [{"user": user, "at": 1000.0 * i + sum(map(ord, user)) % 7, "verb": "get", "name": "p", **row} for i in range(n)]


def test_every_feature_is_documented_and_a_number():
    found = wide({"verb": "list"}).drop("user", "start")
    assert found.columns == ["session_id", *FEATURES]
    assert set(found.drop("session_id").dtypes) == {pl.Float64}
    assert all(FEATURES.values())


def test_no_events_no_rows():
    events = make_events({}).clear()
    made = build_sessions(events, SAMPLE)
    assert session_features(events, made.session_events, made.sessions).height == 0


def test_a_known_user_from_a_new_place_doing_sensitive_reads_stands_out():
    theft = {"source_ip": "203.0.113.7", "source_class": "public", "client_family": "http_library", "user_agent": "curl/8.0"}
    rows = [*habit("ann", 12), *habit("bob", 12), {"user": "ann", "at": 20_000, "verb": "list", "resource": "secrets", **theft}]
    found = wide(*rows).sort("start")
    last, usual = found.row(-1, named=True), found.row(-2, named=True)
    for feature in ("weighted_bits_max", "source_bits", "network_bits", "source_class_bits", "client_bits", "source_class_peer_bits"):
        assert last[feature] > usual[feature] + 2, feature
    assert (last["weight_new_to_peers"], last["n_new_to_peers"], last["share_new"]) == (5, 1, 1)


def test_the_worst_step_is_named_where_steps_are_known():
    usual = [row for i in range(120) for row in ({"user": f"u{i}", "at": 1000.0 * i, "verb": "get", "name": "p"},)]
    found = wide(*usual, {"user": "ann", "at": 200_000, "verb": "get", "name": "p"}, {"user": "ann", "at": 200_001, "verb": "delete", "name": "p"},
                 with_step=True)
    assert found.filter(pl.col("user") == "ann")["worst_step"].to_list() == ["read pod then delete pod"]
    assert found.sort("start")["worst_step"][0] is None
    assert found.filter(pl.col("step_bits_max").is_null() != pl.col("worst_step").is_null()).is_empty()


def test_a_newcomer_among_known_peers_is_compared_with_them():
    rows = [*habit("ann", 8), {"user": "new", "at": 9_000, "verb": "get", "name": "p"}, {"user": "odd", "at": 9_500, "verb": "delete", "name": "p"}]
    found = wide(*rows)
    usual, odd = (found.filter(pl.col("user") == user).row(0, named=True) for user in ("new", "odd"))
    assert usual["action_bits_max"] < 0.2
    assert odd["action_bits_max"] > 2
    assert usual["user_past_s"] is None


def test_two_places_at_once_and_shared_addresses_are_counted():
    found = wide(
        {"user": "ann", "at": 0}, {"user": "ann", "at": 50}, {"user": "ann", "at": 10, "source_ip": "10.9.9.9"},
        {"user": "bob", "at": 500}, {"user": "cy", "at": 600},
    ).sort("start")
    assert found["n_concurrent_sources"].to_list() == [1, 1, 0, 0]
    assert found["source_other_users"].to_list() == [0, 0, 1, 2]


def test_company_by_brute_force():
    rows = [{"user": f"u{i % 3}", "source_ip": f"10.0.0.{i % 4}", "at": 37 * i % 500} for i in range(60)]
    made = build_sessions(make_events(*rows), load_profile("sample", {"AUDIT_LAB_SESSIONS__GAP_S": "40"})).sessions
    found = {row["session_id"]: row for row in company(made).iter_rows(named=True)}
    every = list(made.iter_rows(named=True))
    for mine in every:
        others = [s for s in every if s["user"] == mine["user"] and s["source_ip"] != mine["source_ip"]]
        overlap = [s for s in others if s["start"] <= mine["end"] and s["end"] >= mine["start"]]
        company_users = {s["user"] for s in every if s["source_ip"] == mine["source_ip"] and s["start"] < mine["start"]} - {mine["user"]}
        assert found[mine["session_id"]]["n_concurrent_sources"] == len(overlap)
        assert found[mine["session_id"]]["source_other_users"] == len(company_users)


def test_the_clock_is_compared_with_habit_only_when_there_is_one():
    starts = [START + timedelta(days=day, minutes=day) for day in range(12)] + [START + timedelta(days=12, hours=12)]
    made = pl.DataFrame({"session_id": [f"s{i}" for i in range(13)], "cluster": "c", "user": "ann", "start": starts})
    found = clock_distance(made)["clock_distance"].to_list()
    assert found[:10] == [None] * 10
    assert found[11] == pytest.approx(0, abs=0.01)
    assert found[12] == pytest.approx(1, abs=0.02)


def test_features_of_the_past_do_not_change_with_the_future():
    rows = [*habit("ann", 8), *habit("bob", 8)]
    later = {"user": "ann", "at": 90_000, "verb": "delete", "name": "q", "event_id": "zz"}
    before, after = wide(*rows), wide(*rows, later)
    assert after.filter(pl.col("session_id").is_in(before["session_id"].implode())).equals(before)


def test_networks():
    assert pl.DataFrame({"a": ["10.1.2.3", "2001:db8:1:2::9", None]}).select(network(pl.col("a")))["a"].to_list() == [
        "10.1.2", "2001:db8:1:2:", None]
