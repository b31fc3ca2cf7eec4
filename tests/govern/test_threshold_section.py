"""Thresholds and calibration in report and notebook: what is in force, what could be promised, what scores mean, or why that is not known."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import pytest

from audit_lab.errors import InputError
from audit_lab.evaluate import Calibrator, LearntCalibrator, bootstrap_actors
from audit_lab.evaluate.calibrated import calibrated_figures
from audit_lab.evaluate.neyman_pearson import promise_threshold
from audit_lab.govern import ReportInput, charts, render_report
from audit_lab.govern.reliability_picture import draw_reliability
from audit_lab.govern.svg import picture_svg
from audit_lab.govern.threshold_section import threshold_section
from audit_lab.govern.words import translate
from tests.govern.report_world import START, build_world

EVIL = "x\u202e</dd><script>run()</script>\x1b"
LEARNT = LearntCalibrator(Calibrator("platt", (), (1.1, -2.0), 120, 14), "all", START)


def promise(n: int, limit: float) -> dict[str, Any]:
    """A promise over `n` benign actors, with figures where it holds."""
    made = promise_threshold(np.linspace(0, 0.9, n), limit, 0.95)
    rate = {"value": 0.021, "low": 0.011, "high": 0.034, "n": 900}
    there = {"incidents_found": 6, "incidents": 8, "flagged": 41, "actors_flagged": 2, "actors": n, "fpr": rate, "precision": rate}
    return made.as_dict() | {"there": there if made.threshold is not None else None}


def calibration(n: int = 400, share: float = 0.1) -> dict[str, Any]:
    """The figures of a calibrator on `n` later sessions."""
    dice = np.random.default_rng(5)
    scores, positive = dice.random(n), dice.random(n) < share
    sessions = pl.DataFrame({"start": [START + timedelta(seconds=place) for place in range(n)]})
    draw = bootstrap_actors(np.arange(n) % 40, 200, 0.95, 7)
    return calibrated_figures(LEARNT, sessions, positive, {"all": scores}, np.ones(n, dtype=bool), draw, 10).as_dict()


def world(**changes: Any) -> ReportInput:
    data = build_world()
    evaluation = {**data.evaluation, "calibration": changes.pop("calibration", data.evaluation["calibration"])}
    settings = data.profile.evaluate.model_copy(update=changes.pop("settings", {}))
    profile = data.profile.model_copy(update={"evaluate": settings})
    return dataclasses.replace(data, **{"evaluation": evaluation, "profile": profile, **changes})


def part(page: str) -> str:
    found = re.search(r'<section id="thresholds">.*?</section>', page, re.DOTALL)
    assert found
    return found.group(0)


def test_the_threshold_in_force_stands_beside_what_the_labels_can_promise() -> None:
    section = threshold_section(world(promises=[promise(200, 0.05), promise(200, 0.005)]), translate)
    now, kept, refused = section["rows"]
    assert (now["threshold"], now["note"]) == ("0.5", "prior: no data taught it")
    assert now["found"] == "6 of 8" and now["fpr"].has_interval and now["flagged"] > 0
    assert kept["name"] == "at most 5\u00a0% of benign actors flagged, 95\u00a0% sure"
    assert float(kept["threshold"]) > 0.8 and "broken with probability at most" in kept["note"]
    assert (kept["found"], kept["actors"], kept["flagged"]) == ("6 of 8", "2 of 200", 41)
    assert (refused["threshold"], refused["note"]) == ("–", "200 independent benign actors, 598 needed")
    assert not refused["fpr"].known and refused["flagged"] is None


def test_a_promise_that_only_silence_keeps_says_so() -> None:
    loud = promise(200, 0.05) | {"threshold": None, "violation": None, "reason": "too many", "there": None}
    row = threshold_section(world(promises=[loud]), translate)["rows"][1]
    assert row["threshold"] == "–" and "only flagging nothing keeps it" in row["note"]


def test_what_taught_the_threshold_and_whose_is_its_own_are_named() -> None:
    learnt = datetime(2026, 11, 20, tzinfo=UTC)
    text = part(render_report(world(settings={"learnt_until": learnt, "thresholds": {EVIL: 0.625}})))
    assert "learnt from sessions until 2026-11-20 00:00:00 UTC" in text
    assert "Clusters with a threshold of their own" in text and "0.625" in text
    assert "<script" not in text and "\u202e" not in text and "\x1b" not in text


def test_precision_at_real_prevalences_judges_and_the_noisiest_rules_are_told() -> None:
    data = build_world()
    rate = {"low": 0.01, "high": 0.2, "n": 240, "reason": None}
    rules = [{"rule": f"rule-{place}{EVIL if place == 6 else ''}", "version": "1", "sessions": 9, "malicious": 2,
              "precision": {**rate, "value": 0.2}, "fpr": {**rate, "value": place / 100}} for place in range(7)]
    data = dataclasses.replace(data, evaluation={**data.evaluation, "rules": rules})
    section = threshold_section(data, translate)
    assert [name for name, _ in section["precisions"]] == ["1 malicious session in 100", "1 malicious session in 1,000", "1 malicious session in 10,000"]
    values = [rate.value for _, rate in section["precisions"]]
    assert values == sorted(values, reverse=True) and values[2] < values[0]
    assert [rule["rate"].value for rule in section["rules"]] == [0.06, 0.05, 0.04, 0.03, 0.02]
    assert section["rules"][0]["harmless"] == 7
    text = part(render_report(data))
    assert "baseline@4be1c0ffee00" in text and "7 of the 9 that it hit" in text and "rule-1" not in text
    assert "<script" not in text and "\u202e" not in text and "\x1b" not in text


def test_a_calibrator_is_shown_with_its_errors_and_a_picture() -> None:
    data = world(calibrator=LEARNT.as_dict(), calibration=calibration())
    section = threshold_section(data, translate)["calibration"]
    assert section["taught"] == "platt, learnt from 120 sessions, 14 of them malicious, until 2026-11-23 05:34:24 UTC"
    assert [row["name"] for row in section["rows"]] == ["raw score", "calibrated"] and section["reason"] is None
    raw, better = (float(row["error"].split(" ")[0]) for row in section["rows"])
    assert better < raw
    text = part(render_report(data))
    assert text.count("400 later sessions: Brier score") == 2 and text.count("<svg") == 1 and "No reliability is drawn" not in text


def test_a_calibrator_tested_on_a_handful_of_sessions_is_not_drawn_and_says_so() -> None:
    text = part(render_report(world(calibrator=LEARNT.as_dict(), calibration=calibration(13))))
    assert text.count("13 later sessions: Brier score") == 2 and "<svg" not in text
    assert "No reliability is drawn: no bin holds five sessions." in text


def test_without_a_calibrator_or_later_sessions_the_reason_stands_there() -> None:
    text = part(render_report(world()))
    assert "audit-lab calibrate --probabilities" in text and "<svg" not in text
    waiting = calibration() | {"raw": None, "calibrated": None, "reason": "no session starts after 2026-12-01 00:00:00, when its labels end"}
    text = part(render_report(world(calibrator=LEARNT.as_dict(), calibration=waiting)))
    assert "platt, learnt from 120" in text and "no session starts after 2026-12-01" in text and "<svg" not in text


def test_without_labels_nothing_is_promised_and_without_later_sessions_nothing_is_tested() -> None:
    bare = build_world(labels=False)
    text = part(render_report(bare))
    assert "false-positive rate" not in text and "No labelled incident was given" in text and "No promise was looked for" in text and "prior: no data taught it" in text
    taught = bare.profile.evaluate.model_copy(update={"learnt_until": START + timedelta(days=1)})
    bare = dataclasses.replace(
        bare, profile=bare.profile.model_copy(update={"evaluate": taught}), promises=[promise(200, 0.05)], calibrator=LEARNT.as_dict())
    text = part(render_report(bare))
    assert "Every session here taught the threshold in force" in text and "2 of 200" in text
    assert "no later session with a label tests it" in text and "No promise was looked for" not in text


def test_benign_actors_are_counted_once_each() -> None:
    scores = pl.DataFrame({
        "cluster": ["c"] * 5, "actor": ["a", "a", "b", "m", "a"], "class": ["benign", "benign", "benign-but-suspicious", "malicious", "benign"],
        "scorer": ["all", "all", "all", "all", "rules"], "flagged": [True, True, False, True, True],
    })
    data = world()
    row = threshold_section(dataclasses.replace(data, details={"session_scores": scores}), translate)["rows"][0]
    assert row["actors"] == "1 of 2"


def test_the_section_speaks_korean() -> None:
    data = world(calibrator=LEARNT.as_dict(), calibration=calibration(), promises=[promise(200, 0.05), promise(200, 0.005)], lang="ko")
    text = part(render_report(data))
    assert "임계값과 보정" in text and "독립된 정상 행위자 200명, 598명 필요" in text and "브라이어" in text
    for english in ("in force", "at most", "needed", "learnt from", "Brier", "raw score", "of the", "precision", "whole chain"):
        assert english not in re.sub(r"<[^>]*>", "", text), english


def test_the_diagram_leaves_out_small_bins_and_ends_where_the_data_end() -> None:
    found = calibration()
    spec = draw_reliability(found)
    assert spec is not None
    assert {row["kind"] for row in spec["data"]["values"]} == {"raw score", "calibrated"}
    assert all(row["low"] <= row["share"] <= row["high"] for row in spec["data"]["values"])
    few = {**found, "calibrated": {**found["calibrated"], "reliability_curve": [
        {**row, "share": None, "low": None, "high": None} for row in found["calibrated"]["reliability_curve"]]}}
    assert draw_reliability(few) is None and draw_reliability(None) is None
    assert picture_svg(spec, "reliability") == picture_svg(spec, "reliability")
    assert isinstance(charts.reliability(found), alt.TopLevelMixin)
    with pytest.raises(InputError, match="no reliability to draw: no calibrator"):
        charts.reliability(build_world().evaluation["calibration"])
