"""Surprise: how unexpected a session is for an identity that has a past.

For each thing that a session shows (its source, its client, its deeds) we ask in how many earlier sessions the same
identity showed it, backing off to the identity's peers and then to the whole cluster where the identity has little past
of its own (Dirichlet smoothing: Zhai and Lafferty, "A study of smoothing methods for language models applied to
information retrieval", ACM TOIS 22(2), 2004). The unit is bits: 10 bits are odds of a thousand to one.

Two properties matter more than the formula. Only what was seen BEFORE a session began counts (law 9), so a stolen token
that is used while its owner's own session still runs is compared with that session's events so far. And where nothing
is known nothing is surprising: with an empty past every share is 1 and every surprise 0 bits.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from audit_lab.predicates import DENIED, PREDICATES, UNAUTHENTICATED, match_predicates

# How much a kind of deed matters when it is new, 0–1: the ways to more privilege that the Kubernetes documentation names
# ("Role Based Access Control Good Practices"), execution, hiding and destruction count whole; looking around little.
CONSEQUENCE = {
    "secret": 1.0, "execution": 1.0, "privilege": 1.0, "impersonation": 1.0, "evasion": 1.0, "identity": 0.8, "destruction": 0.8,
    "network": 0.6, "workload": 0.5, "discovery": 0.3,
}
_WEIGHTS = {name: CONSEQUENCE[predicate.category] for name, predicate in PREDICATES.items() if predicate.category in CONSEQUENCE}
CHANNELS = ("source", "source_class", "client", "deed")
# Ids kept per session and token: enough to show what is meant.
_EXAMPLES = 10
# How many sessions of the wider circle weigh as much as one session of the identity itself.
_WIDER_WEIGHT = 1.0
# Sessions without a hit that routine assumes besides those seen: so few sessions make no routine.
_OWN_DOUBT, _PEER_DOUBT = 2, 20
# Sessions of the same kind that tell how common newcomers are at the moment.
_RECENT = 100


@dataclass
class _Past:
    sessions: int = 0
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    newcomers: deque[bool] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def share(self, token: tuple[str, str], wider: float) -> float:
        return (self.seen[token] + _WIDER_WEIGHT * wider) / (self.sessions + _WIDER_WEIGHT)

    def newcomer_share(self) -> float:
        return (1 + sum(self.newcomers)) / (1 + len(self.newcomers))


def whose_past(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return whom each session is compared with: `session_id`, `start`, `world` (cluster), `identity`, `peers` (kind of actor).

    Whoever shows no credential, or one that does not hold, is nobody: all of them together are no identity with habits. They
    are told apart by the network that they come from.

    Parameters
    ----------
    sessions
        Table sessions.
    """
    nobody = pl.col("actor_kind").is_in(["anonymous", "unauthenticated"]) | pl.col("user").is_null()
    by_network = pl.concat_str(pl.lit("?"), "actor_kind", pl.lit("@"), _network())
    return sessions.select(
        "session_id", "start", world="cluster", identity=pl.when(nobody).then(by_network).otherwise("user"), peers="actor_kind"
    )


def _network() -> pl.Expr:
    """The network of a source: /24, or /64 of IPv6; 'none' where there is no address."""
    cut = pl.col("source_ip").str.replace(r"\.\d+$", "").str.replace(r"^((?:[0-9a-fA-F]*:){4}).*$", "$1")
    return cut.fill_null("none")


