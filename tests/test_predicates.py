from __future__ import annotations

import polars as pl
import pytest

from audit_lab import tables
from audit_lab.classes import COMMAND_CLASSES
from audit_lab.phrases import CHECKS, COMMAND_WORDS, WORDS
from audit_lab.predicates import CATEGORIES, PREDICATES, match_predicates
from tests.judge.story import event, frame

RBAC = {"api_group": "rbac.authorization.k8s.io"}

# (predicate, an event for which it holds, the smallest change after which it does not)
CASES = [
    ("secret_get", event(0, "a", "get", "secrets", name="x", namespace="n"), {"resource": "configmaps"}),
    ("secret_get", event(0, "a", "get", "secrets", name="x", namespace="n"), {"api_group": "example.org"}),
    ("secret_list", event(0, "a", "watch", "secrets"), {"verb": "get"}),
    ("secret_list_everywhere", event(0, "a", "list", "secrets"), {"namespace": "n"}),
    ("secret_in_system", event(0, "a", "get", "secrets", namespace="kube-system"), {"namespace": "team"}),
    ("token_request_by_person", event(0, "a", "create", "serviceaccounts", subresource="token"), {"actor_kind": "node"}),
    ("token_long_lived", event(0, "a", "create", "serviceaccounts", subresource="token", token_expiry_s=90000), {"token_expiry_s": 3600}),
    ("pod_exec", event(0, "a", "create", "pods", subresource="exec"), {"subresource": "log"}),
    ("kubelet_exec", event(0, "a", "get", "nodes", subresource="proxy", uri="/api/v1/nodes/n/proxy/run/ns/p/c"),
     {"uri": "/api/v1/nodes/n/proxy/metrics"}),
    ("pod_privileged", event(0, "a", "create", "pods", privileged=True), {"verb": "get"}),
    ("pod_host_path_sensitive", event(0, "a", "create", "pods", host_paths=["/var/run/docker.sock"]), {"host_paths": ["/data/app"]}),
    ("pod_capabilities", event(0, "a", "create", "pods", capabilities=["CAP_SYS_ADMIN"]), {"capabilities": ["NET_BIND_SERVICE"]}),
    ("image_offensive", event(0, "a", "create", "pods", images=["docker.io/x/xmrig:1"]), {"images": ["docker.io/x/web:1"]}),
    ("binding_cluster_admin", event(0, "a", "create", "clusterrolebindings", role_ref="ClusterRole/cluster-admin", **RBAC),
     {"role_ref": "ClusterRole/view"}),
    ("binding_everyone", event(0, "a", "create", "rolebindings", subjects=["Group/system:unauthenticated"], **RBAC), {"subjects": ["User/a"]}),
    ("role_wildcard", event(0, "a", "update", "clusterroles", granted_classes=["wildcard_verbs"], **RBAC), {"granted_classes": ["read"]}),
    ("impersonate_system", event(0, "a", "get", "pods", impersonated_user="x", impersonated_groups=["system:masters"]),
     {"impersonated_groups": ["dev"]}),
    ("impersonate_service_account", event(0, "a", "get", "pods", impersonated_user="system:serviceaccount:n:x"), {"impersonated_user": "bob"}),
    ("webhook_external", event(0, "a", "create", "mutatingwebhookconfigurations", api_group="admissionregistration.k8s.io",
                               webhook_urls=["https://198.51.100.1/x"]), {"webhook_urls": ["service/ns/x"]}),
    ("coredns_write", event(0, "a", "update", "configmaps", namespace="kube-system", name="coredns"), {"namespace": "team"}),
    ("hostile_text", event(0, "a", "get", "pods", attributes=["hostile_text:name"]), {"attributes": ["grace:none"]}),
    ("probe_path", event(0, None, "get", None, uri="/.git/config"), {"uri": "/healthz"}),
    ("anonymous_allowed", event(0, "system:anonymous", "list", "pods", actor_kind="anonymous"), {"status": 403}),
    ("denied", event(0, "a", "get", "pods", status=403), {"status": 404}),
    ("authentication_failed", event(0, None, "get", "pods", status=401), {"status": 200}),
    ("events_delete", event(0, "a", "deletecollection", "events"), {"verb": "list"}),
    ("delete_at_once", event(0, "a", "delete", "pods", attributes=["grace:none"]), {"attributes": []}),
    ("command_token_read", event(0, "a", "create", "pods", subresource="exec", command_classes=["shell", "token_read"]),
     {"command_classes": ["shell"]}),
]


@pytest.mark.parametrize(("name", "row", "change"), CASES, ids=[case[0] for case in CASES])
def test_a_predicate_holds_for_its_event_and_not_after_the_smallest_change(name, row, change):
    other = {**row, **change, "event_id": "other"}
    matched = match_predicates(frame([{**row, "event_id": "one"}, other]), [name])
    assert matched.rows() == [("one", name)]


def test_every_predicate_is_true_or_false_also_on_an_event_of_nulls():
    nothing = tables.empty("events").clear(n=1)
    flags = nothing.select(predicate.match.alias(name) for name, predicate in PREDICATES.items())
    assert sum(flags.null_count().row(0)) == 0
    assert set(flags.dtypes) == {pl.Boolean}


def test_every_predicate_has_words_and_every_word_a_predicate():
    commands = {f"command_{name}" for name in COMMAND_WORDS}
    assert set(PREDICATES) == set(WORDS) | commands
    assert set(COMMAND_WORDS) == set(COMMAND_CLASSES) - {"other", "sleep"}
    for predicate in PREDICATES.values():
        assert predicate.category in CATEGORIES
        assert predicate.weight in (0, 1, 2, 3)
        assert predicate.does.isascii()
        assert predicate.did.isascii()
        assert any("\uac00" <= char <= "\ud7a3" for char in predicate.korean)


def test_checks_are_written_in_both_languages():
    assert all(english.endswith(".") and korean.endswith("다.") for english, korean in CHECKS.values())


def test_no_predicate_and_no_event_give_no_rows():
    assert match_predicates(tables.empty("events")).is_empty()
    assert match_predicates(frame([event(0, "a", "get", "pods")]), []).is_empty()
    assert match_predicates(frame([event(0, "a", "get", "pods")]), ["no_such"]).is_empty()
