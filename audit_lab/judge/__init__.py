"""candidates -> verdicts: what a judge is shown, what it says, and what of that holds.

    build_evidence   candidates, sessions, events, signals -> evidence   typed rows in the closed vocabulary
    judge_cases      candidates, evidence, signals         -> verdicts   baseline, a model at an endpoint, or your function
    verify_verdicts  verdicts, evidence, events            -> verdicts   every ground checked on the tables
"""

from audit_lab.judge.evidence import build_evidence
from audit_lab.judge.grounding import verify_verdicts
from audit_lab.judge.judging import BASELINE, Judge, judge_cases, make_judge
from audit_lab.judge.prompt import render_prompt
from audit_lab.judge.verdicts import JudgeTables

__all__ = ["BASELINE", "Judge", "JudgeTables", "build_evidence", "judge_cases", "make_judge", "render_prompt", "verify_verdicts"]
