"""Experiments: the pipeline over a grid of settings, in which only what changed is computed again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from audit_lab.errors import InputError
from audit_lab.evaluate import compare_runs, evaluate, expand_grid, experiment_row, read_grid
from audit_lab.pipeline import Run, run_stages
from audit_lab.profile import Profile
from audit_lab.review import label_sessions
from audit_lab.store import Store

MEASURES = [
    ("all", "incident", "recall"), ("all", "session", "fpr"), ("all", "session", "average_precision"),
    ("fused", "session", "average_precision"),
]
_READING = ("archives", "events", "stages", "quarantine", "incidents", "embeddings")


def run_grid(
    store: Store, profile: Profile, grid_file: str | Path, today: date, progress: Callable[[int, int], None] | None = None
) -> pl.DataFrame:
    """Run every combination of a grid file and return them side by side; tables experiments and metrics get their rows.

    The runs work in a scratch lab that shares the events with `store`, whose own sessions and verdicts stay as they are. Answers of
    models are shared as well, so none is paid for twice.

    Raises
    ------
    InputError
        When the grid is no grid, or the lab holds no incidents to compare with.
    """
    name, grid = read_grid(grid_file)
    runs = expand_grid(grid, profile)
    incidents = store.read("incidents")
    if incidents.is_empty():
        raise InputError("no incidents to compare with", "audit-lab label FILE (JSON lines) first")
    times = store.scan("events").select("time").collect()["time"]
    first, last = times.dt.replace_time_zone(None).min(), times.dt.replace_time_zone(None).max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        raise InputError(f"lab '{store.root}' holds no events", "audit-lab ingest PATH")
    first, last = first.replace(tzinfo=UTC), last.replace(tzinfo=UTC)
    rows, metrics = [], []
    with tempfile.TemporaryDirectory() as folder:
        scratch = _share(store, Path(folder))
        for number, planned in enumerate(runs):
            started = time.monotonic()
            run = run_stages(Run(scratch, planned.profile, today=today))
            labels = label_sessions(incidents, run.table("sessions"), run.table("session_events"), run.table("events"))
            result = evaluate(
                run.table("sessions"), run.table("session_events"), run.table("events").select("event_id", "time"), incidents, labels,
                run.table("scores"), run.table("candidates"), run.table("verdicts"), planned.profile.evaluate, split=name,
            )
            took = time.monotonic() - started
            rows.append(experiment_row(name, planned, store.digest("events"), result.evaluation_id, first, last, took))
            metrics.append(result.metrics)
            if progress:
                progress(number + 1, len(runs))
    made, figures = pl.concat(rows), pl.concat(metrics)
    with store.writing():
        store.replace_many({
            "experiments": (_renewed(store.read("experiments"), made, ["run_id"]), name),
            "metrics": (_renewed(store.read("metrics"), figures, ["evaluation_id", "scorer", "unit", "measure"]), name),
        })
    return compare_runs(made, figures, MEASURES)


def _share(store: Store, folder: Path) -> Store:
    """Return a scratch lab that reads what was ingested from the files of `store`."""
    scratch = Store(folder / "lab")
    known = store.manifest()["tables"]
    entries = {
        name: {**known[name], "files": [{**item, "file": str((store.root / item["file"]).resolve())} for item in known[name]["files"]]}
        for name in _READING if name in known
    }
    with scratch.writing():
        scratch.set_entries(entries)
    answers = store.root / "answers"
    if answers.is_dir():
        (scratch.root / "answers").symlink_to(answers.resolve(), target_is_directory=True)
    return scratch


def _renewed(old: pl.DataFrame, new: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    return pl.concat([old.join(new, on=key, how="anti"), new]).unique(key, keep="last", maintain_order=True)
