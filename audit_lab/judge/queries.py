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
from audit_lab.judge.rows import Row, claim
from audit_lab.predicates import PREDICATES
from audit_lab.vocabulary import Pseudonyms, action_group, action_weight

MAX_SESSIONS = 4
MAX_ORDERS = 3
# Fewer kinds of resources than this are no reach worth a line.
MIN_RESOURCES = 5
# The beginning of a case is shown even where it is ordinary.
_FIRST = 4
# Weight of an action (vocabulary.action_weight) from which it has a line of its own wherever it stands.
_TELLING = 4
_ABOUT_WHO = ("client_offensive", "anonymous_request", "anonymous_allowed", "impersonate", "impersonate_service_account")
_ENDED = {"allowed": "allowed", "missing": "failed", "failed": "failed"}
# Names that everybody without credentials shares: their past is nobody's past.
NOBODY = ("anonymous", "unauthenticated")


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
    """Say who acted, from where, with what, and whether that is usual for it."""
    # Who was never seen before has no usual source: nothing is called usual without a past.
    first = facts.sessions.group_by("cluster", "user").agg(pl.col("start").min().alias("first_seen"))
    inside = facts.members.join(facts.sessions, on="session_id").join(first, on=["cluster", "user"], how="left")
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for item in inside.sort("case_id", "start", "session_id").iter_rows(named=True):
        clients = tuple(item["client_families"][:3])
        alike[item["case_id"], item["user"], item["source_ip"], clients, bool(item["impersonated_user"]), _usual(item)].append(item)
    rows: list[Row] = []
    seen: dict[str, int] = defaultdict(int)
    left: dict[str, int] = defaultdict(int)
    for (case_id, *_), items in alike.items():
        seen[case_id] += 1
        if seen[case_id] > MAX_SESSIONS:
            left[case_id] += len(items)
        else:
            rows.append(Row(case_id, "who", seen[case_id], 0, _who_text(items, facts.names[case_id])))
    return rows + [Row(case_id, "who", MAX_SESSIONS + 1, 0, f"{n} more sessions") for case_id, n in left.items()]


def _who_text(items: list[dict[str, Any]], names: Pseudonyms) -> str:
    """Return the line of sessions that look alike: one, or several of the same identity from the same source with the same client."""
    first = items[0]
    actor = names.actor(first["user"], first["actor_kind"]) if first["user"] else "unknown"
    total = {column: sum(item[column] for item in items) for column in ("n_events", "n_writes", "n_denied", "n_unauthenticated")}
    lasted = round((max(item["end"] for item in items) - first["start"]).total_seconds())
    said = [
        f"{first['actor_kind'].replace('_', '-')} {actor} from {first['source_class']} {names.name('source', first['source_ip'])}",
        f"client {' '.join(first['client_families'][:3]) or 'none'}", f"{total['n_events']} requests in {lasted}s",
        f"{total['n_writes']} writes", *(f"{total[column]} {column[2:]}" for column in ("n_denied", "n_unauthenticated") if total[column]),
        *(["impersonates another identity"] if first["impersonated_user"] else []),
    ]
    return ("session: " if len(items) == 1 else f"{len(items)} sessions: ") + ", ".join(said) + _usual(first)


def _usual(session: dict[str, Any]) -> str:
    """Return what source and client are to an identity: nothing where many share one name."""
    if session["actor_kind"] in NOBODY or not session["user"]:
        return ""
    if session["first_seen"] >= session["start"]:
        return ", identity never seen before"
    new = [word for flag, word in ((session["is_new_source"], "new source"), (session["is_new_client"], "new client")) if flag]
    return f", {' and '.join(new)} for it" if new else ", usual source and client"


