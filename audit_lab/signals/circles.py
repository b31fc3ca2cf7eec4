"""Whom a session is compared with: sessions of its circle that had ended before it began.

Two circles at most, both known when the session begins: its own kind of actor, once enough sessions of that kind had ended, and until
then the family of kinds that work alike. So a kind that grows later changes nothing for its first sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

Times = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Kinds that stand in for each other while one of them is young: those that share a way of working.
FAMILIES = {
    "human": "people", "service_account": "workloads", "node": "platform", "controller": "platform",
    "anonymous": "outside", "unauthenticated": "outside",
}
# References per session: the most recent ones. Bounds time and memory on long archives.
MAX_REFERENCES = 2000


class Circles(NamedTuple):
    """Per session: its own circle, the wider one, whether the own one is still too young, and its bounds (µs)."""

    own: Sequence[str]
    wider: Sequence[str]
    is_young: Flags
    start: Times
    end: Times


class Circle(NamedTuple):
    """Sessions that ask one circle, its sessions in order of their end, and how many of those had ended before each that asks."""

    asking: Indices
    order: Indices
    known: Indices


def alike(groups: Sequence[str], start: Times, end: Times) -> Circles:
    """Return circles without a wider one: whoever shares a group.

    Parameters
    ----------
    groups, start, end
        Group and bounds (µs) of each session.
    """
    return Circles(groups, groups, np.zeros(len(groups), dtype=np.bool_), start, end)


def peer_groups(kinds: Sequence[str], worlds: Sequence[str], start: Times, end: Times, min_peers: int) -> Circles:
    """Return whom each session is compared with: its world and kind, or its world and family while its kind is young.

    A kind is young until `min_peers` of its sessions had ended before the session began: later sessions do not count.

    Parameters
    ----------
    kinds, worlds, start, end
        Kind of actor, what may be compared at all (the cluster), and bounds (µs) of each session.

    >>> clock = np.arange(4, dtype=np.int64)
    >>> made = peer_groups(["human", "node", "human", "human"], ["c"] * 4, clock, clock, 1)
    >>> circle_names(made)
    ['c/people', 'c/platform', 'c/human', 'c/human']
    """
    own = [f"{world}/{kind}" for world, kind in zip(worlds, kinds, strict=True)]
    wider = [f"{world}/{FAMILIES.get(kind, kind)}" for world, kind in zip(worlds, kinds, strict=True)]
    is_young = np.ones(len(own), dtype=np.bool_)
    for circle in circles(alike(own, start, end)):
        is_young[circle.asking] = circle.known < min_peers
    return Circles(own, wider, is_young, start, end)


def circle_names(peers: Circles) -> list[str]:
    """Return the circle that each session is compared with."""
    return [wider if young else own for own, wider, young in zip(peers.own, peers.wider, peers.is_young.tolist(), strict=True)]


def circles(peers: Circles) -> Iterator[Circle]:
    """Yield each circle that somebody asks; every session asks exactly one."""
    for groups, asks in ((peers.own, ~peers.is_young), (peers.wider, peers.is_young)):
        if not asks.any():
            continue
        for group in _members(groups):
            asking = group[asks[group]]
            if len(asking):
                order = group[np.lexsort((group, peers.end[group]))]
                yield Circle(asking, order, np.searchsorted(peers.end[order], peers.start[asking], side="left"))


def identities(sessions: pl.DataFrame) -> list[str]:
    """Return whose past each session belongs to: its cluster, kind and user."""
    return sessions.select(pl.concat_str("cluster", "actor_kind", pl.col("user").fill_null(""), separator="/")).to_series().to_list()


def bounds(sessions: pl.DataFrame) -> tuple[Times, Times]:
    """Return when each session began and ended, µs."""
    return sessions["start"].dt.epoch("us").to_numpy(), sessions["end"].dt.epoch("us").to_numpy()


def peers_of(sessions: pl.DataFrame, min_peers: int) -> Circles:
    """Return the peers of each session: columns `actor_kind`, `cluster`, `start`, `end` in."""
    return peer_groups(sessions["actor_kind"].to_list(), sessions["cluster"].to_list(), *bounds(sessions), min_peers)


def selves_of(sessions: pl.DataFrame) -> Circles:
    """Return each session's own past as circles: columns `cluster`, `actor_kind`, `user`, `start`, `end` in."""
    return alike(identities(sessions), *bounds(sessions))


def _members(groups: Sequence[str]) -> list[Indices]:
    """Return the sessions of each group, groups in order of their names."""
    found: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        found.setdefault(group, []).append(index)
    return [np.array(found[group], dtype=np.int64) for group in sorted(found)]
