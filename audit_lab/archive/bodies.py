"""The fields of request bodies that detection needs; the bodies themselves are never stored.

Bodies have no fixed shape: a patch may be a JSON array of operations or a fragment of an object, a pod may
sit in a template two levels down. Arrays of operations are first turned into the fragment they describe;
then one explicit structure reads them all.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import duckdb
import polars as pl

from audit_lab.archive.attempts import attempts_of_bodies
from audit_lab.duck import query
from audit_lab.masking import mask, mask_lists, mask_name

_CONTAINER = {
    "image": "VARCHAR", "command": ["VARCHAR"], "args": ["VARCHAR"],
    "securityContext": {
        "privileged": "BOOLEAN", "allowPrivilegeEscalation": "BOOLEAN", "runAsUser": "BIGINT", "capabilities": {"add": ["VARCHAR"]},
    },
}
_POD = {
    "hostPID": "BOOLEAN", "hostNetwork": "BOOLEAN", "hostIPC": "BOOLEAN", "serviceAccountName": "VARCHAR",
    "automountServiceAccountToken": "BOOLEAN", "nodeName": "VARCHAR",
    "containers": [_CONTAINER], "initContainers": [_CONTAINER], "ephemeralContainers": [_CONTAINER],
    "volumes": [{"hostPath": {"path": "VARCHAR"}}],
}
_BODY = {
    "type": "VARCHAR", "replicas": "BIGINT",
    "metadata": {
        "name": "VARCHAR", "generateName": "VARCHAR", "annotations": "JSON", "labels": "JSON",
        "ownerReferences": [{"kind": "VARCHAR", "name": "VARCHAR", "controller": "BOOLEAN"}],
    },
    "roleRef": {"kind": "VARCHAR", "name": "VARCHAR"},
    "subjects": [{"kind": "VARCHAR", "name": "VARCHAR", "namespace": "VARCHAR"}],
    "rules": [{"verbs": ["VARCHAR"], "apiGroups": ["VARCHAR"], "resources": ["VARCHAR"], "nonResourceURLs": ["VARCHAR"]}],
    "webhooks": [{
        "failurePolicy": "VARCHAR",
        "clientConfig": {"url": "VARCHAR", "service": {"namespace": "VARCHAR", "name": "VARCHAR"}},
    }],
    "ephemeralContainers": [_CONTAINER],
    "spec": {
        "type": "VARCHAR", "replicas": "BIGINT", "signerName": "VARCHAR", "request": "VARCHAR", "expirationSeconds": "BIGINT",
        "audiences": ["VARCHAR"], "tls": "JSON", "hostPath": {"path": "VARCHAR"},
        "resourceAttributes": {"verb": "VARCHAR", "group": "VARCHAR", "resource": "VARCHAR", "subresource": "VARCHAR", "namespace": "VARCHAR"},
        "nonResourceAttributes": {"verb": "VARCHAR", "path": "VARCHAR"},
    },
    "status": {"conditions": [{"type": "VARCHAR"}]},
    "gracePeriodSeconds": "BIGINT",
}

_SQL = f"""
WITH typed AS (
    SELECT row, resource, namespace, body,
        json_transform(body, '{json.dumps(_BODY)}') AS b,
        json_transform(coalesce(
            json_extract(body, '$.spec.jobTemplate.spec.template.spec'), json_extract(body, '$.spec.template.spec'),
            json_extract(body, '$.template.spec'), CASE WHEN resource = 'pods' THEN json_extract(body, '$.spec') END
        ), '{json.dumps(_POD)}') AS pod
    FROM (SELECT row, resource, namespace, body::JSON AS body FROM bodies)
), gathered AS (
    SELECT *, list_concat(coalesce(pod.containers, []), coalesce(pod.initContainers, []), coalesce(pod.ephemeralContainers, []),
                          coalesce(b.ephemeralContainers, [])) AS containers,
        list_filter(coalesce(b.metadata.ownerReferences, []), lambda o: coalesce(o.controller, false)) AS owners
    FROM typed
)
SELECT row,
    CASE WHEN b.roleRef.name IS NOT NULL THEN coalesce(b.roleRef.kind, 'ClusterRole') || '/' || b.roleRef.name END AS role_ref,
    list_transform(b.subjects, lambda s: CASE WHEN s.kind = 'ServiceAccount' THEN 'ServiceAccount/' || coalesce(s.namespace, namespace, '') || '/' || s.name
                                    ELSE s.kind || '/' || s.name END) AS subjects,
    list_transform(b.rules, lambda r: array_to_string(coalesce(r.verbs, []), ',') || ' '
        || array_to_string(list_transform(coalesce(r.apiGroups, []), lambda g: CASE WHEN g = '' THEN 'core' ELSE g END), ',') || ' '
        || array_to_string(list_concat(coalesce(r.resources, []), coalesce(r.nonResourceURLs, [])), ',')) AS granted,
    CASE WHEN len(containers) > 0 THEN coalesce(list_bool_or(list_transform(containers, lambda c: coalesce(c.securityContext.privileged, false))), false) END AS privileged,
    pod.hostPID AS host_pid, pod.hostNetwork AS host_network, pod.hostIPC AS host_ipc,
    list_distinct(list_concat(
        list_filter(list_transform(coalesce(pod.volumes, []), lambda v: v.hostPath.path), lambda p: p IS NOT NULL),
        CASE WHEN resource = 'persistentvolumes' AND b.spec.hostPath.path IS NOT NULL THEN [b.spec.hostPath.path] ELSE [] END)) AS host_paths,
    list_distinct(list_transform(flatten(list_transform(containers, lambda c: coalesce(c.securityContext.capabilities.add, []))), lambda a: upper(a))) AS capabilities,
    list_filter(list_transform(containers, lambda c: c.image), lambda i: i IS NOT NULL) AS images,
    list_filter(list_transform(containers, lambda c: trim(array_to_string(list_concat(coalesce(c.command, []), coalesce(c.args, [])), ' '))),
                lambda c: c <> '') AS commands,
    pod.serviceAccountName AS pod_service_account,
    owners[1].kind AS owner_kind, owners[1].name AS owner_name,
    coalesce(b.spec.replicas, b.replicas) AS replicas,
    CASE WHEN resource = 'services' THEN b.spec.type END AS service_type,
    list_filter(list_transform(b.webhooks, lambda w: coalesce(w.clientConfig.url,
        CASE WHEN w.clientConfig.service.name IS NOT NULL THEN 'service/' || coalesce(w.clientConfig.service.namespace, '') || '/' || w.clientConfig.service.name END)),
        lambda u: u IS NOT NULL) AS webhook_urls,
    list_filter(list_transform(b.webhooks, lambda w: w.failurePolicy), lambda p: p IS NOT NULL) AS webhook_failure_policies,
    b.spec.signerName AS csr_signer,
    CASE WHEN resource = 'certificatesigningrequests' THEN b.spec.request END AS csr_request,
    CASE WHEN resource = 'certificatesigningrequests' THEN
        list_filter(list_transform(coalesce(b.status.conditions, []), lambda c: c.type), lambda t: t IN ('Approved', 'Denied'))[1] END AS csr_condition,
    CASE WHEN resource IN ('serviceaccounts', 'tokenrequests') THEN b.spec.audiences END AS token_audiences,
    CASE WHEN resource IN ('serviceaccounts', 'tokenrequests') THEN b.spec.expirationSeconds END AS token_expiry_s,
    CASE WHEN resource = 'secrets' THEN b.type END AS secret_type,
    CASE WHEN b.spec.resourceAttributes.resource IS NOT NULL THEN
            coalesce(b.spec.resourceAttributes.verb, '*') || ' ' || coalesce(nullif(b.spec.resourceAttributes.group, ''), 'core') || '/'
            || b.spec.resourceAttributes.resource || coalesce('/' || nullif(b.spec.resourceAttributes.subresource, ''), '')
         WHEN b.spec.nonResourceAttributes.path IS NOT NULL THEN
            coalesce(b.spec.nonResourceAttributes.verb, '*') || ' ' || b.spec.nonResourceAttributes.path END AS access_review,
    coalesce(b.metadata.name, b.metadata.generateName) AS body_name,
    json_extract_string(b.metadata.annotations, '$."kubernetes.io/service-account.name"') AS token_account,
    CAST(b.metadata.annotations AS VARCHAR) AS annotations, CAST(b.metadata.labels AS VARCHAR) AS labels,
    list_filter([
        CASE WHEN resource = 'ingresses' AND b.spec.tls IS NULL AND json_extract(body, '$.spec.rules') IS NOT NULL THEN 'tls:none' END,
        CASE WHEN pod.automountServiceAccountToken IS NOT NULL THEN 'automount:' || pod.automountServiceAccountToken END,
        CASE WHEN pod.nodeName IS NOT NULL THEN 'node:chosen' END,
        CASE WHEN list_bool_or(list_transform(containers, lambda c: coalesce(c.securityContext.runAsUser = 0, false))) THEN 'user:root' END,
        CASE WHEN b.gracePeriodSeconds = 0 THEN 'grace:none' END,
        CASE WHEN contains(CAST(b.metadata.labels AS VARCHAR), 'rbac.authorization.k8s.io/aggregate-to-') THEN 'role:aggregated' END,
        CASE WHEN json_extract_string(b.metadata.labels, '$."pod-security.kubernetes.io/enforce"') = 'privileged' THEN 'pod_security:privileged' END,
        CASE WHEN json_extract(body, '$.webhooks[0].namespaceSelector') IS NOT NULL THEN 'webhook:namespace_selector' END,
        CASE WHEN json_extract(body, '$.spec.selector') IS NULL AND resource = 'services' AND json_extract_string(body, '$.spec.type') = 'ExternalName' THEN 'service:external_name' END
    ], lambda a: a IS NOT NULL) AS attributes
