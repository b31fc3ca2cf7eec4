"""No secret of a recording is found in a simulation, plain or base64."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_lab.archive.reader import Reading, read_archive
from audit_lab.profile import Profile
from audit_lab.simulate import simulate
from audit_lab.simulate.scrub import Scrubber, scrub_uri, scrub_words
from tests.simulate.conftest import Simulated
from tests.simulate.recorded import SECRETS

KEY = "AbC9dEf8GhI7jKl6"


def lines(folder: Path, pattern: str = "*") -> pl.Series:
    """All lines of all files, unzipped."""
    files = [file for file in sorted(folder.rglob(pattern)) if file.is_file()]
    texts = [gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in files]
    return pl.Series([line for text in texts for line in text.decode("utf-8", "replace").split("\n")])


def spellings(secret: str) -> list[str]:
    """The secret, and what its base64 looks like wherever in a text it stands."""
    encoded = [base64.b64encode(b"x" * shift + secret.encode()).decode().rstrip("=")[:-1] for shift in range(3)]
    return [secret, encoded[0], encoded[1][2:], encoded[2][3:]]


def survivors(found: pl.Series, secrets: Iterable[str]) -> set[str]:
    """The secrets that stand in any of the lines."""
    owners = {spelling: secret for secret in secrets for spelling in spellings(secret)}
    hits = found.to_frame("line").filter(pl.col("line").str.contains_any(list(owners)))["line"]
    return {secret for spelling, secret in owners.items() if hits.str.contains(spelling, literal=True).any()}


def ingested(files: list[Path]) -> pl.DataFrame:
    """Events of archives, one row per audit ID, its last stage."""
    rows = pl.concat([batch for file in files for batch in read_archive(file, Profile().archive, "c", Reading())]).sort("stage_time")
    counts = rows.group_by("event_id").agg(pl.len().cast(pl.Int64).alias("n_stages"))
    return rows.group_by("event_id", maintain_order=True).last().drop("n_stages").join(counts, on="event_id")


def canaries(folder: Path) -> list[str]:
    """The planted secrets of a recording."""
    return [json.loads(line)["canary"] for line in (folder / "canaries.jsonl").read_text(encoding="utf-8").splitlines()]


def test_no_planted_secret_survives(simulated: Simulated) -> None:
    assert survivors(lines(simulated.source, "audit*"), SECRETS.values()) == set(SECRETS.values())  # all were planted
    assert survivors(lines(simulated.out), SECRETS.values()) == set()


@pytest.fixture(scope="module")
def from_sample(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Three days out of the sample, with every recorded incident as it was."""
    out = tmp_path_factory.mktemp("sample") / "out"
    report = simulate(sample, out, days=3, events=60_000, seed=11, prevalence=0.06, variants={"recorded": 1.0}, max_template_events=15_000)
    return Simulated(sample, out, report)


def test_no_canary_of_the_sample_survives(sample: Path, from_sample: Simulated) -> None:
    assert from_sample.report.n_templates > 150
    assert len(survivors(lines(sample, "audit*"), canaries(sample))) > 20
    assert survivors(lines(from_sample.out), canaries(sample)) == set()


# What rules read and what no new name may change.
SAME = (
    "verb", "resource", "subresource", "api_group", "api_version", "level", "stage", "n_stages", "decision", "status", "status_reason", "actor_kind",
    "source_class", "client_family", "truncated", "has_body", "granted", "granted_classes", "privileged", "host_pid", "host_network", "host_ipc",
    "host_paths", "capabilities", "command_classes", "owner_kind", "replicas", "service_type", "webhook_failure_policies", "csr_signer",
    "csr_condition", "token_audiences", "token_expiry_s", "secret_type", "access_review", "latency_ms",
)


def test_incidents_mean_what_they_meant(from_sample: Simulated) -> None:
    assert compare_incidents(from_sample) > 20


@pytest.mark.slow
def test_all_recorded_incidents_mean_what_they_meant(recordings: Path, tmp_path: Path) -> None:
    report = simulate(recordings / "dev", tmp_path / "out", days=4, events=80_000, seed=5, prevalence=0.08, variants={"recorded": 1.0})
    assert compare_incidents(Simulated(recordings / "dev", tmp_path / "out", report)) > 50


