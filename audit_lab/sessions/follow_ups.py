"""Follow-ups: what controllers do because somebody asked for it.

One request sets off a cascade: a Deployment gets a ReplicaSet, that gets pods, those are bound to nodes; an account gets its Secret; a
deleted namespace is emptied. The log holds no pointer back, but owners and names do: a controlling owner is written into what it owns,
and Kubernetes builds the names of what it generates from the owner's name. The idea of reading contexts from both is that of K8NTEXT
(Franzil et al., Sharpening Kubernetes Audit Logs with Context Awareness, arXiv 2506.16328); rules only here, no model.

A controller's session answers everybody at once, so a follow-up never joins sessions: it is attached, with the events it consists of.
"""

from __future__ import annotations

import polars as pl

from audit_lab.kubernetes import ACCESS_REVIEWS, WORKLOADS, WRITE_VERBS

MAX_EVENTS = 20
LASTING_S = 86_400.0  # a CronJob goes on causing jobs: as long as a story may last

# How the answer was recognised, the surest first, and what a link is worth by it.
_OWNER, _OBJECT, _NAME, _NAMESPACE = 0, 1, 2, 3
SCORES = {_OWNER: 0.9, _OBJECT: 0.8, _NAME: 0.6, _NAMESPACE: 0.5}

ACTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "session_id": pl.String,
    "side": pl.String,       # asks | answers
    "key": pl.String,        # 'workload:ns/name', 'object:group/resource/ns/name', 'account:ns/name', 'namespace:name'
    "how": pl.Int8,          # answers only: index of SCORES
    "lasting": pl.Boolean,   # answers only: the cause may lie hours back
    "time": pl.Datetime("us", "UTC"),
    "event_id": pl.String,
}

_COLUMNS = ("event_id", "time", "actor_kind", "verb", "api_group", "resource", "subresource", "namespace", "name", "status", "owner_kind",
            "owner_name")
_NO_CAUSE = ("events", "leases", "endpoints", "endpointslices", *ACCESS_REVIEWS)
_LAST = "^(.+)-[^-]+$"          # a generated name without its last part: ReplicaSet of a Deployment, pod of a ReplicaSet or Job
_LAST_TWO = "^(.+)-[^-]+-[^-]+$"


def find_follow_ups(events: pl.DataFrame, sessions: pl.DataFrame, session_events: pl.DataFrame, *, near_s: float = 300.0) -> pl.DataFrame:
    """Return the sessions of controllers that carry out what other sessions asked for.

    Columns in: tables events, sessions, session_events; `near_s`: longest wait for an answer, seconds. Columns out: kind, from_session
    (who asked), to_session (who carried it out), key, score, from_event_ids, to_event_ids.
    """
    return join_acts(find_acts(events, session_events), sessions, near_s=near_s)


