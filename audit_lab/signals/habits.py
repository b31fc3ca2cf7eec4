"""What breaks a habit: access and deeds that surprise, each with its reason in words."""

from __future__ import annotations

import polars as pl

from audit_lab.classes import SOURCE_CLASSES
from audit_lab.predicates import PREDICATES

# Deeds that are named and counted.
_MOST = 3


def new_access(seen: pl.DataFrame) -> pl.DataFrame:
    """Where from and with what: the more surprising of network and its class, plus the client; or that it is a newcomer."""
    channel = pl.col("channel")
    best = seen.filter(channel != "deed").sort("score", descending=True, maintain_order=True)
    sides = best.group_by("session_id", maintain_order=True).agg(
        pl.col("own_sessions").first(), pl.col("newcomer_bits").first(),
        place=pl.col("score").filter(channel.is_in(["source", "source_class"])).max().fill_null(0.0),
        group=pl.col("score").filter(channel == "source_class").max().fill_null(0.0),
        client=pl.col("score").filter(channel == "client").max().fill_null(0.0),
        source_class=pl.col("token").filter(channel == "source_class").first(),
        family=pl.col("token").filter(channel == "client").first(),
        ids=pl.col("event_ids").filter(pl.col("score") >= 1.0).head(2).list.explode(keep_nulls=False, empty_as_null=False),
    )
    known = pl.col("own_sessions") > 0
    # A newcomer has no habits: only the class of its source can be told from its peers' without guessing.
    bits = pl.when(known).then(pl.col("place") + pl.col("client")).otherwise(pl.max_horizontal("newcomer_bits", "group"))
    shown_class = pl.when(pl.col("source_class").is_in(SOURCE_CLASSES)).then("source_class").otherwise(pl.lit("named-range"))
    old = pl.format(
        "known from {} earlier sessions, now {}", "own_sessions",
        pl.concat_str(
            pl.when(pl.col("place") >= 1).then(pl.format("unusual source ({})", shown_class)),
            pl.when(pl.col("client") >= 1).then(pl.format("unusual client ({})", "family")),
            pl.when((pl.col("place") < 1) & (pl.col("client") < 1)).then(pl.lit("rare source or client")),
            separator=" and ", ignore_nulls=True,
        ),
    )
    return sides.select(
        "session_id", pl.lit("new-access").alias("detector_id"), score=bits,
        reason=pl.when(known).then(old).when(pl.col("newcomer_bits") >= pl.col("group"))
        .then(pl.lit("identity never seen before, while newcomers are rare among its peers"))
        .otherwise(pl.format("identity never seen before, from a source unusual among its peers ({})", shown_class)),
        event_ids=pl.col("ids").list.unique(maintain_order=True),
    )


def new_deed(seen: pl.DataFrame) -> pl.DataFrame:
    """What it did: the three most surprising deeds, each by how much it matters."""
    top = (
        seen.filter((pl.col("channel") == "deed") & (pl.col("score") > 0))
        .sort("session_id", "score", "token", descending=[False, True, False])
        .group_by("session_id", maintain_order=True).head(_MOST)
    )
    words = {name: predicate.did for name, predicate in PREDICATES.items()}
    words |= {f"{name} denied": f"tried in vain to {predicate.does}" for name, predicate in PREDICATES.items()}
    return (
        top.with_columns(word=pl.col("token").replace_strict(words, return_dtype=pl.String))
        .group_by("session_id", maintain_order=True)
        .agg(
            pl.col("score").sum(), pl.col("own_sessions").first(), pl.col("word").str.join("; "),
            event_ids=pl.col("event_ids").list.explode(keep_nulls=False, empty_as_null=False).unique(maintain_order=True),
        )
        .select(
            "session_id", pl.lit("new-deed").alias("detector_id"), "score",
            reason=pl.format("unusual against {} earlier sessions: {}", "own_sessions", "word"), event_ids="event_ids",
        )
    )
