"""Stories: sessions that belong together because one makes what the other uses.

The surest link is taken first, and two groups are joined only while the result stays a story: at most `MAX_SESSIONS` sessions within
`MAX_SPAN_S`. So where a group would grow too big it is cut at its weakest links. (Single linkage by descending score, that is Kruskal's
algorithm with a bound on the size of a tree.) What controllers did about it is attached last: a controller's session may follow up
several stories, joins none, and makes none.

Everything here works on the tables links and sessions, which are small: no event is read.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from audit_lab import tables
from audit_lab.hashing import short_id
from audit_lab.sessions.lineage import JOIN_SCORE

MAX_SESSIONS = 50
MAX_SPAN_S = 86_400.0
ATTACHED = "follow_up"  # kind of links that attach and never join


def build_stories(
    links: pl.DataFrame, sessions: pl.DataFrame, *, max_sessions: int = MAX_SESSIONS, max_span_s: float = MAX_SPAN_S,
) -> pl.DataFrame:
    """Group linked sessions into stories.

    Parameters
    ----------
    links, sessions
        The tables of these names; a link to a session that is not there is ignored.
    max_sessions
        Most sessions of a story, follow-ups included.
    max_span_s
        Longest time from the first start to the last end of its sessions, seconds; follow-ups start within it.

    Returns
    -------
    Table stories, one row per session and story, sorted. `role` is cause (no session of the story made what it uses; the earliest where
    each has a maker), member, or follow_up. A session that no link joins has no story. Its id is a hash of causes and members.

    >>> from datetime import UTC, datetime
    >>> start = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (0, 1, 2)]
    >>> sessions = pl.DataFrame({"session_id": ["s-1", "s-2", "s-3"], "start": start, "end": start})
    >>> links = tables.empty("links").vstack(tables.conform(pl.DataFrame({
    ...     "link_id": ["l-1"], "kind": ["token_minted"], "from_session": ["s-1"], "to_session": ["s-2"], "score": [0.9],
    ...     "from_event_ids": [["e1"]], "to_event_ids": [["e2"]]}), "links"))
    >>> build_stories(links, sessions).select("session_id", "role").rows()
    [('s-1', 'cause'), ('s-2', 'member')]
    """
    tables.check(links, "links")
    times = {key: (start, end) for key, start, end in sessions.select("session_id", "start", "end").iter_rows()}
    known = links.filter(pl.col("from_session").is_in(times) & pl.col("to_session").is_in(times))
    joining = known.filter((pl.col("kind") != ATTACHED) & (pl.col("score") >= JOIN_SCORE))
    members = _members(_groups(joining, times, max_sessions, timedelta(seconds=max_span_s)), joining, times)
    if members.is_empty():
        return tables.empty("stories")
    attached = _attached(members, known.filter(pl.col("kind") == ATTACHED), sessions, max_sessions, max_span_s)
    return tables.conform(pl.concat([members, attached]), "stories").sort("story_id", "session_id")


def story_sizes(stories: pl.DataFrame) -> pl.DataFrame:
    """Count stories by size: `n_sessions` (causes and members), `n_stories`, `n_follow_ups` (sessions attached, mean per story).

    The first thing to look at after a change: a story as big as the bound means that something glues.
    """
    per_story = stories.group_by("story_id").agg(
        n_sessions=(pl.col("role") != ATTACHED).sum().cast(pl.Int64), n_attached=(pl.col("role") == ATTACHED).sum(),
    )
    return per_story.group_by("n_sessions").agg(
        n_stories=pl.len().cast(pl.Int64), n_follow_ups=pl.col("n_attached").mean(),
    ).sort("n_sessions")


def _groups(
    joining: pl.DataFrame, times: dict[str, tuple[datetime, datetime]], max_sessions: int, max_span: timedelta,
) -> dict[str, list[str]]:
    """Return the sessions of each group, by one session that stands for it."""
    stands_for: dict[str, str] = {}
    group: dict[str, list[str]] = {}
    span: dict[str, tuple[datetime, datetime]] = {}

    def root(session: str) -> str:
        while stands_for[session] != session:
            stands_for[session] = stands_for[stands_for[session]]
            session = stands_for[session]
        return session

    ordered = joining.sort("score", "link_id", descending=[True, False]).select("from_session", "to_session")
    for first, second in ordered.iter_rows():
        for session in (first, second):
            if session not in stands_for:
                stands_for[session], group[session], span[session] = session, [session], times[session]
        kept, joined = sorted((root(first), root(second)), key=lambda key: (-len(group[key]), key))
        start, end = min(span[kept][0], span[joined][0]), max(span[kept][1], span[joined][1])
        if kept == joined or len(group[kept]) + len(group[joined]) > max_sessions or end - start > max_span:
            continue
        stands_for[joined] = kept
        group[kept] += group.pop(joined)
        span[kept] = (start, end)
    return {key: sessions for key, sessions in group.items() if len(sessions) > 1}


def _members(groups: dict[str, list[str]], joining: pl.DataFrame, times: dict[str, tuple[datetime, datetime]]) -> pl.DataFrame:
    story_of = {}
    for sessions in groups.values():
        story_id = short_id("t", *sorted(sessions))
        story_of.update(dict.fromkeys(sessions, story_id))
    # A session that uses what another of its story made is a member.
    made_for = {
        user for maker, user in joining.select("from_session", "to_session").iter_rows()
        if maker in story_of and story_of[maker] == story_of.get(user)
    }
    rows = []
    for sessions in groups.values():
        causes = [session for session in sessions if session not in made_for] or [min(sessions, key=lambda key: (times[key], key))]
        rows += [(story_of[session], session, "cause" if session in causes else "member") for session in sessions]
    return pl.DataFrame(rows, schema=["story_id", "session_id", "role"], orient="row") if rows else tables.empty("stories")


def _attached(
    members: pl.DataFrame, follow_ups: pl.DataFrame, sessions: pl.DataFrame, max_sessions: int, max_span_s: float,
) -> pl.DataFrame:
    """Return the follow-ups of each story, those with most events first where there is not room for all."""
    begun = members.join(sessions.select("session_id", "start"), on="session_id").group_by("story_id").agg(
        room=max_sessions - pl.len().cast(pl.Int64), begun=pl.col("start").min(),
    )
    answers = follow_ups.join(members.rename({"session_id": "from_session"}), on="from_session").join(
        members.rename({"session_id": "to_session"}), on=["story_id", "to_session"], how="anti",
    )
    weighed = answers.group_by("story_id", "to_session").agg(
        n_events=pl.col("to_event_ids").list.len().sum(), score=pl.col("score").max()
    ).join(begun, on="story_id").join(sessions.select(to_session="session_id", start="start"), on="to_session")
    within = weighed.filter((pl.col("start") - pl.col("begun")).dt.total_seconds() <= max_span_s)
    ordered = within.sort("n_events", "score", "to_session", descending=[True, True, False])
    kept = ordered.filter(pl.int_range(pl.len()).over("story_id") < pl.col("room"))
    return kept.select("story_id", session_id="to_session", role=pl.lit(ATTACHED))
