from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outlier_frames import make_signals, world

from audit_lab import tables
from audit_lab.profile import SignalSettings
from audit_lab.signals.choice import Limits
from audit_lab.signals.fusion import rank_cases
from audit_lab.vocabulary import is_closed

MANY = world(*({"user": f"u{i}", "at": i} for i in range(200)))[0]
IDS = MANY["session_id"].to_list()


def rank(*rows: dict, sessions: pl.DataFrame = MANY, **more):
    return rank_cases(sessions, make_signals(*rows), SignalSettings(**{"budget_cases": 20, "exploration_share": 0.2, **more}))


def fused(made, session_id: str) -> float:
    return made.scores.filter((pl.col("session_id") == session_id) & (pl.col("detector_id") == "fused"))["score"].item()


def test_every_session_has_every_score_and_tables_keep_the_contract():
    made = rank({"session_id": IDS[0]}, {"session_id": IDS[1], "detector_id": "new-deed", "kind": "outlier"},
                {"session_id": IDS[2], "detector_id": "mine", "kind": "custom"})
    tables.check(made.candidates, "candidates")
    scores = tables.check(made.scores, "scores")
    assert scores.group_by("detector_id").len().sort("detector_id").rows() == [
        ("floors", 200), ("fused", 200), ("mine", 200), ("new-deed", 200), ("outliers", 200), ("rules", 200)]
    assert scores["score"].is_between(0, 1).all()


def test_grave_deeds_from_the_usual_place_reach_one_half_and_from_a_new_place_exceed_it():
    rules = [{"session_id": IDS[i], "strength": 0.95, "detector_id": name} for i in (0, 1) for name in ("a", "b", "c")]
    made = rank(*rules, {"session_id": IDS[1], "detector_id": "new-access", "kind": "outlier", "strength": 0.9})
    assert fused(made, IDS[0]) == pytest.approx(0.5, abs=0.02)
    assert fused(made, IDS[1]) > 0.9


def test_a_new_place_alone_is_no_case():
    made = rank({"session_id": IDS[0], "detector_id": "new-access", "kind": "outlier", "strength": 0.99})
    assert fused(made, IDS[0]) == 0


def test_many_weak_hits_do_not_outweigh_a_grave_one():
    weak = [{"session_id": IDS[0], "strength": 0.25, "detector_id": f"w{i}"} for i in range(30)]
    made = rank(*weak, {"session_id": IDS[1], "strength": 0.95})
    assert fused(made, IDS[1]) > fused(made, IDS[0]) > 0


def test_routine_counts_less_and_never_nothing():
    sessions = world(*[{"user": "robot"}] * 20, *({"user": f"u{i}"} for i in range(20)))[0]
    ids = sessions["session_id"].to_list()
    made = rank(*({"session_id": session_id} for session_id in ids[:20]), sessions=sessions)
    assert fused(made, ids[0]) > fused(made, ids[1]) > fused(made, ids[5]) > fused(made, ids[19]) > 0
    alone = rank({"session_id": ids[19]}, sessions=sessions)
    assert fused(alone, ids[19]) > 5 * fused(made, ids[19])


def test_what_later_sessions_do_is_no_routine_yet():
    made = rank({"session_id": IDS[0]}, *({"session_id": session_id} for session_id in IDS[100:]))
    assert fused(made, IDS[0]) == fused(rank({"session_id": IDS[0]}), IDS[0])


def test_new_deeds_of_the_control_plane_are_echoes():
    sessions = world({"user": "system:kube-scheduler", "actor_kind": "controller"}, {"user": "ann"})[0]
    ids = sessions["session_id"].to_list()
    deeds = [{"session_id": session_id, "detector_id": "new-deed", "kind": "outlier", "strength": 0.9} for session_id in ids]
    made = rank(*deeds, sessions=sessions)
    assert fused(made, ids[0]) < 0.5 * fused(made, ids[1])
    stolen = rank(*deeds, {"session_id": ids[0], "detector_id": "new-access", "kind": "outlier", "strength": 0.9}, sessions=sessions)
    assert fused(stolen, ids[0]) > 0.6


