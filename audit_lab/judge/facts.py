"""Facts about cases: what evidence is written from and what claims are checked against.

One set of queries for both, so that a claim in an evidence pack can never contradict the checker. Everything is
set-wise: one pass over the tables for all cases, never a query per case.
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from audit_lab.predicates import COLUMNS, DENIED, SUCCEEDED, UNAUTHENTICATED, match_predicates

MAX_IDS = 50
# Fewer other identities of a kind than this say nothing about what the kind usually does.
MIN_PEERS = 3
# Of so many identities of a namespace the owner is sought.
MAX_OWNERS = 3
NEEDED = tuple(sorted({*COLUMNS, "event_id", "cluster", "time", "user", "actor_kind", "source_class", "client_family", "api_group"}))
SCOPES = ("namespaces", "secrets", "nodes", "resources")
Frame = pl.DataFrame | pl.LazyFrame


def case_sessions(candidates: pl.DataFrame) -> pl.DataFrame:
    """Return `case_id`, `session_id`: one row per session of a case."""
    members = candidates.select("case_id", pl.col("session_ids").alias("session_id")).explode("session_id")
    return members.drop_nulls().unique(maintain_order=True)


def case_events(candidates: pl.DataFrame, session_events: Frame, events: Frame, columns: Collection[str] = NEEDED) -> pl.DataFrame:
    """Return the events of every case, in order of time.

    Returns
    -------
    pl.DataFrame
        `case_id`, `session_id`, the `columns` of table events, `denied` (403 or 401) and `succeeded`; one row per case and event.
    """
    members = case_sessions(candidates)
    inside = session_events.lazy().join(members.lazy(), on="session_id", how="inner")
    return (
        events.lazy().select(columns).join(inside, on="event_id", how="inner")
        .with_columns((DENIED | UNAUTHENTICATED).alias("denied"), SUCCEEDED.alias("succeeded"))
        .sort("case_id", "time", "event_id").collect()
    )


def matches(of_cases: pl.DataFrame, names: Collection[str] | None = None, unit: str = "case_id") -> pl.DataFrame:
    """Return one row per unit, event and predicate that holds, with `time`, `denied`, `succeeded` and who it was."""
    flags = match_predicates(of_cases.unique("event_id", maintain_order=True), names)
    kept = of_cases.select(unit, "event_id", "time", "denied", "succeeded", "cluster", "user", "actor_kind")
    return kept.join(flags, on="event_id", how="inner")


def count_facts(matched: pl.DataFrame, unit: str = "case_id") -> pl.DataFrame:
    """Return per unit and predicate: `n`, `n_denied`, `n_succeeded`, times `first`, `last`, `event_ids` (50), `last_ids` (3)."""
    # The predicate too: of two that speak of the same events one is shown, and it must be the same one each time.
    return matched.sort(unit, "time", "event_id", "predicate").group_by(unit, "predicate", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("n"), pl.col("denied").sum().cast(pl.Int64).alias("n_denied"),
        pl.col("succeeded").sum().cast(pl.Int64).alias("n_succeeded"),
        pl.col("time").min().alias("first"), pl.col("time").max().alias("last"), pl.col("event_id").head(MAX_IDS).alias("event_ids"),
        pl.col("event_id").tail(3).alias("last_ids"),
    )


def reach_facts(of_cases: pl.DataFrame, matched: pl.DataFrame, unit: str = "case_id") -> pl.DataFrame:
    """Return per unit, predicate and scope the number `n` of distinct things touched (`SCOPES`), with `event_ids`."""
    secret = (pl.col("resource") == "secrets") & (pl.col("api_group") == "") & pl.col("name").is_not_null()
    things = {
        "namespaces": pl.col("namespace"),
        "secrets": pl.when(secret).then(pl.concat_str(pl.col("namespace").fill_null(""), pl.lit("/"), pl.col("name").fill_null(""))),
        "nodes": pl.when(pl.col("resource") == "nodes").then(pl.col("name")),
        "resources": pl.concat_str(pl.col("api_group"), pl.col("resource"), pl.col("subresource").fill_null(""), separator="/"),
    }
    joined = matched.select(unit, "event_id", "predicate", "time").join(
        of_cases.select(unit, "event_id", "namespace", "api_group", "resource", "subresource", "name"), on=[unit, "event_id"], how="inner")
    parts = [
        joined.with_columns(thing.alias("thing")).drop_nulls("thing").sort(unit, "time", "event_id")
        .unique([unit, "predicate", "thing"], keep="first", maintain_order=True)
        .group_by(unit, "predicate", maintain_order=True).agg(
            pl.lit(scope).alias("scope"), pl.len().cast(pl.Int64).alias("n"), pl.col("event_id").head(MAX_IDS).alias("event_ids"))
        .select(unit, "predicate", "scope", "n", "event_ids")
        for scope, thing in things.items()
    ]
    return pl.concat(parts)


def history(events: Frame, names: Collection[str]) -> pl.DataFrame:
    """Return when an identity first did something: `cluster`, `actor_kind`, `user`, `predicate`, `first`.

    The predicate 'request' is always there: its `first` is when the identity was first seen at all.
    """
    wanted = {*names, "request"}
    narrow = events.lazy().select(sorted({*COLUMNS, "event_id", "cluster", "time", "user", "actor_kind"})).collect()
    flags = match_predicates(narrow, wanted - {"request"})
    who = narrow.select("event_id", "cluster", "actor_kind", "user", "time").drop_nulls("user")
    keys = ["cluster", "actor_kind", "user"]
    seen = who.group_by(keys).agg(pl.col("time").min().alias("first")).with_columns(pl.lit("request").alias("predicate"))
    did = flags.join(who, on="event_id", how="inner").group_by([*keys, "predicate"]).agg(pl.col("time").min().alias("first"))
    return pl.concat([did.select(*keys, "predicate", "first"), seen.select(*keys, "predicate", "first")])


def novelty_facts(of_cases: pl.DataFrame, matched: pl.DataFrame, past: pl.DataFrame) -> pl.DataFrame:
    """Return per case and predicate whether it is new, measured against everything before the case's first event.

    Returns
    -------
    pl.DataFrame
        `case_id`, `predicate`; `new_for_actor` (null where none of its identities has a past), `new_for_peers` (null where
        fewer than three other identities of the kind were seen before), `n_peers`, `event_ids` of the new ones.
    """
    starts = of_cases.group_by("case_id").agg(pl.col("time").min().alias("case_start"))
    keys = ["cluster", "actor_kind", "user"]
    did = (
        matched.filter(pl.col("user").is_not_null()).sort("case_id", "time", "event_id")
        .group_by("case_id", "predicate", *keys, maintain_order=True).agg(pl.col("event_id").head(MAX_IDS).alias("event_ids"))
        .join(starts, on="case_id")
    )
    seen = past.filter(pl.col("predicate") == "request").select(*keys, pl.col("first").alias("seen"))
    own = did.join(seen, on=keys, how="left").join(past.rename({"first": "own_first"}), on=[*keys, "predicate"], how="left").with_columns(
        pl.when(pl.col("seen") < pl.col("case_start")).then(
            pl.col("own_first").is_null() | (pl.col("own_first") >= pl.col("case_start"))).alias("new_for_actor"))
    others = _others_before(did, past)
    n_peers = others.filter(pl.col("predicate") == "request").select("case_id", pl.col("n_before").alias("n_peers"))
    return (
        own.group_by("case_id", "predicate", maintain_order=True).agg(
            pl.col("new_for_actor").max(), pl.col("event_ids").list.explode(keep_nulls=False, empty_as_null=False).head(MAX_IDS))
        .join(others, on=["case_id", "predicate"], how="left").join(n_peers, on="case_id", how="left")
        .with_columns(pl.col("n_peers").fill_null(0))
        .with_columns(pl.when(pl.col("n_peers") >= MIN_PEERS).then(pl.col("n_before").fill_null(0) == 0).alias("new_for_peers"))
        .select("case_id", "predicate", "new_for_actor", "new_for_peers", "n_peers", "event_ids")
    )


def _others_before(did: pl.DataFrame, past: pl.DataFrame) -> pl.DataFrame:
    """Return per case and predicate how many identities of its kind, none of the case's own, had done it before: `n_before`.

    Counted as: all that had done it, less those of the case. A join of every case with every peer would grow with both.
    """
    group = ["cluster", "actor_kind", "predicate"]
    place = (pl.int_range(pl.len()).over(group) + 1).cast(pl.Int64).alias("n_all")
    counted = past.sort("first").with_columns(place).select(*group, "first", "n_all")
    kinds = did.select("case_id", "predicate", "cluster", "actor_kind", "case_start").unique()
    asked = pl.concat([kinds, kinds.with_columns(pl.lit("request").alias("predicate"))]).unique()
    everybody = asked.sort("case_start").join_asof(
        counted, left_on="case_start", right_on="first", by=group, strategy="backward", allow_exact_matches=False,
        check_sortedness=False)
    people = did.select("case_id", "cluster", "actor_kind", "user", "case_start").unique()
    own = people.join(past, on=["cluster", "actor_kind", "user"], how="inner").filter(pl.col("first") < pl.col("case_start"))
    own = own.group_by("case_id", "predicate").agg(pl.len().cast(pl.Int64).alias("n_own"))
    return (
        everybody.group_by("case_id", "predicate").agg(pl.col("n_all").fill_null(0).sum())
        .join(own, on=["case_id", "predicate"], how="left")
        .select("case_id", "predicate", (pl.col("n_all") - pl.col("n_own").fill_null(0)).alias("n_before"))
    )


def earlier_writes(of_cases: pl.DataFrame, events: Frame) -> pl.DataFrame:
    """Return who made the earlier writes in a case's namespaces: whose namespaces they are.

    People and service accounts count, controllers and nodes do not: they carry out what others asked for.

    Returns
    -------
    pl.DataFrame
        `case_id`, `n_all`, `n_own` (of the case's identities), `top_n` and `top_kind` of the other identity that wrote most. Only the
        `MAX_OWNERS` most active identities of a namespace are considered for it.
    """
    keys = ["cluster", "namespace"]
    writing = pl.col("verb").is_in(["create", "update", "patch", "delete", "deletecollection"]) & pl.col("subresource").is_null()
    by_people = pl.col("actor_kind").is_in(["human", "service_account"])
    narrow = events.lazy().filter(writing & by_people).select(*keys, "user", "actor_kind", "time").drop_nulls(["namespace", "user"])
    writes = narrow.sort("time").collect()
    starts = of_cases.group_by("case_id").agg(pl.col("time").min().alias("case_start"))
    asked = of_cases.drop_nulls("namespace").select("case_id", *keys).unique().join(starts, on="case_id")
    people = of_cases.drop_nulls("user").select("case_id", "cluster", "user").unique()
    every = _counted(asked, writes, keys).group_by("case_id").agg(pl.col("n").sum().alias("n_all"))
    own = _counted(people.join(asked, on=["case_id", "cluster"]), writes, [*keys, "user"]).group_by("case_id").agg(
        pl.col("n").sum().alias("n_own"))
    active = writes.group_by(*keys, "user", "actor_kind").agg(pl.len().alias("total")).sort("total", "user", descending=[True, False])
    owners = asked.join(active.group_by(keys, maintain_order=True).head(MAX_OWNERS), on=keys).join(
        people, on=["case_id", "cluster", "user"], how="anti")
    top = (
        _counted(owners, writes, [*keys, "user"]).group_by("case_id", "user", "actor_kind").agg(pl.col("n").sum())
        .sort("case_id", "n", "user", descending=[False, True, False]).group_by("case_id", maintain_order=True).first()
        .select("case_id", pl.col("n").alias("top_n"), pl.col("actor_kind").alias("top_kind"))
    )
    joined = every.filter(pl.col("n_all") > 0).join(own, on="case_id", how="left").join(top, on="case_id", how="left").sort("case_id")
    return joined.select("case_id", pl.col("n_own").fill_null(0), "n_all", pl.col("top_n").fill_null(0), "top_kind")


def _counted(asked: pl.DataFrame, rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Add `n`: how many `rows` with the same `by` came before `case_start`."""
    place = (pl.int_range(pl.len()).over(by) + 1).cast(pl.Int64).alias("n")
    return asked.sort("case_start").join_asof(
        rows.with_columns(place).select(*by, "time", "n"), left_on="case_start", right_on="time", by=by, strategy="backward",
        allow_exact_matches=False, check_sortedness=False,
    ).with_columns(pl.col("n").fill_null(0))
