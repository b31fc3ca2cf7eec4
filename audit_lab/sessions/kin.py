"""Links between sessions of one user: in another's name, with one credential, from a new place.

These need no object between the sessions; the user is what they share. Only impersonation and a pod's own token are sure enough to
join sessions: a user name at a second address may be a stolen credential or a laptop, so that link is weak and shown only.
"""

from __future__ import annotations

import polars as pl

MANY_SOURCES = 5      # a credential with more sources is shared by design: two at a time say little
MANY_IDENTITIES = 20  # a portal acts in the name of whoever logs in: its sessions are not one story
SCORES = {"impersonation": 0.95, "pod_token": 0.8, "two_places": 0.45, "new_source": 0.3, "new_client": 0.2, "by_design": 0.3}


def impersonation_links(placed: pl.DataFrame, who: pl.DataFrame, near_s: float) -> pl.DataFrame:
    """Link each session in another's name to its user's own session beside it, else to the one before it in a name.

    Parameters
    ----------
    placed
        Traces joined with `who`.
    who
        One row per session: session_id, cluster, user, impersonated_user, source_ip, start, end.
    near_s
        Longest pause between the two sessions, seconds.

    Returns
    -------
    Pairs: kind, from_session, to_session, key, score, from_event_ids, to_event_ids.
    """
    same = ["cluster", "user", "source_ip"]
    taken = who.filter(pl.col("impersonated_user").is_not_null() & pl.col("user").is_not_null())
    own = who.filter(pl.col("impersonated_user").is_null() & pl.col("user").is_not_null())
    many = pl.col("impersonated_user").n_unique().over(same) > MANY_IDENTITIES
    wanted = taken.with_columns(
        to_session="session_id", key=pl.format("user:{}", "impersonated_user"),
        score=pl.when(many).then(SCORES["by_design"]).otherwise(SCORES["impersonation"]),
    )
    before = _near(wanted, own, same, "end", "backward", near_s)
    after = _near(wanted, own, same, "end", "forward", near_s)
    beside = pl.concat([before, after]).sort("apart_s", "from_session").unique("to_session", keep="first", maintain_order=True)
    alone = wanted.join(beside, on="to_session", how="anti")
    previous = _near(alone, taken, same, "start", "backward", near_s, strictly=True)
    found = pl.concat([beside, previous]).with_columns(kind=pl.lit("impersonation"))
    return _cite(found, placed)


def credential_links(placed: pl.DataFrame, who: pl.DataFrame, near_s: float) -> pl.DataFrame:
    """Link the sessions that use one credential from two sources at a time: later source to the first one.

    A token that names its pod is certainly one credential. A user name is not: that link is too weak to join.
    Parameters and result are those of `impersonation_links`.
    """
    bound = placed.filter((pl.col("side") == "uses") & (pl.col("what") == "credential")).select(*who.columns, "key")
    plain = who.filter(pl.col("user").is_not_null() & pl.col("impersonated_user").is_null() & (pl.col("actor_kind") != "anonymous"))
    plain = plain.with_columns(key=pl.format("user:{}", "user"))
    found = pl.concat([_in_two_places(bound, "pod_token", near_s), _in_two_places(plain, "two_places", 0.0)])
    return _cite(found.with_columns(kind=pl.lit("credential_shared")), placed)


def takeover_links(placed: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """Link a user's first session from a source, or with a client, to the session of that user before it.

    `fresh` are the first uses of an identity, with `fresh` = user, source or client (`lineage.first_uses`).
    """
    identity = placed.filter((pl.col("side") == "uses") & (pl.col("what") == "identity"))
    earlier = identity.select("cluster", "key", made="time", from_session="session_id").sort("made", "from_session")
    arrivals = fresh.filter(pl.col("fresh") != "user").with_columns(to_session="session_id").sort("time", "session_id")
    found = arrivals.join_asof(
        earlier, left_on="time", right_on="made", by=["cluster", "key"], strategy="backward", allow_exact_matches=False,
        check_sortedness=False,
    ).filter(pl.col("from_session").is_not_null() & (pl.col("from_session") != pl.col("to_session")))
    kind = pl.concat_str(pl.lit("new_"), "fresh")
    return _cite(found.with_columns(kind=kind, score=kind.replace_strict(SCORES, return_dtype=pl.Float64)), placed)


def _in_two_places(uses: pl.DataFrame, sure: str, near_s: float) -> pl.DataFrame:
    """Pair each session from a later source with the session at the key's first source that overlaps it."""
    uses = uses.with_columns(
        first=pl.col("start").min().over("cluster", "key", "source_ip"),
        sources=pl.col("source_ip").n_unique().over("cluster", "key"),
    )
    home = (pl.col("first") == pl.col("first").min().over("cluster", "key"))
    design = pl.col("sources") > MANY_SOURCES
    # Only a guest's arrival is held against the credential: later sessions there would draw in ever more of its holder's.
    arrival = pl.col("start") == pl.col("first")
    score = pl.when(design).then(SCORES["by_design"]).when(arrival).then(SCORES[sure]).otherwise(SCORES["two_places"])
    guests = uses.filter(~home).with_columns(to_session="session_id", score=score)
    return _near(guests, uses.filter(home), ["cluster", "key"], "end", "backward", near_s)


def _near(
    wanted: pl.DataFrame, others: pl.DataFrame, same: list[str], at: str, strategy: str, near_s: float, *, strictly: bool = False,
) -> pl.DataFrame:
    """Give each wanted session the latest other one that starts before its `at` (or the first after it), if near enough."""
    candidates = others.select(*same, from_session="session_id", from_start="start", from_end="end").sort("from_start", "from_session")
    met = wanted.sort(at, "session_id").join_asof(
        candidates, left_on=at, right_on="from_start", by=same, strategy=strategy,  # type: ignore[arg-type]
        allow_exact_matches=not strictly, check_sortedness=False,
    ).filter(pl.col("from_session").is_not_null() & (pl.col("from_session") != pl.col("to_session")))
    apart = pl.max_horizontal(pl.lit(0.0), _seconds(pl.col("start") - pl.col("from_end")), _seconds(pl.col("from_start") - pl.col("end")))
    near = met.with_columns(apart_s=apart).filter(pl.col("apart_s") <= near_s)
    return near.select("to_session", "from_session", "key", "score", "apart_s")


def _seconds(duration: pl.Expr) -> pl.Expr:
    return duration.dt.total_microseconds() / 1e6


def _cite(pairs: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    """Add the events cited for two whole sessions: the first in which each acts as who it is."""
    acts = placed.filter((pl.col("side") == "uses") & pl.col("what").is_in(["identity", "name"]))
    first = acts.sort("time", "session_id").unique("session_id", keep="first", maintain_order=True)
    for side in ("from", "to"):
        ends = first.select(pl.col("session_id").alias(f"{side}_session"), pl.col("event_ids").alias(f"{side}_event_ids"))
        pairs = pairs.join(ends, on=f"{side}_session", how="left")
    return pairs
