"""New combinations: things that were seen before, but never together.

For the peers: a verb on a kind of resource, an action in a class of namespace, a client at a class of source; for the identity itself: a
client at a class of source. What is altogether new (an action nobody did, an identity nobody knew) is left to the detectors of novelty.
"""

from __future__ import annotations

import polars as pl

from audit_lab.actions import SUBRESOURCES, VERBS
from audit_lab.kubernetes import CUSTOM, RESOURCES

_KINDS = {f"{group}/{name}": kind for group, names in RESOURCES.items() for name, kind in names.items()}
_MOST = 3
_SYSTEM = ("kube-system", "kube-public", "kube-node-lease")


def new_combinations(
    events: pl.DataFrame, session_events: pl.DataFrame, sessions: pl.DataFrame, source_words: frozenset[str]
) -> pl.DataFrame:
    """Return how many combinations of each session had never been seen when it began, although their parts had.

    Parameters
    ----------
    events, session_events
        The tables of those names.
    sessions
        `session_id`, `start`, `world`, `identity`, `peers`: who may be compared with whom.
    source_words
        Classes of sources that may be named; others are named ranges of the profile.

    Returns
    -------
    `session_id`, `n` (new combinations), `words` (up to three of them), `event_ids` (that show them); only sessions with any, and only
    those whose peers have a past.
    """
    namespace = (
        pl.when(pl.col("namespace").is_null()).then(pl.lit("cluster-wide")).when(pl.col("namespace").is_in(_SYSTEM))
        .then(pl.lit("in a system namespace")).when(pl.col("namespace") == "default").then(pl.lit("in the default namespace"))
        .otherwise(pl.lit("in a namespace"))
    )
    source = pl.when(pl.col("source_class").is_in(source_words)).then("source_class").otherwise(pl.lit("named-range"))
    acted = (
        events.select("event_id", "time", "client_family", source=source, verb=_verb(), kind=_kind(), place=namespace)
        .with_columns(action=pl.concat_str("verb", pl.lit(" "), "kind"))
        .join(session_events, on="event_id", how="inner")
        .join(sessions.select("session_id", "start", "world", "identity", "peers"), on="session_id", how="inner")
    )
    mine, peers = ["world", "identity"], ["world", "peers"]
    found = pl.concat([
        _together(acted, peers, "verb", "kind"),
        _together(acted, peers, "action", "place"),
        _together(acted, peers, "client_family", "source"),
        _together(acted, mine, "client_family", "source"),
    ])
    # A client that is new at this source for all peers is new for the identity too: it counts once.
    kept = found.sort("session_id", "words", "event_id").unique(["session_id", "words"], keep="first", maintain_order=True)
    return (
        kept.group_by("session_id", maintain_order=True)
        .agg(n=pl.len().cast(pl.Float64), words=pl.col("words").head(_MOST).str.join("; "), event_ids=pl.col("event_id").head(_MOST))
    )


def _verb() -> pl.Expr:
    return pl.col("verb").replace_strict(VERBS, default="call", return_dtype=pl.String).fill_null("call")


def _kind() -> pl.Expr:
    """The kind of object, with its subresource; null for paths that are no resource."""
    key = pl.concat_str(pl.col("api_group").fill_null(""), pl.lit("/"), pl.col("resource"))
    below = pl.col("subresource").replace_strict({name: name for name in SUBRESOURCES}, default="other", return_dtype=pl.String)
    noun = key.replace_strict(_KINDS, default=CUSTOM, return_dtype=pl.String)
    return pl.when(pl.col("resource").is_not_null()).then(
        pl.concat_str(noun, pl.when(pl.col("subresource").is_not_null()).then(below), separator=" ", ignore_nulls=True))


def _together(acted: pl.DataFrame, circle: list[str], left: str, right: str) -> pl.DataFrame:
    """Pairs of `left` and `right` that the circle had never shown before the session, while it had shown each of them."""
    def first(*parts: str) -> pl.DataFrame:
        return acted.group_by(*circle, *parts).agg(pl.col("time").min().alias("since"))

    def known(parts: list[str]) -> pl.Expr:
        return pl.col("_".join(["since", *parts])) < pl.col("start")

    acted = acted.filter(pl.col(left).is_not_null() & pl.col(right).is_not_null())
    shown = acted.sort("time", "event_id").group_by("session_id", *circle, left, right, maintain_order=True).agg(
        pl.col("start").first(), pl.col("event_id").first()
    )
    for parts in ([left], [right], [left, right]):
        shown = shown.join(
            first(*parts).rename({"since": "_".join(["since", *parts])}), on=[*circle, *parts], how="left",
        )
    new = known([left]) & known([right]) & ~known([left, right])
    return shown.filter(new).select(
        "session_id", "event_id",
        words=pl.concat_str(pl.col(left).cast(pl.String), pl.lit(" "), pl.col(right).cast(pl.String)),
    )
