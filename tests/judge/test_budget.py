from __future__ import annotations

from datetime import date
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from audit_lab.errors import JudgeError
from audit_lab.judge.budget import Budget, Price, find_price, money_note
from audit_lab.profile import ChallengerSettings, EndpointSettings, JudgeSettings
from audit_lab.profile_files import load_profile, restored_profile

TODAY = date(2026, 3, 2)


def settings(**more):
    return JudgeSettings(**{"judge": "openai", "model": "m", **more})


@pytest.fixture
def table(tmp_path):
    """A price table of invented models."""
    path = tmp_path / "prices.toml"
    path.write_text('as_of = 2026-01-31\n[models]\n"oak" = [2.5, 10]\n"oak-mini" = [0.25, 1]\n')
    return str(path)


def test_the_profile_comes_before_the_table(table):
    assert find_price(settings(usd_per_million_in=1, usd_per_million_out=2)) == Price(1.0, 2.0)
    assert find_price(settings(model="oak", prices=table, usd_per_million_in=1)).usd_in == 2.5


def test_no_price_is_built_in():
    assert find_price(settings(model="oak")) == Price()


@pytest.mark.parametrize(("model", "known"), [
    ("oak", "oak"), ("oak-2024-08-06", "oak"), ("oak-mini", "oak-mini"), ("forest/oak-mini", "oak-mini"), ("OAK", "oak"),
    ("oak-audio-preview", None), ("llama-3-70b", None), ("", None),
])
def test_a_dated_version_costs_what_its_model_costs_and_a_stranger_has_no_price(model, known, table):
    found = find_price(settings(model=model, prices=table))
    assert found.usd_in == (find_price(settings(model=known, prices=table)).usd_in if known else None)
    assert found.of(1000, 1000) is None or known


def test_the_table_has_a_date_and_an_old_one_is_called_old(table):
    price = find_price(settings(model="oak", prices=table))
    assert price.as_of is not None
    assert not price.too_old(price.as_of)
    assert price.too_old(date(price.as_of.year + 1, price.as_of.month, 1))
    assert not Price(1, 1).too_old(TODAY)


def test_a_model_on_this_machine_costs_nothing_per_token():
    assert find_price(settings(gguf="/m.gguf")).of(10**6, 10**6) == 0.0


@pytest.mark.parametrize("text", ["", "as_of = 2026-01-01", "x = [", 'as_of = 2026-01-01\n[models]\n"a" = [1]', 'as_of = 2026-01-01\n[models]\n"a" = [-1, 1]',
                                  'as_of = "soon"\n[models]\n"a" = [1, 1]'])
def test_a_table_of_ones_own_is_read_and_a_bad_one_is_one_line(tmp_path, text):
    (tmp_path / "good.toml").write_text('as_of = 2026-01-01\n[models]\n"mine" = [3, 4.5]\n')
    assert find_price(settings(model="mine", prices=str(tmp_path / "good.toml"))).of(10**6, 10**6) == 7.5
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(JudgeError, match="price table") as caught:
        find_price(settings(prices=str(tmp_path / "bad.toml")))
    assert "\n" not in str(caught.value)
    with pytest.raises(JudgeError, match="price table"):
        find_price(settings(prices=str(tmp_path / "none.toml")))


@given(st.lists(st.integers(1, 400), max_size=40), st.integers(0, 3000))
def test_no_sequence_of_calls_overspends(calls, limit):
    budget = Budget.of(settings(max_tokens=limit, max_tokens_per_day=10**9))
    spent = 0
    for most in calls:
        if budget.reserve(most, None) is None:
            used = most // 2
            budget.settle(used - most, 0.0)
            spent += used
    assert spent == budget.tokens <= limit


def test_threads_cannot_overspend_together():
    budget = Budget.of(settings(max_tokens=1000, max_tokens_per_day=10**9))
    taken: list[int] = []

    def work() -> None:
        for _ in range(50):
            if budget.reserve(7, None) is None:
                taken.append(7)

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == budget.tokens <= 1000
    assert sum(taken) > 990


def test_money_is_counted_and_yesterday_does_not_count():
    calls = [{"at": "2026-03-02T01:00:00+00:00", "tokens_in": 10, "tokens_out": 5, "cost_usd": 0.9},
             {"at": "2026-03-01T23:59:59+00:00", "tokens_in": 999, "tokens_out": 5, "cost_usd": 9.0}]
    budget = Budget.of(settings(max_usd=5, max_usd_per_day=1.0), calls, TODAY)
    assert (budget.tokens_before, budget.usd_before) == (15, 0.9)
    assert budget.reserve(1, 0.2) == "the budget of 1 US dollars a day is used up"
    assert budget.reserve(1, 0.05) is None


def test_a_budget_of_nothing_allows_nothing_that_costs():
    assert Budget.of(settings(max_usd=0)).reserve(10, None) is None
    assert Budget.of(settings(max_usd=0)).reserve(10, 0.01) is not None
    assert Budget.of(settings(max_tokens=0)).reserve(10, None) is not None


@pytest.mark.parametrize("name", ["usd_per_million_in", "usd_per_million_out"])
def test_no_price_is_below_nothing(name):
    for section in (JudgeSettings, EndpointSettings, ChallengerSettings):
        with pytest.raises(ValidationError, match=name):
            section(**{name: -5.0})
        assert getattr(section(**{name: 0}), name) == 0


def test_a_limit_in_money_that_was_asked_for_needs_a_price(table):
    unknown, known = Price(), find_price(settings(model="oak", prices=table))
    assert "no price is known for model 'm'" in money_note(settings(), unknown)
    assert money_note(settings(max_usd=1), known) == ""
    for name in ("max_usd", "max_usd_per_day"):
        for half in (unknown, Price(1.0, None)):
            with pytest.raises(JudgeError, match=f"judge.{name} cannot hold: no price is known for model 'm'.*hint") as caught:
                money_note(settings(**{name: 0.0001}), half)
            assert "\n" not in str(caught.value)


def test_a_lab_that_remembers_its_settings_remembers_what_was_asked_for():
    def asked(**judge):
        kept = load_profile("default", {}).model_copy(update={"judge": settings(**judge)}).model_dump(mode="json")
        return restored_profile(kept).judge

    assert money_note(asked(challenger=ChallengerSettings(model="x")), Price())
    with pytest.raises(JudgeError, match="max_usd cannot hold"):
        money_note(asked(max_usd=1), Price())
    assert asked(max_usd=1).max_usd == 1
    assert asked(challenger=ChallengerSettings(max_usd=5.0)).challenger.model_fields_set.isdisjoint({"max_usd", "max_usd_per_day"})
    assert asked(challenger=ChallengerSettings(max_usd=3.0)).challenger.max_usd == 3.0
