"""Kubernetes audit field names, and names of public rules, to the columns of the `events` table.

A rule may name a field as the API server writes it (`objectRef.resource`, `requestObject.roleRef.name`), as
public rules write it although no audit event has it (`hostPath`, `capabilities`, top-level `apiGroup`), or as a column
of `events`. All three mean the same column here. Names are compared without case, list marks (`[]`, `[*]`, `.0.`) and
the path of a pod template are dropped, and `responseObject` counts as `requestObject`.

>>> to_column("requestObject.spec.template.spec.volumes[].hostPath.path"), to_column("objectRef.resource")
('host_paths', 'resource')
"""

from __future__ import annotations

import re

from sigma.processing.conditions import IncludeFieldCondition, IsSigmaRuleCondition, MatchStringCondition
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import FieldFunctionTransformation, FieldMappingTransformation

from audit_lab import tables
from audit_lab.signals.sigma.fields import Field, fields_of

# A body that was cut or never logged shows nothing: its fields are then unknown, not absent.
_BODY = '"has_body" AND NOT "truncated"'
# The command line of an exec stands in its address, so it is known without a body.
_BODY_OR_EXEC = f"({_BODY}) OR \"subresource\" IN ('exec', 'attach')"

_BODY_COLUMNS = frozenset({
    "role_ref", "subjects", "granted", "granted_classes", "privileged", "host_pid", "host_network", "host_ipc", "host_paths",
    "capabilities", "images", "pod_service_account", "owner_kind", "owner_name", "replicas", "service_type", "webhook_urls",
    "webhook_failure_policies", "csr_signer", "csr_subject", "csr_groups", "csr_condition", "token_audiences", "token_expiry_s",
    "secret_type", "access_review",
})
# Columns whose values tables.py or the closed vocabulary promise in lower case.
_LOWER = frozenset({
    "verb", "resource", "subresource", "actor_kind", "source_class", "client_family", "decision", "granted_classes",
    "command_classes",
})

_SERVICE_ACCOUNT = "'serviceaccount/' || lower({ns}) || '/' || lower({name})"

_MADE = _SERVICE_ACCOUNT.format(ns='"namespace"', name='"name"')


def _account(column: str) -> str:
    """SQL that writes a user name as binding subjects are written: 'serviceaccount/ns/name' or 'user/name'."""
    parts = f"split_part({column}, ':', {{n}})"
    made = _SERVICE_ACCOUNT.format(ns=parts.format(n=3), name=parts.format(n=4))
    return f"CASE WHEN starts_with({column}, 'system:serviceaccount:') THEN {made} WHEN {column} <> '' THEN 'user/' || lower({column}) END"


def _words(position: int) -> str:
    """SQL that lists one part of the granted rules, which are written 'verbs groups resources'."""
    return f"flatten(list_transform(\"granted\", lambda r: string_split(split_part(r, ' ', {position}), ',')))"


# What a rule needs and no single column holds. The first six name identities in one spelling, so that a correlation
# can follow an account from its creation over its binding to its use.
_DERIVED: dict[str, Field] = {
    "acting_account": Field("text", _account('"user"'), lower=True),
    "borrowed_account": Field("text", _account('"impersonated_user"'), lower=True),
    "made_account": Field("text", f"CASE WHEN \"resource\" = 'serviceaccounts' AND \"subresource\" IS NULL THEN {_MADE} END", lower=True),
    "minted_account": Field(
        "text", f"CASE WHEN \"resource\" = 'serviceaccounts' AND \"subresource\" = 'token' THEN {_MADE} END", lower=True
    ),
    "bound_account": Field("texts", 'list_transform("subjects", lambda s: lower(s))', lower=True, available=_BODY),
    "requested_account": Field("text", "'user/' || lower(\"csr_subject\")", lower=True, available=_BODY),
    "object_key": Field("text", "concat_ws('/', lower(\"resource\"), lower(\"namespace\"), lower(\"name\"))", lower=True),
    "role_ref_kind": Field("text", "split_part(\"role_ref\", '/', 1)", available=_BODY),
    "role_ref_name": Field("text", "split_part(\"role_ref\", '/', 2)", available=_BODY),
    "subject_kinds": Field("texts", "list_transform(\"subjects\", lambda s: split_part(s, '/', 1))", available=_BODY),
    "subject_names": Field("texts", "list_transform(\"subjects\", lambda s: split_part(s, '/', -1))", available=_BODY),
    "granted_verbs": Field("texts", _words(1), available=_BODY),
    "granted_groups": Field("texts", _words(2), available=_BODY),
    "granted_resources": Field("texts", _words(3), available=_BODY),
    "api_group_name": Field("text", "NULLIF(\"api_group\", '')"),
    "grant_reason": Field("text", "concat_ws(' ', \"grant_binding\", \"grant_role\")"),
    "uri_path": Field("text", "split_part(\"uri\", '?', 1)"),
    "body_cut": Field("boolean", '"truncated"'),
}

