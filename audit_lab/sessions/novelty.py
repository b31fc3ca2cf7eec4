"""How rare something is against the past: counts as they stood when a session began, with decay.

Everything is asked "as of" a moment: only what happened strictly before it counts (law 9), and what happened long ago counts
less (half after `half_life_s`). The unit of counting is the session, not the event, so that loops do not outvote people.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

# A month: long enough to know monthly jobs, short enough to forget people who changed teams.
HALF_LIFE_S = 30 * 86_400.0
# Sessions of the wider circle that weigh as much as one of the actor's own (Dirichlet smoothing: Zhai and Lafferty, "A study of
# smoothing methods for language models applied to information retrieval", ACM TOIS 22(2), 2004).
BACK_OFF = 2.0
# Fewer past sessions than this among actor and peers: nothing can be said, the answer is null (law 8).
MIN_PAST = 5.0


def count_past(occurrences: pl.DataFrame, queries: pl.DataFrame, keys: Sequence[str], half_life_s: float | None = None) -> pl.Series:
    """Return, per row of `queries`, the decayed number of `occurrences` with the same keys strictly before its time.

    Both frames have the columns `keys` and `time`; `occurrences` may have `weight` (1 without it). Nulls are equal.
    With a half-life shorter than a 900th of the span of the data, that 900th is used, so that numbers stay finite.

    >>> from datetime import datetime
    >>> seen = pl.DataFrame({"user": ["a", "a", "b"], "time": [datetime(2026, 1, day) for day in (1, 2, 1)]})
    >>> asked = pl.DataFrame({"user": ["a", "a", "c"], "time": [datetime(2026, 1, day) for day in (2, 3, 3)]})
    >>> count_past(seen, asked, ["user"]).to_list()
    [1.0, 2.0, 0.0]
    """
    weight = pl.col("weight").cast(pl.Float64) if "weight" in occurrences.columns else pl.lit(1.0)
    both = pl.concat([
        occurrences.select(*keys, "time", _weight=weight, _row=pl.lit(None, dtype=pl.UInt32)),
        queries.select(*keys, "time", _weight=pl.lit(0.0), _row=pl.int_range(pl.len(), dtype=pl.UInt32)),
    ]).with_columns(_group=pl.struct(keys).rank("dense"), _clock=pl.col("time").dt.epoch("us") / 1e6)
    # At the same moment the question comes before what it must not see.
    both = both.sort("_group", "_clock", pl.col("_row").is_null())
    fade = pl.lit(1.0)
    if half_life_s is not None and both.height:
        first, last = both.select(first=pl.col("_clock").min(), last=pl.col("_clock").max()).row(0)
        half_life_s = max(half_life_s, (last - first) / 900)
        fade = 2.0 ** ((pl.col("_clock") - first) / half_life_s)
    return (
        both.with_columns(_sum=(pl.col("_weight") * fade).cum_sum().over("_group") / fade)
        .filter(pl.col("_row").is_not_null()).sort("_row")["_sum"].rename("past")
    )


def rarity(
    shown: pl.DataFrame, sessions: pl.DataFrame, item: str, circle: Sequence[str], half_life_s: float | None = HALF_LIFE_S
) -> pl.DataFrame:
    """Say how unusual each thing that a session shows is: for its user, and among the user's peers.

    Columns in: `shown` one row per session and `item` with `session_id`, `item`, `first_time`; `sessions` with `session_id`,
    `cluster`, `user`, `start` and the columns of `circle`, which define who are peers (same cluster and same values).
    Columns out: those of `shown` and `user_bits`, `peer_bits` (minus the binary logarithm of the share of past sessions that
    showed it, the user's own with back-off to the peers, and the peers' without the user; null where the past is too short),
    `user_past`, `peer_past` (decayed number of past sessions).
    """
    own, peers = ["cluster", "user"], ["cluster", *circle]
    who = sessions.select("session_id", pl.col("start").alias("time"), *dict.fromkeys([*own, *peers]))
    rows = shown.join(who.rename({"time": "start"}), on="session_id", how="left", maintain_order="left")
    happened, asked = rows.rename({"first_time": "time"}), rows.rename({"start": "time"})
    n_own, n_peers = (count_past(who, who, keys, half_life_s) for keys in (own, peers))
    sizes = who.select("session_id", user_past=n_own, peer_past=n_peers - n_own)
    counted = rows.with_columns(
        _own=count_past(happened, asked, [*own, item], half_life_s), _all=count_past(happened, asked, [*peers, item], half_life_s),
    ).join(sizes, on="session_id", how="left", maintain_order="left")
    # The item may have come later in a session than its start, and so has faded less: a share never exceeds 1.
    peer_share = ((pl.col("_all") - pl.col("_own") + 0.5) / (pl.col("peer_past") + 1)).clip(1e-6, 1)
    user_share = ((pl.col("_own") + BACK_OFF * peer_share) / (pl.col("user_past") + BACK_OFF)).clip(1e-6, 1)
    return counted.with_columns(
        user_bits=pl.when(pl.col("user_past") + pl.col("peer_past") >= MIN_PAST).then(-user_share.log(2)),
        peer_bits=pl.when(pl.col("peer_past") >= MIN_PAST).then(-peer_share.log(2)),
    ).select(*shown.columns, "user_bits", "peer_bits", "user_past", "peer_past")
