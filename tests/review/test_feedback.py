"""What people decided against what rules and judges said: counted as a person would count by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.review import (
    decided_cases,
    judge_decisions,
    new_label,
    pull_of_the_score,
    repeated_mistakes,
    rule_decisions,
    wrong_grounds,
)

T0 = datetime(2026, 11, 23, 9, tzinfo=UTC)


def candidates(*names: str, more: dict[str, list[str]] | None = None) -> pl.DataFrame:
    return pl.DataFrame([{
        "case_id": f"c-{name}", "rank": k + 1, "session_ids": (more or {}).get(name, [f"s-{name}"]), "score": 0.5, "floor": None, "selected_by": "rank",
        "sampling_probability": 1.0, "why": "x"} for k, name in enumerate(names)], schema=tables.TABLES["candidates"].schema)


def say(target: str, verdict: str, author: str = "kim", minute: int = 0, **more: Any) -> pl.DataFrame:
    return new_label("case" if target.startswith("c-") else "session", target, verdict, author, T0 + timedelta(minutes=minute), **more)


def fired(session_id: str, rule: str) -> dict[str, Any]:
    return {"session_id": session_id, "detector_id": rule, "detector_version": "1", "kind": "rule", "strength": 1.0, "reason": "x", "event_ids": []}


def verdict(case_id: str, score: float | None, *predicates: str, wrong: tuple[str, ...] = ()) -> dict[str, Any]:
    def ground(predicate: str, holds: bool) -> dict[str, Any]:
        return {"claim": {"kind": "count", "predicate": predicate, "then": None, "n": 1, "scope": None}, "event_ids": [], "holds": holds}

    grounds = [ground(item, True) for item in predicates] + [ground(item, False) for item in wrong]
    return {"case_id": case_id, "judge_id": "m", "judge_version": "v1", "prompt_sha256": "", "score": score, "usable": not wrong, "grounds": grounds,
            "checks": [], "attempts": 1, "tokens_in": 0, "tokens_out": 0, "cached": False}


def verdicts(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=tables.TABLES["verdicts"].schema)


def test_a_case_is_decided_by_all_who_spoke_and_disputed_where_they_differ() -> None:
    labels = pl.concat([
        say("c-a", "malicious", reason="first"), say("c-a", "malicious", "lee", 1, reason="second"), say("c-b", "malicious"), say("c-b", "benign", "lee"),
        say("c-c", "benign"), say("c-c", "benign-but-suspicious", "lee"), say("c-d", "unsure"), say("s-e", "benign"), say("s-f1", "malicious"),
        say("c-gone", "malicious"),
    ])
    found = decided_cases(labels, candidates("a", "b", "c", "d", "e", "f", more={"f": ["s-f1", "s-f2"]}))
    assert found.select("case_id", "verdict", "is_malicious", "is_disputed", "n_people", "reason").rows() == [
        ("c-a", "malicious", True, False, 2, "second"), ("c-b", "malicious", None, True, 2, None),
        ("c-c", "benign-but-suspicious", False, False, 2, None), ("c-e", "benign", False, False, 1, None)]


def test_an_incident_file_is_nobodys_decision() -> None:
    row = new_label("incident", "i-1", "malicious", "incident file", T0, session_id="s-a")
    assert decided_cases(row, candidates("a")).is_empty()


def test_false_alarms_are_counted_per_rule_and_version_once_a_case() -> None:
    cases = candidates("a", "b", "c", more={"a": ["s-a1", "s-a2"]})
    signals = pl.DataFrame([fired("s-a1", "r"), fired("s-a2", "r"), fired("s-b", "r"), fired("s-b", "q"), fired("s-c", "q")],
                           schema=tables.TABLES["signals"].schema)
    decided = decided_cases(pl.concat([say("c-a", "benign"), say("c-b", "malicious"), say("c-c", "malicious"), say("c-c", "benign", "lee")]), cases)
    assert rule_decisions(decided, cases, signals).rows() == [("q", "1", "c-b", False), ("r", "1", "c-a", True), ("r", "1", "c-b", False)]


def test_mistakes_that_come_again_are_told_by_what_the_grounds_speak_of() -> None:
    names = "abcdefg"
    cases = candidates(*names)
    said = {"a": "benign", "b": "benign", "c": "benign-but-suspicious", "d": "malicious", "e": "malicious", "f": "malicious", "g": "malicious"}
    decided = decided_cases(pl.concat([say(f"c-{name}", word) for name, word in said.items()]), cases)
    made = verdicts(
        verdict("c-a", 0.9, "secret_get"), verdict("c-b", 0.8, "secret_get", "exec"), verdict("c-c", 0.5, "secret_get"), verdict("c-d", 0.9, "secret_get"),
        verdict("c-e", 0.2, "exec"), verdict("c-f", 0.1, "exec"), verdict("c-g", None, "exec"))
    decisions = judge_decisions(decided, made, 0.5)
    assert decisions.height == 6, "who abstained decided nothing"
    assert decisions.select(pl.col("is_flagged", "is_false", "is_missed").sum()).row(0) == (4, 3, 2)
    found = repeated_mistakes(decisions, 2)
    assert found.select("direction", "pattern", "n_wrong", "n", "case_ids").rows() == [
        ("false alarm", "secret_get", 3, 4, ["c-a", "c-b", "c-c"]), ("miss", "exec", 2, 2, ["c-e", "c-f"])]
    assert repeated_mistakes(decisions, 3)["pattern"].to_list() == ["secret_get"]


def test_grounds_that_do_not_hold_need_no_label() -> None:
    made = verdicts(verdict("c-a", 0.9, "secret_get", wrong=("exec",)), verdict("c-b", 0.9, "exec", wrong=("exec",)))
    assert wrong_grounds(made).select("pattern", "n_wrong", "n").rows() == [("count exec", 2, 3)]
    assert wrong_grounds(verdicts()).is_empty()


def test_the_pull_of_the_score_compares_blind_and_open_alerts() -> None:
    cases = candidates("a", "b", "c", "d")
    labels = pl.concat([
        say("c-a", "malicious", blind=True), say("c-b", "benign", blind=True), say("c-c", "malicious", blind=False), say("c-d", "malicious", blind=True)])
    flagged = pl.DataFrame({"case_id": ["c-a", "c-b", "c-c", "c-d"], "is_flagged": [True, True, True, False]})
    assert pull_of_the_score(decided_cases(labels, cases), flagged).rows() == [("blind", 2, 1), ("open", 1, 1)]
