"""Golden numbers: what an evaluation reports, computed again by scikit-learn, scipy and statsmodels from the same sessions."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from evaluation_story import Story
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix, precision_recall_curve, roc_curve
from statsmodels.stats.proportion import proportion_confint

from audit_lab.evaluate import SCRIPTS, Evaluation, scripted_verdicts
from audit_lab.evaluate.intervals import bootstrap_actors
from audit_lab.evaluate.policies import group_thresholds
from audit_lab.evaluate.probability import probability_figures, reliability_curve
from audit_lab.evaluate.ranking import precision_recall

N = 400


@pytest.fixture(scope="module")
def found() -> tuple[Evaluation, np.ndarray, np.ndarray]:
    """Four hundred sessions of as many actors, forty incidents of one session each; scores speak for them, not perfectly."""
    generator = np.random.default_rng(31)
    bad = np.arange(N) < 40
    scores = np.round(np.where(bad, generator.beta(5, 2, N), generator.beta(2, 5, N)), 3)
    story = Story()
    for number in range(N):
        if bad[number]:
            story.incident(f"i{number}")
        story.session(incident=f"i{number}" if bad[number] else None, fused=float(scores[number]))
    return story.evaluate(), bad, scores


def test_rates_and_curves_equal_scikit_learn(found: tuple[Evaluation, np.ndarray, np.ndarray]) -> None:
    evaluation, bad, scores = found
    block = evaluation.as_dict()["by_detector"]["fused"]
    tn, fp, fn, tp = confusion_matrix(bad, scores >= 0.5).ravel()
    assert [block["sessions"][name] for name in ("tn", "fp", "fn", "tp")] == [tn, fp, fn, tp]
    assert block["sessions"]["fpr"]["value"] == pytest.approx(fp / (fp + tn))
    assert block["average_precision"] == pytest.approx(average_precision_score(bad, scores))
    precision, recall, thresholds = precision_recall_curve(bad, scores)
    ours = precision_recall(bad, scores).sort("threshold").filter(pl.col("threshold").is_in(thresholds.tolist()))
    keep = np.isin(thresholds, ours["threshold"].to_numpy())
    assert ours["precision"].to_numpy() == pytest.approx(precision[:-1][keep])
    assert ours["recall"].to_numpy() == pytest.approx(recall[:-1][keep])
    fpr, tpr, _ = roc_curve(bad, scores, drop_intermediate=False)
    for point in block["fpr_at_recall"]:
        assert point["fpr"]["value"] == pytest.approx(fpr[tpr >= point["recall"] - 1e-9][0])


def test_brier_and_reliability_equal_scikit_learn(found: tuple[Evaluation, np.ndarray, np.ndarray]) -> None:
    evaluation, bad, scores = found
    block = evaluation.as_dict()["by_detector"]["fused"]["probability"]
    assert block["brier"]["value"] == pytest.approx(brier_score_loss(bad, scores))
    parts = block["brier"]
    assert parts["value"] == pytest.approx(parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within"])
    distinct = np.argsort(np.argsort(scores, kind="stable")) / N + 0.001  # without ties both make the same bins
    share, mean = calibration_curve(bad, distinct, n_bins=10, strategy="quantile")
    ours = reliability_curve(bad, distinct, 10)
    assert ours["share"].to_numpy() == pytest.approx(share)
    assert ours["mean_score"].to_numpy() == pytest.approx(mean)


def test_incident_intervals_equal_statsmodels(found: tuple[Evaluation, np.ndarray, np.ndarray]) -> None:
    evaluation, bad, scores = found
    rate = evaluation.blocks["fused"].incidents.recall
    hits = int((scores[bad] >= 0.5).sum())
    low, high = proportion_confint(hits, 40, method="beta")
    assert (rate.value, rate.low, rate.high) == pytest.approx((hits / 40, low, high))
    delay = evaluation.blocks["fused"].incidents.time_to_detect_s
    assert delay["low"] <= delay["median"] <= delay["high"]


def test_the_bootstrap_equals_scipys_where_every_actor_has_one_session(found: tuple[Evaluation, np.ndarray, np.ndarray]) -> None:
    _, bad, scores = found
    flagged = (scores >= 0.5)[~bad]
    golden = stats.bootstrap((flagged.astype(float),), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    ours = bootstrap_actors(np.arange(flagged.size), 4000).rate(flagged, np.ones(flagged.size, dtype=bool))
    assert (ours.low, ours.high) == pytest.approx((golden.low, golden.high), abs=0.006)


@pytest.mark.parametrize("name", ["few_shot", "zero_shot", "random", "constant"])
def test_a_scripted_judge_is_recovered_by_the_whole_evaluation(name: str) -> None:
    """From tables to metrics: the rates that were put in lie in the intervals that come out, case by case and session by session."""
    story = Story()
    for number in range(600):
        bad = number % 3 == 0
        if bad:
            story.incident(f"i{number}")
        story.session(incident=f"i{number}" if bad else None, fused=0.1)
    cases = pl.DataFrame({"case_id": [f"c-s{number:03}" for number in range(600)], "malicious": [number % 3 == 0 for number in range(600)]})
    said = scripted_verdicts(cases, SCRIPTS[name])
    story.verdicts = said.to_dicts()
    # Twenty intervals are looked at below: at 99.9 % each, chance alone hardly breaks one.
    result = story.evaluate(confidence=0.999)
    called = said["score"].to_numpy() >= 0.5
    bad = said.join(cases, on="case_id", maintain_order="left")["malicious"].to_numpy()
    assert result.blocks["all"].sessions.recall.value == pytest.approx(called[bad].mean())
    assert result.blocks["all"].sessions.fpr.value == pytest.approx(called[~bad].mean())
    script = SCRIPTS[name]
    judge = result.judges[f"scripted-{name}@{said['judge_version'][0][:12]}"]
    for rate, truth in ((judge.recall, script.tpr), (judge.fpr, script.fpr), (result.blocks["judge"].sessions.recall, script.tpr),
                        (result.blocks["all"].sessions.fpr, script.fpr), (result.blocks["all"].incidents.recall, script.tpr)):
        assert rate.low <= truth <= rate.high, (name, rate)
        assert rate.high - rate.low < 0.25, "an interval that holds everything recovers nothing"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 4)), min_size=4, max_size=60))
def test_intervals_of_probability_figures_contain_their_value(rows: list[tuple[bool, int, int]]) -> None:
    positive, scores = np.array([row[0] for row in rows]), np.array([row[1] / 20 for row in rows])
    figures = probability_figures(positive, scores, bootstrap_actors(np.array([row[2] for row in rows]), 100), n_bins=4)
    for rate in (figures.brier, figures.calibration_error):
        assert rate.low is None or rate.low <= rate.value <= rate.high


def test_a_group_of_actors_that_no_threshold_can_flag_gets_no_threshold_below_zero() -> None:
    units = pl.DataFrame({"group": ["a"] * 30 + ["b"] * 30, "score": [-np.inf] * 30 + [n / 30 for n in range(30)]})
    found = group_thresholds(units, 0.5, 0.1, 60)
    assert found["threshold"].is_between(0, 1).all()
    assert found["own"].to_list()[0] == 0.0
