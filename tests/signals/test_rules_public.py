"""Field names of audit rules as others write them, and the sixteen public Kubernetes rules where they lie beside the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audit_lab.duck import connect
from audit_lab.signals.examples import example_events
from audit_lab.signals.hits import find_hits
from audit_lab.signals.rulebook import load_rules
from audit_lab.signals.sigma.mapping import audit_fields, to_column

FOLDER = Path(__file__).parents[3] / "shared" / "reference" / "sigma" / "kubernetes_audit"


@pytest.mark.parametrize(("name", "column"), [
    ("verb", "verb"), ("user.username", "user"), ("user.groups", "user_groups"), ("objectRef.resource", "resource"),
    ("objectRef.subresource", "subresource"), ("objectRef.apiGroup", "api_group_name"), ("apiGroup", "api_group_name"),
    ("requestURI", "uri"), ("userAgent", "user_agent"), ("sourceIPs", "source_ips"), ("sourceIPs[]", "source_ips"),
    ("responseStatus.code", "status"), ("annotations.authorization.k8s.io/decision", "decision"),
    ("impersonatedUser.username", "impersonated_user"), ("hostPath", "host_paths"), ("capabilities", "capabilities"),
    ("requestObject.spec.volumes[].hostPath.path", "host_paths"), ("requestObject.spec.volumes.hostPath", "host_paths"),
    ("requestObject.spec.containers[0].securityContext.privileged", "privileged"),
    ("requestObject.spec.initContainers.securityContext.privileged", "privileged"),
    ("requestObject.spec.template.spec.containers.securityContext.capabilities.add", "capabilities"),
    ("requestObject.spec.jobTemplate.spec.template.spec.hostNetwork", "host_network"), ("requestObject.spec.hostPID", "host_pid"),
    ("requestObject.roleRef.name", "role_ref_name"), ("requestObject.subjects.kind", "subject_kinds"),
    ("requestObject.rules.verbs", "granted_verbs"), ("responseObject.spec.containers.image", "images"),
    ("requestObject.spec.type", "service_type"), ("requestObject.webhooks.clientConfig.url", "webhook_urls"),
    ("requestObject.spec.signerName", "csr_signer"), ("requestObject.spec.serviceAccountName", "pod_service_account"),
    ("command_classes", "command_classes"), ("acting_account", "acting_account"), ("CommandLine", "CommandLine"),
])
def test_names_mean_columns(name: str, column: str) -> None:
    assert to_column(name) == column
    if column != "CommandLine":
        assert column in audit_fields()


def test_every_field_is_sql_that_runs() -> None:
    events = example_events([{"user": "system:serviceaccount:shop:web", "granted": ["get,list core,apps pods,*"], "subjects": ["User/x"]}])
    with connect() as connection:
        connection.register("events", events.to_arrow())
        for name, field in audit_fields().items():
            available = field.available or "TRUE"
            rows = connection.sql(f"SELECT count({field.sql}), count(*) FILTER (WHERE {available}) FROM events").fetchall()
            assert rows[0][1] == 1, name
        one = connection.sql(f"SELECT {audit_fields()['granted_resources'].sql}, {audit_fields()['acting_account'].sql} FROM events").fetchall()
    assert one == [(["pods", "*"], "serviceaccount/shop/web")]


# What each public rule is about, as an event that it must find and one that it must not.
MEANT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "change_admission_controller": ({"verb": "patch", "api_group": "admissionregistration.k8s.io", "resource": "mutatingwebhookconfigurations"},
                                    {"verb": "get", "api_group": "admissionregistration.k8s.io", "resource": "mutatingwebhookconfigurations"}),
    "cronjob_modification": ({"verb": "create", "api_group": "batch", "resource": "cronjobs"}, {"verb": "list", "api_group": "batch", "resource": "cronjobs"}),
    "deployment_deleted": ({"verb": "delete", "resource": "deployments"}, {"verb": "create", "resource": "deployments"}),
    "events_deleted": ({"verb": "delete", "resource": "events"}, {"verb": "list", "resource": "events"}),
    "exec_into_container": ({"verb": "create", "resource": "pods", "subresource": "exec"}, {"verb": "create", "resource": "pods"}),
    "hostpath_mount": ({"verb": "create", "resource": "pods", "host_paths": ["/"]}, {"verb": "create", "resource": "pods", "host_paths": []}),
    "pod_in_system_namespace": ({"verb": "create", "resource": "pods", "namespace": "kube-system"}, {"verb": "create", "resource": "pods", "namespace": "shop"}),
    "potential_enumeration_activity": (
        {"verb": "create", "uri": "/api/v1/namespaces/a/pods/b/exec?command=%2Fbin%2Fsh", "decision": "allow"},
        {"verb": "create", "uri": "/api/v1/namespaces/a/pods/b/exec?command=%2Fbin%2Fsh", "decision": "forbid"}),
    "privileged_pod_creation": ({"verb": "create", "resource": "pods", "capabilities": ["SYS_ADMIN"]}, {"verb": "create", "resource": "pods"}),
    "rbac_permisions_listing": ({"verb": "create", "api_group": "authorization.k8s.io", "resource": "selfsubjectrulesreviews"},
                                {"verb": "create", "api_group": "", "resource": "selfsubjectrulesreviews"}),
    "rolebinding_modification": ({"verb": "create", "api_group": "rbac.authorization.k8s.io", "resource": "rolebindings"},
                                 {"verb": "list", "api_group": "rbac.authorization.k8s.io", "resource": "rolebindings"}),
    "secrets_enumeration": ({"verb": "list", "resource": "secrets"}, {"verb": "get", "resource": "secrets"}),
    "secrets_modified_or_deleted": ({"verb": "patch", "resource": "secrets"}, {"verb": "list", "resource": "secrets"}),
    "serviceaccount_creation": ({"verb": "create", "resource": "serviceaccounts"}, {"verb": "delete", "resource": "serviceaccounts"}),
    "sidecar_injection": ({"verb": "patch", "api_group": "apps", "resource": "deployments"}, {"verb": "patch", "api_group": "extensions", "resource": "deployments"}),
    "unauthorized_unauthenticated_actions": ({"status": 403}, {"status": 200}),
}


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the public rules are not part of the project; they lie beside the checkout where they are")
def test_the_public_rules_load_and_mean_what_they_say() -> None:
    rules = load_rules([FOLDER], pack=False, strict=True)
    assert len(rules) == 16
    for rule in rules:
        short = Path(rule.source).stem.removeprefix("kubernetes_audit_")
        hits = find_hits([rule], example_events(list(MEANT[short]))).kept
        assert hits["i"].to_list() == [0], short
        assert rule.author and rule.unknown_fields == ()


def test_the_meaning_covers_sixteen_rules() -> None:
    assert len(MEANT) == 16


def test_a_core_group_object_has_no_group_as_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(
        "title: x\nlogsource: {product: kubernetes}\ndetection: {s: {objectRef.apiGroup: null, verb: get}, condition: s}", encoding="utf-8")
    events = example_events([{"api_group": ""}, {"api_group": "apps"}])
    assert find_hits(load_rules([tmp_path], pack=False), events).kept["i"].to_list() == [0]
