import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outlier_frames import world

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.profile import SignalSettings
from audit_lab.signals.circles import alike, circle_names, peer_groups
from audit_lab.signals.distances import nearest_distance, on_grid
from audit_lab.signals.neighbours import nearest_sessions
from audit_lab.signals.novelty import session_tokens, surprises, whose_past
from audit_lab.signals.outliers import find_outliers
from audit_lab.signals.peers import conformal_p_values, references_needed, resolution, resolution_note, tail_surprise
from audit_lab.vocabulary import is_closed

SETTINGS = SignalSettings(min_peers=5, neighbours=3)
EXEC = {"verb": "create", "subresource": "exec", "command_classes": ["shell"]}
SECRETS = {"verb": "list", "resource": "secrets"}


def found(made, **more) -> pl.DataFrame:
    return find_outliers(*made, SETTINGS, **more)


def strength(signals: pl.DataFrame, session_id: str, detector: str) -> float:
    rows = signals.filter((pl.col("session_id") == session_id) & (pl.col("detector_id") == detector))
    return rows["strength"].item() if rows.height else 0.0


def last(made) -> str:
    return made[0]["session_id"][-1]


def test_a_known_identity_from_a_new_place_stands_out_and_its_habit_does_not():
    made = world(*[{}] * 12, {"source_ip": "203.0.113.9", "source_class": "public", "client_family": "http_library"})
    signals = found(made)
    assert strength(signals, last(made), "new-access") > 0.8
    assert signals.filter(pl.col("session_id") != last(made))["strength"].max() in (None, 0.0)
    row = signals.filter(pl.col("detector_id") == "new-access").row(0, named=True)
    assert row["reason"] == "known from 12 earlier sessions, now unusual source (public) and unusual client (http_library)"
    assert row["event_ids"] == ["e0012-000"]


def test_another_address_of_the_same_network_is_nothing_new():
    made = world(*[{"source_ip": f"10.0.0.{i}"} for i in range(12)])
    assert found(made).is_empty()


def test_a_grave_deed_that_is_new_weighs_more_than_a_harmless_one():
    grave = world(*[{}] * 12, {"deeds": [EXEC]})
    mild = world(*[{}] * 12, {"deeds": [{"verb": "create", "resource": "selfsubjectaccessreviews", "api_group": "authorization.k8s.io"}]})
    assert strength(found(grave), last(grave), "new-deed") > 2 * strength(found(mild), last(mild), "new-deed") > 0


def test_a_deed_is_less_surprising_where_peers_do_it_and_least_where_oneself_did():
    alone = world(*[{}] * 12, {"deeds": [SECRETS]})
    peers = world(*[{"user": f"u{i}", "deeds": [SECRETS]} for i in range(6)], *[{}] * 6, {"deeds": [SECRETS]})
    habit = world(*[{"deeds": [SECRETS]}] * 12, {"deeds": [SECRETS]})
    values = [strength(found(made), last(made), "new-deed") for made in (alone, peers, habit)]
    assert values[0] > values[1] > values[2] == 0.0


def test_a_refused_deed_is_another_deed_and_said_so():
    made = world(*[{"deeds": [SECRETS]}] * 12, {"deeds": [{**SECRETS, "status": 403, "decision": "forbid"}]})
    row = found(made).filter((pl.col("session_id") == last(made)) & (pl.col("detector_id") == "new-deed")).row(0, named=True)
    assert "tried in vain to list secrets" in row["reason"]


def test_nothing_is_surprising_where_nothing_is_known():
    made = world({"user": "first", "source_class": "public", "deeds": [EXEC, SECRETS]})
    assert found(made).is_empty()


def test_newcomers_count_only_where_they_are_rare():
    crowd = world(*[{"user": f"u{i}"} for i in range(20)])
    assert found(crowd).filter(pl.col("detector_id") == "new-access").is_empty()
    settled = world(*[{}] * 30, {"user": "stranger"})
    row = found(settled).filter(pl.col("session_id") == last(settled)).row(0, named=True)
    assert row["reason"] == "identity never seen before, while newcomers are rare among its peers"


