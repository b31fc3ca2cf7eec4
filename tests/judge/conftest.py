from __future__ import annotations

import pytest

from audit_lab.judge import build_evidence
from tests.judge.story import story


@pytest.fixture(scope="session")
def case():
    """The takeover story: one case."""
    return story()


@pytest.fixture(scope="session")
def pack(case):
    """The evidence pack of that case, whole."""
    return build_evidence(*case, max_tokens=3000)
