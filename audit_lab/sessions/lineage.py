"""Links between sessions: one makes what the other uses.

Every link has a kind, a score from 0 to 1 (how sure it is that the one led to the other) and the events of both sides. Links of
different worth stay different: a score of `JOIN_SCORE` or more may join sessions to a story (`stories.build_stories`), a weaker one is
shown beside a case and joins nothing.

What keeps everything from hanging together:

- Only a *first* use counts: the first time that a user is seen at all, from a source, or with a client; the first time that a binding
  or rule allows something. A use is credited to the nearest maker before it, and to nothing after a day.
- The machinery (built-in controllers and nodes at their usual place) makes nothing in this sense: it mints tokens and pods for everybody.
- A sharing budget: a session, or a thing, that would join more than `BUDGET` sessions proves little by each single link, so that its
  links share one allowance. The first setup of a cluster, a deployment robot and a role for everybody fall below the line by it.
"""

from __future__ import annotations

import polars as pl

from audit_lab import tables
from audit_lab.hashing import short_id
from audit_lab.sessions.follow_ups import find_follow_ups
from audit_lab.sessions.kin import credential_links, impersonation_links, takeover_links
from audit_lab.sessions.traces import SEPARATOR, find_traces, object_name

JOIN_SCORE = 0.5
BUDGET = 8                # sessions that one session or thing may join at full score
DAY_S = 86_400.0          # age at which a link is worth half, so that after a day none joins; as long is a source remembered
HANDOVER_GAPS = 12        # half-life of an object's handover, in session gaps: an hour of real time
MAX_EVENTS = 20           # events cited per side

# kind -> what it says, for people; the keys are what tables and charts hold.
LINK_KINDS: dict[str, str] = {
    "account_created": "a service account made here is used there",
    "token_minted": "a token minted or read here belongs to the account active there",
    "right_granted": "a role or binding written here first allows something there",
    "certificate_requested": "a certificate requested here is approved there",
    "certificate_issued": "a certificate approved here names the user active there",
    "workload_started": "a workload started here runs under the account active there",
    "pod_entered": "a pod entered here holds the token used elsewhere there",
    "object_taken": "an object made here is entered, deleted or changed there by another user",
    "impersonation": "the same user, here as itself, there in another's name",
    "credential_shared": "one credential from two sources at a time",
    "continued": "the same user goes on from the new source to which a link led",
    "new_source": "the same user, there from a source not seen before",
    "new_client": "the same user, there with a client not seen before",
    "follow_up": "controllers carry out there what was asked for here",
}

# A pair before it becomes a link: `key` is the thing between the two.
_PAIR = ("kind", "from_session", "to_session", "key", "score", "from_event_ids", "to_event_ids")
_FRESH = ("user", "source", "client")


def link_sessions(events: pl.DataFrame, sessions: pl.DataFrame, session_events: pl.DataFrame, *, near_s: float = 300.0) -> pl.DataFrame:
    """Find the links between sessions.

    Parameters
    ----------
    events, sessions, session_events
        The tables of these names.
    near_s
        What counts as at the same time, seconds: the gap that ends a session is the natural choice.

    Returns
    -------
    Table links, one row per kind and pair of sessions, sorted by id.

    >>> link_sessions(tables.empty("events"), tables.empty("sessions"), tables.empty("session_events")).height
    0
    """
    for frame, name in ((events, "events"), (sessions, "sessions"), (session_events, "session_events")):
        tables.check(frame, name)
    follow_ups = find_follow_ups(events, sessions, session_events, near_s=near_s)
    return link_traces(find_traces(events, session_events), sessions, follow_ups, near_s=near_s)


def link_traces(traces: pl.DataFrame, sessions: pl.DataFrame, follow_ups: pl.DataFrame, *, near_s: float = 300.0) -> pl.DataFrame:
    """Join the traces of all partitions to table links: the merge over small tables (law 10).

    Columns in: `traces.SCHEMA`, table sessions, the result of `follow_ups.join_acts`. Columns out: table links.
    """
    who = describe_sessions(sessions)
    placed = traces.join(who, on="session_id").filter(pl.col("user").is_not_null())
    identity = placed.filter((pl.col("side") == "uses") & (pl.col("what") == "identity"))
    first = first_uses(identity, DAY_S)
    pairs = [
        *_made_and_used(placed, identity, first), _handovers(placed, near_s), impersonation_links(placed, who, near_s),
        credential_links(placed, who, near_s), takeover_links(placed, first_uses(identity, float("inf"))),
    ]
    shared = _share(pl.concat([pair.select(_PAIR) for pair in pairs]), who)
    return _as_links(pl.concat([shared, _continued(shared, first, identity).select(_PAIR), follow_ups.select(_PAIR)]))


