"""How surprising the order of actions is: a bigram model with back-off per actor kind, learnt from earlier time only."""

from __future__ import annotations

import polars as pl

from audit_lab.sessions.novelty import count_past

BEGIN = "begin"
# About how many different tokens the vocabulary yields in practice: the share of a token never seen by anybody.
_TOKENS = 2_000
# Fewer past steps than this in an actor kind: the model knows nothing, the answer is null (law 8).
MIN_STEPS = 100.0


def session_steps(events: pl.DataFrame) -> pl.DataFrame:
    """Return the distinct steps of each session from one action to a different next one.

    Columns in: `session_id`, `cluster`, `actor_kind`, `action`, `time`, sorted by time and event id. Columns out: `session_id`,
    `cluster`, `actor_kind`, `before` ('begin' for the first), `action`, `first_time`.
    """
    return (
        events.select("session_id", "cluster", "actor_kind", "action", "time")
        .with_columns(before=pl.col("action").shift().over("session_id").fill_null(BEGIN))
        .filter(pl.col("before") != pl.col("action"))
        .group_by("session_id", "before", "action", maintain_order=True)
        .agg(pl.col("cluster", "actor_kind").first(), first_time=pl.col("time").first())
    )


def step_surprise(steps: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Add `bits` to `session_steps`: how unexpected the step was when its session began.

    Witten-Bell back-off from bigram to unigram to uniform (Witten and Bell, "The zero-frequency problem", IEEE Transactions on
    Information Theory 37(4), 1991). Each session counts a step once. Null while the actor kind has fewer than `MIN_STEPS` past steps.
    """
    kind = ["cluster", "actor_kind"]
    rows = steps.join(sessions.select("session_id", "start"), on="session_id", how="left", maintain_order="left")
    seen, asked = rows.rename({"first_time": "time"}), rows.rename({"start": "time"})
    first_pairs = seen.group_by(*kind, "before", "action").agg(pl.col("time").min())
    first_tokens = seen.group_by(*kind, "action").agg(pl.col("time").min())
    counted = rows.with_columns(
        _pair=count_past(seen, asked, [*kind, "before", "action"]), _before=count_past(seen, asked, [*kind, "before"]),
        _followers=count_past(first_pairs, asked, [*kind, "before"]), _token=count_past(seen, asked, [*kind, "action"]),
        _all=count_past(seen, asked, kind), _kinds=count_past(first_tokens, asked, kind),
    )
    unigram = (pl.col("_token") + pl.col("_kinds") / _TOKENS) / (pl.col("_all") + pl.col("_kinds"))
    bigram = (pl.col("_pair") + pl.col("_followers") * unigram) / (pl.col("_before") + pl.col("_followers"))
    share = pl.when(pl.col("_before") > 0).then(bigram).otherwise(unigram)
    return counted.with_columns(
        bits=pl.when(pl.col("_all") >= MIN_STEPS).then(-share.log(2)), is_unseen=pl.col("_pair") == 0
    ).select(*steps.columns, "bits", "is_unseen")
