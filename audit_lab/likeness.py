"""What a session reads like: its nearest earlier sessions and the nearest that people judged, from what a lab keeps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from audit_lab.holdings import standing_labels
from audit_lab.signals import distinct_texts, embed_static, nearest_sessions
from audit_lab.store import Store
from audit_lab.vectors import kept_static

# Sessions of its kind that a session is compared with here, the most recent ones: enough for a page, and flat in memory.
LOOKED_AT = 20_000
NOTHING = pl.DataFrame(schema={
    "sort": pl.String, "session_id": pl.String, "distance": pl.Float64, "is_same_user": pl.Boolean, "verdict": pl.String,
    "summary": pl.String,
})


def like_session(store: Store, session_id: str, k: int = 2) -> pl.DataFrame:
    """Return the `k` earlier sessions, and the `k` labelled ones of earlier time, that read most like a session.

    Returns
    -------
    As `signals.nearest_sessions`; no rows where the lab keeps no vectors, as without the extra 'embed'.
    """
    sessions = store.scan("sessions").select("session_id", "cluster", "actor_kind", "user", "start", "end", "summary", "summary_digest")
    this = sessions.filter(pl.col("session_id") == session_id).collect()
    if this.is_empty():
        return NOTHING
    labels = standing_labels(store)
    judged = pl.col("session_id").is_in(labels["session_id"].drop_nulls().unique().implode())
    kin = (pl.col("cluster") == this["cluster"][0]) & (pl.col("actor_kind") == this["actor_kind"][0])
    before = pl.col("end") < this["start"][0]
    recent = sessions.filter(kin & before).sort("end", "session_id").tail(LOOKED_AT)
    held = pl.concat([recent, sessions.filter(judged & before), this.lazy()]).unique("session_id").sort("session_id").collect()
    vectors = _vectors(store, held)
    has_one = ~np.isnan(vectors).any(axis=1) if vectors.size else np.zeros(held.height, dtype=np.bool_)
    known, rows = held.filter(pl.Series(has_one)), vectors[has_one] if vectors.size else vectors
    return nearest_sessions(session_id, known, rows, labels, k) if session_id in known["session_id"] else NOTHING


def _vectors(store: Store, sessions: pl.DataFrame) -> npt.NDArray[np.float32]:
    """Vectors of one sort for all sessions: the static model's where the lab has one, else the full model's; NaN where there is none."""
    static = kept_static(store)
    if static is not None:
        texts = distinct_texts(sessions)
        where = {digest: row for row, digest in enumerate(texts)}
        rows = embed_static(list(texts.values()), static)
        return rows[[where[digest] for digest in sessions["summary_digest"]]]
    stored = store.read("embeddings")
    if stored.is_empty():
        return np.zeros((0, 0), dtype=np.float32)
    # Vectors of two models are never compared: those of the model that made most are taken.
    one = stored.filter(pl.col("model") == stored["model"].value_counts().sort("count", "model")["model"][-1])
    of, width = dict(one.select("summary_digest", "vector").iter_rows()), len(one["vector"][0])
    missing = [float("nan")] * width
    return np.array([of.get(digest, missing) for digest in sessions["summary_digest"]], dtype=np.float32).reshape(-1, width)
