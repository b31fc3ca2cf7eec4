"""A static model distilled from the full one: a vector per word and per pair of neighbouring words, averaged.

The closed vocabulary makes this work: a few hundred words fill all summaries, so the vectors that best reproduce the full
model's answers are one ridge regression on a sample (the idea of a static student is Model2Vec's, Tulkens and van Dongen, 2024;
fitting it on one's own texts, and pairs of words, are ours). It is two orders of magnitude faster. The summaries that lie
furthest from their past, the only ones whose exact place matters, are then embedded with the full model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import scipy.linalg

from audit_lab.errors import InputError, MissingExtraError
from audit_lab.hashing import text_digest
from audit_lab.profile import SignalSettings
from audit_lab.signals.embeddings import Vectors, embed_summaries
from audit_lab.signals.outliers import identities
from audit_lab.signals.peers import past_distance, peer_groups

# Summaries that the full model embeds to teach the static one: docs/signals.md shows what fewer and more give.
SAMPLE = 2000
# Shrinks vectors of rare words towards the mean text; chosen by hand, flat between 0.001 and 0.01.
_RIDGE = 0.003
_WORD = re.compile(r"\S+")
_PAIR = "\u241f"
_BATCH = 4096

Embed = Callable[[Sequence[str], str], Vectors]


@dataclass(frozen=True)
class StaticModel:
    """What distillation leaves: `words` (words and pairs, sorted) and their `vectors` (float32, one row each)."""

    teacher: str
    words: tuple[str, ...]
    vectors: Vectors

    @cached_property
    def digest(self) -> str:
        """SHA-256 of teacher, words and vectors."""
        made = hashlib.sha256("\n".join([self.teacher, *self.words]).encode())
        made.update(np.ascontiguousarray(self.vectors, dtype="<f4").tobytes())
        return made.hexdigest()

    @cached_property
    def known(self) -> frozenset[str]:
        """The words and pairs, for look-up."""
        return frozenset(self.words)


class SessionVectors(NamedTuple):
    """Vectors of all sessions in order; those made by the full model by summary digest; the static model, if one was needed."""

    vectors: Vectors
    full: dict[str, Vectors]
    static: StaticModel | None


def distil_static(texts: Sequence[str], vectors: Vectors, teacher: str) -> StaticModel:
    """Fit one vector per word and pair so that their mean comes close to the teacher's vector of the text.

    Parameters
    ----------
    texts, vectors
        Distinct texts and what the teacher makes of them, rows of length 1.
    teacher
        Name of the full model.

    Raises
    ------
    InputError
        When there are no texts.
    """
    if not texts:
        raise InputError("no texts to distil a static model from", "ingest archives first")
    counted: dict[str, int] = {}
    for text in texts:
        for item in dict.fromkeys(_items(text)):
            counted[item] = counted.get(item, 0) + 1
    # A pair that occurs once says nothing that its words do not.
    words = tuple(sorted(item for item, n in counted.items() if n > 1 or _PAIR not in item))
    place = {word: index for index, word in enumerate(words)}
    shares = np.zeros((len(texts), len(words)), dtype=np.float64)
    for row, text in enumerate(texts):
        known = [place[item] for item in _items(text) if item in place]
        np.add.at(shares[row], known, 1 / max(1, len(known)))
    mean = vectors.mean(axis=0, dtype=np.float64)
    gram = shares.T @ shares
    gram[np.diag_indices_from(gram)] += _RIDGE
    fitted = scipy.linalg.solve(gram, shares.T @ (vectors - mean), assume_a="pos")
    # Shares sum to one, so the mean text can be part of every word.
    return StaticModel(teacher, words, (fitted + mean).astype(np.float32))


def embed_static(texts: Sequence[str], static: StaticModel) -> Vectors:
    """Return one vector of length 1 per text, by the mean of its words' vectors; 0 where no word is known.

    Raises
    ------
    MissingExtraError
        When the extra 'embed' is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - only with the extra
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding  # noqa: PLC0415
        from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError.for_extra("embeddings", "embed") from None
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(static.words)}, unk_token=static.words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    encoder = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=static.vectors)], device="cpu")
    known = static.known
    spelled = [" ".join(item for item in _items(text) if item in known) for text in texts]
    if not spelled:
        return np.zeros((0, static.vectors.shape[1]), dtype=np.float32)
    made: Any = encoder.encode(spelled, batch_size=_BATCH, convert_to_numpy=True, show_progress_bar=False)
    length = np.linalg.norm(made, axis=1, keepdims=True)
    return np.asarray(made / np.where(length > 0, length, 1.0), dtype=np.float32)


