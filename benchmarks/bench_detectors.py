"""Every detector beside trivial ones: incidents found when a share of the non-malicious sessions passes.

    python benchmarks/bench_detectors.py [RECORDING] [--out FILE.json]

RECORDING holds audit archives and a `labels.jsonl`; default is the sample in data/. The rules, predicates and weights were
made while looking at the development recording: figures on it are in-sample. Trivial detectors and the quick fusion look at
the whole batch at once, the library's own only at earlier time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import IsolationForest
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from audit_lab.evaluate import Evaluation, evaluate
from audit_lab.lab import Lab
from audit_lab.sessions import session_features
from audit_lab.signals import find_outliers, rank_cases
from audit_lab.signals.outliers import OUTLIERS

ROOT = Path(__file__).parent.parent
SENSITIVE = {
    "list:secrets": 3, "get:secrets": 2, "create:pods/exec": 3, "get:pods/exec": 3, "create:clusterrolebindings": 5,
    "create:rolebindings": 4, "create:clusterroles": 4, "patch:clusterroles": 4, "create:serviceaccounts/token": 4, "create:pods": 2,
    "create:daemonsets": 3, "create:cronjobs": 3, "get:nodes/proxy": 3, "update:certificatesigningrequests/approval": 5,
    "create:mutatingwebhookconfigurations": 5, "delete:events": 4, "patch:configmaps": 1,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", nargs="?", default=ROOT / "data", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(folder, profile="sample")
        lab.ingest(options.recording)
        lab.run()
        labels = next(path for path in (options.recording / "labels.jsonl", options.recording / "incidents.jsonl") if path.is_file())
        lab.label(labels)
        figures = compare(lab)
    print(table(figures))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1))


def compare(lab: Lab) -> dict[str, dict]:
    """Return the curve of every scorer."""
    result = evaluate_all(lab).as_dict()
    return {
        name: {"found": [point["found"] for point in curve], "n": curve[0]["n"], "of": curve[0]["of"]}
        for name, curve in result["curve"].items()
    }


def evaluate_all(lab: Lab) -> Evaluation:
    """Evaluate the library's scorers, trivial and well-known ones, the quick fusion, and the fused score without each part."""
    read = lab.store.read
    sessions, events, members, signals = read("sessions"), read("events"), read("session_events"), read("signals")
    scores = [read("scores")]
    case_ids = scores[0].select("case_id", "session_id").unique()

    def add(name: str, values: np.ndarray) -> None:
        ranks = pl.Series(values).rank("average") / max(len(values), 1)
        scores.append(pl.DataFrame({"session_id": sessions["session_id"], "detector_id": name, "score": ranks}).join(
            case_ids, on="session_id").select(scores[0].columns))

    for name, values in {**trivial(sessions, events, members), **whole_batch(lab)}.items():
        add(name, values)
    used = [name for name in OUTLIERS if name in lab.profile.signals.detectors]
    others = other_detectors(lab, [name for name in OUTLIERS if name not in used])
    parts = {f"fused without {name}": signals.filter(pl.col("detector_id") != name) for name in used}
    parts |= {f"fused with {name}": pl.concat([signals, part]) for name, part in others.items()}
    parts |= {"fused without rules": signals.filter(kind="outlier"), "fused without outliers": signals.filter(pl.col("kind") != "outlier")}
    for name, part in parts.items():
        fused = rank_cases(sessions, part, lab.profile.signals, read("stories")).scores
        scores.append(fused.filter(pl.col("detector_id") == "fused").with_columns(detector_id=pl.lit(name)))
    for name, part in others.items():
        alone = rank_cases(sessions, part, lab.profile.signals, read("stories")).scores
        scores.append(alone.filter(pl.col("detector_id") == name).with_columns(detector_id=pl.lit(f"{name} (off by default)")))
    return evaluate(
        sessions, members, events.select("event_id", "time"), read("incidents"), lab.standing_labels(), pl.concat(scores),
        read("candidates"), read("verdicts"), lab.profile.evaluate,
    )


def other_detectors(lab: Lab, names: list[str]) -> dict[str, pl.DataFrame]:
    """Run the outlier detectors that are off by default: the signals of each."""
    read = lab.store.read
    sessions, events, members = read("sessions"), read("events"), read("session_events")
    settings = lab.profile.signals.model_copy(update={"detectors": names})
    found = find_outliers(sessions, events, members, settings, _vectors(lab), session_features(events, members, sessions))
    return {name: found.filter(pl.col("detector_id") == name) for name in names if name in set(found["detector_id"])}


def _vectors(lab: Lab) -> np.ndarray | None:
    """The embeddings that the lab holds, a row per session; none where it has none."""
    held = lab.store.read("embeddings").filter(model=lab.profile.signals.model)
    placed = lab.store.read("sessions").select("summary_digest").join(held, on="summary_digest", how="left", maintain_order="left")
    return None if held.is_empty() or placed["vector"].null_count() else np.array(placed["vector"].to_list(), dtype=np.float32)


