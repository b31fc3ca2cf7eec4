"""Vectors of all sessions, however many: the static model for the bulk, the full one for what lies far out and its nearest past.

An outlier's distance is exact only if both ends are. So the full model embeds the sessions far from their past, by the static model's
account, *and* the earlier sessions they are nearest to: a sample of normal sessions, taken where it is needed. Their exact vectors
stand beside the static ones and replace none: whoever is compared with such a normal session later, or was before, sees what it
would have seen without. What is far is decided among earlier sessions. So later sessions change nothing of earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from audit_lab.hashing import text_digest
from audit_lab.profile import SignalSettings
from audit_lab.signals.circles import bounds, peers_of, selves_of
from audit_lab.signals.distances import Exact, past_distance, stand_out
from audit_lab.signals.embeddings import Precision, Vectors, embed_summaries
from audit_lab.signals.static import StaticModel, distil_static, embed_static, knows_all
from audit_lab.vocabulary import without_links

# Summaries that the full model embeds to teach the static one: docs/signals.md shows what fewer and more give.
SAMPLE = 8000
# The furthest sessions so far that the full model measures, while `full_share` of those known is less: docs/signals.md has others.
LEAST = 600

Embed = Callable[[Sequence[str], str, Precision], Vectors]


class SessionVectors(NamedTuple):
    """Vectors of all sessions in order; those that the full model made by summary digest.

    Where a static model made the vectors: it, the exact vectors for those who lie far out, and the share of sessions with words that
    it was not taught.
    """

    vectors: Vectors
    full: dict[str, Vectors]
    static: StaticModel | None
    exact: Exact | None
    untaught: float = 0.0


def needs_static(sessions: pl.DataFrame, settings: SignalSettings) -> bool:
    """Whether these sessions have so many distinct summaries that a static model does the bulk."""
    return sessions["summary_digest"].n_unique() > settings.static_above


def full_precision(sessions: pl.DataFrame, settings: SignalSettings) -> Precision:
    """Return the arithmetic of the full model for these sessions: float32 where it embeds everything, else as the profile says."""
    return settings.full_precision if needs_static(sessions, settings) else "float32"


def lesson_size(settings: SignalSettings) -> int:
    """Return from how many summaries, the first ones in time, the lesson of a static model is drawn."""
    return max(SAMPLE, settings.static_above)


def distinct_texts(sessions: pl.DataFrame) -> dict[str, str]:
    """Return what is embedded, by summary digest, in order of time: summaries without what links them to other sessions.

    A link may come of what happens later.
    """
    first = sessions.sort("start", "session_id").unique("summary_digest", keep="first", maintain_order=True)
    return {digest: without_links(text) for digest, text in first.select("summary_digest", "summary").iter_rows()}


def learn_static(
    sessions: pl.DataFrame, settings: SignalSettings, known: dict[str, Vectors] | None = None, embed: Embed = embed_summaries
) -> tuple[StaticModel, dict[str, Vectors]]:
    """Distil a static model from the summaries that came first: as many as a lab may have without one, and enough for a lesson.

    Returns
    -------
    The model, and the full model's vectors by summary digest: those of `known` and those of the lesson. The same summaries in the
    same order of time give the same model, whatever was known and whatever comes later.
    """
    texts = distinct_texts(sessions)
    early = list(texts)[: lesson_size(settings)]
    digests = {texts[digest]: digest for digest in early}
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
    """Return a vector per session: by the full model where summaries are few, else by the static one with the full one beside it.

    Parameters
    ----------
    sessions
        Table sessions.
    settings
        `model`; `static_above`, distinct summaries above which the static model works; `full_share`, share of sessions, those
        furthest from their past among the earlier ones, that the full model measures again; `full_precision`, its arithmetic then;
        `neighbours`, `min_peers`.
    known
        Vectors that the full model made before in that arithmetic, by summary digest: they are not made again, and change no result.
    static
        A static model; distilled when it is needed and not given. Sessions with a word that it does not know are measured again too.
    embed
        The full model: texts, a model's name and its arithmetic in, rows of length 1 out.
    """
    order = sessions.with_row_index("_row").sort("start", "session_id")["_row"].to_numpy()
    made = _embed_in_order(sessions[order], settings, known, static, embed)
    back = np.argsort(order)
    exact = made.exact and Exact(made.exact.asked[back], made.exact.place[back], made.exact.vectors)
    return made._replace(vectors=made.vectors[back], exact=exact)


def _embed_in_order(
    sessions: pl.DataFrame, settings: SignalSettings, known: dict[str, Vectors] | None, static: StaticModel | None, embed: Embed
) -> SessionVectors:
    texts, precision = distinct_texts(sessions), full_precision(sessions, settings)
    where = {digest: index for index, digest in enumerate(texts)}
    place = np.fromiter((where[digest] for digest in sessions["summary_digest"]), dtype=np.int64, count=sessions.height)
    if not needs_static(sessions, settings):
        full = _teach(sorted(texts), texts, known or {}, settings.model, precision, embed)
        rows = np.stack([full[digest] for digest in texts]) if texts else np.zeros((0, 0), dtype=np.float32)
        return SessionVectors(rows[place], full, None, None)
    full = known or {}
    if static is None:
        static, full = learn_static(sessions, settings, full, embed)
    rows = embed_static(list(texts.values()), static)[place]
    selves, peers = selves_of(sessions), peers_of(sessions, settings.min_peers)
    past = past_distance(rows, selves, peers, settings.neighbours)
    unknown = ~knows_all(list(texts.values()), static)[place]
    asked = (stand_out(past.distance, *bounds(sessions), settings.full_share, LEAST) | unknown) & ~np.isnan(past.distance)
    chosen = dict.fromkeys(session for asker in np.flatnonzero(asked).tolist() for session in (asker, *past.nearest[asker]))
    again = list(dict.fromkeys(sessions["summary_digest"][list(chosen)].to_list()))
    full = _teach(again, texts, full, settings.model, precision, embed)
    held = {digest: row for row, digest in enumerate(again)}
    exact = np.stack([full[digest] for digest in again]) if again else np.zeros((0, rows.shape[1]), dtype=np.float32)
    places = np.fromiter((held.get(digest, -1) for digest in sessions["summary_digest"]), dtype=np.int64, count=sessions.height)
    return SessionVectors(rows, full, static, Exact(asked, places, exact), float(unknown.mean()))


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
