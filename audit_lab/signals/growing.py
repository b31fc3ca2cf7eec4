"""Models that are fitted on earlier time only: when to fit again as a peer group grows, and who is scored by which fit.

A session is scored by a model of earlier sessions of its peer group. Fitting one model per session would be exact and far too slow;
so the number of earlier sessions is cut at fixed rungs, and whoever has at least as many earlier peers as a rung, and fewer than the next,
is scored by the model of the first that many. The rungs do not depend on the data: what comes later changes no model that scored before.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from audit_lab.signals.circles import MAX_REFERENCES, Circles, Indices, circles

# A model is fitted again when its group has grown by half, later by half of the longest memory.
GROWTH = 1.5


class Fit(NamedTuple):
    """Sessions that one fit scores (`asking`), and those that it is fitted on (`references`, in order of their end)."""

    asking: Indices
    references: Indices


def fits(peers: Circles, least: int) -> Iterator[Fit]:
    """Yield the fits of each peer group, in order of time. Sessions with fewer than `least` earlier peers are in none.

    Parameters
    ----------
    peers
        Whom each session is compared with.
    least
        Fewest sessions that a model is fitted on; at most MAX_REFERENCES, the latest, are used.
    """
    for circle in circles(peers):
        rungs = _rungs(int(circle.known.max(initial=0)), least)
        for rung, following in pairwise([*rungs, np.iinfo(np.int64).max]):
            asking = circle.asking[(circle.known >= rung) & (circle.known < following)]
            if len(asking):
                yield Fit(asking, circle.order[max(0, rung - MAX_REFERENCES) : rung])


def _rungs(most: int, least: int) -> list[int]:
    """Return the numbers of earlier sessions at which a model is fitted.

    >>> _rungs(40, 20)
    [20, 30]
    """
    found, rung = [], least
    while rung <= most:
        found.append(rung)
        rung = min(int(rung * GROWTH) + (rung < 2), rung + MAX_REFERENCES // 2)
    return found