def trivial(sessions: pl.DataFrame, events: pl.DataFrame, members: pl.DataFrame) -> dict[str, np.ndarray]:
    """Detectors that know next to nothing."""
    actions = sessions.select("session_id", "start", action="actions").explode("action").sort("start")
    first = actions.with_columns(new=pl.col("action").is_first_distinct()).group_by("session_id").agg(pl.col("new").sum())
    new = sessions.select("session_id").join(first, on="session_id", how="left", maintain_order="left")["new"].fill_null(0)
    return {
        "trivial: all positive": np.zeros(sessions.height),
        "trivial: events": sessions["n_events"].to_numpy(),
        "trivial: length (distinct actions)": sessions["actions"].list.len().to_numpy(),
        "trivial: denials": sessions["n_denied"].to_numpy(),
        "trivial: new event type": new.to_numpy(),
    }


def whole_batch(lab: Lab) -> dict[str, np.ndarray]:
    """Well-known detectors fitted on the recording as it stands, and the rank fusion of four quick ones."""
    read = lab.store.read
    sessions, events, members = read("sessions"), read("events"), read("session_events")
    pair = pl.concat_str(pl.col("verb"), pl.lit(":"), pl.concat_str("resource", "subresource", separator="/", ignore_nulls=True))
    counts = events.join(members, on="event_id").with_columns(pair=pair.fill_null("call")).group_by("session_id", "pair").len()
    # In a fixed order: a decomposition depends on the order of its columns.
    counted = counts.sort("pair", "session_id").pivot(on="pair", index="session_id", values="len")
    wide = sessions.select("session_id").join(counted, on="session_id", how="left", maintain_order="left").fill_null(0)
    names, matrix = wide.columns[1:], wide.drop("session_id").to_numpy().astype(float)
    weights = np.array([SENSITIVE.get(name, 0) for name in names])
    platform = sessions["actor_kind"].is_in(["controller", "node"]).to_numpy()
    weighted = ((matrix > 0) @ weights) * np.where(platform, 0.2, 1.0)
    tfidf = TfidfTransformer(sublinear_tf=True).fit_transform(matrix)
    reduced = TruncatedSVD(min(20, len(names) - 1), random_state=0).fit_transform(tfidf)
    quick = {
        "quick: weights of verb and resource": weighted,
        "quick: IsolationForest": -IsolationForest(n_estimators=200, random_state=0).fit(
            np.hstack([reduced, np.log1p(matrix.sum(1, keepdims=True))])).score_samples(
            np.hstack([reduced, np.log1p(matrix.sum(1, keepdims=True))])),
        "quick: kNN distance": NearestNeighbors(n_neighbors=6).fit(reduced).kneighbors(reduced)[0][:, 1:].mean(1),
        "quick: five rarest actions": np.sort(np.where(matrix > 0, -np.log((matrix > 0).mean(0)), 0), axis=1)[:, -5:].sum(1),
    }
    ranks = [pl.Series(values).rank("average").to_numpy() for values in quick.values()]
    vectors = _vectors(lab)
    features = session_features(events, members, sessions).drop("session_id").fill_null(0).to_numpy()
    features = np.nan_to_num(np.sign(features) * np.log1p(np.abs(features)))
    logs = np.log1p(matrix)
    forest = IsolationForest(n_estimators=200, random_state=0).fit(features)
    known = {
        "whole batch: count vector, kNN": NearestNeighbors(n_neighbors=6).fit(logs).kneighbors(logs)[0][:, 1:].mean(1),
        "whole batch: IsolationForest on features": -forest.score_samples(features),
    }
    if vectors is not None:
        near = NearestNeighbors(n_neighbors=6, metric="cosine").fit(vectors)
        known |= {
            "whole batch: LOF on embeddings": -LocalOutlierFactor(10, metric="cosine").fit(vectors).negative_outlier_factor_,
            "whole batch: kNN on embeddings": near.kneighbors(vectors)[0][:, 1:].mean(1),
        }
    return {**quick, "quick: rank fusion of the four": np.mean(ranks, axis=0), **known}


def table(figures: dict[str, dict]) -> str:
    """Return the figures as a Markdown table."""
    first = next(iter(figures.values()))
    lines = [f"| scorer (of {first['n']} incidents; {first['of']} sessions are not malicious) | 1 % | 2 % | 5 % | 10 % | 20 % |",
             "|---|---|---|---|---|---|"]
    lines += [f"| {name} | " + " | ".join("-" if value is None else str(value) for value in figure["found"]) + " |"
              for name, figure in figures.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
