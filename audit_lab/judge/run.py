"""The whole stage in one call: evidence, examples, routes, verdicts, verification, one repair."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import polars as pl

from audit_lab.judge import facts as fact
from audit_lab.judge.evidence import QUERIES, build_evidence
from audit_lab.judge.examples import choose_examples, labelled_examples
from audit_lab.judge.grounding import verify_verdicts
from audit_lab.judge.judging import BASELINE, judge_cases
from audit_lab.judge.prompt import Examples
from audit_lab.judge.queries import Query
from audit_lab.judge.routing import leaving, route_cases
from audit_lab.lines import Lines
from audit_lab.profile import JudgeSettings


class CaseFiles(NamedTuple):
    """What the stage makes: tables evidence, verdicts (checked) and egress."""

    evidence: pl.DataFrame
    verdicts: pl.DataFrame
    egress: pl.DataFrame


def run_judge(
    candidates: pl.DataFrame, sessions: pl.DataFrame, session_events: fact.Frame, events: fact.Frame, signals: pl.DataFrame,
    judge: Any = BASELINE, settings: JudgeSettings | None = None, *, links: pl.DataFrame | None = None,
    stories: pl.DataFrame | None = None, labels: pl.DataFrame | None = None, review_line: Lines = 0.5,
    queries: tuple[Query, ...] = QUERIES, evidence: pl.DataFrame | None = None,
) -> CaseFiles:
    """Judge all candidates: what pipeline and notebooks call.

    Parameters
    ----------
    candidates, sessions, session_events, events, signals
        Tables of those names; `session_events` and `events` may be lazy.
    judge
        From `make_judge`, or a function of frames.
    settings
        Section judge of the profile.
    links, stories, labels
        Tables of those names, where they exist. Labels give examples and nearest labelled sessions, of earlier time only.
    review_line
        Score from which a verdict needs grounds, or the lines of the cases.
    queries
        Evidence queries; the built-in ones when not given.
    evidence
        Evidence of these candidates, where it was made already.

    Raises
    ------
    JudgeError
        When not one case could be judged because of the judge's endpoint.
    """
    chosen = settings or JudgeSettings()
    if evidence is None:
        evidence = build_evidence(
            candidates, sessions, session_events, events, signals, max_tokens=chosen.evidence_tokens, links=links, labels=labels,
            windows=chosen.change_windows, queries=queries)
    if hasattr(judge, "show"):
        judge.show(examples_for(candidates, sessions, session_events, events, signals, labels, chosen, stories, links))
    if hasattr(judge, "route"):
        judge.route(route_cases(candidates, session_events, events, chosen, sessions=sessions, links=links, labels=labels))
    check = partial(
        verify_verdicts, evidence=evidence, events=events, session_events=session_events, candidates=candidates, review_line=review_line,
        min_peers=chosen.min_peers)
    made = judge_cases(candidates, evidence, signals, judge, check=check)
    return CaseFiles(evidence, made.verdicts, made.egress)


def examples_for(
    candidates: pl.DataFrame, sessions: pl.DataFrame, session_events: fact.Frame, events: fact.Frame, signals: pl.DataFrame,
    labels: pl.DataFrame | None, settings: JudgeSettings, stories: pl.DataFrame | None = None, links: pl.DataFrame | None = None,
) -> Examples:
    """Return the labelled cases of earlier time that stand before each case's question: part of what a model sees.

    Parameters
    ----------
    candidates, sessions, session_events, events, signals, labels, stories, links
        Tables of those names.
    settings
        `examples`: most per case. `example_cases`: cases and sessions whose labels by people may be shown; labels of incident files may.
        What is sensitive, as for `route_cases`: a case that may leave the house has only examples that may.
    """
    if labels is None or labels.is_empty() or not settings.examples:
        return ()
    # What people say changes no prompt by itself: somebody puts the case into the profile.
    allowed = labels.filter((pl.col("target_kind") == "incident") | pl.col("target_id").is_in(settings.example_cases))
    pool = labelled_examples(allowed, sessions, session_events, events, signals, lang=settings.lang, settings=settings)
    if not pool:
        return choose_examples(candidates, sessions, pool, settings.examples, stories)
    routes = route_cases(candidates, session_events, events, settings, sessions=sessions, links=links, labels=labels)
    return choose_examples(candidates, sessions, pool, settings.examples, stories, leaving(routes))
