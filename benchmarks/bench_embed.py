"""Embedding 50,000 simulated sessions: the static model with the full one on top, against the full model for every session.

    python benchmarks/bench_embed.py [--sessions 50000] [--rate 2000] [--seed 1] [--vectors FILE] [--peers]

Sessions are drawn from recorded ones: the sample's sessions with actions left out, counts changed, actions of peers mixed in, and one in
a hundred with the actions of somebody else. They prove speed and agreement, never accuracy.

Plain is `SentenceTransformer.encode` in one call over all summaries. That takes a quarter of an hour on two idle cores, so its rate is
measured on `--rate` sessions drawn evenly, half before and half after ours, because others may use the machine (0: on all of them).
Agreement is always that of all sessions: the truth is the ranking by the full model's float32 vectors for every summary (`--vectors` keeps
them between runs). Ours gets nothing but the static model: no vector that distillation made is reused. Distillation is reported apart.
Ours runs a second time with the full model in float32, between the halves of plain too. Sessions are drawn alike and independently, so
`p_at_most` shows whether p-values of the distances keep what they promise: the share of p ≤ a, for exact, mixed and static vectors.
`--peers` adds other static models: words alone, and what model2vec distils (pip install 'model2vec[distill]').
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import polars as pl

from audit_lab.hashing import short_id, text_digest
from audit_lab.lab import Lab
from audit_lab.profile import SignalSettings
from audit_lab.sessions import summarize
from audit_lab.sessions.summary import Action
from audit_lab.signals import embed_summaries
from audit_lab.signals.bulk import SAMPLE, embed_sessions, learn_static, sample_texts
from audit_lab.signals.circles import peers_of, selves_of
from audit_lab.signals.distances import Exact, past_distance
from audit_lab.signals.embeddings import _load, model_folder
from audit_lab.signals.peers import conformal_p_values
from audit_lab.signals.static import distil_static, embed_static
from audit_lab.vocabulary import action_token

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=50_000)
    parser.add_argument("--rate", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    settings = SignalSettings(static_above=0)
    sessions = simulate(options.sessions, options.seed)
    summaries = sessions["summary"].to_list()
    embed_summaries(["warm up"])
    embed_summaries(["warm up"], precision="bfloat16")
    plain(["warm up"])

    (static, _), distillation_s, distillation_cpu_s = clocked(lambda: learn_static(sessions, settings))
    some = summaries[:: max(1, len(summaries) // options.rate)] if options.rate else summaries
    halves = [some[0::2], some[1::2]] if options.rate else [some]
    plains = [clocked(lambda: plain(halves[0]))[1:]]
    made, embedding_s, embedding_cpu_s = clocked(lambda: embed_sessions(sessions, settings, static=static))
    whole_digits = settings.model_copy(update={"full_precision": "float32"})
    longer, longer_s, longer_cpu_s = clocked(lambda: embed_sessions(sessions, whole_digits, static=static))
    plains += [clocked(lambda half=half: plain(half))[1:] for half in halves[1:]]
    whole = sessions.height / sum(map(len, halves))
    plain_s, plain_cpu_s = (whole * sum(times) for times in zip(*plains, strict=True))

    exact = full_vectors(sessions, options.vectors)
    quick = embed_static(summaries, static)
    truth, ours = distances(sessions, exact, settings), distances(sessions, made.vectors, settings, made.exact)
    shift = ours - truth
    line = np.nanquantile(truth, 0.99)
    figures = {
        "sessions": sessions.height, "distinct_summaries": sessions["summary_digest"].n_unique(),
        "plain_texts_per_s": round(sessions.height / plain_s, 1), "plain_texts_per_cpu_s": round(sessions.height / plain_cpu_s, 1),
        "distillation_s": round(distillation_s, 1), "distillation_cpu_s": round(distillation_cpu_s, 1),
        "embedding_s": round(embedding_s, 1), "embedding_cpu_s": round(embedding_cpu_s, 1), "full_model_texts": len(made.full),
        "ratio": round(plain_s / embedding_s, 1), "ratio_of_cpu_time": round(plain_cpu_s / embedding_cpu_s, 1),
        "float32_embedding_s": round(longer_s, 1), "float32_ratio": round(plain_s / longer_s, 1),
        "float32_ratio_of_cpu_time": round(plain_cpu_s / longer_cpu_s, 1),
        "float32_top_1_percent_overlap": overlap(truth, distances(sessions, longer.vectors, settings, longer.exact)),
        "measured_again": int(made.exact.asked.sum()), "top_1_percent_overlap": overlap(truth, ours),
        "top_1_percent_overlap_static_only": overlap(truth, distances(sessions, quick, settings)),
        "distance_shift_of_the_top_1_percent": round(float(np.nanmean(shift[truth >= line])), 4),
        "distance_shift_of_the_others": round(float(np.nanmean(shift[truth < line])), 4),
        "static_mean_cosine_to_full": round(float((quick * exact).sum(1).mean()), 4),
    }
    figures["p_at_most"] = {
        name: p_at_most(sessions, values, settings)
        for name, values in {"exact": truth, "ours": ours, "static": distances(sessions, quick, settings)}.items()
    }
    if options.peers:
        figures["other_static_models"] = others(sessions, exact, truth, settings)
    print(json.dumps(figures, indent=1))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1))


def full_vectors(sessions: pl.DataFrame, kept: Path | None) -> np.ndarray:
    """The full model's float32 vector of every session; each summary once, for the truth needs no clock."""
    texts = sessions.select("summary_digest", "summary").unique("summary_digest").sort("summary_digest")
    digests = texts["summary_digest"].to_list()
    if kept and kept.is_file():
        with np.load(kept, allow_pickle=False) as stored:
            known = dict(zip(map(str, stored["digests"]), stored["vectors"], strict=True))
    else:
        known = dict(zip(digests, embed_summaries(texts["summary"].to_list()), strict=True))
        if kept:
            np.savez(kept, digests=np.array(digests), vectors=np.stack([known[digest] for digest in digests]))
    return np.stack([known[digest] for digest in sessions["summary_digest"]])


