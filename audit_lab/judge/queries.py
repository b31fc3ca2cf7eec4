"""The evidence queries: each turns the facts of all cases into rows of their packs, in the closed vocabulary.

A query is a plain function `Facts -> list[Row]`; a user's own may be added. They get frames, not a lab. Raw names
never enter a text: they become pseudonyms (`ns-1`), numbered by first appearance in the case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

from audit_lab.judge.facts import MAX_IDS
from audit_lab.judge.rows import Row, claim, is_shown
from audit_lab.predicates import PREDICATES
from audit_lab.vocabulary import Pseudonyms, action_group

MAX_SESSIONS = 4
MAX_ORDERS = 3
# The beginning of a case is shown even where it is ordinary.
_FIRST = 8


class Facts(NamedTuple):
    """Frames that evidence queries read; see `facts.py` for their columns."""

    candidates: pl.DataFrame
    sessions: pl.DataFrame
    members: pl.DataFrame
    events: pl.DataFrame
    matched: pl.DataFrame
    counts: pl.DataFrame
    novelty: pl.DataFrame
    reach: pl.DataFrame
    signals: pl.DataFrame
    links: pl.DataFrame
    labels: pl.DataFrame
    names: dict[str, Pseudonyms]
    writes: pl.DataFrame
    windows: tuple[str, ...] = ()


def who(facts: Facts) -> list[Row]:
    """Say who acted, from where, with what, and whether that is usual."""
    inside = facts.members.join(facts.sessions, on="session_id").sort("case_id", "start", "session_id")
    rows: list[Row] = []
    seen: dict[str, int] = defaultdict(int)
    for item in inside.iter_rows(named=True):
        case_id, names = item["case_id"], facts.names[item["case_id"]]
        seen[case_id] += 1
        if seen[case_id] > MAX_SESSIONS:
            continue
        actor = names.actor(item["user"], item["actor_kind"]) if item["user"] else "unknown"
        clients = " ".join(item["client_families"][:3]) or "none"
        usual = [word for flag, word in ((item["is_new_source"], "new source"), (item["is_new_client"], "new client")) if flag]
        kind = item["actor_kind"].replace("_", "-")
        text = (
            f"session {seen[case_id]}: {kind} {actor} from {item['source_class']} {names.name('source', item['source_ip'])}, "
            f"client {clients}, {item['n_events']} requests in {round(item['duration_s'])}s, {item['n_writes']} writes, "
            f"{item['n_denied']} denied, {item['n_unauthenticated']} unauthenticated"
            + (", impersonates another identity" if item["impersonated_user"] else "")
            + (f", {' and '.join(usual)}" if usual else ", usual source and client")
        )
        rows.append(Row(case_id, "who", seen[case_id], 0, text))
    rows += [Row(case, "who", MAX_SESSIONS + 1, 0, f"{n - MAX_SESSIONS} more sessions") for case, n in seen.items() if n > MAX_SESSIONS]
    return rows


def actions(facts: Facts) -> list[Row]:
    """Say what was done, in order of first time: one row per action and outcome, with counts, places and events."""
    outcome = (
        pl.when(pl.col("status") == 401).then(pl.lit("unauthenticated")).when(pl.col("denied")).then(pl.lit("denied"))
        .when(pl.col("status") == 404).then(pl.lit("missing")).when(pl.col("status") >= 400).then(pl.lit("failed"))
        .otherwise(pl.lit("allowed"))
    )
    weights = {name: predicate.weight for name, predicate in PREDICATES.items()}
    weight = facts.matched.group_by("case_id", "event_id").agg(
        pl.col("predicate").replace_strict(weights, return_dtype=pl.Int64).max().alias("w"))
    starts = facts.events.group_by("case_id").agg(pl.col("time").min().alias("case_start"))
    grouped = (
        facts.events.with_columns(outcome.alias("outcome"))
        .join(weight, on=["case_id", "event_id"], how="left").join(starts, on="case_id")
        .sort("case_id", "time", "event_id")
        .group_by("case_id", "action", "outcome", maintain_order=True).agg(
            pl.len().alias("n"), pl.col("time").min().alias("first"), pl.col("time").max().alias("last"), pl.col("case_start").first(),
            pl.col("w").max().fill_null(0).alias("w"), pl.col("namespace").drop_nulls().unique(maintain_order=True).alias("namespaces"),
            pl.col("name").n_unique().alias("n_names"), pl.col("event_id").head(MAX_IDS).alias("event_ids"),
        )
    )
    rows: list[Row] = []
    place: dict[str, int] = defaultdict(int)
    for item in grouped.iter_rows(named=True):
        case_id, names = item["case_id"], facts.names[item["case_id"]]
        place[case_id] += 1
        spaces = [names.name("ns", space) for space in item["namespaces"][:3]]
        more = f" and {len(item['namespaces']) - 3} more" if len(item["namespaces"]) > 3 else ""
        where = f", in {' '.join(spaces)}{more}" if spaces else ""
        after = round((item["first"] - item["case_start"]).total_seconds())
        until = round((item["last"] - item["case_start"]).total_seconds())
        span = f"+{after}s" if until == after else f"+{after}s to +{until}s"
        many = f", {item['n_names']} different objects" if item["n_names"] > 1 else ""
        text = f"{item['action']}: {item['outcome']} x{item['n']} at {span}{where}{many}"
        rows.append(Row(case_id, "actions", 100 + place[case_id], _action_priority(item, place[case_id]), text, item["event_ids"]))
    return rows


@lru_cache(maxsize=4096)
def _group(action: str) -> str:
    return action_group(action)


def _action_priority(item: dict[str, Any], place: int) -> int:
    surprising = item["w"] >= 2 or item["outcome"] in ("denied", "unauthenticated")
    dull = _group(item["action"]) in ("leases", "events", "metrics", "discovery", "access_checks") and item["w"] == 0
    # Within a class earlier actions are kept longer: the beginning tells where a case comes from.
    return (100 if item["w"] >= 3 else 150 if surprising else 600 if dull else 170 if place <= _FIRST else 300) + min(place, 99)


def notable(facts: Facts) -> list[Row]:
    """Say which notable things happened: granted rights (privilege), new for the actor or its peers (novelty), and counts."""
    joined = facts.counts.join(facts.novelty.drop("event_ids"), on=["case_id", "predicate"], how="left")
    fresh = {(case, name): ids for case, name, ids in facts.novelty.select("case_id", "predicate", "event_ids").iter_rows()}
    rows: list[Row] = []
    for item in _specific(joined):
        case_id, name, predicate = item["case_id"], item["predicate"], PREDICATES[item["predicate"]]
        if predicate.category in ("any", "denial") or (predicate.weight == 0 and not item["new_for_actor"]):
            continue
        priority = (3 - predicate.weight) * 100 + 110
        did = predicate.did if item["n_succeeded"] else f"tried to {predicate.does}"
        times = f"x{item['n']}" + (f", {item['n_denied']} denied" if item["n_denied"] else "")
        if predicate.weight:
            granted = predicate.category == "privilege" and item["n_succeeded"]
            said = claim("privilege", name) if granted else claim("count", name, item["n"])
            rows.append(Row(case_id, "notable", 300, priority, f"{did} {times}", item["event_ids"], said))
        # The claim names the predicate: these lines need few words.
        ids = fresh.get((case_id, name), item["event_ids"])
        if item["new_for_actor"]:
            rows.append(Row(case_id, "novelty", 400, priority + 20, "new for this actor", ids, claim("novelty", name, scope="actor")))
        if item["new_for_peers"] and predicate.weight:
            rows.append(Row(case_id, "novelty", 401, priority + 30, "new among its peers", ids, claim("novelty", name, scope="peers")))
    return rows


def _specific(counts: pl.DataFrame) -> list[dict[str, Any]]:
    """Leave out a predicate that speaks of the same events as a weightier one of the same case."""
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in counts.iter_rows(named=True):
        key = (item["case_id"], item["n"], tuple(item["event_ids"]))
        held = best.get(key)
        if held is None or PREDICATES[item["predicate"]].weight >= PREDICATES[held["predicate"]].weight:
            best[key] = item
    return list(best.values())


def denials(facts: Facts) -> list[Row]:
    """Say what was refused, how often, and what happened after the first refusal."""
    refused = facts.events.filter("denied")
    totals = facts.events.group_by("case_id", maintain_order=True).agg(
        pl.len().alias("n"), pl.col("denied").sum().alias("n_denied"), pl.col("time").filter("denied").min().alias("first"),
        pl.col("event_id").filter("denied").head(MAX_IDS).alias("event_ids"),
    ).filter(pl.col("n_denied") > 0)
    after = facts.events.join(totals.select("case_id", "first"), on="case_id").filter(pl.col("time") > pl.col("first"))
    later = dict(after.group_by("case_id").agg(pl.col("succeeded").sum()).iter_rows())
    rows = [
        Row(item["case_id"], "denials", 500, 130,
            f"denied {item['n_denied']} of {item['n']} requests; {later.get(item['case_id'], 0)} allowed after the first denial",
            item["event_ids"], claim("denial", "request", item["n_denied"]))
        for item in totals.iter_rows(named=True)
    ]
    denied_ids = {key[0]: set(part["event_id"]) for key, part in refused.group_by("case_id")}
    for item in _specific(facts.counts.filter(pl.col("n_denied") > 0)):
        predicate = PREDICATES[item["predicate"]]
        if predicate.category in ("any", "denial") or predicate.weight == 0:
            continue
        ids = [event_id for event_id in item["event_ids"] if event_id in denied_ids[item["case_id"]]]
        text = f"denied x{item['n_denied']} when it tried to {predicate.does}"
        said = claim("denial", item["predicate"], item["n_denied"])
        rows.append(Row(item["case_id"], "denials", 501, 330 - 60 * predicate.weight, text, ids, said))
    return rows


def order(facts: Facts) -> list[Row]:
    """Say what came before what, among the weightiest things that happened."""
    rows: list[Row] = []
    per_case: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in _specific(facts.counts):
        if PREDICATES[item["predicate"]].weight >= 2:
            per_case[item["case_id"]].append(item)
    for case_id, items in per_case.items():
        items.sort(key=lambda item: (item["first"], -PREDICATES[item["predicate"]].weight))
        pairs = [(a, b) for a, b in pairwise(items) if a["first"] < b["last"]]
        pairs.sort(key=lambda pair: -(PREDICATES[pair[0]["predicate"]].weight + PREDICATES[pair[1]["predicate"]].weight))
        for a, b in pairs[:MAX_ORDERS]:
            said = claim("order", a["predicate"], then=b["predicate"])
            wait = round((b["last"] - a["first"]).total_seconds())
            ids = list(dict.fromkeys([*a["event_ids"][:3], *b["last_ids"]]))
            rows.append(Row(case_id, "order", 600, 245, f"in this order, {wait}s apart", ids, said))
    return rows


def reach(facts: Facts) -> list[Row]:
    """Say how far it reached: distinct namespaces, secrets, nodes and kinds of resources."""
    wanted = facts.reach.filter(pl.col("n") >= 2).filter(
        ((pl.col("predicate") == "request") & pl.col("scope").is_in(["namespaces", "resources"]))
        | ((pl.col("predicate") == "secret_get") & (pl.col("scope") == "secrets"))
        | ((pl.col("predicate") == "nodes_proxy") & (pl.col("scope") == "nodes"))
    )
    return [
        Row(item["case_id"], "reach", 700, 250 if item["scope"] != "resources" else 450,
            f"reached {item['n']} different {item['scope']}", item["event_ids"],
            claim("reach", item["predicate"], item["n"], item["scope"]))
        for item in wanted.sort("case_id", "scope").iter_rows(named=True)
    ]


def rules(facts: Facts) -> list[Row]:
    """Say which detectors fired, with severity and strength; a reason is shown only where it is closed."""
    hits = facts.members.join(facts.signals, on="session_id").sort(
        "case_id", "floor", "strength", "detector_id", descending=[False, True, True, False], nulls_last=True)
    merged: dict[tuple[str, str], tuple[int, list[str]]] = {}
    for item in hits.iter_rows(named=True):
        is_rule = item["kind"] in ("rule", "correlation")
        head = f"rule of severity {item['severity'] or 'unknown'}" if is_rule else f"outlier of strength {item['strength']:.2f}"
        head += f", p {item['p_value']:.3f}" if item["p_value"] is not None else ""
        reason = f": {item['reason']}" if is_shown(item["reason"]) else ""
        priority = 90 if item["floor"] is not None else 120 if is_rule else 260
        held = merged.setdefault((item["case_id"], head + reason), (priority, []))
        held[1].extend(event_id for event_id in item["event_ids"] if event_id not in held[1])
    return [Row(case_id, "rules", 800, priority, text, ids[:MAX_IDS]) for (case_id, text), (priority, ids) in merged.items()]


Query = Callable[[Facts], list[Row]]
CASE_QUERIES: tuple[Query, ...] = (who, actions, notable, denials, order, reach, rules)
