"""Write docs/reductions.md: `python tools/make_reductions.py [FOLDER]` (a recording with labels.jsonl; default: the sample in data/).

For each reduction: how many distinct values there are before and after, and how well sessions of malicious incidents are told from the
others by one score made of nothing else. Not fast and not part of the product: it answers whether a reduction is worth it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import rankdata

from audit_lab import Lab
from audit_lab.classes import capability_class, command_classes, grant_classes, host_path_class, image_classes, map_distinct
from audit_lab.review import label_sessions, read_incidents
from audit_lab.review.labels import session_classes
from audit_lab.sessions.actors import add_teams
from audit_lab.sessions.build import with_actions
from audit_lab.sessions.cardinality import DistinctSketch, agent_stem, hash_tokens, min_hash, uri_template, workload_stem
from audit_lab.sessions.habits import network
from audit_lab.sessions.novelty import rarity

ROOT = Path(__file__).parent.parent
BOOTSTRAP = 500
SEED = 7
NEIGHBOURS = 5
MIN_REFERENCES = 10
Floats = npt.NDArray[np.float64]


class Recording(NamedTuple):
    """What is measured on."""

    events: pl.DataFrame      # events with session_id, action, team
    sessions: pl.DataFrame    # one row per session, with team
    malicious: npt.NDArray[np.bool_]
    draws: list[npt.NDArray[np.int64]]  # resamples of actors, as rows of sessions


def read_recording(folder: Path) -> Recording:
    """Ingest a folder into a throw-away lab, build sessions, and mark the malicious ones."""
    with tempfile.TemporaryDirectory() as place:
        lab = Lab(place, profile="sample")
        lab.ingest(folder)
        lab.run(until="sessions")
        events, sessions, held = (getattr(lab, name).collect() for name in ("events", "sessions", "session_events"))
    labels = label_sessions(read_incidents(folder / "labels.jsonl"), sessions, held, events)
    classes = session_classes(labels)
    bad = set(classes.filter(pl.col("verdict") == "malicious")["session_id"])
    rows = add_teams(with_actions(events, held, [name for name in events.columns if name != "event_id"]))
    teams = rows.group_by("session_id").agg(pl.col("team").first())
    sessions = sessions.join(teams, on="session_id", how="left", maintain_order="left")
    users = sessions.select(pl.struct("cluster", "user").rank("dense"))["cluster"].to_numpy()
    groups = [np.flatnonzero(users == user) for user in np.unique(users)]
    random = np.random.default_rng(SEED)
    draws = [np.concatenate([groups[place] for place in random.integers(0, len(groups), len(groups))]) for _ in range(BOOTSTRAP)]
    malicious = sessions.select(pl.col("session_id").is_in(sorted(bad)))["session_id"].to_numpy()
    return Recording(rows, sessions, malicious, draws)


def auc(scores: Floats, malicious: npt.NDArray[np.bool_]) -> float:
    """Return the chance that a malicious session scores higher than another one; ties count half."""
    n_bad, n_rest = int(malicious.sum()), int((~malicious).sum())
    if not n_bad or not n_rest:
        return float("nan")
    return float((rankdata(scores)[malicious].sum() - n_bad * (n_bad + 1) / 2) / (n_bad * n_rest))


def novelty_score(recording: Recording, value: pl.Expr, circle: Sequence[str] = ("actor_kind",)) -> tuple[int, Floats]:
    """Return the number of distinct values and, per session, the bits of the most unusual one (0 where nothing can be said)."""
    values = recording.events.select("session_id", "time", value.alias("item"))
    if values["item"].dtype == pl.List(pl.String):
        values = values.explode("item")
    shown = values.drop_nulls("item").group_by("session_id", "item").agg(first_time=pl.col("time").min())
    bits = rarity(shown, recording.sessions, "item", circle).group_by("session_id").agg(pl.col("user_bits").max())
    scores = recording.sessions.select("session_id").join(bits, on="session_id", how="left", maintain_order="left")["user_bits"]
    return shown["item"].n_unique(), scores.fill_null(0).to_numpy()


def distance_score(recording: Recording, encode: Callable[[list[list[str]]], Floats]) -> tuple[int, Floats]:
    """Return the number of columns and the mean distance to the nearest earlier sessions of the same kind."""
    vectors = encode(recording.sessions["actions"].to_list())
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.where(norms > 0, norms, 1)
    kinds, start, end = (recording.sessions[name].to_numpy() for name in ("actor_kind", "start", "end"))
    scores = np.zeros(len(vectors))
    for place in range(len(vectors)):
        past = np.flatnonzero((kinds == kinds[place]) & (end < start[place]))
        if len(past) >= MIN_REFERENCES:
            scores[place] = np.sort(1 - vectors[past] @ vectors[place])[:NEIGHBOURS].mean()
    return vectors.shape[1], scores


def signature_score(recording: Recording, columns: int) -> tuple[int, Floats]:
    """The same with MinHash signatures: the distance is the share of columns that differ."""
    signatures = min_hash(recording.sessions["actions"].to_list(), columns)
    kinds, start, end = (recording.sessions[name].to_numpy() for name in ("actor_kind", "start", "end"))
    scores = np.zeros(len(signatures))
    for place in range(len(signatures)):
        past = np.flatnonzero((kinds == kinds[place]) & (end < start[place]))
        if len(past) >= MIN_REFERENCES:
            scores[place] = np.sort((signatures[past] != signatures[place]).mean(axis=1))[:NEIGHBOURS].mean()
    return columns, scores


def row(recording: Recording, what: str, before: tuple[int, Floats], after: tuple[int, Floats], how: str) -> str:
    """Return one line of the table: values before and after, the two areas under the curve, and the difference with its interval."""
    first, second = auc(before[1], recording.malicious), auc(after[1], recording.malicious)
    differences = [
        auc(after[1][draw], recording.malicious[draw]) - auc(before[1][draw], recording.malicious[draw]) for draw in recording.draws
    ]
    low, high = np.nanpercentile(differences, [2.5, 97.5])
    counts = f"{before[0]:,} | {after[0]:,}"
    return f"| {what} | {how} | {counts} | {first:.3f} | {second:.3f} | {second - first:+.3f} ({low:+.3f} to {high:+.3f}) |\n"


def _classes(column: str, function: Callable[[str], list[str]]) -> pl.Expr:
    def apply(values: pl.Series) -> pl.Series:
        known: dict[tuple[str, ...], list[str]] = {}
        found = []
        for texts in values.to_list():
            key = tuple(texts or ())
            if key not in known:
                known[key] = sorted({word for text in key for word in function(text)})
            found.append(known[key])
        return pl.Series(found, dtype=pl.List(pl.String))

    return pl.col(column).map_batches(apply, return_dtype=pl.List(pl.String))


def one_hot(actions: list[list[str]]) -> Floats:
    """Return a column per distinct action: what the encoders are compared with."""
    words = sorted({action for session in actions for action in session})
    place = {word: index for index, word in enumerate(words)}
    vectors = np.zeros((len(actions), len(words)))
    for index, session in enumerate(actions):
        vectors[index, [place[action] for action in session]] = 1
    return vectors


def page(recording: Recording, name: str) -> str:
    """Return the text of docs/reductions.md."""
    def novelty(value: pl.Expr, circle: Sequence[str] = ("actor_kind",)) -> tuple[int, Floats]:
        return novelty_score(recording, value, circle)

    request = pl.concat_str([pl.col(part).fill_null("") for part in ("verb", "api_group", "resource", "subresource", "namespace", "name")],
                            separator="|")
    template = pl.col("uri").map_batches(lambda values: map_distinct(values, uri_template, pl.String), return_dtype=pl.String)
    place = pl.concat_str([pl.col("resource"), pl.col("namespace").fill_null("")], separator="/")
    named = pl.concat_str([place, pl.col("name")], separator="/")
    stemmed = pl.concat_str([place, workload_stem(pl.col("name"), pl.col("resource"))], separator="/")
    agent, address = novelty(pl.col("user_agent")), novelty(pl.col("source_ip"))
    actions = novelty(pl.col("action"))
    hot = distance_score(recording, one_hot)
    lines = [
        row(recording, "user agents", agent, novelty(agent_stem(pl.col("user_agent"))), "programs, without versions"),
        row(recording, "user agents", agent, novelty(pl.col("client_family")), "client families"),
        row(recording, "source addresses", address, novelty(network(pl.col("source_ip"))), "networks (/24, /64)"),
        row(recording, "source addresses", address, novelty(pl.col("source_class")), "source classes"),
        row(recording, "names of objects", novelty(named), novelty(stemmed), "workload stems"),
        row(recording, "request URIs", novelty(pl.col("uri")), novelty(template), "URI templates"),
        row(recording, "requests (verb to name)", novelty(request), actions, "action tokens"),
        row(recording, "peers: users of a kind", actions, novelty(pl.col("action"), ["actor_kind", "team"]), "peers: the team"),
        row(recording, "command lines", novelty(pl.col("commands")), novelty(_classes("commands", command_classes)), "command classes"),
        row(recording, "images", novelty(pl.col("images")), novelty(_classes("images", image_classes)), "image classes"),
        row(recording, "host paths", novelty(pl.col("host_paths")),
            novelty(_classes("host_paths", lambda text: [host_path_class(text)])), "host path classes"),
        row(recording, "capabilities", novelty(pl.col("capabilities")),
            novelty(_classes("capabilities", lambda text: [capability_class(text)])), "capability classes"),
        row(recording, "granted rules", novelty(pl.col("granted")), novelty(_classes("granted", grant_classes)), "grant classes"),
        row(recording, "action sets, one-hot", hot, distance_score(recording, lambda sets: hash_tokens(sets, 256)), "256 hashed columns"),
        row(recording, "action sets, one-hot", hot, distance_score(recording, lambda sets: hash_tokens(sets, 64)), "64 hashed columns"),
        row(recording, "action sets, one-hot", hot, signature_score(recording, 64), "64 MinHash columns"),
    ]
    n_bad, n = int(recording.malicious.sum()), len(recording.malicious)
    return "".join([
        "# Reductions: what strings become, and what that costs\n\nGenerated by `tools/make_reductions.py`; do not edit.\n\n",
        f"Measured on the recording `{name}`: {recording.events.height:,} events, {n} sessions, {n_bad} of them of malicious ",
        f"incidents, {recording.sessions['user'].n_unique()} users. In-sample: nothing is fitted to labels, but the reductions were ",
        "chosen knowing such recordings.\n\nThe score behind an area under the ROC curve (0.5 is chance) is the rarity of the most ",
        "unusual value that a session shows, for its user with back-off to peers of the same kind, from the past only ",
        f"(`sessions/novelty.py`); for sets, the mean distance to the {NEIGHBOURS} nearest earlier sessions of the same kind. It shows ",
        "what a representation keeps, not how good detection is: that takes all signals together. The interval of the difference is ",
        f"the middle 95 % of {BOOTSTRAP} resamples of users; where it holds 0, the recording cannot tell.\n\n",
        "| what | becomes | values before | after | area before | after | difference (95 %) |\n|---|---|---|---|---|---|---|\n",
        *lines, "\n", _sketches(recording),
    ])


def _sketches(recording: Recording) -> str:
    lines = ["## Distinct counts\n\nCounted by sketches of 1,024 hashes (8 KiB each, mergeable), against the exact number.\n\n",
             "| what | exact | sketch |\n|---|---|---|\n"]
    for column in ("event_id", "uri", "name", "user_agent", "source_ip", "user"):
        values = recording.events[column].drop_nulls()
        lines.append(f"| `{column}` | {values.n_unique():,} | {DistinctSketch.of(values.unique().to_list()).count():,} |\n")
    return "".join(lines)


def main() -> None:
    """Write the page."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "data"
    text = page(read_recording(folder), folder.name)
    (ROOT / "docs" / "reductions.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
