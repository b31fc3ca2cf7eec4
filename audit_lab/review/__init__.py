"""Review: what people and incident files say about sessions, as one append-only table of labels."""

from audit_lab.review.incidents import read_incidents
from audit_lab.review.labels import label_sessions, match_incidents, session_classes

__all__ = ["label_sessions", "match_incidents", "read_incidents", "session_classes"]
