"""THE CONTRACT: every table, column, dtype, unit, grain and meaning.

One owner: readers, steps, checks and `docs/tables.md` all take the columns from here. A step calls
`check(frame, "sessions")` at its door; a column that is not here does not exist.

>>> check(empty("labels"), "labels").height
0
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from audit_lab.errors import ContractError

TIME = pl.Datetime("us", "UTC")
TEXTS = pl.List(pl.String)


@dataclass(frozen=True)
class Column:
    """One column: its dtype, its meaning (with unit), and whether it may be null."""

    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    nullable: bool = True
    volatile: bool = False  # clock, latency and cost: left out of the canonical digest (law 7)


@dataclass(frozen=True)
class Table:
    """One table: what a row stands for, its key, and its columns in order."""

    grain: str
    key: tuple[str, ...]
    columns: dict[str, Column]

    @property
    def schema(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """Column name to Polars dtype, in order."""
        return {name: column.dtype for name, column in self.columns.items()}


def _c(dtype: pl.DataType | type[pl.DataType], meaning: str) -> Column:
    return Column(dtype, meaning)


def _k(dtype: pl.DataType | type[pl.DataType], meaning: str) -> Column:
    return Column(dtype, meaning, nullable=False)


def _v(dtype: pl.DataType | type[pl.DataType], meaning: str) -> Column:
    return Column(dtype, meaning, volatile=True)


UNKNOWN_KEYS = pl.List(pl.Struct({"key": pl.String, "n": pl.Int64}))
CLAIM = pl.Struct({
    "kind": pl.String,        # count | order | novelty | denial | privilege | reach
    "predicate": pl.String,   # a name from predicates.PREDICATES: which events it speaks of
    "then": pl.String,        # order only: the predicate that comes later
    "n": pl.Int64,            # count, denial, reach: at least this many
    "scope": pl.String,       # novelty: actor | peers; reach: namespaces | secrets | nodes | resources
})
GROUND = pl.Struct({
    "claim": CLAIM,
    "event_ids": TEXTS,
    "holds": pl.Boolean,      # checked by us on the tables; null = not checked yet
    "wrong": pl.String,       # why it does not hold, in our words
    "sentence": pl.String,    # rendered by us from the claim
    "sentence_ko": pl.String,  # the same in Korean
    "relevance": pl.Float64,  # 1 − share of the peer group's other sessions of which it is true as well; null = too few peers
    "note": pl.String,        # what a reader should know about its weight, e.g. that it is common among peers
})

TABLES: dict[str, Table] = {
    "archives": Table("file read", ("archive_id",), {
        "archive_id": _k(pl.String, "hash of cluster and decompressed content: 'a-' and 16 hex digits"),
        "path": _v(pl.String, "file as it was named at ingest"),
        "cluster": _k(pl.String, "cluster name given at ingest"),
        "shape": _k(pl.String, "recognised shape, e.g. 'audit.k8s.io/v1 jsonl gzip'"),
        "bytes": _k(pl.Int64, "decompressed bytes"),
        "bytes_on_disk": _v(pl.Int64, "file size, bytes"),
        "record_bytes": _k(pl.Int64, "bytes inside records"),
        "separator_bytes": _k(pl.Int64, "newline bytes between records"),
        "blank_bytes": _k(pl.Int64, "bytes of blank lines and padding"),
        "n_records": _k(pl.Int64, "records framed"),
        "n_events": _k(pl.Int64, "records that became a row of events"),
        "n_duplicates": _k(pl.Int64, "records that repeat a kept record's audit ID and stage"),
        "n_superseded": _k(pl.Int64, "less complete stages of a kept request"),
        "n_quarantined": _k(pl.Int64, "records not understood, kept in quarantine"),
        "n_foreign": _k(pl.Int64, "records of other log kinds, counted only"),
        "n_sampled_out": _k(pl.Int64, "records left out by a stated sampling rule"),
        "n_truncated": _k(pl.Int64, "events whose bodies the API server cut (audit.k8s.io/truncated)"),
        "damage": _c(pl.String, "what was wrong with the file as a whole, e.g. 'gzip ends early'"),
        "first_time": _c(TIME, "earliest request time"),
        "last_time": _c(TIME, "latest request time"),
        "max_gap_s": _c(pl.Float64, "longest silence between two events of the file, seconds"),
        "unknown_keys": _c(UNKNOWN_KEYS, "top-level keys outside the known shape, with counts"),
        "masking": _k(pl.String, "digest of the masking policy in force"),
        "ingested_at": _v(TIME, "when it was read (clock)"),
    }),
    "quarantine": Table("record not understood", ("archive_id", "position"), {
        "archive_id": _k(pl.String, "archive that holds it"),
        "path": _v(pl.String, "file as it was named at ingest"),
        "line": _k(pl.Int64, "line number, from 1"),
        "position": _k(pl.Int64, "first byte in the decompressed file, from 0"),
        "n_bytes": _k(pl.Int64, "length of the record, bytes"),
        "reason": _k(pl.String, "why it is here"),
        "excerpt": _c(pl.String, "masked beginning, at most 160 characters"),
    }),
    "events": Table("audit ID (its most complete stage)", ("cluster", "event_id"), {
        "event_id": _k(pl.String, "audit ID; where the record has none, 'x-' and a hash of its content"),
        "cluster": _k(pl.String, "cluster name given at ingest"),
        "archive_id": _k(pl.String, "archive of the stage that was kept"),
        "position": _k(pl.Int64, "byte position of that record in the decompressed archive"),
        "time": _k(TIME, "request received (UTC, µs); the stage's time where that is missing"),
        "stage_time": _c(TIME, "time of the kept stage"),
        "latency_ms": _c(pl.Float64, "stage time − request time, milliseconds"),
        "level": _c(pl.String, "audit level: Metadata, Request, RequestResponse"),
        "stage": _c(pl.String, "kept stage: ResponseComplete, Panic, ResponseStarted, RequestReceived"),
        "n_stages": _k(pl.Int64, "records merged into this row"),
        "user": _c(pl.String, "authenticated user name, masked; null when authentication failed"),
        "user_groups": _c(TEXTS, "groups of the user"),
        "credential_pod": _c(pl.String, "pod a bound token belongs to (user.extra)"),
        "impersonated_user": _c(pl.String, "identity that the user takes on"),
        "impersonated_groups": _c(TEXTS, "groups of that identity"),
        "actor": _k(pl.String, "user, or 'user as impersonated'; '' when authentication failed"),
        "actor_kind": _k(pl.String, "human, service_account, node, controller, anonymous, unauthenticated"),
        "source_ip": _c(pl.String, "direct peer: the LAST entry of sourceIPs (earlier ones can be forged)"),
        "source_ips": _c(TEXTS, "all entries as logged"),
        "source_class": _k(pl.String, "loopback, link_local, private, public, none; a profile CIDR's name if one fits"),
        "user_agent": _c(pl.String, "masked, at most 512 characters"),
        "client_family": _k(pl.String, "family of the user agent, from the closed vocabulary"),
        "verb": _c(pl.String, "lower case"),
        "uri": _c(pl.String, "request URI, masked, at most 2048 characters"),
        "api_group": _c(pl.String, "'' for the core group; null for non-resource requests"),
        "api_version": _c(pl.String, "version of the object's API"),
        "resource": _c(pl.String, "plural, lower case; null for non-resource requests"),
        "subresource": _c(pl.String, "exec, log, status, token …"),
        "namespace": _c(pl.String, "null for cluster scope"),
        "name": _c(pl.String, "object name; from the bodies where objectRef has none; token-like names masked"),
        "decision": _c(pl.String, "allow or forbid"),
        "grant_binding": _c(pl.String, "binding that allowed it, e.g. 'RoleBinding/dev/team-edit'"),
        "grant_role": _c(pl.String, "role of that binding, e.g. 'ClusterRole/edit'"),
        "status": _c(pl.Int64, "HTTP status of the response"),
        "status_reason": _c(pl.String, "reason word of the response, e.g. Forbidden"),
        "truncated": _k(pl.Boolean, "the API server cut the bodies: body rules are not evaluable"),
        "has_body": _k(pl.Boolean, "a request or response body was logged: body rules are evaluable"),
        "role_ref": _c(pl.String, "roleRef of a written binding, e.g. 'ClusterRole/cluster-admin'"),
        "subjects": _c(TEXTS, "subjects of a written binding, e.g. 'User/x', 'ServiceAccount/ns/x'"),
        "granted": _c(TEXTS, "rules of a written role, 'verbs groups resources' each, comma lists"),
        "granted_classes": _c(TEXTS, "classes of those rules (vocabulary.GRANT_CLASSES)"),
        "privileged": _c(pl.Boolean, "any container privileged, in a pod or a pod template"),
        "host_pid": _c(pl.Boolean, "pod shares the host's PID namespace"),
        "host_network": _c(pl.Boolean, "pod shares the host's network"),
        "host_ipc": _c(pl.Boolean, "pod shares the host's IPC namespace"),
        "host_paths": _c(TEXTS, "hostPath volumes"),
        "capabilities": _c(TEXTS, "added Linux capabilities, upper case"),
        "images": _c(TEXTS, "container images"),
        "commands": _c(TEXTS, "exec command line, or container command with arguments; decoded, masked"),
        "command_classes": _c(TEXTS, "classes of those commands (vocabulary.COMMAND_CLASSES)"),
        "pod_service_account": _c(pl.String, "serviceAccountName of a written pod or template"),
        "owner_kind": _c(pl.String, "kind of the controlling owner of a written object"),
        "owner_name": _c(pl.String, "name of the controlling owner"),
        "replicas": _c(pl.Int64, "replicas asked for"),
        "service_type": _c(pl.String, "type of a written Service"),
        "webhook_urls": _c(TEXTS, "where a webhook sends requests: URL (masked) or 'service/ns/name'"),
        "webhook_failure_policies": _c(TEXTS, "failurePolicy values written"),
        "csr_signer": _c(pl.String, "signerName of a certificate signing request"),
        "csr_subject": _c(pl.String, "common name asked for in a certificate signing request"),
        "csr_groups": _c(TEXTS, "organizations asked for in a certificate signing request"),
        "csr_condition": _c(pl.String, "Approved or Denied, where the approval was written"),
        "token_audiences": _c(TEXTS, "audiences of a TokenRequest"),
        "token_expiry_s": _c(pl.Int64, "lifetime asked for in a TokenRequest, seconds"),
        "secret_type": _c(pl.String, "type of a written Secret, never its data"),
        "access_review": _c(pl.String, "what a self access review asks, 'verb group/resource'"),
        "attributes": _c(TEXTS, "other security facts: 'tls:none', 'automount:true', 'hostile_text:name', 'odd_text:uri', …"),
    }),
    "stages": Table("record of a request that has several", ("cluster", "event_id", "archive_id", "position"), {
        "event_id": _k(pl.String, "request"),
        "cluster": _k(pl.String, "cluster"),
        "archive_id": _k(pl.String, "archive that holds the record"),
        "position": _k(pl.Int64, "byte position of the record"),
        "stage": _c(pl.String, "stage of the record"),
        "stage_time": _c(TIME, "time of the stage"),
        "kept": _k(pl.Boolean, "this record is the row of events"),
    }),
    "session_events": Table("event in its session", ("event_id",), {
        "event_id": _k(pl.String, "event"),
        "session_id": _k(pl.String, "the one session that holds it"),
    }),
    "sessions": Table("actor + source within a window", ("session_id",), {
        "session_id": _k(pl.String, "'s-' and a hash of cluster, actor, source and first event"),
        "cluster": _k(pl.String, "cluster"),
        "actor": _k(pl.String, "as in events"),
        "user": _c(pl.String, "as in events"),
        "impersonated_user": _c(pl.String, "as in events"),
        "actor_kind": _k(pl.String, "as in events"),
        "source_ip": _c(pl.String, "as in events"),
        "source_class": _k(pl.String, "as in events"),
        "client_families": _c(TEXTS, "client families in order of first use"),
        "start": _k(TIME, "time of the first event"),
        "end": _k(TIME, "time of the last event"),
        "duration_s": _k(pl.Float64, "end − start, seconds"),
        "n_events": _k(pl.Int64, "events"),
        "n_writes": _k(pl.Int64, "create, update, patch, delete, deletecollection that are no access review"),
        "n_denied": _k(pl.Int64, "responses 403, or decision forbid"),
        "n_unauthenticated": _k(pl.Int64, "responses 401"),
        "n_errors": _k(pl.Int64, "other responses of 400 and above"),
        "n_namespaces": _k(pl.Int64, "distinct namespaces"),
        "n_resources": _k(pl.Int64, "distinct group/resource/subresource"),
        "n_secrets": _k(pl.Int64, "distinct secrets read by name"),
        "n_secret_lists": _k(pl.Int64, "lists or watches of secrets"),
        "n_exec": _k(pl.Int64, "exec, attach, port-forward, ephemeral container"),
        "n_rbac_writes": _k(pl.Int64, "writes of roles and bindings"),
        "n_new_actions": _k(pl.Int64, "distinct actions that this user had not done before this session"),
        "is_new_source": _k(pl.Boolean, "user is known, this source was not"),
        "is_new_client": _k(pl.Boolean, "user is known, this client family was not"),
        "actions": _c(TEXTS, "distinct actions in order of first use, vocabulary tokens"),
        "summary": _k(pl.String, "one deterministic text in the closed vocabulary"),
        "summary_digest": _k(pl.String, "hash of the summary without its links: sessions that did the same share it"),
    }),
    "links": Table("typed link between two sessions", ("link_id",), {
        "link_id": _k(pl.String, "'l-' and a hash of type, sessions and events"),
        "kind": _k(pl.String, "what one session made that the other uses"),
        "from_session": _k(pl.String, "session that makes"),
        "to_session": _k(pl.String, "session that uses"),
        "score": _k(pl.Float64, "0–1, how sure the link is"),
        "from_event_ids": _k(TEXTS, "events that make"),
        "to_event_ids": _k(TEXTS, "events that use"),
        "object": _c(pl.String, "what links them, masked"),
    }),
    "stories": Table("session in its story", ("story_id", "session_id"), {
        "story_id": _k(pl.String, "'t-' and a hash of its sessions"),
        "session_id": _k(pl.String, "member"),
        "role": _c(pl.String, "cause, member, follow_up"),
    }),
    "signals": Table("session × detector", ("session_id", "detector_id"), {
        "session_id": _k(pl.String, "session"),
        "detector_id": _k(pl.String, "rule id or detector name"),
        "detector_version": _k(pl.String, "digest or version of the rule or detector"),
        "kind": _k(pl.String, "rule, correlation, outlier, custom"),
        "strength": _k(pl.Float64, "0–1, comparable within a detector"),
        "severity": _c(pl.String, "rules: informational, low, medium, high, critical"),
        "floor": _c(pl.Float64, "rules: score below which no judge may put a case that holds this"),
        "p_value": _c(pl.Float64, "outliers: conformal p-value, null where normals are too few"),
        "reason": _k(pl.String, "one line in the closed vocabulary"),
        "event_ids": _k(TEXTS, "events that caused it (at most 50)"),
    }),
    "embeddings": Table("distinct summary × model", ("summary_digest", "model"), {
        "summary_digest": _k(pl.String, "as in sessions"),
        "model": _k(pl.String, "model name or path as in the profile, @ digest of any but the built-in one, arithmetic if not float32"),
        "vector": Column(pl.List(pl.Float32), "unit length", nullable=False, volatile=True),
    }),
    "exceptions": Table("noise rule", ("exception_id",), {
        "exception_id": _k(pl.String, "name"),
        "scope": _k(pl.String, "what it matches, as written"),
        "owner": _k(pl.String, "who answers for it"),
        "reason": _k(pl.String, "why it is noise"),
        "expires": _c(pl.Date, "last day it holds"),
        "n_hidden": _k(pl.Int64, "signals it hid in the last run"),
    }),
    "candidates": Table("case chosen for judgement or exploration", ("case_id",), {
        "case_id": _k(pl.String, "'c-' and a hash of its sessions"),
        "rank": _k(pl.Int64, "1 is first"),
        "session_ids": _k(TEXTS, "sessions of the case"),
        "score": _k(pl.Float64, "fused score, 0–1"),
        "floor": _c(pl.Float64, "highest floor of its rules"),
        "selected_by": _k(pl.String, "floor, rank, exploration"),
        "sampling_probability": _k(pl.Float64, "probability with which the case was drawn; 1 when chosen"),
        "why": _k(pl.String, "why it is here, one line in the closed vocabulary"),
    }),
    "scores": Table("session × detector, chosen or not (what evaluation needs)", ("session_id", "detector_id"), {
        "case_id": _k(pl.String, "case"),
        "session_id": _k(pl.String, "session of the case"),
        "detector_id": _k(pl.String, "rules, outliers, fused, floors, or a detector's name"),
        "score": _k(pl.Float64, "0–1, higher is more suspicious"),
    }),
    "evidence": Table("row of a candidate's evidence pack", ("case_id", "row"), {
        "case_id": _k(pl.String, "case"),
        "row": _k(pl.Int64, "order within the pack, from 1"),
        "query_id": _k(pl.String, "evidence query that made it"),
        "text": _k(pl.String, "what a judge is shown, closed vocabulary"),
        "event_ids": _k(TEXTS, "events it speaks of (at most 50)"),
        "claim": _c(CLAIM, "the typed claim that it supports, if any"),
    }),
    "verdicts": Table("candidate × judge version", ("case_id", "judge_id", "judge_version"), {
        "case_id": _k(pl.String, "case"),
        "judge_id": _k(pl.String, "baseline, openai, replay …"),
        "judge_version": _k(pl.String, "digest of prompt, model name and parameters"),
        "model": _c(pl.String, "model name as the endpoint gave it"),
        "prompt_sha256": _k(pl.String, "digest of exactly what was shown"),
        "score": _c(pl.Float64, "0–1, never below the case's floor; null when the judge abstained or failed"),
        "raw_score": _c(pl.Float64, "0–1 as the judge said it, before the floor of its rules"),
        "spread": _c(pl.Float64, "highest − lowest score of repeated answers; null where it was asked once"),
        "usable": _k(pl.Boolean, "false when its grounds do not hold, or none tells anything where one is needed: see set_aside"),
        "set_aside": _c(pl.String, "why a verdict with a score is not used, in our words; null where it is used"),
        "summary": _c(pl.String, "one or two sentences; a model's own are unverified"),
        "summary_ko": _c(pl.String, "a template's summary in Korean; null for a model's own prose"),
        "summary_by": _c(pl.String, "template (ours, from verified facts) or model (unverified prose)"),
        "summary_wrong": _c(pl.String, "numbers or words of the summary that the case's tables contradict, in our words"),
        "grounds": _k(pl.List(GROUND), "up to three grounds"),
        "grounded_share": _c(pl.Float64, "mean over grounds of: relevance where it holds (1 if unknown), else 0; null without grounds"),
        "omitted": _c(pl.String, "what speaks for innocence and the verdict does not mention, in our words"),
        "checks": _k(TEXTS, "what a person should check"),
        "action": _c(pl.String, "from vocabulary.ACTIONS, raised with the score where a rule's floor decides; never a block"),
        "abstain": _c(pl.String, "why the judge abstained or failed"),
        "attempts": _k(pl.Int64, "calls made for it, repair included; 0 when none was needed"),
        "tokens_in": _k(pl.Int64, "prompt tokens"),
        "tokens_out": _k(pl.Int64, "answer tokens"),
        "cost_usd": _v(pl.Float64, "price of the call, US dollars; null when no price is known"),
        "latency_ms": _v(pl.Float64, "time the call took"),
        "cached": Column(pl.Boolean, "answer came from the cache", nullable=False, volatile=True),
    }),
    "egress": Table("call that left the machine", ("egress_id",), {
        "egress_id": _k(pl.String, "hash of time, endpoint and prompt"),
        "at": _v(TIME, "when (clock)"),
        "endpoint": _k(pl.String, "host and port, no credentials"),
        "judge_id": _k(pl.String, "judge that called"),
        "prompt_sha256": _k(pl.String, "digest of what was sent"),
        "bytes_sent": _k(pl.Int64, "request body, bytes"),
        "tokens_in": _c(pl.Int64, "prompt tokens as billed"),
        "outcome": _k(pl.String, "ok or the error's name"),
        "case_id": _c(pl.String, "case that was asked about"),
        "role": _c(pl.String, "onprem or cloud"),
        "tokens_out": _c(pl.Int64, "answer tokens as billed"),
        "cost_usd": _v(pl.Float64, "price of the call, US dollars; null when no price is known"),
    }),
    "incidents": Table("line of an incident file (labels from outside)", ("incident_id",), {
        "incident_id": _k(pl.String, "id as in the file"),
        "title": _k(pl.String, "title as in the file, untrusted text"),
        "malicious": _k(pl.Boolean, "true: an attack; false: benign, but looks like one"),
        "technique_ids": _k(TEXTS, "MITRE ATT&CK techniques"),
        "start": _c(TIME, "when it began"),
        "end": _c(TIME, "when it ended"),
        "users": _k(TEXTS, "users that took part; '' = authentication failed"),
        "source_ips": _k(TEXTS, "addresses that took part"),
        "audit_ids": _k(TEXTS, "its events; empty: matched by users, addresses and time"),
        "reason": _c(pl.String, "why it is benign, where it is"),
        "other": _c(pl.String, "all other keys of the line, one JSON object"),
    }),
    "labels": Table("judgement by a person or an incident file", ("label_id",), {
        "label_id": _k(pl.String, "hash of what was said"),
        "target_kind": _k(pl.String, "incident, session, case"),
        "target_id": _k(pl.String, "incident, session or case id"),
        "session_id": _c(pl.String, "session it speaks of"),
        "verdict": _k(pl.String, "malicious, benign, benign-but-suspicious, unsure; withdrawn takes back what it replaces"),
        "author": _k(pl.String, "who, or the incident file's name"),
        "at": _v(TIME, "when it was said (clock)"),
        "reason": _c(pl.String, "why"),
        "event_ids": _k(TEXTS, "events of the incident that lie in this session"),
        "replaces": _c(pl.String, "label that this one corrects or takes back"),
        "minutes": _v(pl.Float64, "time a person spent on it, minutes"),
        "blind": _c(pl.Boolean, "the score was hidden from the author"),
        "checks_done": _c(TEXTS, "checks that the author ticked, as they were worded"),
        "sampling_probability": _c(pl.Float64, "probability with which an un-flagged case was drawn for review; null = it was not drawn"),
    }),
    "claims": Table("case that lies on somebody's desk; ends by itself, and holds up no label", ("author",), {
        "author": _k(pl.String, "who has it open"),
        "case_id": _k(pl.String, "case"),
        "at": _v(TIME, "since when (clock)"),
        "until": _v(TIME, "when the claim ends, unless its author goes on (clock)"),
    }),
    "proposals": Table("proposal for a release, as it was written down", ("proposal_id",), {
        "proposal_id": _k(pl.String, "'p-' and a hash of what is said and of what it replaces"),
        "kind": _k(pl.String, "example, exception, threshold, rule, prompt"),
        "target": _k(pl.String, "what would change: a case, an exception, a setting, a rule, a judge's version and mistake"),
        "title": _k(pl.String, "what is proposed, one line"),
        "reason": _k(pl.String, "why, one line"),
        "content": _k(pl.String, "what would be put in force, one JSON object"),
        "evidence": _k(pl.String, "the figures behind it, one JSON object"),
        "state": _k(pl.String, "open; withdrawn when it no longer follows from what people said"),
        "replaces": _c(pl.String, "earlier row of the same proposal"),
        "author": _k(pl.String, "who proposed"),
        "at": _v(TIME, "when (clock)"),
    }),
    "experiments": Table("run × setting grid", ("run_id",), {
        "run_id": _k(pl.String, "'x-' and a hash of the parameters and the data"),
        "name": _k(pl.String, "name of the grid"),
        "parameters": _k(pl.String, "settings that differ from the profile's, one JSON object"),
        "profile_digest": _k(pl.String, "digest of all settings"),
        "data_digest": _k(pl.String, "digest of the events it ran on"),
        "data_start": _c(TIME, "first event"),
        "data_end": _c(TIME, "last event"),
        "evaluation_id": _k(pl.String, "its rows in metrics"),
        "first_stage": _k(pl.String, "first stage that its settings change: sessions, signals, candidates, verdicts, none"),
        "stages": _c(TEXTS, "stages that had to run"),
        "metrics": _c(pl.String, "main figures under scorer 'all', one JSON object"),
        "seconds": _v(pl.Float64, "time the run took"),
    }),
    "metrics": Table("evaluation × measure; earlier evaluations stay", ("evaluation_id", "scorer", "unit", "measure", "period", "rules"), {
        "evaluation_id": _k(pl.String, "hash of inputs, settings and versions"),
        "scorer": _k(pl.String, "rules, outliers, judge, all …; a judge as id@version; 'rule ' and its id; 'rung ' and its stage"),
        "unit": _k(pl.String, "event, session, case, incident"),
        "measure": _k(pl.String, "recall, fpr, precision, average_precision, brier, recall_at_10_a_day … (docs/evaluation.md)"),
        "period": _c(TIME, "start of the week it speaks of; null = all of the data"),
        "value": _c(pl.Float64, "null with a reason where data are too few"),
        "low": _c(pl.Float64, "lower end of the interval"),
        "high": _c(pl.Float64, "upper end of the interval"),
        "n": _k(pl.Int64, "denominator"),
        "split": _k(pl.String, "which data"),
        "prevalence": _c(pl.Float64, "share of malicious units, at hand or assumed (precision_at_prevalence)"),
        "reason": _c(pl.String, "why the value or its interval is null"),
        "threshold": _c(pl.Float64, "score from which a session was flagged"),
        "confidence": _c(pl.Float64, "confidence of the interval"),
        "data_start": _c(TIME, "start of the first session"),
        "data_end": _c(TIME, "end of the last session"),
        "code": _c(pl.String, "version of Audit Lab and digest of its code"),
        "rules": _c(pl.String, "digest of all rules; of the rule itself where the row speaks of one"),
        "profile": _c(pl.String, "digest of all settings"),
        "judge": _c(pl.String, "judges behind the verdicts, id@version"),
        "prompt": _c(pl.String, "digest of the prompt's template and examples, where a model was asked"),
        "at": _v(TIME, "when it was evaluated (clock)"),
    }),
    "drifts": Table("period × watched feature (× value, where it is new)", ("period", "feature", "value"), {
        "period": _k(TIME, "start of the week or day (UTC) that is compared with the reference"),
        "by": _k(pl.String, "week or day"),
        "family": _k(pl.String, "schema, actors, clients, rules, embeddings, scores, labels, overrides"),
        "feature": _k(pl.String, "what is watched, e.g. 'client family', 'rate of RULE', 'events of ACTOR', 'new verb'"),
        "value": _k(pl.String, "the value that is new, masked as in events; '' elsewhere"),
        "kind": _k(pl.String, "category, number, rate, volume, vector, presence, change point; none where only a reason is given"),
        "n_reference": _k(pl.Float64, "sessions, events or cases counted in the reference"),
        "n_current": _k(pl.Float64, "the same in the period"),
        "before": _c(pl.Float64, "rates: hits / sessions; volumes: events per day (by day: per hour); presence: 0; mean of a number"),
        "after": _c(pl.Float64, "the same in the period; presence: share of its days (hours) on which the value was seen"),
        "psi": _c(pl.Float64, "population stability index, half a case added everywhere"),
        "jensen_shannon": _c(pl.Float64, "Jensen–Shannon distance, base 2, 0–1"),
        "wasserstein": _c(pl.Float64, "numbers: Wasserstein distance; vectors: shift of the mean; standard deviations of the reference"),
        "ratio": _c(pl.Float64, "rates and volumes: after / before, half a case added"),
        "by_chance": _c(pl.Float64, "the alarming measure's median when days are dealt out at random: taken off before it is judged"),
        "p_value": _c(pl.Float64, "share of random dealings that differ as much; presence: exact (hypergeometric)"),
        "q_value": _c(pl.Float64, "p-value after control of false discoveries over all features of the period"),
        "alarm": _c(pl.Boolean, "more than chance and large enough; null where it cannot be said"),
        "since": _c(TIME, "alarms: the day (hour) from which on the data are explained best"),
        "detail": _c(pl.String, "values that moved most, their shares before and after; names as they were logged, masked"),
        "reason": _c(pl.String, "why there is no p-value"),
    }),
}
# What a challenger says in shadow: the columns of verdicts, in a table of its own, so that nothing which reads verdicts can take its
# word for one.
TABLES["shadow_verdicts"] = Table(
    "candidate × challenger version: judged in shadow, compared, used for nothing", TABLES["verdicts"].key, TABLES["verdicts"].columns)


def empty(name: str) -> pl.DataFrame:
    """Return table `name` with no rows and the right dtypes."""
    return pl.DataFrame(schema=_table(name).schema)


def check(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return `frame` with exactly the columns of table `name`, in order.

    Raises
    ------
    ContractError
        When a column is missing, unknown, of another dtype, or null where it must not be.
    """
    table = _table(name)
    missing = [column for column in table.columns if column not in frame.columns]
    unknown = [column for column in frame.columns if column not in table.columns]
    if missing or unknown:
        raise ContractError(
            f"table '{name}': missing columns {missing}, unknown columns {unknown}", "see audit_lab/tables.py"
        )
    frame = frame.select(list(table.columns))
    for column, spec in table.columns.items():
        if frame.schema[column] != spec.dtype:
            raise ContractError(f"table '{name}': column '{column}' is {frame.schema[column]}, expected {spec.dtype}")
        if not spec.nullable and frame[column].null_count():
            raise ContractError(f"table '{name}': column '{column}' has {frame[column].null_count()} nulls")
    return frame


def conform(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Cast `frame` to table `name`: order the columns, cast dtypes, fill absent nullable columns with null."""
    table = _table(name)
    return check(
        frame.select(
            (pl.col(column) if column in frame.columns else pl.lit(None)).cast(spec.dtype).alias(column)
            for column, spec in table.columns.items()
        ),
        name,
    )


def _table(name: str) -> Table:
    if name not in TABLES:
        raise ContractError(f"no table '{name}'", f"tables are {', '.join(TABLES)}")
    return TABLES[name]
