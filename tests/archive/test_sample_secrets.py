"""The planted fake secrets of the sample must not survive reading."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from .conftest import Bench


def spellings(canary: str) -> set[bytes]:
    """Plain, and the part of its base64 form that is the same whatever stands before and behind it."""
    raw = canary.encode()
    return {raw} | {base64.b64encode(b"x" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)}


def test_no_canary_reaches_the_lab(bench: Bench, sample: Path) -> None:
    bench.ingest(sample)
    stored = bench.store.read("events").write_ndjson().encode() + bench.store.read("quarantine").write_ndjson().encode()
    stored += bench.store.read("archives").write_ndjson().encode()
    canaries = [json.loads(line) for line in (sample / "canaries.jsonl").read_text().splitlines()]
    assert sum(item["occurrences_plain"] > 0 for item in canaries) > 40, "the sample must hold canaries for this test to mean anything"
    leaked = [item["kind"] for item in canaries for spelling in spellings(item["canary"]) if spelling in stored]
    assert leaked == []
    assert bench.ledger()["balanced"].all()
