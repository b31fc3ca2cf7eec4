"""Which events belong together: sessions of one actor from one source.

Two modes. `gap`: a pause longer than `gap_s` ends a session. `window`: tumbling windows on the clock. In both no session is longer
than `max_length_s`: controllers never pause, so a run of events that lasts longer is cut on the clock (multiples of the cap since
1970), not at the cap after its first event. So a late event at the front of a long run moves no later cut, and a day border is always
a cut for those that run for days: what a late file can change stays near its events.
"""

from __future__ import annotations

import polars as pl

from audit_lab.duck import connect, query
from audit_lab.profile import SessionSettings

KEY = ("cluster", "actor", "source_ip")
# Same bytes as hashing.short_id('s', cluster, actor, source, first event); a test holds them equal.
_ID_SQL = """
SELECT 's-' || substr(sha256(concat(coalesce(cluster, chr(0)), chr(31), coalesce(actor, chr(0)), chr(31), coalesce(source_ip, chr(0)),
    chr(31), event_id)), 1, 16) AS session_id FROM firsts
"""


def split_sessions(events: pl.DataFrame, settings: SessionSettings) -> pl.DataFrame:
    """Assign every event to exactly one session.

    Columns in: `event_id`, `cluster`, `actor`, `source_ip`, `time`. Columns out (table session_events): `event_id`, `session_id`,
    sorted by actor, source and time. The result does not depend on the order of the rows.

    >>> from datetime import UTC, datetime
    >>> times = [datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in (0, 1, 30)]
    >>> rows = pl.DataFrame({"event_id": ["e1", "e2", "e3"], "cluster": "c", "actor": "ann", "source_ip": "10.0.0.1", "time": times})
    >>> split_sessions(rows, SessionSettings())["session_id"].n_unique()
    2
    """
    ordered = sort_events(events)
    return ordered.select("event_id", session_ids(ordered, settings))


def sort_events(events: pl.DataFrame) -> pl.DataFrame:
    """Return the columns that sessions need, sorted by actor, source, time and event id."""
    # Whole numbers sort several times faster than the names they stand for; their order has no meaning.
    keyed = events.select(*KEY, "time", "event_id").with_columns(_group=pl.struct(KEY).rank("dense"))
    return keyed.sort("_group", "time", "event_id")


def session_ids(ordered: pl.DataFrame, settings: SessionSettings) -> pl.Series:
    """Return the session id of each row of `sort_events`."""
    starts = ordered.select(first=_is_first(ordered, settings))["first"]
    firsts = ordered.filter(starts).select(*KEY, "event_id")
    with connect() as connection:
        ids = query(connection, _ID_SQL, firsts=firsts)["session_id"]
    numbers = starts.cast(pl.UInt32).cum_sum() - 1
    return ids.gather(numbers).alias("session_id")


def _is_first(ordered: pl.DataFrame, settings: SessionSettings) -> pl.Series:
    """Return, per row in order, whether it begins a session."""
    cap = _microseconds(settings.max_length_s)
    clock = pl.col("time").dt.epoch("us")
    other = pl.col("_group") != pl.col("_group").shift()
    if settings.mode == "window":
        window = min(_microseconds(settings.window_s), cap)
        tile = clock // window
        return ordered.select((other | (tile != tile.shift())).fill_null(True))["_group"]
    pause = clock.diff() > _microseconds(settings.gap_s)
    frame = ordered.select(clock=clock, run=(other | pause).fill_null(True))
    # A run is what no pause interrupts; only runs longer than the cap are cut.
    runs = frame.select(
        start=pl.col("clock").filter(pl.col("run")), end=pl.col("clock").filter(pl.col("run").shift(-1, fill_value=True))
    )
    too_long = (runs["end"] - runs["start"]) > cap
    if not too_long.any():
        return frame["run"]
    number = frame["run"].cast(pl.UInt32).cum_sum() - 1
    return frame.select(
        pl.col("run") | (too_long.gather(number) & (pl.col("clock") // cap != (pl.col("clock") // cap).shift()))
    ).to_series().fill_null(True)


def _microseconds(seconds: float) -> int:
    return max(1, round(seconds * 1_000_000))
