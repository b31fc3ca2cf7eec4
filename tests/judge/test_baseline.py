from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_lab import tables
from audit_lab.judge import judge_cases


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_fused_score_or_floor_never_lowers_the_score(case, fused, rise, floor):
    def score(value: float, least: float) -> float:
        candidates = case.candidates.with_columns(pl.lit(value).alias("score"), pl.lit(least).alias("floor"))
        return judge_cases(candidates, tables.empty("evidence"), tables.empty("signals")).verdicts["score"][0]

    assert score(fused, floor) <= score(fused + (1 - fused) * rise, floor)
    assert score(fused, floor * rise) <= score(fused, floor)
    assert score(fused, floor) == max(fused, floor)


def test_a_rules_floor_is_never_undercut(case, pack):
    weak = case.candidates.with_columns(pl.lit(0.01).alias("score"))
    verdict = judge_cases(weak, pack, case.signals.with_columns(pl.lit(0.83).alias("floor"))).verdicts.row(0, named=True)
    assert verdict["score"] == 0.83
    assert verdict["raw_score"] == 0.01
    assert verdict["action"] == "escalate"
    assert "a rule's floor of 0.83 stands" in verdict["summary"]


def test_it_says_that_no_language_model_was_asked(case, pack):
    made = judge_cases(case.candidates, pack, case.signals)
    verdict = made.verdicts.row(0, named=True)
    assert verdict["summary"].startswith("No language model was asked: 1 rule hit and 0 other signals give 0.90")
    assert verdict["summary_by"] == "template"
    assert (verdict["tokens_in"], verdict["tokens_out"], verdict["cost_usd"]) == (0, 0, None)
    assert made.egress.is_empty()


def test_grounds_are_the_weightiest_and_about_different_things(case, pack):
    verdict = judge_cases(case.candidates, pack, case.signals).verdicts.row(0, named=True)
    about = [ground["claim"]["predicate"] for ground in verdict["grounds"]]
    assert about[0] == "binding_cluster_admin"
    assert len(set(about)) == 3
    assert len(verdict["checks"]) == 3


def test_the_same_input_gives_the_same_verdict(case, pack):
    first, second = (judge_cases(case.candidates, pack, case.signals).verdicts for _ in range(2))
    assert first.equals(second)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_case_without_evidence_or_signals_still_gets_a_verdict(case, pack, strength):
    signals = case.signals.with_columns(pl.lit(strength).alias("strength")).clear() if strength else case.signals
    verdict = judge_cases(case.candidates, pack.clear(), signals).verdicts.row(0, named=True)
    assert verdict["grounds"] == []
    assert verdict["score"] == 0.9
