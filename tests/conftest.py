"""Fixtures for every test: the sample archive, and the full recordings where they are at hand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from audit_lab import Lab

from .small_lab import run_small_lab

ROOT = Path(__file__).parent.parent

# A busy machine is no failure: properties are judged by what they say, not by how long one example took.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def sample() -> Path:
    """The sample archive that comes with the project."""
    return ROOT / "data"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The full recordings; tests that need them are skipped where they are not at hand."""
    folder = Path(os.environ.get("AUDIT_LAB_RECORDINGS", ROOT.parent / "shared" / "data"))
    if not (folder / "dev").is_dir():
        pytest.skip("needs the full recordings: set AUDIT_LAB_RECORDINGS")
    return folder


@pytest.fixture(scope="session")
def run_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small lab, run once with the rules alone; nobody writes to it."""
    return run_small_lab(tmp_path_factory.mktemp("small")).store.root


@pytest.fixture
def lab(run_lab: Path, tmp_path: Path) -> Lab:
    """A copy of the small lab that a test may change; modules with other wants have a `lab` of their own."""
    return Lab(shutil.copytree(run_lab, tmp_path / "lab"))
