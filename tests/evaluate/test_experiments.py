"""Grids of settings."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from evaluation_story import Story

from audit_lab import tables
from audit_lab.errors import InputError, ProfileError
from audit_lab.evaluate.experiments import compare_runs, expand_grid, experiment_row, first_stale, plan_runs, read_grid
from audit_lab.profile import Profile

T0 = datetime(2026, 11, 23, tzinfo=UTC)


def test_a_grid_file_gives_all_combinations_early_stages_first(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text('name = "gaps"\n[grid]\n"evaluate.threshold" = [0.3, 0.5]\nsessions.gap_s = [60, 300]\n')
    name, grid = read_grid(path)
    runs = expand_grid(grid, Profile())
    assert name == "gaps"
    assert [(run.profile.sessions.gap_s, run.profile.evaluate.threshold, run.first_stage) for run in runs] == [
        (60, 0.3, "sessions"), (60, 0.5, "verdicts"), (300, 0.3, "sessions"), (300, 0.5, "verdicts")]
    assert runs[0].parameters == {"sessions.gap_s": 60, "evaluate.threshold": 0.3}


def test_only_what_changed_is_stale() -> None:
    base = Profile()

    def changed(section: str, **values: object) -> Profile:
        return base.model_copy(update={section: getattr(base, section).model_copy(update=values)})

    assert first_stale(base, base) == "none"
    assert first_stale(base, changed("sessions", gap_s=1.0)) == "sessions"
    assert first_stale(base, changed("signals", neighbours=3)) == "signals"
    assert first_stale(base, changed("signals", repeat=0.1)) == "candidates"
    assert first_stale(base, changed("judge", max_tokens=1)) == "verdicts"
    assert first_stale(base, changed("evaluate", threshold=0.1)) == "verdicts"
    assert first_stale(base, changed("evaluate", bootstrap=200)) == "none"


def test_a_grid_from_a_dict_means_the_same_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text('name = "g"\n[grid]\n"signals.repeat" = [0.4, 0.6]\n"sessions.gap_s" = [60]\n')
    bare = {"name": "g", "signals.repeat": [0.4, 0.6], "sessions.gap_s": [60]}
    assert plan_runs(path, Profile()) == plan_runs(bare, Profile()) == plan_runs({"name": "g", "grid": {"signals": {"repeat": [0.4, 0.6]}, "sessions.gap_s": [60]}}, Profile())
    with pytest.raises(InputError, match="'signals.repeat' has no list"):
        plan_runs({"signals.repeat": 0.4}, Profile())


def test_every_dimension_of_the_field_is_a_setting_of_a_grid() -> None:
    """Windows, reductions, detectors' neighbourhoods, fusion, prompts, thresholds."""
    grid = {
        "sessions.mode": ["gap", "window"], "sessions.window_s": [300], "signals.full_share": [0.0, 0.1], "signals.neighbours": [5, 10],
        "signals.usual_access": [0.3, 0.5], "signals.budget_cases": [10], "judge.prompt": [""], "judge.examples": [0, 4], "evaluate.threshold": [0.5],
    }
    runs = expand_grid(grid, Profile())
    assert len(runs) == 32
    # Early stages change least often: two ways to cut sessions are cut twice in all, not 32 times.
    assert sum(run.first_stage == "sessions" for run in runs) == 1


@pytest.mark.parametrize(("text", "says"), [
    ("[grid", "is not TOML"), ("x = 1", "has no table 'grid'"), ("[grid]\n'sessions.gap_s' = 60", "'sessions.gap_s' has no list of values"),
    ("[grid]\n'sessions.gap_s' = []", "has no list of values"),
])
def test_bad_grid_files_are_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        read_grid(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no grid file"):
        read_grid(tmp_path / "none.toml")


def test_bad_settings_are_one_line() -> None:
    for grid, says in (({"sessions.gap": [1]}, "no setting 'sessions.gap'"), ({"sessions.gap_s": [-1]}, "gap_s .*greater than 0")):
        with pytest.raises(ProfileError, match=says):
            expand_grid(grid, Profile())
    with pytest.raises(InputError, match="a grid of 1001 runs"):
        expand_grid({"evaluate.threshold": [number / 1001 for number in range(1001)]}, Profile())


def test_runs_stand_side_by_side_with_their_figures(story: Story) -> None:
    story.incident("a")
    for actor, incident, score in (("m", "a", 0.6), ("x", None, 0.4), ("y", None, 0.2)):
        story.session(actor, incident, fused=score)
    runs = expand_grid({"evaluate.threshold": [0.3, 0.5, 0.9]}, Profile())
    done = [story.evaluate(run.profile.evaluate.threshold) for run in runs]
    rows = [experiment_row("t", run, "d", result, data_start=T0, data_end=T0, seconds=1.0, stages=["verdicts"]) for run, result in zip(runs, done, strict=True)]
    experiments = rows[0].vstack(rows[1]).vstack(rows[2])
    tables.check(experiments, "experiments")
    assert experiments["run_id"].n_unique() == 3
    assert json.loads(experiments["metrics"][0])["incident recall"] == 1.0
    assert experiments["stages"].to_list() == [["verdicts"]] * 3
    metrics = done[0].metrics.vstack(done[1].metrics)
    frame = compare_runs(experiments, metrics, [("all", "incident", "recall"), ("fused", "session", "fpr")])
    assert frame["evaluate.threshold"].to_list() == ["0.3", "0.5", "0.9"]
    assert frame["all incident recall"].to_list() == [1.0, 1.0, None]
    assert frame["fused session fpr"].to_list() == [0.5, 0.0, None]
    assert frame["fused session fpr_high"][0] > 0.5
