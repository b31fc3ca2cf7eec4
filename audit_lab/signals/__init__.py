"""Signals: what is odd about a session, by rules, by comparison with the past, and by a user's own detectors; then fused into cases."""

from audit_lab.signals.checks import check_rules
from audit_lab.signals.detectors import Detector, run_detectors
from audit_lab.signals.embeddings import embed_summaries
from audit_lab.signals.fusion import CaseTables, rank_cases
from audit_lab.signals.outliers import find_outliers
from audit_lab.signals.rulebook import load_rules
from audit_lab.signals.rules import Rule, run_rules

__all__ = [
    "CaseTables", "Detector", "Rule", "check_rules", "embed_summaries", "find_outliers", "load_rules", "rank_cases", "run_detectors",
    "run_rules",
]
