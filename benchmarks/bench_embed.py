"""Embedding 50,000 simulated sessions: the static model with the full one on top, against the full model for every session.

    python benchmarks/bench_embed.py [--sessions 50000] [--rate 1000] [--exact 4000]

Sessions are drawn from recorded ones: the sample's sessions with actions left out, counts changed, actions of peers mixed in, and one in
a hundred with the actions of somebody else. They prove speed and agreement, never accuracy. Encoding all of them with the full model
takes half an hour on two cores: its rate is measured on the first `--rate` sessions in the order they come, and agreement of the top 1 %
outliers on the first `--exact` (50000 for all of them). Distillation is reported apart.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from audit_lab.hashing import short_id, text_digest
from audit_lab.lab import Lab
from audit_lab.profile import SignalSettings
from audit_lab.sessions import summarize
from audit_lab.sessions.summary import Action
from audit_lab.signals import embed_summaries
from audit_lab.signals.embeddings import _load
from audit_lab.signals.outliers import identities
from audit_lab.signals.peers import past_distance, peer_groups
from audit_lab.signals.static import embed_sessions, learn_static
from audit_lab.vocabulary import action_token

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=50_000)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--exact", type=int, default=4_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    settings = SignalSettings(static_above=0)
    sessions = simulate(options.sessions)
    part = sessions.head(options.exact)
    embed_summaries(["warm up"])

    some = sessions["summary"].head(options.rate).to_list()
    _, plain_s, plain_cpu_s = clocked(lambda: plain(some))
    whole = sessions.height / len(some)
    (static, _), distillation_s, _ = clocked(lambda: learn_static(sessions, settings))
    made, embedding_s, embedding_cpu_s = clocked(lambda: embed_sessions(sessions, settings, static=static))

    exact = embed_summaries(part["summary"].to_list())
    known = dict(zip(part["summary_digest"], exact, strict=True))
    own, _ = learn_static(part, settings, known)
    mixed = embed_sessions(part, settings, known, own).vectors
    quick = embed_sessions(part, settings.model_copy(update={"full_share": 0.0}), known, own).vectors
    truth = distances(part, exact, settings)
    figures = {
        "sessions": sessions.height, "distinct_summaries": sessions["summary_digest"].n_unique(),
        "plain_texts_per_s": round(len(some) / plain_s, 1), "plain_s_for_all": round(plain_s * whole, 1),
        "distillation_s": round(distillation_s, 1), "embedding_s": round(embedding_s, 1), "full_model_texts": len(made.full),
        "ratio": round(plain_s * whole / embedding_s, 1), "ratio_of_cpu_time": round(plain_cpu_s * whole / embedding_cpu_s, 1),
        "compared_sessions": part.height,
        "top_1_percent_overlap": overlap(truth, distances(part, mixed, settings)),
        "top_1_percent_overlap_static_only": overlap(truth, distances(part, quick, settings)),
        "mean_cosine_static_to_full": round(float((quick * exact).sum(1).mean()), 4),
    }
    print(json.dumps(figures, indent=1))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1))


def clocked(work):
    """Return what `work` returns, the time it took, and the processor time: the fairer one on a machine that others use."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def plain(texts: list[str]) -> np.ndarray:
    """What one would write without us: every text, one call."""
    import torch

    torch.set_num_threads(2)
    return _load("all-MiniLM-L6-v2").encode(texts, normalize_embeddings=True, show_progress_bar=False)


def distances(sessions: pl.DataFrame, vectors: np.ndarray, settings: SignalSettings) -> np.ndarray:
    groups = peer_groups(sessions["actor_kind"].to_list(), sessions["cluster"].to_list(), settings.min_peers)
    start, end = (sessions[column].dt.epoch("us").to_numpy() for column in ("start", "end"))
    return past_distance(vectors, identities(sessions), groups, start, end, settings.neighbours)[0]


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
