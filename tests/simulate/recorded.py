"""A small recording, made in code: twenty minutes of a cluster with people, machines, incidents, look-alikes and planted secrets.

People: ann and ben develop in 'shop' and 'books', cho in 'shop', dora.sre everywhere. Machines: the accounts shop:app and
books:app, ci:deployer, the product flux with its own API group, the scheduler (never pauses), one node, and an informer
whose token is void. Incidents: six malicious (one by two identities, one by impersonation, one by an insider), three benign.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
# Each was planted at one place; none may be found in a simulation, plain or base64.
SECRETS = {
    "env": "CANARY-1111aaaa2222bbbb", "arg": "CANARY-3333cccc4444dddd", "flag": "hunter2-5555eeee", "secret": "CANARY-6666ffff7777aaaa",
    "stringData": "CANARY-8888bbbb9999cccc", "configmap": "CANARY-0000dddd1111eeee", "mail": "canary-2222ffff@corp.example",
    "applied": "CANARY-3333aaaa4444bbbb", "query": "CANARY-5555cccc6666dddd", "agent": "CANARY-7777eeee8888ffff",
    "command": "CANARY-9999aaaa0000bbbb", "patch": "CANARY-1212cdcd3434efef", "token": "CANARY-5656abab7878cdcd", "login": "s3cr3tl0gin77",
}
NAMES = ("ann", "ben", "cho", "dora", "shop", "books", "pool-a1", "old-runner", "10.60.", "10.244.", "203.0.113.77")
CA = base64.b64encode(b"x" * 60).decode()


def signing_request(common_name: str, organization: str) -> str:
    """A real-shaped signing request: a subject, then bytes that stand for a key and a signature."""
    def block(tag: int, content: bytes) -> bytes:
        return bytes([tag, len(content)]) + content

    subject = b"".join(
        block(0x31, block(0x30, b"\x06\x03\x55\x04" + kind + block(0x0C, text.encode()))) for kind, text in ((b"\x0a", organization), (b"\x03", common_name))
    )
    der = block(0x30, block(0x30, block(0x02, b"\x00") + block(0x30, subject)) + b"\x03\x10" + b"signature-bytes!")
    pem = "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.b64encode(der).decode() + "\n-----END CERTIFICATE REQUEST-----\n"
    return base64.b64encode(pem.encode()).decode()


@dataclass
class Tape:
    """Collects records and labels."""

    random: random.Random = field(default_factory=lambda: random.Random(1))
    records: list[dict[str, Any]] = field(default_factory=list)
    incidents: list[dict[str, Any]] = field(default_factory=list)

    def request(
        self, at_s: float, user: str, source: str, verb: str, resource: str, namespace: str = "", name: str = "", *, sub: str = "", group: str = "",
        agent: str = "kubectl/v1.30.1 (linux/amd64) kubernetes/abc1234", code: int = 200, body: Any = None, answer: Any = None, query: str = "",
        impersonated: str = "", stages: tuple[str, ...] = ("ResponseComplete",), latency_s: float = 0.01,
    ) -> str:
        audit_id = str(UUID(int=self.random.getrandbits(128), version=4))
        base = f"/apis/{group}/v1" if group else "/api/v1"
        place = f"/namespaces/{namespace}" if namespace else ""
        uri = f"{base}{place}/{resource}{f'/{name}' if name else ''}{f'/{sub}' if sub else ''}{f'?{query}' if query else ''}"
        identity: dict[str, Any] = {}
        if user:
            groups = ["system:authenticated"]
            identity = {"username": user, "groups": groups}
            if user.startswith("system:serviceaccount:"):
                home, account = user.split(":")[2:]
                identity = {"username": user, "uid": f"aaaaaaaa-0000-4000-8000-{abs(hash_of(user)):012x}", "groups": [f"system:serviceaccounts:{home}", *groups],
                            "extra": {"authentication.kubernetes.io/pod-name": [f"{account}-7d9f8c6b5-x2k4z"]}}
            elif "@" in user:
                identity["groups"] = ["builders", *groups]
        about = {"resource": resource, "namespace": namespace, "name": name, "apiGroup": group, "subresource": sub, "apiVersion": "v1"}
        reason = f'RBAC: allowed by RoleBinding "edit/{namespace}" of ClusterRole "edit" to User "{user}"' if namespace else ""
        for number, stage in enumerate(stages):
            at = T0 + timedelta(seconds=at_s)
            record = {
                "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse" if body is not None or answer is not None else "Metadata",
                "auditID": audit_id, "stage": stage, "requestURI": uri, "verb": verb, "user": identity,
                **({"impersonatedUser": {"username": impersonated, "groups": ["system:authenticated"]}} if impersonated else {}),
                "sourceIPs": [source], "userAgent": agent, "objectRef": {key: value for key, value in about.items() if value},
                **({"responseStatus": {"metadata": {}, "code": code}} if stage != "RequestReceived" else {}),
                **({"requestObject": body} if body is not None else {}), **({"responseObject": answer} if answer is not None else {}),
                "requestReceivedTimestamp": text(at), "stageTimestamp": text(at + timedelta(seconds=latency_s * number + (latency_s if number or len(stages) == 1 else 0))),
                **({"annotations": {"authorization.k8s.io/decision": "allow" if code < 400 else "forbid", "authorization.k8s.io/reason": reason}} if user else {}),
            }
            self.records.append(record)
        return audit_id

    def label(self, number: int, malicious: bool, title: str, audit_ids: list[str]) -> None:
        self.incidents.append({
            "incident_id": f"rec-{number}", "title": title, "malicious": malicious, "technique_ids": ["T1078"] if malicious else [], "category": title.split(" ", maxsplit=1)[0],
            "audit_ids": audit_ids, **({} if malicious else {"reason": "a planned change"}),
        })


def hash_of(text_: str) -> int:
    """A number below 16**12 that does not change between runs."""
    return int.from_bytes(text_.encode()[-5:], "big")


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def pod_body(name: str, namespace: str, **container: Any) -> dict[str, Any]:
    return {
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-03-02T08:00:00Z", "annotations": {
            "ops.example/mail": SECRETS["mail"], "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"env": SECRETS["applied"]}),
        }, "labels": {"app": name}, "managedFields": [{"manager": "kubectl"}]},
        "spec": {"serviceAccountName": "app", "nodeName": "pool-a1", "containers": [{
            "name": name, "image": "registry.example.com/shop/till:1.2", "env": [{"name": "DB_PASSWORD", "value": SECRETS["env"]}],
            "args": [f"--token={SECRETS['arg']}", "--password", SECRETS["flag"], "--verbose"], **container,
        }]},
    }


def people(tape: Tape) -> None:
    usual = {"ann@corp.example": ("10.60.200.1", "shop"), "ben@corp.example": ("10.60.200.2", "books"), "cho@corp.example": ("10.60.200.3", "shop"),
             "dora.sre@corp.example": ("10.60.201.1", "books")}
    for user, (source, namespace) in usual.items():
        at = 5.0 + hash_of(user) % 7
        for visit in range(6):
            for step in range(6 + tape.random.randrange(10)):
                verb, resource, name = tape.random.choice([("list", "pods", ""), ("get", "pods", "till-7d9f8c6b5-x2k4z"), ("get", "configmaps", "settings"), ("list", "services", "")])
                query = tape.random.choice(["limit=500", "labelSelector=app%3Dtill", "fieldSelector=metadata.namespace%3D" + namespace])
                tape.request(at, user, source, verb, resource, namespace, name, query=query if verb == "list" else "")
                at += tape.random.uniform(0.2, 25.0) if step % 4 == 3 else tape.random.uniform(0.1, 3.0)
            if visit % 2:
                tape.request(at, user, source, "patch", "deployments", namespace, "till", group="apps", body=[
                    {"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": SECRETS["patch"]}], answer=pod_body("till", namespace))
            at += 90 + tape.random.uniform(0, 30)


def machines(tape: Tape) -> None:
    for second in range(0, 1200, 2):
        tape.request(second + 0.3, "system:kube-scheduler", "10.60.0.10", "create", "pods", "shop", f"till-7d9f8c6b5-{'x2k4z' if second % 4 else 'b7v9q'}",
                     sub="binding", agent="kube-scheduler/v1.30.1", body={"kind": "Binding", "target": {"kind": "Node", "name": "pool-a1"}})
        if second % 4 == 0:
            tape.request(second + 0.5, "system:serviceaccount:flux-system:flux", "10.244.1.9", "get", "kustomizations", "shop", "main",
                         group="flux.toolkit.io", agent="flux/v2.1 (linux/amd64)")
    for account, source in (("shop:app", "10.244.1.20"), ("books:app", "10.244.1.21"), ("ci:deployer", "10.244.1.22")):
        for visit in range(7):
            for step in range(8):
                at = 20 + visit * 165 + step * 1.5 + hash_of(account) % 5
                tape.request(at, f"system:serviceaccount:{account}", source, "get", "configmaps", "shop", "settings", agent="Go-http-client/2.0",
                             answer={"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}, "data": {"password": SECRETS["configmap"]}})
            tape.request(at + 2, f"system:serviceaccount:{account}", source, "get", "secrets", "shop", "db", agent="Go-http-client/2.0", answer={
                "kind": "Secret", "metadata": {"name": "db", "namespace": "shop"}, "data": {"password": base64.b64encode(SECRETS["secret"].encode()).decode()}})
    for visit in range(6):
        for step in range(10):
            tape.request(30 + visit * 180 + step * 2, "system:node:pool-a1", "10.60.1.11", "patch", "pods", "books", "reader-0", sub="status", agent="kubelet/v1.30.1",
                         body={"status": {"podIP": "10.244.1.33", "conditions": [{"type": "Ready", "status": "True"}]}}, stages=("RequestReceived", "ResponseComplete"))
            tape.request(31 + visit * 180 + step * 2, "", "10.244.1.40", "list", "endpoints", code=401, agent="Go-http-client/2.0", stages=("ResponseStarted",))


def incidents(tape: Tape) -> None:
    far = "203.0.113.77"
    ids = [tape.request(100 + step * 3, "ann@corp.example", far, "get", "secrets", "shop", f"db-{step}", query=f"access_token={SECRETS['query']}",
                        agent=f"python-requests/2.31 {SECRETS['agent']}") for step in range(12)]
    tape.label(1, True, "exfil of secrets", ids)
    ids = [tape.request(300, "ben@corp.example", far, "create", "certificatesigningrequests", "", "mine", group="certificates.k8s.io",
                        body={"kind": "CertificateSigningRequest", "spec": {"request": signing_request("old-runner", "builders"), "signerName": "kubernetes.io/kube-apiserver-client"}}),
           tape.request(303, "ben@corp.example", far, "update", "certificatesigningrequests", "", "mine", group="certificates.k8s.io", sub="approval",
                        body={"status": {"conditions": [{"type": "Approved", "message": "ok"}], "certificate": CA}})]
    ids += [tape.request(310 + step * 2, "old-runner", "198.51.100.4", "list", "secrets", agent="curl/8.1") for step in range(5)]
    tape.label(2, True, "certificate minted and used", ids)
    ids = [tape.request(500 + step * 4, "cho@corp.example", "10.60.200.3", "create" if step == 2 else "get", "pods", "books", f"probe-{step % 3}",
                        body=pod_body("probe-2", "books", securityContext={"privileged": True}) if step == 2 else None) for step in range(6)]
    ids += [tape.request(530, "cho@corp.example", "10.60.200.3", "create", "pods", "books", "probe-2", sub="exec", code=101,
                         query=f"command=curl&command=--password&command={SECRETS['command']}&command=http%3A%2F%2Fx%3A{SECRETS['login']}%40shop.svc&stdin=true",
                         stages=("ResponseStarted", "ResponseComplete"))]
    tape.label(3, True, "privileged pod by an insider", ids)
    ids = [tape.request(700 + step * 2, "dora.sre@corp.example", far, "list", "secrets", impersonated=["system:admin", "ann@corp.example"][step % 2]) for step in range(8)]
    tape.label(4, True, "impersonation", ids)
    ids = [tape.request(800 + step * 12, "system:anonymous", "198.51.100.9", "get", "nodes", "", f"n{step}", sub="proxy", code=403, agent="kube-hunter/0.6") for step in range(9)]
    tape.label(5, True, "anonymous probing", ids)
    ids = [tape.request(950 + step, "system:serviceaccount:shop:app", "10.244.9.9", "create", "serviceaccounts", "shop", "app", sub="token",
                        answer={"kind": "TokenRequest", "status": {"token": SECRETS["token"]}}) for step in range(6)]
    tape.label(6, True, "stolen token", ids)
    for number, at in ((7, 200), (8, 600), (9, 1000)):
        ids = [tape.request(at + step * 2, "dora.sre@corp.example", "10.60.201.8", "create", "secrets", "books", f"rotated-{step}",
                            body={"kind": "Secret", "stringData": {"token": SECRETS["stringData"]}}) for step in range(7)]
        tape.label(number, False, "rotation of credentials", ids)


def write_recording(folder: Path) -> Path:
    """Write two rotated archives and their labels; return the folder."""
    tape = Tape()
    people(tape)
    machines(tape)
    incidents(tape)
    lines = [json.dumps(record, separators=(",", ":")).encode() for record in sorted(tape.records, key=lambda record: record["stageTimestamp"])]
    folder.mkdir(parents=True, exist_ok=True)
    half = len(lines) // 2
    (folder / "audit-1.log.gz").write_bytes(gzip.compress(b"\n".join(lines[:half]) + b"\n", mtime=0))
    (folder / "audit.log").write_bytes(b"\n".join(lines[half:]) + b"\nnot a record\n")
    (folder / "incidents.jsonl").write_text("\n".join(json.dumps(incident) for incident in tape.incidents) + "\n", encoding="utf-8")
    return folder
