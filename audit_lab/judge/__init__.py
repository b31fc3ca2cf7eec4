"""candidates -> verdicts: what a judge is shown, what it says, and what of that holds.

    build_evidence   candidates, sessions, events, signals -> evidence   typed rows in the closed vocabulary
    judge_cases      candidates, evidence, signals         -> verdicts   baseline, a model at an endpoint, or your function
    verify_verdicts  verdicts, evidence, events            -> verdicts   every ground checked on the tables
    run_judge        all three, with examples, routes and one repair
"""

from audit_lab.judge.cache import read_calls
from audit_lab.judge.cascade import asked_places
from audit_lab.judge.compare import compare_summary, compare_verdicts
from audit_lab.judge.estimate import CaseCost, estimate_case
from audit_lab.judge.evidence import QUERIES, build_evidence
from audit_lab.judge.grounding import verify_verdicts
from audit_lab.judge.judging import BASELINE, Judge, judge_cases, make_judge
from audit_lab.judge.outstanding import unanswered, unanswered_note
from audit_lab.judge.probes import probe_model, probe_notes, sameness_notes
from audit_lab.judge.prompt import load_template, render_prompt
from audit_lab.judge.recorded import AnswersFit, fit_answers, import_answers
from audit_lab.judge.replay import export_prompts, prompt_digests
from audit_lab.judge.routing import route_cases
from audit_lab.judge.run import CaseFiles, examples_for, run_judge
from audit_lab.judge.shadow import CHALLENGER, judge_in_shadow, make_challenger
from audit_lab.judge.verdicts import JudgeTables

__all__ = [
    "BASELINE", "CHALLENGER", "QUERIES", "AnswersFit", "CaseCost", "CaseFiles", "Judge", "JudgeTables", "asked_places", "build_evidence",
    "compare_summary", "compare_verdicts", "estimate_case", "examples_for", "export_prompts", "fit_answers", "import_answers",
    "judge_cases", "judge_in_shadow", "load_template", "make_challenger", "make_judge", "probe_model", "probe_notes", "prompt_digests",
    "read_calls", "render_prompt", "route_cases", "run_judge", "sameness_notes", "unanswered", "unanswered_note", "verify_verdicts",
]
