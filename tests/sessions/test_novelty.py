import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from audit_lab.sessions.novelty import BACK_OFF, MIN_PAST, count_past, rarity
from audit_lab.sessions.sequence import MIN_STEPS, session_steps, step_surprise

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)


def at(*days: float) -> list[datetime]:
    return [START + day * DAY for day in days]


def test_only_the_strict_past_counts_and_keys_are_kept_apart():
    seen = pl.DataFrame({"k": ["a", "a", None, "b"], "time": at(0, 1, 0, 0)})
    asked = pl.DataFrame({"k": ["a", "a", "a", None, "c"], "time": at(0, 1, 1.5, 1, 1)})
    assert count_past(seen, asked, ["k"]).to_list() == [0, 1, 2, 1, 0]


def test_the_past_fades_by_half_each_half_life():
    seen = pl.DataFrame({"k": ["a", "a"], "time": at(0, 10)})
    asked = pl.DataFrame({"k": ["a", "a"], "time": at(10, 20)})
    assert count_past(seen, asked, ["k"], half_life_s=10 * 86_400).to_list() == pytest.approx([0.5, 0.75])


def test_years_of_data_with_a_short_half_life_stay_finite():
    seen = pl.DataFrame({"k": ["a"] * 400, "time": at(*range(0, 4000, 10))})
    asked = pl.DataFrame({"k": ["a"] * 2, "time": at(5, 3999)})
    early, late = count_past(seen, asked, ["k"], half_life_s=60.0).to_list()
    assert 0 < early < 1 and 0 < late < 400 and math.isfinite(late)


def sessions(*users: str, kind: str = "human") -> pl.DataFrame:
    return pl.DataFrame({
        "session_id": [f"s{i}" for i in range(len(users))], "cluster": "c", "user": list(users), "actor_kind": kind,
        "start": at(*range(len(users))),
    })


def shown(made: pl.DataFrame, actions: list[str]) -> pl.DataFrame:
    return made.select("session_id", action=pl.Series(actions), first_time=pl.col("start"))


def test_rarity_by_hand():
    made = sessions("ann", "bob", "bob", "bob", "bob", "ann")
    found = rarity(shown(made, ["x", "y", "y", "x", "y", "y"]), made, "action", ["actor_kind"], half_life_s=None).row(-1, named=True)
    # ann's peers had 4 sessions, 3 with y; ann had 1, without it. Peers alone are too few, with ann's own they are five.
    peers = (3 + 0.5) / (4 + 1)
    assert found["peer_bits"] is None
    assert found["user_bits"] == pytest.approx(-math.log2((0 + BACK_OFF * peers) / (1 + BACK_OFF)))
    assert (found["user_past"], found["peer_past"]) == pytest.approx((1, 4))


def test_what_everybody_always_does_is_not_rare_and_what_nobody_did_is():
    made = sessions(*["ann", "bob"] * 20)
    actions = ["x"] * 39 + ["new"]
    found = rarity(shown(made, actions), made, "action", ["actor_kind"])
    assert found["user_bits"][-2] < 0.1
    assert found["user_bits"][-1] > 7
    assert found["peer_bits"][-1] > 4


def test_too_little_past_is_null():
    made = sessions(*["ann"] * 8)
    found = rarity(shown(made, ["x"] * 8), made, "action", ["actor_kind"], half_life_s=None)
    assert found["user_bits"].is_null().to_list() == [place < MIN_PAST for place in range(8)]
    assert found["peer_bits"].null_count() == 8


def steps_of(*sequences: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = [
        {"session_id": f"s{i}", "cluster": "c", "actor_kind": "human", "action": action, "time": START + i * DAY + place * timedelta(seconds=1)}
        for i, sequence in enumerate(sequences) for place, action in enumerate(sequence)
    ]
    events = pl.DataFrame(rows)
    return session_steps(events), events.group_by("session_id").agg(start=pl.col("time").min())


def test_steps_are_distinct_changes_of_action():
    steps, _ = steps_of("aabab")
    assert steps.select("before", "action").rows() == [("begin", "a"), ("a", "b"), ("b", "a")]


def test_an_unusual_order_of_usual_actions_surprises():
    steps, made = steps_of(*["abc"] * 60, "abc", "cab")
    found = step_surprise(steps, made)
    usual, odd = (found.filter(pl.col("session_id") == name) for name in ("s60", "s61"))
    assert usual["bits"].max() < 0.5
    assert odd["bits"].max() > 4
    assert usual["is_unseen"].sum() == 0
    assert odd["is_unseen"].sum() == 2  # begin -> c, c -> a; a -> b is old


def test_the_model_knows_nothing_before_it_has_seen_enough():
    steps, made = steps_of(*["abc"] * 60)
    bits = step_surprise(steps, made).group_by("session_id", maintain_order=True).agg(pl.col("bits").first())["bits"]
    assert bits.is_null().to_list() == [place * 3 < MIN_STEPS for place in range(60)]


def test_later_sessions_change_no_earlier_surprise():
    few_steps, few = steps_of(*["abc"] * 40)
    many_steps, many = steps_of(*["abc"] * 40, *["cba"] * 20)
    before = step_surprise(few_steps, few)
    after = step_surprise(many_steps, many).filter(pl.col("session_id").is_in(few["session_id"].implode()))
    assert before.sort("session_id", "first_time").equals(after.sort("session_id", "first_time"))
