"""Which events belong together: sessions of one actor from one source.

Two modes. `gap`: a pause longer than `gap_s` ends a session. `window`: tumbling windows on the clock. In both no session is longer
than `max_length_s`: controllers never pause, so a run of events that lasts longer is cut on the clock (multiples of the cap since
1970), not at the cap after its first event. So a late event at the front of a long run moves no later cut, and a day border is always
a cut for those that run for days: what a late file can change stays near its events.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from audit_lab.duck import connect, query
from audit_lab.hashing import short_id
from audit_lab.profile import SessionSettings

KEY = ("cluster", "actor", "source_ip")
# Same bytes as hashing.short_id('s', cluster, actor, source, first event); a test holds them equal.
_ID_SQL = """
SELECT 's-' || substr(sha256(concat(coalesce(cluster, chr(0)), chr(31), coalesce(actor, chr(0)), chr(31), coalesce(source_ip, chr(0)),
    chr(31), event_id)), 1, 16) AS session_id FROM firsts
"""
# Below this many, opening a database takes longer than hashing one by one.
_FEW = 5_000
Whole = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def split_sessions(events: pl.DataFrame, settings: SessionSettings) -> pl.DataFrame:
    """Assign every event to exactly one session.

    Columns in: `event_id`, `cluster`, `actor`, `source_ip`, `time`. Columns out (table session_events): `event_id`, `session_id`,
    one row per event and in the order of `events`. Which session an event is in does not depend on that order.

    >>> from datetime import UTC, datetime
    >>> times = [datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in (0, 1, 30)]
    >>> rows = pl.DataFrame({"event_id": ["e1", "e2", "e3"], "cluster": "c", "actor": "ann", "source_ip": "10.0.0.1", "time": times})
    >>> split_sessions(rows, SessionSettings())["session_id"].n_unique()
    2
    """
    if events.is_empty():
        return pl.DataFrame(schema={"event_id": pl.String, "session_id": pl.String})
    key, clock = _numbers(events), events["time"].dt.epoch("us").to_numpy()
    order = _order(key, clock)
    key, clock = key[order], clock[order]
    first = _begins(key, clock, settings)
    number = np.cumsum(first) - 1
    ids = _ids(events, order, number, clock, np.flatnonzero(first))
    session_of = np.empty_like(number)
    session_of[order] = number
    return pl.DataFrame({"event_id": events["event_id"], "session_id": ids.gather(session_of)})


def _numbers(events: pl.DataFrame) -> Whole:
    """Return a whole number for each combination of the key: they sort and compare many times faster than text."""
    combined = np.zeros(events.height, dtype=np.int64)
    for column in KEY:
        codes = events[column].cast(pl.Categorical(pl.Categories.random())).to_physical()
        places = codes.cast(pl.Int64).fill_null(-1).to_numpy() + 1
        combined = combined * (int(places.max()) + 1) + places
    # Without gaps they leave room for the time in the same number (see _order).
    order = np.argsort(combined)
    dense = np.empty_like(combined)
    dense[order] = np.cumsum(_changes(combined[order])) - 1
    return dense


def _order(key: Whole, clock: Whole) -> Whole:
    """Return the order by key and time; both fit into one number unless the archive spans centuries."""
    since = clock - clock.min()
    bits = int(since.max()).bit_length()
    if int(key.max()).bit_length() + bits > 62:
        return np.lexsort((clock, key))
    return np.argsort((key << bits) + since)


def _begins(key: Whole, clock: Whole, settings: SessionSettings) -> Flags:
    """Return, per row in order, whether it begins a session."""
    cap = _microseconds(settings.max_length_s)
    other = _changes(key)
    if settings.mode == "window":
        return other | _changes(clock // min(_microseconds(settings.window_s), cap))
    # A run is what no pause interrupts; only runs longer than the cap are cut.
    run = other | (np.diff(clock, prepend=clock[0]) > _microseconds(settings.gap_s))
    starts = np.flatnonzero(run)
    ends = np.append(starts[1:], len(clock)) - 1
    too_long = clock[ends] - clock[starts] > cap
    if not too_long.any():
        return run
    return run | (np.repeat(too_long, ends - starts + 1) & _changes(clock // cap))


def _changes(values: Whole) -> Flags:
    changed = np.ones(len(values), dtype=np.bool_)
    changed[1:] = values[1:] != values[:-1]
    return changed


def _ids(events: pl.DataFrame, order: Whole, number: Whole, clock: Whole, starts: Whole) -> pl.Series:
    """Return the id of each session: a hash of its key and its first event, of several at once the one with the smallest id."""
    at_start = np.flatnonzero(clock == clock[starts][number])
    firsts = events.select(*KEY, "event_id")[order[at_start]]
    if len(at_start) > len(starts):
        firsts = firsts.with_columns(pl.Series("number", number[at_start])).sort("number", "event_id").unique(
            "number", keep="first", maintain_order=True)
    firsts = firsts.select(*KEY, "event_id")
    if firsts.height <= _FEW:
        return pl.Series("session_id", [short_id("s", *row) for row in firsts.iter_rows()], dtype=pl.String)
    with connect() as connection:
        return query(connection, _ID_SQL, firsts=firsts)["session_id"]


def _microseconds(seconds: float) -> int:
    return max(1, round(seconds * 1_000_000))
