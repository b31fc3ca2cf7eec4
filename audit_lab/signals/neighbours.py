"""Why a session looks unusual: the earlier sessions that are most like it, and the labelled ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from audit_lab.errors import InputError


def nearest_sessions(
    session_id: str, sessions: pl.DataFrame, vectors: npt.NDArray[np.float32], labels: pl.DataFrame | None = None, k: int = 5
) -> pl.DataFrame:
    """Return the earlier sessions of the same kind and cluster that read most like this one.

    Parameters
    ----------
    session_id
        The session to explain.
    sessions, vectors
        Table sessions and their embeddings, row by row.
    labels
        Table labels. With it come the `k` nearest labelled sessions too, of earlier time only: what it resembles that people have judged.
    k
        Sessions of each sort.

    Returns
    -------
    One row per neighbour, nearest first: `sort` ('earlier' or 'labelled'), `session_id`, `distance` (1 − cosine), `is_same_user`,
    `verdict` (null where nobody judged; malicious wins over other verdicts), `summary`.

    Raises
    ------
    InputError
        When the session is not there, or vectors do not fit.
    """
    if len(vectors) != sessions.height:
        raise InputError(f"{len(vectors)} embeddings for {sessions.height} sessions", "embed the summaries of these sessions")
    place = sessions["session_id"].index_of(session_id)
    if place is None:
        raise InputError(f"no session '{session_id}'", "see lab.sessions")
    this = sessions.row(place, named=True)
    far = 1.0 - vectors.astype(np.float64) @ vectors[place].astype(np.float64)
    near = (
        sessions.with_columns(distance=pl.Series(far).round(5).clip(0.0))
        .join(_verdicts(labels), on="session_id", how="left", maintain_order="left")
        .with_columns(is_same_user=pl.col("user").eq_missing(pl.lit(this["user"], dtype=pl.String)))
        .filter(pl.col("session_id") != session_id).sort("distance", "session_id")
    )
    kin = (pl.col("cluster") == this["cluster"]) & (pl.col("actor_kind") == this["actor_kind"])
    parts = {
        "earlier": near.filter(kin & (pl.col("end") < this["start"]) & (pl.col("verdict") != "malicious").fill_null(True)).head(k),
        "labelled": near.filter(pl.col("verdict").is_not_null() & (pl.col("end") < this["start"])).head(k),
    }
    return pl.concat([
        part.select(pl.lit(sort).alias("sort"), "session_id", "distance", "is_same_user", "verdict", "summary")
        for sort, part in parts.items()
    ])


def _verdicts(labels: pl.DataFrame | None) -> pl.DataFrame:
    """One verdict per session."""
    if labels is None:
        return pl.DataFrame(schema={"session_id": pl.String, "verdict": pl.String})
    weight = pl.col("verdict").replace_strict({"malicious": 0, "benign-but-suspicious": 1, "benign": 2}, default=3)
    placed = labels.filter(pl.col("session_id").is_not_null()).sort(weight, maintain_order=True)
    return placed.group_by("session_id", maintain_order=True).agg(pl.col("verdict").first())
