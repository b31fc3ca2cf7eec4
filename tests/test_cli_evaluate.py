"""The words of evaluation on a terminal: what they print, their JSON, refusals and exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit_lab import InputError, Lab
from audit_lab.cli import app

from .test_evaluating import lab  # noqa: F401 - the same small lab


def say(work: Lab, *words: str, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, "--lab", str(work.store.root)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_evaluate_prints_every_part_and_its_json_is_complete(lab: Lab) -> None:  # noqa: F811
    text = say(lab, "evaluate", "--ladder", "--injection")
    for part in ("Levels", "Operating points", "Scores as probabilities", "Judge baseline@", "cost per confirmed finding", "Ladder at 10 cases a day",
                 "no model run", "found before the first damage", "precision where 1 session in 10,000 is malicious", "talked the judge out of"):
        assert part in text, part
    assert re.search(r"session +\d+\.\d% \(\d+\.\d–\d+\.\d, n \d+\)", text)
    found = json.loads(say(lab, "evaluate", "--ladder", "--json"))
    assert {"events", "sessions", "cases", "incidents", "judges", "rules", "by_week", "audits", "calibration", "curve", "precision_recall", "ladder",
            "fpr_at_recall", "alerts_per_day", "precision_at_prevalence", "probability", "versions", "data", "split"} <= set(found)
    assert {"time_to_detect_s", "before_impact", "lead_s", "cited"} <= set(found["incidents"])


def test_sweep_and_history_are_tables(lab: Lab) -> None:  # noqa: F811
    assert "incidents_found" in say(lab, "evaluate", "--sweep")
    rows = json.loads(say(lab, "evaluate", "--sweep", "--json"))
    assert [row["threshold"] for row in rows][:3] == [0.0, 0.01, 0.02]
    assert "baseline@" in say(lab, "evaluate", "--history")


def test_calibrate_promises_refuses_and_says_what_to_set(lab: Lab) -> None:  # noqa: F811
    text = say(lab, "calibrate", "--max-fpr", "0.1", "--confidence", "0.9", "--before", "2026-01-01 11:02")
    assert "of benign actors are flagged with probability at most" in text
    assert "tested on later sessions" in text
    assert re.search(r"threshold = [\d.e-]+\n +learnt_until = \"2026-01-01T", text)
    assert "no threshold: 60 independent actors, 598 needed" in say(lab, "calibrate", "--max-fpr", "0.005", code=1)
    refused = json.loads(say(lab, "calibrate", "--alerts-per-day", "5", "--json", code=1))
    assert (refused["reason"], refused["proposal"]) == ("1 independent day, 59 needed", None)
    assert "warm-up: threshold" in say(lab, "calibrate", "--max-fpr", "0.05", "--warm-up")
    assert "human" in say(lab, "calibrate", "--max-fpr", "0.1", "--confidence", "0.9", "--by", "actor_kind")
    assert "costs least" in say(lab, "calibrate", "--review-minute-usd", "1", "--missed-incident-usd", "1000")
    day = say(lab, "calibrate", "--max-usd-per-day", "100", "--review-minute-usd", "1", "--missed-incident-usd", "1000", code=1)
    assert "1 independent day, 104 needed" not in day
    assert "needed" in day


@pytest.mark.parametrize(("words", "says"), [
    (("calibrate",), "0 goals for a threshold"), (("calibrate", "--by", "cluster"), "--by without --max-fpr"),
    (("calibrate", "--max-fpr", "0.1", "--method", "magic"), "no method 'magic'"), (("calibrate", "--max-fpr", "7"), "a false-positive limit of 7"),
    (("evaluate", "--since", "tomorrow"), "'tomorrow' is no time"), (("experiment", "none.toml"), "no grid file 'none.toml'"),
])
def test_mistakes_are_one_line(lab: Lab, words: tuple[str, ...], says: str) -> None:  # noqa: F811
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        say(lab, *words)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_an_experiment_stands_side_by_side(lab: Lab, tmp_path: Path) -> None:  # noqa: F811
    grid = tmp_path / "lines.toml"
    grid.write_text('[grid]\n"evaluate.threshold" = [0.3, 0.9]\n')
    text = say(lab, "experiment", str(grid))
    assert "evaluate.threshold" in text
    assert "all incident recall" in text
    assert lab.experiments.collect()["name"].unique().to_list() == ["lines"]
