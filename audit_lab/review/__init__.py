"""Review: what people and incident files say about cases and sessions, as one append-only table of labels."""

from audit_lab.review.agreement import cohen_kappa, krippendorff_alpha, ratings
from audit_lab.review.claims import Held, freed, held_by_others, taken
from audit_lab.review.desk import Desk, utc_now
from audit_lab.review.feedback import (
    decided_cases,
    judge_decisions,
    pull_of_the_score,
    repeated_mistakes,
    rule_decisions,
    wrong_grounds,
)
from audit_lab.review.findings import choose_findings, make_finding
from audit_lab.review.incidents import read_incidents
from audit_lab.review.label_files import SaidLabel, read_label_file
from audit_lab.review.labels import EVENT_COLUMNS, label_sessions, match_incidents, session_classes, spread_case_labels
from audit_lab.review.ledger import append_labels, current_labels, disagreements, new_label
from audit_lab.review.ocsf import detection_finding
from audit_lab.review.queue import audit_budget, build_queue, hide_blind, people_asked, prioritise
from audit_lab.review.tickets import ticket, ticket_markdown
from audit_lab.review.view import case_view, choose_events, important_events

__all__ = [
    "EVENT_COLUMNS", "Desk", "Held", "SaidLabel", "append_labels", "audit_budget", "build_queue", "case_view", "choose_events",
    "choose_findings", "cohen_kappa", "current_labels", "decided_cases", "detection_finding", "disagreements", "freed", "held_by_others",
    "hide_blind", "important_events", "judge_decisions", "krippendorff_alpha", "label_sessions", "make_finding", "match_incidents",
    "new_label", "people_asked", "prioritise", "pull_of_the_score", "ratings", "read_incidents", "read_label_file", "repeated_mistakes",
    "rule_decisions", "session_classes", "spread_case_labels", "taken", "ticket", "ticket_markdown", "utc_now", "wrong_grounds",
]