FROM gathered
"""


def extract_bodies(connection: duckdb.DuckDBPyConnection, records: pl.DataFrame) -> pl.DataFrame:
    """Return one row per row of `records` with the detection columns of its body.

    Columns in: `body` (JSON text or null), `resource`, `namespace`. Columns out: the body columns of table
    events, plus `body_name` and `attempts` (words of `attempts.WORDS`); everything masked.
    """
    numbered = records.select("resource", "namespace", "body").with_row_index("row")
    bodies = numbered.filter(pl.col("body").is_not_null()).with_columns(
        pl.when(pl.col("body").str.starts_with("[")).then(pl.col("body").map_elements(_fragment_of_patch, return_dtype=pl.String))
        .otherwise(pl.col("body")).alias("body")
    )
    found = query(connection, _SQL, bodies=bodies)
    found = found.with_columns(_csr_fields(found["csr_request"])).unnest("csr")
    texts = found.select(pl.col("row").cast(pl.UInt32)).join(bodies.select("row", "body"), on="row", how="left", maintain_order="left")["body"]
    found = found.with_columns(
        mask_lists(pl.col("commands")), mask_lists(pl.col("webhook_urls")), mask_name(pl.col("body_name")), mask(pl.col("access_review")),
        pl.when(pl.col("token_account").is_not_null())
        .then(pl.concat_list(pl.format("token_for:{}", pl.col("token_account")), pl.col("attributes"))).otherwise(pl.col("attributes"))
        .alias("attributes"),
        attempts_of_bodies(found, texts).alias("attempts"),
    ).drop("csr_request", "token_account", "annotations", "labels")
    return numbered.select("row").join(found.with_columns(pl.col("row").cast(pl.UInt32)), on="row", how="left", maintain_order="left").drop("row")


def _fragment_of_patch(text: str) -> str:
    """Turn a JSON patch into the object fragment that it writes: [{op, path, value}] -> {…}; removals say nothing."""
    fragment: dict[str, Any] = {}
    try:
        operations = json.loads(text)
    except ValueError:
        return "{}"
    for operation in operations if isinstance(operations, list) else []:
        if isinstance(operation, dict) and operation.get("op") in ("add", "replace") and isinstance(operation.get("path"), str):
            steps = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
            _put(fragment, steps, operation.get("value"))
    return json.dumps(fragment)


def _put(target: dict[str, Any], steps: list[str], value: Any) -> None:
    """Put `value` at `steps`; a number or '-' as a step means an element of a list."""
    here: Any = target
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        is_list_next = not last and (steps[index + 1] == "-" or steps[index + 1].isdigit())
        fresh: Any = value if last else [] if is_list_next else {}
        if isinstance(here, list):
            place = int(step) if step.isdigit() and int(step) < len(here) else None
            if place is None:
                here.append(fresh)
                here = fresh
            elif last:
                here[place] = value
            else:
                here = here[place]
        elif isinstance(here, dict):
            if last or not isinstance(here.get(step), (dict, list)):
                here[step] = fresh
            here = here[step]
        else:
            return


def _csr_fields(requests: pl.Series) -> pl.Series:
    names = [_csr_names(text) for text in requests.to_list()]
    return pl.Series("csr", [{"csr_subject": subject, "csr_groups": groups} for subject, groups in names],
                     dtype=pl.Struct({"csr_subject": pl.String, "csr_groups": pl.List(pl.String)}))


def _csr_names(text: str | None) -> tuple[str | None, list[str] | None]:
    """Return common name and organizations of a base64 PEM signing request.

    Only two attributes are wanted, so instead of a full ASN.1 reader: find their object identifiers
    (2.5.4.3, 2.5.4.10; RFC 5280 appendix A) and take the string that follows.
    """
    if not text:
        return None, None
    try:
        lines = base64.b64decode(text, validate=False).decode("ascii", "ignore").splitlines()
        der = base64.b64decode("".join(line for line in lines if not line.startswith("-----")))
    except (binascii.Error, ValueError):
        return None, None
    common = _strings_after(der, b"\x55\x04\x03")
    return (common[0] if common else None), _strings_after(der, b"\x55\x04\x0a")


def _strings_after(der: bytes, identifier: bytes) -> list[str]:
    found, place = [], der.find(identifier)
    while place >= 0 and place + 5 <= len(der):
        tag, length = der[place + 3], der[place + 4]
        if tag in (0x0C, 0x13, 0x16) and length < 0x80:
            found.append(der[place + 5 : place + 5 + length].decode("utf-8", "replace"))
        place = der.find(identifier, place + 3)
    return found