def test_a_stolen_token_is_compared_with_its_owners_session_that_still_runs():
    owner = {"user": "system:serviceaccount:shop:app", "actor_kind": "service_account", "client_family": "http_library"}
    made = world(*[{"at": i, **owner} for i in range(8)], {"at": 100, "minutes": 60, "deeds": [{}, SECRETS], **owner},
                 {"at": 130, **owner, "source_ip": "198.51.100.7", "source_class": "public"})
    assert strength(found(made), last(made), "new-access") > 0.7


def test_clusters_do_not_explain_each_other():
    made = world(*[{"deeds": [SECRETS]}] * 12, *[{"cluster": "c2"}] * 12, {"cluster": "c2", "deeds": [SECRETS]})
    assert strength(found(made), last(made), "new-deed") > 0.5


def test_what_follows_does_not_change_what_was_found_before():
    visits = [{"user": f"u{i % 3}", "deeds": [[{}], [SECRETS], [EXEC]][i % 7 % 3], "source_ip": f"10.0.{i % 4}.1"} for i in range(40)]
    early, late = world(*visits[:25]), world(*visits)
    kept = found(late).filter(pl.col("session_id").is_in(early[0]["session_id"].implode()))
    assert kept.equals(found(early))


def test_the_order_of_rows_does_not_matter():
    visits = [{"user": f"u{i % 3}", "deeds": [[{}], [SECRETS], [EXEC]][i % 7 % 3], "source_ip": f"10.0.{i % 4}.1"} for i in range(30)]
    sessions, events, placed = made = world(*visits)
    vectors = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    order = np.random.default_rng(2).permutation(30)
    mixed = find_outliers(
        sessions[order], events.sample(fraction=1, shuffle=True, seed=3), placed.reverse(), SETTINGS, embeddings=vectors[order])
    assert mixed.equals(found(made, embeddings=vectors))


def test_features_in_the_tail_of_peers_are_named():
    made = world(*[{}] * 30)
    features = pl.DataFrame({"session_id": made[0]["session_id"], "n_secrets": [i % 2 for i in range(29)] + [50], "n_events": [5] * 30})
    row = found(made, features=features).filter(pl.col("detector_id") == "odd-numbers").sort("strength").row(-1, named=True)
    assert (row["session_id"], row["reason"]) == (last(made), "more than its peers: secrets read by name")
    assert 0 < row["p_value"] <= 1 / 24


def test_a_summary_far_from_its_peers_is_found_and_its_p_value_has_a_resolution():
    made = world(*[{}] * 20)
    vectors = np.tile(np.array([1, 0], dtype=np.float32), (20, 1))
    vectors[-1] = [0, 1]
    signals = found(made, embeddings=vectors).filter(pl.col("detector_id") == "far-summary")
    assert signals["session_id"].to_list() == [last(made)]
    # The first session has no past to be compared with: eighteen references are left.
    assert signals["p_value"].item() == pytest.approx(1 / 19, abs=1e-6)
    assert signals["reason"].item() == "summary unlike its own past; nearest did: read pod"


def test_who_has_no_past_is_compared_with_peers():
    made = world(*[{"user": f"u{i}"} for i in range(20)])
    vectors = np.tile(np.array([1, 0], dtype=np.float32), (20, 1))
    vectors[-1] = [0, 1]
    signals = found(made, embeddings=vectors).filter(pl.col("detector_id") == "far-summary")
    assert signals["reason"].to_list() == ["summary unlike its peers; nearest did: read pod"]


def test_a_step_that_peers_never_made_is_found():
    made = world(*[{}] * 20)
    features = pl.DataFrame({"session_id": made[0]["session_id"], "step_bits_max": [1.0 + i % 3 for i in range(19)] + [9.0]})
    signals = found(made, features=features).filter(pl.col("detector_id") == "odd-sequence").sort("strength")
    assert signals["session_id"][-1] == last(made)
    named = features.with_columns(worst_step=pl.lit("read pod then exec pod running shell"))
    said = found(made, features=named).filter(pl.col("detector_id") == "odd-sequence")["reason"][-1]
    assert said == "sequence of actions unlike its peers: read pod then exec pod running shell"
    assert is_closed(said)


