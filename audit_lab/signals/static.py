"""A static model distilled from the full one: a vector per word and per pair of neighbouring words, averaged.

The closed vocabulary makes this work: a few hundred words fill all summaries, so the vectors that best reproduce the full
model's answers are one ridge regression on a sample (the idea of a static student is Model2Vec's, Tulkens and van Dongen, 2024;
fitting it on one's own texts, and pairs of words, are ours). It is two orders of magnitude faster. What lies furthest from its
past is then embedded with the full model (signals/bulk.py).
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy

from audit_lab.errors import InputError, MissingExtraError
from audit_lab.private import private_file
from audit_lab.signals.embeddings import Vectors

# How much vectors of rare words shrink towards the mean text: the one that does best on a fifth of the lesson, kept aside for it.
_RIDGES = (0.0001, 0.0003, 0.001, 0.003, 0.01)
_BATCH = 4096

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StaticModel:
    """What distillation leaves.

    `words` sorted; `pairs`, two places in `words` a row, sorted; `vectors`, float32, a row per word and then one per pair.
    """

    teacher: str
    words: tuple[str, ...]
    pairs: Whole
    vectors: Vectors

    @cached_property
    def digest(self) -> str:
        """SHA-256 of teacher, words, pairs and vectors."""
        made = hashlib.sha256("\n".join([self.teacher, *self.words]).encode())
        made.update(np.ascontiguousarray(self.pairs, dtype="<i8").tobytes())
        made.update(np.ascontiguousarray(self.vectors, dtype="<f4").tobytes())
        return made.hexdigest()

    def encoder(self) -> Any:
        """Return the model as a `sentence_transformers.SentenceTransformer`, which gives vectors of length 1 (0 where no word is known).

        Raises
        ------
        MissingExtraError
            When the extra 'embed' is not installed.
        """
        try:
            import torch  # noqa: PLC0415 - only with the extra
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415
            from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding  # noqa: PLC0415
            from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415
        except ImportError:
            raise MissingExtraError.for_extra("embeddings", "embed") from None
        words, pairs = self.words, self.pairs

        class WordsAndPairs(StaticEmbedding):
            """StaticEmbedding whose tokens are words and pairs of them, found with Polars: ten times as fast as a Python loop."""

            def preprocess(self, inputs: Any, prompt: str | None = None, **_: Any) -> dict[str, Any]:
                texts = [prompt + text for text in inputs] if prompt else inputs
                items, counts = _items(texts, words, pairs)
                return {"input_ids": torch.from_numpy(items), "offsets": torch.from_numpy(np.cumsum(counts) - counts)}

        tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token=words[0]))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return SentenceTransformer(modules=[WordsAndPairs(tokenizer, embedding_weights=self.vectors.copy()), Normalize()], device="cpu")


def distil_static(texts: Sequence[str], vectors: Vectors, teacher: str, *, with_pairs: bool = True) -> StaticModel:
    """Fit one vector per word and pair so that their mean comes close to the teacher's vector of the text.

    Parameters
    ----------
    texts, vectors
        Distinct texts and what the teacher makes of them, rows of length 1.
    teacher
        Name of the full model.
    with_pairs
        Whether pairs of neighbouring words get a vector too; without them the model is an ordinary bag of words.

    Raises
    ------
    InputError
        When there are no texts.
    """
    if not texts:
        raise InputError("no texts to distil a static model from", "ingest archives first")
    words = tuple(pl.Series(texts, dtype=pl.String).str.split(" ").explode().unique().sort().to_list())
    pairs = _common_pairs(texts, words) if with_pairs else np.zeros((0, 2), dtype=np.int64)
    items, counts = _items(texts, words, pairs)
    rows = np.repeat(np.arange(len(texts)), counts)
    shares = scipy.sparse.csr_matrix((1 / counts[rows], (rows, items)), shape=(len(texts), len(words) + len(pairs)))
    taught = np.arange(len(texts)) % 5 > 0
    ridge = _RIDGES[len(_RIDGES) // 2]
    if taught.any():
        tried = {ridge: _agreement(shares[~taught] @ _fit(shares[taught], vectors[taught], ridge), vectors[~taught]) for ridge in _RIDGES}
        ridge = max(tried, key=lambda each: (round(tried[each], 6), each))
    return StaticModel(teacher, words, pairs, _fit(shares, vectors, ridge).astype(np.float32))


def _fit(shares: Any, vectors: Vectors, ridge: float) -> npt.NDArray[np.float64]:
    """Ridge regression of vectors on shares of items, by whichever of its two equal forms has the smaller matrix to solve."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    wanted = vectors - mean
    if shares.shape[1] <= shares.shape[0]:
        fitted = scipy.linalg.solve(_ridged(shares.T @ shares, ridge), shares.T @ wanted, assume_a="pos")
    else:
        fitted = shares.T @ scipy.linalg.solve(_ridged(shares @ shares.T, ridge), wanted, assume_a="pos")
    # Shares sum to one, so the mean text can be part of every word.
    made: npt.NDArray[np.float64] = fitted + mean
    return made


