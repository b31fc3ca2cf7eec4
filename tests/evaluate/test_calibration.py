"""Probabilities: golden numbers, monotone maps, floors, and calibration that really improves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from audit_lab.errors import InputError
from audit_lab.evaluate.calibrators import MIN_LABELS, Calibrator, fit_calibrator
from audit_lab.evaluate.probability import brier, calibration_error, equal_mass_bins, reliability_curve

T0 = datetime(2026, 11, 1, tzinfo=UTC)
LATER = T0 + timedelta(days=30)
METHODS = ("platt", "beta", "venn_abers", "isotonic")


def labelled(scores: np.ndarray, positive: np.ndarray, time: datetime = T0) -> pl.DataFrame:
    return pl.DataFrame({"score": scores, "malicious": positive}).with_columns(time=pl.lit(time, dtype=pl.Datetime("us", "UTC")))


def distorted(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores that order well but claim too much: the true probability is score squared."""
    generator = np.random.default_rng(seed)
    scores = generator.random(n)
    return scores, generator.random(n) < scores**2


def fit(scores: np.ndarray, positive: np.ndarray, method: str = "auto") -> Calibrator:
    found = fit_calibrator(labelled(scores, positive), LATER, method)
    assert found.calibrator is not None, found.reason
    return found.calibrator


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=60), st.integers(1, 12))
def test_brier_and_its_parts_add_up(rows: list[tuple[bool, int]], n_bins: int) -> None:
    positive, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows]) / 20
    parts = brier(positive, scores, n_bins)
    assert parts.score == pytest.approx(brier_score_loss(positive, scores))
    assert parts.score == pytest.approx(parts.reliability - parts.resolution + parts.uncertainty + parts.within)
    assert min(parts.reliability, parts.resolution, parts.uncertainty) >= -1e-12
    alone = brier(positive, scores, 10_000)
    assert alone.within == pytest.approx(0, abs=1e-12)
    assert 0 <= calibration_error(positive, scores, n_bins) <= 1


def test_calibration_error_by_hand() -> None:
    positive = np.array([False, True, True, True])
    assert calibration_error(positive, np.array([0.2, 0.2, 0.9, 0.9]), 2) == pytest.approx(0.5 * 0.3 + 0.5 * 0.1)


@given(st.lists(st.integers(0, 10), min_size=1, max_size=80), st.integers(1, 10))
def test_equal_scores_share_a_bin_and_bins_follow_the_order(values: list[int], n_bins: int) -> None:
    scores = np.array(values)
    bins = equal_mass_bins(scores, n_bins)
    assert bins.max() < n_bins
    assert set(bins) == set(range(bins.max() + 1))
    order = np.argsort(scores, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert all(len(set(bins[scores == value])) == 1 for value in set(values))


def test_bins_have_about_equal_mass_without_ties() -> None:
    assert np.bincount(equal_mass_bins(np.arange(100) / 100, 10)).tolist() == [10] * 10


def test_reliability_curve_is_null_where_a_bin_is_thin() -> None:
    curve = reliability_curve(np.array([True] * 3 + [False] * 9), np.array([0.9] * 3 + [0.1] * 9), 2)
    assert curve["n"].to_list() == [9, 3]
    assert curve["share"].to_list() == [0.0, None]
    assert curve["reason"].to_list() == [None, "fewer than 5 sessions"]
    assert curve["high"][0] > 0.3


def test_platt_equals_a_logistic_regression_on_platts_targets() -> None:
    scores, positive = distorted(150, 1)
    up, down = positive.sum(), (~positive).sum()
    weights = np.concatenate([np.where(positive, (up + 1) / (up + 2), 1 / (down + 2))] * 2)
    weights[150:] = 1 - weights[150:]
    odds = np.log(scores / (1 - scores))[:, None]
    golden = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(np.vstack([odds, odds]), [1] * 150 + [0] * 150, sample_weight=weights)
    ours = fit(scores, positive, "platt")
    assert ours.values == pytest.approx((golden.coef_[0, 0], golden.intercept_[0]), abs=1e-4)


def test_isotonic_equals_scikit_learn() -> None:
    scores, positive = distorted(300, 2)
    golden = IsotonicRegression(out_of_bounds="clip").fit(scores, positive)
    grid = np.linspace(0, 1, 301)
    assert fit(scores, positive, "isotonic").apply(grid) == pytest.approx(golden.predict(grid))


def test_venn_abers_equals_its_definition() -> None:
    scores, positive = distorted(80, 3)
    ours = fit(scores, positive, "venn_abers")
    tests = np.concatenate([scores[:10], np.linspace(0, 1, 21)])
    low, high = ours.bounds(tests)
    for number, score in enumerate(tests):
        for answer, found in ((0, low[number]), (1, high[number])):
            golden = IsotonicRegression().fit([*scores, score], [*positive, answer])
            assert found == pytest.approx(golden.predict([score])[0])
    merged = ours.apply(tests)
    assert merged == pytest.approx(high / (1 - low + high))
    assert ((low <= merged + 1e-12) & (merged <= high + 1e-12)).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(METHODS), st.integers(0, 10_000), st.booleans())
def test_calibration_is_monotone_and_a_probability(method: str, seed: int, backwards: bool) -> None:
    """Also where high scores mean benign: then it flattens, it never turns the order around."""
    scores, positive = distorted(120, seed)
    values = fit(1 - scores if backwards else scores, positive, method).apply(np.linspace(0, 1, 101))
    assert (np.diff(values) >= -1e-12).all()
    assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("method", METHODS)
def test_calibration_improves_on_later_data(method: str) -> None:
    learn, test = distorted(2000, 4), distorted(4000, 5)
    after = fit(*learn, method).apply(test[0])
    assert calibration_error(test[1], after) < 0.03 < calibration_error(test[1], test[0])
    assert brier(test[1], after).score < brier(test[1], test[0]).score


@pytest.mark.parametrize("method", METHODS)
def test_it_survives_json(method: str) -> None:
    first = fit(*distorted(100, 6), method)
    again = Calibrator.from_dict(json.loads(json.dumps(first.as_dict())))
    assert again == first
    assert (again.apply(np.array([0.0, 0.3, 1.0])) == first.apply(np.array([0.0, 0.3, 1.0]))).all()


def test_the_method_follows_the_number_of_labels() -> None:
    assert [fit(*distorted(n, 7)).method for n in (100, 600, 1500, 6000)] == ["platt", "beta", "venn_abers", "isotonic"]


def test_too_few_labels_keep_the_prior_and_say_so() -> None:
    scores, positive = distorted(MIN_LABELS - 1, 8)
    found = fit_calibrator(labelled(scores, positive), LATER)
    assert found.calibrator is None
    assert "39 labels before 2026-12-01 00:00" in found.reason
    assert "40 are needed, 10 of each kind" in found.reason
    few_positives = fit_calibrator(labelled(np.linspace(0, 1, 500), np.arange(500) < 9), LATER)
    assert few_positives.calibrator is None


def test_labels_that_are_not_earlier_are_not_used() -> None:
    scores, positive = distorted(100, 9)
    early, late = labelled(scores, positive), labelled(scores, ~positive, LATER)
    both = fit_calibrator(pl.concat([early, late]), LATER)
    assert both.calibrator == fit_calibrator(early, LATER).calibrator
    assert fit_calibrator(late, LATER).n == 0


def test_scores_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="outside 0–1"):
        fit_calibrator(labelled(np.linspace(-1, 2, 100), np.arange(100) % 2 == 0), LATER)
