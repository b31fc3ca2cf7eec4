"""The judge without a language model: transparent, offline, and the yardstick that a model must beat.

    score = max(fused score of the case, highest floor of its rules)

The fused score comes from the signals alone (signals/fusion.py says how) and never falls when a signal is added or grows
stronger. So what a model is worth is what it adds to the signals. Grounds are the weightiest claims of the evidence pack,
which are true by construction and cite their events; summary, checks and action are templates. Verification adds the
weightiest ground's sentence to the summary.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import polars as pl

from audit_lab.judge.evidence import EVIDENCE_VERSION
from audit_lab.judge.schema import N_GROUNDS, Answer, Claim, Ground
from audit_lab.judge.sentences import baseline_summary
from audit_lab.judge.verdicts import JudgeTables, egress_frame, least_action, verdict_frame, verdict_row
from audit_lab.predicates import PREDICATES

JUDGE_ID = "baseline"
VERSION = f"baseline-2.{EVIDENCE_VERSION}"
MAX_CITED = 20
_KIND_RANK = {"privilege": 5, "novelty": 4, "order": 3, "denial": 2, "count": 1, "reach": 0}
_CHECKS = {
    "secret": "secrets_read", "execution": "commands_run", "privilege": "bindings_made", "impersonation": "impersonation_right",
    "identity": "tokens_issued", "evasion": "webhook_target", "destruction": "what_was_deleted", "workload": "pod_spec",
    "network": "source_owner", "discovery": "usual_routine", "denial": "denied_why", "any": "usual_routine",
}
_CHECKS_OF = {
    "coredns_write": "dns_settings", "events_delete": "what_was_deleted", "guardrail_delete": "what_was_deleted",
    "hostile_text": "same_source", "odd_text": "same_source",
    "token_request_by_person": "tokens_issued", "token_in_system": "tokens_issued", "token_long_lived": "tokens_issued",
    "secret_service_account_token": "tokens_issued", "csr_approve": "tokens_issued", "csr_privileged": "tokens_issued",
    "pod_privileged": "pod_spec", "pod_host_pid": "pod_spec", "pod_host_path": "pod_spec", "pod_host_path_sensitive": "pod_spec",
    "pod_host_network": "pod_spec", "pod_host_ipc": "pod_spec", "pod_capabilities": "pod_spec", "image_offensive": "image_origin",
    "nodes_proxy": "node_activity", "kubelet_exec": "node_activity", "namespace_unprotected": "pod_spec",
}


def judge_baseline(candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> JudgeTables:
    """Return a verdict per candidate without asking any model; egress stays empty.

    Parameters
    ----------
    candidates, evidence, signals
        Tables of those names.
    """
    per_session: dict[str, list[str]] = defaultdict(list)
    floors: dict[str, float] = defaultdict(float)
    for session_id, kind, floor in signals.select("session_id", "kind", "floor").iter_rows():
        per_session[session_id].append(kind)
        floors[session_id] = max(floors[session_id], floor or 0.0)
    claims: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in evidence.drop_nulls("claim").select("case_id", "event_ids", "claim").iter_rows(named=True):
        claims[item["case_id"]].append(item)
    rows = []
    for case in candidates.iter_rows(named=True):
        kinds = [kind for session in case["session_ids"] for kind in per_session[session]]
        floor = max([case["floor"] or 0.0, *(floors[session] for session in case["session_ids"])])
        answer, korean = _answer(case["score"], floor, kinds, claims[case["case_id"]])
        row = verdict_row(case["case_id"], JUDGE_ID, VERSION, answer=answer, floor=floor, summary_by="template")
        rows.append({**row, "summary_ko": korean})
    return JudgeTables(verdict_frame(rows), egress_frame([]))


def _answer(score: float, floor: float, kinds: list[str], claims: list[dict[str, Any]]) -> tuple[Answer, str]:
    grounds = choose_grounds(claims)
    n_rules = sum(kind in ("rule", "correlation") for kind in kinds)
    english, korean = baseline_summary(n_rules, len(kinds) - n_rules, score, floor if floor > score else None)
    answer = Answer(
        score=score, grounds=grounds, checks=checks_for(grounds),
        action=least_action(max(score, floor)),
        summary=english,
    )
    return answer, korean


def choose_grounds(claims: list[dict[str, Any]]) -> list[Ground]:
    """Return up to three grounds: the weightiest claims of an evidence pack, each about something else."""
    def rank(item: dict[str, Any]) -> tuple[int, int]:
        claim = item["claim"]
        weights = [PREDICATES[name].weight for name in (claim["predicate"], claim["then"]) if name]
        return sum(weights) * 2 // len(weights), _KIND_RANK[claim["kind"]]

    chosen: list[Ground] = []
    about: set[str] = set()
    for item in sorted(claims, key=rank, reverse=True):
        claim = item["claim"]
        if claim["predicate"] not in about and len(chosen) < N_GROUNDS:
            about.add(claim["predicate"])
            chosen.append(Ground(claim=Claim(**claim), event_ids=item["event_ids"][:MAX_CITED]))
    return chosen


def checks_for(grounds: list[Ground]) -> list[str]:
    """Return three check codes that fit what was seen."""
    found = [_CHECKS_OF.get(ground.claim.predicate) or _CHECKS[PREDICATES[ground.claim.predicate].category] for ground in grounds]
    return list(dict.fromkeys([*found, "ask_actor", "change_ticket", "credential_use"]))[:N_GROUNDS]
