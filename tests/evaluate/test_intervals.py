"""Intervals against statsmodels, against a slow loop, and against what they promise."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from statsmodels.stats.proportion import proportion_confint

from audit_lab.evaluate.intervals import bootstrap_actors, exact, wilson
from audit_lab.evaluate.ranking import average_precision, average_precision_rate


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_and_exact_equal_statsmodels(counts: tuple[int, int], confidence: float) -> None:
    for ours, method in ((wilson, "wilson"), (exact, "beta")):
        rate = ours(*counts, confidence)
        assert (rate.low, rate.high) == pytest.approx(proportion_confint(*counts, alpha=1 - confidence, method=method), abs=1e-9)
        assert 0 <= rate.low <= rate.value <= rate.high <= 1


def test_no_trials_is_null_with_a_reason() -> None:
    assert wilson(0, 0, unit="malicious incidents").as_dict() == {
        "value": None, "low": None, "high": None, "n": 0, "reason": "no malicious incidents"}


def test_bootstrap_equals_a_loop_over_drawn_actors() -> None:
    generator = np.random.default_rng(1)
    actors = generator.integers(0, 12, 80)
    hits, among, scores = generator.random(80) < 0.3, generator.random(80) < 0.8, generator.integers(0, 9, 80) / 8
    draw = bootstrap_actors(actors, resamples=150, seed=3)
    shares, precisions = [], []
    for weights in draw.weights:
        picked = np.repeat(np.arange(80), weights[draw.codes].astype(int))
        shares.append((hits & among)[picked].sum() / among[picked].sum())
        precisions.append(average_precision_score(hits[picked], scores[picked]))
    rate = draw.rate(hits, among)
    assert (rate.low, rate.high) == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])), abs=1e-6)
    area = average_precision_rate(hits, scores, draw)
    assert (area.low, area.high) == pytest.approx(tuple(np.quantile(precisions, [0.025, 0.975])), abs=1e-6)
    assert area.value == pytest.approx(average_precision_score(hits, scores))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans(), st.integers(0, 4)), min_size=1, max_size=40))
def test_an_interval_holds_its_value_and_says_why_when_it_is_missing(rows: list[tuple[int, bool, bool, int]]) -> None:
    actors, hits, among, scores = (np.array(column) for column in zip(*rows, strict=True))
    draw = bootstrap_actors(actors, resamples=100)
    for rate in (draw.rate(hits, among), average_precision_rate(hits, scores / 4, draw)):
        if rate.low is None:
            assert rate.reason
        else:
            assert 0 <= rate.low <= rate.value <= rate.high <= 1


def test_one_actor_gives_no_interval() -> None:
    draw = bootstrap_actors(np.array(["a", "a", "b"]))
    rate = draw.rate(np.array([True, False, False]), np.array([True, True, False]))
    assert (rate.value, rate.low, rate.high, rate.n) == (0.5, None, None, 2)
    assert "one actor" in rate.reason


def test_no_hit_at_all_is_not_certainty() -> None:
    actors = np.repeat(np.arange(10), 50)
    rate = bootstrap_actors(actors).rate(np.zeros(500, dtype=bool), np.ones(500, dtype=bool))
    assert (rate.low, rate.high) == (0.0, pytest.approx(exact(0, 10).high))


def test_resampling_actors_covers_where_resampling_sessions_does_not() -> None:
    """Forty actors with twenty like-minded sessions each: the promise is 95 %, and only actors keep it."""
    generator = np.random.default_rng(5)
    truth, n_actors, size, rounds = 0.3, 40, 20, 200
    covered = {"actors": 0, "sessions": 0}
    for _ in range(rounds):
        rates = generator.beta(truth * 2, (1 - truth) * 2, n_actors)
        hits = generator.random(n_actors * size) < np.repeat(rates, size)
        for name, units in (("actors", np.repeat(np.arange(n_actors), size)), ("sessions", np.arange(hits.size))):
            rate = bootstrap_actors(units, resamples=200, seed=1).rate(hits, np.ones(hits.size, dtype=bool))
            covered[name] += rate.low <= truth <= rate.high
    assert covered["actors"] / rounds > 0.90
    assert covered["sessions"] / rounds < 0.60


def test_a_thousand_resamples_take_under_a_second() -> None:
    generator = np.random.default_rng(0)
    n = 20_000
    actors, hits, scores = generator.integers(0, 500, n), generator.random(n) < 0.02, generator.random(n)
    start = time.perf_counter()
    draw = bootstrap_actors(actors, resamples=1000)
    draw.rate(scores > 0.9, ~hits)
    average_precision_rate(hits, scores, draw)
    assert time.perf_counter() - start < 1.0


def test_same_seed_same_interval() -> None:
    actors = np.arange(30) % 7
    first, again, other = (bootstrap_actors(actors, 100, seed=seed).weights for seed in (1, 1, 2))
    assert (first == again).all()
    assert not (first == other).all()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=50))
def test_average_precision_equals_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    positive, scores = (np.array(column) for column in zip(*rows, strict=True))
    ours = average_precision(positive, scores)
    assert ours is None if not positive.any() else ours == pytest.approx(average_precision_score(positive, scores))
