"""Action tokens: what one event did, in a few closed words.

A token says what matters and nothing an attacker wrote: `read secret in kube-system`, `list secrets cluster-wide`,
`exec pod running shell,token_read`, `bind cluster-admin cluster-wide to service-account`, `create pod privileged
host-path root`. It is the unit of summaries, novelty, rarity and sequence models. The outcome is not part of it.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from audit_lab import classes
from audit_lab.kubernetes import (
    CLEAR_NAMES,
    CLUSTER_SCOPED,
    CSR_SIGNERS,
    CUSTOM,
    RESOURCES,
    SECRET_TYPES,
    SUBRESOURCES,
    WRITE_VERBS,
    clear_name,
)

VERBS = {
    "get": "read", "list": "list", "watch": "watch", "create": "create", "update": "update", "patch": "patch", "delete": "delete",
    "deletecollection": "delete-all",
}
# 'group/plural/subresource' of requests that have a word of their own, whatever the verb (exec may come as get or create).
_SPECIAL = {
    "/pods/exec": "exec pod", "/pods/attach": "attach pod", "/pods/portforward": "port-forward pod", "/pods/log": "read pod log",
    "/pods/proxy": "proxy pod", "/services/proxy": "proxy service", "/nodes/proxy": "proxy node", "/pods/eviction": "evict pod",
    "/pods/binding": "schedule pod", "/nodes/log": "read node log",
}
_SPECIAL_WRITES = {
    "/serviceaccounts/token": "mint token", "/pods/ephemeralcontainers": "debug pod",
    "certificates.k8s.io/certificatesigningrequests/approval": "approve certificaterequest",
    "authorization.k8s.io/selfsubjectaccessreviews": "check own access", "authorization.k8s.io/selfsubjectrulesreviews": "check own rights",
    "authorization.k8s.io/subjectaccessreviews": "check access of others",
    "authorization.k8s.io/localsubjectaccessreviews": "check access of others",
    "authentication.k8s.io/tokenreviews": "check token", "authentication.k8s.io/selfsubjectreviews": "check own identity",
}
_SERVICE_TYPES = {"LoadBalancer": "load-balancer", "NodePort": "node-port", "ExternalName": "external-name"}
_SENSITIVE_ASKS = frozenset(classes.GRANT_CLASSES) - {"read", "write"}
_SHOWN_IMAGE_CLASSES = frozenset({"offensive_tool", "miner", "no_registry", "public_registry", "latest_tag"})
_ATTRIBUTES = {
    "tls:none": "without-tls", "automount:true": "mounts-token", "user:root": "as-root", "grace:none": "without-grace",
    "role:aggregated": "aggregated", "pod_security:privileged": "allows-privileged", "node:chosen": "on-chosen-node",
}
# A token that outlives a working day is worth a word: clients that rotate ask for an hour or so.
LONG_TOKEN_S = 86_400


def plural(word: str) -> str:
    """Return the plural of a kind's word.

    >>> plural("networkpolicy"), plural("ingress"), plural("pod")
    ('networkpolicies', 'ingresses', 'pods')
    """
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith("s") else "s")


_SINGULAR = {f"{group}/{name}": word for group, kinds in RESOURCES.items() for name, word in kinds.items()}
_PLURAL = {key: plural(word) for key, word in _SINGULAR.items()}
_NAMESPACED = [key for key, word in _SINGULAR.items() if word not in CLUSTER_SCOPED]

WORDS = frozenset({
    *VERBS.values(), "call", "other", *_SINGULAR.values(), *_PLURAL.values(), CUSTOM, plural(CUSTOM), *SUBRESOURCES,
    *(word for phrases in (_SPECIAL, _SPECIAL_WRITES) for phrase in phrases.values() for word in phrase.split()),
    "cluster-wide", "in-namespace", "bind", "custom-role", "to", "in", "granting", "running", "image", "host-path", "capability",
    "privileged", "host-pid", "host-network", "host-ipc", "as", "type", "for", "long-lived", "reaching", "ignore-failures", "deny",
    "other-signer", "other-type", "nothing", *_SERVICE_TYPES.values(), *_ATTRIBUTES.values(), *SECRET_TYPES.values(), *CSR_SIGNERS.values(),
    *classes.COMMAND_CLASSES, *classes.GRANT_CLASSES, *classes.HOST_PATH_CLASSES, *classes.CAPABILITY_CLASSES, *classes.IMAGE_CLASSES,
    *classes.URI_CLASSES, *classes.PROXY_CLASSES, *classes.SUBJECT_CLASSES, *classes.IMPERSONATION_CLASSES, *classes.WEBHOOK_CLASSES,
})


def action_token() -> pl.Expr:
    """Return the expression that gives each row of `events` its action token.

    Every raw string goes through an exact list or a class function; what fits none becomes 'custom-resource',
    'custom-role' or 'other'. No token is null.

    >>> from audit_lab import tables
    >>> row = {"verb": "list", "api_group": "", "resource": "secrets"}
    >>> frame = pl.concat([tables.empty("events"), pl.DataFrame([row])], how="diagonal")
    >>> frame.select(action_token()).item()
    'list secrets cluster-wide'
    """
    parts = [
        _phrase(), _binding(), _scope(), _place(), _object(), _granted(),
        _flag("privileged", "privileged"),
        _flag("host_pid", "host-pid"), _flag("host_network", "host-network"), _flag("host_ipc", "host-ipc"),
        _lists("host_paths", lambda value: [classes.host_path_class(value)], "host-path"),
        _lists("capabilities", lambda value: [classes.capability_class(value)], "capability"),
        _lists("images", lambda value: [name for name in classes.image_classes(value) if name in _SHOWN_IMAGE_CLASSES], "image"),
        _commands(), _lists("webhook_urls", lambda value: [classes.webhook_class(value)], "reaching"),
        _lists("webhook_failure_policies", lambda value: ["ignore-failures"] if value == "Ignore" else []),
        pl.col("service_type").replace_strict(_SERVICE_TYPES, default=None, return_dtype=pl.String),
        _typed("secret_type", SECRET_TYPES, "other-type"), _typed("csr_signer", CSR_SIGNERS, "other-signer"),
        _lists("csr_groups", lambda value: [clear_name("group", value) or "group"], "for"),
        pl.when(pl.col("token_expiry_s") > LONG_TOKEN_S).then(pl.lit("long-lived")),
        _lists("attributes", lambda value: [_ATTRIBUTES[value]] if value in _ATTRIBUTES else []),
        _reviewed(), _impersonated(),
    ]
    return pl.concat_str(parts, separator=" ", ignore_nulls=True).alias("action")


def is_write() -> pl.Expr:
    """Return whether an event wants to change something: a write verb that is no access or token review."""
    review = pl.col("api_group").is_in(["authorization.k8s.io", "authentication.k8s.io"]).fill_null(False)
    return pl.col("verb").is_in(WRITE_VERBS).fill_null(False) & ~review


def _key() -> pl.Expr:
    return pl.concat_str(pl.col("api_group").fill_null(""), pl.lit("/"), pl.col("resource").fill_null(""))


def _phrase() -> pl.Expr:
    key, subresource = _key(), pl.col("subresource")
    writes = pl.col("verb").is_in(WRITE_VERBS)
    full = pl.when(subresource.is_null()).then(key).otherwise(pl.concat_str(key, pl.lit("/"), subresource.fill_null("")))
    special = pl.coalesce(
        full.replace_strict(_SPECIAL, default=None, return_dtype=pl.String),
        pl.when(writes).then(full.replace_strict(_SPECIAL_WRITES, default=None, return_dtype=pl.String)),
    )
    denied_request = pl.when(pl.col("csr_condition") == "Denied").then(pl.lit("deny certificaterequest"))
    verb = pl.col("verb").replace_strict(VERBS, default="call", return_dtype=pl.String).fill_null("call")
    many = pl.col("verb").is_in(["list", "watch", "deletecollection"]) & pl.col("name").is_null()
    noun = pl.when(many).then(key.replace_strict(_PLURAL, default=plural(CUSTOM), return_dtype=pl.String)).otherwise(
        key.replace_strict(_SINGULAR, default=CUSTOM, return_dtype=pl.String))
    known = subresource.replace_strict({name: name for name in SUBRESOURCES}, default="other", return_dtype=pl.String)
    below = pl.when(subresource.is_not_null()).then(pl.concat_str(pl.lit(" "), known))
    plain = pl.concat_str(verb, pl.lit(" "), noun, below.fill_null(""))
    proxied = pl.when(subresource == "proxy").then(pl.concat_str(pl.lit(" "), _distinct("uri", classes.proxy_class).fill_null("other")))
    path = pl.concat_str(pl.lit("call "), _distinct("uri", classes.uri_class).fill_null("other"))
    bound = pl.when(_binds()).then(pl.lit("bind"))
    return (
        pl.when(pl.col("resource").is_null()).then(path)
        .otherwise(pl.concat_str(pl.coalesce(bound, denied_request, special, plain), proxied.fill_null("")))
    )


def _binds() -> pl.Expr:
    bindings = pl.col("resource").is_in(["clusterrolebindings", "rolebindings"])
    return bindings & pl.col("verb").is_in(WRITE_VERBS) & pl.col("role_ref").is_not_null()


def _scope() -> pl.Expr:
    wide = (
        pl.col("verb").is_in(["list", "watch", "deletecollection"]) & pl.col("namespace").is_null() & pl.col("name").is_null()
        & _key().is_in(_NAMESPACED)
    )
    return pl.when(wide).then(pl.lit("cluster-wide"))


def _place() -> pl.Expr:
    shown = pl.col("namespace").is_in(["kube-system", "kube-public"])
    return pl.when(shown & pl.col("resource").is_not_null()).then(pl.concat_str(pl.lit("in "), pl.col("namespace")))


def _object() -> pl.Expr:
    known = pl.col("name").is_in(sorted(CLEAR_NAMES["object"])) & pl.col("namespace").is_in(["kube-system", "kube-public"])
    role = pl.col("name").is_in(sorted(CLEAR_NAMES["role"])) & pl.col("resource").is_in(["clusterroles", "clusterrolebindings"])
    return pl.when((known | role) & ~_binds()).then(pl.col("name"))


def _binding() -> pl.Expr:
    role = pl.concat_str(
        _distinct("role_ref", lambda value: clear_name("role", value.removeprefix("ClusterRole/")) or "custom-role"),
        pl.when(pl.col("resource") == "clusterrolebindings").then(pl.lit(" cluster-wide")).otherwise(pl.lit(" in-namespace")),
    )
    subjects = _lists("subjects", lambda value: [classes.subject_class(value)], "to")
    return pl.concat_str([pl.when(_binds()).then(role), subjects], separator=" ", ignore_nulls=True).replace("", None)


def _granted() -> pl.Expr:
    def shorten(found: set[str]) -> set[str]:
        if {"wildcard_verbs", "wildcard_resources"} <= found:
            return {"wildcard_verbs", "wildcard_resources"}
        return found - {"read", "write"} or found

    return _lists("granted_classes", _known(classes.GRANT_CLASSES), "granting", shorten)


def _commands() -> pl.Expr:
    known = _known(classes.COMMAND_CLASSES)
    plain_template = ~pl.col("subresource").is_in(["exec", "attach"]).fill_null(False)
    # A container that runs its own program is the usual case: only an exec of something unknown is worth the word.
    found = _lists("command_classes", known, "running")
    return pl.when(~(plain_template & (found == "running other").fill_null(False))).then(found)


def _reviewed() -> pl.Expr:
    def asks(value: str) -> str | None:
        verb, _, target = value.partition(" ")
        group, _, resource = target.partition("/")
        found = [name for name in classes.grant_classes(f"{verb} {group} {resource}") if name in _SENSITIVE_ASKS]
        return "for " + ",".join(found[:2]) if found else None

    return _distinct("access_review", asks)


def _impersonated() -> pl.Expr:
    person = _distinct("impersonated_user", lambda value: classes.impersonation_class(value, []))
    masters = pl.col("impersonated_groups").list.contains("system:masters").fill_null(False)
    return pl.when(masters).then(pl.lit("as system:masters")).when(pl.col("impersonated_user").is_not_null()).then(
        pl.concat_str(pl.lit("as "), person))


def _flag(column: str, word: str) -> pl.Expr:
    return pl.when(pl.col(column)).then(pl.lit(word))


def _typed(column: str, names: dict[str, str], default: str) -> pl.Expr:
    return pl.when(pl.col(column).is_not_null()).then(
        pl.concat_str(pl.lit("type "), pl.col(column).replace_strict(names, default=default, return_dtype=pl.String)))


def _known(allowed: tuple[str, ...]) -> Callable[[str], list[str]]:
    return lambda value: [value] if value in allowed else ["other"]


def _distinct(column: str, function: Callable[[str], str | None]) -> pl.Expr:
    def apply(values: pl.Series) -> pl.Series:
        return classes.map_distinct(values, lambda value: None if value is None else function(value), pl.String)

    return pl.col(column).map_batches(apply, return_dtype=pl.String, is_elementwise=True)


def _lists(
    column: str, function: Callable[[str], list[str]], lead: str = "", shorten: Callable[[set[str]], set[str]] | None = None
) -> pl.Expr:
    """Return the classes of a list column as 'lead a,b', sorted and distinct; null where there are none."""

    def apply(values: pl.Series) -> pl.Series:
        cache: dict[tuple[str, ...], str | None] = {}
        filled = (values.list.len() > 0).fill_null(False)
        found: list[str | None] = []
        for items in values.filter(filled).to_list():
            key = tuple(items)
            if key not in cache:
                words = {word for item in key if item is not None for word in function(item)}
                text = ",".join(sorted(shorten(words) if shorten else words))
                cache[key] = f"{lead} {text}".lstrip() if text else None
            found.append(cache[key])
        words_of = pl.repeat(None, len(values), dtype=pl.String, eager=True)
        return words_of.scatter(filled.arg_true(), pl.Series(found, dtype=pl.String)).rename(values.name)

    return pl.col(column).map_batches(apply, return_dtype=pl.String, is_elementwise=True)