def find_acts(events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Return requests that may have caused something, and what controllers did, with the keys by which they meet (`ACTS`)."""
    held = events.lazy().select(_COLUMNS).filter(
        pl.col("verb").is_in(WRITE_VERBS) & pl.col("status").is_between(200, 299) & pl.col("resource").is_in(_NO_CAUSE).not_()
        & ((pl.col("subresource").fill_null("") != "status") | (pl.col("resource") == "certificatesigningrequests"))
    ).join(session_events.lazy(), on="event_id").collect()
    by_controller = pl.col("actor_kind") == "controller"
    # An autoscaler's change is nobody's request, but it is the nearer cause of what follows.
    asks = held.filter(~by_controller | (pl.col("subresource") == "scale"))
    parts = [*_asked(asks), *_answered(held.filter(by_controller))]
    return pl.concat([part.select(pl.col(name).cast(dtype) for name, dtype in ACTS.items()) for part in parts]).filter(
        pl.col("key").is_not_null()
    ).sort("time", "event_id", "key")


def join_acts(acts: pl.DataFrame, sessions: pl.DataFrame, *, near_s: float = 300.0) -> pl.DataFrame:
    """Credit each answer to the nearest request before it that explains it best."""
    placed = acts.join(sessions.select("session_id", "cluster", "actor_kind"), on="session_id")
    asks = placed.filter(pl.col("side") == "asks").select(
        "cluster", "key", asked="time", from_session="session_id", from_event="event_id", from_kind="actor_kind",
    ).sort("asked", "from_event")
    answers = placed.filter(pl.col("side") == "answers").sort("time", "event_id", "key")
    met = answers.join_asof(asks, left_on="time", right_on="asked", by=["cluster", "key"], strategy="backward", check_sortedness=False)
    wait_s = (pl.col("time") - pl.col("asked")).dt.total_microseconds() / 1e6
    best = (
        met.filter(wait_s <= pl.when(pl.col("lasting")).then(LASTING_S).otherwise(near_s))
        .sort("event_id", "how", "asked", "key", descending=[False, False, True, False])
        .unique("event_id", keep="first", maintain_order=True)
        .filter((pl.col("from_session") != pl.col("session_id")) & (pl.col("from_kind") != "controller"))
    )
    return (
        best.sort("how", "time", "event_id")
        .group_by("from_session", to_session="session_id", maintain_order=True)
        .agg(
            pl.col("key").first(), how=pl.col("how").first(),
            from_event_ids=pl.col("from_event").unique(maintain_order=True).head(MAX_EVENTS),
            to_event_ids=pl.col("event_id").head(MAX_EVENTS),
        )
        .with_columns(kind=pl.lit("follow_up"), score=pl.col("how").replace_strict(SCORES, return_dtype=pl.Float64))
        .drop("how")
    )


def _object() -> pl.Expr:
    # A namespace appears with and without itself as its namespace.
    space = pl.when(pl.col("resource") == "namespaces").then(pl.lit("")).otherwise(pl.col("namespace").fill_null(""))
    return pl.format("object:{}/{}/{}/{}", pl.col("api_group").fill_null(""), "resource", space, "name")


def _workload(name: pl.Expr) -> pl.Expr:
    return pl.format("workload:{}/{}", "namespace", name)


def _asked(asks: pl.DataFrame) -> list[pl.DataFrame]:
    def ask(rows: pl.DataFrame, key: pl.Expr) -> pl.DataFrame:
        return rows.with_columns(side=pl.lit("asks"), key=key, how=pl.lit(None), lasting=pl.lit(None))

    name = pl.col("name")
    workloads = asks.filter(pl.col("resource").is_in(WORKLOADS))
    pods = asks.filter(pl.col("resource") == "pods")
    accounts = asks.filter((pl.col("resource") == "serviceaccounts") & pl.col("subresource").is_null())
    namespaces = asks.filter((pl.col("resource") == "namespaces") & pl.col("verb").is_in(["create", "delete"]))
    return [
        ask(asks, _object()),
        ask(workloads, _workload(name)),
        # A pod that somebody deletes is made again by its owner.
        *(ask(pods, _workload(owner)) for owner in (name, name.str.extract(_LAST), name.str.extract(_LAST_TWO))),
        ask(accounts, pl.format("account:{}/{}", "namespace", "name")),
        ask(namespaces, pl.format("namespace:{}", "name")),
    ]


def _answered(answers: pl.DataFrame) -> list[pl.DataFrame]:
    def answer(rows: pl.DataFrame, key: pl.Expr, how: int, *, lasting: bool = False) -> pl.DataFrame:
        return rows.with_columns(side=pl.lit("answers"), key=key, how=pl.lit(how), lasting=pl.lit(lasting))

    name, owner = pl.col("name"), pl.col("owner_name")
    owned = answers.filter(owner.is_not_null())
    generated = owned.filter(pl.col("owner_kind").is_in(["ReplicaSet", "Job"]))
    nameless = answers.filter(owner.is_null())
    pods = nameless.filter(pl.col("resource") == "pods")
    sets = nameless.filter(pl.col("resource").is_in(["replicasets", "jobs", "controllerrevisions"]))
    secrets = nameless.filter(pl.col("resource") == "secrets")
    from_cron = pl.col("owner_kind") == "CronJob"
    of_job = pl.col("owner_kind") == "Job"
    return [
        answer(owned.filter(~from_cron), _workload(owner), _OWNER),
        answer(owned.filter(from_cron), _workload(owner), _OWNER, lasting=True),
        answer(generated.filter(~of_job), _workload(owner.str.extract(_LAST)), _OWNER),
        answer(generated.filter(of_job), _workload(owner.str.extract(_LAST)), _OWNER, lasting=True),
        answer(answers, _object(), _OBJECT),
        answer(pods, _workload(name), _NAME),
        answer(pods, _workload(name.str.extract(_LAST)), _NAME),
        answer(pods, _workload(name.str.extract(_LAST_TWO)), _NAME),
        answer(sets, _workload(name.str.extract(_LAST)), _NAME),
        answer(secrets, pl.format("account:{}/{}", "namespace", name.str.extract("^(.+)-token-[a-z0-9]{5}$")), _NAME),
        answer(answers, pl.format("namespace:{}", "namespace"), _NAMESPACE),
    ]
