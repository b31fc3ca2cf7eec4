"""Vectors of all sessions, however many: the static model for the bulk, the full one for what lies far out and its nearest past.

An outlier's distance is exact only if both ends are. So the full model embeds the sessions furthest from their past, by the static
model's account, *and* the earlier sessions they are nearest to: a sample of normal sessions, taken where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from audit_lab.hashing import text_digest
from audit_lab.profile import SignalSettings
from audit_lab.signals.embeddings import Precision, Vectors, embed_summaries
from audit_lab.signals.outliers import identities
from audit_lab.signals.peers import past_distance, peer_groups
from audit_lab.signals.static import StaticModel, distil_static, embed_static

# Summaries that the full model embeds to teach the static one: docs/signals.md shows what fewer and more give.
SAMPLE = 8000

Embed = Callable[[Sequence[str], str, Precision], Vectors]


class SessionVectors(NamedTuple):
    """Vectors of all sessions in order; those made by the full model by summary digest; the static model, if one was needed."""

    vectors: Vectors
    full: dict[str, Vectors]
    static: StaticModel | None


def needs_static(sessions: pl.DataFrame, settings: SignalSettings) -> bool:
    """Whether these sessions have so many distinct summaries that a static model does the bulk."""
    return sessions["summary_digest"].n_unique() > settings.static_above


def full_precision(sessions: pl.DataFrame, settings: SignalSettings) -> Precision:
    """Return the arithmetic of the full model for these sessions: float32 where it embeds everything, else as the profile says."""
    return settings.full_precision if needs_static(sessions, settings) else "float32"


def learn_static(
    sessions: pl.DataFrame, settings: SignalSettings, known: dict[str, Vectors] | None = None, embed: Embed = embed_summaries
) -> tuple[StaticModel, dict[str, Vectors]]:
    """Distil a static model from a sample of the sessions' summaries.

    Returns
    -------
    The model, and the full model's vectors by summary digest: those of `known` and those of the sample. The same summaries give
    the same model, whatever was known.
    """
    texts = dict(sessions.select("summary_digest", "summary").unique("summary_digest", maintain_order=True).iter_rows())
    digests = {text: digest for digest, text in texts.items()}
    lesson = sample_texts(list(digests), SAMPLE)
    full = _teach([digests[text] for text in lesson], texts, known or {}, settings.model, settings.full_precision, embed)
    taught = np.stack([full[digests[text]] for text in lesson]) if lesson else np.zeros((0, 0), dtype=np.float32)
    return distil_static(lesson, taught, settings.model), full


def embed_sessions(
    sessions: pl.DataFrame,
    settings: SignalSettings,
    known: dict[str, Vectors] | None = None,
    static: StaticModel | None = None,
    embed: Embed = embed_summaries,
) -> SessionVectors:
    """Return a vector per session: by the full model where summaries are few, else by the static one and the full one on top.

    Parameters
    ----------
    sessions
        Table sessions.
    settings
        `model`; `static_above`, distinct summaries above which the static model works; `full_share`, share of sessions, those
        furthest from their past, that the full model embeds again, with the earlier sessions nearest to them; `full_precision`,
        its arithmetic then; `neighbours`, `min_peers`.
    known
        Vectors that the full model made before in that arithmetic, by summary digest: they are not made again, and change no result.
    static
        A static model of these summaries; distilled when it is needed and not given.
    embed
        The full model: texts, a model's name and its arithmetic in, rows of length 1 out.
    """
    distinct = sessions.select("summary_digest", "summary").unique("summary_digest", maintain_order=True)
    texts = dict(distinct.iter_rows())
    place = sessions.select("summary_digest").join(
        distinct.select("summary_digest").with_row_index("place"), on="summary_digest", how="left", maintain_order="left"
    )["place"].to_numpy()
    full, precision = known or {}, full_precision(sessions, settings)
    if not needs_static(sessions, settings):
        full = _teach(sorted(texts), texts, full, settings.model, precision, embed)
        rows = np.stack([full[digest] for digest in texts]) if texts else np.zeros((0, 0), dtype=np.float32)
        return SessionVectors(rows[place], full, None)
    if static is None:
        static, full = learn_static(sessions, settings, full, embed)
    rows = embed_static(list(texts.values()), static)
    again = _far_and_near(sessions, settings, rows[place])
    full = _teach(again, texts, full, settings.model, precision, embed)
    # The sample's own vectors stay out: beside static ones they would look far away for being exact.
    where = {digest: index for index, digest in enumerate(texts)}
    for digest in again:
        rows[where[digest]] = full[digest]
    return SessionVectors(rows[place], full, static)


def sample_texts(texts: Sequence[str], n: int) -> list[str]:
    """Return about `n` of the distinct texts, drawn by their digests, and one more for each word that those would miss.

    The draw depends on nothing but the texts, whatever their order.
    """
    drawn = sorted(set(texts), key=text_digest)
    chosen, rest = drawn[:n], drawn[n:]
    covered = {word for text in chosen for word in text.split()}
    for text in rest:
        words = set(text.split())
        if not words <= covered:
            chosen.append(text)
            covered |= words
    return chosen


def _teach(
    digests: Sequence[str], texts: dict[str, str], known: dict[str, Vectors], model: str, precision: Precision, embed: Embed
) -> dict[str, Vectors]:
    """Return `known` (those of `texts`) and the full model's vectors of `digests`."""
    full = {digest: vector for digest, vector in known.items() if digest in texts}
    fresh = [digest for digest in dict.fromkeys(digests) if digest not in full]
    if fresh:
        full.update(zip(fresh, embed([texts[digest] for digest in fresh], model, precision), strict=True))
    return full


def _far_and_near(sessions: pl.DataFrame, settings: SignalSettings, vectors: Vectors) -> list[str]:
    """Summary digests of the sessions furthest from their past, and of the earlier sessions that are nearest to those."""
    groups = peer_groups(sessions["actor_kind"].to_list(), sessions["cluster"].to_list(), settings.min_peers)
    start, end = (sessions[column].dt.epoch("us").to_numpy() for column in ("start", "end"))
    distance, nearest, _ = past_distance(vectors, identities(sessions), groups, start, end, settings.neighbours)
    top = np.argsort(-np.nan_to_num(distance, nan=-1.0), kind="stable")[: int(np.ceil(settings.full_share * sessions.height))].tolist()
    chosen = [*top, *(near for session in top for near in nearest[session])]
    return list(dict.fromkeys(sessions["summary_digest"][chosen].to_list()))
