"""What a session did, in numbers: counts, breadth, and what was new, looking only at earlier time."""

from __future__ import annotations

import polars as pl

from audit_lab.vocabulary import is_write

USER = ("cluster", "user")
# What the functions here read of table events.
COLUMNS = (
    "cluster", "actor", "user", "impersonated_user", "actor_kind", "source_ip", "source_class", "time", "namespace", "client_family",
    "verb", "api_group", "resource", "subresource", "name", "status", "decision",
)
_EXEC = ("exec", "attach", "portforward", "ephemeralcontainers")
_RBAC = ("clusterrolebindings", "clusterroles", "rolebindings", "roles")


def count_sessions(events: pl.DataFrame) -> pl.DataFrame:
    """Return one row per session with who, where, when and the counts of table sessions.

    Columns in: table events plus `session_id`, sorted by time and event id. Columns out: those of table sessions up to `n_rbac_writes`.
    """
    core = pl.col("api_group").fill_null("") == ""
    resource, subresource = pl.col("resource"), pl.col("subresource")
    secret = (core & (resource == "secrets")).fill_null(False)
    reads = pl.col("verb").is_in(["get", "list", "watch"]).fill_null(False)
    listing = pl.col("verb").is_in(["list", "watch"]).fill_null(False) & pl.col("name").is_null()
    succeeded = pl.col("status").is_null() | (pl.col("status") < 400)
    denied = (pl.col("status") == 403).fill_null(False) | (pl.col("decision") == "forbid").fill_null(False)
    unauthenticated = (pl.col("status") == 401).fill_null(False) & ~denied
    error = (pl.col("status") >= 400).fill_null(False) & ~denied & ~unauthenticated
    entering = (resource == "pods") & subresource.is_in(_EXEC) & ~((subresource == "ephemeralcontainers") & reads)
    rbac = (pl.col("api_group") == "rbac.authorization.k8s.io") & resource.is_in(_RBAC) & is_write()
    kind = pl.concat_str([pl.col("api_group").fill_null(""), resource, subresource.fill_null("")], separator="/")
    secret_name = pl.concat_str([pl.col("namespace").fill_null(""), pl.col("name")], separator="/")
    who = ("cluster", "actor", "user", "impersonated_user", "actor_kind", "source_ip", "source_class")
    flags = events.select(
        "session_id", *who, "time", "namespace", "client_family", write=is_write(), denied=denied, unauthenticated=unauthenticated,
        error=error, kind=kind, secret=pl.when(secret & reads & succeeded & pl.col("name").is_not_null()).then(secret_name),
        secret_list=secret & listing, entering=entering.fill_null(False), rbac=rbac.fill_null(False),
    )
    n = {"n_writes": "write", "n_denied": "denied", "n_unauthenticated": "unauthenticated", "n_errors": "error"}
    return flags.group_by("session_id", maintain_order=True).agg(
        *(pl.col(column).first() for column in who),
        client_families=pl.col("client_family").unique(maintain_order=True),
        start=pl.col("time").min(), end=pl.col("time").max(),
        # Rounded: a division by a constant may come out differently in its last digit for one row and for many.
        duration_s=((pl.col("time").max() - pl.col("time").min()).dt.total_microseconds() / 1e6).round(6),
        n_events=pl.len().cast(pl.Int64),
        **{name: pl.col(column).sum().cast(pl.Int64) for name, column in n.items()},
        n_namespaces=pl.col("namespace").drop_nulls().n_unique().cast(pl.Int64),
        n_resources=pl.col("kind").drop_nulls().n_unique().cast(pl.Int64),
        n_secrets=pl.col("secret").drop_nulls().n_unique().cast(pl.Int64),
        n_secret_lists=pl.col("secret_list").sum().cast(pl.Int64),
        n_exec=pl.col("entering").sum().cast(pl.Int64),
        n_rbac_writes=pl.col("rbac").sum().cast(pl.Int64),
    )


