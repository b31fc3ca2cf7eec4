"""Signals: what is odd about a session, by rules, by comparison with the past, and by a user's own detectors; then fused into cases."""

from audit_lab.signals.bulk import SessionVectors, distinct_texts, embed_sessions, full_precision, lesson_size
from audit_lab.signals.checks import check_rules
from audit_lab.signals.choice import Limits, choose_cases
from audit_lab.signals.coverage import coverage_matrix
from audit_lab.signals.detectors import Detector, run_detectors
from audit_lab.signals.embeddings import embed_summaries, model_key
from audit_lab.signals.exceptions import ROUTINE, RuleException, expired_note, load_exceptions
from audit_lab.signals.fusion import CaseTables, rank_cases
from audit_lab.signals.neighbours import nearest_sessions
from audit_lab.signals.outliers import NEED_VECTORS, OUTLIERS, find_outliers
from audit_lab.signals.peers import resolution, resolution_note
from audit_lab.signals.rulebook import PACK, Rule, load_rules
from audit_lab.signals.rules import RuleTables, run_rules, run_rules_aside
from audit_lab.signals.static import StaticModel, embed_static, load_static, save_static
from audit_lab.signals.tuning import exceptions_toml, propose_exceptions

__all__ = [
    "NEED_VECTORS", "OUTLIERS", "PACK", "ROUTINE", "CaseTables", "Detector", "Limits", "Rule", "RuleException", "RuleTables",
    "SessionVectors", "StaticModel", "check_rules", "choose_cases", "coverage_matrix", "distinct_texts", "embed_sessions",
    "embed_static", "embed_summaries", "exceptions_toml", "expired_note", "find_outliers", "full_precision", "lesson_size",
    "load_exceptions", "load_rules", "load_static", "model_key", "nearest_sessions", "propose_exceptions", "rank_cases", "resolution",
    "resolution_note", "run_detectors", "run_rules", "run_rules_aside", "save_static",
]
