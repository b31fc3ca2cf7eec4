"""What a session shows besides its actions, against habit: places, programs, rights, company and time of day."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import polars as pl

from audit_lab.sessions.novelty import HALF_LIFE_S, count_past, rarity

USER = ["cluster", "user"]
# A habit of the clock needs some days and some sessions: before that, every hour is as good as another (law 8).
MIN_CLOCK_DAYS = 3.0
MIN_CLOCK_SESSIONS = 10.0
_DAY_S = 86_400.0


def network(address: pl.Expr) -> pl.Expr:
    """Return the network of an address: /24, or /64 of IPv6.

    >>> pl.select(network(pl.lit("10.1.2.3"))).item(), pl.select(network(pl.lit("2001:db8:1:2:3::4"))).item()
    ('10.1.2', '2001:db8:1:2:')
    """
    return address.str.replace(r"\.\d+$", "").str.replace(r"^((?:[0-9a-fA-F]*:){4}).*$", "${1}")


def habit_bits(
    events: pl.DataFrame, sessions: pl.DataFrame, items: Mapping[str, tuple[Sequence[str], pl.Expr]], half_life_s: float = HALF_LIFE_S
) -> pl.DataFrame:
    """Return per session and item the most unusual value that it shows: `<item>_bits`, `<item>_peer_bits` (novelty.rarity).

    Columns in: `events` with `session_id` and `time`; `sessions` as in the table. `items` gives for each item the columns of events that
    it needs and the expression over them; peers are the users of the same kind.
    """
    found = sessions.select("session_id")
    for item, (columns, value) in items.items():
        # First what a session shows, then its reduction: a session repeats itself, and regular expressions are slow.
        distinct = events.group_by("session_id", *columns).agg(pl.col("time").min())
        shown = (
            distinct.select("session_id", value.alias(item), "time").filter(pl.col(item).is_not_null())
            .group_by("session_id", item).agg(first_time=pl.col("time").min())
        )
        bits = rarity(shown, sessions, item, ["actor_kind"], half_life_s).group_by("session_id").agg(
            pl.col("user_bits").max().alias(f"{item}_bits"), pl.col("peer_bits").max().alias(f"{item}_peer_bits"),
        )
        found = found.join(bits, on="session_id", how="left", maintain_order="left")
    return found


def company(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return per session who else uses its source, and from where else its user is active at the same time.

    Columns out: `session_id`; `source_other_users`, users seen earlier from the same address, without this one;
    `n_concurrent_sources`, sessions of the same user from other sources that overlap it; `user_past_s`, seconds since the user was first
    seen (null for a newcomer); `user_sessions`, its earlier sessions.
    """
    starts = sessions.select("session_id", *USER, "source_ip", time=pl.col("start"))
    ends = sessions.select("session_id", *USER, "source_ip", time=pl.col("end"))
    after_end = ends.with_columns(pl.col("time") + pl.duration(microseconds=1))
    place = ["cluster", "source_ip"]
    pairs = starts.group_by(*place, "user").agg(pl.col("time").min())
    began = count_past(starts, after_end, USER) - count_past(starts, after_end, [*USER, "source_ip"])
    over = count_past(ends, starts, USER) - count_past(ends, starts, [*USER, "source_ip"])
    first = starts.group_by(USER).agg(first=pl.col("time").min())
    return starts.with_columns(
        source_other_users=count_past(pairs, starts, place) - count_past(pairs, starts, [*place, "user"]),
        n_concurrent_sources=began - over, user_sessions=count_past(starts, starts, USER),
    ).join(first, on=USER, how="left", nulls_equal=True, maintain_order="left").select(
        "session_id", "source_other_users", "n_concurrent_sources", "user_sessions",
        user_past_s=pl.when(pl.col("first") < pl.col("time")).then((pl.col("time") - pl.col("first")).dt.total_microseconds() / 1e6),
    )


def clock_distance(sessions: pl.DataFrame, half_life_s: float = HALF_LIFE_S) -> pl.DataFrame:
    """Return per session how far its time of day lies from the user's habit: `clock_distance`, 0 (usual) to 1 (opposite).

    The habit is the mean direction of earlier starts on a circle of 24 hours (Mardia and Jupp, "Directional Statistics", 2000); the more
    they scatter, the less a distance counts. Null for users with less than three days or ten sessions of past.
    """
    angle = (pl.col("start").dt.epoch("us") / 1e6 % _DAY_S) / _DAY_S * 2 * math.pi
    who = sessions.select("session_id", *USER, time=pl.col("start"), angle=angle)
    sums = {
        name: count_past(who.with_columns(weight=weight), who, USER, half_life_s)
        for name, weight in (("_cos", pl.col("angle").cos()), ("_sin", pl.col("angle").sin()), ("_weight", pl.lit(1.0)))
    }
    first = who.group_by(USER).agg(first=pl.col("time").min())
    rows = who.with_columns(**sums, _n=count_past(who, who, USER)).join(first, on=USER, how="left", nulls_equal=True, maintain_order="left")
    concentration = (pl.col("_cos") ** 2 + pl.col("_sin") ** 2).sqrt() / pl.col("_weight")
    off = pl.arctan2("_sin", "_cos") - pl.col("angle")
    known = (pl.col("_n") >= MIN_CLOCK_SESSIONS) & (pl.col("time") - pl.col("first") >= pl.duration(seconds=MIN_CLOCK_DAYS * _DAY_S))
    return rows.select("session_id", clock_distance=pl.when(known).then(concentration * (1 - off.cos()) / 2))
