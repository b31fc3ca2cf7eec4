"""Detectors that fit a model of earlier peers: isolation forest, local density, nearest peers, new combinations."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outlier_frames import world
from sklearn.neighbors import LocalOutlierFactor

from audit_lab import tables
from audit_lab.errors import ProfileError
from audit_lab.profile import DEFAULT_OUTLIERS, SignalSettings
from audit_lab.profile_files import load_profile
from audit_lab.signals.circles import alike
from audit_lab.signals.density import local_density
from audit_lab.signals.growing import fits
from audit_lab.signals.isolation import isolate
from audit_lab.signals.outliers import OUTLIERS, find_outliers
from audit_lab.vocabulary import is_closed

ALL = SignalSettings(min_peers=5, neighbours=3, detectors=list(OUTLIERS))
LEARNT = ("new-combination", "isolation", "near-peers", "thin-place")


def only(name: str) -> SignalSettings:
    return ALL.model_copy(update={"detectors": [name]})


def clock(n: int) -> tuple[np.ndarray, np.ndarray]:
    start = np.arange(n, dtype=np.int64) * 10
    return start, start + 5


def test_a_model_is_fitted_on_sessions_that_had_ended_before_any_of_those_it_scores():
    draw = np.random.default_rng(3)
    start = np.sort(draw.integers(0, 5000, 200)).astype(np.int64)
    end = start + draw.integers(1, 400, 200)
    scored = []
    for asking, references in fits(alike(["a" if i % 3 else "b" for i in range(200)], start, end), 5):
        assert len(references) >= 5
        assert end[references].max() < start[asking].min()
        scored += asking.tolist()
    assert len(scored) == len(set(scored))


@settings(max_examples=30, deadline=None)
@given(st.integers(10, 120), st.integers(1, 80), st.integers(2, 12))
def test_what_comes_later_changes_no_model_that_scored_before(n, more, least):
    start, end = clock(n + more)
    def known(count: int) -> dict[int, list[int]]:
        made = fits(alike(["g"] * count, start[:count], end[:count]), least)
        return {int(session): references.tolist() for asking, references in made for session in asking}
    whole = known(n + more)
    assert {session: whole[session] for session in known(n)} == known(n)
    assert set(whole) == set(range(least, n + more))


def test_an_isolated_session_scores_highest_and_the_feature_that_isolates_it_weighs_most():
    draw = np.random.default_rng(1)
    features = draw.poisson(5, (60, 4)).astype(float)
    features[-1, 2] = 400
    start, end = clock(60)
    made = isolate(features, alike(["g"] * 60, start, end), 10, seed=7)
    assert np.isnan(made.score[:10]).all()
    assert np.nanargmax(made.score) == 59
    assert np.argmax(made.weight[59]) == 2
    assert made.middle[59, 2] < 10
    again = isolate(features, alike(["g"] * 60, start, end), 10, seed=7)
    assert np.array_equal(made.score, again.score, equal_nan=True)


def test_local_density_is_the_local_outlier_factor_of_scikit_learn():
    draw = np.random.default_rng(2)
    vectors = draw.normal(size=(80, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    start, end = clock(80)
    made = local_density(vectors, alike(["g"] * 80, start, end), 5, 10)
    assert np.isnan(made.factor[:10]).all()
    for asking, references in fits(alike(["g"] * 80, start, end), 10):
        peer = LocalOutlierFactor(5, metric="cosine", algorithm="brute", novelty=True).fit(vectors[references])
        assert made.factor[asking] == pytest.approx(-peer.score_samples(vectors[asking]), rel=1e-3)
        near = peer.kneighbors(vectors[asking], 1, return_distance=False)[:, 0]
        assert [made.nearest[session][0] for session in asking] == references[near].tolist()


def test_many_equal_texts_do_not_make_density_infinite():
    vectors = np.tile(np.array([1, 0], dtype=np.float32), (40, 1))
    vectors[-1] = [0, 1]
    start, end = clock(40)
    factor = local_density(vectors, alike(["g"] * 40, start, end), 3, 5).factor
    assert factor[20] == 1.0
    assert 100 < factor[39] < math.inf


def test_a_combination_is_new_only_where_each_part_was_known():
    listing, deleting = {"verb": "list", "resource": "secrets"}, {"verb": "delete", "resource": "pods"}
    habit = [{"user": f"u{i}", "deeds": [listing, deleting]} for i in range(8)]
    new = {"user": "u1", "deeds": [{"verb": "delete", "resource": "secrets"}]}
    unknown = {"user": "u1", "deeds": [{"verb": "delete", "resource": "nodes"}]}
    made = find_outliers(*(built := world(*habit, new, unknown)), only("new-combination"))
    ids = built[0]["session_id"].to_list()
    assert made["session_id"].to_list() == [ids[8]]
    assert made["reason"].item() == "not seen together before: delete secret"
    assert made["event_ids"].item().to_list() == ["e0008-000"]
    assert made["p_value"].item() == pytest.approx(1 / 9, abs=1e-6)


def test_a_client_known_elsewhere_at_a_source_known_otherwise_is_a_new_combination():
    visits = [{"client_family": "kubectl"}, {"client_family": "http_library", "source_class": "public", "source_ip": "203.0.113.1"}] * 4
    made = find_outliers(*(built := world(*visits, {"client_family": "http_library"})), only("new-combination"))
    row = made.filter(pl.col("session_id") == built[0]["session_id"][-1]).row(0, named=True)
    assert row["reason"] == "not seen together before: http_library private"


def test_reasons_name_features_and_what_the_nearest_normal_session_did():
    made = world(*[{}] * 30)
    ids = made[0]["session_id"].to_list()
    features = pl.DataFrame({"session_id": ids, "n_secrets": [i % 2 for i in range(29)] + [90], "n_events": [5 + i % 3 for i in range(30)]})
    vectors = np.tile(np.array([1, 0], dtype=np.float32), (30, 1))
    vectors[-1] = [0, 1]
    signals = find_outliers(*made, ALL, embeddings=vectors, features=features).filter(pl.col("session_id") == ids[-1])
    reasons = dict(signals.select("detector_id", "reason").iter_rows())
    assert reasons["isolation"].startswith("unlike its peers in: secrets read by name (more)")
    assert reasons["near-peers"] == "summary unlike its nearest peers; nearest did: read pod"
    assert reasons["thin-place"] == "more alone than its nearest peers are; nearest did: read pod"
    assert (signals["p_value"] <= 1 / 20).all(), signals


def rich() -> tuple:
    deeds = [[{}], [{"verb": "list", "resource": "secrets"}], [{"verb": "create", "subresource": "exec"}], [{"verb": "delete"}]]
    visits = [{"user": f"u{i % 4}", "deeds": deeds[i * i % 7 % 4], "source_ip": f"10.{i % 5}.0.1",
               "source_class": "named by the profile; ignore previous" if i == 39 else "private"} for i in range(60)]
    sessions, events, placed = world(*visits)
    draw = np.random.default_rng(0)
    features = pl.DataFrame({"session_id": sessions["session_id"], "n_events": draw.poisson(4, 60), "n_secrets": draw.poisson(1, 60)})
    vectors = draw.normal(size=(60, 4)).astype(np.float32)
    return (sessions, events, placed), vectors / np.linalg.norm(vectors, axis=1, keepdims=True), features


def test_every_detector_keeps_the_contract_and_the_closed_vocabulary():
    made, vectors, features = rich()
    signals = tables.check(find_outliers(*made, ALL, embeddings=vectors, features=features), "signals")
    assert {"isolation", "near-peers", "thin-place"} <= set(signals["detector_id"])
    assert [reason for reason in signals["reason"] if not is_closed(reason)] == []
    assert signals["p_value"].drop_nulls().is_between(0, 1, closed="right").all()


def test_every_detector_looks_at_earlier_time_only():
    (sessions, events, placed), vectors, features = rich()
    early = sessions.head(40)
    inside = placed.join(early, on="session_id", how="semi")
    before = find_outliers(early, events.join(inside, on="event_id", how="semi"), inside, ALL, vectors[:40], features.head(40))
    after = find_outliers(sessions, events, placed, ALL, vectors, features)
    assert after.filter(pl.col("session_id").is_in(early["session_id"].implode())).equals(before)


def test_only_the_detectors_that_the_profile_names_run_and_the_usual_five_are_the_default():
    made, vectors, features = rich()
    usual = find_outliers(*made, SignalSettings(min_peers=5, neighbours=3), vectors, features)
    assert set(usual["detector_id"]) <= set(DEFAULT_OUTLIERS)
    assert set(find_outliers(*made, only("isolation"), vectors, features)["detector_id"]) == {"isolation"}
    every = find_outliers(*made, ALL, vectors, features)
    assert every.filter(pl.col("detector_id").is_in(DEFAULT_OUTLIERS)).equals(usual)


def test_an_unknown_detector_in_a_profile_is_told(tmp_path):
    (tmp_path / "p.toml").write_text('[signals]\ndetectors = ["magic"]\n')
    with pytest.raises(ProfileError, match=r"signals\.detectors.*'new-access'.*'thin-place'"):
        load_profile(tmp_path / "p.toml")
