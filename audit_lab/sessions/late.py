"""Events that arrive late: which sessions they change, and how to rewrite only those.

A late file cannot be appended: its events may extend a session, join two, or make a run longer than the cap. But what they can
change stays near them: a session can only change when it begins or ends within `reach_s` of a late event of the same actor and
source. Long runs are cut on the clock, so their other cuts stay (see windows). What was new later is stale: `run` recomputes forward.
"""

from __future__ import annotations

import polars as pl

from audit_lab.profile import SessionSettings
from audit_lab.sessions.windows import KEY, split_sessions

# Ways a late event can matter to a session, strongest first.
CHANGES = ("rewrite", "context", "stale")


def reach_s(settings: SessionSettings) -> float:
    """Return how far from a late event a session can change, seconds: in gap mode a gap to reach a run, and the cap to be cut."""
    return settings.gap_s + settings.max_length_s if settings.mode == "gap" else min(settings.window_s, settings.max_length_s)


def late_changes(sessions: pl.DataFrame, late: pl.DataFrame, settings: SessionSettings) -> pl.DataFrame:
    """Return the sessions that late events matter to: `session_id`, `change`.

    Columns in: table sessions; `late` rows of table events that no session holds yet. `change` is 'rewrite' (its events or id may
    change), 'context' (needed to decide that, does not change itself), or 'stale' (same cluster and kind of actor, begins after the
    first late event of its kind: what was new to it may not have been).
    """
    reach = pl.duration(microseconds=round(reach_s(settings) * 1_000_000) + 1)
    near = sessions.select("session_id", *KEY, "start", "end").join(
        late.select(*KEY, "time"), on=list(KEY), how="inner", nulls_equal=True,
    ).with_columns(
        _apart=pl.max_horizontal(pl.col("start") - pl.col("time"), pl.col("time") - pl.col("end"), pl.duration(seconds=0))
    ).group_by("session_id").agg(pl.col("_apart").min()).select(
        "session_id", change=pl.when(pl.col("_apart") <= reach).then(pl.lit("rewrite"))
        .when(pl.col("_apart") <= 2 * reach).then(pl.lit("context")),
    ).drop_nulls()
    first_late = late.group_by("cluster", "actor_kind").agg(pl.col("time").min())
    stale = sessions.join(first_late, on=["cluster", "actor_kind"], how="inner").filter(pl.col("start") > pl.col("time")).select(
        "session_id", change=pl.lit("stale"))
    order = pl.col("change").replace_strict({name: place for place, name in enumerate(CHANGES)}, return_dtype=pl.Int64)
    ranked = pl.concat([near, stale]).with_columns(_order=order).sort("_order", "session_id")
    return ranked.unique("session_id", keep="first", maintain_order=True).drop("_order")


def rewrite_sessions(
    session_events: pl.DataFrame, events: pl.DataFrame, late: pl.DataFrame, changes: pl.DataFrame, settings: SessionSettings
) -> pl.DataFrame:
    """Return table session_events with the late events in it: the same as `split_sessions` over everything, at the price of a part.

    Columns in: `session_events` as stored; `events` at least those of the sessions that `changes` (from `late_changes`) calls 'rewrite'
    or 'context'; `late`.
    """
    touched = changes.filter(pl.col("change") != "stale")
    columns = ["event_id", *KEY, "time"]
    old = session_events.join(touched, on="session_id", how="inner")
    near = events.select(columns).join(old.select("event_id"), on="event_id", how="semi")
    again = split_sessions(pl.concat([near, late.select(columns)]), settings)
    # Sessions that are only context stand at the rim, cut off from what lies beyond: they keep what they had.
    rewritten = touched.filter(pl.col("change") == "rewrite").select("session_id")
    kept = session_events.join(rewritten, on="session_id", how="anti")
    return pl.concat([kept, again.join(kept, on="event_id", how="anti")])
