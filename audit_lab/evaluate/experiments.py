"""Experiments: a grid of settings as runs in an order that repeats least, and their rows for comparison."""

from __future__ import annotations

import itertools
import json
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.errors import InputError, ProfileError
from audit_lab.hashing import short_id
from audit_lab.profile import Profile

# Settings whose change makes a stage stale, in order of the flow: what comes before a change need not run again.
STAGES = ("archive", "sessions", "signals", "judge", "evaluate")
MAX_RUNS = 1000
EXAMPLE = 'for example: name = "gaps" and [grid] with "sessions.gap_s" = [60, 300]'


@dataclass(frozen=True)
class Run:
    """One point of a grid: what differs from the base profile, the whole profile, and the first stage that the run before did not
    do alike ('none' where it changes nothing)."""

    parameters: dict[str, Any]
    profile: Profile
    first_stage: str


def read_grid(path: str | Path) -> tuple[str, dict[str, list[Any]]]:
    """Read a grid file.

    Parameters
    ----------
    path
        TOML with `name` (optional) and a table `grid`: setting ('section.key') to a list of values.

    Returns
    -------
    (name, grid); the name is the file's when it gives none.

    Raises
    ------
    InputError
        When the file is missing, no TOML, or a setting has no list of values.
    """
    file = Path(path)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no grid file '{path}'", "give the path of a TOML file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"grid file '{path}' is not TOML: {error}", EXAMPLE) from None
    grid = _flat(values.get("grid"))
    if not grid:
        raise InputError(f"grid file '{path}' has no table 'grid' with settings", EXAMPLE)
    for key, choices in grid.items():
        if not isinstance(choices, list) or not choices:
            raise InputError(f"grid file '{path}': '{key}' has no list of values", EXAMPLE)
    return str(values.get("name", file.stem)), grid


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Turn nested tables into 'section.key': both spellings of TOML mean the same."""
    if not isinstance(values, dict):
        return {}
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def expand_grid(grid: dict[str, list[Any]], base: Profile) -> list[Run]:
    """Return all combinations as runs, ordered so that runs with the same early settings follow each other.

    Parameters
    ----------
    grid
        Setting ('section.key') to its values.
    base
        Profile that gives all other settings.

    Returns
    -------
    Runs. The first has first_stage 'sessions' at the earliest that any setting of the grid touches; each later one starts at the first
    stage in which it differs from the run before.

    Raises
    ------
    ProfileError
        When a setting does not exist or a value is out of range.
    InputError
        When there are more than a thousand combinations.
    """
    n_runs = 1
    for choices in grid.values():
        n_runs *= len(choices)
    if n_runs > MAX_RUNS:
        raise InputError(f"a grid of {n_runs} runs", f"give at most {MAX_RUNS}; for thresholds alone see Evaluation.sweep")
    keys = sorted(grid, key=_stage_of)
    runs: list[Run] = []
    for values in itertools.product(*(grid[key] for key in keys)):
        parameters = dict(zip(keys, values, strict=True))
        profile = _with(base, parameters)
        runs.append(Run(parameters, profile, first_stale(runs[-1].profile if runs else None, profile)))
    return runs


def first_stale(before: Profile | None, now: Profile) -> str:
    """Return the first stage that has to run again when settings change; 'sessions' after nothing, 'none' when nothing changed.

    >>> base = Profile()
    >>> first_stale(base, base.model_copy(update={"name": "other"}))
    'none'
    """
    if before is None:
        return "sessions"
    changed = [name for name in STAGES if getattr(before, name) != getattr(now, name)]
    return changed[0] if changed else "none"


def experiment_row(
    name: str, run: Run, data_digest: str, evaluation_id: str, data_start: datetime | None, data_end: datetime | None,
    seconds: float | None = None,
) -> pl.DataFrame:
    """Return a run as a row of table `experiments`; its figures are the rows of `metrics` with its evaluation_id."""
    parameters = json.dumps(run.parameters, sort_keys=True)
    return tables.conform(pl.DataFrame({
        "run_id": [short_id("x", parameters, run.profile.digest, data_digest)], "name": [name], "parameters": [parameters],
        "profile_digest": [run.profile.digest], "data_digest": [data_digest], "data_start": [data_start], "data_end": [data_end],
        "evaluation_id": [evaluation_id], "first_stage": [run.first_stage], "seconds": [seconds],
    }), "experiments")


def compare_runs(experiments: pl.DataFrame, metrics: pl.DataFrame, measures: list[tuple[str, str, str]]) -> pl.DataFrame:
    """Put runs side by side.

    Parameters
    ----------
    experiments, metrics
        Tables of these names.
    measures
        (scorer, unit, measure) of each figure wanted, e.g. ("all", "incident", "recall").

    Returns
    -------
    Frame, one row per run in the order of `experiments`: run_id, one column per parameter (as text), then for each figure its value,
    and `…_low`, `…_high`; a figure that was not computed is null.
    """
    parameters = [json.loads(text) for text in experiments["parameters"].to_list()]
    names = sorted({key for values in parameters for key in values})
    frame = experiments.select("run_id", "evaluation_id").with_columns(
        pl.Series(name, [None if name not in values else json.dumps(values[name]).strip('"') for values in parameters], dtype=pl.String)
        for name in names
    )
    for scorer, unit, measure in measures:
        label = f"{scorer} {unit} {measure}"
        rows = metrics.filter((pl.col("scorer") == scorer) & (pl.col("unit") == unit) & (pl.col("measure") == measure))
        part = rows.select("evaluation_id", **{label: "value", f"{label}_low": "low", f"{label}_high": "high"})
        frame = frame.join(part.unique("evaluation_id", keep="last"), on="evaluation_id", how="left", maintain_order="left")
    return frame.drop("evaluation_id")


def _stage_of(key: str) -> int:
    section = key.split(".", 1)[0]
    return STAGES.index(section) if section in STAGES else len(STAGES)


def _with(base: Profile, parameters: dict[str, Any]) -> Profile:
    values = base.model_dump()
    for key, value in parameters.items():
        section, _, field = key.partition(".")
        if section not in STAGES or field not in values[section]:
            known = [f"{name}.{setting}" for name in STAGES for setting in values[name]]
            raise ProfileError(f"no setting '{key}' for a grid", f"settings are {', '.join(known[:4])} …; see: audit-lab profile show")
        values[section][field] = value
    try:
        return Profile.model_validate(values)
    except ValueError as error:
        said = str(error).splitlines()
        raise ProfileError(f"grid: {' '.join(said[1:3]) if len(said) > 2 else said[0]}", "see: audit-lab profile show") from None
