"""Time order, decay by week, and the ladder at equal budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from evaluation_story import T0, Story

from audit_lab.errors import InputError
from audit_lab.evaluate.confusion import BENIGN, MALICIOUS
from audit_lab.evaluate.incidents import IncidentMap
from audit_lab.evaluate.ladder import Rung, ladder
from audit_lab.evaluate.splits import decay, require_time_order, split_by_time


def test_a_session_across_the_cut_is_on_neither_side(story: Story) -> None:
    for _ in range(3):
        story.session("u", fused=0.1)
    sessions = story.frames()["sessions"]
    split = split_by_time(sessions, T0 + timedelta(minutes=1, seconds=10))
    assert [part["session_id"].to_list() for part in split] == [["s000"], ["s002"], ["s001"]]
    require_time_order(split.earlier, split.later)


def test_testing_on_the_past_is_refused(story: Story) -> None:
    for _ in range(2):
        story.session("u", fused=0.1)
    sessions = story.frames()["sessions"]
    with pytest.raises(InputError, match="tested on data from 2026-11-23 05:00:00, trained on data until 2026-11-23 05:01:30"):
        require_time_order(sessions, sessions)
    require_time_order(sessions.clear(), sessions)
    ended = sessions.select("start", "end").head(1)
    with pytest.raises(InputError, match="test on later data only"):
        require_time_order(ended, ended.with_columns(start=pl.col("end")))


def test_decay_shows_the_week_in_which_recall_falls() -> None:
    start = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday
    generator = np.random.default_rng(1)
    rows = []
    for week, quality in enumerate((0.9, 0.9, 0.4)):
        for number in range(60):
            malicious = number < 20
            flagged = generator.random() < (quality if malicious else 0.1)
            rows.append({"session_id": f"s{week}-{number}", "cluster": "c", "actor": f"u{number}", "start": start + timedelta(weeks=week, hours=number),
                         "class": "malicious" if malicious else "benign", "scorer": "all", "score": 0.9 if flagged else 0.1, "shown": True})
    rows.append({**rows[0], "session_id": "later", "start": start + timedelta(weeks=4), "class": "benign"})
    frame = decay(pl.DataFrame(rows, schema_overrides={"start": pl.Datetime("us", "UTC")}), 0.5, resamples=200)
    recall = frame.filter(pl.col("measure") == "recall")
    assert recall["period"].to_list() == [start + timedelta(weeks=week) for week in (0, 1, 2, 4)]
    assert recall["high"][2] < recall["low"][0]
    assert recall["value"][3] is None
    assert recall["reason"][3] == "no malicious sessions"


def world() -> tuple[np.ndarray, IncidentMap]:
    classes = np.array([MALICIOUS] * 8 + [BENIGN] * 92)
    rows = [np.array([number]) for number in range(8)]
    return classes, IncidentMap([f"i{number}" for number in range(8)], np.ones(8, dtype=bool), rows, np.zeros(8), np.zeros(100), [])


def test_each_rung_is_compared_at_the_same_budget() -> None:
    classes, incidents = world()
    rules = np.where(np.arange(100) % 5 == 0, 0.9, 0.0)
    better = np.where(classes == MALICIOUS, 0.9, 0.1)
    frame = ladder(
        [Rung("rules", rules), Rung("with exceptions", rules.copy()), Rung("+ judge", better), Rung("+ model", None, "no model run"),
         Rung("+ cascade", rules)], classes, incidents, 20)
    rows = {row["rung"]: row for row in frame.to_dicts()}
    assert (rows["rules"]["alerts"], rows["rules"]["incidents_found"], rows["rules"]["says"]) == (20, 2, "first rung")
    assert rows["with exceptions"]["says"] == "adds nothing at this budget"
    assert (rows["+ judge"]["alerts"], rows["+ judge"]["incidents_found"], rows["+ judge"]["gained"]) == (8, 8, 6)
    assert rows["+ judge"]["says"] == "finds 6 more incidents"
    assert (rows["+ model"]["recall"], rows["+ model"]["reason"]) == (None, "no model run")
    assert rows["+ cascade"]["says"] == "loses 6 incidents at this budget"
    assert rows["+ cascade"]["lost"] == 6


def test_a_small_difference_is_called_possible_chance() -> None:
    classes, incidents = world()
    first, second = np.zeros(100), np.zeros(100)
    first[[0, 50]] = 0.9
    second[[0, 1]] = 0.9
    says = ladder([Rung("a", first), Rung("b", second)], classes, incidents, 2)["says"].to_list()
    assert says == ["first rung", "finds 1 more incident, which may be chance"]


def test_a_stage_that_is_silent_does_not_fill_its_budget() -> None:
    classes, incidents = world()
    frame = ladder([Rung("silent", np.zeros(100)), Rung("all tied", np.ones(100))], classes, incidents, 10)
    assert frame["alerts"].to_list() == [0, 0]
    assert frame["precision"].to_list() == [None, None]
    assert ladder([Rung("silent", np.zeros(100))], classes, incidents, 100)["alerts"].to_list() == [0]
    with pytest.raises(InputError, match="a budget of 0 alerts"):
        ladder([], classes, incidents, 0)
