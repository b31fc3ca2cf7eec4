"""What is flagged where nothing bad happened: a real benign cluster recorded by others, and other people's samples.

    python benchmarks/benign.py [FOLDER]      (the folder of public samples; default shared/data/public beside the checkout)

Prints, for each recording, sessions, those over the threshold with their rules, and the detectors and rules that fire most.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

sys.path.insert(0, str(Path(__file__).parent.parent))

from audit_lab import AuditLabError
from audit_lab.lab import Lab

ROOT = Path(__file__).parent.parent
PUBLIC = ROOT.parent / "shared" / "data" / "public"
_PATH = re.compile(r"^/(?:api|apis/(?P<group>[^/?]+))/(?P<version>v[^/?]+)(?:/namespaces/(?P<namespace>[^/?]+)(?=/[^?]))?")
_OTHERS = ("audit2rbac/demo.log", "splunk/kubernetes_audit_example.jsonl", "stratus_k8s_docs/detection_snippets.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=PUBLIC, type=Path)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "perfspec.jsonl"
        write_perfspec(folder / "perfspec_k8s_event_dataset", archive)
        for number, path in enumerate([archive, *(folder / name for name in _OTHERS)]):
            lab = Lab(Path(scratch) / f"lab{number}")
            try:
                lab.ingest(path)
                lab.run()
            except AuditLabError as error:
                print(f"\n{path.name}: {error}")
                continue
            print(f"\n{path.name}: {describe(lab)}")


def describe(lab: Lab) -> str:
    """Return how many sessions reach the threshold, why, and what fires at all."""
    read = lab.store.read
    over, sessions, signals = flagged(lab), read("sessions"), read("signals")
    fired = (
        signals.group_by("kind", "detector_id").agg(pl.len(), pl.col("strength").max())
        .sort("len", "detector_id", descending=[True, False])
    )
    lines = [f"{read('events').height} events, {sessions.height} sessions, {over.height} over {lab.profile.evaluate.threshold}"]
    lines += [f"  {row['actor'][:60]}: {row['score']:.2f}, floor {row['floor'] or 0:.1f}: {', '.join(row['detectors'][:6])}"
              for row in over.iter_rows(named=True)]
    lines += [f"  {row['len']:4} x {row['detector_id']} ({row['kind']}, up to {row['strength']:.2f})"
              for row in fired.head(20).iter_rows(named=True)]
    return "\n".join(lines)


def flagged(lab: Lab) -> pl.DataFrame:
    """Return sessions whose fused score or floor reaches the threshold: session_id, actor, score, floor, detectors (strongest first)."""
    read, line = lab.store.read, lab.profile.evaluate.threshold
    fused = read("scores").filter(pl.col("detector_id") == "fused").select("session_id", "score")
    found = (
        read("signals").sort("strength", descending=True).group_by("session_id")
        .agg(pl.col("floor").max(), detectors=pl.col("detector_id"))
    )
    both = fused.join(found, on="session_id", how="left").join(read("sessions").select("session_id", "actor"), on="session_id")
    return both.filter(pl.max_horizontal("score", pl.col("floor").fill_null(0.0)) >= line).sort("score", descending=True)


def write_perfspec(folder: Path, target: Path) -> int:
    """Write the benign cluster of PerfSPEC (a CSV projection) as audit events, JSON lines; return how many.

    Kermabon-Bobinnec et al., "PerfSPEC" (IEEE TDSC 2024), CC BY 4.0. Namespace and API group come from the path; sources, clients and
    bodies are not in the data. The last row is cut off in the original and is left out.
    """
    columns = json.loads((folder / "columns.json").read_text())
    n = 0
    with gzip.open(folder / "audit-logs.csv.gz", "rt", encoding="utf-8", newline="") as rows, target.open("w", encoding="utf-8") as out:
        for values in csv.reader(rows):
            if len(values) == len(columns):
                out.write(json.dumps(_event(dict(zip(columns, values, strict=True)))) + "\n")
                n += 1
    return n


def _event(row: dict[str, str]) -> dict[str, Any]:
    path = _PATH.match(row["requestURI"])
    user = row["user.username"]
    event: dict[str, Any] = {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": row["auditID"], "stage": row["stage"],
        "requestURI": row["requestURI"], "verb": row["verb"], "user": {"username": user, "groups": list(_groups(user))},
        "requestReceivedTimestamp": row["requestReceivedTimestamp"], "stageTimestamp": row["requestReceivedTimestamp"],
    }
    if row["responseStatus.code"]:
        event["responseStatus"] = {"metadata": {}, "code": int(row["responseStatus.code"])}
    if row["objectRef.resource"]:
        parts = path.groupdict() if path else {}
        names = {
            "resource": row["objectRef.resource"], "subresource": row["objectRef.subresource"], "name": row["objectRef.name"],
            "namespace": parts.get("namespace"), "apiGroup": parts.get("group"), "apiVersion": parts.get("version"),
        }
        event["objectRef"] = {key: value for key, value in names.items() if value}
    return event


def _groups(user: str) -> Iterator[str]:
    """The groups that Kubernetes itself gives to such a name."""
    if user.startswith("system:serviceaccount:"):
        yield "system:serviceaccounts"
        yield "system:serviceaccounts:" + user.split(":")[2]
    if user.startswith("system:node:"):
        yield "system:nodes"
    yield "system:unauthenticated" if user == "system:anonymous" else "system:authenticated"


if __name__ == "__main__":
    main()