def learn_static(
    sessions: pl.DataFrame, settings: SignalSettings, known: dict[str, Vectors] | None = None, embed: Embed = embed_summaries
) -> tuple[StaticModel, dict[str, Vectors]]:
    """Distil a static model from a sample of the sessions' summaries.

    Returns
    -------
    The model, and the full model's vectors by summary digest: those of `known` and those of the sample. The same summaries give
    the same model, whatever was known.
    """
    texts = dict(sessions.select("summary_digest", "summary").iter_rows())
    digests = {text: digest for digest, text in texts.items()}
    lesson = sample_texts(list(digests), SAMPLE)
    full = _teach([digests[text] for text in lesson], texts, known or {}, settings, embed)
    return distil_static(lesson, _rows([digests[text] for text in lesson], full), settings.model), full


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
        furthest from their past, that the full model embeds again; `neighbours`, `min_peers`.
    known
        Vectors that the full model made before, by summary digest: they are not made again, and change no result.
    static
        A static model of these summaries; distilled when it is needed and not given.
    embed
        The full model: texts and a model's name in, rows of length 1 out.
    """
    texts = dict(sessions.select("summary_digest", "summary").iter_rows())
    order = sessions["summary_digest"].to_list()
    if len(texts) <= settings.static_above:
        full = _teach(sorted(texts), texts, known or {}, settings, embed)
        return SessionVectors(_rows(order, full), full, None)
    full = known or {}
    if static is None:
        static, full = learn_static(sessions, settings, full, embed)
    quick = dict(zip(texts, embed_static(list(texts.values()), static), strict=True))
    top = _furthest(sessions, settings, _rows(order, quick))
    full = _teach(top, texts, full, settings, embed)
    # The sample's own vectors stay out: beside static ones they would look far away for being exact.
    return SessionVectors(_rows(order, quick | {digest: full[digest] for digest in top}), full, static)


def _teach(
    digests: Sequence[str], texts: dict[str, str], known: dict[str, Vectors], settings: SignalSettings, embed: Embed
) -> dict[str, Vectors]:
    """Return `known` (those of `texts`) and the full model's vectors of `digests`."""
    full = {digest: vector for digest, vector in known.items() if digest in texts}
    fresh = [digest for digest in dict.fromkeys(digests) if digest not in full]
    if fresh:
        full.update(zip(fresh, embed([texts[digest] for digest in fresh], settings.model), strict=True))
    return full


def sample_texts(texts: Sequence[str], n: int) -> list[str]:
    """Return about `n` of the distinct texts, drawn by their digests, and one more for each word that those would miss.

    The draw depends on nothing but the texts, whatever their order.
    """
    drawn = sorted(set(texts), key=text_digest)
    chosen, rest = drawn[:n], drawn[n:]
    covered = {word for text in chosen for word in _WORD.findall(text)}
    for text in rest:
        words = set(_WORD.findall(text))
        if not words <= covered:
            chosen.append(text)
            covered |= words
    return chosen


def save_static(static: StaticModel, path: str | Path) -> None:
    """Write a static model as plain arrays (npz, no pickle)."""
    with Path(path).open("wb") as handle:
        np.savez(handle, teacher=np.array(static.teacher), words=np.array(static.words), vectors=static.vectors)


def load_static(path: str | Path, digest: str | None = None) -> StaticModel:
    """Read a static model.

    Raises
    ------
    InputError
        When the file is missing or damaged, or its digest is not `digest`.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            static = StaticModel(str(stored["teacher"]), tuple(map(str, stored["words"])), stored["vectors"].astype(np.float32))
    except (OSError, ValueError, KeyError):
        raise InputError(f"no static model in '{path}'", "run again: it is distilled anew") from None
    if digest is not None and static.digest != digest:
        raise InputError(f"static model '{path}' has digest {static.digest[:12]}…, not {digest[:12]}…", "delete it: it is distilled anew")
    return static


def _items(text: str) -> list[str]:
    words = _WORD.findall(text)
    return [*words, *(f"{left}{_PAIR}{right}" for left, right in pairwise(words))]


def _rows(order: Sequence[str], vectors: dict[str, Vectors]) -> Vectors:
    return np.stack([vectors[digest] for digest in order]) if order else np.zeros((0, 0), dtype=np.float32)


def _furthest(sessions: pl.DataFrame, settings: SignalSettings, vectors: Vectors) -> list[str]:
    """Digests of the sessions that lie furthest from their past."""
    groups = peer_groups(sessions["actor_kind"].to_list(), sessions["cluster"].to_list(), settings.min_peers)
    start, end = (sessions[column].dt.epoch("us").to_numpy() for column in ("start", "end"))
    distance, _, _ = past_distance(vectors, identities(sessions), groups, start, end, settings.neighbours)
    top = np.argsort(-np.nan_to_num(distance, nan=-1.0), kind="stable")[: int(np.ceil(settings.full_share * sessions.height))]
    return list(dict.fromkeys(sessions["summary_digest"][top.tolist()].to_list()))
