"""The pack itself: every rule finds its own positive events and leaves its negative ones alone."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from audit_lab import classes, tables
from audit_lab.archive import find_archives
from audit_lab.signals.behaviours import BEHAVIOURS
from audit_lab.signals.coverage import coverage_matrix
from audit_lab.signals.examples import example_events, run_examples
from audit_lab.signals.hits import find_hits
from audit_lab.signals.rulebook import LEVELS, PACK, Rule, load_rules
from audit_lab.signals.sigma.mapping import audit_fields

RULES = load_rules()
CLASSES = {*classes.CLIENT_FAMILIES, *classes.ACTOR_KINDS, *classes.COMMAND_CLASSES, *classes.GRANT_CLASSES, *classes.SOURCE_CLASSES}


@pytest.fixture(scope="module")
def examples() -> pl.DataFrame:
    return run_examples(RULES)


def test_every_rule_can_run() -> None:
    assert [(rule.rule_id, rule.unusable) for rule in RULES if rule.unusable] == []


def test_every_example_comes_out_as_it_says(examples: pl.DataFrame) -> None:
    assert examples.filter(pl.col("expected") != pl.col("found")).rows() == []
    assert examples.height > 2 * len(RULES)


def test_every_rule_has_both_kinds_of_examples(examples: pl.DataFrame) -> None:
    kinds = examples.group_by("rule_id").agg(pl.col("expected").n_unique())
    assert set(kinds.filter(pl.col("expected") == 2)["rule_id"]) == {rule.rule_id for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=[rule.rule_id for rule in RULES])
def test_every_rule_says_what_it_is(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.rule_id)
    assert rule.level in LEVELS
    assert rule.description.endswith(".") and rule.description != rule.title
    assert rule.behaviours and set(rule.behaviours) <= set(BEHAVIOURS)
    assert len(rule.title) <= 70 and not rule.title.endswith(".")
    if rule.emits:
        assert rule.falsepositives and rule.techniques


def test_ids_are_unique() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PACK.glob("*.yml"))
    uuids = re.findall(r"^id: (\S+)$", text, re.MULTILINE)
    assert len(set(uuids)) == len(uuids) == len({rule.rule_id for rule in RULES}) == len(RULES)
    assert len({rule.title for rule in RULES}) == len(RULES)


def test_floors_are_few_and_belong_to_grave_rules() -> None:
    with_floor = [rule for rule in RULES if rule.floor is not None]
    assert len(with_floor) <= len(RULES) * 0.2
    assert {rule.level for rule in with_floor} <= {"high", "critical"}


def test_the_pack_is_broad_enough() -> None:
    matrix = coverage_matrix(RULES)
    assert matrix.filter(pl.col("status") == "covered").height >= 45
    assert matrix.filter(pl.col("status") == "open").height == 0
    not_visible = matrix.filter(pl.col("status") == "not visible")
    assert not_visible["why"].str.len_chars().min() > 10


def documents() -> list[dict[str, Any]]:
    return [document for path in sorted(PACK.glob("*.yml")) for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def words(value: Any) -> set[str]:
    """Every text in a detection, split where names are."""
    if isinstance(value, dict):
        return set().union(*(words(key) | words(inner) for key, inner in value.items()))
    if isinstance(value, list):
        return set().union(*map(words, value))
    return {value, *re.split(r"[:/@|]", value)} if isinstance(value, str) else set()


def test_rules_name_nothing_of_a_recording(sample: Path) -> None:
    """Detection is judged on clusters never seen: users, addresses, namespaces and objects of the recording have no place in a rule."""
    text = "\n".join(gzip.decompress(path.read_bytes()).decode() for path in find_archives(sample))
    users = set(re.findall(r'"username":"([^"]+)"', text))
    recorded = {user for user in users if not user.startswith("system:")}
    for user in users:
        if user.startswith("system:serviceaccount:") and not user.startswith("system:serviceaccount:kube-system:"):
            recorded |= set(user.split(":")[2:])
    recorded |= set(re.findall(r'"(?:namespace|name)":"([a-z0-9.-]{4,})"', text)) | set(re.findall(r'"sourceIPs":\["([^"]+)"', text))
    kubernetes = {  # what every cluster has, or what a rule says of Kubernetes itself
        "default", "kube-system", "kube-public", "kube-node-lease", "cluster-admin", "admin", "edit", "view", "coredns", "kube-dns", "cluster-info",
        "kubernetes", "token", "events", "pods", "secrets", "nodes", "exec", "name", "system", "kube-controller-manager", "kube-scheduler",
        *(name.rsplit(":", 1)[1] for name in classes.BUILTIN_CONTROLLERS),
    }
    kinds = set(re.findall(r'"resource":"([a-z]+)"', text)) | {"kubelet", "kubectl", "installer"}
    named = set().union(*(words(document.get("detection") or document.get("correlation")) for document in documents()))
    known = {rule.rule_id for rule in RULES} | set(tables.TABLES["events"].columns) | set(audit_fields()) | CLASSES
    leaked = {word for word in (named & recorded) - kubernetes - kinds - known if not word.startswith("system:")}
    assert len(recorded) > 100 and leaked == set()


def test_nobody_hides_behind_a_user_agent_that_anybody_can_write() -> None:
    """A filter on the kind of client must ask for a service account too: a person who calls themselves a controller is still seen."""
    for document in documents():
        for name, selection in document.get("detection", {}).items():
            if name.startswith("filter") and isinstance(selection, dict) and {"client_family", "user_agent"} & set(selection):
                identities = [selection, *(part for key, part in document["detection"].items() if key == "selection")]
                assert any(part.get("actor_kind") == "service_account" for part in identities), document["name"]


def test_a_floor_is_not_for_ordinary_administration() -> None:
    """What administrators and products do in clusters of all kinds: installing, upgrading, backing up, looking after nodes."""
    ordinary: list[dict[str, Any]] = [
        {"verb": "patch", "resource": "clusterroles", "name": "system:metrics-server"}, {"verb": "update", "resource": "clusterrolebindings", "name": "system:coredns"},
        {"verb": "create", "resource": "rolebindings", "namespace": "shop", "name": "admin"}, {"verb": "delete", "resource": "rolebindings", "namespace": "shop", "name": "view"},
        {"verb": "create", "resource": "clusterrolebindings", "name": "x", "role_ref": "ClusterRole/catalogue", "subjects": ["Group/system:authenticated"]},
        {"verb": "create", "resource": "clusterrolebindings", "name": "x", "role_ref": "ClusterRole/cluster-admin", "subjects": ["User/bob"]},
        {"verb": "create", "resource": "daemonsets", "namespace": "agents", "privileged": True, "host_pid": True, "host_network": True, "host_paths": ["/"],
         "commands": ["nsenter -t 1 -m -- systemctl reboot"], "images": ["registry.example/agent:1"], "capabilities": ["SYS_ADMIN"]},
        {"verb": "create", "resource": "cronjobs", "namespace": "kube-system", "commands": ["etcdctl snapshot save /backup"], "host_paths": ["/etc/kubernetes/pki"]},
        {"verb": "create", "resource": "pods", "namespace": "shop", "commands": ["until (echo > /dev/tcp/db/5432) 2>/dev/null; do sleep 1; done"]},
        {"verb": "create", "resource": "pods", "images": ["registry.example/minerva:1", "registry.example/process-miner:2"]},
        {"verb": "create", "resource": "pods", "subresource": "exec", "commands": ["cat /var/run/secrets/kubernetes.io/serviceaccount/namespace"]},
        {"verb": "get", "resource": "nodes", "subresource": "proxy", "uri": "/api/v1/nodes/n1/proxy/stats/summary"},
        {"verb": "get", "resource": "nodes", "subresource": "proxy", "uri": "/api/v1/nodes/n1/proxy/pods"},
        {"verb": "create", "resource": "certificatesigningrequests", "csr_subject": "jane", "csr_groups": ["developers"]},
        {"user": "system:node:n1", "verb": "create", "resource": "certificatesigningrequests", "csr_subject": "system:ovn-node:n1"},
        {"verb": "create", "resource": "serviceaccounts", "subresource": "token", "namespace": "shop", "name": "web"},
        {"verb": "delete", "resource": "events", "namespace": "shop", "name": "e1"}, {"verb": "create", "resource": "ingresses", "attributes": ["hostile_text:body"]},
        {"verb": "list", "resource": "secrets"}, {"impersonated_user": "bob", "impersonated_groups": ["team"], "verb": "get", "resource": "pods"},
        {"user": "system:anonymous", "verb": "get", "uri": "/healthz"}, {"user": "system:anonymous", "verb": "get", "uri": "/version", "status": 200},
        {"user_agent": "aws-cdk/2.1", "verb": "create", "resource": "deployments"},
        {"user": "system:serviceaccount:argocd:app", "user_agent": "argocd-application-controller/v2.9", "verb": "patch", "resource": "clusterrolebindings",
         "name": "x", "role_ref": "ClusterRole/app", "subjects": ["ServiceAccount/argocd/app"]},
    ]
    events = example_events(ordinary)
    hits = find_hits(RULES, events).kept
    floored = {place for place, rule in enumerate(RULES) if rule.floor is not None}
    wrong = [(RULES[place].rule_id, ordinary[row]) for place, row in hits.select("rule", "i").iter_rows() if place in floored]
    assert hits.height > 30 and wrong == []
