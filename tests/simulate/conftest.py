"""One simulation of the small recording, made once; and the events that the reader finds in it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audit_lab.archive.reader import Reading, read_archive
from audit_lab.profile import Profile
from audit_lab.sessions.windows import split_sessions
from audit_lab.simulate import SimulationReport, match_sessions, read_truth, simulate
from tests.simulate.recorded import write_recording

ASKED: dict[str, Any] = {"days": 14, "events": 30_000, "clusters": 2, "seed": 3, "prevalence": 0.03}


@dataclass
class Simulated:
    """A simulation and what is found in it."""

    source: Path
    out: Path
    report: SimulationReport

    @cached_property
    def read(self) -> tuple[pl.DataFrame, list[Reading]]:
        """What the archive reader makes of all archives; stages of one request become one row."""
        frames, readings = [], []
        for file in sorted((self.out / "archives").rglob("*.log.gz")):
            readings.append(Reading())
            frames.extend(read_archive(file, Profile().archive, file.parent.name, readings[-1]))
        rows = pl.concat(frames).sort("stage_time")
        return rows.group_by("cluster", "event_id", maintain_order=True).last(), readings

    @cached_property
    def lines(self) -> list[tuple[str, bytes]]:
        """Cluster and text of every record, archive by archive."""
        return [
            (file.parent.name, line) for file in sorted((self.out / "archives").rglob("*.log.gz"))
            for line in gzip.decompress(file.read_bytes()).splitlines()
        ]

    @property
    def events(self) -> pl.DataFrame:
        """Events as ingest keeps them, one row per audit ID."""
        return self.read[0]

    @cached_property
    def truth(self) -> pl.DataFrame:
        """Simulated sessions with the sessions that the default profile finds."""
        return match_sessions(read_truth(self.out), self.session_events)

    @cached_property
    def session_events(self) -> pl.DataFrame:
        """What the default profile finds."""
        return split_sessions(self.events, Profile().sessions)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """manifest.json."""
        manifest: dict[str, Any] = json.loads((self.out / "manifest.json").read_text(encoding="utf-8"))
        return manifest

    @cached_property
    def incidents(self) -> list[dict[str, Any]]:
        """Lines of incidents.jsonl."""
        return [json.loads(line) for line in (self.out / "incidents.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Two weeks of two clusters."""
    folder = tmp_path_factory.mktemp("simulated")
    source = write_recording(folder / "recording")
    return Simulated(source, folder / "out", simulate(source, folder / "out", **ASKED))
