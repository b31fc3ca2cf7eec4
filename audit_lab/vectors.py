"""Vectors of a lab's sessions: what is kept of them, so that no summary is embedded twice, and the static model that belongs to the lab."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.errors import MissingExtraError
from audit_lab.private import private_folder
from audit_lab.profile import SignalSettings
from audit_lab.signals import (
    SessionVectors,
    StaticModel,
    embed_sessions,
    full_precision,
    lesson_size,
    load_static,
    model_key,
    save_static,
)
from audit_lab.store import Store

# Above this share of sessions with words that the static model was not taught it is time for another one: the full model is slow.
MOST_UNTAUGHT = 0.02


class Embedded(NamedTuple):
    """Vectors of the sessions (None without the extra 'embed'), table embeddings, and what there is to say."""

    made: SessionVectors | None
    table: pl.DataFrame
    notes: list[str]


def kept_static(store: Store, taught: dict[str, Any] | None = None) -> StaticModel | None:
    """Return the static model that a lab keeps, checked against its digest; None where there is none, or none that was `taught` so."""
    kept = store.remembered("static_model")
    if kept is None or not (taught or {}).items() <= kept.items():
        return None
    file = store.root / "models" / f"{kept['digest']}.npz"
    return load_static(file, kept["digest"]) if file.is_file() else None


def embed_lab(store: Store, sessions: pl.DataFrame, settings: SignalSettings) -> Embedded:
    """Return one vector per session, in order, and what the full model made.

    Where summaries are many, a static model distilled from it does the bulk. It is kept in the lab under its digest and used for as long
    as its file is there and the settings stay: another one would make every vector anew.
    """
    try:
        key = model_key(settings.model, full_precision(sessions, settings))
        taught = {"model": key, "first": lesson_size(settings)}
        stored = store.read("embeddings").filter(pl.col("model") == key)
        known = {digest: np.asarray(vector, np.float32) for digest, vector in stored.select("summary_digest", "vector").iter_rows()}
        static = kept_static(store, taught)
        made = embed_sessions(sessions, settings, known, static)
    except MissingExtraError as error:
        return Embedded(None, tables.empty("embeddings"), [f"no session embeddings: {error}"])
    if made.static is not None and static is None:
        private_folder(store.root / "models")
        save_static(made.static, store.root / "models" / f"{made.static.digest}.npz")
        store.remember("static_model", {"digest": made.static.digest, **taught})
    notes = [
        f"the static model was not taught all words of {made.untaught:.0%} of sessions: the full model takes them "
        f"(hint: a higher signals.static_above teaches it on more than the first {lesson_size(settings):,} summaries)"
    ] if made.untaught > MOST_UNTAUGHT else []
    vectors = pl.DataFrame(
        {"summary_digest": list(made.full), "vector": [vector.tolist() for vector in made.full.values()]},
        schema={"summary_digest": pl.String, "vector": pl.List(pl.Float32)},
    )
    table = tables.conform(vectors.with_columns(pl.lit(key).alias("model")).sort("summary_digest"), "embeddings")
    return Embedded(made, table, notes)
