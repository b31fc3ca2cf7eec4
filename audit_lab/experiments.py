"""Experiments: the pipeline over a grid of settings, in which only what changed is computed again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.evaluate import compare_runs, experiment_row, plan_runs
from audit_lab.evaluating import evaluate_lab
from audit_lab.pipeline import PIPELINE, Run, run_stages
from audit_lab.profile import Profile
from audit_lab.review import EVENT_COLUMNS, label_sessions
from audit_lab.store import Store
from audit_lab.tracking import log_runs, require_tracking

MEASURES = [
    ("all", "incident", "recall"), ("all", "session", "fpr"), ("all", "case", "precision"), ("all", "case", "average_precision"),
    ("fused", "session", "average_precision"),
]
_SHARED = (
    "archives", "events", "stages", "quarantine", "incidents", "embeddings", "labels",
    *(name for stage in PIPELINE for name in stage.makes),
)
# Folders of a lab that runs share: answers of models, so that none is paid for twice, and static models, so that none is taught twice.
_FOLDERS = ("answers", "models")


def run_grid(
    store: Store, profile: Profile, grid: str | Path | Mapping[str, Any], today: date, progress: Callable[[int, int], None] | None = None
) -> pl.DataFrame:
    """Run every combination of a grid and return them side by side; tables experiments and metrics get their rows.

    The runs work in a scratch lab that begins with everything that `store` holds: a run does again only what its settings change, and the
    lab's own sessions and verdicts stay as they are.

    Parameters
    ----------
    store, profile
        The lab, and the settings that the grid varies.
    grid
        A TOML file, or a dict of setting to list of values (`{"sessions.gap_s": [60, 300]}`, `name` beside them if wanted).
    today
        The date, for exceptions that expire.
    progress
        Called with (runs done, runs).

    Raises
    ------
    InputError
        When the grid is no grid, or the lab holds neither incidents nor labels to compare with.
    MissingExtraError
        When `experiments.mlflow` is set and MLflow is not installed; nothing has run then.
    """
    name, runs = plan_runs(grid, profile)
    if profile.experiments.mlflow:
        require_tracking()
    if store.rows("incidents") == 0 and store.rows("labels") == 0:
        raise InputError("no incidents to compare with", "audit-lab label FILE (JSON lines) first")
    first, last = _span(store)
    rows, metrics = [], []
    with tempfile.TemporaryDirectory() as folder:
        scratch = _share(store, Path(folder))
        for number, planned in enumerate(runs):
            started = time.monotonic()
            made = _run_one(store, scratch, planned.profile, today)
            result = evaluate_lab(scratch, planned.profile, split=name)
            took = time.monotonic() - started
            rows.append(experiment_row(
                name, planned, store.digest("events"), result, data_start=first, data_end=last, seconds=took, stages=made))
            metrics.append(result.metrics.with_columns(at=pl.lit(datetime.now(UTC), dtype=tables.TIME)))
            if progress:
                progress(number + 1, len(runs))
    done, figures = pl.concat(rows), pl.concat(metrics)
    with store.writing():
        store.replace_many({
            "experiments": (_renewed(store.read("experiments"), done, "experiments"), name),
            "metrics": (_renewed(store.read("metrics"), figures, "metrics"), name),
        })
    if profile.experiments.mlflow:
        log_runs(profile.experiments.mlflow, name, done, figures)
    return compare_runs(done, figures, MEASURES)


def _run_one(store: Store, scratch: Store, profile: Profile, today: date) -> list[str]:
    """Bring the scratch lab up to date with a profile; return the stages that had to run."""
    made = list(run_stages(Run(scratch, profile, today=today), until="sessions").made)
    if made:
        # Labels speak of sessions, and these have changed: what incidents say of them is told anew, people's words stay.
        read = scratch.read
        events = scratch.scan("events").select(EVENT_COLUMNS).collect()
        of_incidents = label_sessions(read("incidents"), read("sessions"), read("session_events"), events)
        of_people = store.read("labels").filter(pl.col("target_kind") != "incident")
        with scratch.writing():
            scratch.replace("labels", pl.concat([of_people, of_incidents]))
    return [*made, *run_stages(Run(scratch, profile, today=today)).made]


def _span(store: Store) -> tuple[datetime, datetime]:
    first, last = store.scan("events").select(first=pl.col("time").min(), last=pl.col("time").max()).collect().row(0)
    if first is None:
        raise InputError(f"lab '{store.root}' holds no events", "audit-lab ingest PATH")
    return first, last


def _share(store: Store, folder: Path) -> Store:
    """Return a scratch lab whose tables are the files of `store`, as long as no run replaces them."""
    scratch = Store(folder / "lab")
    known = store.manifest()["tables"]
    entries = {
        name: {**known[name], "files": [{**item, "file": str((store.root / item["file"]).resolve())} for item in known[name]["files"]]}
        for name in _SHARED if name in known
    }
    with scratch.writing():
        scratch.set_entries(entries)
        for fact in ("static_model", "calibration"):
            if store.remembered(fact) is not None:
                scratch.remember(fact, store.remembered(fact))
    for name in _FOLDERS:
        if (store.root / name).is_dir():
            (scratch.root / name).symlink_to((store.root / name).resolve(), target_is_directory=True)
    return scratch


def _renewed(old: pl.DataFrame, new: pl.DataFrame, table: str) -> pl.DataFrame:
    return pl.concat([old, new]).unique(tables.TABLES[table].key, keep="last", maintain_order=True)