def test_too_few_peers_give_no_p_value_rather_than_a_guess():
    made = world(*[{}] * 3, {"source_class": "public", "source_ip": "203.0.113.9"})
    assert found(made)["p_value"].to_list() == [None]


def test_reasons_are_closed_and_tables_keep_the_contract():
    made = world(*[{"user": f"u{i % 4}", "deeds": [[{}], [SECRETS, EXEC]][i % 5 == 0], "source_ip": f"10.{i}.0.1",
                    "source_class": "named by the profile; ignore previous" if i == 39 else "private"} for i in range(40)])
    signals = tables.check(found(made, embeddings=np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)), "signals")
    assert not signals.is_empty()
    assert [reason for reason in signals["reason"] if not is_closed(reason)] == []
    assert signals["event_ids"].list.len().min() >= 1


def test_input_that_does_not_fit_is_refused_in_one_line():
    made = world(*[{}] * 3)
    with pytest.raises(InputError, match="2 embeddings for 3 sessions"):
        found(made, embeddings=np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(InputError, match="features need the column 'session_id'"):
        found(made, features=pl.DataFrame({"session_id": ["x"], "unknown": [1]}))


def test_no_sessions_no_signals():
    assert find_outliers(tables.empty("sessions"), tables.empty("events"), tables.empty("session_events"), SETTINGS).is_empty()


def test_a_kind_is_compared_with_its_family_until_enough_of_it_had_ended():
    kinds = ["human"] * 4 + ["node", "controller", "node", "node"]
    start = np.arange(8, dtype=np.int64) * 10
    made = circle_names(peer_groups(kinds, ["c"] * 8, start, start + 5, 2))
    assert made == ["c/people"] * 2 + ["c/human"] * 2 + ["c/platform"] * 3 + ["c/node"]
    # Sessions that still run are no past yet.
    running = np.where(np.arange(8) == 1, 10**6, start + 5)
    assert circle_names(peer_groups(kinds, ["c"] * 8, start, running, 2))[:4] == ["c/people"] * 3 + ["c/human"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=60), st.integers(1, 10))
def test_p_values_are_what_they_say(scores, least):
    values = np.array(scores)
    start = np.arange(len(values), dtype=np.int64) * 10
    made = conformal_p_values(values, alike(["g"] * len(values), start, start + 5), least)
    for index, p_value in enumerate(made.p_value):
        if index < least:
            assert math.isnan(p_value)
            continue
        assert p_value == pytest.approx((1 + sum(values[:index] >= values[index])) / (1 + index))
        assert p_value >= 1 / (made.n[index] + 1) - 1e-12


def test_p_values_of_exchangeable_scores_are_valid():
    draw = np.random.default_rng(4)
    start = np.arange(3000, dtype=np.int64)
    p_value = conformal_p_values(draw.normal(size=3000), alike(["g"] * 3000, start, start), 20).p_value
    for level in (0.05, 0.1, 0.3):
        assert np.nanmean(p_value <= level) <= level + 0.02


def test_neighbours_are_the_nearest_of_earlier_time_only():
    angle = np.array([0, 0.1, 0.2, 3.0, 0.1, 3.0])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    start = np.arange(6, dtype=np.int64) * 10
    made = nearest_distance(vectors, alike(["g"] * 6, start, start + 5), 2)
    assert np.isnan(made.distance[:2]).all()
    assert made.distance[2] == pytest.approx(1 - (np.cos(0.1) + np.cos(0.2)) / 2, abs=1e-5)
    assert made.nearest[4] == [1, 2] or made.nearest[4] == [1, 0]
    running = nearest_distance(vectors, alike(["g"] * 6, start, start + 1000), 2)
    assert np.isnan(running.distance).all()


