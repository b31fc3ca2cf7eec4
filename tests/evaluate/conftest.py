"""Fixtures of the evaluation's tests."""

from __future__ import annotations

import pytest
from evaluation_story import Story


@pytest.fixture
def story() -> Story:
    return Story()
