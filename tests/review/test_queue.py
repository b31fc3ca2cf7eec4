"""The queue: priorities with reasons, audits among alerts, blind shares, two reviewers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.profile import ReviewSettings
from audit_lab.review import build_queue, hide_blind, new_label, prioritise, spread_case_labels
from audit_lab.review.queue import HIDDEN_WHEN_BLIND, audit_budget

T0 = datetime(2026, 11, 23, 9, tzinfo=UTC)
PLAIN = ReviewSettings(blind_share=0, second_share=0)


def candidates(*rows: tuple[str, float, float | None, str]) -> pl.DataFrame:
    return pl.DataFrame([{
        "case_id": name, "rank": k + 1, "session_ids": [f"s-{name}"], "score": score, "floor": floor, "selected_by": by,
        "sampling_probability": 0.2 if by == "exploration" else 1.0, "why": "rule",
    } for k, (name, score, floor, by) in enumerate(rows)], schema=tables.TABLES["candidates"].schema)


def verdict(case_id: str, score: float | None, usable: bool = True, judge: str = "m") -> dict[str, object]:
    ground = {"claim": None, "event_ids": ["e1"], "holds": True, "wrong": None, "sentence": "It read a secret.", "sentence_ko": None,
              "relevance": None, "note": None}
    return {"case_id": case_id, "judge_id": judge, "judge_version": "1", "prompt_sha256": "", "score": score, "raw_score": score, "usable": usable,
            "summary": f"Gives {score}.", "summary_by": "model", "grounds": [ground], "checks": [], "action": "review", "attempts": 1, "tokens_in": 0,
            "tokens_out": 0, "cached": False}


def verdicts(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=tables.TABLES["verdicts"].schema)


def critical(session_id: str) -> pl.DataFrame:
    return pl.DataFrame([{
        "session_id": session_id, "detector_id": "bad-rule", "detector_version": "1", "kind": "rule", "strength": 1.0, "severity": "critical",
        "floor": None, "p_value": None, "reason": "x", "event_ids": ["e1"]}], schema=tables.TABLES["signals"].schema)


def sessions(*names: str) -> pl.DataFrame:
    kinds = tables.TABLES["sessions"].schema
    blank = {name: 0 if dtype.is_numeric() else False if dtype == pl.Boolean else "" for name, dtype in kinds.items() if not isinstance(dtype, pl.List)}
    rows = [{**blank, "session_id": f"s-{name}", "actor": f"actor-{name}", "start": T0 + timedelta(minutes=k), "end": T0 + timedelta(minutes=k + 1),
             "n_events": 3, "summary": f"human did {name}"} for k, name in enumerate(names)]
    return pl.DataFrame([{key: value for key, value in row.items() if key in kinds} for row in rows], schema=kinds)


def queue_of(cases: pl.DataFrame, settings: ReviewSettings = PLAIN, labels: pl.DataFrame | None = None, **more: object) -> pl.DataFrame:
    judged = prioritise(cases, tables.empty("verdicts"), tables.empty("signals"), settings, 0.5)
    names = [name.removeprefix("s-") for name in cases["session_ids"].explode()]
    return build_queue(judged, sessions(*names), tables.empty("labels") if labels is None else labels, settings, **more)


def test_each_priority_says_why() -> None:
    cases = candidates(("a", 0.9, None, "rank"), ("b", 0.6, None, "rank"), ("c", 0.3, 0.7, "floor"), ("d", 0.2, None, "rank"), ("e", 0.6, None, "rank"))
    found = prioritise(cases, verdicts(verdict("b", 0.75), verdict("d", 0.9, usable=False)), critical("s-e"), PLAIN, 0.5)
    assert found.select("case_id", "score", "priority", "priority_reason").rows() == [
        ("a", 0.9, "P1", "score 0.9 of the signals, no verdict: at least 0.85"),
        ("b", 0.75, "P2", "score 0.75 of judge m: at least 0.7"),
        ("c", 0.7, "P2", "score 0.7, the floor of a rule that matched: at least 0.7"),
        ("d", 0.2, "P4", "score 0.2 of the signals, no verdict: below 0.5"),
        ("e", 0.6, "P1", "critical rule bad-rule matched"),
    ]


def test_no_judge_puts_a_case_below_the_floor_of_its_rule() -> None:
    found = prioritise(candidates(("a", 0.9, 0.8, "floor")), verdicts(verdict("a", 0.1)), tables.empty("signals"), PLAIN, 0.5)
    assert found.select("score", "is_flagged").row(0) == (0.8, True)


def test_alerts_come_by_priority_and_audits_stand_between_them() -> None:
    rows = [(f"a{k}", 0.95 - k / 100, None, "rank") for k in range(8)] + [("x", 0.1, None, "exploration"), ("y", 0.0, None, "exploration"), ("z", 0.2, None, "rank")]
    found = queue_of(candidates(*rows))
    assert found["place"].to_list() == list(range(1, 11))
    assert found.filter(pl.col("kind") == "alert")["case_id"].to_list() == [f"a{k}" for k in range(8)]
    audits = found.filter(pl.col("kind") == "audit")
    assert (sorted(audits["case_id"]), audits["sampling_probability"].to_list()) == (["x", "y"], [0.2, 0.2])
    assert audits["place"].to_list() == [4, 8], "evenly between the alerts"
    assert "z" not in found["case_id"], "chosen, below the line, not drawn"
    drawn = queue_of(candidates(*rows), drawn=pl.DataFrame({"case_id": ["z"], "sampling_probability": [0.5]}))
    assert drawn.filter(pl.col("case_id") == "z").select("kind", "sampling_probability").row(0) == ("audit", 0.5)
    assert queue_of(candidates(*rows), kinds=("alert", "audit", "below"))["case_id"].to_list()[-1] == "z"


def test_a_case_drawn_at_random_and_judged_high_does_not_wait() -> None:
    rows = [(f"a{k}", 0.6, None, "rank") for k in range(6)] + [("x", 0.1, None, "exploration")]
    judged = prioritise(candidates(*rows), verdicts(verdict("x", 0.97)), tables.empty("signals"), PLAIN, 0.5)
    found = build_queue(judged, sessions(*[row[0] for row in rows]), tables.empty("labels"), PLAIN)
    assert found.select("case_id", "kind").row(0) == ("x", "audit")


def test_blind_cases_hide_the_score_and_what_follows_from_it() -> None:
    rows = [(f"a{k}", 0.9, None, "rank") for k in range(200)] + [("x", 0.1, None, "exploration")]
    cases = candidates(*rows)
    judged = prioritise(cases, verdicts(verdict("a0", 0.9), verdict("x", 0.1)), tables.empty("signals"), PLAIN, 0.5)
    full = build_queue(judged, sessions(*[row[0] for row in rows]), tables.empty("labels"), ReviewSettings(blind_share=0.3))
    shown = hide_blind(full)
    share = full.filter(pl.col("kind") == "alert")["is_blind"].mean()
    assert 0.2 < share < 0.4
    blind = shown.filter("is_blind")
    for column in HIDDEN_WHEN_BLIND:
        assert blind[column].null_count() == blind.height, column
    assert shown.filter(~pl.col("is_blind"))["score"].null_count() == 0
    assert full.filter(pl.col("case_id") == "x").select("is_blind", "summary").row(0) == (True, "It read a secret.")
    again = build_queue(judged, sessions(*[row[0] for row in rows]), tables.empty("labels"), ReviewSettings(blind_share=0.3))
    assert again.equals(full)
    wider = build_queue(judged, sessions(*[row[0] for row in rows]), tables.empty("labels"), ReviewSettings(blind_share=0.6))
    assert set(full.filter("is_blind")["case_id"]) < set(wider.filter("is_blind")["case_id"]), "a larger share adds cases, it does not reshuffle"


def say(case_id: str, author: str, at: int = 0) -> pl.DataFrame:
    return new_label("case", case_id, "benign", author, T0 + timedelta(minutes=at), reason="x")


def test_what_was_labelled_leaves_the_queue_and_a_second_person_is_asked_for_the_stated_share() -> None:
    cases = candidates(*[(f"a{k}", 0.9, None, "rank") for k in range(100)])
    labels = pl.concat([say(f"a{k}", "kim") for k in range(100)])
    assert queue_of(cases, labels=labels).is_empty()
    settings = ReviewSettings(second_share=0.25, blind_share=0)
    second = queue_of(cases, settings, labels, author="lee")
    assert 10 < second.height < 40
    assert set(second["state"]) == {"second"}
    assert queue_of(cases, settings, labels, author="kim").is_empty(), "nobody is their own second reviewer"
    both = pl.concat([labels, *[say(case_id, "lee", 1) for case_id in second["case_id"]]])
    assert queue_of(cases, settings, both, author="max").is_empty()
    assert queue_of(cases, settings, both, include=["a3"]).select("case_id", "state").rows() == [("a3", "labelled")]


def test_named_reviewers_share_the_cases_and_strangers_are_refused() -> None:
    cases = candidates(*[(f"a{k}", 0.9, None, "rank") for k in range(90)])
    settings = ReviewSettings(reviewers=["kim", "lee", "max"], second_share=0, blind_share=0)
    parts = [set(queue_of(cases, settings, author=name)["case_id"]) for name in settings.reviewers]
    assert sum(map(len, parts)) == 90
    assert set.union(*parts) == set(cases["case_id"])
    assert min(map(len, parts)) > 15
    fewer = ReviewSettings(reviewers=["kim", "lee"], second_share=0, blind_share=0)
    assert parts[0] <= set(queue_of(cases, fewer, author="kim")["case_id"]), "who leaves changes nothing for the cases of the others"
    with pytest.raises(InputError, match="'eve' is not among the reviewers.*kim, lee, max"):
        queue_of(cases, settings, author="eve")


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0, 1), st.integers(0, 5))
def test_every_flagged_case_is_in_the_queue_once(scores: list[float], share: float, n_audits: int) -> None:
    rows = [(f"a{k}", score, None, "rank") for k, score in enumerate(scores)] + [(f"x{k}", 0.1, None, "exploration") for k in range(n_audits)]
    settings = ReviewSettings(blind_share=share, second_share=0)
    found = queue_of(candidates(*rows), settings) if rows else pl.DataFrame({"case_id": []})
    wanted = {name for name, score, _, by in rows if by == "exploration" or score >= 0.5}
    assert sorted(found["case_id"]) == sorted(wanted)


def test_a_share_of_the_alerts_is_drawn_below_the_line() -> None:
    cases = candidates(*[(f"a{k}", 0.9, None, "rank") for k in range(21)])
    judged = prioritise(cases, tables.empty("verdicts"), tables.empty("signals"), PLAIN, 0.5)
    assert audit_budget(judged, PLAIN) == 3


# ---- labels of cases, figures of sessions ---------------------------------------------------------------------

MEMBERS = pl.DataFrame({"case_id": ["c-1", "c-1", "c-2"], "session_id": ["s-1", "s-2", "s-3"]})
EVENTS = pl.DataFrame({"event_id": ["e1", "e2", "e3"], "session_id": ["s-1", "s-2", "s-3"]})


def spread(verdict_: str, case_id: str, events: list[str], session_id: str | None = None) -> list[tuple[str | None, list[str]]]:
    label = new_label("case", case_id, verdict_, "kim", T0, reason="x", event_ids=events, session_id=session_id)
    return spread_case_labels(label, MEMBERS, EVENTS).select("session_id", "event_ids").sort("session_id").rows()


def test_a_malicious_story_speaks_of_the_sessions_that_hold_its_events_a_benign_one_of_all() -> None:
    assert spread("malicious", "c-1", ["e1"]) == [("s-1", ["e1"])]
    assert spread("malicious", "c-1", []) == [("s-1", []), ("s-2", [])]
    assert spread("benign", "c-1", ["e1"]) == [("s-1", ["e1"]), ("s-2", [])]
    assert spread("benign", "c-2", ["e3"], "s-3") == [("s-3", ["e3"])]


def test_a_label_outlives_its_case_by_its_events() -> None:
    assert spread("benign", "c-gone", ["e2"]) == [("s-2", ["e2"])]
    assert spread("benign", "c-gone", ["e2"], "s-gone") == [("s-2", ["e2"])]
    assert spread("benign", "c-gone", []) == [(None, [])]


def test_other_labels_stay_as_they_are_and_ids_stay_unique() -> None:
    labels = pl.concat([
        new_label("session", "s-9", "benign", "kim", T0), new_label("case", "c-1", "benign", "kim", T0),
        new_label("case", "c-1", "benign", "lee", T0),
    ])
    found = spread_case_labels(labels, MEMBERS, EVENTS)
    assert found.height == 5
    assert found["label_id"].is_unique().all()
    assert found.filter(pl.col("target_kind") == "session").equals(labels.head(1))