def count_actions(events: pl.DataFrame) -> pl.DataFrame:
    """Return one row per session and action, in order of first use.

    Columns in: `session_id`, `cluster`, `user`, `actor_kind`, `action`, `time`, `status`, `decision`, sorted by time and event id.
    Columns out: `session_id`, `cluster`, `user`, `actor_kind`, `action`, `n`, `n_denied`, `first_time`, `place` (rank of first use).
    """
    refused = pl.col("status").is_in([401, 403]).fill_null(False) | (pl.col("decision") == "forbid").fill_null(False)
    return (
        events.select("session_id", *USER, "actor_kind", "action", "time", refused=refused)
        .with_row_index("row")
        .group_by("session_id", "action")
        .agg(
            pl.col("cluster", "user", "actor_kind").first(), n=pl.len().cast(pl.Int64), n_denied=pl.col("refused").sum().cast(pl.Int64),
            first_time=pl.col("time").min(), row=pl.col("row").min(),
        )
        .sort("row")
        .with_columns(place=pl.col("row").cum_count().over("session_id"))
        .drop("row")
    )


def mark_new(actions: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Add to `count_actions` what was new when the session started: `new_for_user`, `new_for_peers`.

    Peers are the other users of the same kind in the cluster. Only events before the session's start count as past, so concurrent
    sessions do not make each other known. `new_for_peers` is null while no peer has any past.
    """
    firsts = actions.group_by(*USER, "actor_kind", "action").agg(first_seen=pl.col("first_time").min())
    # The two earliest users per action are enough: a user's peers saw it first at the earliest time that is not the user's own.
    by_kind = firsts.sort("first_seen", "user", nulls_last=True).group_by("cluster", "actor_kind", "action", maintain_order=True).agg(
        pioneer=pl.col("user").first(), pioneer_time=pl.col("first_seen").first(),
        second_time=pl.col("first_seen").get(1, null_on_oob=True),
    )
    known = _two_earliest(firsts.group_by("cluster", "actor_kind", "user").agg(pl.col("first_seen").min()))
    starts = sessions.select("session_id", "start")
    keys = ["cluster", "actor_kind", "action"]
    return (
        actions.join(starts, on="session_id", how="left")
        .join(firsts, on=[*USER, "actor_kind", "action"], how="left", nulls_equal=True)
        .join(by_kind, on=keys, how="left")
        .join(known, on=["cluster", "actor_kind"], how="left")
        .with_columns(
            new_for_user=pl.col("first_seen") >= pl.col("start"),
            peers_time=_others("pioneer", "pioneer_time", "second_time"),
            peers_start=_others("eldest", "eldest_time", "next_time"),
        )
        .with_columns(
            new_for_peers=pl.when((pl.col("peers_start") < pl.col("start")).fill_null(False))
            .then((pl.col("peers_time") >= pl.col("start")).fill_null(True))
        )
        .select(*actions.columns, "new_for_user", "new_for_peers")
        .sort("session_id", "place")
    )


def newness(events: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Return per session `is_known_user`, `is_new_source`, `is_new_client`: the user has a past, this source or client was not in it.

    A failed authentication has no user and so no past: all three are false.
    """
    named = events.select(*USER, "time", "source_ip", "client_family").filter(pl.col("user").is_not_null())
    user_first = named.group_by(USER).agg(user_time=pl.col("time").min())
    source_first = named.group_by(*USER, "source_ip").agg(source_time=pl.col("time").min())
    client_first = named.group_by(*USER, "client_family").agg(client_time=pl.col("time").min())
    keyed = sessions.select("session_id", *USER, "source_ip", "start", "client_families")
    clients = (
        keyed.explode("client_families").rename({"client_families": "client_family"})
        .join(client_first, on=[*USER, "client_family"], how="left", nulls_equal=True)
        .group_by("session_id").agg(client_new=(pl.col("client_time") >= pl.col("start")).any())
    )
    known = (pl.col("user_time") < pl.col("start")).fill_null(False)
    return (
        keyed.join(user_first, on=USER, how="left").join(source_first, on=[*USER, "source_ip"], how="left", nulls_equal=True)
        .join(clients, on="session_id", how="left")
        .select(
            "session_id", is_known_user=known,
            is_new_source=known & (pl.col("source_time") >= pl.col("start")).fill_null(False),
            is_new_client=known & pl.col("client_new").fill_null(False),
        )
    )


def _two_earliest(users: pl.DataFrame) -> pl.DataFrame:
    return users.sort("first_seen", "user", nulls_last=True).group_by("cluster", "actor_kind", maintain_order=True).agg(
        eldest=pl.col("user").first(), eldest_time=pl.col("first_seen").first(), next_time=pl.col("first_seen").get(1, null_on_oob=True),
    )


def _others(first_user: str, first_time: str, second_time: str) -> pl.Expr:
    return pl.when(pl.col("user").eq_missing(pl.col(first_user))).then(pl.col(second_time)).otherwise(pl.col(first_time))
