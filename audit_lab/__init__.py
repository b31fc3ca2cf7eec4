"""Audit Lab: find the few Kubernetes audit sessions that matter, and show how well that works.

    from audit_lab import Lab

    lab = Lab("lab", profile="sample")
    lab.ingest("data")                 # archives   -> events
    lab.run()                          # events     -> sessions -> signals -> candidates -> verdicts
    lab.evaluate("data/labels.jsonl")  # labels     -> metrics
    lab.report("reports")              # everything -> one HTML file

The public names, in the order of the flow. They are imported on first use, so that `import audit_lab` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from audit_lab.archive import blind_spots, find_archives, ingest_archives, make_ledger, read_original, volume
    from audit_lab.errors import (
        AuditLabError,
        ContractError,
        InputError,
        JudgeError,
        LabError,
        LedgerError,
        MissingExtraError,
        ProfileError,
    )
    from audit_lab.evaluate import Evaluation
    from audit_lab.govern import ReportInput, write_report
    from audit_lab.judge import Judge, build_evidence, judge_cases, verify_verdicts
    from audit_lab.lab import Lab
    from audit_lab.pipeline import DEFAULT_DETECTORS
    from audit_lab.profile import Profile
    from audit_lab.profile_files import load_profile
    from audit_lab.review import label_sessions, read_incidents
    from audit_lab.sessions import build_sessions, session_features
    from audit_lab.signals import embed_summaries, find_outliers, load_rules, rank_cases, run_detectors, run_rules
    from audit_lab.store import Store

_HOME = {
    "lab": ("Lab",),
    "profile": ("Profile",),
    "profile_files": ("load_profile",),
    "store": ("Store",),
    "archive": ("find_archives", "ingest_archives", "make_ledger", "blind_spots", "volume", "read_original"),
    "sessions": ("build_sessions", "session_features"),
    "signals": ("load_rules", "run_rules", "embed_summaries", "find_outliers", "run_detectors", "rank_cases"),
    "pipeline": ("DEFAULT_DETECTORS",),
    "judge": ("Judge", "build_evidence", "judge_cases", "verify_verdicts"),
    "review": ("read_incidents", "label_sessions"),
    "evaluate": ("Evaluation",),
    "govern": ("ReportInput", "write_report"),
    "errors": (
        "AuditLabError", "InputError", "ProfileError", "MissingExtraError", "LabError", "LedgerError", "ContractError", "JudgeError",
    ),
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # noqa: RUF022 - in the order of the flow
    "Lab", "Profile", "load_profile", "Store",
    "find_archives", "ingest_archives", "make_ledger", "blind_spots", "volume", "read_original",
    "build_sessions", "session_features",
    "load_rules", "run_rules", "embed_summaries", "find_outliers", "run_detectors", "rank_cases", "DEFAULT_DETECTORS",
    "Judge", "build_evidence", "judge_cases", "verify_verdicts",
    "read_incidents", "label_sessions",
    "Evaluation",
    "ReportInput", "write_report",
    "AuditLabError", "InputError", "ProfileError", "MissingExtraError", "LabError", "LedgerError", "ContractError", "JudgeError",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'audit_lab' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"audit_lab.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
