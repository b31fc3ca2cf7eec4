"""Which planted changes does the drift watch find, how late, and how often does it cry wolf?

    python -m benchmarks.drift_months [--seeds 2] [--null-seeds 8] [--folder DIR]

Simulates two months (four weeks of reference, four that are watched) out of the sample: months without any change, and months with one
change each that begins on the Wednesday of the sixth week. Every simulated archive goes through the whole chain (ingest, sessions, rules,
outliers, baseline judge). What the simulator cannot plant is planted in the tables of the months without change: a rule that begins to
fire on everything, summaries that move, a judge whose scores move, reviewers who begin to contradict the verdicts.

Prints one JSON object, and docs/drift.md's tables. With --folder the labs are kept there and used again. It takes about half an hour, so
`make bench` leaves it out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from audit_lab import Lab, load_profile
from audit_lab.drifting import judged_cases, session_vectors
from audit_lab.evaluate import count_drift, drift_periods, error_changes
from audit_lab.holdings import standing_labels
from audit_lab.review import session_classes
from audit_lab.simulate import Drift, match_sessions, read_truth, simulate

SAMPLE = Path(__file__).parent.parent / "data"
DAYS, PER_DAY = 56, 1500
START = datetime(2027, 1, 4, tzinfo=UTC)
PLANTED = 37  # a Wednesday, in the second watched week
WHEN = START + timedelta(days=PLANTED)
UPGRADED = "kubectl/v1.34.2 (linux/amd64) kubernetes/0a1b2c3"
# What is planted in the archives, and where it has to show.
SIMULATED: dict[str, tuple[Drift, tuple[str, ...]]] = {
    "a new team": (Drift("new_team", PLANTED), ("actors",)),
    "a new operator": (Drift("new_operator", PLANTED), ("actors", "schema")),
    "half of the people use a new client": (Drift("new_client", PLANTED), ("clients",)),
    "client upgrade (version only)": (Drift("new_client", PLANTED, share=0.8, agent=UPGRADED), ("clients",)),
    "one actor does four times as much": (Drift("volume", PLANTED), ("actors",)),
    "a new top-level key": (Drift("new_key", PLANTED), ("schema",)),
    "attacks six times as frequent": (Drift("attacks", PLANTED, factor=6.0), ("labels",)),
}
REVIEWED_PER_DAY = 6
WRONG, WRONGER = 0.05, 0.30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--null-seeds", type=int, default=8)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.folder or Path(folder)
        quiet = [Month(make_lab(home, None, seed), seed) for seed in range(1, arguments.null_seeds + 1)]
        rows = [assess(name, families, Month(make_lab(home, name, seed), seed))
                for seed in range(1, arguments.seeds + 1) for name, (_, families) in SIMULATED.items()]
        rows += [assess(name, families, month, plant) for name, (plant, families) in IN_TABLES.items() for month in quiet]
        nulls = [null_month(month, by) for by in ("week", "day") for month in quiet]
    found = pl.DataFrame(rows)
    print(json.dumps({"planted": rows, "null": nulls}, indent=1))
    print(markdown(found, nulls))


def make_lab(home: Path, planted: str | None, seed: int) -> Path:
    """Simulate two months, run the chain, keep the lab and the truth, drop the archives; nothing is done twice."""
    name = f"{'null' if planted is None else planted.replace(' ', '-')}-{seed}"
    root = home / name
    if (root / "sessions.jsonl").is_file():
        return root
    raw = home / f"{name}.raw"
    shutil.rmtree(raw, ignore_errors=True)
    drifts = () if planted is None else (SIMULATED[planted][0],)
    # One span: with several the templates change from span to span, and that would be a change nobody planted.
    simulate(SAMPLE, raw, days=DAYS, events=DAYS * PER_DAY, seed=seed, start=START.date(), spans={"all": 1.0}, drifts=drifts,
             max_session_events=40, prevalence=0.02)
    lab = Lab(root / "lab", "default")
    lab.ingest(raw / "archives")
    lab.run()
    lab.label(raw / "incidents.jsonl")
    shutil.copy(raw / "sessions.jsonl", root / "sessions.jsonl")
    shutil.rmtree(raw)
    print(f"made {name}", flush=True)
    return root


class Month:
    """The tables of one simulated lab that drift looks at; a plant may change them."""

    def __init__(self, root: Path, seed: int) -> None:
        self.lab, self.rng = Lab(root / "lab"), np.random.default_rng(seed)
        store, self.profile = self.lab.store, load_profile("default")
        self.sessions = store.read("sessions").sort("start", "session_id")
        self.signals, self.scores, self.archives = (store.read(name) for name in ("signals", "scores", "archives"))
        self.labelled = session_classes(standing_labels(store))
        self.vectors, self.why = session_vectors(store, self.profile, self.sessions)
        self.judged = judged_cases(store, self.profile.evaluate)
        truth = match_sessions(read_truth(root), store.read("session_events")).filter(pl.col("kind") == "malicious")
        self.malicious = set(truth["session_id"].drop_nulls())

    def late(self, frame: pl.DataFrame) -> np.ndarray:
        return (frame["start"] >= WHEN).to_numpy()

    def drift(self, by: str = "week") -> pl.DataFrame:
        every = "1d" if by == "week" else "1h"
        counts = count_drift(self.lab.events, self.sessions, self.signals, self.scores, self.archives, self.judged, self.labelled,
                             self.vectors, every, self.why)
        return pl.concat([drift_periods(counts, self.profile.drift, by), error_changes(self.judged, by, self.profile.drift)])


def noisy_rule(month: Month) -> None:
    """A rule that fired rarely fires on a tenth of all sessions."""
    counted = month.signals.filter(pl.col("kind") == "rule")["detector_id"].value_counts(sort=True)
    rule = counted["detector_id"][counted.height // 2]
    late = month.sessions.filter(pl.Series(month.late(month.sessions) & (month.rng.random(month.sessions.height) < 0.1)))
    like = month.signals.filter(pl.col("detector_id") == rule).head(1).drop("session_id")
    month.signals = pl.concat([
        month.signals, late.select("session_id").join(like, how="cross").select(month.signals.columns)
    ]).unique(["session_id", "detector_id"], keep="first")


def moved_summaries(month: Month) -> None:
    """Half of the sessions are summed up as sessions that run commands in pods are."""
    like = np.flatnonzero((month.sessions["n_exec"] > 0).to_numpy())
    moved = np.flatnonzero(month.late(month.sessions) & (month.rng.random(month.sessions.height) < 0.5))
    if month.vectors is not None:
        month.vectors = month.vectors.copy()
        month.vectors[moved] = month.vectors[month.rng.choice(like, moved.size)]


def harsher_judge(month: Month) -> None:
    """A judge gives every case 0.15 more."""
    late = pl.Series(month.late(month.judged))
    month.judged = month.judged.with_columns(score=pl.when(late).then((pl.col("score") + 0.15).clip(0, 1)).otherwise("score"))


def review(month: Month, wrong_after: float) -> None:
    """People review six cases a day, drawn at random; a share of their labels contradicts the verdict."""
    month.judged = (
        month.judged.with_columns(order=pl.Series(month.rng.random(month.judged.height)))
        .with_columns(picked=pl.col("order").rank().over(pl.col("start").dt.date()) <= REVIEWED_PER_DAY)
    )
    share = np.where(month.late(month.judged), wrong_after, WRONG)
    wrong = pl.Series(month.rng.random(month.judged.height) < share)
    month.judged = month.judged.with_columns(
        malicious=pl.when("picked", pl.col("score").is_not_null()).then(pl.col("flagged") ^ wrong), opinion="case_id"
    ).drop("order", "picked")


IN_TABLES: dict[str, tuple[Callable[[Month], None], tuple[str, ...]]] = {
    "a rule fires on a tenth of all sessions": (noisy_rule, ("rules",)),
    "summaries move": (moved_summaries, ("embeddings",)),
    "a judge's scores rise by 0.15": (harsher_judge, ("scores",)),
    "labels contradict verdicts: 5 % → 30 %": (lambda month: review(month, WRONGER), ("overrides",)),
}


def assess(name: str, families: tuple[str, ...], month: Month, plant: Callable[[Month], None] | None = None) -> dict[str, Any]:
    """Look at each week when it ends, as a schedule would, and say when the change was told."""
    kept = {key: value for key, value in vars(month).items() if isinstance(value, (pl.DataFrame, np.ndarray))}
    if plant is not None:
        plant(month)
    alarms = month.drift().filter("alarm")
    stream = change_told(month)
    vars(month).update(kept)
    week = WHEN - timedelta(days=WHEN.weekday())
    right = alarms.filter(pl.col("family").is_in(families), pl.col("period") >= week, pl.col("kind") != "change point").sort("period")
    told: datetime | None = right["period"][0] + timedelta(days=7) if right.height else None
    first = right.filter(pl.col("period") == pl.col("period").min())
    off = (first["since"] - WHEN).dt.total_days().abs().min() if right.height else None
    return {
        "change": name, "seed": month.lab.store.root.parent.name, "found": told is not None,
        "days_until_told": None if told is None else (told - WHEN).days, "since_off_days": off,
        "features": sorted(set(first["feature"]))[:4], "false_alarms_before": alarms.filter(pl.col("period") < week).height,
        "change_point_days": stream,
    }


def change_told(month: Month) -> int | None:
    """Return after how many days a change point on the label-error stream is told, looking at the end of each week."""
    for day in range(7 * (PLANTED // 7 + 1), DAYS + 1, 7):
        now = START + timedelta(days=day)
        found = error_changes(month.judged.filter(pl.col("start") < now)).filter("alarm")
        if found.height:
            return day - PLANTED
    return None


def null_month(month: Month, by: str) -> dict[str, Any]:
    """Count alarms in four weeks in which nothing was changed; reviewers are as good as before."""
    kept = month.judged
    review(month, WRONG)
    table = month.drift(by)
    month.judged = kept
    alarms = table.filter("alarm")
    return {
        "by": by, "seed": month.lab.store.root.parent.name, "alarms": alarms.height, "periods_with_alarm": alarms["period"].n_unique(),
        "periods": table["period"].n_unique(), "tests": table.filter(pl.col("p_value").is_not_null()).height,
        "significant": table.filter(pl.col("q_value") <= 0.05).height, "features": sorted(set(alarms["feature"]))[:6],
    }


def markdown(found: pl.DataFrame, nulls: list[dict[str, Any]]) -> str:
    """Return the two tables of docs/drift.md."""
    lines = ["| planted change | months | found | days until told | `since` off by (days) | told by |", "|---|---|---|---|---|---|"]
    for (name,), part in found.group_by("change", maintain_order=True):
        features = list(dict.fromkeys(item for row in part["features"].to_list() for item in row))[:3]
        lines.append(
            f"| {name} | {part.height} | {int(part['found'].sum())} | {_span(part['days_until_told'])} | {_span(part['since_off_days'])} "
            f"| {', '.join(features)} |"
        )
    lines += ["", "| months without change | periods | tests | significant | alarms | periods with an alarm |", "|---|---|---|---|---|---|"]
    for by in ("week", "day"):
        rows = [row for row in nulls if row["by"] == by]
        total = {key: sum(row[key] for row in rows) for key in ("periods", "tests", "significant", "alarms", "periods_with_alarm")}
        lines.append(
            f"| {len(rows)}, by {by} | {total['periods']} | {total['tests']:,} | {total['significant']} | {total['alarms']} "
            f"| {total['periods_with_alarm']} |"
        )
    return "\n".join(lines)


def _span(values: pl.Series) -> str:
    known = values.drop_nulls()
    if known.is_empty():
        return "–"
    low, high = known.min(), known.max()
    return f"{low}" if low == high else f"{low}–{high}"


if __name__ == "__main__":
    main()