def others(sessions: pl.DataFrame, exact: np.ndarray, truth: np.ndarray, settings: SignalSettings) -> dict[str, dict[str, float]]:
    """Static models that one would otherwise take, on the same sessions."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    summaries = sessions["summary"].to_list()
    where = {text: place for place, text in enumerate(summaries)}
    lesson = sample_texts(list(where), SAMPLE)
    words = distil_static(lesson, exact[[where[text] for text in lesson]], "words", with_pairs=False)
    ready = StaticEmbedding.from_distillation(str(model_folder()), device="cpu", pca_dims=None)
    known = SentenceTransformer(modules=[ready], device="cpu").encode(summaries, normalize_embeddings=True, show_progress_bar=False)
    return {
        name: {
            "mean_cosine_to_full": round(float((vectors * exact).sum(1).mean()), 4) if vectors.shape == exact.shape else None,
            "top_1_percent_overlap": overlap(truth, distances(sessions, vectors, settings)),
        }
        for name, vectors in {"ridge, words alone": embed_static(summaries, words), "model2vec": known}.items()
    }


def clocked(work):
    """Return what `work` returns, the time it took, and the processor time: the fairer one on a machine that others use."""
    wall, cpu = perf_counter(), process_time()
    result = work()
    return result, perf_counter() - wall, process_time() - cpu


def plain(texts: list[str]) -> np.ndarray:
    """What one would write without us: every text, one call."""
    import torch

    torch.set_num_threads(2)
    return _load("all-MiniLM-L6-v2").encode(texts, normalize_embeddings=True, show_progress_bar=False)


def distances(sessions: pl.DataFrame, vectors: np.ndarray, settings: SignalSettings, exact: Exact | None = None) -> np.ndarray:
    return past_distance(vectors, selves_of(sessions), peers_of(sessions, settings.min_peers), settings.neighbours, exact).distance


def p_at_most(sessions: pl.DataFrame, scores: np.ndarray, settings: SignalSettings) -> dict[str, float]:
    """Share of sessions whose conformal p-value is at most so high: at most as much, if all is well."""
    p_value = conformal_p_values(scores, peers_of(sessions, settings.min_peers), settings.min_peers).p_value
    return {str(level): round(float(np.mean(p_value[~np.isnan(p_value)] <= level)), 4) for level in (0.01, 0.05, 0.1, 0.2)}


def overlap(truth: np.ndarray, other: np.ndarray) -> float:
    """Share of the top 1 % that both agree on."""
    k = max(1, len(truth) // 100)
    tops = [set(np.argsort(-np.nan_to_num(values, nan=-1.0), kind="stable")[:k].tolist()) for values in (truth, other)]
    return round(len(tops[0] & tops[1]) / k, 3)


def simulate(n: int, seed: int = 1) -> pl.DataFrame:
    """Return `n` sessions in order of time, with the columns that embedding and distances need."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(folder, profile="sample")
        lab.ingest(ROOT / "data")
        lab.run(until="sessions")
        recorded = lab.store.read("sessions")
        actions = (
            lab.store.read("events").select("event_id", "time", "status", action_token())
            .join(lab.store.read("session_events"), on="event_id").sort("time", "event_id")
            .group_by("session_id", "action", maintain_order=True).agg(n=pl.len(), n_denied=(pl.col("status") == 403).sum())
        )
    did: dict[str, list[tuple[str, int, int]]] = {}
    for session_id, action, count, n_denied in actions.select("session_id", "action", "n", "n_denied").iter_rows():
        did.setdefault(session_id, []).append((action, count, n_denied))
    rows = recorded.to_dicts()
    same_kind: dict[str, list[dict]] = {}
    for row in rows:
        same_kind.setdefault(row["actor_kind"], []).append(row)
    draw = np.random.default_rng(seed)
    made = []
    for number in range(n):
        row = {**rows[draw.integers(len(rows))], "is_known_user": True}
        mine = [(action, max(1, round(count * draw.lognormal(0, 0.5))), denied) for action, count, denied in did[row["session_id"]]
                if draw.random() > 0.1]
        if draw.random() < 0.3:
            peer = did[same_kind[row["actor_kind"]][draw.integers(len(same_kind[row["actor_kind"]]))]["session_id"]]
            mine.append(peer[draw.integers(len(peer))])
        if draw.random() < 0.01:
            mine += did[rows[draw.integers(len(rows))]["session_id"]][:6]
        summary = summarize(row, [Action(action, count, min(denied, count), bool(draw.random() < 0.02), False)
                                  for action, count, denied in mine])
        start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=30 * number)
        made.append({
            "session_id": short_id("s", number), "cluster": "c", "actor_kind": row["actor_kind"], "user": row["user"], "start": start,
            "end": start + timedelta(seconds=20), "summary": summary, "summary_digest": text_digest(summary),
        })
    return pl.DataFrame(made)


if __name__ == "__main__":
    main()
