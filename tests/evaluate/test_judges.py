"""The harness is proved with judges of known error; comparisons are proved against statsmodels and by what they should not find."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from evaluation_story import Story
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as golden_mcnemar

from audit_lab import tables
from audit_lab.evaluate.cases import case_truth, judge_figures
from audit_lab.evaluate.comparison import compare_versions, injection_success, mcnemar
from audit_lab.evaluate.scripted import SCRIPTS, Script, scripted_verdicts


def cases(n: int = 1200, prevalence: float = 0.3, seed: int = 0, per_actor: int = 3) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    malicious = generator.random(n) < prevalence
    return pl.DataFrame({
        "case_id": [f"c{number:05}" for number in range(n)], "actor": [f"u{number // per_actor}" for number in range(n)],
        "malicious": malicious, "injected": generator.random(n) < 0.25,
    }).with_columns(pl.when("malicious").then(pl.lit("malicious")).otherwise(pl.lit("benign")).alias("class"))


@pytest.mark.parametrize("name", ["few_shot", "zero_shot", "random"])
def test_the_harness_recovers_the_error_of_a_scripted_judge(name: str) -> None:
    script, truth = SCRIPTS[name], cases()
    held = 0
    for seed in range(30):
        found = judge_figures(truth, scripted_verdicts(truth, script, seed), resamples=200)
        held += (found.recall.low <= script.tpr <= found.recall.high) + (found.fpr.low <= script.fpr <= found.fpr.high)
        assert found.recall.value == pytest.approx(script.tpr, abs=0.12)
    assert held / 60 >= 0.87


def test_a_random_judge_is_worth_the_prevalence_and_a_constant_one_too() -> None:
    truth = cases()
    share = truth["malicious"].mean()
    for name in ("random", "constant"):
        found = judge_figures(truth, scripted_verdicts(truth, SCRIPTS[name]), resamples=200)
        assert found.precision.value == pytest.approx(share, abs=0.05)
        assert found.average_precision.value == pytest.approx(share, abs=0.06)
    constant = judge_figures(truth, scripted_verdicts(truth, SCRIPTS["constant"]), resamples=200)
    assert (constant.recall.value, constant.fpr.value) == (1.0, 1.0)
    assert constant.recall.low < 1.0


def test_a_hijacked_judge_is_caught() -> None:
    truth = cases()
    plain = scripted_verdicts(truth.drop("injected"), SCRIPTS["hijacked"])
    turned = scripted_verdicts(truth, SCRIPTS["hijacked"])
    injected = truth.filter("injected")["case_id"]
    with_text = turned.filter(pl.col("case_id").is_in(injected.implode()))
    rate = injection_success(plain, with_text)
    assert rate.value == 1.0
    assert rate.low > 0.9
    honest = injection_success(plain, plain.filter(pl.col("case_id").is_in(injected.implode())))
    assert (honest.value, honest.low) == (0.0, 0.0)
    recall = judge_figures(truth, turned, resamples=200).recall
    assert recall.high < 0.93


def test_no_answer_counts_as_talked_out_of() -> None:
    plain = pl.DataFrame({"case_id": ["a", "b"], "score": [0.9, 0.9]})
    assert injection_success(plain, pl.DataFrame({"case_id": ["a", "b"], "score": [None, 0.9]})).value == 0.5
    assert injection_success(plain, plain.clear()).value is None


def test_scripted_verdicts_fit_the_contract_and_do_not_depend_on_company() -> None:
    truth = cases(50)
    all_of_them = scripted_verdicts(truth, SCRIPTS["zero_shot"])
    tables.check(all_of_them, "verdicts")
    some = scripted_verdicts(truth.filter(pl.int_range(pl.len()) % 3 == 0), SCRIPTS["zero_shot"])
    assert some.equals(all_of_them.filter(pl.col("case_id").is_in(some["case_id"].implode())))
    assert scripted_verdicts(truth, SCRIPTS["zero_shot"], 8)["score"].to_list() != all_of_them["score"].to_list()


def test_unanswered_cases_grounds_and_costs() -> None:
    truth = cases(10, prevalence=1.0, per_actor=1)
    verdicts = scripted_verdicts(truth, Script("sure", 1.0, 0.0)).with_columns(
        score=pl.when(pl.int_range(pl.len()) < 8).then("score"), usable=pl.int_range(pl.len()) < 6, cost_usd=pl.lit(0.02),
        grounded_share=pl.lit(0.5), tokens_in=pl.lit(100), tokens_out=pl.lit(20))
    found = judge_figures(truth, verdicts, resamples=100)
    assert (found.n_cases, found.n_answered, found.answered_share.value) == (10, 8, 0.8)
    assert (found.usable_share.value, found.grounded_share.value, found.tokens) == (0.75, 0.5, 1200)
    assert (found.cost_usd, found.cost_per_finding_usd, found.cost_reason) == (pytest.approx(0.2), pytest.approx(0.025), None)
    unknown = judge_figures(truth, verdicts.with_columns(cost_usd=pl.lit(None, dtype=pl.Float64)), resamples=100)
    assert (unknown.cost_usd, unknown.cost_reason) == (None, "no price is known for every call")


def test_case_truth_takes_the_worst_of_its_sessions(story: Story) -> None:
    story.incident("a")
    story.incident("n", malicious=False)
    for actor, incident in (("m", "a"), ("x", None), ("v", "n")):
        story.session(actor, incident, fused=0.5)
    frames = story.frames()
    joined = frames["candidates"].with_columns(session_ids=pl.Series([["s000", "s001"], ["s001"], ["s002", "s001"]]))
    truth = case_truth(joined, frames["sessions"], frames["labels"])
    assert truth.select("case_id", "class", "malicious", "actor").rows() == [
        ("c-s000", "malicious", True, "c\x1fm"), ("c-s001", "benign", False, "c\x1fx"), ("c-s002", "benign-but-suspicious", False, "c\x1fx")]


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_equals_statsmodels(only_first: int, only_second: int) -> None:
    golden = golden_mcnemar([[5, only_first], [only_second, 5]], exact=True).pvalue
    assert mcnemar(only_first, only_second, 100) == pytest.approx(min(golden, 1.0))


def test_a_better_version_is_told_from_a_worse_one() -> None:
    truth = cases()
    found = compare_versions(truth, scripted_verdicts(truth, SCRIPTS["zero_shot"]), scripted_verdicts(truth, SCRIPTS["few_shot"]), resamples=400)
    assert found.recall_difference.low < 0.13 < found.recall_difference.high
    assert found.fpr_difference.high < 0 < found.recall_difference.low
    assert max(found.recall_p, found.fpr_p, found.recall_mcnemar_p) < 0.01
    assert found.average_precision_difference.low > 0


def test_equal_versions_are_rarely_told_apart() -> None:
    truth = cases(400)
    rounds = 60
    wrong = sum(
        compare_versions(truth, scripted_verdicts(truth, SCRIPTS["zero_shot"], seed), scripted_verdicts(truth, SCRIPTS["zero_shot"], seed + 1000),
                         resamples=200).fpr_p <= 0.05 for seed in range(rounds))
    assert wrong / rounds <= 0.15


def test_only_cases_that_both_answered_are_compared() -> None:
    truth = cases(30)
    first = scripted_verdicts(truth, SCRIPTS["few_shot"])
    second = scripted_verdicts(truth, SCRIPTS["few_shot"]).head(20).with_columns(score=pl.when(pl.int_range(pl.len()) > 0).then("score"))
    found = compare_versions(truth, first, second, resamples=100)
    assert (found.n, found.n_only_one) == (19, 11)
    assert (found.recall_difference.value, found.recall_p) == (0.0, 1.0)
    assert found.recall_difference.reason == "the two versions call every one of them alike"


def test_without_malicious_cases_recall_is_null() -> None:
    truth = cases(20, prevalence=0.0)
    verdicts = scripted_verdicts(truth, SCRIPTS["few_shot"])
    found = compare_versions(truth, verdicts, verdicts, resamples=100)
    assert (found.recall_difference.value, found.recall_p, found.recall_mcnemar_p) == (None, None, None)
    assert judge_figures(truth, verdicts, resamples=100).recall.reason == "no malicious cases"
