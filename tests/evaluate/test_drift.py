"""Drift: golden distances, false discoveries held down, planted changes found in simulated months."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from evaluation_story import Story
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance
from statsmodels.stats.multitest import multipletests

from audit_lab.errors import InputError
from audit_lab.evaluate.changes import change_points, first_alarm, watch, watch_limit
from audit_lab.evaluate.drift import (
    centroid_drift,
    drift_by_week,
    find_drift,
    new_values,
    population_stability,
    session_observations,
)

START = date(2026, 10, 5)
CLIENTS = np.array(["kubectl", "controller", "prometheus", "curl"])


def month(seed: int, days: int = 28, per_day: int = 60, change_at: int | None = None) -> pl.DataFrame:
    """Sessions of a month whose days differ a little among themselves; from `change_at` on, clients and events per session change."""
    generator = np.random.default_rng(seed)
    parts = []
    for day in range(days):
        changed = change_at is not None and day >= change_at
        weights = generator.dirichlet(np.array([40, 80, 60, 4]))
        if changed:
            weights = np.array([0.25, 0.25, 0.25, 0.25])
        level = generator.normal(3.0, 0.1) + (0.8 if changed else 0.0)
        parts.append(pl.DataFrame({
            "day": [START + timedelta(days=day)] * per_day, "client": CLIENTS[generator.choice(4, per_day, p=weights)],
            "n_events": generator.normal(level, 1.0, per_day), "n_denied": generator.poisson(0.5, per_day).astype(float),
            "is_new_source": generator.random(per_day) < 0.1,
        }))
    return pl.concat(parts)


def halves(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    cut = START + timedelta(days=14)
    return frame.filter(pl.col("day") < cut), frame.filter(pl.col("day") >= cut)


FEATURES = ["client", "n_events", "n_denied", "is_new_source"]


def test_distances_equal_scipy() -> None:
    old, new = halves(month(1, change_at=14))
    rows = {row["feature"]: row for row in find_drift(old, new, FEATURES, rounds=99).to_dicts()}
    counts = [[frame.filter(pl.col("client") == name).height for name in sorted(CLIENTS)] for frame in (old, new)]
    assert rows["client"]["jensen_shannon"] == pytest.approx(jensenshannon(counts[0], counts[1], base=2))
    exact = wasserstein_distance(old["n_events"], new["n_events"]) / old["n_events"].std(ddof=0)
    assert rows["n_events"]["wasserstein"] == pytest.approx(exact)
    assert rows["client"]["psi"] == pytest.approx(population_stability(np.array(counts[0]), np.array(counts[1])))


def test_false_discovery_control_equals_statsmodels() -> None:
    found = find_drift(*halves(month(2, change_at=14)), FEATURES, rounds=199)
    golden = multipletests(found["p_value"].to_numpy(), method="fdr_bh")[1]
    assert found["q_value"].to_list() == pytest.approx(golden.tolist())


def test_planted_changes_are_found_and_only_these() -> None:
    found = dict(find_drift(*halves(month(3, change_at=14)), FEATURES).select("feature", "drifted").iter_rows())
    assert found == {"client": True, "n_events": True, "n_denied": False, "is_new_source": False}


def test_unchanged_months_rarely_alarm() -> None:
    alarms = [find_drift(*halves(month(seed)), FEATURES, rounds=199, seed=seed)["drifted"].any() for seed in range(100, 140)]
    assert np.mean(alarms) <= 0.05


def test_a_change_is_seen_in_its_week_and_quiet_weeks_stay_quiet() -> None:
    """Ten months of eight weeks, the last two changed: found at once every time, hardly a false alarm in the weeks before."""
    late, false = [], 0
    for seed in range(10):
        weeks = drift_by_week(month(seed, days=56, change_at=42), FEATURES)
        alarms = weeks.filter("drifted").select("week", "feature").rows()
        change = START + timedelta(weeks=6)
        late.append(min((week for week, feature in alarms if week >= change and feature in {"client", "n_events"}), default=None) == change)
        false += sum(week < change or feature not in {"client", "n_events"} for week, feature in alarms)
    assert all(late)
    assert false <= 2
    assert drift_by_week(month(1, days=28), FEATURES).is_empty()


def test_observations_come_from_sessions(story: Story) -> None:
    story.session("u", fused=0.3)
    sessions = story.frames()["sessions"]
    frame = session_observations(sessions, pl.DataFrame({"session_id": ["s000"], "score": [0.3]}))
    assert frame.height == 1
    assert frame["score"].to_list() == [0.3]
    assert set(find_drift(frame, frame, [name for name in frame.columns if name != "day"])["p_value"]) == {None}


def test_days_are_the_unit_not_sessions() -> None:
    """Three noisy days against four: a thousand sessions each do not make a discovery out of one odd day."""
    generator = np.random.default_rng(4)
    wrong = 0
    for _ in range(40):
        levels = generator.normal(0, 1, 14)
        days = np.repeat(np.arange(14), 200)
        frame = pl.DataFrame({"day": days, "x": levels[days] + generator.normal(0, 0.2, days.size)})
        wrong += bool(find_drift(frame.filter(pl.col("day") < 7), frame.filter(pl.col("day") >= 7), ["x"], rounds=199)["drifted"][0])
    assert wrong / 40 <= 0.125


def test_with_few_days_all_exchanges_are_counted() -> None:
    """Three days against three differ as much as can be: of the twenty ways to deal them out, two are as extreme."""
    days = np.repeat(np.arange(6), 10)
    frame = pl.DataFrame({"day": days, "x": np.where(days < 3, "a", "b")})
    row = find_drift(frame.filter(pl.col("day") < 3), frame.filter(pl.col("day") >= 3), ["x"]).row(0, named=True)
    assert (row["p_value"], row["jensen_shannon"], row["drifted"]) == (0.1, 1.0, False)


def test_too_few_days_give_distances_but_no_p_value() -> None:
    frame = month(5, days=4)
    early, late = frame.filter(pl.col("day") < START + timedelta(days=2)), frame.filter(pl.col("day") >= START + timedelta(days=2))
    row = find_drift(early, late, ["client"]).row(0, named=True)
    assert row["jensen_shannon"] is not None
    assert (row["p_value"], row["drifted"]) == (None, None)
    assert "fewer than 3 days" in row["reason"]


def test_an_empty_period_and_a_missing_feature() -> None:
    frame = month(6, days=6)
    row = find_drift(frame, frame.clear(), ["client", "n_events"]).row(1, named=True)
    assert (row["reason"], row["wasserstein"]) == ("no values in one of the periods", None)
    with pytest.raises(InputError, match="no column mine to compare"):
        find_drift(frame, frame, ["mine"])


@given(st.lists(st.integers(0, 50), min_size=2, max_size=8), st.integers(0, 1000))
def test_population_stability_is_zero_for_itself_and_never_negative(counts: list[int], seed: int) -> None:
    old = np.array(counts, dtype=float)
    assert population_stability(old, old) == pytest.approx(0, abs=1e-12)
    assert population_stability(old, np.random.default_rng(seed).permutation(old)) >= -1e-12


def test_centroids_move_when_they_move() -> None:
    generator = np.random.default_rng(7)
    days = np.repeat(np.arange(12), 30)
    current = days >= 6
    quiet = []
    for _ in range(40):
        vectors = generator.normal(0, 1, (360, 16)) + 1
        moved, chance = centroid_drift(vectors, days, current, rounds=199)
        quiet.append(chance <= 0.05)
    assert np.mean(quiet) <= 0.125
    vectors[current, 0] += 3
    far, p_value = centroid_drift(vectors, days, current, rounds=199)
    assert far > moved
    assert p_value <= 0.05
    assert centroid_drift(vectors, days, np.zeros(360, dtype=bool)) == (None, None)
    assert centroid_drift(vectors[:60], days[:60], days[:60] > 0)[1] is None


def test_new_values_are_listed_with_their_counts() -> None:
    old = pl.DataFrame({"verb": ["get", "list"], "group": ["", "apps"]})
    new = pl.DataFrame({"verb": ["get", "impersonate", "impersonate", "bind"], "group": ["", "", "x.io", None]})
    assert new_values(old, new, ["verb", "group"]).rows() == [("verb", "impersonate", 2), ("verb", "bind", 1), ("group", "x.io", 1)]


def test_a_planted_change_point_is_found_about_where_it_is() -> None:
    generator = np.random.default_rng(8)
    places, missed = [], 0
    for _ in range(20):
        stream = generator.random(300) < np.where(np.arange(300) < 180, 0.08, 0.35)
        found = change_points(stream, rounds=199)
        missed += not found
        places += [change.at for change in found]
    assert missed <= 1
    assert abs(np.median(places) - 180) <= 12


def test_two_changes_are_told_apart() -> None:
    stream = np.random.default_rng(9).random(600) < np.repeat([0.05, 0.5, 0.05], 200)
    found = change_points(stream)
    assert [round(change.at / 200) for change in found] == [1, 2]
    assert found[0].before < 0.15 < found[0].after


def test_an_unchanged_stream_is_rarely_split() -> None:
    generator = np.random.default_rng(10)
    assert sum(bool(change_points(generator.random(200) < 0.2, alpha=0.05, rounds=99)) for _ in range(60)) <= 8
    assert change_points(np.zeros(0, dtype=bool)) == []
    assert change_points(np.ones(500, dtype=bool)) == []


def test_the_watch_keeps_its_false_alarm_rate_and_is_early() -> None:
    """Two hundred labels a month at 10 % errors: at most about 5 % of quiet months alarm; a rise to 30 % is seen within a few dozen."""
    limit = watch_limit(0.1, 0.3, 200)
    generator = np.random.default_rng(11)
    quiet = [first_alarm(generator.random(200) < 0.1, 0.1, 0.3, limit) is not None for _ in range(1000)]
    assert np.mean(quiet) <= 0.07
    late = []
    for _ in range(200):
        alarm = first_alarm(generator.random(300) < np.where(np.arange(300) < 100, 0.1, 0.3), 0.1, 0.3, limit)
        late.append(300 if alarm is None else alarm - 100)
    assert np.median(late) <= 40


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_the_watch_never_falls_below_zero(values: list[bool]) -> None:
    running = watch(np.array(values), 0.1, 0.3)
    by_hand, state = [], 0.0
    for value in values:
        state = max(0.0, state + (np.log(3) if value else np.log(0.7 / 0.9)))
        by_hand.append(state)
    assert running == pytest.approx(by_hand)
