"""Thresholds with a promise: the promise is kept, in exact arithmetic and in simulation, and refused when it cannot be."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audit_lab.errors import InputError
from audit_lab.evaluate.intervals import exact
from audit_lab.evaluate.neyman_pearson import (
    actor_maxima,
    calibrate,
    calibrate_budget,
    needed_units,
    order_statistic,
    promise_threshold,
)

T0 = datetime(2026, 11, 2, 9, tzinfo=UTC)


def scored(*rows: tuple[str, str, float], shown: bool = True) -> pl.DataFrame:
    return pl.DataFrame(
        [{"session_id": f"s{number}", "cluster": "c", "actor": actor, "start": T0 + timedelta(days=number), "class": kind, "scorer": "all",
          "score": score, "shown": shown} for number, (actor, kind, score) in enumerate(rows)],
        schema_overrides={"start": pl.Datetime("us", "UTC")})


def test_the_needed_numbers_of_the_field() -> None:
    assert needed_units(0.005, 0.95) == 598
    assert needed_units(0.05, 0.95) == 59
    assert needed_units(0.5, 0.5) == 1


@given(st.floats(0.001, 0.6), st.floats(0.5, 0.995), st.integers(1, 1500))
def test_the_order_statistic_is_the_smallest_that_keeps_the_promise(limit: float, confidence: float, n: int) -> None:
    k = order_statistic(n, limit, confidence)
    if k is None:
        assert n < needed_units(limit, confidence)
        assert (1 - limit) ** n > 1 - confidence
    else:
        assert n >= needed_units(limit, confidence)
        assert stats.binom.sf(k - 1, n, 1 - limit) <= 1 - confidence
        assert k == 1 or stats.binom.sf(k - 2, n, 1 - limit) > 1 - confidence


@given(st.lists(st.integers(0, 30), min_size=100, max_size=200), st.floats(0.05, 0.5), st.floats(0.01, 0.3))
def test_a_larger_limit_never_raises_the_threshold(values: list[int], limit: float, more: float) -> None:
    scores = np.array(values) / 30
    assert promise_threshold(scores, limit + more, 0.95).threshold <= promise_threshold(scores, limit, 0.95).threshold


@given(st.lists(st.integers(0, 30), min_size=100, max_size=200), st.floats(0.05, 0.3))
def test_what_it_flags_of_the_data_at_hand_stays_below_the_limit(values: list[int], limit: float) -> None:
    found = promise_threshold(np.array(values) / 30, limit, 0.95)
    assert found.observed <= limit


@pytest.mark.parametrize(("n", "limit", "grain"), [(59, 0.05, 0), (200, 0.05, 0), (598, 0.005, 0), (120, 0.1, 0), (200, 0.05, 25)])
def test_violations_stay_at_five_percent(n: int, limit: float, grain: int) -> None:
    """The exact 95 % upper bound of the violation rate is at most 7 % for a nominal 5 %; with ties (grain) as well."""
    generator = np.random.default_rng(11)
    rounds, broken = 4000, 0
    for _ in range(rounds):
        scores = generator.random(n)
        if grain:
            scores = np.floor(scores * grain) / grain
        threshold = promise_threshold(scores, limit, 0.95).threshold
        # With ties the threshold lies just above one of the levels j / grain: what is flagged begins at the next one.
        true_rate = 1 - ((round(threshold * grain) + 1) / grain if grain else threshold)
        broken += true_rate > limit + 1e-12
    assert exact(broken, rounds).high <= 0.07


def test_sessions_taken_for_independent_break_the_promise_and_actors_keep_it() -> None:
    """Actors differ, and some have hundreds of sessions: the same rule over sessions is wrong far more often than 5 %."""
    generator = np.random.default_rng(12)
    rounds, n_actors, limit = 2000, 100, 0.05
    # An actor's sessions lie around its own level; how often a new actor exceeds a threshold is known by a large sample.
    sizes = generator.zipf(1.6, 200_000).clip(1, 300)
    levels = generator.beta(2, 5, 200_000)
    spread = 0.02
    tops = levels + spread * _highest_of(sizes, generator)
    tops.sort()
    weights_by_level = np.argsort(levels)
    sorted_levels, sorted_sizes = levels[weights_by_level], sizes[weights_by_level]
    cumulative = np.concatenate([[0], sorted_sizes.cumsum()])
    broken = {"actors": 0, "sessions": 0}
    for _ in range(rounds):
        picked = generator.integers(0, 200_000, n_actors)
        actor = np.repeat(np.arange(n_actors), sizes[picked])
        scores = np.repeat(levels[picked], sizes[picked]) + spread * generator.standard_normal(actor.size)
        highest = np.full(n_actors, -np.inf)
        np.maximum.at(highest, actor, scores)
        over_actors = promise_threshold(highest, limit, 0.95).threshold
        over_sessions = promise_threshold(scores, limit, 0.95).threshold
        broken["actors"] += 1 - np.searchsorted(tops, over_actors) / tops.size > limit
        # Share of all sessions above it, spread neglected (it is small against the levels).
        above = 1 - cumulative[np.searchsorted(sorted_levels, over_sessions)] / cumulative[-1]
        broken["sessions"] += above > limit
    assert exact(broken["actors"], rounds).high <= 0.07
    assert broken["sessions"] / rounds > 0.15


def _highest_of(sizes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw the highest of `sizes` standard normal values."""
    return stats.norm.ppf(generator.random(sizes.size) ** (1 / sizes))


