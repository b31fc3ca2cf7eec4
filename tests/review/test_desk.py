"""The desk: what a reviewer can rely on, with a clock that the test holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_lab import tables
from audit_lab.errors import InputError, LabError
from audit_lab.review import Desk, append_labels, current_labels
from audit_lab.review.queue import QUEUE

T0 = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOSTILE = "evil\u202egnp\x1b[31m[red]<script>"


class Clock:
    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now

    def later(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


def queue(n: int = 3, blind: tuple[int, ...] = ()) -> pl.DataFrame:
    return pl.DataFrame([{
        "place": k + 1, "case_id": f"c-{k}", "kind": "alert", "state": "open", "is_blind": k in blind, "priority": "P1",
        "priority_reason": "score 0.91 of judge baseline", "score": 0.91, "action": "escalate", "summary": "It read a secret.", "n_sessions": 1,
        "n_events": 2, "actors": [HOSTILE], "start": T0, "end": T0, "n_labels": 0, "sampling_probability": 0.25 if k in blind else None,
        "session_ids": [f"s-{k}"],
    } for k in range(n)], schema=QUEUE)


def view(case_id: str) -> dict[str, object]:
    return {
        "case_id": case_id, "summary": "2 rule hits give 0.91.", "summary_by": "template", "summary_wrong": None, "omitted": None, "abstain": None,
        "why": "score 0.91", "judge": "baseline", "sessions": [], "links": [], "grounds": [], "checks": ["Ask the owner.", "Look at the node."],
        "signals": [{"detector_id": "r", "strength": 0.91, "event_ids": ["e1"]}],
        "events": [{"event_id": f"e{case_id}", "is_cited": True, "is_hit": False}, {"event_id": "e9", "is_cited": False, "is_hit": False}],
        "n_left": {"sessions": 0, "signals": 0, "events": 0},
    }


class Ledger:
    def __init__(self) -> None:
        self.rows = tables.empty("labels")
        self.fails = False

    def keep(self, new: pl.DataFrame) -> None:
        if self.fails:
            raise LabError("another process has been adding to labels", "try again")
        self.rows = append_labels(self.rows, new)


def desk(n: int = 3, blind: tuple[int, ...] = (), **more: object) -> tuple[Desk, Ledger, Clock]:
    ledger, clock = Ledger(), Clock()
    return Desk(queue(n, blind), view, "kim", clock, keep=ledger.keep, **more), ledger, clock


def test_labelling_keeps_the_row_and_goes_on_to_the_next_case() -> None:
    made, ledger, clock = desk()
    made.view()
    clock.later(2.5)
    said = made.label("malicious", " read all secrets ", [1])
    row = ledger.rows.row(0, named=True)
    assert said == json.loads(json.dumps(said))
    assert (row["target_kind"], row["target_id"], row["session_id"], row["verdict"], row["author"]) == ("case", "c-0", "s-0", "malicious", "kim")
    assert (row["reason"], row["minutes"], row["blind"], row["checks_done"], row["event_ids"]) == (
        "read all secrets", 2.5, False, ["Look at the node."], ["ec-0"])
    assert made.current == "c-1"
    assert made.progress == {"n": 3, "n_done": 1, "n_left": 2, "n_skipped": 0, "minutes": 2.5}
    assert made.labels.equals(ledger.rows)


def test_a_pause_counts_as_idle_minutes_and_no_more() -> None:
    made, ledger, clock = desk(idle_minutes=5)
    clock.later(90)
    made.label("unsure")
    assert ledger.rows["minutes"].to_list() == [5.0]


def test_undo_takes_back_by_a_row_and_the_case_lies_on_the_desk_again() -> None:
    made, ledger, clock = desk()
    made.label("benign", "planned")
    clock.later(1)
    made.label("malicious", "shell in a pod")
    assert made.undo() == "c-1"
    assert made.undo() == "c-0"
    assert made.undo() is None
    assert made.current == "c-0"
    assert ledger.rows["verdict"].to_list() == ["benign", "malicious", "withdrawn", "withdrawn"]
    assert current_labels(ledger.rows).is_empty()
    assert made.progress["n_done"] == 0


def test_a_second_word_replaces_the_first_and_undo_brings_the_first_one_back() -> None:
    made, ledger, _ = desk()
    made.label("benign", "planned")
    made.go("c-0")
    assert made.view()["label"]["verdict"] == "benign"
    made.label("malicious", "it was not planned")
    assert current_labels(ledger.rows)["verdict"].to_list() == ["malicious"]
    made.undo()
    assert current_labels(ledger.rows).select("verdict", "reason").rows() == [("benign", "planned")]
    made.undo()
    assert current_labels(ledger.rows).is_empty()


def test_a_label_of_an_earlier_sitting_is_corrected_not_doubled() -> None:
    first, ledger, _ = desk()
    first.label("benign", "planned")
    later = Clock()
    later.later(600)
    again = Desk(queue(), view, "kim", later, keep=ledger.keep, labels=current_labels(ledger.rows))
    assert again.progress["n_done"] == 1
    again.go("c-0")
    again.label("malicious", "the ticket was forged")
    assert ledger.rows["replaces"].to_list() == [None, ledger.rows["label_id"][0]]
    other = Desk(queue(), view, "lee", later, keep=ledger.keep, labels=current_labels(ledger.rows))
    assert other.progress["n_done"] == 0, "what somebody else said is neither shown nor replaced"
    assert other.view()["label"] is None


def test_what_could_not_be_kept_has_not_been_said() -> None:
    made, ledger, _ = desk()
    ledger.fails = True
    with pytest.raises(LabError, match="another process"):
        made.label("benign", "planned")
    assert (made.current, made.progress["n_done"], made.labels.height, made.undo()) == ("c-0", 0, 0, None)
    ledger.fails = False
    made.label("benign", "planned")
    ledger.fails = True
    with pytest.raises(LabError, match="another process"):
        made.undo()
    assert made.progress["n_done"] == 1
    ledger.fails = False
    assert made.undo() == "c-0"


def test_skipped_cases_come_again_when_the_others_are_done() -> None:
    made, _, _ = desk()
    assert made.skip() == "c-1"
    assert made.progress["n_skipped"] == 1
    made.label("unsure")
    made.label("unsure")
    assert made.current == "c-0"
    made.label("unsure")
    assert made.current is None
    assert made.view() == {"case_id": None, "author": "kim", "n": 3, "progress": made.progress, "label": None, "claim": None}
    with pytest.raises(InputError, match="nothing lies on the desk"):
        made.label("unsure")


def test_a_blind_case_shows_no_score_anywhere() -> None:
    made, ledger, _ = desk(blind=(0,))
    shown = made.view()
    assert shown["is_blind"]
    assert shown["summary"] == "It read a secret."
    for text in (json.dumps(shown), json.dumps(made.items()[0])):
        assert "0.91" not in text
        assert "P1" not in text
        assert "escalate" not in text
        assert "0.25" not in text, "the probability of the draw would tell that it is an audit"
    made.label("benign", "planned")
    row = ledger.rows.row(0, named=True)
    assert (row["blind"], row["sampling_probability"]) == (True, 0.25)
    assert "0.91" in json.dumps(made.view()), "the next one is not blind"


def test_a_verdict_needs_a_reason_unless_unsure() -> None:
    made, ledger, _ = desk()
    with pytest.raises(InputError, match="'benign' without a reason"):
        made.label("benign", "  ")
    with pytest.raises(InputError, match="no verdict 'maybe'.*malicious, benign, benign-but-suspicious, unsure"):
        made.label("maybe", "x")
    with pytest.raises(InputError, match="no check 2.*the case has 2"):
        made.label("benign", "x", [2])
    assert ledger.rows.is_empty()


def test_a_secret_in_a_reason_is_masked() -> None:
    made, ledger, _ = desk()
    made.label("malicious", "found password=hunter2 in the exec line")
    assert ledger.rows["reason"].to_list() == ["found password=*** in the exec line"]


def test_going_to_a_case_by_id_its_beginning_or_place() -> None:
    made, _, _ = desk(12)
    assert (made.go("c-7"), made.go("3"), made.current) == ("c-7", "c-2", "c-2")
    for wrong, said in (("c-1", "more than one"), ("c-x", "no case"), ("99", "no case"), ("", "no case")):
        with pytest.raises(InputError, match=said):
            made.go(wrong)


def test_originals_are_fetched_for_events_of_the_case_only() -> None:
    asked: list[list[str]] = []

    def fetch(event_ids: list[str]) -> list[dict[str, object]]:
        asked.append(event_ids)
        return [{"auditID": item, "userAgent": HOSTILE} for item in event_ids]

    made, _, _ = desk(originals=fetch)
    records = made.originals()
    assert asked == [["ec-0"]]
    assert "\u202e" not in records[0]["userAgent"]
    with pytest.raises(InputError, match="event 'other' is not among those shown"):
        made.originals(["other"])


def test_hostile_text_reaches_no_front_end_as_it_is() -> None:
    made, _, _ = desk()
    for text in (json.dumps(made.view(), ensure_ascii=False), json.dumps(made.items(), ensure_ascii=False)):
        assert "\u202e" not in text
        assert "\x1b" not in text


def test_an_empty_queue_and_a_nameless_reviewer() -> None:
    made, _, _ = desk(0)
    assert (made.current, made.skip(), made.undo(), made.items()) == (None, None, None, [])
    with pytest.raises(InputError, match="without a name"):
        Desk(queue(), view, " ", Clock())


ACTS = st.lists(st.one_of(
    st.tuples(st.just("label"), st.sampled_from(["malicious", "benign", "benign-but-suspicious", "unsure"])),
    st.tuples(st.just("go"), st.integers(0, 3)), st.tuples(st.sampled_from(["undo", "skip"]), st.none()),
), max_size=25)


@given(ACTS)
def test_whatever_a_reviewer_does_rows_are_only_added_and_the_last_word_stands(acts: list[tuple[str, object]]) -> None:
    made, ledger, clock = desk(4)
    history: list[dict[str, str]] = [{}]  # what stands after each label that was not undone
    for act, value in acts:
        before = ledger.rows
        clock.later(0.1)
        if act == "label" and made.current is not None:
            case_id = made.current
            made.label(str(value), "because")
            history.append({**history[-1], case_id: str(value)})
        elif act == "undo":
            assert (made.undo() is None) == (len(history) == 1)
            history = history[:-1] or [{}]
        elif act == "skip":
            made.skip()
        elif act == "go":
            made.go(f"c-{value}")
        assert ledger.rows.head(before.height).equals(before), "a row was changed"
        assert dict(current_labels(ledger.rows).select("target_id", "verdict").iter_rows()) == history[-1]
        assert made.progress["n_done"] == len(history[-1])


def test_the_summary_shown_is_the_one_that_its_marks_speak_of() -> None:
    made, _, _ = desk(2, blind=(1,))
    shown = made.view()
    assert (shown["summary"], shown["summary_by"], shown["priority"]) == ("2 rule hits give 0.91.", "template", "P1")
    made.go("c-1")
    shown = made.view()
    assert (shown["summary"], shown["summary_by"], shown["priority"], shown["score"]) == ("It read a secret.", "facts", None, None)
