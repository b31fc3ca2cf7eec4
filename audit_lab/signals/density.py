"""Local density: sessions whose summary lies where earlier peers are thin, compared with how dense it is around those peers.

Breunig, Kriegel, Ng and Sander, "LOF: Identifying Density-Based Local Outliers" (SIGMOD 2000), fitted per peer group on earlier
sessions only, by cosine distance of embeddings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audit_lab.signals.circles import Circles
from audit_lab.signals.distances import Floats, cosine_distances, on_grid
from audit_lab.signals.embeddings import Vectors
from audit_lab.signals.growing import fits

# A neighbourhood needs more sessions than it has neighbours; equal texts are many here and would otherwise have no density.
_LEAST_PER_NEIGHBOUR = 2
# Distances below it are no distance: where k earlier peers have the same text, density would have no end.
_GRAIN = 1e-3


class Density(NamedTuple):
    """Per session: local outlier factor (1: as dense as around its neighbours; NaN: earlier peers too few), its nearest peers."""

    factor: npt.NDArray[np.float64]
    nearest: list[list[int]]


def local_density(vectors: Vectors, peers: Circles, k: int, least: int) -> Density:
    """Return the local outlier factor of each session among earlier peers.

    Parameters
    ----------
    vectors
        Rows of length 1, one per session.
    peers
        Whom each session is compared with.
    k, least
        Neighbours, and fewest earlier peers.
    """
    factor = np.full(len(vectors), np.nan)
    nearest: list[list[int]] = [[] for _ in range(len(vectors))]
    for asking, references in fits(peers, max(least, k * _LEAST_PER_NEIGHBOUR)):
        known = on_grid(vectors[references])
        between = cosine_distances(known, known)
        np.fill_diagonal(between, np.inf)
        reach, around = _nearest(between, k)
        density = 1.0 / np.maximum(np.maximum(reach[around][:, :, -1], reach).mean(axis=1), _GRAIN)
        own, near = _nearest(cosine_distances(on_grid(vectors[asking]), known), k)
        mine = 1.0 / np.maximum(np.maximum(reach[near][:, :, -1], own).mean(axis=1), _GRAIN)
        factor[asking] = np.round(density[near].mean(axis=1) / mine, 6)
        for row, session in enumerate(asking):
            nearest[session] = references[near[row, :3]].tolist()
    return Density(factor, nearest)


def _nearest(far: Floats, k: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the k smallest distances of each row, ascending, and whose they are; the earlier one first among equals."""
    order = np.argsort(far, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(far, order, axis=1), order
