"""Predicates: the only things that a claim, an evidence row or a judge may say about events.

Each one is a name, a Polars expression over the events table, words for people in English and Korean, and a
category. A judge picks names from this list; what they mean is computed here, never written by a model (law 6).
An expression reads typed facts and classes, and gives true or false, never null.

>>> PREDICATES["secret_get"].did
'read a secret by name'
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import polars as pl

from audit_lab import classes
from audit_lab.kubernetes import RESOURCES
from audit_lab.phrases import COMMAND_WORDS, WORDS

CATEGORIES = (
    "secret", "execution", "privilege", "impersonation", "identity", "evasion", "destruction",
    "workload", "network", "discovery", "denial", "any",
)
SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")
READS = ("get", "list", "watch")
WRITES = ("create", "update", "patch")
DELETES = ("delete", "deletecollection")
WORKLOADS = ("pods", "deployments", "daemonsets", "statefulsets", "replicasets", "replicationcontrollers", "jobs", "cronjobs")
BINDINGS = ("rolebindings", "clusterrolebindings")
ROLES = ("roles", "clusterroles")
WEBHOOKS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
ADMISSION = (*WEBHOOKS, "validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies")
GUARDRAILS = ("networkpolicies", "resourcequotas", "limitranges", "podsecuritypolicies", "poddisruptionbudgets")


@dataclass(frozen=True)
class Predicate:
    """One thing that can be said of an event.

    Parameters
    ----------
    name
        Word of the closed vocabulary, lower case with underscores.
    category
        One of `CATEGORIES`.
    does, did
        English, after 'tried to …' and after 'the actor …'.
    korean
        Korean noun phrase.
    match
        Boolean expression over the columns of table events, never null.
    weight
        0 ordinary, 1 worth a line, 2 sensitive, 3 rarely innocent: the order in which evidence is shown and cut. It is
        a judgement of ours from the documented uses of each request, not fitted to any recording.
    """

    name: str
    category: str
    does: str
    did: str
    korean: str
    match: pl.Expr
    weight: int = 1


# Anybody may define a custom resource called 'secrets': only Kubernetes' own API groups count.
_BUILT_IN = pl.col("api_group").is_in(list(RESOURCES))


def _is(column: str, *values: str) -> pl.Expr:
    return pl.col(column).is_in(values)


def _main(*resources: str) -> pl.Expr:
    return _is("resource", *resources) & _BUILT_IN & pl.col("subresource").is_null()


def _sub(resource: str, *subresources: str) -> pl.Expr:
    return (pl.col("resource") == resource) & _BUILT_IN & _is("subresource", *subresources)


def _holds(column: str, *values: str) -> pl.Expr:
    """Tell whether a list column holds any of `values`."""
    return pl.any_horizontal([pl.col(column).list.contains(value).fill_null(False) for value in values])


def _any_entry(column: str, pattern: str) -> pl.Expr:
    return pl.col(column).list.eval(pl.element().str.contains(pattern)).list.any().fill_null(False)


_CLASSIFY: dict[str, Callable[[str], list[str]]] = {
    "host_paths": lambda value: [classes.host_path_class(value)],
    "capabilities": lambda value: [classes.capability_class(value)],
    "images": classes.image_classes,
    "uri": lambda value: [classes.proxy_class(value) if "/proxy" in value else classes.uri_class(value)],
}


def _classified(column: str, wanted: Collection[str]) -> pl.Expr:
    """Tell whether a text, or any entry of a list, is of a wanted class; each distinct value is looked at once."""

    def look(values: pl.Series) -> pl.Series:
        is_list = values.dtype == pl.List(pl.String)
        entries = (values.explode() if is_list else values).drop_nulls().unique()
        hits = [entry for entry in entries.to_list() if set(_CLASSIFY[column](entry)) & set(wanted)]
        found = values.list.eval(pl.element().is_in(hits)).list.any() if is_list else values.is_in(hits)
        return found.fill_null(False)

    # Only these two kinds of request have a path that says more than the resource does: far fewer distinct values.
    has_path = pl.col("resource").is_null() | pl.col("subresource").eq_missing("proxy")
    text = pl.when(has_path).then(pl.col(column)) if column == "uri" else pl.col(column)
    return text.map_batches(look, return_dtype=pl.Boolean)


VERB = pl.col("verb")
_SUBRESOURCE = pl.col("subresource").fill_null("")
READ, WRITE, DELETE = VERB.is_in(READS), VERB.is_in(WRITES), VERB.is_in(DELETES)
SEES_MANY = VERB.is_in(["list", "watch"])
CREATE = VERB == "create"
DENIED = ((pl.col("status") == 403) | (pl.col("decision") == "forbid")).fill_null(False)
UNAUTHENTICATED = (pl.col("status") == 401).fill_null(False)
SUCCEEDED = (pl.col("status").fill_null(200) < 400) & ~DENIED
EVERYWHERE = pl.col("namespace").is_null()
IN_SYSTEM = pl.col("namespace").is_in(SYSTEM_NAMESPACES)
_NO_PERSON = pl.col("actor_kind").is_in(["node", "controller"])

_ACTIONS: dict[str, tuple[str, pl.Expr]] = {
    "secret_get": ("secret", _main("secrets") & (VERB == "get")),
    "secret_list": ("secret", _main("secrets") & SEES_MANY),
    "secret_list_everywhere": ("secret", _main("secrets") & SEES_MANY & EVERYWHERE),
    "secret_write": ("secret", _main("secrets") & WRITE),
    "secret_delete": ("secret", _main("secrets") & DELETE),
    "secret_service_account_token": (
        "secret",
        _main("secrets") & CREATE & (pl.col("secret_type") == "kubernetes.io/service-account-token") & ~_NO_PERSON,
    ),
    "secret_in_system": ("secret", _main("secrets") & READ & IN_SYSTEM),
    "token_request": ("secret", _sub("serviceaccounts", "token") & CREATE),
    "token_request_by_person": ("secret", _sub("serviceaccounts", "token") & CREATE & ~_NO_PERSON),
    "token_long_lived": ("secret", _sub("serviceaccounts", "token") & CREATE & (pl.col("token_expiry_s") > 86400)),
    "token_in_system": ("secret", _sub("serviceaccounts", "token") & CREATE & IN_SYSTEM & ~_NO_PERSON),
    "config_read": ("discovery", _main("configmaps") & READ),
    "pod_exec": ("execution", _sub("pods", "exec")),
    "pod_exec_in_system": ("execution", _sub("pods", "exec") & IN_SYSTEM),
    "pod_attach": ("execution", _sub("pods", "attach")),
    "port_forward": ("network", _sub("pods", "portforward")),
    "ephemeral_container": ("execution", _sub("pods", "ephemeralcontainers") & WRITE),
    "nodes_proxy": ("execution", _sub("nodes", "proxy")),
    "kubelet_exec": ("execution", _sub("nodes", "proxy") & _classified("uri", ("kubelet_exec", "kubelet_pods"))),
    "service_proxy": ("network", _sub("pods", "proxy") | _sub("services", "proxy")),
    "pod_logs": ("discovery", _sub("pods", "log")),
    "pod_privileged": ("privilege", pl.col("privileged").fill_null(False) & WRITE),
    "pod_host_pid": ("privilege", pl.col("host_pid").fill_null(False) & WRITE),
    "pod_host_network": ("privilege", pl.col("host_network").fill_null(False) & WRITE),
    "pod_host_ipc": ("privilege", pl.col("host_ipc").fill_null(False) & WRITE),
    "pod_host_path": ("privilege", (pl.col("host_paths").list.len() > 0) & WRITE),
    "pod_host_path_sensitive": (
        "privilege",
        _classified("host_paths", ("root", "docker_socket", "kubelet", "kubernetes_config", "etc", "proc_sys", "home")) & WRITE,
    ),
    "pod_capabilities": (
        "privilege",
        _classified("capabilities", ("all", "sys_admin", "sys_ptrace", "sys_module", "dac", "bpf")) & WRITE,
    ),
    "image_offensive": ("workload", _classified("images", ("offensive_tool", "miner")) & WRITE),
    "binding_write": ("privilege", _main(*BINDINGS) & WRITE),
    "binding_cluster_wide": ("privilege", _main("clusterrolebindings") & WRITE),
    "binding_cluster_admin": ("privilege", _main(*BINDINGS) & WRITE & (pl.col("role_ref") == "ClusterRole/cluster-admin")),
    "binding_everyone": (
        "privilege",
        _main(*BINDINGS) & WRITE
        & _holds("subjects", "User/system:anonymous", "Group/system:unauthenticated", "Group/system:authenticated"),
    ),
    "role_write": ("privilege", _main(*ROLES) & WRITE),
    "role_wildcard": ("privilege", _main(*ROLES) & WRITE & _holds("granted_classes", "wildcard_verbs", "wildcard_resources")),
    "role_escalating": (
        "privilege",
        _main(*ROLES) & WRITE
        & _holds("granted_classes", "escalate", "bind", "impersonate", "rbac_write", "token_create", "csr_approve", "nodes_proxy"),
    ),
    "role_secrets": ("privilege", _main(*ROLES) & WRITE & _holds("granted_classes", "secrets_read")),
    "role_exec": ("privilege", _main(*ROLES) & WRITE & _holds("granted_classes", "exec")),
    "csr_create": ("identity", _main("certificatesigningrequests") & CREATE),
    "csr_privileged": (
        "privilege",
        _main("certificatesigningrequests") & CREATE & ~_NO_PERSON & (_holds("csr_groups", "system:masters")
        | pl.col("csr_subject").str.starts_with("system:").fill_null(False)),
    ),
    "csr_approve": ("privilege", _sub("certificatesigningrequests", "approval") & WRITE),
    "impersonate": ("impersonation", pl.col("impersonated_user").is_not_null()),
    "impersonate_system": (
        "privilege",
        (pl.col("impersonated_user").str.starts_with("system:")
        & ~pl.col("impersonated_user").str.starts_with("system:serviceaccount:")).fill_null(False)
        | _holds("impersonated_groups", "system:masters", "system:nodes"),
    ),
    "impersonate_service_account": (
        "impersonation",
        pl.col("impersonated_user").str.starts_with("system:serviceaccount:").fill_null(False),
    ),
    "service_account_create": ("identity", _main("serviceaccounts") & CREATE),
    "webhook_write": ("evasion", _main(*ADMISSION) & WRITE),
    "webhook_external": ("evasion", _main(*WEBHOOKS) & WRITE & _any_entry("webhook_urls", r"^https?://")),
    "webhook_ignore_failures": ("evasion", _main(*WEBHOOKS) & WRITE & _holds("webhook_failure_policies", "Ignore")),
    "webhook_delete": ("evasion", _main(*ADMISSION) & DELETE),
    "events_delete": ("evasion", _main("events") & DELETE),
    "guardrail_delete": ("evasion", _main(*GUARDRAILS) & DELETE),
    "coredns_write": (
        "evasion",
        _main("configmaps") & (WRITE | DELETE) & (pl.col("namespace") == "kube-system")
        & _is("name", "coredns", "coredns-custom", "kube-dns", "node-local-dns"),
    ),
    "namespace_unprotected": ("evasion", _main("namespaces") & WRITE & _holds("attributes", "pod_security:privileged")),
    "api_extension_write": ("evasion", _main("apiservices") & WRITE & ~_NO_PERSON),
    "workload_write": ("workload", _main(*WORKLOADS) & WRITE & ~_NO_PERSON),
    "workload_in_system": ("workload", _main(*WORKLOADS) & WRITE & IN_SYSTEM & ~_NO_PERSON),
    "workload_on_every_node": ("workload", _main("daemonsets") & WRITE & ~_NO_PERSON),
    "workload_scheduled": ("workload", _main("cronjobs") & WRITE & ~_NO_PERSON),
    "node_chosen": ("workload", CREATE & _holds("attributes", "node:chosen") & ~_NO_PERSON),
    "service_exposed": ("network", _main("services") & WRITE & _is("service_type", "NodePort", "LoadBalancer", "ExternalName")),
    "node_write": ("workload", _main("nodes") & (WRITE | DELETE) & ~_NO_PERSON),
    "workload_delete": ("destruction", _main(*WORKLOADS) & DELETE & ~_NO_PERSON),
    "storage_delete": ("destruction", _main("persistentvolumeclaims", "persistentvolumes", "volumesnapshots") & DELETE & ~_NO_PERSON),
    "namespace_delete": ("destruction", _main("namespaces") & DELETE),
    "delete_many": ("destruction", (VERB == "deletecollection") & ~_NO_PERSON),
    "delete_at_once": ("destruction", DELETE & _holds("attributes", "grace:none") & ~_NO_PERSON),
    "access_review": ("discovery", _is("resource", "selfsubjectaccessreviews", "selfsubjectrulesreviews")),
    "rbac_read": ("discovery", _main(*ROLES, *BINDINGS) & READ),
    "list_everywhere": (
        "discovery",
        SEES_MANY & EVERYWHERE & _is("resource", *WORKLOADS, "configmaps", "services", "serviceaccounts", *BINDINGS[:1], *ROLES[:1]),
    ),
    "probe_path": ("discovery", pl.col("resource").is_null() & _classified("uri", ("traversal", "exploit", "debug", "logs"))),
    "client_offensive": ("identity", _is("client_family", "offensive", "scanner")),
    "hostile_text": ("evasion", _any_entry("attributes", "^hostile_text")),
    "odd_text": ("evasion", _any_entry("attributes", "^odd_text")),
    "anonymous_request": ("identity", _is("actor_kind", "anonymous", "unauthenticated")),
    "anonymous_allowed": ("identity", _is("actor_kind", "anonymous") & SUCCEEDED & (pl.col("resource").is_not_null())),
    "denied": ("denial", DENIED),
    "authentication_failed": ("denial", UNAUTHENTICATED),
    "not_found": ("denial", pl.col("status") == 404),
    "write_or_delete": ("any", (WRITE | DELETE) & ~pl.col("resource").str.ends_with("reviews").fill_null(False)),
    "delete_any": ("any", DELETE),
    "request": ("any", pl.col("event_id").is_not_null()),
}


_ORDINARY = (
    "config_read", "pod_logs", "access_review", "list_everywhere", "workload_write", "write_or_delete", "delete_any", "request",
    "not_found", "command_shell", "command_discovery", "command_database_client",
)
_SENSITIVE = (
    "secret_list", "secret_in_system", "token_request_by_person", "pod_exec", "pod_attach", "ephemeral_container", "pod_privileged",
    "pod_host_pid", "pod_host_ipc", "pod_host_path", "pod_capabilities", "binding_cluster_wide", "role_escalating", "role_exec",
    "csr_approve", "impersonate", "impersonate_service_account", "webhook_write", "webhook_ignore_failures", "webhook_delete",
    "guardrail_delete", "namespace_unprotected", "api_extension_write", "workload_in_system", "client_offensive", "anonymous_allowed",
    "delete_many", "namespace_delete", "probe_path", "service_proxy", "secret_delete", "odd_text",
    *(f"command_{name}" for name in ("environment_dump", "download", "archive_copy", "package_install", "kubernetes_client",
                                     "persistence", "privilege_change", "encoded", "delete_data", "network_probe")),
)
_RARELY_INNOCENT = (
    "secret_list_everywhere", "secret_service_account_token", "token_long_lived", "token_in_system", "pod_exec_in_system", "kubelet_exec",
    "pod_host_path_sensitive", "image_offensive", "binding_cluster_admin", "binding_everyone", "role_wildcard", "csr_privileged",
    "impersonate_system", "webhook_external", "events_delete", "coredns_write", "hostile_text",
    *(f"command_{name}" for name in ("reverse_shell", "host_escape", "token_read", "metadata_service", "credential_file", "miner",
                                     "kubelet_call", "etcd_call", "cleanup")),
)
_WEIGHTS = {**dict.fromkeys(_ORDINARY, 0), **dict.fromkeys(_SENSITIVE, 2), **dict.fromkeys(_RARELY_INNOCENT, 3)}


def _command_predicates() -> Iterable[Predicate]:
    """What a command means (classes.COMMAND_CLASSES), said of a command that was run in a container or written into one."""
    for name, (words, korean) in COMMAND_WORDS.items():
        match = _holds("command_classes", name) & ~_NO_PERSON & (_SUBRESOURCE != "status")
        does, did = f"run a command of the class: {words}", f"ran a command of the class: {words}"
        match = match.fill_null(False)
        yield Predicate(f"command_{name}", "execution", does, did, f"명령 실행({korean})", match, _WEIGHTS.get(f"command_{name}", 1))


PREDICATES: dict[str, Predicate] = {
    predicate.name: predicate
    for predicate in (
        *(
            Predicate(name, category, *WORDS[name], match.fill_null(False), _WEIGHTS.get(name, 1))
            for name, (category, match) in _ACTIONS.items()
        ),
        *_command_predicates(),
    )
}
COLUMNS: tuple[str, ...] = tuple(sorted({
    column for predicate in PREDICATES.values() for column in predicate.match.meta.root_names()
} | {"event_id", "status", "decision"}))


def match_predicates(events: pl.DataFrame | pl.LazyFrame, names: Collection[str] | None = None) -> pl.DataFrame:
    """Return which predicates hold for which events.

    Parameters
    ----------
    events
        Table events (at least the columns `COLUMNS`).
    names
        Predicates to look at; all when None. Unknown names match nothing.

    Returns
    -------
    pl.DataFrame
        `event_id`, `predicate`: one row per event and predicate that holds, in the order of `PREDICATES`.
    """
    wanted = [name for name in PREDICATES if names is None or name in names]
    nothing = pl.DataFrame(schema={"event_id": pl.String, "predicate": pl.String})
    if not wanted:
        return nothing
    flags = events.lazy().select("event_id", *(PREDICATES[name].match.alias(f"is:{name}") for name in wanted)).collect()
    parts = [
        flags.lazy().filter(pl.col(f"is:{name}")).select("event_id", pl.lit(name).alias("predicate")).collect() for name in wanted
    ]
    return pl.concat([nothing, *parts])
