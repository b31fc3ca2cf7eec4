"""Distance from peers: how far a session lies from what its kind did before, and how sure that can be.

Everything here looks at earlier sessions only: those of the same peer group that had ended when a session began.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from audit_lab.profile import SignalSettings
from audit_lab.signals.circles import MAX_REFERENCES, Circles, Flags, Indices, circle_names, circles, peers_of
from audit_lab.signals.distances import Floats

_BLOCK = 256


class Conformal(NamedTuple):
    """Conformal p-value (NaN where references are too few) and the number of references behind it."""

    p_value: Floats
    n: npt.NDArray[np.int64]


def tail_surprise(features: Floats, peers: Circles, min_peers: int) -> Floats:
    """Return how far up the tail of its earlier peers each session lies, per feature, in bits.

    The share of earlier peers with at least this value, as −log2 (Li et al., "ECOD: Unsupervised Outlier Detection Using
    Empirical Cumulative Distribution Functions", TKDE 2022, upper tail only: more of something is what attacks show).

    Returns
    -------
    Bits, sessions × features; NaN where earlier peers are fewer than `min_peers` or the feature is missing.
    """
    bits = np.full(features.shape, np.nan)
    for asking, known, references, inside in _windows(peers):
        width = inside.sum(axis=1)
        enough = known >= min_peers
        for column in range(features.shape[1]):
            values = features[asking, column]
            above = (inside & (features[references, column][None, :] >= values[:, None])).sum(axis=1)
            bits[asking, column] = np.where(enough & ~np.isnan(values), -np.log2((1 + above) / (1 + width)), np.nan)
    return bits


def conformal_p_values(scores: Floats, peers: Circles, min_peers: int) -> Conformal:
    """Return how rarely an earlier peer scored at least as high.

    `p = (1 + earlier peers with that score or more) / (1 + earlier peers)`: if sessions of a group were exchangeable, a
    normal session would have p ≤ a with probability at most a (Vovk et al., "Algorithmic Learning in a Random World",
    2005; Laxhammar and Falkman, 2014, for anomalies). They are not quite: behaviour drifts, and the earliest scores rest
    on less past. The finest p that n references allow is 1/(n+1).
    """
    p_value = np.full(len(scores), np.nan)
    n = np.zeros(len(scores), dtype=np.int64)
    for asking, _known, references, inside in _windows(peers):
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
    One row per peer group: `peers`, `n_sessions` (of the kinds that are compared with it by now), `n_references` (earlier sessions
    of the last one), `finest_p` (null where p-values are null), `n_needed`, `is_enough`.
    """
    # What a kind is compared with by now: as its last session was.
    peers = peers_of(sessions, settings.min_peers)
    known = conformal_p_values(np.zeros(sessions.height), peers, 1).n
    counted = (
        sessions.select("actor_kind", "cluster", "start", peers=pl.Series(circle_names(peers), dtype=pl.String), n_references=known)
        .sort("start", maintain_order=True).group_by("cluster", "actor_kind", maintain_order=True)
        .agg(pl.col("peers", "n_references").last(), n_sessions=pl.len().cast(pl.Int64))
        .group_by("peers").agg(pl.col("n_sessions").sum(), pl.col("n_references").max()).sort("peers")
    )
    needed = [
        references_needed(n, max(1, round(settings.budget_cases * n / max(1, sessions.height))), false_share)
        for n in counted["n_sessions"].to_list()
    ]
    return counted.with_columns(
        finest_p=pl.when(pl.col("n_references") >= settings.min_peers).then(1 / (pl.col("n_references") + 1)),
        n_needed=pl.Series(needed, dtype=pl.Int64),
    ).with_columns(is_enough=pl.col("n_references") >= pl.col("n_needed"))


def resolution_note(sessions: pl.DataFrame, settings: SignalSettings, false_share: float = 0.1) -> str | None:
    """Return one line that names the peer groups whose p-values are too coarse to control false discoveries, and how many would do.

    None where all are fine enough. Columns in: table sessions.
    """
    few = resolution(sessions, settings, false_share).filter(~pl.col("is_enough"))
    said = ", ".join(f"{row['peers']} has {row['n_references']:,} of {row['n_needed']:,}" for row in few.iter_rows(named=True))
    return (
        f"p-values order sessions but control no share of false findings ({false_share:.0%}) yet, for want of earlier peers: {said} "
        "(docs/signals.md)"
    ) if said else None


def _windows(peers: Circles) -> Iterator[tuple[Indices, Indices, Indices, Flags]]:
    """Yield blocks of sessions that ask, how many peers each of them has before it, who may be referred to, and who by whom."""
    for circle in circles(peers):
        # In order of what they know: the windows of a block then hardly differ.
        rank = np.argsort(circle.known, kind="stable")
        for at in range(0, len(rank), _BLOCK):
            block = rank[at : at + _BLOCK]
            known = circle.known[block]
            low, high = max(0, int(known[0]) - MAX_REFERENCES), int(known[-1])
            position = np.arange(low, high)
            inside = (position[None, :] < known[:, None]) & (position[None, :] >= known[:, None] - MAX_REFERENCES)
            yield circle.asking[block], known, circle.order[low:high], inside
