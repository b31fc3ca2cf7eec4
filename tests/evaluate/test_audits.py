"""Estimates from audits: exact bounds, refusals, and a simulation in which the naive figure is wrong and ours is not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audit_lab.errors import InputError
from audit_lab.evaluate.audits import estimate_from_audits, hypergeometric_bounds, plan_audits


def population(n: int = 3000, malicious: int = 90, flagged: int = 60, seed: int = 1) -> tuple[pl.DataFrame, np.ndarray]:
    """Cases whose malicious ones tend to score higher, but many do not reach the alert line."""
    generator = np.random.default_rng(seed)
    truth = np.arange(n) < malicious
    scores = np.clip(generator.normal(np.where(truth, 0.55, 0.3), 0.15), 0, 1)
    line = np.sort(scores)[::-1][flagged - 1]
    cases = pl.DataFrame({"case_id": [f"c{number:05}" for number in range(n)], "score": scores, "flagged": scores >= line})
    return cases, truth


def reviewed(cases: pl.DataFrame, truth: np.ndarray, budget: int, seed: int) -> pl.DataFrame:
    plan = plan_audits(cases, budget, seed)
    return plan.with_columns(malicious=pl.when("drawn").then(pl.Series(truth)))


@given(st.integers(1, 60).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size))), st.data())
def test_bounds_are_those_of_the_exact_test(sizes: tuple[int, int], data: st.DataObject) -> None:
    size, drawn = sizes
    found = data.draw(st.integers(0, drawn))
    low, high = hypergeometric_bounds(size, drawn, found, 0.1)
    possible = [k for k in range(found, size - (drawn - found) + 1)
                if stats.hypergeom.sf(found - 1, size, k, drawn) > 0.05 and stats.hypergeom.cdf(found, size, k, drawn) > 0.05]
    assert (low, high) == (min(possible), max(possible))


def test_naive_recall_is_biased_ours_is_not_and_the_bounds_cover() -> None:
    cases, truth = population()
    flagged = cases["flagged"].to_numpy()
    true_recall, true_fpr = (flagged & truth).sum() / truth.sum(), (flagged & ~truth).sum() / (~truth).sum()
    rounds, naive, ours, covered, covered_fpr = 200, [], [], 0, 0
    for seed in range(rounds):
        rows = reviewed(cases, truth, 500, seed)
        known = rows.drop_nulls("malicious")
        naive.append(known.filter(pl.col("flagged") & pl.col("malicious")).height / known["malicious"].sum())
        found = estimate_from_audits(rows, max_half_width=1.0)
        ours.append(found.recall.value)
        covered += found.recall.low <= true_recall <= found.recall.high
        covered_fpr += found.fpr.low <= true_fpr <= found.fpr.high
    assert np.mean(naive) > true_recall + 0.15
    assert abs(np.mean(ours) - true_recall) < 0.02
    assert covered / rounds >= 0.95
    assert covered_fpr / rounds >= 0.95


def test_few_audits_give_null_with_the_number_that_would_do() -> None:
    """About 320 audits give a value every second time here; what is told after 100 is of that size."""
    cases, truth = population()
    few = estimate_from_audits(reviewed(cases, truth, 100, 3))
    assert few.recall.value is None
    assert few.recall.low < 23 / 90 < few.recall.high
    assert f"wider than ±20 points, about {few.needed} audits" in few.recall.reason
    told = [estimate_from_audits(reviewed(cases, truth, 100, seed)).needed for seed in range(15)]
    assert 160 < np.median(told) < 640
    enough = [estimate_from_audits(reviewed(cases, truth, 640, seed)).recall.value is not None for seed in range(10)]
    assert all(enough)


def test_with_everything_reviewed_there_is_no_doubt_left() -> None:
    cases, truth = population(200, 20, 30)
    flagged = cases["flagged"].to_numpy()
    found = estimate_from_audits(reviewed(cases, truth, 10_000, 1))
    assert found.recall.low == found.recall.value == found.recall.high == pytest.approx((flagged & truth).sum() / 20)
    assert found.fpr.value == pytest.approx((flagged & ~truth).sum() / 180)
    assert found.malicious.value == pytest.approx(0.1)
    assert found.needed is None


def test_flagged_cases_nobody_looked_at_widen_the_bounds() -> None:
    cases, truth = population(200, 20, 30)
    rows = reviewed(cases, truth, 10_000, 1)
    seen = estimate_from_audits(rows, max_half_width=1.0)
    half = rows.with_columns(malicious=pl.when(pl.col("flagged") & (pl.int_range(pl.len()) % 2 == 0)).then(None).otherwise("malicious"))
    unseen = estimate_from_audits(half, max_half_width=1.0)
    assert unseen.precision.low < seen.precision.value < unseen.precision.high


def test_no_reviews_at_all_is_null() -> None:
    cases, _ = population(50, 5, 5)
    rows = plan_audits(cases, 0).with_columns(malicious=pl.lit(None, dtype=pl.Boolean))
    found = estimate_from_audits(rows)
    assert (found.recall.value, found.recall.reason) == (None, "no case was reviewed")
    assert found.precision.reason == "no flagged case was reviewed"


def test_labels_from_elsewhere_are_refused() -> None:
    cases, truth = population(50, 5, 5)
    rows = plan_audits(cases, 0).with_columns(malicious=pl.Series(truth))
    with pytest.raises(InputError, match="45 reviewed un-flagged cases have no sampling probability"):
        estimate_from_audits(rows)


@given(st.integers(0, 300), st.integers(0, 50))
def test_a_plan_draws_its_budget_and_high_scores_more_often(budget: int, seed: int) -> None:
    cases, _ = population(260, 10, 40)
    plan = plan_audits(cases, budget, seed)
    rest = plan.filter(~pl.col("flagged"))
    assert rest["drawn"].sum() == min(budget, 220)
    assert plan.filter("flagged")["sampling_probability"].unique().to_list() == [1.0]
    by_stratum = rest.group_by("stratum").agg(pl.col("drawn").mean(), pl.col("sampling_probability").first()).sort("stratum")
    assert by_stratum["drawn"].to_list() == pytest.approx(by_stratum["sampling_probability"].to_list())
    if budget >= 8:
        top, bottom = by_stratum["sampling_probability"][0], by_stratum["sampling_probability"][-1]
        assert top >= bottom


def test_a_plan_is_the_same_whatever_the_order_of_rows() -> None:
    cases, _ = population(100, 5, 10)
    assert plan_audits(cases, 20, 3).equals(plan_audits(cases.sample(fraction=1, shuffle=True, seed=1), 20, 3))