def test_the_budget_holds_floors_pass_and_order_is_by_score():
    rows = [{"session_id": IDS[i], "strength": 0.2 + 0.004 * i, "detector_id": f"r{i}"} for i in range(100)]
    rows[3]["floor"] = 0.7
    made = rank(*rows).candidates
    assert made.height == 20
    assert made["rank"].to_list() == list(range(1, 21))
    assert made["selected_by"].value_counts().sort("selected_by").rows() == [("exploration", 4), ("floor", 1), ("rank", 15)]
    first = made.row(0, named=True)
    assert (first["session_ids"], first["selected_by"], first["floor"]) == ([IDS[3]], "floor", 0.7)
    ranked = made.filter(pl.col("selected_by") == "rank")
    assert ranked["score"].is_sorted(descending=True)
    assert ranked["session_ids"].list.first().to_list() == IDS[99:84:-1]
    assert made["sampling_probability"].to_list()[:16] == [1.0] * 16


def test_floors_pass_even_beyond_the_budget():
    made = rank(*({"session_id": session_id, "floor": 0.6} for session_id in IDS[:50])).candidates
    assert made.filter(pl.col("selected_by") == "floor").height == 50


def test_exploration_is_stratified_seeded_and_honest_about_its_chance():
    rows = [{"session_id": IDS[i], "strength": 0.02 + 0.008 * (i % 100), "detector_id": f"r{i}"} for i in range(150)]
    first, again, other = rank(*rows).candidates, rank(*rows).candidates, rank(*rows, seed=8).candidates
    assert first.equals(again)
    assert not first.equals(other)
    drawn = first.filter(pl.col("selected_by") == "exploration")
    assert drawn.height == 4
    assert drawn["sampling_probability"].is_between(0, 1, closed="none").all()
    assert drawn["why"].str.starts_with("drawn at random, 1 in ").all()
    low = drawn.filter(pl.col("score") < 0.1)
    assert 0 < low.height < 4


def test_the_drawn_share_is_an_unbiased_sample():
    """Weighting each drawn case by 1/probability must estimate the number of sessions left, over many seeds."""
    rows = [{"session_id": IDS[i], "strength": 0.02 + 0.008 * (i % 100)} for i in range(150)]
    totals = []
    for seed in range(30):
        drawn = rank(*rows, seed=seed).candidates.filter(pl.col("selected_by") == "exploration")
        totals.append((1 / drawn["sampling_probability"]).sum())
    assert sum(totals) / len(totals) == pytest.approx(200 - 16, rel=1e-6)


@pytest.mark.parametrize(("budget", "share", "n"), [(4, 0.1, 1), (2, 0.1, 1), (20, 0.1, 2), (1, 0.1, 0), (4, 0.0, 0)])
def test_a_small_budget_draws_one_case_and_every_case_left_has_a_chance(budget: int, share: float, n: int):
    rows = [{"session_id": IDS[i], "strength": 0.02 + 0.008 * (i % 100)} for i in range(150)]
    scores, totals = [], []
    for seed in range(200 if n == 1 else 20):
        made = rank(*rows, seed=seed, budget_cases=budget, exploration_share=share).candidates
        drawn = made.filter(pl.col("selected_by") == "exploration")
        assert (made.height, drawn.height) == (budget, n)
        scores += drawn["score"].to_list()
        totals.append((1 / drawn["sampling_probability"]).sum())
    assert totals == pytest.approx([200 - budget + n if n else 0] * len(totals), rel=1e-6)
    if n == 1:
        # 200 draws among 50 without a score, ~25 below 0.1 and the rest: none of the three is left out.
        assert min(scores) < 0.1 < max(scores) and any(0.1 <= score < 0.25 for score in scores)


def test_every_case_says_why_in_closed_words():
    made = rank(
        {"session_id": IDS[0], "strength": 0.9, "reason": "listed secrets"}, {"session_id": IDS[0], "detector_id": "r2", "strength": 0.3},
        {"session_id": IDS[0], "detector_id": "new-deed", "kind": "outlier", "reason": "unusual deed"},
    ).candidates
    assert made.filter(pl.col("session_ids").list.first() == IDS[0])["why"].item() == "listed secrets and 1 more rules | unusual deed"
    assert all(is_closed(why, frozenset({"deed"})) for why in made["why"])


