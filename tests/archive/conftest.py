"""Small audit records, written as files."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audit_lab.archive import IngestResult, ingest_archives, make_ledger
from audit_lab.profile_files import load_profile
from audit_lab.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(audit_id: str = "id-1", **changes: Any) -> dict[str, Any]:
    """A complete event of a person who lists pods; keyword arguments replace keys, None removes them."""
    event: dict[str, Any] = {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": audit_id, "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/dev/pods?limit=500", "verb": "list",
        "user": {"username": "ann@example.org", "groups": ["developers", "system:authenticated"]},
        "sourceIPs": ["198.51.100.7", "10.0.0.9"], "userAgent": "kubectl/v1.30.1 (linux/amd64) kubernetes/abc",
        "objectRef": {"resource": "pods", "namespace": "dev", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "2026-01-01T10:00:00.000001Z", "stageTimestamp": "2026-01-01T10:00:00.250001Z",
        "annotations": {"authorization.k8s.io/decision": "allow",
                        "authorization.k8s.io/reason": 'RBAC: allowed by RoleBinding "team/dev" of ClusterRole "view" to Group "developers"'},
    }
    event.update(changes)
    return {key: value for key, value in event.items() if value is not None}


def lines(*records: Any) -> bytes:
    return b"".join((item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n" for item in records)


class Bench:
    """A lab in a temporary folder with short verbs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "lab")

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    def ingest(self, *sources: str | Path, cluster: str | None = None) -> IngestResult:
        return ingest_archives(self.store, list(sources), load_profile(environ={}).archive, cluster=cluster, now=NOW)

    def read(self, *records: Any, name: str = "audit.log") -> pl.DataFrame:
        self.ingest(self.write(name, lines(*records)))
        return self.store.read("events").sort("position")

    def ledger(self) -> pl.DataFrame:
        return make_ledger(
            self.store.read("archives"), self.store.read("events").select("archive_id"), self.store.read("quarantine").select("archive_id")
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
