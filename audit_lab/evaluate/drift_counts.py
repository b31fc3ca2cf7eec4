"""What is watched for drift, counted block by block: small tables that are added up over partitions (law 10).

A block is a day, or an hour where days are compared. Whatever is compared later is a count per block and value, or a sum of vectors
per block: nothing of a session or an event is kept, and the counts of two partitions are the counts of both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.evaluate.changes import opinions

FAMILIES = ("schema", "actors", "clients", "rules", "embeddings", "scores", "labels", "overrides")
COUNTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "block": tables.TIME, "family": pl.String, "feature": pl.String, "kind": pl.String, "value": pl.String, "n": pl.Float64,
}
# What a rate divides by stands beside its hits under this value.
OF = "of"
SCORE_BINS = 50  # a score's place: bins of 0.02, finer than any threshold is chosen
MOST_HITS = 9    # rules that fire on one session; more count as this many
# Name and version of a program, as far as it says so in the usual way; what else stands there is not read.
VERSION = r"^([A-Za-z][A-Za-z0-9_.-]{0,39}/v?[0-9]+(?:\.[0-9]+){0,2})"


class DriftCounts(NamedTuple):
    """Counts per block, and sums of vectors per block.

    counts
        block (start of a day or hour, UTC), family, feature, kind (category, number, rate, volume, presence), value, n.
        A number's value is its bin; a rate has its hits under 'hit' and what it divides by under 'of'.
    sums
        block, n (sessions), vector (sum of their unit vectors), one row per block; None where there are no vectors.
    why
        Family to the reason why it could not be counted.
    """

    counts: pl.DataFrame
    sums: pl.DataFrame | None
    why: dict[str, str]


def count_drift(
    events: pl.LazyFrame, sessions: pl.DataFrame, signals: pl.DataFrame, scores: pl.DataFrame, archives: pl.DataFrame,
    judged: pl.DataFrame, labelled: pl.DataFrame, vectors: np.ndarray | None, every: str = "1d", no_vectors: str | None = None,
) -> DriftCounts:
    """Count what is watched for drift.

    Parameters
    ----------
    events
        Table `events` or a lazy scan of it; needs time, actor, user_agent, verb, api_group, resource.
    sessions, signals, scores, archives
        Tables of these names. Of `sessions`: session_id, start, actor, actor_kind, client_families.
    judged
        case_id, start (UTC), score, flagged (bool), malicious (bool; null where nobody said so) and, if cases of one incident are to be one
        judgement, opinion: one row per judged case.
    labelled
        session_id and verdict: one row per session that a person or an incident file spoke of.
    vectors
        One unit vector per row of `sessions`; None where there are none.
    every
        Length of a block: '1d' or '1h'.
    no_vectors
        Why there are none.

    Returns
    -------
    DriftCounts.
    """
    placed = sessions.with_columns(block=pl.col("start").dt.truncate(every))
    per_block = placed.group_by("block").agg(n=pl.len())
    parts = [
        *_schema(events, archives, every), *_actors(events, placed, every), *_clients(events, placed, every),
        *_rules(signals, placed, per_block), *_scores(scores, judged, placed, every), *_labels(labelled, judged, placed, per_block, every),
    ]
    why = {} if vectors is not None else {"embeddings": no_vectors or "no vectors were given"}
    for family, rows, reason in (
        ("rules", signals, "no signals: the stage has not run"), ("scores", scores, "no scores: the stage has not run"),
        ("labels", labelled, "no labels yet: audit-lab label FILE"),
        ("overrides", judged.filter(pl.col("malicious").is_not_null()), "no case has both a verdict and a label"),
    ):
        if rows.is_empty():
            why[family] = reason
    sums = None if vectors is None else _sums(placed["block"], vectors)
    return DriftCounts(pl.concat([pl.DataFrame(schema=COUNTS), *parts]), sums, why)


def merge_counts(parts: Sequence[DriftCounts]) -> DriftCounts:
    """Add up the counts of partitions that share no session, actor and block (law 10).

    A family is without a reason where any part could count it.
    """
    keys = [name for name in COUNTS if name != "n"]
    counts = pl.concat([part.counts for part in parts]).group_by(keys).agg(pl.col("n").sum()).select(list(COUNTS))
    sums = [part.sums for part in parts if part.sums is not None]
    merged = None
    if sums:
        rows = pl.concat(sums).sort("block")
        blocks = rows["block"].unique(maintain_order=True)
        places = rows.join(blocks.to_frame().with_row_index("place"), on="block", how="left", maintain_order="left")["place"].to_numpy()
        totals = np.zeros((blocks.len(), len(rows["vector"][0])))
        np.add.at(totals, places, np.array(rows["vector"].to_list()))
        n = np.bincount(places, weights=rows["n"].to_numpy())
        merged = pl.DataFrame({"block": blocks, "n": n, "vector": totals.tolist()}, schema=sums[0].schema)
    why = {name: reason for part in parts for name, reason in part.why.items() if all(name in other.why for other in parts)}
    return DriftCounts(counts.sort(keys), merged, why)


def _rows(frame: pl.DataFrame, family: str, feature: pl.Expr | str, kind: str, value: pl.Expr | str) -> pl.DataFrame:
    """Return counts with the columns of the contract from a frame with block, n and whatever names feature and value."""
    return frame.select(
        pl.col("block").cast(tables.TIME), pl.lit(family).alias("family"),
        (pl.lit(feature) if isinstance(feature, str) else feature).cast(pl.String).alias("feature"), pl.lit(kind).alias("kind"),
        (pl.col(value) if isinstance(value, str) else value).cast(pl.String).alias("value"), pl.col("n").cast(pl.Float64),
    )


def _rate(hits: pl.DataFrame, of: pl.DataFrame, family: str, feature: pl.Expr | str) -> list[pl.DataFrame]:
    """Return the counts of a rate: `hits` and `of` have block and n, and what names the feature."""
    return [_rows(hits, family, feature, "rate", pl.lit("hit")), _rows(of, family, feature, "rate", pl.lit(OF))]


def _schema(events: pl.LazyFrame, archives: pl.DataFrame, every: str) -> list[pl.DataFrame]:
    resource = pl.when(pl.col("api_group") == "").then("resource").otherwise(pl.concat_str("resource", "api_group", separator="."))
    counted = (
        events.select("verb", "api_group", block=pl.col("time").dt.truncate(every), resource=resource)
        .group_by("block", "verb", "api_group", "resource").agg(n=pl.len()).collect()
    )
    parts = []
    for column, feature in (("verb", "new verb"), ("api_group", "new API group"), ("resource", "new resource")):
        known = counted.filter(pl.col(column).is_not_null()).group_by("block", column).agg(pl.col("n").sum())
        parts.append(_rows(known, "schema", feature, "presence", column))
    keys = (
        archives.filter(pl.col("first_time").is_not_null())
        .select("unknown_keys", block=pl.col("first_time").dt.truncate(every)).explode("unknown_keys", empty_as_null=False)
        .filter(pl.col("unknown_keys").is_not_null()).unnest("unknown_keys").group_by("block", "key").agg(pl.col("n").sum())
    )
    return [*parts, _rows(keys, "schema", "new key", "presence", "key")]


def _actors(events: pl.LazyFrame, placed: pl.DataFrame, every: str) -> list[pl.DataFrame]:
    kinds = placed.group_by("block", "actor_kind").agg(n=pl.len())
    known = placed.filter(pl.col("actor") != "")
    identities = known.group_by("block", "actor").agg(n=pl.len())
    volume = (
        events.select("actor", block=pl.col("time").dt.truncate(every)).filter(pl.col("actor") != "")
        .group_by("block", "actor").agg(n=pl.len()).collect()
    )
    return [
        _rows(kinds, "actors", "actor kind", "category", "actor_kind"),
        _rows(identities, "actors", "identity", "category", "actor"),
        _rows(identities, "actors", "new identity", "presence", "actor"),
        _rows(volume, "actors", pl.lit("events of ") + pl.col("actor"), "volume", pl.lit("hit")),
    ]


def _clients(events: pl.LazyFrame, placed: pl.DataFrame, every: str) -> list[pl.DataFrame]:
    families = (
        placed.select("block", client=pl.col("client_families").list.unique()).explode("client", empty_as_null=False)
        .group_by("block", "client").agg(n=pl.len())
    )
    versions = (
        events.select("actor", block=pl.col("time").dt.truncate(every), version=pl.col("user_agent").str.extract(VERSION))
        .filter(pl.col("version").is_not_null()).unique().group_by("block", "version").agg(n=pl.len()).collect()
    )
    return [
        _rows(families, "clients", "client family", "category", "client"),
        _rows(families, "clients", "new client family", "presence", "client"),
        _rows(versions, "clients", "client version", "category", "version"),
        _rows(versions, "clients", "new client version", "presence", "version"),
    ]


def _rules(signals: pl.DataFrame, placed: pl.DataFrame, per_block: pl.DataFrame) -> list[pl.DataFrame]:
    hits = signals.filter(pl.col("kind").is_in(["rule", "correlation", "custom"])).select("session_id", "detector_id")
    hits = hits.join(placed.select("session_id", "block"), on="session_id", how="inner")
    per_rule = hits.group_by("block", "detector_id").agg(n=pl.len())
    named = hits.select("detector_id").unique().join(per_block, how="cross")
    fired = placed.select("session_id", "block").join(
        hits.group_by("session_id").agg(hits=pl.len()), on="session_id", how="left"
    ).with_columns(value=pl.col("hits").fill_null(0).clip(0, MOST_HITS)).group_by("block", "value").agg(n=pl.len())
    return [
        *_rate(per_rule, named, "rules", pl.lit("rate of ") + pl.col("detector_id")),
        _rows(hits.group_by("block", "detector_id").agg(n=pl.len()), "rules", "rule mix", "category", "detector_id"),
        _rows(fired, "rules", "rules per session", "number", "value"),
    ] if signals.height else []


def _scores(scores: pl.DataFrame, judged: pl.DataFrame, placed: pl.DataFrame, every: str) -> list[pl.DataFrame]:
    place = (pl.col("score") * SCORE_BINS).floor().clip(0, SCORE_BINS - 1).cast(pl.Int64)
    fused = scores.filter(pl.col("detector_id") == "fused").group_by("session_id").agg(pl.col("score").max())
    fused = fused.join(placed.select("session_id", "block"), on="session_id", how="inner").group_by("block", value=place).agg(n=pl.len())
    verdicts = judged.filter(pl.col("score").is_not_null()).group_by(block=pl.col("start").dt.truncate(every), value=place).agg(n=pl.len())
    return [_rows(frame, "scores", name, "number", "value") for name, frame in (("fused score", fused), ("verdict score", verdicts))
            if frame.height]


def _labels(
    labelled: pl.DataFrame, judged: pl.DataFrame, placed: pl.DataFrame, per_block: pl.DataFrame, every: str
) -> list[pl.DataFrame]:
    said = labelled.join(placed.select("session_id", "block"), on="session_id", how="inner")
    parts = []
    if said.height:
        malicious = said.filter(pl.col("verdict") == "malicious").group_by("block").agg(n=pl.len())
        parts += [
            _rows(said.group_by("block", "verdict").agg(n=pl.len()), "labels", "label", "category", "verdict"),
            *_rate(malicious, per_block, "labels", "malicious sessions"),
        ]
    both = opinions(judged).with_columns(block=pl.col("start").dt.truncate(every))
    if both.height:
        wrong = both.filter(pl.col("flagged") != pl.col("malicious"))
        of = both.group_by("block").agg(n=pl.len())
        parts += _rate(wrong.group_by("block").agg(n=pl.len()), of, "overrides", "label against verdict")
    return parts


def _sums(blocks: pl.Series, vectors: np.ndarray) -> pl.DataFrame:
    names = blocks.unique().sort()
    places = blocks.to_frame("block").join(names.to_frame("block").with_row_index("place"), on="block", how="left", maintain_order="left")
    at = places["place"].to_numpy()
    totals = np.zeros((names.len(), vectors.shape[1]))
    np.add.at(totals, at, vectors)
    schema = pl.Schema({"block": tables.TIME, "n": pl.Float64(), "vector": pl.List(pl.Float64)})
    return pl.DataFrame({"block": names, "n": np.bincount(at, minlength=names.len()), "vector": totals.tolist()}, schema=schema)
