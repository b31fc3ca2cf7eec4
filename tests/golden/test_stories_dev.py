"""Golden stories of the recordings: every incident that spans identities is one story, with what it wrongly pulls in.

`AUDIT_LAB_WRITE_GOLDEN=1 pytest tests/golden/test_stories_dev.py` writes the golden files anew; look at the difference before you keep it.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from audit_lab.archive import ingest_archives
from audit_lab.profile_files import load_profile
from audit_lab.review.incidents import read_incidents
from audit_lab.sessions import build_sessions
from audit_lab.sessions.lineage import link_sessions
from audit_lab.sessions.stories import MAX_SESSIONS, build_stories, story_sizes
from audit_lab.store import Store

HERE = Path(__file__).parent


class Recording(NamedTuple):
    """The tables of one recording, and its incidents."""

    name: str
    sessions: pl.DataFrame
    session_events: pl.DataFrame
    links: pl.DataFrame
    stories: pl.DataFrame
    incidents: pl.DataFrame


@pytest.fixture(scope="module", params=["sample", pytest.param("dev", marks=pytest.mark.slow)])
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Read a recording from its archives; 'dev' is skipped where the full recordings are not at hand."""
    folder = request.getfixturevalue("sample") if request.param == "sample" else request.getfixturevalue("recordings") / "dev"
    profile = load_profile("sample", environ={})
    store = Store(tmp_path_factory.mktemp(request.param))
    ingest_archives(store, sorted(folder.glob("audit*.log.gz")), profile.archive, now=datetime(2026, 12, 1, tzinfo=UTC))
    events = store.read("events")
    sessions, session_events = build_sessions(events, profile)
    links = link_sessions(events, sessions, session_events, near_s=profile.sessions.gap_s)
    return Recording(request.param, sessions, session_events, links, build_stories(links, sessions), read_incidents(folder / "labels.jsonl"))


def told(recording: Recording) -> dict[str, Any]:
    """Say of each incident that spans identities how it is told: in how many stories, by which links, and with what else."""
    names = {row["session_id"]: f"{row['actor']} @ {row['source_ip']} {row['start']:%H:%M:%S}" for row in recording.sessions.iter_rows(named=True)}
    core = recording.stories.filter(pl.col("role") != "follow_up")
    story_of = dict(core.select("session_id", "story_id").iter_rows())
    in_incident = incident_sessions(recording)
    incident_of = {session: incident for incident, sessions in in_incident.items() for session in sessions}
    incidents = {}
    for row in recording.incidents.sort("incident_id").iter_rows(named=True):
        sessions = in_incident[row["incident_id"]]
        if len({names[session].split(" @ ")[0] for session in sessions}) < 2:
            continue
        found = {story_of[session] for session in sessions if session in story_of}
        others = core.filter(pl.col("story_id").is_in(found) & ~pl.col("session_id").is_in(sessions))["session_id"].to_list()
        joined = recording.links.filter(pl.col("from_session").is_in(sessions) & pl.col("to_session").is_in(sessions) & (pl.col("score") >= 0.5))
        incidents[row["incident_id"]] = {
            "malicious": row["malicious"],
            "sessions": sorted(names[session] for session in sessions),
            "stories": len(found),
            "told": len(found) == 1 and all(session in story_of for session in sessions),
            "links": sorted(set(joined["kind"])),
            "also_in_the_story": sorted(f"{names[other]} ({incident_of.get(other, 'no incident')})" for other in others),
        }
    sizes = {str(size): count for size, count, _ in story_sizes(recording.stories).iter_rows()}
    strays = core.filter(~pl.col("story_id").is_in({story_of.get(session) for incident in incidents for session in in_incident[incident]}))
    return {
        "sessions": recording.sessions.height,
        "stories_by_size": sizes,
        "incidents_that_span_identities": incidents,
        "other_stories": sorted(
            sorted(f"{names[session]} ({incident_of.get(session, 'no incident')})" for session in part["session_id"])
            for part in strays.partition_by("story_id")
        ),
    }


def incident_sessions(recording: Recording) -> dict[str, set[str]]:
    held = recording.incidents.select("incident_id", event_id="audit_ids").explode("event_id").join(recording.session_events, on="event_id")
    return {incident: set(sessions) for incident, sessions in held.group_by("incident_id").agg(pl.col("session_id").unique()).iter_rows()}


def test_stories_are_the_golden_ones(recording: Recording) -> None:
    path = HERE / f"stories_{recording.name}.json"
    text = json.dumps(told(recording), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("AUDIT_LAB_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(text)


def test_every_malicious_incident_that_spans_identities_is_one_story(recording: Recording) -> None:
    spanning = [item for item in told(recording)["incidents_that_span_identities"].values() if item["malicious"]]
    assert len(spanning) >= 4
    assert all(item["told"] for item in spanning)


def test_stories_are_pure_and_small(recording: Recording) -> None:
    incidents = told(recording)["incidents_that_span_identities"].values()
    own, strange = sum(len(item["sessions"]) for item in incidents), sum(len(item["also_in_the_story"]) for item in incidents)
    assert own / (own + strange) >= 0.9
    assert recording.stories.group_by("story_id").len()["len"].max() <= MAX_SESSIONS
    # A story for every few dozen sessions at most: links are not everywhere.
    assert recording.stories["story_id"].n_unique() <= recording.sessions.height / 20


def test_no_story_holds_two_malicious_incidents(recording: Recording) -> None:
    malicious = set(recording.incidents.filter("malicious")["incident_id"])
    story_of = dict(recording.stories.filter(pl.col("role") != "follow_up").select("session_id", "story_id").iter_rows())
    seen: dict[str, str] = {}
    for incident, sessions in incident_sessions(recording).items():
        for story in {story_of[session] for session in sessions if session in story_of and incident in malicious}:
            assert seen.setdefault(story, incident) == incident


def test_the_setup_of_the_cluster_is_in_no_story(recording: Recording) -> None:
    busiest = recording.links.filter(pl.col("kind") != "follow_up").group_by("from_session").len().sort("len", descending=True).row(0)
    assert busiest[1] > 20
    assert busiest[0] not in recording.stories["session_id"].to_list()