def test_a_longer_archive_has_a_budget_for_each_day():
    sessions = world(*({"user": f"u{i}", "at": 60 * i} for i in range(60)))[0]
    made = rank(*({"session_id": session_id} for session_id in sessions["session_id"]), sessions=sessions, budget_cases=5, exploration_share=0)
    assert made.candidates.height == 15


def days(n_a: int, n_b: int, **more):
    """A quiet day and a noisy one."""
    at = [{"user": f"u{i}", "at": i} for i in range(n_a)] + [{"user": f"v{i}", "at": 24 * 60 + i} for i in range(n_b)]
    sessions = world(*at)[0]
    rows = [{"session_id": name, "strength": 0.3 + 0.001 * i, "detector_id": f"r{i}"} for i, name in enumerate(sessions["session_id"])]
    return sessions, rank(*rows, sessions=sessions, **more)


def test_a_quiet_day_lends_no_place_to_a_noisy_one():
    sessions, made = days(3, 100, budget_cases=10, exploration_share=0)
    day = dict(sessions.select("session_id", pl.col("start").dt.day()).iter_rows())
    chosen = made.candidates["session_ids"].list.first().to_list()
    assert sorted(day[name] for name in chosen) == [5] * 3 + [6] * 10
    assert made.days.select("day", "limit", "allowed", "n_rank", "n_left").rows() == [
        (date(2026, 1, 5), "cases", 10, 3, 0), (date(2026, 1, 6), "cases", 10, 10, 90)]
    assert made.candidates["rank"].to_list() == list(range(1, 14))
    assert made.candidates["score"].is_sorted(descending=True)


def test_days_that_come_later_change_nothing_of_earlier_ones():
    first, both = days(100, 0)[1].candidates, days(100, 60)[1].candidates
    kept = both.filter(pl.col("case_id").is_in(first["case_id"].implode()))
    columns = ["case_id", "selected_by", "sampling_probability"]
    assert kept.select(columns).sort("case_id").equals(first.select(columns).sort("case_id"))


def test_each_day_draws_by_itself():
    """Two days of the same cases: who is drawn on one says nothing of who is drawn on the other."""
    sessions = world(*({"user": f"u{i}", "at": 24 * 60 * day + i} for day in range(2) for i in range(60)))[0]
    rows = [{"session_id": name, "strength": 0.3 + 0.001 * (i % 60), "detector_id": f"r{i}"} for i, name in enumerate(sessions["session_id"])]
    made = [rank(*rows, sessions=sessions, seed=seed, budget_cases=10, exploration_share=0.5).candidates for seed in range(5)]
    drawn = [each.filter(pl.col("selected_by") == "exploration")["session_ids"].list.first() for each in made]
    places = [sorted(sessions["session_id"].index_of(name) for name in names) for names in drawn]
    assert all(len(each) == 10 for each in places)
    assert any(each[:5] != [place - 60 for place in each[5:]] for each in places)


def test_the_strata_that_chance_draws_from_are_the_profiles():
    rows = [{"session_id": IDS[i], "strength": 0.02 + 0.008 * (i % 100), "detector_id": f"r{i}"} for i in range(150)]
    chances = [
        rank(*rows, exploration_strata=strata).candidates.filter(pl.col("selected_by") == "exploration")["sampling_probability"].n_unique()
        for strata in ([0.25, 0.1], [0.9])
    ]
    assert chances[0] > 1 == chances[1]


def limited(limits: Limits, *floors: int, **more):
    rows = [{"session_id": name, "strength": 0.3 + 0.001 * i, "detector_id": f"r{i}", "floor": 0.7 if i in floors else None}
            for i, name in enumerate(IDS)]
    settings = SignalSettings(**{"budget_cases": 20, "exploration_share": 0.2, **more})
    return rank_cases(MANY, make_signals(*rows), settings, limits=limits)


