"""A story is one case of many sessions: who of them has its score."""

import numpy as np
import polars as pl
import pytest
from evaluation_story import fill
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_lab import tables
from audit_lab.evaluate.scorers import session_scores

EVENTS = pl.DataFrame({"event_id": ["e-a", "e-b", "e-c"], "session_id": ["a", "b", "c"]})
CLAIM = {"kind": "count", "predicate": "secret_read", "then": None, "count": 1, "scope": "actor"}


def scored(fused: dict[str, float], floors: dict[str, float] | None = None, verdict: float | None = None, cites: str = "",
           holds: bool = True, usable: bool = True, case: str = "abc", threshold: float = 0.5) -> dict[str, dict[str, float]]:
    """Scores of sessions a, b, c …, of which those in `case` are one story."""
    floors = floors or {}
    sessions = fill("sessions", [{"session_id": name} for name in fused])
    rows = [{"case_id": "t", "session_id": name, "detector_id": detector, "score": values.get(name, 0.0)}
            for detector, values in (("fused", fused), ("floors", floors)) for name in fused]
    inside = [name for name in fused if name in case]
    candidates = fill("candidates", [{
        "case_id": "t", "session_ids": inside, "score": max(fused[name] for name in inside), "selected_by": "rank", "rank": 1,
        "floor": max((floors[name] for name in inside if name in floors), default=None), "sampling_probability": 1.0,
    }] if inside else [])
    ground = {"claim": CLAIM, "event_ids": [f"e-{name}" for name in cites], "holds": holds}
    schema = dict(tables.TABLES["verdicts"].schema)["grounds"].inner
    full = {field.name: ground.get(field.name) for field in schema.fields}
    verdicts = fill("verdicts", [] if verdict is None else [
        {"case_id": "t", "judge_id": "m", "judge_version": "1", "score": verdict, "usable": usable, "grounds": [full]}])
    made = session_scores(sessions, fill("scores", rows), candidates, verdicts, threshold, EVENTS)
    return {name: dict(zip(fused, np.round(values, 6).tolist(), strict=True)) for name, values in made.by_scorer.items()}


def test_a_session_of_a_story_has_what_speaks_of_itself():
    found = scored({"a": 0.8, "b": 0.3, "c": 0.0}, verdict=0.8)
    assert found["all"] == found["judge"] == {"a": 0.8, "b": 0.3, "c": 0.0}


def test_a_floor_lifts_the_session_whose_rule_it_is():
    assert scored({"a": 0.6, "b": 0.3, "c": 0.1}, {"b": 0.7}, verdict=0.7)["all"] == {"a": 0.6, "b": 0.7, "c": 0.1}


def test_among_sessions_that_a_floor_lifted_the_fused_score_decides():
    sessions = fill("sessions", [{"session_id": name} for name in "abc"])
    rows = [("fused", "a", 0.2), ("fused", "b", 0.6), ("fused", "c", 0.65), ("floors", "a", 0.7), ("floors", "b", 0.7), ("floors", "c", 0.0)]
    scores = fill("scores", [{"case_id": name, "session_id": name, "detector_id": kind, "score": value} for kind, name, value in rows])
    candidates = fill("candidates", [
        {"case_id": name, "session_ids": [name], "score": score, "floor": floor, "selected_by": "rank", "sampling_probability": 1.0}
        for name, score, floor in (("a", 0.2, 0.7), ("b", 0.6, 0.7), ("c", 0.65, None))])
    values = session_scores(sessions, scores, candidates, tables.empty("verdicts"), 0.5).by_scorer["all"]
    assert values[1] > values[0] > 0.7 - 1e-9 > values[2] == 0.65
    assert values == pytest.approx([0.7, 0.7, 0.65], abs=1e-6)


def test_what_a_verdict_adds_goes_to_the_sessions_that_its_grounds_cite():
    found = scored({"a": 0.4, "b": 0.3, "c": 0.1}, verdict=0.9, cites="b")
    assert found["all"] == {"a": 0.4, "b": 0.9, "c": 0.1}


def test_where_no_ground_that_holds_cites_anybody_the_highest_session_has_it():
    for more in ({"cites": ""}, {"cites": "b", "holds": False}):
        assert scored({"a": 0.4, "b": 0.3, "c": 0.1}, verdict=0.9, **more)["all"] == {"a": 0.9, "b": 0.3, "c": 0.1}


def test_a_verdict_lowers_every_session_to_it_and_none_below_its_own_floor():
    found = scored({"a": 0.8, "b": 0.3, "c": 0.1}, {"c": 0.2}, verdict=0.2)
    assert found["all"] == {"a": 0.2, "b": 0.2, "c": 0.2}
    assert scored({"a": 0.8, "b": 0.3, "c": 0.1}, {"c": 0.7}, verdict=0.1)["all"]["c"] == 0.7


def test_an_unusable_verdict_changes_nothing():
    found = scored({"a": 0.6, "b": 0.3, "c": 0.1}, verdict=0.95, usable=False, cites="b")
    assert found["all"] == {"a": 0.6, "b": 0.3, "c": 0.1}
    assert set(found["judge"].values()) == {0.0}


def test_the_verdict_on_a_case_of_one_session_is_its_score_whatever_it_cites():
    assert scored({"a": 0.4, "b": 0.3}, verdict=0.9, cites="b", case="a")["all"] == {"a": 0.9, "b": 0.3}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1).map(lambda value: round(value, 4)), min_size=2, max_size=12, unique=True), st.floats(0.01, 1))
def test_whoever_is_not_shown_keeps_the_order_of_fused_and_is_never_flagged(fused, threshold):
    names = dict(zip("abcdefghijkl", fused, strict=False))
    sessions = fill("sessions", [{"session_id": name} for name in names])
    scores = fill("scores", [{"case_id": name, "session_id": name, "detector_id": "fused", "score": value} for name, value in names.items()])
    made = session_scores(sessions, scores, tables.empty("candidates"), tables.empty("verdicts"), threshold)
    values = made.by_scorer["all"]
    assert (values < threshold).all()
    assert np.array_equal(np.argsort(values, kind="stable"), np.argsort(fused, kind="stable"))
    low = np.array(fused) <= threshold - 0.001
    assert np.array_equal(values[low], np.array(fused)[low])
