"""The page docs/reductions.md: measured by a script, so the script must run and the page must be its output."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_reductions", ROOT / "tools" / "make_reductions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_area_under_the_curve_by_hand(script):
    assert script.auc(np.array([3.0, 1.0, 2.0]), np.array([True, False, False])) == 1
    assert script.auc(np.array([1.0, 1.0]), np.array([True, False])) == 0.5
    assert np.isnan(script.auc(np.array([1.0]), np.array([True])))


@pytest.mark.slow
def test_the_page_measures_every_reduction(script):
    text = script.page(script.read_recording(ROOT / "data"), "data")
    published = (ROOT / "docs" / "reductions.md").read_text(encoding="utf-8")
    assert subjects(text) == subjects(published)
    assert len(subjects(text)) > 20


def subjects(text: str) -> list[list[str]]:
    """The first cells of the tables: what was measured."""
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    return [row[1:3] if len(row) > 6 else row[1:2] for row in rows]
