"""Distance from peers: how far a session lies from what its kind did before, and how sure that can be.

Everything here looks at earlier sessions only: those of the same peer group that had ended when a session began.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from audit_lab.profile import SignalSettings

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]

# Kinds whose small groups may be pooled: those that share a way of working.
FAMILIES = {
    "human": "people", "service_account": "workloads", "node": "platform", "controller": "platform",
    "anonymous": "outside", "unauthenticated": "outside",
}
# References per session: the most recent ones. Bounds time and memory on long archives.
MAX_REFERENCES = 2000
_BLOCK = 256


class Neighbours(NamedTuple):
    """Mean cosine distance to the k nearest earlier peers (NaN where there are fewer than k), and who they are."""

    distance: Floats
    nearest: list[list[int]]


class Conformal(NamedTuple):
    """Conformal p-value (NaN where references are too few) and the number of references behind it."""

    p_value: Floats
    n: npt.NDArray[np.int64]


def peer_groups(kinds: Sequence[str], worlds: Sequence[str], min_peers: int) -> list[str]:
    """Return the peer group of each session: its world and kind; kinds with fewer than `min_peers` sessions go by family.

    >>> peer_groups(["human", "human", "node", "controller"], ["c"] * 4, 2)
    ['c/human', 'c/human', 'c/platform', 'c/platform']
    """
    counts: dict[tuple[str, str], int] = {}
    for key in zip(worlds, kinds, strict=True):
        counts[key] = counts.get(key, 0) + 1
    return [
        f"{world}/{kind if counts[world, kind] >= min_peers else FAMILIES.get(kind, kind)}"
        for world, kind in zip(worlds, kinds, strict=True)
    ]


def earlier(group: npt.NDArray[np.int64], start: Times, end: Times) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the sessions of a group ordered by end, and for each session of the group how many of them ended before it began."""
    order = group[np.lexsort((group, end[group]))]
    return order, np.searchsorted(end[order], start[group], side="left")


def nearest_distance(
    vectors: npt.NDArray[np.float32], groups: Sequence[str], start: Times, end: Times, k: int, asking: npt.NDArray[np.bool_] | None = None
) -> Neighbours:
    """Return how far each session's vector lies from its k nearest earlier peers.

    Parameters
    ----------
    vectors
        Rows of length 1, one per session.
    groups, start, end
        Peer group and bounds (µs) of each session.
    k
        Number of neighbours; a summary that k earlier peers share has distance 0.
    asking
        The sessions to answer for; all of them when left out.
    """
    distance = np.full(len(groups), np.nan)
    nearest: list[list[int]] = [[] for _ in groups]
    for group in members(groups):
        order, counts = earlier(group, start, end)
        wanted = np.flatnonzero(asking[group]) if asking is not None else np.arange(len(group))
        for rows in _blocks(counts[wanted]):
            block, known = group[wanted[rows]], counts[wanted[rows]]
            high = int(known[-1])
            low = max(0, int(known[0]) - MAX_REFERENCES)
            if high < k:
                continue
            far = 1.0 - vectors[block] @ vectors[order[low:high]].T
            # Only the last columns can be too late for some rows, only the first ones too old.
            late, old = int(known[0]) - low, max(0, high - MAX_REFERENCES - low)
            far[:, late:][np.arange(int(known[0]), high) >= known[:, None]] = np.inf
            far[:, :old][np.arange(low, low + old) < known[:, None] - MAX_REFERENCES] = np.inf
            if k == 1:
                best = far.argmin(axis=1)[:, None]
            elif far.shape[1] > k:
                best = np.argpartition(far, k - 1, axis=1)[:, :k]
            else:
                best = np.tile(np.arange(k), (len(block), 1))
            for row, session in enumerate(block):
                if known[row] < k:
                    continue
                close = sorted((round(float(far[row, column]), 5), int(column)) for column in best[row])
                # Rounded: vectors of one text differ in their last digits with what else was embedded at once.
                distance[session] = max(0.0, round(sum(value for value, _ in close) / k, 5))
                nearest[session] = [int(order[low + column]) for _, column in close[:3]]
    return Neighbours(distance, nearest)


def past_distance(
    vectors: npt.NDArray[np.float32], identities: Sequence[str], groups: Sequence[str], start: Times, end: Times, k: int
) -> tuple[Floats, list[list[int]], npt.NDArray[np.bool_]]:
    """Return how far each session lies from the nearest of its own past, or from its k nearest peers where it has none.

    Returns
    -------
    Distance (NaN where even peers are too few), the nearest sessions, and whether the identity had no past of its own.
    """
    own = nearest_distance(vectors, identities, start, end, 1)
    alone = np.isnan(own.distance)
    peers = nearest_distance(vectors, groups, start, end, k, alone)
    nearest = [far if is_alone else near for near, far, is_alone in zip(own.nearest, peers.nearest, alone, strict=True)]
    return np.where(alone, peers.distance, own.distance), nearest, alone


