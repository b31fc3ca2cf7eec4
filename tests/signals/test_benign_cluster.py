"""A real benign cluster that others recorded: nothing there may pass as an incident."""

import os
from pathlib import Path

import polars as pl
import pytest

from audit_lab.lab import Lab
from benchmarks.benign import PUBLIC, flagged, write_perfspec

FOLDER = Path(os.environ.get("AUDIT_LAB_RECORDINGS", PUBLIC.parent)) / "public" / "perfspec_k8s_event_dataset"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the public samples are not here")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    archive = tmp_path_factory.mktemp("perfspec") / "perfspec.jsonl"
    assert write_perfspec(FOLDER, archive) == 16_563
    made = Lab(archive.parent / "lab")
    made.ingest(archive)
    made.run(until="candidates")
    return made


def test_every_complete_row_becomes_an_event_or_a_stage_of_one(lab: Lab) -> None:
    assert lab.store.rows("events") == 16_474
    assert lab.ledger()["balanced"].all()
    kinds = dict(lab.sessions.group_by("actor_kind").len().collect().iter_rows())
    assert sum(kinds.values()) >= 46
    assert {"node", "controller", "service_account", "human"} <= set(kinds)


def test_installing_and_removing_sixty_charts_is_no_incident(lab: Lab) -> None:
    assert flagged(lab).is_empty()
    assert lab.signals.filter(pl.col("floor").is_not_null()).collect().is_empty()


def test_the_control_planes_first_minutes_are_no_incident_although_everything_is_new(lab: Lab) -> None:
    fused = lab.scores.filter(pl.col("detector_id") == "fused").join(lab.sessions.select("session_id", "actor_kind"), on="session_id").collect()
    assert fused.filter(pl.col("actor_kind").is_in(["controller", "node"]))["score"].max() < 0.3
