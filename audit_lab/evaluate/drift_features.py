"""What is compared: each feature as a matrix of blocks of time × values."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl

from audit_lab.evaluate.drift_counts import MOST_HITS, OF, SCORE_BINS, DriftCounts

MOVERS = 3  # values named in `detail`
REST = "(others)"


class Feature(NamedTuple):
    """One feature over all blocks: `matrix` is blocks × values; the values' places on a scale where they are numbers."""

    family: str
    name: str
    kind: str
    values: list[str]
    row_of: dict[datetime, int]
    matrix: np.ndarray


def features_of(counts: DriftCounts, most: int) -> dict[str, Feature]:
    """Return the features by name; of the actors' volumes the `most` largest. New values are no features: they are counted one by one."""
    blocks = sorted(set(counts.counts["block"].to_list()))
    row_of = {block: place for place, block in enumerate(blocks)}
    found = {}
    frame = counts.counts.filter(pl.col("kind") != "presence")
    # Of the actors' volumes only the largest are watched one by one: each is a test of its own.
    volumes = frame.filter(pl.col("kind") == "volume").group_by("feature").agg(pl.col("n").sum())
    watched = volumes.sort(["n", "feature"], descending=[True, False]).head(most)["feature"]
    frame = frame.filter((pl.col("kind") != "volume") | pl.col("feature").is_in(watched.implode())).sort("family", "feature", "value")
    for (family, name, kind), part in frame.group_by("family", "feature", "kind", maintain_order=True):
        if kind == "number":
            values = [str(place) for place in range(scale(str(family))[0])]
        else:
            values = ["hit", OF] if kind in ("rate", "volume") else part["value"].unique(maintain_order=True).to_list()
        column = {value: place for place, value in enumerate(values)}
        matrix = np.zeros((len(blocks), len(values)))
        for block, value, n in part.select("block", "value", "n").iter_rows():
            matrix[row_of[block], column[value]] += n
        if kind == "volume":
            matrix[:, 1] = 1.0  # per block
        found[str(name)] = Feature(str(family), str(name), str(kind), values, row_of, matrix)
    return found


def scale(family: str) -> tuple[int, float, float]:
    """Return a number's bins, their width, and the middle of the first one."""
    return (SCORE_BINS, 1 / SCORE_BINS, 0.5 / SCORE_BINS) if family == "scores" else (MOST_HITS + 1, 1.0, 0.0)


def pooled(matrix: np.ndarray, values: list[str], most: int) -> tuple[np.ndarray, list[str]]:
    """Keep the values that are most frequent over both periods together, and pool the others: chosen like that, dealings stay fair."""
    total = matrix.sum(axis=0)
    order = np.argsort(-total, kind="stable")
    kept, rest = order[:most], order[most:]
    kept = kept[total[kept] > 0]
    names = [values[place] for place in kept]
    if not rest.size or not total[rest].sum():
        return matrix[:, kept], names
    return np.column_stack([matrix[:, kept], matrix[:, rest].sum(axis=1)]), [*names, REST]


def deciles(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join neighbouring bins to about ten of equal mass in the reference: a stability index over empty bins says nothing."""
    share = (old.cumsum() - old / 2) / old.sum()
    group = np.minimum((share * 10).astype(np.int64), 9)
    return np.bincount(group, weights=old, minlength=10), np.bincount(group, weights=new, minlength=10)


def movers(old: np.ndarray, new: np.ndarray, values: list[str]) -> str:
    """Return in words which values moved most, with their shares before and after."""
    first, second = old / old.sum(), new / new.sum()
    order = np.argsort(-np.abs(second - first), kind="stable")[:MOVERS]
    return ", ".join(f"{values[place]} {first[place]:.1%} → {second[place]:.1%}" for place in order)


def vector_rows(sums: pl.DataFrame, blocks: list[datetime]) -> np.ndarray:
    """Return one row per block: the sum of its vectors, and their number last."""
    known = {block: [*vector, n] for block, n, vector in sums.select("block", "n", "vector").iter_rows()}
    empty = [0.0] * (len(sums["vector"][0]) + 1 if sums.height else 1)
    return np.array([known.get(block, empty) for block in blocks], dtype=float)