def test_too_few_actors_are_refused_with_the_needed_number() -> None:
    rows = scored(*[(f"u{n}", "benign", n / 100) for n in range(58)], ("u0", "benign", 0.9), ("mallory", "malicious", 0.99))
    found = calibrate(rows, 0.05, 0.95)
    assert (found.threshold, found.n, found.needed) == (None, 58, 59)
    assert found.reason == "58 independent actors, 59 needed"
    assert found.as_dict()["violation"] is None


def test_copies_of_sessions_are_no_further_units() -> None:
    few = [(f"u{n}", "benign", n / 100) for n in range(58)]
    assert calibrate(scored(*few * 20), 0.05, 0.95).threshold is None


def test_one_actor_more_gives_the_threshold_just_above_the_highest() -> None:
    found = calibrate(scored(*[(f"u{n}", "benign", n / 100) for n in range(59)], ("m", "malicious", 0.99)), 0.05, 0.95)
    assert found.threshold == pytest.approx(0.58, abs=2e-6)
    assert found.threshold > 0.58
    assert found.observed == 0.0
    assert found.violation <= 0.05


def test_an_actor_counts_with_its_highest_reachable_score() -> None:
    rows = pl.concat([scored(("a", "benign", 0.2), ("a", "benign", 0.7)), scored(("b", "benign", 0.9), shown=False)])
    assert actor_maxima(rows)["score"].to_list() == [0.7, -math.inf]


def test_benign_actors_at_the_top_are_a_refusal_not_a_threshold_above_one() -> None:
    found = calibrate(scored(*[(f"u{n}", "benign", 1.0) for n in range(80)]), 0.05, 0.95)
    assert found.threshold is None
    assert "only flagging nothing keeps the promise" in found.reason


def test_a_day_exceeds_its_budget_exactly_when_its_next_score_is_flagged() -> None:
    generator = np.random.default_rng(3)
    days = [[float(score) for score in generator.random(8)] for _ in range(40)]
    rows = pl.concat([
        scored(*[(f"u{n}", "benign", score) for n, score in enumerate(day)]).with_columns(start=pl.lit(T0 + timedelta(days=number)))
        for number, day in enumerate(days)]).cast({"start": pl.Datetime("us", "UTC")})
    found = calibrate_budget(rows, alerts_per_day=2, max_share_of_days=0.1, confidence=0.9)
    assert found.unit == "days"
    over = np.mean([sum(score >= found.threshold for score in day) > 2 for day in days])
    assert over == found.observed <= 0.1
    assert calibrate_budget(rows, 2, 0.05, 0.95).reason == "40 independent days, 59 needed"
    generous = calibrate_budget(rows, 8, 0.1, 0.9)
    assert generous.threshold == 0.0


def test_bad_numbers_are_one_line() -> None:
    rows = scored(("a", "benign", 0.1))
    for call, says in (
        (lambda: calibrate(rows, 0, 0.95), "a false-positive limit of 0"),
        (lambda: calibrate(rows, 0.05, 1), "a confidence of 1"),
        (lambda: calibrate(rows, 0.05, 0.95, "mine"), "no scores of 'mine' to calibrate on .*all"),
        (lambda: calibrate_budget(rows, -1, 0.1, 0.9), "a budget of -1"),
    ):
        with pytest.raises(InputError, match=says):
            call()
