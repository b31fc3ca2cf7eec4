"""How common a true claim is among ordinary sessions of the same kind of actor, and what a ground is worth by that.

A true claim that most peers could make as well says little. Ordinary sessions are those that belong to no case. This explains: it compares
with all that the lab holds, later sessions too, and no signal or score of detection rests on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from audit_lab.judge import facts as fact
from audit_lab.judge.schema import ALL_COMMON, FAILING, NO_GROUND
from audit_lab.predicates import COLUMNS, DENIED, PREDICATES, SUCCEEDED, UNAUTHENTICATED, match_predicates

# A claim that holds for a fifth of ordinary sessions is called common.
COMMON_SHARE = 0.2


def weight(ground: Mapping[str, Any]) -> float:
    """Return what a checked ground counts: 0 where it does not hold, else its relevance, and 1 where nobody knows how common it is."""
    return 0.0 if not ground["holds"] else 1.0 if ground["relevance"] is None else float(ground["relevance"])


def tells(ground: Mapping[str, Any]) -> bool:
    """Tell whether a checked ground holds and sets its case apart from ordinary ones.

    With too few peers to compare with, a claim about what is ordinary by itself (a predicate of weight 0) tells nothing.
    """
    if not ground["holds"]:
        return False
    if ground["relevance"] is None:
        return PREDICATES[ground["claim"]["predicate"]].weight > 0
    return 1 - float(ground["relevance"]) < COMMON_SHARE


def why_set_aside(
    grounds: Sequence[Mapping[str, Any]], *, needs_grounds: bool, speaks_for_innocence: bool, min_grounded: float = 1.0,
) -> str | None:
    """Return why a verdict with a score is not used; None where it is.

    Parameters
    ----------
    grounds
        Checked grounds.
    needs_grounds
        The verdict or the signals put the case over the review line: a number alone is not enough then, and neither is what everybody does.
    speaks_for_innocence
        The verdict is below the line and names a fact for innocence that the tables bear out: then a common ground will do.
    min_grounded
        Share of grounds that must hold.
    """
    held = [bool(ground["holds"]) for ground in grounds]
    if held and sum(held) / len(held) < min_grounded:
        return FAILING
    if not needs_grounds:
        return None
    if not held:
        return NO_GROUND
    return None if speaks_for_innocence or any(map(tells, grounds)) else ALL_COMMON


def peer_shares(
    grounds: list[dict[str, Any]], candidates: pl.DataFrame, session_events: fact.Frame, events: fact.Frame, min_peers: int,
) -> dict[Any, tuple[float | None, int]]:
    """Return for each claim of a case the share of ordinary peer sessions of which it is true as well.

    Parameters
    ----------
    grounds
        `case_id` and `claim` each.
    min_peers
        Comparable sessions below which there is no share (`judge.min_peers`).

    Returns
    -------
    dict
        (case_id, kind, predicate, then, n, scope) -> (share or None, number of peer sessions). Of novelty the share is of sessions
        that hold such an event at all.
    """
    if not grounds:
        return {}
    names = {ground["claim"][part] for ground in grounds for part in ("predicate", "then")} & set(PREDICATES)
    everything = events.lazy().select(sorted({*COLUMNS, "event_id", "cluster", "time", "actor_kind", "api_group"})).with_columns(
        (DENIED | UNAUTHENTICATED).alias("denied"), SUCCEEDED.alias("succeeded"),
    ).join(session_events.lazy(), on="event_id", how="inner").collect()
    cases = fact.case_sessions(candidates)
    kinds = everything.group_by("session_id").agg(pl.col("cluster").first(), pl.col("actor_kind").first())
    groups = {case: (cluster, kind) for case, cluster, kind in
              cases.join(kinds, on="session_id").unique("case_id", keep="first", maintain_order=True)
              .select("case_id", "cluster", "actor_kind").iter_rows()}
    ordinary = kinds.join(cases, on="session_id", how="anti")
    sizes = {(cluster, kind): n for cluster, kind, n in ordinary.group_by("cluster", "actor_kind").agg(pl.len()).iter_rows()}
    peers = everything.join(ordinary.select("session_id"), on="session_id", how="semi")
    holding = _Holding(peers, names, grounds)
    shares: dict[Any, tuple[float | None, int]] = {}
    for ground in grounds:
        group = groups.get(ground["case_id"])
        n_peers = sizes.get(group, 0) if group else 0
        key = (ground["case_id"], *ground["claim"].values())
        if group is None or n_peers < min_peers:
            shares[key] = (None, n_peers)
        else:
            shares[key] = (holding.count(ground["claim"], group) / n_peers, n_peers)
    return shares


class _Holding:
    """Counts ordinary sessions per group of which a claim is true; each distinct claim is counted once."""

    def __init__(self, peers: pl.DataFrame, names: set[str], grounds: list[dict[str, Any]]) -> None:
        groups = peers.group_by("session_id").agg(pl.col("cluster").first(), pl.col("actor_kind").first())
        matched = match_predicates(peers, names).join(
            peers.select("event_id", "session_id", "time", "denied", "succeeded"), on="event_id", how="inner")
        self._counts = fact.count_facts(matched, "session_id").join(groups, on="session_id")
        reached = {ground["claim"]["predicate"] for ground in grounds if ground["claim"]["kind"] == "reach"}
        some = matched.filter(pl.col("predicate").is_in(sorted(reached)))
        self._reach = fact.reach_facts(peers, some, "session_id").join(groups, on="session_id")
        self._cache: dict[Any, dict[tuple[str, str], int]] = {}

    def count(self, claim: dict[str, Any], group: tuple[str, str]) -> int:
        """Return of how many ordinary sessions of a group the claim is true."""
        key = tuple(claim.values())
        if key not in self._cache:
            counted = self._sessions(claim).group_by("cluster", "actor_kind").agg(pl.col("session_id").n_unique())
            self._cache[key] = defaultdict(int, {(cluster, kind): n for cluster, kind, n in counted.iter_rows()})
        return self._cache[key][group]

    def _sessions(self, claim: dict[str, Any]) -> pl.DataFrame:
        mine = self._counts.filter(pl.col("predicate") == claim["predicate"])
        n = claim["n"] or 1
        if claim["kind"] == "reach":
            scope = claim["scope"] or ""
            return self._reach.filter(pl.col("predicate") == claim["predicate"], pl.col("scope") == scope, pl.col("n") >= n)
        if claim["kind"] == "order":
            later = self._counts.filter(pl.col("predicate") == (claim["then"] or "")).select("session_id", pl.col("last").alias("later"))
            return mine.join(later, on="session_id").filter(pl.col("first") < pl.col("later"))
        enough = {"count": pl.col("n") >= n, "denial": pl.col("n_denied") >= n, "privilege": pl.col("n_succeeded") > 0}
        return mine.filter(enough.get(claim["kind"], pl.lit(True)))
