"""Distances between summaries: how far a session lies from its own past and from its peers, by cosine distance of embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audit_lab.signals.circles import MAX_REFERENCES, Circles, Flags, Indices, circles
from audit_lab.signals.embeddings import Vectors

Floats = npt.NDArray[np.float64]

_BLOCK = 256
# Steps of 2^-25: float32 has no finer ones for most parts of a vector of length 1, and sums of products of whole numbers of them fit
# into float64. So a distance is exact, and the same whatever else is multiplied at once.
_GRID = 2.0**25
# Distances are told to five digits: vectors of one text differ beyond them with what else was embedded at once.
_DIGITS = 5


class Neighbours(NamedTuple):
    """Mean cosine distance to the k nearest earlier peers (NaN where there are fewer than k), and who they are."""

    distance: Floats
    nearest: list[list[int]]


class Exact(NamedTuple):
    """Vectors of the full model where a static one does the bulk.

    `asked`: sessions whose distance is measured by them; `place`: row of each session in `vectors`, -1 where it has none.
    """

    asked: Flags
    place: Indices
    vectors: Vectors


class Past(NamedTuple):
    """Distance from the past (NaN where even peers are too few), the nearest sessions, and who had no past of its own."""

    distance: Floats
    nearest: list[list[int]]
    alone: Flags


def on_grid(vectors: Vectors) -> Floats:
    """Return vectors of length 1 in steps so fine that they say the same and so coarse that products of them are exact.

    Their products sum to the same last digit in any order: distances of a session do not depend on who else asks.
    """
    return np.asarray(np.rint(vectors.astype(np.float64) * _GRID) / _GRID, dtype=np.float64)


def cosine_distances(these: Floats, those: Floats) -> Floats:
    """Return 1 − cosine of each row of `these` and each of `those` (both from `on_grid`), to five digits."""
    return np.asarray(np.round(np.maximum(0.0, 1.0 - these @ those.T), _DIGITS), dtype=np.float64)


def nearest_distance(vectors: Vectors, peers: Circles, k: int, asking: Flags | None = None) -> Neighbours:
    """Return how far each session's vector lies from its k nearest earlier peers.

    Parameters
    ----------
    vectors
        Rows of length 1, one per session.
    peers
        Whom each session is compared with.
    k
        Number of neighbours; a summary that k earlier peers share has distance 0.
    asking
        The sessions to answer for; all of them when left out.
    """
    distance = np.full(len(vectors), np.nan)
    nearest: list[list[int]] = [[] for _ in range(len(vectors))]
    for session, near in _near(vectors, peers, k, asking):
        if len(near) == k:
            distance[session] = round(sum(far for far, _ in near) / k, _DIGITS)
            nearest[session] = [other for _, other in near]
    return Neighbours(distance, nearest)


def _near(vectors: Vectors, peers: Circles, most: int, asking: Flags | None) -> Iterator[tuple[int, list[tuple[float, int]]]]:
    """Yield for each session that asks at most `most` nearest earlier peers: distance, session; who ended first leads equals."""
    for circle in circles(peers):
        wanted = np.flatnonzero(asking[circle.asking]) if asking is not None else np.arange(len(circle.asking))
        for rows in _blocks(circle.known[wanted]):
            block, known = circle.asking[wanted[rows]], circle.known[wanted[rows]]
            high = int(known[-1])
            low = max(0, int(known[0]) - MAX_REFERENCES)
            if high == 0:
                continue
            like = on_grid(vectors[block]) @ on_grid(vectors[circle.order[low:high]]).T
            # Only the last columns can be too late for some rows, only the first ones too old.
            late, old = int(known[0]) - low, max(0, high - MAX_REFERENCES - low)
            like[:, late:][np.arange(int(known[0]), high) >= known[:, None]] = -np.inf
            like[:, :old][np.arange(low, low + old) < known[:, None] - MAX_REFERENCES] = -np.inf
            for session, columns, values in zip(block.tolist(), *_most_like(like, most), strict=True):
                yield session, [
                    (round(max(0.0, 1.0 - value), _DIGITS), int(circle.order[low + column]))
                    for value, column in zip(values.tolist(), columns.tolist(), strict=True) if value > -np.inf
                ]


def _most_like(like: Floats, most: int) -> tuple[list[Indices], list[Floats]]:
    """Return per row the columns of the highest values, at most so many, and those values; the first among equals."""
    if most == 1:
        best = like.argmax(axis=1)[:, None]
        return list(best), list(np.take_along_axis(like, best, axis=1))
    columns, values = [], []
    least = np.full(len(like), -np.inf) if like.shape[1] <= most else np.partition(like, -most, axis=1)[:, -most]
    for row, line in zip(like, least, strict=True):
        # All that share the last place that counts, so that the choice among equals is no accident.
        found = np.flatnonzero(row >= line)
        found = found[np.argsort(-row[found], kind="stable")[:most]]
        columns.append(found)
        values.append(row[found])
    return columns, values


def past_distance(vectors: Vectors, selves: Circles, peers: Circles, k: int, exact: Exact | None = None) -> Past:
    """Return how far each session lies from the nearest of its own past, or from its k nearest peers where it has none.

    Parameters
    ----------
    vectors
        Rows of length 1, one per session.
    selves, peers
        Its own past, and its peers.
    k
        Number of peers.
    exact
        Vectors of the full model, where `vectors` are a static one's. Sessions that it names are measured against their nearest by it;
        both ends of a distance are always of one sort.
    """
    own = nearest_distance(vectors, selves, 1)
    alone = np.isnan(own.distance)
    theirs = nearest_distance(vectors, peers, k, alone)
    nearest = [far if is_alone else near for near, far, is_alone in zip(own.nearest, theirs.nearest, alone, strict=True)]
    past = Past(np.where(alone, theirs.distance, own.distance), nearest, alone)
    if exact is not None:
        _measure_again(past, exact, selves, k)
    return past


def _measure_again(past: Past, exact: Exact, selves: Circles, k: int) -> None:
    """Put exact distances in their places.

    A session is measured against the nearest by the static model. More of its own past gave no better ranking, for whom earlier sessions of
    the identity that were measured brought along is looked at too: they have exact vectors already.
    """
    met: dict[str, list[int]] = {}
    asked = np.flatnonzero(exact.asked)
    for session in asked[np.argsort(selves.start[asked], kind="stable")].tolist():
        alone, mine = bool(past.alone[session]), met.setdefault(selves.own[session], [])
        others = near = past.nearest[session]
        if not alone:
            others = list(dict.fromkeys([*others, *(other for other in mine if selves.end[other] < selves.start[session])]))
            mine += [session, *near]
        wanted = k if alone else 1
        places = exact.place[[session, *others]]
        if len(others) < wanted or (places < 0).any():
            continue
        rows = on_grid(exact.vectors[places])
        found = sorted(zip(cosine_distances(rows[:1], rows[1:])[0].tolist(), others, strict=True))[:wanted]
        past.distance[session] = round(sum(far for far, _ in found) / wanted, _DIGITS)
        past.nearest[session] = [other for _, other in found]


def stand_out(distance: Floats, start: Indices, end: Indices, share: float, least: int) -> Flags:
    """Say which sessions were among the furthest of all that had ended before them, and of themselves.

    Parameters
    ----------
    distance
        Of each session from its past, to five digits; NaN stands out never and counts for nothing.
    start, end
        Bounds of each session (µs).
    share
        0–1: how many are the furthest.
    least
        So many of them, while `share` of those known is less: distances shrink as pasts grow, so that early ones are the furthest for long.
    """
    found = np.zeros(len(distance), dtype=np.bool_)
    known = np.flatnonzero(~np.isnan(distance))
    far = np.rint(distance[known] * 10**_DIGITS).astype(np.int64)
    asking, ended = np.argsort(start[known], kind="stable"), np.argsort(end[known], kind="stable")
    before = np.searchsorted(end[known][ended], start[known][asking], side="left")
    seen = np.zeros(int(far.max(initial=0)) + 1, dtype=np.int64)
    done = 0
    for at in range(0, len(asking), _BLOCK):
        rows = asking[at : at + _BLOCK]
        n = before[at : at + _BLOCK]
        seen += np.bincount(far[ended[done : n[0]]], minlength=len(seen))
        done = int(n[0])
        later = ended[done : n[-1]]
        beyond = (np.arange(done, n[-1])[None, :] < n[:, None]) & (far[later][None, :] >= far[rows][:, None])
        above = done - np.concatenate([[0], np.cumsum(seen)])[far[rows]] + beyond.sum(axis=1)
        allowed = np.maximum(np.ceil(share * (1 + n) - 1e-9), least if share > 0 else 0)
        found[known[rows]] = 1 + above <= allowed
    return found


def _blocks(counts: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield rows of `counts` in ascending order, few enough at once, and spanning few enough references, for memory to stay flat."""
    order = np.argsort(counts, kind="stable")
    ascending = counts[order]
    at = 0
    while at < len(order):
        upto = min(at + _BLOCK, int(np.searchsorted(ascending, ascending[at] + MAX_REFERENCES, side="right")))
        yield order[at:upto]
        at = upto