def session_tokens(events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Return what each session shows, one row per session, channel and token.

    Parameters
    ----------
    events, session_events
        The tables of those names.

    Returns
    -------
    `session_id`; `channel`, one of CHANNELS; `token`: for 'source' the network (/24, or /64 of IPv6), for 'source_class'
    and 'client' the class, for 'deed' a predicate's name, with ' denied' behind it where the request was refused;
    `first_time`; `weight` 0–1, how much a deed matters (1 for the other channels); `event_ids`, at most ten.
    """
    refused = pl.when(DENIED | UNAUTHENTICATED).then(pl.lit(" denied")).otherwise(pl.lit(""))
    # Only what is needed is joined and sorted: the lists of an events table are many times heavier.
    acted = (
        events.select("event_id", "time", "source_class", "client_family", source=_network(), refused=refused)
        .join(session_events, on="event_id", how="inner").sort("time", "event_id")
    )
    deeds = acted.select("session_id", "time", "event_id", "refused").join(
        match_predicates(events, list(_WEIGHTS)), on="event_id", how="inner", maintain_order="left"
    )
    weight = pl.col("predicate").replace_strict(_WEIGHTS, return_dtype=pl.Float64)
    return pl.concat([
        _tokens(acted, "source", pl.col("source")),
        _tokens(acted, "source_class", pl.col("source_class")),
        _tokens(acted, "client", pl.col("client_family")),
        _tokens(deeds, "deed", pl.col("predicate") + pl.col("refused"), weight),
    ])


def _tokens(acted: pl.DataFrame, channel: str, token: pl.Expr, weight: pl.Expr | None = None) -> pl.DataFrame:
    return (
        acted.lazy().select("session_id", "time", "event_id", token=token, weight=pl.lit(1.0) if weight is None else weight)
        .group_by("session_id", "token", maintain_order=True)
        .agg(first_time=pl.col("time").first(), weight=pl.col("weight").first(), event_ids=pl.col("event_id").head(_EXAMPLES))
        .select("session_id", pl.lit(channel).alias("channel"), "token", "first_time", "weight", "event_ids")
        .collect()
    )


def surprises(tokens: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Return how surprising each token of each session was when the session began.

    Parameters
    ----------
    tokens
        `session_id`, `channel`, `token`, `first_time` (when the session first showed it); other columns are kept.
    sessions
        `session_id`, `start`, `world` (what may be compared at all: the cluster), `identity` and `peers` (its circle).

    Returns
    -------
    `tokens` in the same order with
    `bits`: surprise under the identity's past, backing off to its peers, then to its world;
    `own_sessions`: how many sessions of the identity had begun before, 0 for an identity never seen;
    `newcomer_bits`: for an identity never seen, how rare newcomers were among the last hundred sessions of its peers.

    >>> from datetime import datetime, timedelta, UTC
    >>> day = [datetime(2026, 1, d, tzinfo=UTC) for d in range(1, 10)]
    >>> sessions = pl.DataFrame({"session_id": list("abcdefghi"), "start": day, "world": "c", "identity": "ann", "peers": "human"})
    >>> tokens = pl.DataFrame({"session_id": list("abcdefghi"), "channel": "client", "token": ["kubectl"] * 8 + ["browser"],
    ...                        "first_time": [t + timedelta(seconds=1) for t in day]})
    >>> [round(bits, 1) for bits in surprises(tokens, sessions)["bits"]]
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.5]
    """
    started = sessions.select("session_id", "start", "world", "identity", "peers")
    moments: list[tuple[datetime, int, str, tuple[Any, ...]]] = [
        (start, 0, session_id, (world, identity, peers)) for session_id, start, world, identity, peers in started.iter_rows()
    ]
    numbered = tokens.with_row_index("_row")
    shown = numbered.select("_row", "session_id", "first_time", "channel", "token").join(started, on="session_id", how="inner")
    wanted: dict[str, list[tuple[int, tuple[str, str]]]] = defaultdict(list)
    for row, session_id, first_time, channel, token, _start, world, identity, peers in shown.iter_rows():
        wanted[session_id].append((row, (channel, token)))
        moments.append((first_time, 1, session_id, (world, identity, peers, (channel, token))))
    # At the same instant sessions ask first: what begins together does not explain each other.
    moments.sort(key=lambda moment: moment[:3])

    pasts: dict[tuple[str, ...], _Past] = defaultdict(_Past)
    found: list[tuple[int, float, int, float]] = []
    for _time, step, session_id, what in moments:
        world, identity, peers = what[:3]
        circles = pasts[world,], pasts[world, "peers", peers], pasts[world, "own", identity]
        if step == 1:
            for past in circles:
                past.seen[what[3]] += 1
            continue
        everyone, circle, own = circles
        newcomer = _bits(circle.newcomer_share()) if own.sessions == 0 else 0.0
        for row, key in wanted[session_id]:
            share = own.share(key, circle.share(key, everyone.share(key, 1.0)))
            found.append((row, _bits(share), own.sessions, newcomer))
        circle.newcomers.append(own.sessions == 0)
        for past in circles:
            past.sessions += 1
    answers = pl.DataFrame(
        found, schema={"_row": pl.UInt32, "bits": pl.Float64, "own_sessions": pl.Int64, "newcomer_bits": pl.Float64}, orient="row"
    )
    return numbered.join(answers, on="_row", how="inner", maintain_order="left").drop("_row")


def _bits(share: float) -> float:
    return max(0.0, -math.log2(share))


def routine(hits: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Return how much of a routine each rule hit is: the share of earlier sessions in which the same rule had fired.

    Earlier are sessions that began before. Of one that still runs all hits count, later ones too: routine only lowers what a rule says.
    Waiting for its end was tried and lost incidents where everybody shares one address and sessions are long (docs/signals.md).

    Parameters
    ----------
    hits
        `session_id`, `detector_id`; other columns are kept.
    sessions
        As in `surprises`.

    Returns
    -------
    `hits` with `own_routine` (earlier sessions of the identity in which it fired ÷ its earlier sessions, and two that are
    assumed without) and `peer_routine` (the same over its peers, twenty assumed): 0 where it never fired before.
    """
    started = sessions.select("session_id", "start", "world", "identity", "peers")
    rows = hits.with_row_index("_row")
    fired: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row, session_id, detector_id in rows.select("_row", "session_id", "detector_id").iter_rows():
        fired[session_id].append((row, detector_id))
    pasts: dict[tuple[str, ...], _Past] = defaultdict(_Past)
    found: list[tuple[int, float, float]] = []
    for session_id, _start, world, identity, peers in started.sort("start", "session_id").iter_rows():
        own, circle = pasts[world, "own", identity], pasts[world, "peers", peers]
        for row, detector_id in fired[session_id]:
            key = ("rule", detector_id)
            found.append((row, own.seen[key] / (own.sessions + _OWN_DOUBT), circle.seen[key] / (circle.sessions + _PEER_DOUBT)))
        for past in (own, circle):
            past.seen.update(("rule", detector_id) for _, detector_id in fired[session_id])
            past.sessions += 1
    answers = pl.DataFrame(found, schema={"_row": pl.UInt32, "own_routine": pl.Float64, "peer_routine": pl.Float64}, orient="row")
    return rows.join(answers, on="_row", how="inner", maintain_order="left").drop("_row")