def tail_surprise(
    features: Floats, groups: Sequence[str], start: Times, end: Times, min_peers: int
) -> Floats:
    """Return how far up the tail of its earlier peers each session lies, per feature, in bits.

    The share of earlier peers with at least this value, as −log2 (Li et al., "ECOD: Unsupervised Outlier Detection Using
    Empirical Cumulative Distribution Functions", TKDE 2022, upper tail only: more of something is what attacks show).

    Returns
    -------
    Bits, sessions × features; NaN where earlier peers are fewer than `min_peers` or the feature is missing.
    """
    bits = np.full(features.shape, np.nan)
    for asking, known, references, inside in _windows(groups, start, end):
        width = inside.sum(axis=1)
        enough = known >= min_peers
        for column in range(features.shape[1]):
            values = features[asking, column]
            above = (inside & (features[references, column][None, :] >= values[:, None])).sum(axis=1)
            bits[asking, column] = np.where(enough & ~np.isnan(values), -np.log2((1 + above) / (1 + width)), np.nan)
    return bits


def conformal_p_values(scores: Floats, groups: Sequence[str], start: Times, end: Times, min_peers: int) -> Conformal:
    """Return how rarely an earlier peer scored at least as high.

    `p = (1 + earlier peers with that score or more) / (1 + earlier peers)`: if sessions of a group were exchangeable, a
    normal session would have p ≤ a with probability at most a (Vovk et al., "Algorithmic Learning in a Random World",
    2005; Laxhammar and Falkman, 2014, for anomalies). They are not quite: behaviour drifts, and the earliest scores rest
    on less past. The finest p that n references allow is 1/(n+1).
    """
    p_value = np.full(len(groups), np.nan)
    n = np.zeros(len(groups), dtype=np.int64)
    for asking, _known, references, inside in _windows(groups, start, end):
        past = scores[references]
        counted = inside & ~np.isnan(past)[None, :]
        above = (counted & (past[None, :] >= scores[asking][:, None])).sum(axis=1)
        n[asking] = counted.sum(axis=1)
        enough = (n[asking] >= min_peers) & ~np.isnan(scores[asking])
        p_value[asking] = np.where(enough, (1 + above) / (1 + n[asking]), np.nan)
    return Conformal(p_value, n)


def references_needed(n_sessions: int, n_findings: int, false_share: float = 0.1) -> int:
    """Return how many earlier peers a p-value needs before it can control false discoveries.

    With the Benjamini-Hochberg rule (JRSS B 57(1), 1995) the k-th finding among m sessions passes at p ≤ q·k/m, and n
    references allow no p below 1/(n+1).

    Parameters
    ----------
    n_sessions, n_findings, false_share
        Sessions looked at (m), findings hoped for (k), share of false ones accepted among them (q).

    >>> references_needed(10_000, 10)
    9999
    """
    return max(1, math.ceil(n_sessions / (false_share * max(1, n_findings))) - 1)


def resolution(sessions: pl.DataFrame, settings: SignalSettings, false_share: float = 0.1) -> pl.DataFrame:
    """Say per peer group how fine p-values can be, and how many references false-discovery control would take.

    Parameters
    ----------
    sessions
        Table sessions.
    settings
        `min_peers`, and `budget_cases`, the findings hoped for, shared out among groups by their size.
    false_share
        Share of false findings accepted.

    Returns
    -------
    One row per peer group: `peers`, `n_sessions`, `n_references` (earlier sessions of the last one), `finest_p` (null where
    p-values are null), `n_needed`, `is_enough`.
    """
    groups = peer_groups(sessions["actor_kind"].to_list(), sessions["cluster"].to_list(), settings.min_peers)
    ended = (pl.col("end") < pl.col("start").max()).sum().clip(0, MAX_REFERENCES)
    counted = (
        sessions.select("start", "end", peers=pl.Series(groups, dtype=pl.String)).group_by("peers")
        .agg(n_sessions=pl.len().cast(pl.Int64), n_references=ended.cast(pl.Int64)).sort("peers")
    )
    needed = [
        references_needed(n, max(1, round(settings.budget_cases * n / max(1, sessions.height))), false_share)
        for n in counted["n_sessions"].to_list()
    ]
    return counted.with_columns(
        finest_p=pl.when(pl.col("n_references") >= settings.min_peers).then(1 / (pl.col("n_references") + 1)),
        n_needed=pl.Series(needed, dtype=pl.Int64),
    ).with_columns(is_enough=pl.col("n_references") >= pl.col("n_needed"))


def _blocks(counts: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield rows of `counts` in ascending order, few enough at once, and spanning few enough references, for memory to stay flat."""
    order = np.argsort(counts, kind="stable")
    ascending = counts[order]
    at = 0
    while at < len(order):
        upto = min(at + _BLOCK, int(np.searchsorted(ascending, ascending[at] + MAX_REFERENCES, side="right")))
        yield order[at:upto]
        at = upto


def members(groups: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    """Return the sessions of each group, groups in order of their names."""
    found: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        found.setdefault(group, []).append(index)
    return [np.array(found[group], dtype=np.int64) for group in sorted(found)]


def _windows(groups: Sequence[str], start: Times, end: Times) -> Iterator[tuple[Indices, Indices, Indices, npt.NDArray[np.bool_]]]:
    """Yield blocks of sessions that ask, how many peers each of them has before it, who may be referred to, and who by whom."""
    for group in members(groups):
        order, counts = earlier(group, start, end)
        # In order of what they know: the windows of a block then hardly differ.
        rank = np.argsort(counts, kind="stable")
        for at in range(0, len(group), _BLOCK):
            block = rank[at : at + _BLOCK]
            known = counts[block]
            low, high = max(0, int(known[0]) - MAX_REFERENCES), int(known[-1])
            position = np.arange(low, high)
            inside = (position[None, :] < known[:, None]) & (position[None, :] >= known[:, None] - MAX_REFERENCES)
            yield group[block], known, order[low:high], inside