@pytest.mark.parametrize(("limits", "expected"), [
    (Limits(), ("cases", 20)),
    (Limits(tokens=50_000, tokens_per_case=5_000), ("tokens", 10)),
    (Limits(tokens=500_000, tokens_per_case=5_000), ("cases", 20)),
    (Limits(tokens=50_000, tokens_per_case=5_000, usd=0.5, usd_per_case=0.1), ("money", 5)),
    (Limits(tokens=50_000, tokens_per_case=5_000, usd=0.5, usd_per_case=None), ("tokens", 10)),
    (Limits(usd=0.3, usd_per_case=0.1), ("money", 3)),
    (Limits(tokens=0, tokens_per_case=5_000), ("tokens", 0)),
])
def test_whichever_of_cases_tokens_and_money_ends_first_cuts_the_list_and_says_so(limits, expected):
    made = limited(limits)
    limit, n = expected
    assert made.candidates.height == n
    row = made.days.row(0, named=True)
    assert (row["limit"], row["allowed"], row["n_left"]) == (limit, n, 200 - n)
    assert (made.candidates["selected_by"] == "exploration").sum() == round(0.2 * n)
    assert row["tokens"] == (None if limits.tokens_per_case is None else n * 5_000)
    assert row["usd"] == (None if limits.usd_per_case is None else pytest.approx(n * 0.1))


def test_floors_pass_beyond_tokens_and_money_too():
    made = limited(Limits(tokens=10_000, tokens_per_case=5_000), *range(7), exploration_share=0.5)
    assert made.days.select("n_floor", "loudest", "n_loudest").rows() == [(7, "r0", 1)]
    counts = dict(made.candidates["selected_by"].value_counts().iter_rows())
    assert counts == {"floor": 7, "exploration": 1}


def test_no_sessions_no_cases():
    made = rank_cases(tables.empty("sessions"), tables.empty("signals"), SignalSettings())
    assert made.candidates.is_empty()
    assert made.scores.is_empty()


def test_case_ids_are_hashes_of_their_sessions_only():
    assert set(rank({"session_id": IDS[0]}).scores["case_id"]) == set(rank().scores["case_id"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.floats(0.01, 1), st.booleans()), max_size=30), st.integers(1, 30))
def test_scores_stay_in_range_and_more_evidence_never_lowers_a_score(hits, budget):
    rows, seen = [], set()
    for number, name, value, is_rule in hits:
        if (number, name) not in seen:
            seen.add((number, name))
            rows.append({"session_id": IDS[number], "detector_id": name, "strength": value, "kind": "rule" if is_rule else "custom"})
    made = rank(*rows, budget_cases=budget)
    assert made.scores["score"].is_between(0, 1).all()
    assert made.candidates.height <= budget
    more = rank(*rows, {"session_id": IDS[0], "detector_id": "z", "strength": 0.5, "kind": "custom"}, budget_cases=budget)
    assert fused(more, IDS[0]) >= fused(made, IDS[0])


def test_a_story_is_one_case_and_what_controllers_did_for_it_stays_outside():
    stories = tables.conform(pl.DataFrame(
        [("t-1", IDS[0], "cause"), ("t-1", IDS[1], "member"), ("t-1", IDS[2], "follow_up")],
        schema=["story_id", "session_id", "role"], orient="row"), "stories")
    rows = make_signals(*({"session_id": IDS[i], "strength": 0.3 + 0.2 * i, "detector_id": f"r{i}", "floor": 0.4 if i == 0 else None}
                          for i in range(3)))
    made = rank_cases(MANY, rows, SignalSettings(budget_cases=20, exploration_share=0.2), stories)
    case_of = dict(made.scores.select("session_id", "case_id").iter_rows())
    assert case_of[IDS[0]] == case_of[IDS[1]] != case_of[IDS[2]]
    first = made.candidates.filter(pl.col("case_id") == case_of[IDS[0]]).row(0, named=True)
    assert sorted(first["session_ids"]) == sorted(IDS[:2])
    assert first["score"] == fused(made, IDS[1])
    assert (first["floor"], first["selected_by"]) == (0.4, "floor")
    assert first["why"].startswith("story of 2 sessions | ")
    assert sum(len(ids) for ids in made.candidates["session_ids"]) == made.candidates["session_ids"].explode().n_unique()
