"""Review in a lab: a queue of real cases, a desk whose labels are in the lab at once, figures that count them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from audit_lab import InputError, Lab, LabError

from .small_lab import run_small_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return run_small_lab(tmp_path_factory.mktemp("review"))


def test_a_desk_shows_judges_and_keeps(lab: Lab) -> None:
    desk = lab.desk("kim", everything=True)
    view = desk.view()
    assert json.loads(json.dumps(view)) == view
    assert view["case_id"] == lab.review_queue("kim", everything=True)["case_id"][0]
    assert view["events"]
    assert {event["session_id"] for event in view["events"]} <= {session["session_id"] for session in view["sessions"]}
    (original,) = desk.originals([view["events"][0]["event_id"]])
    assert original["auditID"] == view["events"][0]["event_id"]
    desk.label("malicious", "nobody reads secrets of twelve namespaces")
    assert view["case_id"] not in lab.review_queue("kim", everything=True)["case_id"]
    standing = lab.standing_labels().filter(pl.col("author") == "kim")
    assert standing["session_id"].to_list() == [session["session_id"] for session in view["sessions"]]
    assert desk.undo() == view["case_id"]
    assert lab.standing_labels().filter(pl.col("author") == "kim").is_empty()
    assert lab.labels.collect().height == 2


def test_an_earlier_label_is_corrected_through_a_desk_with_that_case(lab: Lab) -> None:
    first = lab.desk("lee", everything=True)
    case_id = first.current
    first.label("benign", "planned")
    again = lab.desk("lee", cases=[case_id[:8]], everything=True)
    assert (again.current, again.view()["label"]["verdict"]) == (case_id, "benign")
    again.label("malicious", "it was not")
    assert lab.standing_labels().filter(pl.col("author") == "lee")["verdict"].unique().to_list() == ["malicious"]


def test_a_label_is_kept_while_a_run_writes(lab: Lab) -> None:
    before = lab.labels.collect().height
    with lab.store.writing():
        lab.desk("max", everything=True).label("unsure")
    assert lab.labels.collect().height == before + 1


def test_what_is_missing_is_told(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="has no verdicts yet"):
        Lab(tmp_path / "none").desk("kim")
    with pytest.raises(InputError, match="no case 'c-zzz'.*cases are, for example: c-"):
        lab.desk("kim", cases=["c-zzz"])
    with pytest.raises(InputError, match="without a name"):
        lab.desk("")


def test_labels_of_a_csv_file_are_added_once_and_a_later_word_counts(lab: Lab, tmp_path: Path) -> None:
    case_id = lab.candidates.collect()["case_id"][0]
    path = tmp_path / "said.csv"
    path.write_text(
        "target_id,verdict,author,at,reason\n"
        f"{case_id},malicious,ann,2026-11-23T10:00:00Z,token=abcdef123456\n"
        f"{case_id},benign,ann,2026-11-23T09:00:00Z,too early\n", encoding="utf-8")
    before = lab.labels.collect().height
    lab.label(path)
    lab.label(path)
    assert lab.labels.collect().height == before + 2
    standing = lab.standing_labels().filter(pl.col("author") == "ann")
    assert standing.select("verdict", "reason").unique().rows() == [("malicious", "token=***")]
    path.write_text("target_id,verdict,author,at\nc-nowhere,benign,ann,2026-11-23\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 2: the lab has no case 'c-nowhere'"):
        lab.label(path)


def test_a_person_may_judge_an_incident_of_the_file(lab: Lab, tmp_path: Path) -> None:
    incidents = tmp_path / "incidents.jsonl"
    incidents.write_text(json.dumps({"incident_id": "i-1", "title": "t", "malicious": True, "audit_ids": ["b-1"]}) + "\n", encoding="utf-8")
    path = tmp_path / "said.csv"
    path.write_text("target_id,verdict,author,at\ni-1,benign,zoe,2026-11-23\n", encoding="utf-8")
    with pytest.raises(InputError, match="the lab has no incident 'i-1'.*label the incident file first"):
        lab.label(path)
    lab.label(incidents)
    lab.label(path)
    (said,) = lab.standing_labels().filter(pl.col("author") == "zoe").to_dicts()
    assert (said["target_kind"], said["target_id"], said["event_ids"]) == ("incident", "i-1", ["b-1"])


def test_findings_are_written_for_other_systems(lab: Lab, tmp_path: Path) -> None:
    case_id = lab.desk("eva", everything=True, cases=[lab.candidates.collect()["case_id"][0]]).current
    lab.desk("eva", everything=True, cases=[case_id]).label("malicious", "seen in the pod's log")
    text, files, n = lab.export_findings("ocsf", tmp_path / "out")
    assert (n, [path.name for path in files]) == (len(text.splitlines()), ["findings.ocsf.jsonl"])
    event = next(event for event in map(json.loads, text.splitlines()) if event["finding_info"]["uid"] == case_id)
    assert (event["status"], event["metadata"]["version"]) == ("In Progress", "1.9.0")
    _, files, _ = lab.export_findings("tickets-md", tmp_path / "out")
    assert tmp_path / "out" / f"{case_id}.md" in files
    _, files, _ = lab.export_findings("tickets-json", tmp_path / "all.json")
    assert case_id in {item["id"] for item in json.loads(files[0].read_text(encoding="utf-8"))}
    with pytest.raises(InputError, match="no format 'xml'.*ocsf, tickets-json, tickets-md"):
        lab.export_findings("xml")
