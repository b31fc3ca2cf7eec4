"""The whole evaluation on small stories whose figures can be counted by hand."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from evaluation_story import T0, Story
from hypothesis import given
from hypothesis import strategies as st

from audit_lab import tables
from audit_lab.errors import ContractError
from audit_lab.evaluate import evaluate
from audit_lab.evaluate.ranking import threshold_at_share
from audit_lab.profile import EvaluateSettings


def mixed(story: Story) -> Story:
    """Two attacks (one found), one look-alike that is flagged, three ordinary sessions (one flagged)."""
    story.incident("attack-1")
    story.incident("attack-2", technique_ids=["T1552"])
    story.incident("look-alike", malicious=False, reason="backup")
    story.session("mallory", "attack-1", verdict=0.9, fused=0.4, rules=0.7, outliers=0.2)
    story.session("mallory", "attack-1", verdict=0.1, fused=0.6, rules=0.0, outliers=0.9)
    story.session("trent", "attack-2", case=False, fused=0.45, rules=0.1, outliers=0.3)
    story.session("velero", "look-alike", verdict=0.8, fused=0.8, rules=0.6, outliers=0.1)
    story.session("alice", verdict=0.6, fused=0.3, rules=0.0, outliers=0.8)
    story.session("bob", verdict=0.2, fused=0.7, rules=0.0, outliers=0.1)
    story.session("carol", case=False, fused=0.99, rules=0.0, outliers=0.1)
    return story


def test_counts_and_rates_by_hand(story: Story) -> None:
    found = mixed(story).evaluate().as_dict()
    sessions = found["sessions"]
    assert {key: sessions[key] for key in ("n", "malicious", "flagged", "tp", "fp", "fn", "tn")} == {
        "n": 7, "malicious": 3, "flagged": 3, "tp": 1, "fp": 2, "fn": 2, "tn": 2}
    assert sessions["recall"]["value"] == pytest.approx(1 / 3)
    assert (sessions["fpr"]["value"], sessions["fpr"]["n"]) == (0.5, 4)
    assert (sessions["fpr_without_look_alikes"]["value"], sessions["fpr_without_look_alikes"]["n"]) == (pytest.approx(1 / 3), 3)
    assert sessions["precision"]["value"] == pytest.approx(1 / 3)
    assert (found["incidents"]["n"], found["incidents"]["found"], found["incidents"]["missed"]) == (2, 1, ["attack-2"])
    assert found["incidents"]["recall"]["value"] == 0.5
    assert found["benign_suspicious"] == {"n": 1, "flagged": 1, "ids": ["look-alike"], "rate": found["benign_suspicious"]["rate"]}
    assert found["threshold"] == 0.5
    assert set(found["by_detector"]) == {"rules", "outliers", "fused", "judge", "all"}
    assert [point["share"] for point in found["curve"]["all"]] == [0.01, 0.02, 0.05, 0.1, 0.2]
    json.dumps(found, allow_nan=False)


def test_time_to_detect_ends_with_the_first_flagged_session(story: Story) -> None:
    """attack-1 begins in s000; the judge flags s000 (ends after 30 s), the outliers only s001 (ends after 90 s)."""
    found = mixed(story).evaluate().as_dict()
    assert found["incidents"]["time_to_detect_s"] == {
        "n": 1, "median": 30.0, "low": None, "high": None, "p90": 30.0, "max": 30.0, "reason": "too few incidents for an interval: 1 of 5"}
    assert found["by_detector"]["outliers"]["incidents"]["time_to_detect_s"]["median"] == 90.0


def test_the_first_of_several_flagged_sessions_counts(story: Story) -> None:
    story.incident("a")
    for score in (0.9, 0.5, 0.8):
        story.session("m", "a", fused=score)
    story.session("x", fused=0.1)
    assert story.evaluate().as_dict()["incidents"]["time_to_detect_s"]["max"] == 30.0


def test_a_score_at_the_threshold_is_flagged(story: Story) -> None:
    story.incident("a")
    story.session("m", "a", fused=0.5)
    story.session("x", fused=0.499999)
    found = story.evaluate(0.5).as_dict()["sessions"]
    assert (found["tp"], found["fp"]) == (1, 0)


def test_who_was_not_shown_keeps_the_order_but_is_never_flagged(story: Story) -> None:
    found = mixed(story).evaluate()
    scores = dict(found.session_scores.filter(pl.col("scorer") == "all").select("session_id", "score").iter_rows())
    assert 0.5 > scores["s006"] > 0.499
    assert scores["s002"] == 0.45


def test_nobody_unshown_reaches_any_threshold(story: Story) -> None:
    story.incident("a")
    story.session("m", "a", case=False, fused=1.0)
    story.session("b", verdict=0.2, fused=0.1)
    for threshold in (0.0, 0.3, 1.0):
        flagged = story.evaluate(threshold).session_scores.filter((pl.col("scorer") == "all") & pl.col("flagged"))["session_id"].to_list()
        assert "s000" not in flagged


def test_a_verdict_is_never_below_the_floor_and_an_unusable_one_is_not_used(story: Story) -> None:
    story.incident("a")
    story.session("m", "a", verdict=0.1, floor=0.7, fused=0.2)
    story.session("x", verdict=0.95, usable=False, fused=0.3)
    story.session("y", fused=0.6)
    scores = story.evaluate().session_scores.filter(pl.col("scorer") == "all").sort("session_id")["score"].to_list()
    assert scores == pytest.approx([0.7, 0.3, 0.6])


def test_a_scorer_without_scores_is_null_with_a_reason(story: Story) -> None:
    story.incident("a")
    story.session("m", "a", fused=0.9)
    story.session("b", fused=0.1)
    found = story.evaluate().as_dict()
    judge = found["by_detector"]["judge"]
    assert judge["sessions"]["tp"] is None
    assert judge["sessions"]["recall"] == {"value": None, "low": None, "high": None, "n": 1, "reason": "no judge has run"}
    assert judge["average_precision"] is None
    assert judge["incidents"]["found"] is None
    assert found["curve"]["rules"][0]["found"] is None
    assert found["by_detector"]["rules"]["sessions"]["fpr"]["reason"] == "no scores of 'rules'"
    assert found["by_detector"]["fused"]["incidents"]["found"] == 1


def test_a_users_detector_gets_its_own_block(story: Story) -> None:
    story.incident("a")
    story.session("m", "a", fused=0.1, mine=0.9)
    assert story.evaluate().as_dict()["by_detector"]["mine"]["incidents"]["found"] == 1


def test_without_incidents_recall_is_null_and_fpr_is_there(story: Story) -> None:
    story.session("a", fused=0.9)
    story.session("b", fused=0.1)
    found = story.evaluate().as_dict()
    assert found["sessions"]["recall"]["reason"] == "no malicious sessions"
    assert found["sessions"]["fpr"]["value"] == 0.5
    assert found["average_precision"] is None
    assert found["average_precision_interval"]["reason"] == "no malicious sessions"
    assert found["incidents"]["recall"]["reason"] == "no malicious incidents"
    assert found["incidents"]["time_to_detect_s"]["reason"] == "no incident was found"


def test_an_empty_lab_is_all_null(story: Story) -> None:
    story.incident("a")
    found = story.evaluate().as_dict()
    assert found["sessions"]["n"] == 0
    assert found["sessions"]["fpr"]["value"] is None
    json.dumps(found, allow_nan=False)


def test_an_incident_outside_the_data_is_named_and_not_counted(story: Story) -> None:
    story.incident("before", start=T0 - timedelta(days=2), end=T0 - timedelta(days=1))
    story.incident("touching", start=T0 - timedelta(days=2), end=T0)
    story.incident("lost", start=T0, end=T0 + timedelta(minutes=1))
    story.incident("undated")
    story.incident("a")
    story.session("m", "a", fused=0.9)
    story.session("m2", fused=0.9)
    found = story.evaluate().as_dict()
    assert found["incidents_outside_data"] == ["before"]
    assert (found["incidents"]["n"], found["incidents"]["missed"]) == (4, ["touching", "lost", "undated"])


def test_incident_rows_say_who_found_it_at_which_rank_and_when(story: Story) -> None:
    rows = {row["incident_id"]: row for row in mixed(story).evaluate().incident_rows.to_dicts()}
    first, second = rows["attack-1"], rows["attack-2"]
    assert first["found_by"] == ["rules", "outliers", "fused", "judge", "all"]
    assert (first["rank"], first["score"], first["n_sessions"], first["n_events"]) == (1, 0.9, 2, 2)
    assert (first["detected_at"], first["time_to_detect_s"]) == (T0 + timedelta(seconds=30), 30.0)
    assert (second["found_by"], second["detected_at"], second["technique_ids"]) == ([], None, ["T1552"])


def test_metrics_fit_the_contract_and_repeat_the_object(story: Story) -> None:
    found = mixed(story).evaluate(split="sample")
    metrics = tables.check(found.metrics, "metrics")
    key = list(tables.TABLES["metrics"].key)
    assert metrics.select(key).is_unique().all()
    one = metrics.filter((pl.col("scorer") == "all") & (pl.col("unit") == "session") & (pl.col("measure") == "fpr")).row(0, named=True)
    assert (one["value"], one["n"], one["split"], one["prevalence"]) == (0.5, 4, "sample", pytest.approx(3 / 7))
    assert metrics.filter(pl.col("value").is_null() & pl.col("reason").is_null()).is_empty()


def test_events_and_named_incidents(story: Story) -> None:
    """Each session holds one event; the judge names an event of attack-1 in a ground that holds, one of attack-2 in one that does not."""
    claim = {"kind": "count", "predicate": "exec", "then": None, "n": 1, "scope": None}
    frames = mixed(story).frames()
    grounds = [
        [{"claim": claim, "event_ids": ["e-s000"], "holds": True, "wrong": None, "sentence": "x"},
         {"claim": claim, "event_ids": ["e-s002"], "holds": False, "wrong": "not there", "sentence": "x"}]
        if case == "c-s000" else [] for case in frames["verdicts"]["case_id"]
    ]
    frames["verdicts"] = frames["verdicts"].with_columns(pl.Series("grounds", grounds, dtype=frames["verdicts"].schema["grounds"]))
    found = evaluate(**frames, settings=EvaluateSettings(bootstrap=100)).as_dict()
    assert found["incidents"]["cited"]["value"] == 0.5
    assert (found["events"]["n"], found["events"]["malicious"]) == (7, 3)
    assert found["events"]["recall"]["value"] == pytest.approx(1 / 3)
    assert found["events"]["precision"]["value"] == pytest.approx(1 / 3)
    judge = found["judges"]["baseline@1"]
    assert (judge["n_cases"], judge["n_answered"], judge["recall"]["value"]) == (5, 5, 0.5)
    assert (judge["cost_usd"], judge["cost_per_finding_usd"], judge["cost_reason"]) == (0.0, 0.0, None)  # nothing was sent


def test_labels_that_were_taken_back_do_not_count(story: Story) -> None:
    frames = mixed(story).frames()
    label = frames["labels"].filter(pl.col("session_id") == "s002")
    undo = label.with_columns(label_id=pl.lit("y-undo"), verdict=pl.lit("withdrawn"), replaces=pl.col("label_id"))
    found = evaluate(**{**frames, "labels": pl.concat([frames["labels"], undo])}, settings=EvaluateSettings(bootstrap=100)).as_dict()
    assert found["sessions"]["malicious"] == 2


def test_same_inputs_same_id_whatever_the_order(story: Story) -> None:
    frames = mixed(story).frames()
    settings = EvaluateSettings(bootstrap=100)
    first = evaluate(**frames, settings=settings)
    shuffled = evaluate(**{name: frame.sample(fraction=1, shuffle=True, seed=1) for name, frame in frames.items()}, settings=settings)
    assert first.evaluation_id == shuffled.evaluation_id
    assert first.as_dict()["sessions"] == shuffled.as_dict()["sessions"]
    assert first.evaluation_id != evaluate(**frames, settings=EvaluateSettings(bootstrap=100, threshold=0.4)).evaluation_id


def test_a_wrong_frame_is_refused(story: Story) -> None:
    frames = mixed(story).frames()
    with pytest.raises(ContractError, match="table 'scores'"):
        evaluate(**{**frames, "scores": frames["scores"].drop("score")}, settings=EvaluateSettings())


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60), st.sampled_from([0.01, 0.05, 0.2, 0.5, 1.0]))
def test_no_more_than_the_share_is_let_through_and_a_lower_threshold_would(rows: list[tuple[int, bool]], share: float) -> None:
    scores, malicious = (np.array(column) for column in zip(*rows, strict=True))
    threshold, passed = threshold_at_share(scores, malicious, share)
    allowed = share * (~malicious).sum() + 1e-9
    lower = scores if threshold is None else scores[scores < threshold]
    if threshold is not None:
        assert passed == ((scores >= threshold) & ~malicious).sum() <= allowed
    if lower.size:
        assert ((scores >= lower.max()) & ~malicious).sum() > allowed


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60))
def test_a_larger_share_never_raises_the_threshold(rows: list[tuple[int, bool]]) -> None:
    scores, malicious = (np.array(column) for column in zip(*rows, strict=True))
    found = [threshold_at_share(scores, malicious, share)[0] for share in (0.01, 0.1, 0.3, 0.9)]
    values = [np.inf if threshold is None else threshold for threshold in found]
    assert values == sorted(values, reverse=True)
