"""Grids of settings."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from evaluation_story import Story

from audit_lab import tables
from audit_lab.errors import InputError, ProfileError
from audit_lab.evaluate.experiments import compare_runs, expand_grid, experiment_row, first_stale, read_grid
from audit_lab.profile import Profile

T0 = datetime(2026, 11, 23, tzinfo=UTC)


def test_a_grid_file_gives_all_combinations_early_stages_first(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text('name = "gaps"\n[grid]\n"evaluate.threshold" = [0.3, 0.5]\nsessions.gap_s = [60, 300]\n')
    name, grid = read_grid(path)
    runs = expand_grid(grid, Profile())
    assert name == "gaps"
    assert [(run.profile.sessions.gap_s, run.profile.evaluate.threshold, run.first_stage) for run in runs] == [
        (60, 0.3, "sessions"), (60, 0.5, "evaluate"), (300, 0.3, "sessions"), (300, 0.5, "evaluate")]
    assert runs[0].parameters == {"sessions.gap_s": 60, "evaluate.threshold": 0.3}


def test_only_what_changed_is_stale() -> None:
    base = Profile()
    judge = base.model_copy(update={"judge": base.judge.model_copy(update={"max_tokens": 1})})
    assert [first_stale(None, base), first_stale(base, base), first_stale(base, judge)] == ["sessions", "none", "judge"]


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
    rows = [experiment_row("t", run, "d", result.evaluation_id, T0, T0, 1.0) for run, result in zip(runs, done, strict=True)]
    experiments = rows[0].vstack(rows[1]).vstack(rows[2])
    tables.check(experiments, "experiments")
    assert experiments["run_id"].n_unique() == 3
    metrics = done[0].metrics.vstack(done[1].metrics)
    frame = compare_runs(experiments, metrics, [("all", "incident", "recall"), ("fused", "session", "fpr")])
    assert frame["evaluate.threshold"].to_list() == ["0.3", "0.5", "0.9"]
    assert frame["all incident recall"].to_list() == [1.0, 1.0, None]
    assert frame["fused session fpr"].to_list() == [0.5, 0.0, None]
    assert frame["fused session fpr_high"][0] > 0.5
