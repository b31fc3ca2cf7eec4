"""Operating points: precision elsewhere, budgets, costs, sweeps, warm-up and groups."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest
from evaluation_story import Story
from hypothesis import given
from hypothesis import strategies as st

from audit_lab.errors import InputError
from audit_lab.evaluate.confusion import BENIGN, MALICIOUS
from audit_lab.evaluate.incidents import IncidentMap
from audit_lab.evaluate.intervals import bootstrap_actors
from audit_lab.evaluate.operating import at_budget, fpr_at_recall, precision_at_prevalence, threshold_sweep
from audit_lab.evaluate.policies import Costs, cheapest_threshold, group_thresholds, warm_up_threshold


def random_world(n: int, n_actors: int, seed: int) -> tuple[np.ndarray, np.ndarray, IncidentMap, object]:
    generator = np.random.default_rng(seed)
    classes = np.where(generator.random(n) < 0.1, MALICIOUS, BENIGN)
    scores = np.clip(generator.normal(np.where(classes == MALICIOUS, 0.6, 0.3), 0.15), 0, 1)
    rows = [np.array([row]) for row in np.flatnonzero(classes == MALICIOUS)]
    incidents = IncidentMap([f"i{number}" for number in range(len(rows))], np.ones(len(rows), dtype=bool), rows, np.zeros(len(rows)),
                            np.zeros(n), [])
    return classes, scores, incidents, bootstrap_actors(generator.integers(0, n_actors, n), 1000)


def test_precision_follows_bayes() -> None:
    classes = np.array([MALICIOUS] * 10 + [BENIGN] * 100)
    flagged = np.array([True] * 8 + [False] * 2 + [True] * 5 + [False] * 95)
    draw = bootstrap_actors(np.arange(110), 400)
    found = precision_at_prevalence(classes, flagged, 0.001, draw)
    assert found.value == pytest.approx(0.8 * 0.001 / (0.8 * 0.001 + 0.05 * 0.999))
    assert 0 < found.low < found.value < found.high < 1
    same = precision_at_prevalence(classes, flagged, 10 / 110, draw)
    assert same.value == pytest.approx(8 / 13)


def test_no_false_positive_is_not_a_precision_of_one_for_sure() -> None:
    classes = np.array([MALICIOUS] * 10 + [BENIGN] * 100)
    found = precision_at_prevalence(classes, classes == MALICIOUS, 0.0001, bootstrap_actors(np.arange(110), 400))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low < 0.01


@given(st.floats(1e-5, 0.5), st.floats(1.1, 10))
def test_rarer_attacks_never_raise_precision(prevalence: float, factor: float) -> None:
    classes, scores, _, draw = random_world(200, 20, 1)
    flagged = scores >= 0.5
    assert precision_at_prevalence(classes, flagged, prevalence / factor, draw).value <= precision_at_prevalence(
        classes, flagged, prevalence, draw).value


def test_fpr_at_recall_by_hand() -> None:
    classes = np.array([MALICIOUS, MALICIOUS, BENIGN, BENIGN, BENIGN, BENIGN])
    scores = np.array([0.9, 0.4, 0.5, 0.4, 0.2, 0.1])
    draw = bootstrap_actors(np.arange(6), 100)
    assert fpr_at_recall(classes, scores, 0.5, draw)[0] == 0.9
    threshold, rate = fpr_at_recall(classes, scores, 1.0, draw)
    assert (threshold, rate.value) == (0.4, 0.5)
    assert fpr_at_recall(classes[2:], scores[2:], 0.9, bootstrap_actors(np.arange(4), 100))[1].reason == "no malicious sessions"


def test_a_budget_is_never_exceeded_by_ties() -> None:
    classes, scores = np.array([MALICIOUS, BENIGN, BENIGN, BENIGN]), np.array([0.9, 0.5, 0.5, 0.1])
    draw = bootstrap_actors(np.arange(4), 100)
    assert [at_budget(classes, scores, budget, draw)["flagged"] for budget in (0, 1, 2, 3, 4)] == [0, 1, 1, 3, 4]
    assert at_budget(classes, scores, 1, draw)["precision"].value == 1.0
    with pytest.raises(InputError, match="a budget of -1 alerts"):
        at_budget(classes, scores, -1, draw)


def test_a_sweep_says_at_each_threshold_what_an_evaluation_says(story: Story) -> None:
    generator = np.random.default_rng(4)
    story.incident("a")
    story.incident("b")
    for number in range(40):
        incident = {0: "a", 1: "a", 2: "b"}.get(number)
        story.session(f"u{number % 9}", incident, case=number % 3 > 0, verdict=float(generator.random()), fused=float(generator.random()))
    once = story.evaluate().sweep("all", np.array([0.3, 0.5, 0.8]))
    for row in once.to_dicts():
        block = story.evaluate(row["threshold"]).blocks["all"]
        figures = block.sessions
        assert (row["flagged"], row["tp"], row["fp"]) == (figures.flagged, figures.tp, figures.fp)
        assert row["incidents_found"] == block.incidents.found
        assert row["fpr"] == pytest.approx(figures.fpr.value)
        if 0 < figures.fpr.value < 1:
            assert (row["fpr_low"], row["fpr_high"]) == pytest.approx((figures.fpr.low, figures.fpr.high), abs=1e-6)


def test_a_sweep_falls_with_the_threshold_and_takes_under_a_second() -> None:
    world = random_world(20_000, 400, 2)
    start = time.perf_counter()
    frame = threshold_sweep(world[0], world[1], np.ones(20_000, dtype=bool), world[2], world[3])
    assert time.perf_counter() - start < 1.0
    for column in ("flagged", "tp", "fp", "recall", "fpr", "incidents_found"):
        assert (frame[column].diff().drop_nulls() <= 0).all()
    inside = frame.drop_nulls()
    assert (inside["recall_low"] <= inside["recall"]).all()
    assert (inside["recall"] <= inside["recall_high"]).all()


def test_an_unknown_scorer_cannot_be_swept(story: Story) -> None:
    story.session("a", fused=0.2)
    with pytest.raises(InputError, match=r"no scores of 'mine' to sweep .*fused, all"):
        story.evaluate().sweep("mine")


def test_the_cheapest_threshold_follows_the_price_of_a_miss() -> None:
    classes, scores, incidents, draw = random_world(2000, 100, 3)
    shown = np.ones(classes.size, dtype=bool)
    chosen = [cheapest_threshold(scores, shown, incidents, draw, Costs(10, 1, miss)) for miss in (0, 50, 1_000, 100_000)]
    thresholds = [choice.threshold for choice in chosen]
    assert thresholds == sorted(thresholds, reverse=True)
    for choice in chosen:
        assert choice.low <= choice.cost <= choice.high
        assert choice.nearly_from <= choice.threshold <= choice.nearly_to
        at = choice.curve.filter(pl.col("threshold") == choice.threshold).row(0, named=True)
        flagged, missed = (scores >= choice.threshold).sum(), (scores[classes == MALICIOUS] < choice.threshold).sum()
        assert (at["alerts"], at["missed"]) == (flagged, missed)


def test_without_incidents_no_cost_can_be_weighed() -> None:
    draw = bootstrap_actors(np.arange(3), 100)
    nothing = IncidentMap([], np.zeros(0, dtype=bool), [], np.zeros(0), np.zeros(3), [])
    choice = cheapest_threshold(np.array([0.1, 0.2, 0.3]), np.ones(3, dtype=bool), nothing, draw, Costs(10, 1, 100))
    assert choice.threshold is None
    assert "no malicious incidents" in choice.as_dict()["reason"]
    with pytest.raises(InputError, match="a cost below 0"):
        cheapest_threshold(np.array([0.1, 0.2, 0.3]), np.ones(3, dtype=bool), nothing, draw, Costs(-1, 1, 1))


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0, 1), st.floats(0, 1))
def test_warm_up_never_loosens_as_labels_come_in(first: int, more: int, start: float, target: float) -> None:
    before, after = (warm_up_threshold(n, 59, start, target) for n in (first, first + more))
    assert min(start, target) - 1e-12 <= before <= after + 1e-12 <= target + 1e-9


def test_groups_are_shrunk_to_the_global_threshold_by_their_size() -> None:
    generator = np.random.default_rng(5)
    frame = pl.concat([
        pl.DataFrame({"group": [name] * n, "score": (generator.random(n) * top).tolist()})
        for name, n, top in (("few", 10, 0.2), ("some", 100, 0.2), ("many", 5000, 0.2))])
    rows = {row["group"]: row for row in group_thresholds(frame, 0.9, 0.05, 59).to_dicts()}
    assert (rows["few"]["own"], rows["few"]["threshold"]) == (None, 0.9)
    assert rows["many"]["threshold"] < rows["some"]["threshold"] < 0.9
    assert rows["many"]["threshold"] == pytest.approx(0.2 * 0.95, abs=0.02)
    for row in rows.values():
        assert row["observed"] <= 0.05
