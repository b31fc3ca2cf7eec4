"""Stories: groups of linked sessions, bounded in size and time, the same whatever the order of links."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_lab import tables
from audit_lab.hashing import short_id
from audit_lab.sessions.lineage import JOIN_SCORE
from audit_lab.sessions.stories import MAX_SESSIONS, build_stories, story_sizes

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
HOUR = 3600


def sessions_at(*hours: float) -> pl.DataFrame:
    starts = [START + timedelta(hours=hour) for hour in hours]
    return pl.DataFrame({"session_id": [f"s-{number}" for number in range(len(hours))], "start": starts,
                         "end": [start + timedelta(minutes=1) for start in starts]},
                        schema_overrides={"start": tables.TIME, "end": tables.TIME})


def links_of(*rows: tuple[int, int, float] | tuple[int, int, float, str]) -> pl.DataFrame:
    if not rows:
        return tables.empty("links")
    full = [{"link_id": f"l-{number:03d}", "kind": (*row, "token_minted")[3], "from_session": f"s-{row[0]}", "to_session": f"s-{row[1]}",
             "score": row[2], "from_event_ids": ["e"], "to_event_ids": ["e"]} for number, row in enumerate(rows)]
    return tables.conform(pl.DataFrame(full), "links")


def members(stories: pl.DataFrame) -> list[set[str]]:
    held = stories.filter(pl.col("role") != "follow_up")
    return sorted((set(ids) for ids in held.group_by("story_id").agg("session_id")["session_id"].to_list()), key=sorted)


def test_links_join_sessions_and_who_has_no_link_has_no_story():
    stories = build_stories(links_of((0, 1, 0.9), (1, 2, 0.6)), sessions_at(0, 0, 0, 0))
    assert members(stories) == [{"s-0", "s-1", "s-2"}]
    assert stories["story_id"].unique().to_list() == [short_id("t", "s-0", "s-1", "s-2")]
    assert stories.sort("session_id")["role"].to_list() == ["cause", "member", "member"]


def test_weak_links_never_join_however_many():
    assert build_stories(links_of(*((0, 1, JOIN_SCORE - 0.01) for _ in range(20))), sessions_at(0, 0)).is_empty()


def test_in_a_circle_the_earliest_is_the_cause():
    stories = build_stories(links_of((0, 1, 0.9), (1, 0, 0.9)), sessions_at(1, 0))
    assert dict(stories.select("session_id", "role").iter_rows()) == {"s-1": "cause", "s-0": "member"}


def test_a_group_too_big_is_cut_at_its_weakest_link():
    chain = [(0, 1, 0.9), (1, 2, 0.9), (2, 3, 0.6), (3, 4, 0.9), (4, 5, 0.9)]
    assert members(build_stories(links_of(*chain), sessions_at(*[0] * 6), max_sessions=4)) == [{"s-0", "s-1", "s-2"}, {"s-3", "s-4", "s-5"}]


def test_a_story_ends_after_a_day():
    day = [(0, 1, 0.9), (1, 2, 0.8)]
    assert members(build_stories(links_of(*day), sessions_at(0, 20, 30))) == [{"s-0", "s-1"}]
    assert members(build_stories(links_of(*day), sessions_at(0, 20, 23))) == [{"s-0", "s-1", "s-2"}]


def test_follow_ups_fill_the_room_that_is_left_the_fullest_first():
    rows = [(0, 1, 0.9), *((0, number, 0.9, "follow_up") for number in range(2, 80))]
    links = links_of(*rows).with_columns(
        to_event_ids=pl.when(pl.col("to_session") == "s-79").then(pl.lit(["e1", "e2"])).otherwise(pl.col("to_event_ids")))
    stories = build_stories(links, sessions_at(*[0] * 80))
    assert stories.height == MAX_SESSIONS
    assert "s-79" in stories["session_id"].to_list()


def test_a_follow_up_that_is_a_member_stays_one_and_late_ones_are_left_out():
    links = links_of((0, 1, 0.9), (0, 1, 0.9, "follow_up"), (0, 2, 0.9, "follow_up"), (0, 3, 0.9, "follow_up"))
    stories = build_stories(links, sessions_at(0, 0, 23, 25))
    assert dict(stories.select("session_id", "role").iter_rows()) == {"s-0": "cause", "s-1": "member", "s-2": "follow_up"}


def test_links_to_unknown_sessions_are_ignored():
    assert build_stories(links_of((0, 9, 0.9), (8, 1, 0.9)), sessions_at(0, 0)).is_empty()
    assert build_stories(links_of(), sessions_at(0)).equals(tables.empty("stories"))


def test_sizes_are_counted_without_follow_ups():
    links = links_of((0, 1, 0.9), (0, 2, 0.9, "follow_up"), (3, 4, 0.9), (4, 5, 0.9))
    assert story_sizes(build_stories(links, sessions_at(*[0] * 6))).rows() == [(2, 1, 1.0), (3, 1, 0.0)]


SCORES = st.sampled_from([0.2, 0.5, 0.6, 0.7, 0.9])
LINKS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), SCORES).filter(lambda link: link[0] != link[1]), max_size=40)


def components(links: list[tuple[int, int, float]]) -> list[set[str]]:
    """Connected parts, the slow and obvious way."""
    parts = [{number} for number in range(12)]
    for first, second, score in links:
        if score >= JOIN_SCORE:
            touched = [part for part in parts if first in part or second in part]
            parts = [part for part in parts if part not in touched] + [set().union(*touched)]
    return sorted(({f"s-{number}" for number in part} for part in parts if len(part) > 1), key=sorted)


@settings(max_examples=60, deadline=None)
@given(LINKS)
def test_within_the_bounds_stories_are_the_connected_parts(links):
    assert members(build_stories(links_of(*links), sessions_at(*[0] * 12))) == components(links)


@settings(max_examples=60, deadline=None)
@given(LINKS, st.integers(2, 6), st.lists(st.integers(0, 40), min_size=12, max_size=12), st.randoms())
def test_bounds_hold_each_session_has_one_story_and_order_does_not_matter(links, most, hours, random):
    sessions = sessions_at(*hours)
    frame = links_of(*links)
    stories = build_stories(frame, sessions, max_sessions=most)
    held = stories.join(sessions, on="session_id").group_by("story_id").agg(
        pl.len().alias("n"), hours=(pl.col("end").max() - pl.col("start").min()).dt.total_seconds() / HOUR)
    assert (held["n"] <= most).all()
    assert (held["hours"] <= 24).all()
    assert stories["session_id"].is_unique().all()
    assert build_stories(frame.sample(fraction=1, shuffle=True, seed=random.randint(0, 99)), sessions, max_sessions=most).equals(stories)
