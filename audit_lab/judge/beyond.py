"""Evidence from sessions outside the case: what came after, what is linked, and who else came from the same source."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import polars as pl

from audit_lab.judge.facts import MAX_IDS
from audit_lab.judge.queries import NOBODY, Facts
from audit_lab.judge.rows import Row
from audit_lab.vocabulary import action_weight

AFTER = timedelta(minutes=10)
MAX_LINKED = 3
# A link below this is shown in a story but joins nothing (docs/stories.md): it says little.
SURE = 0.5
# Kind of a link (sessions/) -> what the two sessions share, in closed words.
_SHARED = {
    "account_created": "a service account", "token_minted": "a token", "right_granted": "a right",
    "certificate_requested": "a certificate request", "certificate_issued": "a certificate", "workload_started": "a workload",
    "pod_entered": "a pod that was entered", "object_taken": "an object", "impersonation": "an identity taken on",
    "credential_shared": "one credential at two sources", "continued": "one user who goes on", "new_source": "one user at a new source",
    "new_client": "one user with a new client",
}


def spans(facts: Facts) -> pl.DataFrame:
    """Return per case its span (`case_start`, `case_end`), `cluster`, `actor_kind`, `users`, distinct `actions`, and counts."""
    inside = facts.members.join(facts.sessions, on="session_id")
    return inside.group_by("case_id", maintain_order=True).agg(
        pl.col("start").min().alias("case_start"), pl.col("end").max().alias("case_end"),
        pl.col("cluster").first(), pl.col("actor_kind").first(), pl.col("user").drop_nulls().unique(maintain_order=True).alias("users"),
        pl.col("actions").list.explode(keep_nulls=False, empty_as_null=False).unique(maintain_order=True).alias("actions"),
        pl.col("n_writes").sum(), pl.col("n_denied").sum(), pl.col("n_unauthenticated").sum(),
    )


def own_sessions(facts: Facts) -> pl.DataFrame:
    """Return the sessions of a case's identities outside the case, with the case's span."""
    asked = spans(facts).select("case_id", "cluster", "case_start", "case_end", "users").explode("users").rename({"users": "user"})
    return asked.drop_nulls("user").join(facts.sessions, on=["cluster", "user"], how="inner").join(
        facts.members, on=["case_id", "session_id"], how="anti")


def telling(actions: Iterable[str], count: int = 3) -> str:
    """Return the weightiest of some actions, in their order, as one text.

    >>> telling(["list pods", "read lease", "mint token", "exec pod running shell"], 2)
    'mint token; exec pod running shell'
    """
    distinct = list(dict.fromkeys(actions))
    best = sorted(distinct, key=lambda action: (-action_weight(action), distinct.index(action)))[:count]
    return "; ".join(action for action in distinct if action in best)


def later_sessions(facts: Facts) -> pl.DataFrame:
    """Return the sessions of a case's identities in the ten minutes after it, by `case_id`; none of names that many share."""
    later = own_sessions(facts).filter((pl.col("start") > pl.col("case_end")) & (pl.col("start") <= pl.col("case_end") + AFTER))
    return later.filter(~pl.col("actor_kind").is_in(NOBODY))


def after(facts: Facts) -> list[Row]:
    """Say what the same identities did in the ten minutes after the case; of names that many share nothing is said."""
    counted = later_sessions(facts).sort("start", "session_id").group_by("case_id").agg(
        pl.len().alias("n"), pl.col("n_events").sum(), pl.col("n_denied").sum(), pl.col("n_writes").sum(),
        pl.col("actions").list.explode(keep_nulls=False, empty_as_null=False).unique(maintain_order=True).alias("actions"))
    return [
        Row(item["case_id"], "after", 910, 228,
            f"in the ten minutes after, same actor: {_many(item['n_events'], 'request')} in {_many(item['n'], 'session')}, "
            f"{item['n_writes']} writes, {item['n_denied']} denied: {telling(item['actions'])}")
        for item in counted.sort("case_id").iter_rows(named=True)
    ]


