import polars as pl
from session_frames import make_events

from audit_lab import tables
from audit_lab.profile_files import load_profile
from audit_lab.sessions import build_sessions

SAMPLE = load_profile("sample", {})


def sessions_of(*rows: dict) -> pl.DataFrame:
    return build_sessions(make_events(*rows), SAMPLE).sessions


def test_counts_follow_the_contract():
    row = sessions_of(
        {"verb": "list", "resource": "secrets"},
        {"resource": "secrets", "namespace": "shop", "name": "a"},
        {"resource": "secrets", "namespace": "shop", "name": "a"},
        {"resource": "secrets", "namespace": "pay", "name": "b", "status": 403, "decision": "forbid"},
        {"verb": "create", "subresource": "exec", "namespace": "shop", "name": "p", "status": 101},
        {"verb": "create", "api_group": "authorization.k8s.io", "resource": "selfsubjectaccessreviews", "status": 201},
        {"verb": "patch", "api_group": "rbac.authorization.k8s.io", "resource": "roles", "namespace": "shop", "name": "r", "status": 404},
        {"status": 401, "decision": None},
    ).row(0, named=True)
    assert {name: value for name, value in row.items() if name.startswith("n_")} == {
        "n_events": 8, "n_writes": 2, "n_denied": 1, "n_unauthenticated": 1, "n_errors": 1, "n_namespaces": 2, "n_resources": 5,
        "n_secrets": 1, "n_secret_lists": 1, "n_exec": 1, "n_rbac_writes": 1, "n_new_actions": 6,
    }
    assert (row["duration_s"], row["client_families"]) == (7.0, ["kubectl"])


def test_actions_stand_in_order_of_first_use():
    row = sessions_of({"verb": "list"}, {"verb": "get", "name": "p"}, {"verb": "list"}, {"verb": "delete", "name": "p"}).row(0, named=True)
    assert row["actions"] == ["list pods cluster-wide", "read pod", "delete pod"]


def test_novelty_looks_only_at_earlier_time_of_the_same_user():
    found = sessions_of(
        {"at": 0, "verb": "list"},
        {"at": 1, "user": "bob", "verb": "delete"},
        {"at": 500, "verb": "list", "source_ip": "10.0.0.9", "client_family": "helm"},
        {"at": 501, "verb": "delete", "source_ip": "10.0.0.9", "client_family": "helm"},
        {"at": 1000, "verb": "delete", "source_ip": "10.0.0.9"},
    ).filter(pl.col("user") == "ann").sort("start")
    assert found["n_new_actions"].to_list() == [1, 1, 0]
    assert found["is_new_source"].to_list() == [False, True, False]
    assert found["is_new_client"].to_list() == [False, True, False]


def test_sessions_that_overlap_do_not_make_each_other_known():
    found = sessions_of({"at": 0, "verb": "list"}, {"at": 1, "verb": "list", "source_ip": "10.0.0.2"}, {"at": 2, "verb": "list"})
    assert found["n_new_actions"].to_list() == [1, 0]  # the second began after the first had listed
    later = sessions_of(
        {"at": 0}, {"at": 1, "source_ip": "10.0.0.2"}, {"at": 2, "verb": "list"}, {"at": 3, "verb": "list", "source_ip": "10.0.0.2"},
    )
    assert later["n_new_actions"].to_list() == [2, 1]


def test_an_impersonated_identity_does_not_hide_whose_habit_it_is():
    found = sessions_of({"verb": "list"}, {"at": 300, "verb": "list", "impersonated_user": "root"}).sort("start")
    assert found["user"].to_list() == ["ann", "ann"]
    assert found["actions"].to_list() == [["list pods cluster-wide"], ["list pods cluster-wide as user"]]


def test_what_follows_does_not_change_what_was_found_before():
    first = make_events(*({"at": 10 * i, "verb": verb, "user": user} for i, (verb, user) in enumerate(
        [("get", "ann"), ("list", "bob"), ("delete", "ann"), ("watch", "cy")])))
    later = make_events(*({"at": 5000 + i, "event_id": f"z{i}", "verb": "delete", "user": user}
                          for i, user in enumerate(["ann", "bob", "cy"])))
    before = build_sessions(first, SAMPLE).sessions
    after = build_sessions(pl.concat([first, later]), SAMPLE).sessions
    assert after.filter(pl.col("session_id").is_in(before["session_id"].implode())).equals(before)


def test_tables_satisfy_the_contract_and_hold_every_event():
    events = make_events(*({"at": 7 * i, "user": f"u{i % 3}"} for i in range(50)))
    made = build_sessions(events, SAMPLE)
    tables.check(made.sessions, "sessions")
    tables.check(made.session_events, "session_events")
    assert sorted(made.session_events["event_id"]) == sorted(events["event_id"])
    assert set(made.session_events["session_id"]) == set(made.sessions["session_id"])
