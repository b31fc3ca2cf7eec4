"""A small world for report tests: twenty minutes of one cluster, with sessions, signals, verdicts and incidents.

Eight attacks and five look-alikes hide among a few hundred sessions. Some attacks are missed, each for another reason,
so that every branch of the report has something to say. `poison` puts hostile text into every field that a client can write.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.evaluate import evaluate
from audit_lab.govern.inputs import ReportInput
from audit_lab.phrases import CHECKS
from audit_lab.profile_files import load_profile

START = datetime(2026, 11, 23, 5, 34, 24, tzinfo=UTC)
HUMANS = (
    "anna@example.test",
    "boris@example.test",
    "chen@example.test",
    "dora.sre@example.test",
    "emil.admin@example.test",
    "fay@example.test",
)
ACCOUNTS = tuple(
    f"system:serviceaccount:{ns}:{name}"
    for ns, name in (
        ("payments", "app"),
        ("orders", "app"),
        ("ci", "runner"),
        ("monitoring", "metrics"),
        ("backup", "backup"),
        ("web", "deployer"),
    )
)
NODES = ("system:node:worker-a", "system:node:worker-b")
CONTROLLERS = ("system:serviceaccount:kube-system:deployment-controller", "system:kube-scheduler")
RULES = (
    ("exec-into-pod", "high", "command run in a pod"),
    ("secrets-listed-everywhere", "high", "secrets listed in all namespaces"),
    ("privileged-pod", "critical", "privileged container created"),
    ("cluster-admin-binding", "critical", "binding to cluster-admin written"),
    ("anonymous-allowed", "medium", "anonymous request allowed"),
    ("token-minted", "medium", "token asked for another account"),
    ("coredns-changed", "high", "CoreDNS configuration written"),
)
# title, malicious, rule indices, verdict score or None (not chosen), holds of the grounds
STORIES: tuple[tuple[str, bool, tuple[int, ...], float | None, tuple[bool, ...]], ...] = (
    ("Secrets listed everywhere, then a shell in a database pod", True, (0, 1), 0.96, (True, True, True)),
    ("Privileged pod with the host's root mounted", True, (2,), 0.93, (True, True, False)),
    ("Backdoor account bound to cluster-admin", True, (3, 5), 0.91, (True, True, True)),
    ("Anonymous scanner finds an open endpoint", True, (4,), 0.74, (True, False, True)),
    ("CoreDNS rewritten to answer for the registry", True, (6,), 0.66, (True, True)),
    ("Stolen account token used from outside", True, (), 0.41, (True,)),
    ("Slow reading of one secret an hour", True, (), None, ()),
    ("Impersonation of a break-glass user", True, (5,), 0.58, (False, False)),
    ("Nightly backup reads all secrets", False, (1,), 0.62, (True, True)),
    ("Emergency repair with a shell on a node", False, (0,), 0.55, (True,)),
    ("Scanner of the security team", False, (), 0.35, (True,)),
    ("Developer abroad, new address", False, (), 0.22, ()),
    ("DNS change in the change window", False, (6,), 0.49, (True, True)),
)


def build_world(poison: Callable[[str], str] = lambda text: text, sessions: int = 260, labels: bool = True, **other: Any) -> ReportInput:
    """Return the input of a report; `poison` changes every text that somebody outside could have written."""
    dice = random.Random(11)
    session_rows, event_rows, link_rows, signal_rows, candidate_rows, score_rows, verdict_rows = [], [], [], [], [], [], []
    incident_rows, label_rows = [], []
    plans: list[tuple[int | None, str]] = [(None, "")] * sessions
    for number in range(len(STORIES)):
        plans[7 + number * (sessions // (len(STORIES) + 1))] = (number, "")
    for number, (story, _) in enumerate(plans):
        session_id = f"s-{number:016x}"
        kind, actor = _actor(dice, story)
        start = START + timedelta(seconds=number * 1200 / sessions + dice.random())
        n_events = dice.randint(12, 46) if story is not None else dice.choice((1, 2, 3, 5, 8, 20, 60))
        length = n_events * dice.uniform(0.3, 1.6)
        source = "" if kind == "controller" else f"10.60.{dice.randint(0, 3)}.{dice.randint(2, 250)}" if story is None else "203.0.113.7"
        session_rows.append(
            {
                "session_id": session_id,
                "cluster": "sample",
                "actor": poison(actor) if actor else "",
                "user": poison(actor) or None,
                "actor_kind": kind,
                "source_ip": source or None,
                "source_class": "private" if source.startswith("10.") else "public" if source else "none",
                "client_families": ["kubectl"],
                "start": start,
                "end": start + timedelta(seconds=length),
                "duration_s": length,
                "n_events": n_events,
                **dict.fromkeys(
                    (
                        "n_writes",
                        "n_denied",
                        "n_unauthenticated",
                        "n_errors",
                        "n_namespaces",
                        "n_resources",
                        "n_secrets",
                        "n_secret_lists",
                        "n_exec",
                        "n_rbac_writes",
                        "n_new_actions",
                    ),
                    1,
                ),
                "is_new_source": story is not None,
                "is_new_client": False,
                "actions": ["list:secrets", "create:pods/exec"],
                "summary": f"{kind} user-{number % 9} from a {'new ' if story is not None else ''}source: {n_events} events, lists secrets in 3 namespaces",
                "summary_digest": f"{number:064x}",
            }
        )
        chosen = story is not None and STORIES[story][3] is not None
        drawn = story is None and number % 37 == 5
        event_ids = [f"{session_id[2:]}-{place}" for place in range(n_events)]
        if story is not None or drawn:
            for place, event_id in enumerate(event_ids):
                event_rows.append(
                    _event(dice, event_id, place, start + timedelta(seconds=length * place / n_events), actor, kind, source, poison)
                )
                link_rows.append({"event_id": event_id, "session_id": session_id})
        fused = 0.05 + 0.2 * dice.random() ** 3
        if story is not None:
            title, malicious, rules, _, _ = STORIES[story]
            for rule in rules:
                signal_rows.append(_signal(session_id, RULES[rule], event_ids[:4], poison))
            if story % 3 == 0 or story == 5:
                signal_rows.append(
                    {
                        "session_id": session_id,
                        "detector_id": "outlier-knn",
                        "detector_version": "1",
                        "kind": "outlier",
                        "strength": 0.87,
                        "severity": None,
                        "floor": None,
                        "p_value": 0.004,
                        "reason": "far from all sessions of its peers",
                        "event_ids": event_ids[:2],
                    }
                )
            fused = 0.9 if rules else 0.35
            incident_id = f"{'A' if malicious else 'N'}{story:03d}"
            incident_rows.append(
                {
                    "incident_id": incident_id,
                    "title": poison(title),
                    "malicious": malicious,
                    "technique_ids": ["T1552.007", "T1609"],
                    "start": start,
                    "end": start + timedelta(seconds=length),
                    "users": [actor],
                    "source_ips": [source],
                    "audit_ids": event_ids[:10],
                    "reason": None if malicious else poison("announced in the change calendar"),
                    "other": None,
                }
            )
            label_rows.append(
                {
                    "label_id": f"y-{story}",
                    "target_kind": "incident",
                    "target_id": incident_id,
                    "session_id": session_id,
                    "verdict": "malicious" if malicious else "benign-but-suspicious",
                    "author": "incidents.jsonl",
                    "at": None,
                    "reason": poison(title),
                    "event_ids": event_ids[:10],
                }
            )
        case_id = f"c-{number:016x}"
        for detector, value in (
            ("rules", fused if story is not None and STORIES[story][2] else 0.0),
            ("outliers", fused * 0.8),
            ("fused", fused),
        ):
            score_rows.append({"case_id": case_id, "session_id": session_id, "detector_id": detector, "score": min(1.0, value)})
        if chosen or drawn:
            candidate_rows.append(
                {
                    "case_id": case_id,
                    "rank": len(candidate_rows) + 1,
                    "session_ids": [session_id],
                    "score": fused,
                    "floor": 0.7 if story in (1, 2) else None,
                    "selected_by": "exploration" if drawn else "floor" if story in (1, 2) else "rank",
                    "sampling_probability": 0.031 if drawn else 1.0,
                    "why": "drawn at random from the rest" if drawn else "two high rules and a new source; far from its peers",
                }
            )
            verdict_rows.append(_verdict(case_id, story, event_ids, poison))
    archives = [_archive(number, poison) for number in range(3)]
    data = {
        name: tables.conform(pl.DataFrame(rows, schema_overrides=_known(name, rows), infer_schema_length=None), name)
        for name, rows in (
            ("archives", archives),
            ("sessions", session_rows),
            ("session_events", link_rows),
            ("events", event_rows),
            ("signals", signal_rows),
            ("candidates", candidate_rows),
            ("scores", score_rows),
            ("verdicts", verdict_rows),
            ("incidents", incident_rows),
            ("labels", label_rows),
        )
    }
    data["quarantine"] = tables.conform(
        pl.DataFrame(
            {
                "archive_id": ["a-1", "a-1"],
                "path": ["b", "b"],
                "line": [7, 9],
                "position": [700, 900],
                "n_bytes": [12, 3],
                "reason": ["not JSON", "no audit event"],
                "excerpt": [None, None],
            }
        ),
        "quarantine",
    )
    profile = load_profile("sample", {})
    facts: dict[str, Any] = {
        "period": "2026-11-23",
        "generated_at": "2026-11-23 06:00 UTC",
        "profile": profile,
        "blind": [{"what": "Secrets and ConfigMaps", "n": 1200, "why": "logged at level Metadata: their bodies cannot be seen"}],
        "versions": {
            "audit-lab": "0.1.0",
            "rules": "12 rules, 1 correlation, 3f2a91c0",
            "embedding model": "all-MiniLM-L6-v2 53aa51172d142c89",
        },
    }
    if labels:
        evaluation = evaluate(
            data["sessions"],
            data["session_events"],
            data["events"],
            data["incidents"],
            data["labels"],
            data["scores"],
            data["candidates"],
            data["verdicts"],
            profile.evaluate,
        )
        facts["evaluation"] = evaluation.as_dict()
        facts["details"] = {
            "precision_recall": evaluation.precision_recall,
            "histogram": evaluation.histogram,
            "incident_rows": evaluation.incident_rows,
        }
    else:
        data["labels"], data["incidents"] = tables.empty("labels"), tables.empty("incidents")
    return ReportInput(**{**data, **facts, **other})


def _known(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {column: dtype for column, dtype in tables.TABLES[name].schema.items() if rows and column in rows[0]}


def _actor(dice: random.Random, story: int | None) -> tuple[str, str]:
    if story == 3:
        return "anonymous", "system:anonymous"
    if story == 5:
        return "service_account", ACCOUNTS[0]
    if story is not None:
        return "human", HUMANS[story % len(HUMANS)]
    kind = dice.choices(("human", "service_account", "node", "controller", "unauthenticated"), (25, 40, 15, 15, 5))[0]
    names = {"human": HUMANS, "service_account": ACCOUNTS, "node": NODES, "controller": CONTROLLERS, "unauthenticated": ("",)}
    return kind, dice.choice(names[kind])


def _event(
    dice: random.Random, event_id: str, place: int, time: datetime, actor: str, kind: str, source: str, poison: Callable[[str], str]
) -> dict[str, Any]:
    verb, resource, subresource = dice.choice(
        (
            ("list", "secrets", None),
            ("get", "secrets", None),
            ("create", "pods", "exec"),
            ("get", "pods", None),
            ("create", "pods", None),
            ("create", "clusterrolebindings", None),
            ("get", None, None),
        )
    )
    forbidden = dice.random() < 0.2
    return {
        "event_id": event_id,
        "cluster": "sample",
        "archive_id": "a-00000000000000a1",
        "position": 1157 * place,
        "time": time,
        "n_stages": 1,
        "user": poison(actor),
        "actor": poison(actor),
        "actor_kind": kind,
        "source_ip": source or None,
        "source_ips": [source],
        "source_class": "private",
        "user_agent": poison("kubectl/v1.30.1 (linux/amd64) kubernetes/abcdef0"),
        "client_family": "kubectl",
        "verb": verb,
        "uri": poison("/api/v1/namespaces/payments/" + (resource or "version")),
        "api_group": "" if resource else None,
        "resource": resource and poison(resource),
        "subresource": subresource,
        "namespace": poison("payments"),
        "name": poison(f"api-7c9d5f6b8-x2x{place}"),
        "decision": "forbid" if forbidden else "allow",
        "status": 403 if forbidden else 200,
        "truncated": False,
        "has_body": dice.random() < 0.6,
        "commands": [poison("sh -c cat /etc/hostname")] if subresource == "exec" else None,
    }


def _signal(session_id: str, rule: tuple[str, str, str], event_ids: list[str], poison: Callable[[str], str]) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "detector_id": rule[0],
        "detector_version": "1",
        "kind": "rule",
        "strength": 0.9 if rule[1] == "critical" else 0.7,
        "severity": rule[1],
        "floor": 0.7 if rule[1] == "critical" else None,
        "p_value": None,
        "reason": poison(rule[2]),
        "event_ids": event_ids,
    }


def _verdict(case_id: str, story: int | None, event_ids: list[str], poison: Callable[[str], str]) -> dict[str, Any]:
    score, holds = (0.08, (True,)) if story is None else (STORIES[story][3], STORIES[story][4])
    sentences = (
        "The actor listed secrets in 3 namespaces, then ran a command in a pod.",
        "The actor had never read a secret by name before this session.",
        "5 calls were denied before the first one that was allowed.",
    )
    claim = {"kind": "count", "predicate": "secret_list", "then": None, "n": 3, "scope": None}
    return {
        "case_id": case_id,
        "judge_id": "baseline",
        "judge_version": "4be1c0ffee00",
        "model": None,
        "prompt_sha256": "0" * 64,
        "score": None if score is None else max(score, 0.7 if story in (1, 2) else 0.0),
        "raw_score": 0.52 if story == 2 else score,
        "summary_by": "template",
        "summary_wrong": None,
        "usable": story != 7,
        "summary": poison("Secrets are listed and a command is run shortly after, from a source that is new for this actor."),
        "grounds": [
            {
                "claim": claim,
                "event_ids": event_ids[place * 3 : place * 3 + 3],
                "holds": ok,
                "wrong": None if ok else "only 1 of the 3 events is a denial",
                "sentence": poison(sentence),
                "sentence_ko": poison("행위자가 비밀을 나열했습니다."),
            }
            for place, (sentence, ok) in enumerate(zip(sentences, holds, strict=False))
        ],
        "grounded_share": None if not holds else sum(holds) / len(holds),
        "checks": [CHECKS["ask_actor"][0], "Look for the address in the VPN log.", "See what the command read."],
        "action": "ask_owner",
        "abstain": None,
        "tokens_in": 0,
        "tokens_out": 0,
        "cost_usd": 0.0,
        "latency_ms": 0.1,
        "cached": False,
        "attempts": 0,
    }


def _archive(number: int, poison: Callable[[str], str]) -> dict[str, Any]:
    first = START + timedelta(seconds=400 * number)
    return {
        "archive_id": f"a-00000000000000a{number + 1}",
        "path": poison(f"data/audit-{number + 1}.log.gz"),
        "cluster": "sample",
        "shape": "audit.k8s.io/v1 jsonl gzip",
        "bytes": 41_500_000,
        "bytes_on_disk": 2_400_000,
        "record_bytes": 41_470_000,
        "separator_bytes": 30_000,
        "blank_bytes": 0,
        "n_records": 21_320,
        "n_events": 20_100,
        "n_duplicates": 3,
        "n_superseded": 1_215,
        "n_quarantined": 2,
        "n_foreign": 0,
        "n_sampled_out": 0,
        "n_truncated": 4,
        "damage": None,
        "first_time": first,
        "last_time": first + timedelta(seconds=399),
        "max_gap_s": 2.4,
        "unknown_keys": [{"key": poison("annotations2"), "n": 12}] if number == 1 else [],
        "masking": "9c1f00d2",
        "ingested_at": None,
    }


def with_story(data: ReportInput) -> ReportInput:
    """Return the input with its first two cases joined: their sessions are one story, linked by an account that was made and used."""
    first, second = (row["session_ids"][0] for row in data.candidates.head(2).iter_rows(named=True))
    events = dict(data.session_events.group_by("session_id").agg(pl.col("event_id").sort()).iter_rows())
    link = {
        "link_id": "l-1", "kind": "account_used", "from_session": first, "to_session": second, "score": 0.9,
        "from_event_ids": events[first][:1], "to_event_ids": events[second][:1], "object": data.events["name"][0],
    }
    candidates = data.candidates.with_columns(
        session_ids=pl.when(pl.col("session_ids").list.contains(first)).then(pl.lit([first, second])).otherwise("session_ids"),
        why=pl.when(pl.col("session_ids").list.contains(first)).then(pl.lit("story of 2 sessions | two high rules")).otherwise("why"),
    ).filter(~(pl.col("session_ids").list.contains(second) & (pl.col("session_ids").list.len() == 1)))
    return dataclasses.replace(
        data, candidates=candidates, verdicts=data.verdicts.join(candidates, on="case_id", how="semi"),
        links=tables.conform(pl.DataFrame([link]), "links"),
        stories=tables.conform(pl.DataFrame({"story_id": ["t-1", "t-1"], "session_id": [first, second], "role": ["cause", "member"]}), "stories"),
    )
