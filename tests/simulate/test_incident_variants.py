"""Incidents: what variants change and what they keep; drifts at their times; how sessions are found again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_lab.errors import InputError
from audit_lab.profile import SessionSettings
from audit_lab.sessions.windows import split_sessions
from audit_lab.simulate import Drift, default_drifts, read_truth, simulate
from audit_lab.simulate.calendar import WORKING_HOURS, make_calendar
from audit_lab.simulate.incidents import Splitting, count_sessions, make_moves
from audit_lab.simulate.recording import Incident
from audit_lab.simulate.templates import Episode, Lane, Template, split_template
from tests.simulate.conftest import Simulated

SAMPLE = Path(__file__).parent.parent.parent / "data"
SPLITTING = Splitting(300_000_000, 3_600_000_000)


def template(seconds: list[float], user: str = "eve@corp.example") -> Template:
    offsets = (np.array(seconds) * 1e6).astype(np.int64)
    return Template(f"p-{user}", "malicious", Lane(user, "", "203.0.113.1"), tuple(range(len(seconds))), offsets, np.arange(len(seconds)), deploys=False)


def episode(*sessions: Template) -> Episode:
    return Episode(Incident("i", "t", True, (), "", "", ()), sessions, tuple(number * 90_000_000 for number in range(len(sessions))))


EPISODE = episode(template([0, 2, 5, 30, 80, 81, 82]), template([0, 1], "mal@corp.example"))


@pytest.mark.parametrize("variant", ["recorded", "slower", "split", "mixed"])
def test_variants_keep_what_was_done_and_its_order(variant: str) -> None:
    for seed in range(10):
        moves = make_moves(EPISODE, variant, 5.0, np.random.default_rng(seed))
        for place, session in enumerate(EPISODE.sessions):
            mine = [move for move in moves if move.template is session]
            events = np.concatenate([move.events for move in mine])
            times = np.concatenate([move.start_us + move.offsets_us for move in mine])
            assert sorted(events.tolist()) == list(range(session.n_events))
            assert (np.diff(times[np.argsort(events, kind="stable")]) >= 0).all()
            assert len({move.source for move in mine}) == (len(mine))
            assert place or (len(mine) > 1) == (variant == "split")


def test_a_recorded_incident_is_stretched_only() -> None:
    first, second = make_moves(EPISODE, "recorded", 5.0, np.random.default_rng(0))
    assert (first.offsets_us == EPISODE.sessions[0].offsets_us * 5).all()
    assert second.start_us == 90_000_000 * 5
    assert count_sessions((first, second), SPLITTING) == 2  # the pause of 50 s became 250 s: one session of each identity
    assert {move.source for move in (first, second)} == {""}


def test_a_slower_incident_falls_apart() -> None:
    recorded = count_sessions(make_moves(EPISODE, "recorded", 5.0, np.random.default_rng(0)), SPLITTING)
    slower = [count_sessions(make_moves(EPISODE, "slower", 5.0, np.random.default_rng(seed)), SPLITTING) for seed in range(5)]
    assert min(slower) > recorded
    long = episode(template([0, 5000]))
    (move,) = make_moves(long, "slower", 5.0, np.random.default_rng(0))
    assert move.offsets_us[-1] <= 12 * 3600 * 1_000_000


def test_variants_in_the_archives(simulated: Simulated) -> None:
    lines = {incident["incident_id"]: incident for incident in simulated.incidents}
    assert set(simulated.manifest["made"]["variants"]) == {"recorded", "slower", "split", "mixed"}
    templates = {template["template_id"]: template for span in simulated.manifest["spans"] for template in span["templates"]}
    split = [incident for incident in lines.values() if incident["variant"] == "split"]
    assert all(len(incident["source_ips"]) > 1 for incident in split)
    mixed = simulated.truth.filter((pl.col("variant") == "mixed") & (pl.col("other_template_ids").list.len() > 0))
    assert mixed.height > 0
    for row in mixed.iter_rows(named=True):
        assert row["kind"] == "malicious"
        assert [templates[other]["kind"] for other in row["other_template_ids"]] == ["benign"]
        usual = simulated.truth.filter((pl.col("actor") == row["actor"]) & (pl.col("kind") == "benign") & (pl.col("cluster") == row["cluster"]))
        assert row["source_ip"] in usual["source_ip"].to_list()
    found = simulated.session_events.join(simulated.truth.select("session_id", "incident_id", "kind"), on="session_id").filter(pl.col("kind") != "benign")
    owners = {audit_id: incident["incident_id"] for incident in lines.values() for audit_id in incident["audit_ids"]}
    wrong = [event for event, incident in found.select("event_id", "incident_id").iter_rows() if event in owners and owners[event] != incident]
    assert wrong == []


def test_attackers_come_from_addresses_of_their_own(simulated: Simulated) -> None:
    far = simulated.truth.filter((pl.col("kind") == "malicious") & ~pl.col("source_ip").str.starts_with("10."))
    assert far["source_ip"].n_unique() > 0.5 * far["incident_id"].n_unique()


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=60))
def test_sessions_are_cut_as_the_sessions_stage_cuts_them(seconds: list[int]) -> None:
    times = np.sort(np.array(seconds)) * 1_000_000 + 1_800_000_000_000_000
    ours = SPLITTING.cuts(times)
    events = pl.DataFrame({
        "event_id": [f"e{number:03d}" for number in range(len(times))], "cluster": "c", "actor": "a", "source_ip": "10.0.0.1",
        "time": pl.Series(times).cast(pl.Datetime("us", "UTC")),
    })
    theirs = split_sessions(events, SessionSettings()).sort("event_id")["session_id"].rle_id().to_list()
    assert theirs == [number for number, cut in enumerate(ours) for _ in cut]


def test_a_template_cut_in_two_keeps_its_rhythm() -> None:
    whole = template([0, 1, 4, 9, 16, 25])
    first, second = split_template(whole, 2)
    assert first.offsets_us.tolist() == [0, 1_000_000]
    assert second.offsets_us.tolist() == [0, 5_000_000, 12_000_000, 21_000_000]
    assert first.rows + second.rows == whole.rows
    assert first.template_id != second.template_id != whole.template_id


def test_drifts_begin_when_they_should(simulated: Simulated) -> None:
    planted = {drift["kind"]: drift for drift in simulated.manifest["drifts"]}
    assert set(planted) == {"new_team", "new_client", "new_operator", "volume", "new_key"}
    at = {kind: pl.Series([drift["at"]]).str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_zone="UTC")[0] for kind, drift in planted.items()}

    def here(kind: str) -> pl.DataFrame:
        return simulated.truth.filter(pl.col("cluster").is_in(planted[kind]["clusters"]))

    team = here("new_team").filter(pl.col("team") == planted["new_team"]["team"])
    assert team.height > 20
    assert team["start"].min() >= at["new_team"]
    client = simulated.events.filter(pl.col("user_agent") == planted["new_client"]["agent"])
    assert client["time"].min() >= at["new_client"]
    assert client["cluster"].unique().to_list() == planted["new_client"]["clusters"]
    later = simulated.events.filter((pl.col("time") >= at["new_client"]) & (pl.col("actor_kind") == "human") & pl.col("cluster").is_in(client["cluster"].unique().to_list()))
    assert 0.15 < client["user"].n_unique() / later["user"].n_unique() < 0.85
    operator = here("new_operator").filter(pl.col("actor").is_in(planted["new_operator"]["actors"]))
    assert operator.filter((pl.col("start") < at["new_operator"]) & (pl.col("kind") == "benign")).is_empty()
    assert operator.height > 0
    loud = here("volume").filter(pl.col("actor").is_in(planted["volume"]["actors"]) & (pl.col("kind") == "benign"))
    before, after = (loud.filter(condition).height for condition in (pl.col("start") < at["volume"], pl.col("start") >= at["volume"]))
    days_before = (at["volume"] - pl.Series([simulated.manifest["spans"][0]["start"]]).str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_zone="UTC")[0]).days
    assert after / (14 - days_before) > 2 * before / days_before


def test_drift_is_checked() -> None:
    with pytest.raises(InputError, match="no drift 'flood'"):
        Drift("flood", 3)
    assert default_drifts(9, 1) == ()
    assert [drift.cluster for drift in default_drifts(30, 2)] == [0, 1, 0, 1, 0]


@given(st.integers(1, 400), st.lists(st.floats(0.01, 5), min_size=1, max_size=5))
def test_every_span_has_days_in_order(days: int, shares: list[float]) -> None:
    spans = [(f"s{number}", share) for number, share in enumerate(shares)]
    if len(spans) > days:
        with pytest.raises(InputError):
            make_calendar("2027-01-04", days, spans)
        return
    calendar = make_calendar("2027-01-04", days, spans)
    assert len(calendar.span_of_day) == days
    assert list(calendar.span_of_day) == sorted(calendar.span_of_day)
    assert set(calendar.span_of_day) == set(range(len(spans)))


def test_working_hours_are_shares() -> None:
    assert WORKING_HOURS.sum() == pytest.approx(1)
    assert make_calendar("2027-01-04", 7, None).is_weekend(5)
    assert make_calendar("2027-01-04", 2, None).span_names == ("all",)


def test_attacks_become_more_frequent_and_nothing_else_does(tmp_path: Path) -> None:
    """Ten days at the usual rate, ten at ten times that rate; their number in all is what the prevalence makes it."""
    made = simulate(SAMPLE, tmp_path / "out", days=20, events=40_000, prevalence=0.2, spans={"all": 1.0}, drifts=[Drift("attacks", 10, factor=10.0)])
    truth = read_truth(tmp_path / "out")
    late = pl.col("start") >= pl.lit(truth["start"].min()).dt.truncate("1d") + pl.duration(days=10)
    counts = truth.group_by("kind", late=late).agg(n=pl.len(), incidents=pl.col("incident_id").n_unique())
    incidents = {(kind, is_late): n for kind, is_late, n in counts.select("kind", "late", "incidents").iter_rows()}
    assert incidents["malicious", True] > 3 * incidents.get(("malicious", False), 0)
    benign = {is_late: n for kind, is_late, n in counts.select("kind", "late", "n").iter_rows() if kind == "benign"}
    assert 0.7 < benign[True] / benign[False] < 1.4
    assert 0.15 < made.prevalence < 0.25
    assert json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["drifts"][0]["factor"] == 10.0
