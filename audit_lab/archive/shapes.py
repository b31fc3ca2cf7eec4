"""Shapes of audit records: which JSON keys there are and how they become columns.

The schema is explicit (law 2): a key that is not here is counted, never guessed. audit.k8s.io/v1, v1beta1
and v1alpha1 differ only in where the time stands.
"""

from __future__ import annotations

import json

# JSON structure for DuckDB's json_transform: what a record may hold.
EVENT = {
    "kind": "VARCHAR", "apiVersion": "VARCHAR", "level": "VARCHAR", "auditID": "VARCHAR", "stage": "VARCHAR",
    "requestURI": "VARCHAR", "verb": "VARCHAR",
    "user": {"username": "VARCHAR", "groups": ["VARCHAR"], "extra": {"authentication.kubernetes.io/pod-name": ["VARCHAR"]}},
    "impersonatedUser": {"username": "VARCHAR", "groups": ["VARCHAR"]},
    "sourceIPs": ["VARCHAR"], "userAgent": "VARCHAR",
    "objectRef": {
        "resource": "VARCHAR", "namespace": "VARCHAR", "name": "VARCHAR", "apiGroup": "VARCHAR", "apiVersion": "VARCHAR",
        "subresource": "VARCHAR",
    },
    "responseStatus": {"code": "BIGINT", "reason": "VARCHAR"},
    "requestReceivedTimestamp": "VARCHAR", "stageTimestamp": "VARCHAR", "timestamp": "VARCHAR",
    "metadata": {"creationTimestamp": "VARCHAR"},
    "annotations": {
        "authorization.k8s.io/decision": "VARCHAR", "authorization.k8s.io/reason": "VARCHAR", "audit.k8s.io/truncated": "VARCHAR",
    },
    "requestObject": "JSON", "responseObject": {"metadata": {"name": "VARCHAR"}},
}
KNOWN_KEYS = frozenset(EVENT) | {"authenticationMetadata"}

# One row per record that is an object. `reject` is null when it is an audit event, else the reason.
PARSE_SQL = f"""
WITH framed AS (
    SELECT position, line, n_bytes, text, json_valid(text) AS valid FROM lines
), typed AS (
    SELECT * EXCLUDE (text, valid), text,
           CASE WHEN valid THEN json_type(text::JSON) END AS type,
           CASE WHEN valid AND json_type(text::JSON) = 'OBJECT' THEN json_transform(text::JSON, '{json.dumps(EVENT)}') END AS e
    FROM framed
), named AS (
    SELECT position, line, n_bytes, type, e, text,
        coalesce(nullif(e.requestReceivedTimestamp, ''), nullif(e.timestamp, ''), nullif(e.metadata.creationTimestamp, ''),
                 nullif(e.stageTimestamp, '')) AS time_text
    FROM typed
)
SELECT position, line, n_bytes,
    CASE
        WHEN type IS NULL THEN 'not JSON'
        WHEN type <> 'OBJECT' THEN 'JSON, but no object'
        WHEN e.kind = 'EventList' THEN 'an EventList: give its items one a line'
        WHEN e.kind IS NOT NULL AND e.kind <> 'Event' THEN 'no audit event: kind is another'
        WHEN e.apiVersion IS NOT NULL AND NOT starts_with(e.apiVersion, 'audit.k8s.io/') THEN 'no audit event: apiVersion is another'
        WHEN e.verb IS NULL OR (e.auditID IS NULL AND e.requestURI IS NULL AND e.objectRef IS NULL) THEN 'no audit event: verb or request is missing'
        WHEN try_cast(regexp_replace(time_text, '(\\.\\d{{6}})\\d+', '\\1') AS TIMESTAMPTZ) IS NULL THEN 'no audit event: no time that can be read'
    END AS reject,
    coalesce(nullif(e.apiVersion, ''), 'audit.k8s.io/?') AS api,
    coalesce(nullif(e.auditID, ''), 'x-' || substr(sha256(text), 1, 16)) AS event_id,
    epoch_us(try_cast(regexp_replace(time_text, '(\\.\\d{{6}})\\d+', '\\1') AS TIMESTAMPTZ)) AS time_us,
    epoch_us(try_cast(regexp_replace(e.stageTimestamp, '(\\.\\d{{6}})\\d+', '\\1') AS TIMESTAMPTZ)) AS stage_us,
    e.level AS level, e.stage AS stage,
    nullif(e."user".username, '') AS "user", e."user".groups AS user_groups,
    e."user".extra."authentication.kubernetes.io/pod-name"[1] AS credential_pod,
    nullif(e.impersonatedUser.username, '') AS impersonated_user, e.impersonatedUser.groups AS impersonated_groups,
    e.sourceIPs AS source_ips, e.userAgent AS user_agent, lower(e.verb) AS verb, e.requestURI AS uri,
    CASE WHEN e.objectRef.resource IS NOT NULL THEN
        coalesce(e.objectRef.apiGroup, CASE WHEN contains(e.objectRef.apiVersion, '/') THEN split_part(e.objectRef.apiVersion, '/', 1) END, '')
    END AS api_group,
    CASE WHEN contains(e.objectRef.apiVersion, '/') THEN split_part(e.objectRef.apiVersion, '/', 2) ELSE e.objectRef.apiVersion END AS api_version,
    lower(e.objectRef.resource) AS resource, lower(nullif(e.objectRef.subresource, '')) AS subresource,
    nullif(e.objectRef.namespace, '') AS namespace,
    coalesce(nullif(e.objectRef.name, ''), CASE WHEN e.verb = 'create' THEN e.responseObject.metadata.name END) AS name,
    e.annotations."authorization.k8s.io/decision" AS decision, e.annotations."authorization.k8s.io/reason" AS decision_reason,
    e.responseStatus.code AS status, e.responseStatus.reason AS status_reason,
    coalesce(e.annotations."audit.k8s.io/truncated" = 'true', false) AS truncated,
    coalesce(json_type(e.requestObject), 'NULL') <> 'NULL' AS has_body,
    -- Only writes say what somebody wants; status updates by controllers repeat whole objects and say nothing new.
    CASE WHEN lower(e.verb) IN ('create', 'update', 'patch', 'delete', 'deletecollection', 'post', 'put')
              AND coalesce(e.objectRef.subresource, '') NOT IN ('status', 'binding', 'finalize')
              AND json_type(e.requestObject) IN ('OBJECT', 'ARRAY')
         THEN CAST(e.requestObject AS VARCHAR) END AS body
FROM named
"""

KEYS_SQL = """
SELECT key, count(*) AS n FROM (SELECT unnest(json_keys(text)) AS key FROM lines WHERE json_valid(text) AND json_type(text::JSON) = 'OBJECT')
GROUP BY key
"""