def linked_sessions(facts: Facts) -> pl.DataFrame:
    """Return the surest links of each case to sessions outside it (`other`), with what those are and did."""
    made, used = pl.lit("made what this case uses"), pl.lit("uses what this case made")
    sides = pl.concat([
        facts.links.select("kind", "score", session_id="from_session", other="to_session", way=used, event_ids="to_event_ids"),
        facts.links.select("kind", "score", session_id="to_session", other="from_session", way=made, event_ids="from_event_ids"),
    ])
    outside = facts.members.join(sides, on="session_id").join(
        facts.members.rename({"session_id": "other"}), on=["case_id", "other"], how="anti")
    known = outside.join(facts.sessions.select(
        pl.col("session_id").alias("other"), "user", "actor_kind", "n_events", "n_denied", "actions"), on="other")
    # One line for two sessions, however many things link them: the surest.
    return known.sort("case_id", "score", "other", "kind", descending=[False, True, False, False]).unique(
        ["case_id", "other"], keep="first", maintain_order=True).with_columns(pl.len().over("case_id").alias("n_linked")).group_by(
        "case_id", maintain_order=True).head(MAX_LINKED)


def linked(facts: Facts) -> list[Row]:
    """Say what sessions outside the case are linked with it, by what, and what they did."""
    if facts.links.is_empty():
        return []
    rows: list[Row] = []
    left: dict[str, int] = {}
    for item in linked_sessions(facts).iter_rows(named=True):
        left[item["case_id"]] = item["n_linked"] - MAX_LINKED
        actor = facts.names[item["case_id"]].actor(item["user"], item["actor_kind"]) if item["user"] else "unknown"
        text = (
            f"linked by {_SHARED.get(item['kind'], 'other')}: {item['actor_kind'].replace('_', '-')} {actor} {item['way']}, "
            f"{item['n_events']} requests, {item['n_denied']} denied: {telling(item['actions'] or [], 2)}"
        )
        rows.append(Row(item["case_id"], "linked", 920, 222 if item["score"] >= SURE else 380, text, item["event_ids"][:MAX_IDS],
                        n_events=len(item["event_ids"])))
    return rows + [Row(case_id, "linked", 921, 381, f"{n} more linked sessions") for case_id, n in left.items() if n > 0]


def same_source(facts: Facts) -> list[Row]:
    """Say who else came from the case's sources before, where the case has no identity or one that is new there."""
    inside = facts.members.join(facts.sessions, on="session_id").drop_nulls("source_ip")
    strange = inside.filter(
        pl.col("is_new_source") | pl.col("user").is_null() | pl.col("actor_kind").is_in(NOBODY) | (pl.col("source_class") == "public"))
    asked = strange.group_by("case_id", "cluster", "source_ip", maintain_order=True).agg(
        pl.col("start").min().alias("case_start"), pl.col("user").unique().alias("users"),
        pl.col("client_families").list.explode(keep_nulls=False, empty_as_null=False).unique().alias("clients"))
    others = asked.join(facts.sessions.select("cluster", "source_ip", "user", "start", "client_families"), on=["cluster", "source_ip"])
    before = others.filter((pl.col("start") < pl.col("case_start")) & pl.col("user").is_not_null()).filter(
        ~pl.col("users").list.contains(pl.col("user")).fill_null(False)).with_columns(
        (pl.col("client_families").list.set_intersection("clients").list.len() > 0).alias("same_client"))
    counted = before.group_by("case_id").agg(
        pl.len().alias("n"), pl.col("user").n_unique().alias("n_users"), pl.col("same_client").sum().alias("n_client"))
    held = {item["case_id"]: item for item in counted.iter_rows(named=True)}
    rows = []
    for case_id in asked["case_id"].unique(maintain_order=True):
        item = held.get(case_id)
        text = "from the same source before: nobody else" if item is None else (
            f"from the same source before: {_many(item['n'], 'session')} of {_many(item['n_users'], 'other identity')}, "
            f"{item['n_client']} with the same client")
        rows.append(Row(case_id, "same_source", 905, 215, text))
    return rows


def _many(count: int, thing: str) -> str:
    plural = thing[:-1] + "ies" if thing.endswith("y") else thing + "s"
    return f"{count} {thing if count == 1 else plural}"


BEYOND_QUERIES = (same_source, after, linked)