def compare_incidents(simulated: Simulated) -> int:
    """Compare the events of every simulated incident with those of the recorded one; return how many recorded ones there were."""
    recorded = ingested(sorted(simulated.source.glob("audit*.log.gz")))
    made = ingested(sorted((simulated.out / "archives").rglob("*.log.gz")))
    labels = [json.loads(line) for line in (simulated.source / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    wanted = {label["incident_id"]: recorded.filter(pl.col("event_id").is_in(label["audit_ids"])) for label in labels}
    seen = set()
    for incident in simulated.incidents:
        before, after = wanted[incident["recorded_incident"]], made.filter(pl.col("event_id").is_in(incident["audit_ids"]))
        for column in SAME:
            columns = [sorted(map(str, frame[column].to_list())) for frame in (before, after)]
            assert columns[0] == columns[1], (incident["recorded_incident"], column)
        seen.add(incident["recorded_incident"])
    return len(seen)


BODIES: list[Any] = [
    {"kind": "Secret", "data": {"k": KEY}}, {"kind": "Secret", "stringData": {"k": KEY}}, {"data": {"k": f"a={KEY}"}}, {"binaryData": {"k": KEY}},
    {"spec": {"containers": [{"env": [{"name": "A", "value": KEY}]}]}}, {"spec": {"containers": [{"args": ["--token", KEY]}]}},
    {"spec": {"containers": [{"args": [f"--api-key={KEY}"]}]}}, {"spec": {"containers": [{"command": ["sh", "-c", f"login -p {KEY}"]}]}},
    {"metadata": {"annotations": {"note": KEY}}}, {"metadata": {"labels": {"note": KEY}}}, {"status": {"token": KEY}}, {"spec": {"token": KEY}},
    {"webhooks": [{"clientConfig": {"caBundle": KEY, "url": f"https://u:{KEY}@h/"}}]}, {"status": {"certificate": KEY}},
    [{"op": "add", "path": "/data/x", "value": KEY}], [{"op": "add", "path": "/data", "value": {"data": {"x": KEY}}}],
    [{"op": "add", "path": "/spec/containers/0/args", "value": ["--x", KEY]}], {"items": [{"data": {"k": KEY}}]}, {"anything": {"else": [KEY]}},
    [{"op": "add", "path": "/metadata/annotations/name", "value": KEY}], [{"op": "add", "path": "/metadata/annotations", "value": {"name": KEY}}],
    [{"op": "replace", "path": "/spec/containers/0/env/0/value", "value": KEY}], [{"op": "add", "path": "/spec/containers/0/env/-", "value": {"name": "A", "value": KEY}}],
    [{"op": "add", "path": "/spec/containers/0/args", "value": ["--token", KEY]}], [{"op": "add", "path": "/stringData/name", "value": KEY}],
    {"metadata": {"annotations": {"note": f"ignore previous instructions, password: {KEY}"}}}, {"message": f"token={KEY} refused"},
]


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_bodies_are_scrubbed(body: Any) -> None:
    for key in ("requestObject", "responseObject"):
        assert KEY not in json.dumps(Scrubber().record({"objectRef": {"resource": "pods"}, key: body}))


def test_what_detection_reads_is_kept() -> None:
    body = {
        "kind": "Pod", "metadata": {"name": "x", "annotations": {"n": "ignore previous instructions"}},
        "spec": {
            "hostPID": True, "serviceAccountName": "app", "volumes": [{"hostPath": {"path": "/"}}], "containers": [{
                "image": "docker.io/x:1", "command": ["nsenter", "-t", "1"], "args": ["--donate-level=1"],
                "securityContext": {"privileged": True, "capabilities": {"add": ["SYS_ADMIN"]}}}]},
    }
    assert Scrubber().record({"requestObject": body})["requestObject"] == body
    binding = {"kind": "ClusterRoleBinding", "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "subjects": [{"kind": "User", "name": "a@b"}],
               "rules": [{"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"]}]}
    assert Scrubber().record({"requestObject": binding})["requestObject"] == binding
    patch = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"},
             {"op": "add", "path": "/rules/-", "value": {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}}]
    assert Scrubber().record({"requestObject": patch})["requestObject"] == patch


@pytest.mark.parametrize(("uri", "expected"), [
    ("/api/v1/secrets?limit=500&token=abc", "/api/v1/secrets?limit=500&token=***"),
    ("/api/v1/secrets?" + KEY + "=1", "/api/v1/secrets?***=***"),
    ("/exec?command=mysql&command=--password&command=hunter2", "/exec?command=mysql&command=--password&command=***"),
    ("/exec?command=cat&command=%2Fetc%2Fpasswd", "/exec?command=cat&command=%2Fetc%2Fpasswd"),
    ("/exec?command=curl&command=http%3A%2F%2Fu%3Apw%40h%2F", "/exec?command=curl&command=***"),
    ("/api/v1/namespaces/a/serviceaccounts/b/token", "/api/v1/namespaces/a/serviceaccounts/b/token"),
    (f"/apis/oauth.openshift.io/v1/oauthaccesstokens/sha256~{KEY}", "/apis/oauth.openshift.io/v1/oauthaccesstokens/sha256~***"),
])
def test_uris_are_scrubbed(uri: str, expected: str) -> None:
    assert scrub_uri(uri) == expected


@pytest.mark.parametrize("text", [
    "kubectl/v1.30.1 (linux/amd64) kubernetes/abc1234", "system:serviceaccount:external-secrets:external-secrets",
    'RBAC: allowed by ClusterRoleBinding "external-secrets" of ClusterRole "external-secrets" to ServiceAccount "external-secrets/external-secrets"',
    "d379e5d8-c981-4f84-9db6-ab5bffb25ac8", "till-7d9f8c6b5-x2k4z.18ea95c7606ed259", 'pods "till-7d9f8c6b5-x2k4z" not found', "cat /var/run/secrets/token",
    "-o stratum+tcp://pool.example:4444 --donate-level=1", "curl http://10.0.0.1:8080/x",
])
def test_plain_words_are_kept(text: str) -> None:
    assert scrub_words(text) == text


@given(st.sampled_from(["--token=", "password: ", "API_KEY=", "Authorization: Bearer ", "https://u:", "-u me:", "x "]), st.integers(3, 9), st.sampled_from(["", "@h/x", "&a=b", " -v"]))
def test_secret_looking_words_go(before: str, times: int, after: str) -> None:
    secret = "k7Q" * times + "z9X1"
    assert secret not in scrub_words(f"curl {before}{secret}{after}")
