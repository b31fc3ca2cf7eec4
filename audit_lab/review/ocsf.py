"""Findings as OCSF Detection Findings (class 2004), one JSON object each.

Written against the schema's version 1.9.0 of August 2026 (github.com/ocsf/ocsf-schema: events/findings/detection_finding.json and
what it extends), with the profile `incident` for priority and a person's verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from audit_lab.hashing import short_id
from audit_lab.review.findings import cited_events

OCSF_VERSION = "1.9.0"
CLASS_UID, CATEGORY_UID = 2004, 2
EVIDENCES = 20
_EVENT = "Kubernetes audit event"
_ACTIVITY = {"new": (1, "Create"), "in review": (2, "Update"), "confirmed": (2, "Update"), "closed": (3, "Close")}
_STATUS = {"new": (1, "New"), "in review": (2, "In Progress"), "confirmed": (2, "In Progress"), "closed": (3, "Suppressed")}
_SEVERITY = {"P1": (5, "Critical"), "P2": (4, "High"), "P3": (3, "Medium"), "P4": (2, "Low")}
_PRIORITY = {"P1": (4, "Critical"), "P2": (3, "High"), "P3": (2, "Medium"), "P4": (1, "Low")}
_VERDICT = {
    None: (0, "Unknown"), "malicious": (2, "True Positive"), "benign": (1, "False Positive"), "benign-but-suspicious": (5, "Benign"),
    "unsure": (7, "Insufficient Data"),
}
_RULE, _STATISTICAL, _OTHER = (1, "Rule"), (3, "Statistical"), (99, "Other")
_IP, _USER = (2, "IP Address"), (4, "User Name")


def detection_finding(finding: Mapping[str, Any], now: datetime, product_version: str) -> dict[str, Any]:
    """Return a finding (`review.make_finding`) as an OCSF Detection Finding.

    Parameters
    ----------
    finding
        What `make_finding` returned.
    now
        When the finding is exported: OCSF's `time` is that of the finding, not of the activity, which is `start_time` to `end_time`.
    product_version
        Version of this package.

    Returns
    -------
    A JSON object; times are milliseconds since 1970. `unmapped` keeps what OCSF has no place for: our priority with its reason,
    the proposed action (for a person: nothing is blocked), grounds with their marks, and what to check.
    """
    activity_id, activity = _ACTIVITY[finding["status"]]
    status_id, status = _STATUS[finding["status"]]
    severity_id, severity = _SEVERITY[finding["priority"]]
    priority_id, priority = _PRIORITY[finding["priority"]]
    verdict_id, verdict = _VERDICT[finding["verdict"]]
    cited = cited_events(finding, EVIDENCES)
    users = list(dict.fromkeys(actor for actor in finding["actors"] if actor))
    moment = int(now.timestamp() * 1000)
    return {
        "activity_id": activity_id, "activity_name": activity, "category_uid": CATEGORY_UID, "category_name": "Findings",
        "class_uid": CLASS_UID, "class_name": "Detection Finding", "type_uid": CLASS_UID * 100 + activity_id,
        "type_name": f"Detection Finding: {activity}", "time": moment, "severity_id": severity_id, "severity": severity,
        "status_id": status_id, "status": status, "is_alert": finding["status"] != "closed", "message": finding["summary"],
        "start_time": _ms(finding["start"]), "end_time": _ms(finding["end"]),
        "risk_score": round(finding["score"] * 100), "risk_details": finding["priority_reason"],
        "priority_id": priority_id, "priority": priority, "verdict_id": verdict_id, "verdict": verdict,
        "metadata": {
            "version": OCSF_VERSION, "profiles": ["incident"], "log_name": "kubernetes audit",
            "uid": short_id("f", finding["case_id"], finding["status"], finding["score"], len(finding["labels"])),
            "product": {"name": "Audit Lab", "vendor_name": "Audit Lab", "uid": "audit-lab", "version": product_version},
        },
        "finding_info": _info(finding, moment),
        "evidences": [_evidence(event) for event in cited],
        "resources": _resources(finding, cited),
        "observables": [
            *({"name": "evidences.src_endpoint.ip", "type_id": _IP[0], "type": _IP[1], "value": item} for item in finding["sources"]),
            *({"name": "evidences.actor.user.name", "type_id": _USER[0], "type": _USER[1], "value": item} for item in users),
        ],
        "notes": [
            {"title": label["verdict"], "comment": label["reason"] or label["verdict"], "owner": {"name": label["author"]},
             **({"created_time": _ms(label["at"])} if label["at"] else {})}
            for label in finding["labels"]
        ],
        "unmapped": {
            "priority": finding["priority"], "priority_reason": finding["priority_reason"], "proposed_action": finding["action"],
            "summary_by": finding["summary_by"], "checks": finding["checks"],
            "grounds": [{name: ground[name] for name in ("sentence", "mark", "wrong")} for ground in finding["grounds"]],
        },
    }


def _info(finding: Mapping[str, Any], moment: int) -> dict[str, Any]:
    held = [ground["sentence"] for ground in finding["grounds"] if ground["mark"] == "holds"]
    judge = finding["judge"] or "signals"
    return {
        "uid": finding["case_id"], "title": finding["title"], "desc": " ".join(held) or finding["summary"],
        "created_time": moment, "first_seen_time": _ms(finding["start"]), "last_seen_time": _ms(finding["end"]),
        "data_sources": ["Kubernetes audit"], "types": ["Kubernetes API activity"], "related_events_count": finding["n_events"],
        "related_events": [{"uid": event["event_id"], "type": _EVENT} for event in finding["events"] if event["is_cited"]],
        "analytic": {"name": judge, "uid": judge, "type_id": _OTHER[0], "type": _OTHER[1]},
        "related_analytics": [
            *({"uid": rule["id"], "name": rule["title"], "version": rule["version"], "type_id": _RULE[0], "type": _RULE[1]}
              for rule in finding["rules"]),
            *({"uid": signal["detector_id"], "name": signal["detector_id"], "type_id": _STATISTICAL[0], "type": _STATISTICAL[1]}
              for signal in finding["signals"] if signal["kind"] == "outlier"),
        ],
        "attacks": [{"technique": {"uid": technique}} for technique in finding["techniques"]],
    }


def _evidence(event: Mapping[str, Any]) -> dict[str, Any]:
    response = {} if event["status"] is None else {"response": {"code": event["status"]}}
    return {
        "uid": event["event_id"], "actor": {"user": {"name": event["actor"] or "unauthenticated"}},
        **({"src_endpoint": {"ip": event["source_ip"]}} if event["source_ip"] else {}),
        "api": {
            "operation": event["verb"] or "unknown", "service": {"name": "kubernetes"}, "request": {"uid": event["event_id"]}, **response,
        },
        "resources": [{"type": event["target"] or "unknown", "name": event["place"] or "cluster"}],
    }


def _resources(finding: Mapping[str, Any], cited: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The clusters, then the distinct objects that the cited events touched."""
    touched = dict.fromkeys((event["target"], event["place"]) for event in cited if event["target"] and event["place"])
    return [
        *({"type": "cluster", "name": cluster} for cluster in finding["clusters"]),
        *({"type": target, "name": place} for target, place in touched),
    ]


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
