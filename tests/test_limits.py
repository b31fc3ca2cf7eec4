"""What a day's cases may take: the list is cut where questions about it would cost too much, and says so."""

import polars as pl
import pytest

from audit_lab.judge import estimate_case
from audit_lab.judge.prompt import build_prompts, load_template
from audit_lab.limits import budget_notes, case_limits
from audit_lab.profile import EndpointSettings, JudgeSettings, Profile, SignalSettings
from audit_lab.signals import Limits
from audit_lab.signals.choice import DAYS
from audit_lab.tables import empty

PRICED = {"usd_per_million_in": 2.0, "usd_per_million_out": 10.0}


def profile(judge: dict, **signals: object) -> Profile:
    return Profile(judge=JudgeSettings(**judge), signals=SignalSettings(**signals))


def test_the_baseline_asks_no_model_so_only_cases_limit_it():
    assert case_limits(profile({})) == (Limits(), "")


def test_a_model_is_asked_within_the_judges_daily_limits():
    limits, unknown = case_limits(profile({"judge": "openai", "model": "m", "max_tokens_per_day": 9_000, **PRICED}))
    assert (limits.tokens, limits.usd, unknown) == (9_000, 20.0, "")
    assert limits.tokens_per_case > 900 + 800
    assert limits.usd_per_case == pytest.approx(estimate_case(JudgeSettings(**PRICED)).usd)


def test_limits_of_the_list_itself_hold_whoever_judges():
    limits, unknown = case_limits(profile({}, budget_tokens=1_000, budget_usd=2.0))
    assert (limits.tokens, limits.usd, limits.usd_per_case) == (1_000, 2.0, None)
    assert unknown.startswith("money does not limit the candidates: no price is known")


def test_an_unknown_price_is_said():
    _, unknown = case_limits(profile({"judge": "openai", "model": "nobody-knows-1"}))
    assert unknown == "money does not limit the candidates: no price is known for model 'nobody-knows-1' (judge.prices)"


def test_a_case_costs_at_least_its_prompt_and_its_answer():
    settings = JudgeSettings(examples=0, repair=False, **PRICED)
    prompt = build_prompts(["c"], empty("evidence"), load_template())["c"]
    made = estimate_case(settings)
    assert made.tokens >= prompt.tokens - 10 + settings.evidence_tokens + settings.max_output_tokens
    assert made.usd == pytest.approx(2e-6 * (made.tokens - 800) + 10e-6 * 800)


def test_repeats_repair_examples_and_a_second_model_cost_more():
    base = JudgeSettings(examples=0, repair=False, **PRICED)
    least = estimate_case(base)
    for more in ({"repeats": 3}, {"repair": True}, {"examples": 2}, {"large": EndpointSettings(model="l", **PRICED)}):
        dearer = estimate_case(base.model_copy(update=more))
        assert dearer.tokens > least.tokens, more
        assert dearer.usd > least.usd, more
    unpriced = estimate_case(base.model_copy(update={"large": EndpointSettings(model="nobody-knows-1")}))
    assert unpriced.usd is None


def test_a_day_that_ended_on_tokens_or_money_is_noted_and_others_are_not():
    rows = [("2026-01-05", "cases", 9), ("2026-01-06", "tokens", 9), ("2026-01-07", "tokens", 0), ("2026-01-08", "money", 2)]
    days = pl.DataFrame(
        [{"day": day, "limit": limit, "allowed": 4, "n_left": left, "n_floor": 0, "loudest": None, "n_loudest": 0} for day, limit, left in rows]
    ).with_columns(pl.col("day").str.to_date())
    assert set(days.columns) <= set(DAYS)
    limits = Limits(20_000, 1.0, 5_000, 0.25)
    assert budget_notes(days, limits) == [
        "2026-01-06: the budget of tokens allows 4 cases (20,000 tokens, 5,000 a case at most); 9 that scored were left out",
        "2026-01-08: the budget of money allows 4 cases (1 US dollars, 0.25 a case at most); 2 that scored were left out",
    ]


def test_a_day_whose_list_is_filled_by_floors_names_the_loudest_rule():
    row = {"day": "2026-01-05", "limit": "cases", "allowed": 40, "n_left": 12, "n_floor": 31, "loudest": "noisy-rule", "n_loudest": 27}
    days = pl.DataFrame([row, row | {"n_left": 0}, row | {"n_floor": 20}]).with_columns(pl.col("day").str.to_date())
    assert budget_notes(days, Limits()) == [
        "2026-01-05: rules with a floor took 31 of 40 cases, 'noisy-rule' alone 27: see audit-lab rules tune"]


def test_a_budget_too_small_for_the_random_share_is_noted():
    row = {"day": "2026-01-05", "limit": "cases", "allowed": 4, "n_left": 12, "n_floor": 0, "loudest": None, "n_loudest": 0, "n_exploration": 1}
    days = pl.DataFrame([row, row | {"allowed": 1, "n_exploration": 0}, row | {"allowed": 40, "n_exploration": 4}])
    assert budget_notes(days, Limits(), 0.1) == [
        "2 days with a budget of 1 to 4 cases, too small for an exploration share of 0.1: 1 were drawn at random, one a day at most "
        "and none where one case is all"]
    assert budget_notes(days, Limits(), 0.5) == [] == budget_notes(days, Limits(), 0.0)
