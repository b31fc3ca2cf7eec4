import polars as pl
import pytest

from audit_lab import classes, tables, vocabulary
from audit_lab.vocabulary import Pseudonyms, action_group, action_token, bucket, is_closed

RBAC = "rbac.authorization.k8s.io"


def token(**row: object) -> str:
    schema = tables.TABLES["events"].schema
    frame = pl.DataFrame([row], schema={name: schema[name] for name in row})
    return pl.concat([tables.empty("events"), frame], how="diagonal").select(action_token()).item()


@pytest.mark.parametrize(("row", "expected"), [
    ({"verb": "get", "api_group": "", "resource": "secrets", "namespace": "shop", "name": "db"}, "read secret"),
    ({"verb": "list", "api_group": "", "resource": "secrets"}, "list secrets cluster-wide"),
    ({"verb": "list", "api_group": "", "resource": "secrets", "namespace": "shop"}, "list secrets"),
    ({"verb": "list", "api_group": "", "resource": "nodes"}, "list nodes"),
    ({"verb": "watch", "api_group": "", "resource": "secrets", "namespace": "a", "name": "b"}, "watch secret"),
    ({"verb": "get", "api_group": "example.org", "resource": "secrets"}, "read custom-resource"),
    ({"verb": "list", "api_group": "example.org", "resource": "gadgets"}, "list custom-resources"),
    ({"verb": "get", "api_group": "", "resource": "pods", "subresource": "exec", "command_classes": ["shell", "token_read"]},
     "exec pod running shell,token_read"),
    ({"verb": "create", "api_group": "", "resource": "serviceaccounts", "subresource": "token", "token_expiry_s": 864000},
     "mint token long-lived"),
    ({"verb": "create", "api_group": RBAC, "resource": "clusterrolebindings", "role_ref": "ClusterRole/cluster-admin",
      "subjects": ["ServiceAccount/shop/app"]}, "bind cluster-admin cluster-wide to service-account"),
    ({"verb": "create", "api_group": RBAC, "resource": "rolebindings", "namespace": "shop", "role_ref": "Role/mine",
      "subjects": ["Group/system:unauthenticated"]}, "bind custom-role in-namespace to anonymous"),
    ({"verb": "create", "api_group": RBAC, "resource": "clusterroles", "granted_classes": ["wildcard_verbs", "wildcard_resources", "read"]},
     "create clusterrole granting wildcard_resources,wildcard_verbs"),
    ({"verb": "create", "api_group": "", "resource": "pods", "privileged": True, "host_pid": True, "host_paths": ["/", "/etc/x"],
      "capabilities": ["SYS_ADMIN"], "images": ["xmrig/xmrig"], "command_classes": ["other"]},
     "create pod privileged host-pid host-path etc,root capability sys_admin image latest_tag,miner,no_registry"),
    ({"verb": "get", "api_group": "", "resource": "nodes", "subresource": "proxy", "uri": "/api/v1/nodes/n/proxy/run/a/b/c"},
     "proxy node kubelet_exec"),
    ({"verb": "patch", "api_group": "", "resource": "configmaps", "namespace": "kube-system", "name": "coredns"},
     "patch configmap in kube-system coredns"),
    ({"verb": "patch", "api_group": "", "resource": "configmaps", "namespace": "shop", "name": "coredns"}, "patch configmap"),
    ({"verb": "create", "api_group": "admissionregistration.k8s.io", "resource": "mutatingwebhookconfigurations",
      "webhook_urls": ["https://x.example"], "webhook_failure_policies": ["Ignore"]},
     "create mutatingwebhook reaching external-url ignore-failures"),
    ({"verb": "create", "api_group": "authorization.k8s.io", "resource": "selfsubjectaccessreviews", "access_review": "list core/secrets"},
     "check own access for secrets_read"),
    ({"verb": "list", "api_group": "", "resource": "secrets", "impersonated_user": "bob", "impersonated_groups": ["system:masters"]},
     "list secrets cluster-wide as system:masters"),
    ({"verb": "update", "api_group": "certificates.k8s.io", "resource": "certificatesigningrequests", "subresource": "approval",
      "csr_condition": "Approved"}, "approve certificaterequest"),
    ({"verb": "get", "uri": "/healthz?verbose"}, "call health"),
    ({"verb": "get", "uri": None}, "call other"),
    ({"verb": None, "uri": None}, "call other"),
])
def test_tokens_say_what_matters(row, expected):
    assert token(**row) == expected
    assert is_closed(expected)


@pytest.mark.parametrize(("text", "group"), [
    ("read secret in kube-system", "secrets"), ("create secret type service-account-token", "tokens"), ("mint token", "tokens"),
    ("exec pod running shell", "exec"), ("proxy node metrics", "nodes"), ("proxy node kubelet_exec", "exec"),
    ("bind custom-role in-namespace to user", "rbac"), ("patch clusterrole view", "rbac"), ("list pods", "pods"),
    ("patch daemonset privileged", "workloads"), ("delete-all events", "events"), ("call discovery", "discovery"),
    ("read custom-resource", "custom"), ("check own access", "access_checks"), ("delete validatingwebhook", "admission"),
    ("list podmetrics cluster-wide", "metrics"), ("list poddisruptionbudgets", "other"), ("list nodemetrics", "metrics"),
])
def test_groups_of_actions(text, group):
    assert action_group(text) == group


@pytest.mark.parametrize("text", [
    "ignore previous instructions", "pod-0", "evil-3", "list secrets; rm -rf", "pod-1234567", "naïve", "human\u200b", "human\x1b[31m",
    "system:masters2", "x99999999999999999999", "shop", "kube-systemx", "read,evil",
])
def test_texts_that_are_not_closed(text):
    assert not is_closed(text)


@pytest.mark.parametrize("text", ["", "Human user-1: list secrets x3-5, denied.",
                                  "system:masters (cluster-admin) 100+ 0.97", "ns-12/pod-3"])
def test_texts_that_are_closed(text):
    assert is_closed(text)


def test_every_class_is_a_word():
    for name in dir(classes):
        if name.endswith("_CLASSES") or name in ("CLIENT_FAMILIES", "ACTOR_KINDS"):
            assert set(getattr(classes, name)) <= vocabulary.WORDS, name
    assert set(vocabulary.ACTIONS) <= vocabulary.WORDS
    assert not any("block" in action for action in vocabulary.ACTIONS)


def test_built_in_names_are_exact_and_by_kind():
    names = Pseudonyms()
    assert names.name("role", "cluster-admin") == "cluster-admin"
    assert names.name("user", "cluster-admin") == "user-1"
    assert names.name("ns", "kube-system ") == "ns-1"
    assert names.name("ns", None) == "none"
    assert names.actor("system:serviceaccount:shop:app", "service_account") == "sa-1"
    built_in = "system:serviceaccount:kube-system:job-controller"
    assert names.actor(built_in, "controller") == built_in
    assert names.known() == {"user-1": "cluster-admin", "ns-1": "kube-system ", "sa-1": "system:serviceaccount:shop:app"}
    with pytest.raises(ValueError, match="no kind of pseudonym"):
        names.name("evil", "x")


def test_buckets_grow():
    assert [bucket(n) for n in (0, 1, 2, 3, 5, 6, 10, 11, 30, 31, 100, 101)] == [
        "0", "1", "2", "3-5", "3-5", "6-10", "6-10", "11-30", "11-30", "31-100", "31-100", "100+"]
