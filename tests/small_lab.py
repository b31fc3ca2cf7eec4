"""A lab of two people, small enough to run in every test that needs one."""

from __future__ import annotations

from pathlib import Path

from audit_lab import Lab

from .archive.conftest import lines, record


def small_archive(folder: Path) -> Path:
    """Two people over a few minutes: one lists pods, one reads secrets from a public address."""
    events = []
    for n in range(40):
        stamp = f"2026-01-01T10:{n // 2:02d}:{(n % 2) * 30:02d}.000000Z"
        events.append(record(f"a-{n}", requestReceivedTimestamp=stamp, stageTimestamp=stamp))
    for n in range(12):
        stamp = f"2026-01-01T10:30:{n:02d}.000000Z"
        events.append(record(
            f"b-{n}", verb="get", requestReceivedTimestamp=stamp, stageTimestamp=stamp, sourceIPs=["203.0.113.9"],
            user={"username": "bob@example.org", "groups": ["developers"]}, userAgent="curl/8",
            requestURI=f"/api/v1/namespaces/ns-{n}/secrets/s-{n}",
            objectRef={"resource": "secrets", "namespace": f"ns-{n}", "name": f"s-{n}", "apiVersion": "v1"},
        ))
    path = folder / "audit.log"
    path.write_bytes(lines(*events))
    return path


def run_small_lab(folder: Path) -> Lab:
    """The small archive, read and run with the rules alone, in a lab below `folder`."""
    made = Lab(folder / "lab")
    made.ingest(small_archive(folder))
    made.run(detectors=["rules"])
    return made