def _ridged(gram: Any, ridge: float) -> npt.NDArray[np.float64]:
    dense: npt.NDArray[np.float64] = gram.toarray()
    dense[np.diag_indices_from(dense)] += ridge
    return dense


def _agreement(made: npt.NDArray[np.float64], wanted: Vectors) -> float:
    """Mean cosine of rows."""
    length = np.maximum(np.linalg.norm(made, axis=1), 1e-12)
    return float(((made * wanted).sum(axis=1) / length).mean())


def embed_static(texts: Sequence[str], static: StaticModel) -> Vectors:
    """Return one vector of length 1 per text, by the mean of its words' and pairs' vectors; 0 where no word is known.

    Raises
    ------
    MissingExtraError
        When the extra 'embed' is not installed.
    """
    encoder = static.encoder()
    if not texts:
        return np.zeros((0, static.vectors.shape[1]), dtype=np.float32)
    made: Any = encoder.encode(list(texts), batch_size=_BATCH, convert_to_numpy=True, show_progress_bar=False)
    return np.asarray(made, dtype=np.float32)


def knows_all(texts: Sequence[str], static: StaticModel) -> npt.NDArray[np.bool_]:
    """Say of each text whether the static model knows every word of it: what it does not know, it does not see."""
    places, rows = _split(texts, static.words)
    known = np.ones(len(texts), dtype=np.bool_)
    known[rows[places < 0]] = False
    return known


def save_static(static: StaticModel, path: str | Path) -> None:
    """Write a static model as plain arrays (npz, no pickle)."""
    with private_file(Path(path)).open("wb") as handle:
        np.savez(handle, teacher=np.array(static.teacher), words=np.array(static.words), pairs=static.pairs, vectors=static.vectors)


def load_static(path: str | Path, digest: str | None = None) -> StaticModel:
    """Read a static model.

    Raises
    ------
    InputError
        When the file is missing or damaged, or its digest is not `digest`.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            words = tuple(map(str, stored["words"]))
            static = StaticModel(str(stored["teacher"]), words, stored["pairs"].astype(np.int64), stored["vectors"].astype(np.float32))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise InputError(f"no static model in '{path}'", "delete it and run again: it is distilled anew") from None
    if digest is not None and static.digest != digest:
        raise InputError(f"static model '{path}' has digest {static.digest[:12]}…, not {digest[:12]}…", "delete it: it is distilled anew")
    return static


def _split(texts: Sequence[str], words: tuple[str, ...]) -> tuple[Whole, Whole]:
    """Return the place in `words` of each word of all texts, one after the other (-1 where unknown), and the text it is from."""
    split = pl.Series(texts, dtype=pl.String).str.split(" ")
    places = split.explode().replace_strict(
        pl.Series(words, dtype=pl.String), pl.Series(range(len(words)), dtype=pl.Int64), default=-1, return_dtype=pl.Int64
    )
    return places.to_numpy(), np.repeat(np.arange(len(texts), dtype=np.int64), split.list.len().to_numpy())


def _codes(places: Whole, rows: Whole, n_words: int) -> Whole:
    """One number for each word and the next one; -1 where one is unknown or the text ends."""
    follows = (rows[1:] == rows[:-1]) & (places[1:] >= 0) & (places[:-1] >= 0)
    return np.append(np.where(follows, places[:-1] * n_words + places[1:], -1), -1)


def _common_pairs(texts: Sequence[str], words: tuple[str, ...]) -> Whole:
    """The pairs that more than one text has: one that occurs once says nothing that its words do not."""
    places, rows = _split(texts, words)
    codes = _codes(places, rows, len(words))
    found = codes >= 0
    seen = np.unique(np.stack([codes[found], rows[found]], axis=1), axis=0)[:, 0]
    common, n = np.unique(seen, return_counts=True)
    return np.stack(np.divmod(common[n > 1], len(words)), axis=1).astype(np.int64)


def _items(texts: Sequence[str], words: tuple[str, ...], pairs: Whole) -> tuple[Whole, Whole]:
    """Return the rows of a static model's vectors that each text is the mean of, one text after the other, and how many each has."""
    places, rows = _split(texts, words)
    items = np.full(2 * len(places), -1, dtype=np.int64)
    items[0::2] = places
    if len(pairs):
        known = pairs[:, 0] * len(words) + pairs[:, 1]
        codes = _codes(places, rows, len(words))
        at = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        items[1::2] = np.where(known[at] == codes, len(words) + at, -1)
    found = items >= 0
    return items[found], np.bincount(np.repeat(rows, 2)[found], minlength=len(texts)).astype(np.int64)
