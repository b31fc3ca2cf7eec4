"""From decisions to proposals in a lab: everything is written down, and no table, setting or verdict changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from audit_lab import Lab, Profile
from audit_lab.profile import EvaluateSettings, ReviewSettings

from .archive.conftest import lines, record

T0 = datetime(2026, 11, 25, tzinfo=UTC)


def many_people(folder: Path, n: int = 24) -> Path:
    """Each of `n` people reads the secrets of all namespaces from a public address, an hour after the one before."""
    events = []
    for person in range(n):
        for k in range(3):
            stamp = f"2026-01-{1 + person // 20:02d}T{person % 20:02d}:00:0{k}.000000Z"
            events.append(record(
                f"{person}-{k}", verb="list", requestReceivedTimestamp=stamp, stageTimestamp=stamp, sourceIPs=[f"203.0.113.{person}"],
                user={"username": f"person-{person}@example.org", "groups": ["developers"]}, userAgent="kubectl/v1.30", requestURI="/api/v1/secrets",
                objectRef={"resource": "secrets", "apiVersion": "v1"}))
    path = folder / "audit.log"
    path.write_bytes(lines(*events))
    return path


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab in which people called every alert of a rule benign."""
    folder = tmp_path_factory.mktemp("proposing")
    profile = Profile(review=ReviewSettings(second_share=0, noisy_rule=0.8), evaluate=EvaluateSettings(threshold=0.15))
    lab = Lab(folder / "lab", profile)
    lab.ingest(many_people(folder))
    lab.run(detectors=["rules"])
    desk = lab.desk("kim", everything=True)
    while desk.current:
        desk.label("benign", "planned audit, CHG-7")
    assert desk.progress["n_done"] >= 20
    return lab.store.root


@pytest.fixture
def lab(decided: Path, tmp_path: Path) -> Lab:
    return Lab(shutil.copytree(decided, tmp_path / "lab"))


def test_a_noisy_rule_is_told_with_its_interval_and_below_the_minimum_there_is_no_ratio(lab: Lab) -> None:
    rules = lab.feedback()["rules"]
    (noisy,) = rules.filter(pl.col("what") == "secrets-listed-cluster-wide").to_dicts()
    assert (noisy["n"], noisy["n_false"], noisy["ratio"], noisy["high"], noisy["reason"]) == (24, 24, 1.0, 1.0, None)
    assert noisy["n_actors"] == 24
    assert 0.8 < noisy["low"] < 0.9, "24 of 24 actors: Clopper and Pearson say 0.858"
    lab.profile = lab.profile.model_copy(update={"review": lab.profile.review.model_copy(update={"min_decided": 25})})
    (few,) = lab.feedback()["rules"].filter(pl.col("what") == "secrets-listed-cluster-wide").to_dicts()
    assert (few["ratio"], few["low"], few["reason"]) == (None, None, "24 decided cases, 25 needed")


def test_proposals_are_written_down_once_and_change_nothing(lab: Lab) -> None:
    before = {name: lab.store.digest(name) for name in ("labels", "signals", "candidates", "verdicts", "exceptions")}
    profile = lab.profile
    found, notes = lab.propose_release("ann", now=T0)
    (rule,) = found.filter((pl.col("kind") == "rule") & (pl.col("target") == "secrets-listed-cluster-wide")).to_dicts()
    assert "false alarms: 24 of 24 decided cases in which it fired" in rule["reason"]
    assert json.loads(rule["content"])["rule_id"] == "secrets-listed-cluster-wide"
    assert json.loads(rule["evidence"])["n"] == 24
    (prompt,) = found.filter((pl.col("kind") == "prompt") & pl.col("target").str.contains("secret_list_everywhere")).to_dicts()
    assert "24" in prompt["reason"]
    assert "not malicious" in prompt["reason"]
    examples = found.filter(pl.col("kind") == "example")
    assert 1 <= examples.height <= lab.profile.judge.examples
    assert any(note.startswith("no threshold") or "threshold stays" in note for note in notes) or "threshold" in found["kind"]
    assert {name: lab.store.digest(name) for name in before} == before
    assert lab.profile == profile
    again, _ = lab.propose_release("ann", now=T0)
    assert again.equals(found)
    assert lab.proposals.collect().height == found.height


def test_what_no_longer_follows_is_withdrawn(lab: Lab) -> None:
    lab.propose_release("ann", now=T0)
    desk = lab.desk("kim", cases=lab.candidates.collect()["case_id"].to_list(), everything=True)
    for case_id in lab.candidates.collect()["case_id"]:
        desk.go(case_id)
        desk.label("malicious", "it was not planned after all")
    found, _ = lab.propose_release("ann", now=T0)
    assert found.filter(pl.col("kind").is_in(["rule", "prompt", "example"])).is_empty()
    assert "withdrawn" in lab.proposals.collect()["state"].to_list()


def test_nothing_decided_is_said(tmp_path: Path) -> None:
    made = Lab(tmp_path / "lab")
    made.ingest(many_people(tmp_path, 3))
    made.run(detectors=["rules"])
    _, notes = made.propose_release("ann", now=T0)
    assert "nobody has decided a case yet: audit-lab review" in notes


def words(lab: Lab, *given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "audit_lab", *given, "--lab", str(lab.store.root)], capture_output=True, text=True, check=False,
                          timeout=120, env=os.environ | {"COLUMNS": "300"})


def test_the_words_on_the_command_line(lab: Lab) -> None:
    done = words(lab, "release", "propose", "--author", "ann")
    assert done.returncode == 0, done.stderr
    assert "secrets-listed-cluster-wide" in done.stdout
    listed = json.loads(words(lab, "release", "list", "--json").stdout)
    assert {item["author"] for item in listed} == {"ann"}
    told = json.loads(words(lab, "review", "--feedback", "--json").stdout)
    assert {"rules", "judges", "mistakes", "wrong_grounds", "pull", "decided"} == set(told)
    assert "False alarms of rules" in words(lab, "review", "--feedback").stdout
    bad = words(lab, "release", "propose", "--until", "yesterday")
    assert (bad.returncode, "'yesterday' is no time" in bad.stderr) == (2, True)