_NAMES: dict[str, str] = {
    "auditid": "event_id", "level": "level", "stage": "stage", "verb": "verb", "requesturi": "uri", "useragent": "user_agent",
    "sourceips": "source_ips", "sourceip": "source_ips", "user.username": "user", "username": "user", "user.groups": "user_groups",
    "groups": "user_groups", "user.extra.authentication.kubernetes.io/pod-name": "credential_pod",
    "impersonateduser.username": "impersonated_user", "impersonateduser.groups": "impersonated_groups",
    "objectref.resource": "resource", "objectref.subresource": "subresource", "objectref.namespace": "namespace",
    "objectref.name": "name", "objectref.apigroup": "api_group_name", "objectref.apiversion": "api_version",
    "apigroup": "api_group_name", "apiversion": "api_version", "namespace": "namespace",
    "responsestatus.code": "status", "responsestatus.reason": "status_reason", "requestreceivedtimestamp": "time",
    "stagetimestamp": "stage_time", "annotations.authorization.k8s.io/decision": "decision",
    "annotations.authorization.k8s.io/reason": "grant_reason",
    "hostpath": "host_paths", "hostpid": "host_pid", "hostnetwork": "host_network", "hostipc": "host_ipc",
    "capabilities": "capabilities", "privileged": "privileged", "image": "images",
}

# Paths inside a request body; the longest ending that fits wins.
_BODY_PATHS: dict[str, str] = {
    "roleref": "role_ref", "roleref.kind": "role_ref_kind", "roleref.name": "role_ref_name",
    "subjects": "subjects", "subjects.kind": "subject_kinds", "subjects.name": "subject_names",
    "rules": "granted", "rules.verbs": "granted_verbs", "rules.resources": "granted_resources", "rules.apigroups": "granted_groups",
    "securitycontext.privileged": "privileged", "securitycontext.capabilities": "capabilities",
    "securitycontext.capabilities.add": "capabilities", "spec.hostpid": "host_pid", "spec.hostnetwork": "host_network",
    "spec.hostipc": "host_ipc", "spec.volumes.hostpath": "host_paths", "spec.volumes.hostpath.path": "host_paths",
    "containers.image": "images", "initcontainers.image": "images", "ephemeralcontainers.image": "images",
    "containers.command": "commands", "containers.args": "commands", "initcontainers.command": "commands",
    "spec.serviceaccountname": "pod_service_account", "spec.serviceaccount": "pod_service_account", "spec.replicas": "replicas",
    "spec.type": "service_type", "webhooks.clientconfig.url": "webhook_urls", "webhooks.failurepolicy": "webhook_failure_policies",
    "webhooks.clientconfig.service.name": "webhook_urls", "spec.signername": "csr_signer", "spec.audiences": "token_audiences",
    "spec.expirationseconds": "token_expiry_s", "status.conditions.type": "csr_condition", "requestobject.type": "secret_type",
    "metadata.ownerreferences.kind": "owner_kind", "metadata.ownerreferences.name": "owner_name", "metadata.name": "name",
    "metadata.namespace": "namespace",
}


def audit_fields(extra: dict[str, Field] | None = None) -> dict[str, Field]:
    """Return every field that a rule over `events` may name: its columns and what is derived from them."""
    plain = fields_of(tables.TABLES["events"].schema)
    fields = {
        name: Field(
            field.kind, field.sql, name in _LOWER,
            _BODY if name in _BODY_COLUMNS else _BODY_OR_EXEC if name in ("commands", "command_classes") else None,
        )
        for name, field in plain.items()
    }
    return {**fields, **_DERIVED, **(extra or {})}


def to_column(name: str | None) -> str:
    """Return the field of `audit_fields` that a rule's field name means; an unknown name comes back as it is."""
    if name is None or name in tables.TABLES["events"].columns or name in _DERIVED:
        return name or ""
    clean = re.sub(r"\[[^\]]*\]|(?<=\.)\d+\.", "", name).lower().replace("..", ".").strip(".")
    clean = re.sub(r"\.\d+$", "", clean)
    if clean in _NAMES:
        return _NAMES[clean]
    if not clean.startswith(("requestobject.", "responseobject.")):
        return name
    path = clean.replace("responseobject.", "requestobject.", 1).replace("jobtemplate.spec.", "").replace("template.spec.", "spec.")
    path = path.replace("spec.spec.", "spec.")
    fitting = [ending for ending in _BODY_PATHS if path == ending or path.endswith("." + ending)]
    return _BODY_PATHS[max(fitting, key=len)] if fitting else name


def audit_pipeline() -> ProcessingPipeline:
    """Return the pySigma pipeline that maps the field names of Kubernetes audit rules to `events`."""
    return ProcessingPipeline(
        name="Kubernetes audit to the events table",
        items=[
            # Some rules ask the status code for the authorizer's word.
            ProcessingItem(
                FieldMappingTransformation({"responseStatus.code": "decision"}),
                identifier="decision_in_status",
                # A correlation states no value that could tell which of the two it means: it means what it says.
                rule_conditions=[IsSigmaRuleCondition()],
                detection_item_conditions=[MatchStringCondition(cond="any", pattern="(?i)^(allow|forbid)$")],
                field_name_conditions=[IncludeFieldCondition(fields=["responseStatus.code"])],
            ),
            ProcessingItem(FieldFunctionTransformation({}, to_column), identifier="audit_fields"),
        ],
    )

