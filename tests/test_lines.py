"""One answer to 'is this flagged?': a cluster's own threshold holds in queue, findings, judge, report, drift, comparison and evaluation alike."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audit_lab import Lab, MissingExtraError, govern, pipeline, vectors
from audit_lab.drifting import judged_cases
from audit_lab.evaluate import compare_versions
from audit_lab.evaluate.comparison import injection_success
from audit_lab.evaluate.experiments import first_stale
from audit_lab.govern.cases import case_scores
from audit_lab.govern.summary import said_threshold
from audit_lab.injecting import injection_run
from audit_lab.judge.compare import compare_summary
from audit_lab.judge.grounding import verify_verdicts
from audit_lab.lines import CaseLines, case_lines, line_at, reaches
from audit_lab.profile import Profile
from audit_lab.review import judge_decisions

from .archive.conftest import lines, record

OWN = {"strict": 0.9}


def archive(path: Path, letter: str) -> Path:
    """Bob reads twelve secrets from a public address; the same in every cluster."""
    events = []
    for n in range(12):
        stamp = f"2026-01-01T10:30:{n:02d}.000000Z"
        events.append(record(
            f"{letter}-{n}", verb="get", requestReceivedTimestamp=stamp, stageTimestamp=stamp, sourceIPs=["203.0.113.9"],
            user={"username": "bob@example.org", "groups": ["developers"]}, requestURI=f"/api/v1/namespaces/ns-{n}/secrets/s-{n}",
            objectRef={"resource": "secrets", "namespace": f"ns-{n}", "name": f"s-{n}", "apiVersion": "v1"}))
    path.write_bytes(lines(*events))
    return path


def with_lines(threshold: float, own: dict[str, float]) -> Profile:
    base = Profile()
    return base.model_copy(update={"evaluate": base.evaluate.model_copy(update={"threshold": threshold, "thresholds": own, "bootstrap": 100})})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lines")
    with pytest.MonkeyPatch.context() as patch:

        def missing(*_: object) -> None:
            raise MissingExtraError.for_extra("embeddings", "embed")

        patch.setattr(vectors, "embed_sessions", missing)
        made = Lab(folder / "lab", with_lines(0.2, OWN))
        for cluster in ("loose", "strict"):
            made.ingest(archive(folder / f"{cluster}.log", cluster[0]), cluster=cluster)
        made.run(detectors=["rules"])
    (folder / "incidents.jsonl").write_text(json.dumps(
        {"incident_id": "i", "title": "t", "malicious": True, "audit_ids": [f"{letter}-{n}" for letter in "ls" for n in range(12)]}) + "\n")
    made.label(folder / "incidents.jsonl")
    return made


@pytest.fixture(scope="module")
def case_of(lab: Lab) -> dict[str, str]:
    """Cluster -> its case; both have the same score, between the two lines."""
    members = lab.candidates.select("case_id", "score", session_id="session_ids").explode("session_id").collect()
    rows = members.join(lab.sessions.select("session_id", "cluster").collect(), on="session_id")
    assert sorted(rows["cluster"]) == ["loose", "strict"]
    assert rows["score"].is_between(0.2, 0.9).all()
    return dict(rows.select("cluster", "case_id").iter_rows())


def test_every_place_calls_the_same_case_flagged(lab: Lab, case_of: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loose, strict = case_of["loose"], case_of["strict"]
    settings = lab.profile.review.model_copy(update={"blind_share": 0.0})
    open_lab = Lab(lab.store.root, lab.profile.model_copy(update={"review": settings}))
    queue = {row["case_id"]: row for row in open_lab.review_queue(everything=True).iter_rows(named=True)}
    assert (queue[loose]["kind"], queue[strict]["kind"] == "alert") == ("alert", False)
    assert queue[loose]["priority_reason"].endswith("at least 0.2")

    text, _, n = lab.export_findings("tickets-json", None)
    assert (n, loose in text, strict in text) == (1, True, False)

    lines_of = case_lines(lab.candidates.collect(), lab.sessions, lab.profile.evaluate)
    assert (lines_of.of(loose), lines_of.of(strict)) == (0.2, 0.9)
    assert dict(judged_cases(lab.store, lab.profile.evaluate).select("case_id", "flagged").iter_rows()) == {loose: True, strict: False}
    assert injection_run(lab.store, lab.profile, texts=()).n == 1

    seen: list[Any] = []
    monkeypatch.setattr(govern, "write_report", lambda data, path: seen.append(data) or path)
    lab.report(tmp_path)
    assert dict(case_scores(seen[0]).select("case_id", "flagged").iter_rows()) == {loose: True, strict: False}
    assert said_threshold(seen[0]) == "0.20 (strict 0.9)"

    result = lab.evaluate().as_dict()
    assert result["sessions"]["flagged"] == 1
    judge, = result["judges"].values()
    assert judge["recall"]["value"] == 0.5


def test_a_line_of_its_own_decides_who_needs_grounds(lab: Lab, case_of: dict[str, str]) -> None:
    verdicts = lab.verdicts.with_columns(grounds=pl.col("grounds").list.head(0)).collect()
    args = (lab.evidence.collect(), lab.events, lab.session_events, lab.candidates.collect())
    made = verify_verdicts(verdicts, *args, review_line=CaseLines(0.2, {case_of["strict"]: 0.9}))
    assert dict(made.select("case_id", "usable").iter_rows()) == {case_of["loose"]: False, case_of["strict"]: True}


def test_another_line_of_a_cluster_makes_verdicts_anew(lab: Lab) -> None:
    other = with_lines(0.2, {"strict": 0.8})
    assert first_stale(lab.profile, other) == "verdicts"
    assert first_stale(lab.profile, with_lines(0.2, OWN)) == "none"
    before = pipeline._fingerprint(pipeline.Run(lab.store, lab.profile), pipeline.PIPELINE[-1])
    assert before != pipeline._fingerprint(pipeline.Run(lab.store, other), pipeline.PIPELINE[-1])


def test_two_judges_and_what_people_decided_are_held_against_the_lines() -> None:
    own = CaseLines(0.5, {"b": 0.8})
    truth = pl.DataFrame({"case_id": ["a", "b"], "actor": ["x", "y"], "malicious": [True, True]})
    first, second = (pl.DataFrame({"case_id": ["a", "b"], "score": scores}) for scores in ([0.6, 0.6], [0.6, 0.9]))
    assert compare_versions(truth, first, second, own, resamples=100).recall_difference.value == 0.5
    assert injection_success(first, second.with_columns(score=pl.lit(0.1)), own).n == 1
    decided = pl.DataFrame({"case_id": ["a", "b"], "is_disputed": [False, False], "is_malicious": [True, True]})
    verdicts = first.with_columns(judge_id=pl.lit("j"), judge_version=pl.lit("1"), grounds=pl.lit(
        [], dtype=pl.List(pl.Struct({"holds": pl.Boolean, "claim": pl.Struct({"predicate": pl.String})}))))
    assert judge_decisions(decided, verdicts, own)["is_flagged"].to_list() == [True, False]
    assert first.select(reaches(pl.col("score"), 0.6)).to_series().to_list() == [True, True]
    assert (line_at(own, "b"), line_at(own, "c"), line_at(0.4, "b")) == (0.8, 0.5, 0.4)


def test_the_comparison_of_a_lab_uses_the_lines(lab: Lab, case_of: dict[str, str]) -> None:
    ours = lab.verdicts.collect()
    theirs = ours.with_columns(score=pl.lit(0.1))
    assert compare_summary(ours, theirs, 0.2)["flips"] == 2
    assert compare_summary(ours, theirs, CaseLines(0.2, {case_of["strict"]: 0.9}))["flips"] == 1


def test_a_case_over_several_clusters_has_the_lowest_line() -> None:
    candidates = pl.DataFrame({"case_id": ["c"], "session_ids": [["s", "t"]]})
    sessions = pl.DataFrame({"session_id": ["s", "t"], "cluster": ["strict", "loose"], "start": [datetime(2026, 1, 1, tzinfo=UTC)] * 2})
    assert case_lines(candidates, sessions, with_lines(0.2, OWN).evaluate).of("c") == 0.2


def test_nobody_reads_the_threshold_past_the_lines() -> None:
    """Who calls something flagged asks `lines`; these say what the setting is, or propose another."""
    package = Path(__file__).parent.parent / "audit_lab"
    named = {str(path.relative_to(package)) for path in package.rglob("*.py") if re.search(r"evaluate\.threshold\b(?!\")", path.read_text(encoding="utf-8"))}
    assert named == {"calibrating.py", "evaluate/experiments.py", "govern/inputs.py", "pipeline.py", "proposing.py", "evaluate/proposals.py"}
