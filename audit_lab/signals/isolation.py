"""Isolation: sessions that few random cuts of their features set apart from earlier peers, and the features that do it.

Liu, Ting and Zhou, "Isolation Forest" (ICDM 2008), fitted per peer group on earlier sessions only. A forest never cuts outside the
range of what it was fitted on, so a session beyond all earlier ones would look like the most extreme of them. Therefore a session's
depth is the one it would have if it had been in the sample: at each node the chance that a cut falls between it and the node's box counts,
as when a point is inserted into a random cut tree (Guha et al., "Robust Random Cut Forest Based Anomaly Detection", ICML 2016).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from audit_lab.signals.circles import Circles
from audit_lab.signals.distances import Floats
from audit_lab.signals.growing import fits

N_TREES = 100
MAX_SAMPLES = 256
_ROWS = 4096


class Isolation(NamedTuple):
    """Per session: `score` 0–1 (NaN: earlier peers too few), `weight` of each feature in it, `middle` of each among earlier peers."""

    score: Floats
    weight: Floats
    middle: Floats


class _Tree(NamedTuple):
    """A fitted tree, and the box of the samples in each of its nodes."""

    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    cut: Floats
    size: npt.NDArray[np.int64]
    low: Floats
    high: Floats


def isolate(features: Floats, peers: Circles, least: int, seed: int) -> Isolation:
    """Return how easily each session is isolated from earlier peers.

    Parameters
    ----------
    features
        Sessions × features; missing values count as 0. Counts are taken by their logarithm.
    peers
        Whom each session is compared with.
    least
        Fewest earlier peers.
    seed
        Of the random cuts: the same sessions give the same scores.
    """
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - takes a second to import; only where it is asked for

    filled = np.nan_to_num(features)
    # Single precision, as the trees have it: a value on a cut must fall to the side on which the forest put it.
    scaled = (np.sign(filled) * np.log1p(np.abs(filled))).astype(np.float32).astype(np.float64)
    score = np.full(len(features), np.nan)
    weight, middle = np.zeros(features.shape), np.zeros(features.shape)
    for asking, references in fits(peers, least):
        samples = min(MAX_SAMPLES, len(references))
        forest = IsolationForest(n_estimators=N_TREES, max_samples=samples, random_state=seed).fit(scaled[references])
        trees = [
            _boxed(tree.tree_, scaled[references][chosen])
            for tree, chosen in zip(forest.estimators_, forest.estimators_samples_, strict=True)
        ]
        for at in range(0, len(asking), _ROWS):
            rows = asking[at : at + _ROWS]
            depth = np.zeros(len(rows))
            for tree in trees:
                depth += _insert(tree, scaled[rows], weight, rows)
            score[rows] = np.round(2.0 ** (-depth / N_TREES / _usual_depth(np.array([samples + 1.0]))[0]), 9)
        middle[asking] = np.median(filled[references], axis=0)
    return Isolation(score, weight, middle)


def _boxed(tree: Any, samples: Floats) -> _Tree:
    """Return a fitted tree with the box of its samples in each node, from the leaves upward."""
    leaf = tree.apply(samples.astype(np.float32))
    low, high = (np.full((tree.node_count, samples.shape[1]), value) for value in (np.inf, -np.inf))
    np.minimum.at(low, leaf, samples)
    np.maximum.at(high, leaf, samples)
    left, right = tree.children_left.astype(np.int64), tree.children_right.astype(np.int64)
    # Children stand behind their parents.
    for node in np.flatnonzero(left >= 0)[::-1]:
        low[node] = np.minimum(low[left[node]], low[right[node]])
        high[node] = np.maximum(high[left[node]], high[right[node]])
    return _Tree(left, right, tree.feature.astype(np.int64), tree.threshold.astype(float), tree.n_node_samples.astype(np.int64), low, high)


def _insert(tree: _Tree, rows: Floats, weight: Floats, where: npt.NDArray[np.int64]) -> Floats:
    """Return the expected depth of each row if it had been in the tree's sample; add to `weight` what each feature did for it.

    A feature's weight grows with the chance that it sets the row apart, and with how soon.
    """
    n, width = rows.shape
    node, alive, expected = np.zeros(n, dtype=np.int64), np.ones(n), np.zeros(n)
    on_the_way = np.zeros((n, width))
    depth, going = 0, np.arange(n)
    while len(going):
        at = node[going]
        beyond = np.maximum(tree.low[at] - rows[going], 0.0) + np.maximum(rows[going] - tree.high[at], 0.0)
        span = tree.high[at] - tree.low[at] + beyond
        cuttable = np.maximum((span > 0).sum(axis=1), 1)
        apart = np.divide(beyond, span, out=np.zeros_like(beyond), where=span > 0) / cuttable[:, None]
        chance = apart.sum(axis=1)
        inner = tree.left[at] >= 0
        cut = going[inner]
        expected[cut] += alive[cut] * chance[inner] * (depth + 1)
        weight[where[cut]] += (alive[cut] / (depth + 1))[:, None] * apart[inner]
        alive[cut] *= 1.0 - chance[inner]
        leaves = going[~inner]
        if len(leaves):
            ends = depth + _usual_depth((tree.size[node[leaves]] + 1).astype(np.float64))
            expected[leaves] += alive[leaves] * ends
            told = on_the_way[leaves] + apart[~inner]
            told = np.divide(told, told.sum(axis=1, keepdims=True), out=np.zeros_like(told), where=told.sum(axis=1, keepdims=True) > 0)
            weight[where[leaves]] += (alive[leaves] / np.maximum(ends, 1.0))[:, None] * told
        feature = tree.feature[node[cut]]
        on_the_way[cut, feature] += 1.0
        node[cut] = np.where(rows[cut, feature] <= tree.cut[node[cut]], tree.left[node[cut]], tree.right[node[cut]])
        going, depth = cut, depth + 1
    return expected


def _usual_depth(n: Floats) -> Floats:
    """Mean depth at which a random tree over n samples isolates one: 2·H(n−1) − 2·(n−1)/n, 1 for two, 0 for one."""
    many = np.maximum(n, 2.0)
    depth = 2.0 * (np.log(many - 1.0) + np.euler_gamma) - 2.0 * (many - 1.0) / many
    return np.where(n > 2, depth, np.where(n == 2, 1.0, 0.0))