def describe_sessions(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return who each session is, with `machinery`: built-in controllers and nodes at the place where they were first seen."""
    who = sessions.select("session_id", "cluster", "user", "impersonated_user", "actor_kind", "source_ip", "start", "end")
    source_first = pl.col("start").min().over("cluster", "user", "source_ip")
    at_home = source_first == pl.col("start").min().over("cluster", "user")
    return who.with_columns(machinery=pl.col("actor_kind").is_in(["controller", "node"]) & at_home)


def first_uses(identity: pl.DataFrame, memory_s: float) -> pl.DataFrame:
    """Keep the uses by which a user is seen first ever, or a source or client of it first in `memory_s`; `fresh` says which."""
    ordered = identity.sort("time", "session_id", "client_family", "bound", nulls_last=True)

    def unseen(*column: str) -> pl.Expr:
        before = pl.col("time").shift().over("cluster", "key", *column)
        return before.is_null() | ((pl.col("time") - before).dt.total_microseconds() / 1e6 > memory_s)

    ever = pl.col("time").shift().over("cluster", "key").is_null()
    fresh = pl.when(ever).then(pl.lit("user")).when(unseen("source_ip")).then(pl.lit("source"))
    return ordered.with_columns(fresh=fresh.when(unseen("client_family")).then(pl.lit("client"))).filter(pl.col("fresh").is_not_null())


def _made_and_used(placed: pl.DataFrame, identity: pl.DataFrame, first: pl.DataFrame) -> list[pl.DataFrame]:
    uses = placed.filter(pl.col("side") == "uses")
    bindings, roles = uses.filter(pl.col("what") == "binding"), uses.filter(pl.col("what") == "role")
    made = _makers(placed)
    handled = pl.concat([made["token"], made["subject"], made["workload"]])
    # A token that names its pod is not the one that somebody minted without a pod.
    unbound = pl.when(pl.col("bound")).then(0.4).otherwise(1.0)
    return [
        _join("account_created", made["account"], handled, pl.lit(0.8), once_per="session_id"),
        _join("account_created", made["account"], identity, pl.lit(0.9), once_per="source_ip"),
        _join("token_minted", made["token"], first, unbound * _by_freshness(0.95, 0.9, 0.55)),
        # What a new binding allows is new; what a rewritten one allows is new to those who never used it.
        _join("right_granted", made["binding"], bindings, pl.lit(0.9), once_per="user"),
        _join("right_granted", made["rebinding"], _first_by("user", bindings), pl.lit(0.9)),
        _join("right_granted", _first_by(None, made["role"]), _spellings(_first_by("user", roles)), pl.lit(0.8)),
        # Clusters that do not say which binding allowed a request: the subject turns up.
        _join("right_granted", made["subject"], first, _by_freshness(0.8, 0.4, 0.2)),
        _join("certificate_requested", made["request"], uses.filter(pl.col("what") == "request"), pl.lit(0.9)),
        _join("certificate_issued", made["certificate"], first, _by_freshness(0.95, 0.9, 0.4)),
        _join("workload_started", made["workload"], first, _by_freshness(0.7, 0.6, 0.2)),
        _join("pod_entered", made["entry"], _away_from_pod(uses), pl.lit(0.8)),
    ]


def _handovers(placed: pl.DataFrame, near_s: float) -> pl.DataFrame:
    """Pair who made an object with the other user who soon does something to it, if it is not many on either side."""
    worth = {"entered": 0.7, "deleted": 0.6, "changed": 0.4}
    uses = placed.filter(pl.col("what").is_in(list(worth)))
    pairs = _join(
        "object_taken", _makers(placed)["object"], uses, pl.col("what").replace_strict(worth, return_dtype=pl.Float64),
        once_per="user", half_life_s=HANDOVER_GAPS * near_s, other_user=True,
    )
    many = pl.max_horizontal(pl.col("to_session").n_unique().over("from_session"), pl.col("from_session").n_unique().over("to_session"))
    return pairs.with_columns(score=pl.col("score") / many)


def _makers(placed: pl.DataFrame) -> dict[str, pl.DataFrame]:
    makes = placed.filter((pl.col("side") == "makes") & ~pl.col("machinery"))
    whats = ("account", "token", "subject", "binding", "rebinding", "role", "request", "certificate", "workload", "entry", "object")
    return {what: makes.filter(pl.col("what") == what) for what in whats}


def _by_freshness(user: float, source: float, client: float) -> pl.Expr:
    return pl.col("fresh").replace_strict(dict(zip(_FRESH, (user, source, client), strict=True)), return_dtype=pl.Float64)


def _first_by(column: str | None, traces: pl.DataFrame) -> pl.DataFrame:
    """Keep the first trace of each thing, per value of `column` if one is given."""
    group = ["cluster", "what", "key", *([column] if column else [])]
    return traces.filter(pl.col("time") == pl.col("time").min().over(group))


def _spellings(roles: pl.DataFrame) -> pl.DataFrame:
    """Repeat each used rule under the ways in which a role may have granted it: by name or by wildcard."""
    parts = pl.col("key").str.split(SEPARATOR)
    role, verb, on = (parts.list.get(index, null_on_oob=True) for index in range(3))
    names = [(each_verb, each_on) for each_verb in (verb, pl.lit("*")) for each_on in (on, pl.lit("*"))]
    spelled = [pl.concat_str(role, *name, separator=SEPARATOR) for name in names]
    return roles.with_columns(key=pl.concat_list(spelled)).explode("key")


def _away_from_pod(uses: pl.DataFrame) -> pl.DataFrame:
    """Keep the first use of a pod's token from each source but the pod's own, which is the first seen."""
    used = _first_by("source_ip", uses.filter(pl.col("what") == "credential"))
    return used.filter(pl.col("time") > pl.col("time").min().over("cluster", "key"))


def _join(
    kind: str, makes: pl.DataFrame, uses: pl.DataFrame, score: pl.Expr, *, once_per: str | None = None, half_life_s: float = DAY_S,
    other_user: bool = False,
) -> pl.DataFrame:
    """Credit each use to the nearest maker of the same thing before it, in another session; with `once_per` only the first one each."""
    made = makes.select(
        "cluster", "key", made="time", made_n="n", from_session="session_id", from_user="user", from_event_ids="event_ids",
    ).sort("made", "from_session")
    used = uses.with_columns(kind=pl.lit(kind), to_session="session_id", to_event_ids="event_ids", score=score).sort("time", "session_id")
    met = used.join_asof(
        made, left_on="time", right_on="made", by=["cluster", "key"], strategy="backward", check_sortedness=False,
    ).filter(pl.col("from_session").is_not_null())
    if once_per:  # who uses at once what it made itself has had the first use
        met = met.filter(pl.col("time") == pl.col("time").min().over("cluster", "key", "made", once_per))
    met = met.filter(pl.col("from_session") != pl.col("to_session"))
    if other_user:
        met = met.filter(pl.col("from_user") != pl.col("user"))
    age_s = (pl.col("time") - pl.col("made")).dt.total_microseconds() / 1e6
    # Who makes the same thing hundreds of times (pods of one account) explains no single use of it.
    routine = pl.min_horizontal(1.0, BUDGET / pl.col("made_n"))
    return met.with_columns(score=pl.col("score") * routine * 0.5 ** (age_s / half_life_s)).select(_PAIR)


def _share(pairs: pl.DataFrame, who: pl.DataFrame) -> pl.DataFrame:
    """Let the links of a session or thing that would join more than `BUDGET` sessions share one allowance."""
    joins = pl.col("score") >= JOIN_SCORE
    reach = [
        pl.col("to_session").filter(joins).n_unique().over("from_session"),
        pl.col("from_session").filter(joins).n_unique().over("to_session"),
        pl.col("to_session").filter(joins).n_unique().over("cluster", "key"),
    ]
    allowance = BUDGET / pl.max_horizontal(BUDGET, *reach)
    scoped = pairs.join(who.select(from_session="session_id", cluster="cluster"), on="from_session", how="left")
    return scoped.with_columns(score=pl.when(joins).then(pl.col("score") * allowance).otherwise(pl.col("score"))).select(_PAIR)


def _continued(pairs: pl.DataFrame, first: pl.DataFrame, identity: pl.DataFrame) -> pl.DataFrame:
    """Pair the sessions that go on, for a day, from where a link led to: the same user at the same new source, unless it settles there."""
    place = ["cluster", "user", "source_ip"]
    led_to = pairs.filter(pl.col("score") >= JOIN_SCORE).select(session_id="to_session").unique()
    arrivals = first.filter(pl.col("fresh") != "client").join(led_to, on="session_id", how="semi")
    begun = arrivals.select(*place, begun="time").sort("begun")
    stays = identity.sort("time", "session_id").unique("session_id", keep="first", maintain_order=True).join_asof(
        begun, left_on="time", right_on="begun", by=place, strategy="backward", check_sortedness=False,
    ).filter((pl.col("time") - pl.col("begun")).dt.total_microseconds() / 1e6 <= DAY_S)
    visit = [*place, "begun"]
    return stays.with_columns(
        kind=pl.lit("continued"), to_session="session_id", to_event_ids="event_ids",
        from_session=pl.col("session_id").shift().over(visit), from_event_ids=pl.col("event_ids").shift().over(visit),
        score=0.8 * BUDGET / pl.max_horizontal(BUDGET, pl.len().over(visit)),
    ).filter(pl.col("from_session").is_not_null())


def _as_links(pairs: pl.DataFrame) -> pl.DataFrame:
    """Fold pairs to one row per kind and pair of sessions; the best score counts and names the object."""
    if pairs.is_empty():
        return tables.empty("links")
    events = (pl.col(f"{side}_event_ids").list.explode().unique(maintain_order=True).head(MAX_EVENTS) for side in ("from", "to"))
    folded = (
        pairs.with_columns(object=object_name(pl.col("key")))
        .sort("score", "object", descending=[True, False], nulls_last=True)
        .group_by("kind", "from_session", "to_session", maintain_order=True)
        .agg(pl.col("score").first().clip(0.0, 1.0).round(6), pl.col("object").first(), *events)
    )
    parts = folded.select("kind", "from_session", "to_session", "from_event_ids", "to_event_ids").iter_rows()
    ids = [short_id("l", kind, maker, user, *made, "", *used) for kind, maker, user, made, used in parts]
    return tables.conform(folded.with_columns(link_id=pl.Series(ids, dtype=pl.String)), "links").sort("link_id")
