"""Experiments: a grid of settings as runs in an order that repeats least, and their rows for comparison."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.errors import InputError, ProfileError
from audit_lab.evaluate.result import Evaluation
from audit_lab.hashing import short_id
from audit_lab.profile import CHOICE_SETTINGS, Profile

# Settings whose change makes a stage stale, in order of the flow: what comes before a change need not run again.
STAGES = {"sessions": ("sessions",), "signals": ("signals-finding",), "candidates": ("signals",), "verdicts": ("judge",)}
SECTIONS = ("sessions", "signals", "judge", "evaluate")
MAIN = (
    ("incident", "recall"), ("incident", "cited"), ("incident", "median_time_to_detect_s"), ("session", "recall"), ("session", "fpr"),
    ("session", "precision"), ("session", "average_precision"), ("case", "precision"), ("case", "average_precision"),
)
MAX_RUNS = 1000
EXAMPLE = 'for example: name = "gaps" and [grid] with "sessions.gap_s" = [60, 300]'


@dataclass(frozen=True)
class Run:
    """One point of a grid: what differs from the base profile, the whole profile, and the first stage that the run before did not
    do alike ('none' where it changes nothing)."""

    parameters: dict[str, Any]
    profile: Profile
    first_stage: str


def plan_runs(grid: str | Path | Mapping[str, Any], base: Profile) -> tuple[str, list[Run]]:
    """Return the name of a grid and its runs.

    Parameters
    ----------
    grid
        A TOML file, or the same as a dict: settings to lists of values, in a table `grid` or bare, with `name` if wanted.
    base
        Profile that gives all other settings.

    Raises
    ------
    InputError, ProfileError
        As `read_grid` and `expand_grid`.

    >>> name, runs = plan_runs({"evaluate.threshold": [0.4, 0.5]}, Profile())
    >>> name, [run.first_stage for run in runs]
    ('grid', ['verdicts', 'verdicts'])
    """
    if isinstance(grid, Mapping):
        values = dict(grid)
        name = str(values.pop("name", "grid"))
        found = _checked(values.get("grid", values), "grid")
    else:
        name, found = read_grid(grid)
    return name, expand_grid(found, base)


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
    return str(values.get("name", file.stem)), _checked(values.get("grid"), f"grid file '{path}'")


def _checked(values: Any, where: str) -> dict[str, list[Any]]:
    grid = _flat(values)
    if not grid:
        raise InputError(f"{where} has no table 'grid' with settings", EXAMPLE)
    for key, choices in grid.items():
        if not isinstance(choices, list) or not choices:
            raise InputError(f"{where}: '{key}' has no list of values", EXAMPLE)
    return grid


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
    Runs. Each starts at the first stage in which it differs from the run before, the first one from the base profile.

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
        runs.append(Run(parameters, profile, first_stale(runs[-1].profile if runs else base, profile)))
    return runs


def first_stale(before: Profile, now: Profile) -> str:
    """Return the first stage that has to run again when settings change; 'none' when nothing has to.

    >>> base = Profile()
    >>> first_stale(base, base.model_copy(update={"name": "other"}))
    'none'
    """
    for stage, sections in STAGES.items():
        if any(before.section_digest(section) != now.section_digest(section) for section in sections):
            return stage
    # Above the review line a verdict needs grounds: another line makes other verdicts.
    lines = [(profile.evaluate.threshold, profile.evaluate.thresholds) for profile in (before, now)]
    return "verdicts" if lines[0] != lines[1] else "none"


def experiment_row(
    name: str, run: Run, data_digest: str, result: Evaluation, *, data_start: datetime | None, data_end: datetime | None,
    seconds: float | None = None, stages: list[str] | None = None,
) -> pl.DataFrame:
    """Return a run as a row of table `experiments`; all its figures are the rows of `metrics` with its evaluation_id.

    `stages` are those that had to run; `metrics` repeats the main figures as one JSON object, so that a row speaks for itself.
    """
    parameters = json.dumps(run.parameters, sort_keys=True)
    return tables.conform(pl.DataFrame({
        "run_id": [short_id("x", parameters, run.profile.digest, data_digest)], "name": [name], "parameters": [parameters],
        "profile_digest": [run.profile.digest], "data_digest": [data_digest], "data_start": [data_start], "data_end": [data_end],
        "evaluation_id": [result.evaluation_id], "first_stage": [run.first_stage], "seconds": [seconds], "stages": [stages or []],
        "metrics": [json.dumps(_main_figures(result.metrics), sort_keys=True)],
    }, schema_overrides={"data_start": tables.TIME, "data_end": tables.TIME, "stages": tables.TEXTS}), "experiments")


def _main_figures(metrics: pl.DataFrame) -> dict[str, float | None]:
    own = metrics.filter((pl.col("scorer") == "all") & pl.col("period").is_null())
    return {f"{unit} {measure}": value for unit, measure, value in own.select("unit", "measure", "value").iter_rows()
            if (unit, measure) in MAIN}


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


def _stage_of(key: str) -> float:
    section, _, field = key.partition(".")
    late = 0.5 if field in CHOICE_SETTINGS else 0.0
    return SECTIONS.index(section) + late if section in SECTIONS else len(SECTIONS)


def _with(base: Profile, parameters: dict[str, Any]) -> Profile:
    # What the profile leaves to defaults stays unsaid: some limits hold differently when somebody asked for them.
    full, values = base.model_dump(), base.model_dump(exclude_unset=True)
    for key, value in parameters.items():
        section, _, field = key.partition(".")
        if section not in SECTIONS or field not in full[section]:
            known = [f"{name}.{setting}" for name in SECTIONS for setting in full[name]]
            raise ProfileError(f"no setting '{key}' for a grid", f"settings are {', '.join(known[:4])} …; see: audit-lab profile show")
        values.setdefault(section, {})[field] = value
    try:
        return Profile.model_validate(values)
    except ValueError as error:
        said = str(error).splitlines()
        raise ProfileError(f"grid: {' '.join(said[1:3]) if len(said) > 2 else said[0]}", "see: audit-lab profile show") from None