def actions(facts: Facts) -> list[Row]:
    """Say what was done, in order of first time: one row per action and outcome, with counts, places and events.

    Ordinary actions beyond the first ones share a row per outcome: they say what kind of work it is.
    """
    outcome = (
        pl.when(pl.col("status") == 401).then(pl.lit("unauthenticated")).when(pl.col("denied")).then(pl.lit("denied"))
        .when(pl.col("status") == 404).then(pl.lit("missing")).when(pl.col("status") >= 400).then(pl.lit("failed"))
        .otherwise(pl.lit("allowed"))
    )
    weights = {name: predicate.weight for name, predicate in PREDICATES.items()}
    # Who somebody is colours everything it does and does not make one action stand out among the others.
    weight = facts.matched.filter(~pl.col("predicate").is_in(_ABOUT_WHO)).group_by("case_id", "event_id").agg(
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
    ordinary: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for item in grouped.iter_rows(named=True):
        case_id = item["case_id"]
        place[case_id] += 1
        if place[case_id] > _FIRST and item["w"] <= 1 and action_weight(item["action"]) < _TELLING:
            ordinary[case_id, _ENDED.get(item["outcome"], "refused")].append(item)
            continue
        text = _action_text(item, facts.names[case_id])
        priority = _action_priority(item, place[case_id])
        rows.append(Row(case_id, "actions", 100 + place[case_id], priority, text, item["event_ids"], n_events=item["n"]))
    return rows + [_ordinary_row(case_id, ended, items, facts.names[case_id]) for (case_id, ended), items in ordinary.items()]


def _action_text(item: dict[str, Any], names: Pseudonyms) -> str:
    spaces = [names.name("ns", space) for space in item["namespaces"][:3]]
    more = f" and {len(item['namespaces']) - 3} more" if len(item["namespaces"]) > 3 else ""
    # A place that the action names already is not said twice.
    where = f", in {' '.join(spaces)}{more}" if spaces and not item["action"].endswith(f"in {' '.join(spaces)}") else ""
    after = round((item["first"] - item["case_start"]).total_seconds())
    until = round((item["last"] - item["case_start"]).total_seconds())
    span = f"+{after}s" if until == after else f"+{after}s to +{until}s"
    many = f", {item['n_names']} different objects" if item["n_names"] > 1 else ""
    return f"{item['action']}: {item['outcome']} x{item['n']} at {span}{where}{many}"


def _ordinary_row(case_id: str, ended: str, items: list[dict[str, Any]], names: Pseudonyms) -> Row:
    priority = 180 if ended == "refused" else 290
    if len(items) == 1:
        return Row(case_id, "actions", 199, priority, _action_text(items[0], names), items[0]["event_ids"], n_events=items[0]["n"])
    about: dict[str, int] = defaultdict(int)
    for item in items:
        about[_group(item["action"])] += item["n"]
    most = [name for name, _ in sorted(about.items(), key=lambda pair: (-pair[1], pair[0]))[:6]]
    ids = [event_id for item in items for event_id in item["event_ids"]][:MAX_IDS]
    text = f"other ordinary actions: {len(items)} kinds, {sum(about.values())} requests, all {ended}, on {', '.join(most)}"
    return Row(case_id, "actions", 199, priority, text, ids, n_events=sum(about.values()))


@lru_cache(maxsize=4096)
def _group(action: str) -> str:
    return action_group(action)


def _action_priority(item: dict[str, Any], place: int) -> int:
    surprising = item["w"] >= 2 or item["outcome"] in ("denied", "unauthenticated") or action_weight(item["action"]) > _TELLING
    dull = _group(item["action"]) in ("leases", "events", "metrics", "discovery", "access_checks") and item["w"] == 0
    # Within a class earlier actions are kept longer: the beginning tells where a case comes from.
    return (100 if item["w"] >= 3 else 150 if surprising else 600 if dull else 220 if place <= _FIRST else 300) + min(place, 99)


def notable(facts: Facts) -> list[Row]:
    """Say which notable things happened: granted rights (privilege), refusals (denial), counts, and what is new (novelty)."""
    joined = facts.counts.join(facts.novelty.drop("event_ids"), on=["case_id", "predicate"], how="left")
    fresh = {(case, name): ids for case, name, ids in facts.novelty.select("case_id", "predicate", "event_ids").iter_rows()}
    rows: list[Row] = []
    for item in _specific(joined):
        case_id, name, predicate = item["case_id"], item["predicate"], PREDICATES[item["predicate"]]
        if predicate.category in ("any", "denial") or (predicate.weight == 0 and not item["new_for_actor"]):
            continue
        priority = (3 - predicate.weight) * 100 + 110
        if predicate.weight:
            rows.append(_notable_row(item, priority))
        # The claim names the predicate: these lines need few words.
        ids = fresh.get((case_id, name), item["event_ids"])
        peers = bool(item["new_for_peers"] and predicate.weight)
        if item["new_for_actor"] or peers:
            text = "new for this actor" + (" and among its peers" if peers else "") if item["new_for_actor"] else "new among its peers"
            said = claim("novelty", name, scope="peers" if peers else "actor")
            rows.append(Row(case_id, "novelty", 400, priority + 20, text, ids, said, item["n"]))
    return rows


def _notable_row(item: dict[str, Any], priority: int) -> Row:
    name, predicate = item["predicate"], PREDICATES[item["predicate"]]
    did = predicate.did if item["n_succeeded"] else f"tried to {predicate.does}"
    denied = item["n_denied"]
    times = f"x{item['n']}" + ("" if not denied else ", all denied" if denied == item["n"] else f", {denied} denied")
    if denied == item["n"]:
        said = claim("denial", name, denied)
    else:
        said = claim("privilege", name) if predicate.category == "privilege" and item["n_succeeded"] else claim("count", name, item["n"])
    return Row(item["case_id"], "notable", 300, priority, f"{did} {times}", item["event_ids"], said, item["n"])


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
    timed = facts.events.join(totals.select("case_id", "first"), on="case_id")
    before = dict(timed.filter(pl.col("time") < pl.col("first")).group_by("case_id").agg(pl.col("succeeded").sum()).iter_rows())
    later = dict(timed.filter(pl.col("time") > pl.col("first")).group_by("case_id").agg(pl.col("succeeded").sum()).iter_rows())
    rows = [
        Row(item["case_id"], "denials", 500, 130,
            f"refused {item['n_denied']} of {item['n']} requests; allowed {before.get(item['case_id'], 0)} before the first refusal and "
            f"{later.get(item['case_id'], 0)} after it", item["event_ids"], claim("denial", "request", item["n_denied"]),
            item["n_denied"])
        for item in totals.iter_rows(named=True)
    ]
    denied_ids = {key[0]: set(part["event_id"]) for key, part in refused.group_by("case_id")}
    # Where all tries were refused, the line of the predicate says so already.
    for item in _specific(facts.counts.filter(pl.col("n_denied").is_between(1, pl.col("n") - 1))):
        predicate = PREDICATES[item["predicate"]]
        if predicate.category in ("any", "denial") or predicate.weight == 0:
            continue
        ids = [event_id for event_id in item["event_ids"] if event_id in denied_ids[item["case_id"]]]
        if ids:
            said = claim("denial", item["predicate"], item["n_denied"])
            n, priority = item["n_denied"], 330 - 60 * predicate.weight
            rows.append(Row(item["case_id"], "denials", 501, priority, f"denied x{n}", ids, said, n))
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
        if len(pairs) > MAX_ORDERS:
            rows.append(Row(case_id, "order", 601, 246, f"{len(pairs) - MAX_ORDERS} more orders"))
    return rows


def reach(facts: Facts) -> list[Row]:
    """Say how far it reached: distinct namespaces, secrets, nodes and kinds of resources."""
    least = {"resources": MIN_RESOURCES}
    wanted = facts.reach.filter(pl.col("n") >= pl.col("scope").replace_strict(least, default=2, return_dtype=pl.Int64)).filter(
        ((pl.col("predicate") == "request") & (pl.col("scope") != "secrets"))
        | ((pl.col("predicate") == "secret_get") & (pl.col("scope") == "secrets"))
    )
    things = {"resources": "kinds of resources"}
    return [
        Row(item["case_id"], "reach", 700, 250 if item["scope"] != "resources" else 450,
            f"reached {item['n']} different {things.get(item['scope'], item['scope'])}", item["event_ids"],
            claim("reach", item["predicate"], item["n"], item["scope"]), item["n"])
        for item in wanted.sort("case_id", "scope").iter_rows(named=True)
    ]


Query = Callable[[Facts], list[Row]]
CASE_QUERIES: tuple[Query, ...] = (who, actions, notable, denials, order, reach)