def test_blocks_and_limits_change_nothing_but_memory(monkeypatch):
    draw = np.random.default_rng(5)
    vectors = draw.normal(size=(300, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    start = np.sort(draw.integers(0, 5000, 300)).astype(np.int64)
    end = start + draw.integers(0, 300, 300)
    groups = alike([str(i % 2) for i in range(300)], start, end)
    whole = nearest_distance(vectors, groups, 4)
    some = draw.random(300) < 0.2
    part = nearest_distance(vectors, groups, 4, some)
    assert np.array_equal(part.distance, np.where(some, whole.distance, np.nan), equal_nan=True)
    assert part.nearest == [near if asked else [] for near, asked in zip(whole.nearest, some, strict=True)]
    monkeypatch.setattr("audit_lab.signals.distances._BLOCK", 7)
    assert np.array_equal(whole.distance, nearest_distance(vectors, groups, 4).distance, equal_nan=True)


@pytest.mark.parametrize("k", [1, 4])
def test_a_distance_does_not_depend_on_who_else_asks_not_even_in_its_last_digit(k):
    draw = np.random.default_rng(9)
    vectors = draw.normal(size=(600, 384)).astype(np.float32) + 3 * draw.normal(size=384).astype(np.float32)
    vectors[draw.integers(0, 600, 200)] = vectors[0]  # equal ones, so that somebody must be chosen among them
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    start = np.arange(600, dtype=np.int64)
    whole = nearest_distance(vectors, alike(["g"] * 600, start, start), k)
    for upto in (37, 300, 511):
        part = nearest_distance(vectors[:upto], alike(["g"] * upto, start[:upto], start[:upto]), k)
        assert np.array_equal(part.distance, whole.distance[:upto], equal_nan=True)
        assert part.nearest == whole.nearest[:upto]
        rows, columns = on_grid(vectors[:upto]), on_grid(vectors)
        assert np.array_equal(rows @ columns.T, (columns @ columns.T)[:upto])


@pytest.mark.parametrize("k", [1, 4])
def test_only_the_latest_references_count_whatever_the_order_of_the_sessions(monkeypatch, k):
    monkeypatch.setattr("audit_lab.signals.distances.MAX_REFERENCES", 9)
    monkeypatch.setattr("audit_lab.signals.distances._BLOCK", 16)
    draw = np.random.default_rng(6)
    vectors = draw.normal(size=(120, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    start = draw.integers(0, 5000, 120).astype(np.int64)
    end = start + draw.integers(0, 300, 120)
    made = nearest_distance(vectors, alike(["g"] * 120, start, end), k).distance
    for session in range(120):
        past = sorted((end[other], other) for other in range(120) if end[other] < start[session])[-9:]
        near = sorted(1 - float(vectors[session] @ vectors[other]) for _, other in past)[:k]
        assert made[session] == pytest.approx(np.mean(near), abs=2e-5) if len(past) >= k else np.isnan(made[session])


def test_tails_are_shares_of_earlier_peers():
    values = np.array([[1.0], [2.0], [3.0], [2.0], [np.nan]])
    start = np.arange(5, dtype=np.int64)
    bits = tail_surprise(values, alike(["g"] * 5, start, start), 2)
    assert np.isnan(bits[[0, 1, 4], 0]).all()
    assert bits[2, 0] == pytest.approx(math.log2(3))
    assert bits[3, 0] == pytest.approx(-math.log2(3 / 4))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["10.0.0.1", "10.0.1.1", "2001:db8::1"])), min_size=1, max_size=25))
def test_surprise_is_never_negative_and_zero_for_the_first(visits):
    sessions, events, placed = world(*({"user": user, "source_ip": address} for user, address in visits))
    circles = sessions.select("session_id", "start", world="cluster", identity="user", peers="actor_kind")
    tokens = session_tokens(events, placed)
    seen = surprises(tokens, circles)
    assert seen.height == tokens.height
    assert seen["bits"].min() >= 0
    assert seen.filter(pl.col("session_id") == sessions["session_id"][0])["bits"].max() == 0


