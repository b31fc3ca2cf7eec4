"""Review: what people and incident files say about sessions, as one append-only table of labels."""

from audit_lab.review.agreement import cohen_kappa, krippendorff_alpha, ratings
from audit_lab.review.incidents import read_incidents
from audit_lab.review.labels import label_sessions, match_incidents, session_classes
from audit_lab.review.ledger import append_labels, current_labels, disagreements, new_label

__all__ = [
    "append_labels", "cohen_kappa", "current_labels", "disagreements", "krippendorff_alpha", "label_sessions", "match_incidents",
    "new_label", "ratings", "read_incidents", "session_classes",
]
