from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_lab.judge import judge_cases
from audit_lab.judge.baseline import WEIGHTS, combine_signals

SIGNALS = st.lists(st.tuples(st.sampled_from(sorted(WEIGHTS)), st.floats(0, 1)), max_size=12)


@given(SIGNALS, st.sampled_from(sorted(WEIGHTS)), st.floats(0, 1))
def test_one_more_signal_never_lowers_the_score(signals, kind, strength):
    before, later = combine_signals(signals), combine_signals([*signals, (kind, strength)])
    assert 0 <= before <= later + 1e-12
    assert later <= 1


@given(SIGNALS.filter(bool), st.integers(0, 11), st.floats(0, 1))
def test_a_stronger_signal_never_lowers_the_score(signals, place, rise):
    kind, strength = signals[place % len(signals)]
    stronger = [*signals]
    stronger[place % len(signals)] = (kind, strength + (1 - strength) * rise)
    assert combine_signals(signals) <= combine_signals(stronger) + 1e-12


def test_a_rules_floor_is_never_undercut(case, pack):
    weak = case.signals.with_columns(pl.lit(0.01).alias("strength"), pl.lit("low").alias("severity"), pl.lit(0.83).alias("floor"))
    verdict = judge_cases(case.candidates, pack, weak).verdicts.row(0, named=True)
    assert verdict["score"] == 0.83
    assert verdict["raw_score"] < 0.01
    assert verdict["action"] == "escalate"
    assert "a rule's floor of 0.83 stands" in verdict["summary"]


def test_it_says_that_no_language_model_was_asked(case, pack):
    made = judge_cases(case.candidates, pack, case.signals)
    verdict = made.verdicts.row(0, named=True)
    assert verdict["summary"].startswith("No language model was asked: 1 rule hit and 0 outlier signals give 0.65")
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
    assert verdict["score"] is not None