def test_resolution_says_how_many_references_would_do():
    sessions = world(*[{}] * 30, *[{"user": "system:node:n1", "actor_kind": "node"}] * 6)[0]
    made = resolution(sessions, SignalSettings(min_peers=10, budget_cases=12))
    assert made.select("peers", "n_sessions", "n_references", "n_needed", "is_enough").rows() == [
        ("c1/human", 30, 29, 29, True), ("c1/platform", 6, 5, 29, False)]
    assert made["finest_p"].to_list() == [pytest.approx(1 / 30), None]
    note = resolution_note(sessions, SignalSettings(min_peers=10, budget_cases=12))
    assert note is not None and "c1/platform has 5 of 29" in note and "human" not in note
    assert resolution_note(sessions[:30], SignalSettings(min_peers=10, budget_cases=12)) is None


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 1000), st.sampled_from([0.05, 0.1, 0.2]))
def test_needed_references_are_just_enough(n_sessions, n_findings, false_share):
    n = references_needed(n_sessions, n_findings, false_share)
    level = false_share * n_findings / n_sessions
    assert 1 / (n + 1) <= level + 1e-12 or n == 1
    assert n == 1 or 1 / n > level - 1e-12


def test_the_nearest_sessions_say_what_it_resembles():
    sessions = world(*[{"user": f"u{i % 2}"} for i in range(6)])[0]
    ids = sessions["session_id"].to_list()
    angle = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 0.6])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    labels = tables.conform(pl.DataFrame([
        {"label_id": f"l{i}", "target_kind": "session", "target_id": ids[i], "session_id": ids[i], "verdict": verdict, "author": "me", "event_ids": []}
        for i, verdict in ((1, "benign"), (1, "malicious"), (4, "benign"))
    ], schema_overrides={"event_ids": tables.TEXTS}), "labels")
    made = nearest_sessions(ids[5], sessions, vectors, labels, k=2)
    assert made.select("sort", "session_id", "verdict", "is_same_user").rows() == [
        ("earlier", ids[2], None, False), ("earlier", ids[0], None, False),
        ("labelled", ids[1], "malicious", True), ("labelled", ids[4], "benign", False)]
    assert made["distance"][0] == pytest.approx(1 - np.cos(0.4), abs=1e-4)
    assert nearest_sessions(ids[5], sessions, vectors, k=2)["session_id"].to_list() == [ids[1], ids[2]]
    with pytest.raises(InputError, match="no session 's-unknown'"):
        nearest_sessions("s-unknown", sessions, vectors)
    with pytest.raises(InputError, match="1 embeddings for 6 sessions"):
        nearest_sessions(ids[0], sessions, vectors[:1])


def test_who_shows_no_credential_is_nobody_and_told_apart_by_network():
    stranger = {"user": None, "actor_kind": "unauthenticated", "client_family": "http_library"}
    made = world(*[{**stranger, "source_ip": f"10.0.{i}.1"} for i in range(12)], {**stranger, "source_ip": "10.0.3.9"})
    past = whose_past(made[0])
    assert past["identity"].n_unique() == 12
    assert past["identity"][-1] == past["identity"][3] == "?unauthenticated@10.0.3"
    # Strangers come from everywhere: none of them leaves a habit by coming from another network than the last.
    assert found(made).filter(pl.col("detector_id") == "new-access")["strength"].max() in (None, pytest.approx(0.0, abs=0.2))
    outside = world(*[{**stranger, "source_ip": f"10.0.{i}.1"} for i in range(12)], {**stranger, "source_ip": "203.0.113.9", "source_class": "public"})
    row = found(outside).filter(pl.col("session_id") == last(outside)).row(0, named=True)
    assert row["reason"] == "identity never seen before, from a source unusual among its peers (public)"


def test_anonymous_is_no_identity_either():
    sessions = world({"user": "system:anonymous", "actor_kind": "anonymous", "source_ip": "2001:db8:1:2:3::1"}, {"user": "ann"})[0]
    assert whose_past(sessions)["identity"].to_list() == ["?anonymous@2001:db8:1:2:", "ann"]
