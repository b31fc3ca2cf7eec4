"""Simulated archives: read cleanly, sessions found again, order and rhythm, prevalence, spans, bytes."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from audit_lab.errors import InputError
from audit_lab.review.incidents import read_incidents
from audit_lab.simulate import read_truth, simulate
from audit_lab.simulate.recording import read_recording
from audit_lab.simulate.templates import Template, make_libraries
from tests.simulate.conftest import ASKED, Simulated
from tests.simulate.recorded import write_recording


def digests(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("*")) if file.is_file()}


def templates_of(simulated: Simulated) -> dict[str, Template]:
    """The templates, cut again from the recording with the arguments that the manifest states."""
    asked = simulated.manifest["asked"]
    days = Counter(span["name"] for span in simulated.manifest["spans"] for _ in range(span_days(span)))
    libraries = make_libraries(
        read_recording(simulated.source), list(days.items()), asked["seed"], gap_s=asked["gap_s"], max_length_s=3600 / asked["stretch"],
        max_session_events=asked["max_session_events"], max_template_events=asked["max_template_events"],
    )
    return {template.template_id: template for library in libraries for template in library.templates()}


def span_days(span: dict[str, str]) -> int:
    return (pl.Series([span["end"], span["start"]]).str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ").diff()[1] * -1).days


def test_the_reader_takes_every_record(simulated: Simulated) -> None:
    events, readings = simulated.read
    assert sum(len(reading.quarantine) for reading in readings) == 0
    assert sum(reading.n_records for reading in readings) == simulated.report.n_records
    assert events.height == simulated.report.n_events == events["event_id"].n_unique()
    assert {key for reading in readings for key in reading.unknown_keys} == {"providerTrace"}  # the planted one
    assert {shape for reading in readings for shape in reading.shapes} == {"audit.k8s.io/v1"}


def test_the_number_of_events_is_met(simulated: Simulated) -> None:
    assert simulated.report.n_events == pytest.approx(ASKED["events"], rel=0.02)
    assert simulated.report.n_given_up == 0


def test_every_session_is_found_again_as_it_was_made(simulated: Simulated) -> None:
    truth = simulated.truth
    sizes = simulated.session_events.group_by("session_id").len()
    assert truth["session_id"].null_count() == 0
    assert truth["session_id"].n_unique() == truth.height == sizes.height  # one to one, none besides
    assert truth.join(sizes, on="session_id").filter(pl.col("n_events") != pl.col("len")).is_empty()
    found = simulated.events.select("event_id", "time", "actor", "source_ip").join(simulated.session_events, on="event_id")
    spans = found.group_by("session_id").agg(pl.col("time").min().alias("first"), pl.col("time").max().alias("last"), pl.first("actor", "source_ip"))
    same = truth.join(spans, on="session_id", suffix="_found")
    assert same.filter(
        (pl.col("start") != pl.col("first")) | (pl.col("end") != pl.col("last")) | (pl.col("actor") != pl.col("actor_found"))
        | (pl.col("source_ip") != pl.col("source_ip_found"))
    ).is_empty()


def test_order_and_rhythm_of_templates_are_kept(simulated: Simulated) -> None:
    recording, templates = read_recording(simulated.source), templates_of(simulated)
    events = simulated.events.join(simulated.session_events, on="event_id").sort("time", "event_id")
    checked = 0
    for row in simulated.truth.filter((pl.col("kind") == "benign") & (pl.col("variant").is_null())).sample(60, seed=1).iter_rows(named=True):
        if row["other_template_ids"]:
            continue
        template = templates[row["template_id"]]
        recorded = recording.index[list(template.rows)].group_by("audit_id").agg(pl.col("time_us").min(), pl.first("verb", "resource")).sort("time_us", "audit_id")
        made = events.filter(pl.col("session_id") == row["session_id"])
        offsets = made["time"].dt.epoch("us").to_numpy() - made["time"].dt.epoch("us")[0]
        assert (offsets == (template.offsets_us * 5).astype(int)).all()
        assert Counter(zip(offsets.tolist(), made["verb"], made["resource"], strict=True)) == Counter(
            zip((template.offsets_us * 5).tolist(), recorded["verb"], recorded["resource"], strict=True))
        checked += 1
    assert checked > 40


def test_prevalence_is_as_asked_and_as_stated(simulated: Simulated) -> None:
    hostile = {audit_id for incident in simulated.incidents if incident["malicious"] for audit_id in incident["audit_ids"]}
    holding = set(simulated.session_events.filter(pl.col("event_id").is_in(list(hostile)))["session_id"])
    assert holding == set(simulated.truth.filter(pl.col("kind") == "malicious")["session_id"])
    share = len(holding) / simulated.truth.height
    assert share == pytest.approx(ASKED["prevalence"], rel=0.06)
    assert simulated.manifest["made"]["prevalence"] == share
    assert (simulated.truth["kind"] == "look-alike").mean() == pytest.approx(ASKED["prevalence"], rel=0.06)


def test_no_template_is_used_in_two_spans(simulated: Simulated) -> None:
    used = simulated.truth.select("span", pl.concat_list("template_id", "other_template_ids").alias("template")).explode("template")
    assert used.group_by("template").agg(pl.col("span").n_unique())["span"].max() == 1
    assert simulated.truth["span"].unique().sort().to_list() == ["calibrate", "learn", "test"]
    for span in simulated.manifest["spans"]:
        inside = simulated.truth.filter(pl.col("span") == span["name"])
        bounds = pl.Series([span["start"], span["end"]]).str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_zone="UTC")
        assert inside["start"].min() >= bounds[0]
        assert inside["end"].max() < bounds[1]
        assert set(inside["template_id"]) <= {template["template_id"] for template in span["templates"]}
        assert sum(span["n_distinct_templates"].values()) == sum(template["n_used"] > 0 for template in span["templates"])
    pieces = [{template["template_id"] for template in span["templates"]} for span in simulated.manifest["spans"]]
    assert sum(map(len, pieces)) == len(set().union(*pieces))


def test_no_recorded_event_is_in_two_spans(simulated: Simulated) -> None:
    templates = templates_of(simulated)
    span_of = {template["template_id"]: span["name"] for span in simulated.manifest["spans"] for template in span["templates"]}
    assert set(templates) == set(span_of)
    owner: dict[int, str] = {}
    for template_id, template in templates.items():
        for row in template.rows:
            assert owner.setdefault(row, span_of[template_id]) == span_of[template_id]


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "recording")
    asked = {"days": 3, "events": 3000, "clusters": 2, "prevalence": 0.03}
    for name, more in (("a", {"seed": 1}), ("b", {"seed": 1, "threads": 1}), ("c", {"seed": 2})):
        simulate(source, tmp_path / name, **asked, **more)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert not set(digests(tmp_path / "a").values()) & set(digests(tmp_path / "c").values())


def test_archives_rotate_like_those_of_an_api_server(simulated: Simulated) -> None:
    files = sorted((simulated.out / "archives").rglob("*"))
    archives = [file for file in files if file.is_file()]
    assert {file.parent.name for file in archives} == {"cluster-01", "cluster-02"}
    assert len(archives) == 2 * ASKED["days"]  # at midnight at the latest
    assert [str(file.relative_to(simulated.out)) for file in archives] == sorted(simulated.manifest["archives"])
    for file in archives[::5]:
        assert file.read_bytes()[4:8] == b"\0\0\0\0"  # no clock in the header
        records = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
        stages = [record["stageTimestamp"] for record in records]
        assert stages == sorted(stages)
        assert len({stage[:10] for stage in (records[0]["requestReceivedTimestamp"], records[-1]["requestReceivedTimestamp"])}) == 1
        assert file.name == f"audit-{stages[-1][:23].replace(':', '-')}.log.gz"


def test_archives_rotate_by_size(tmp_path: Path) -> None:
    report = simulate(write_recording(tmp_path / "recording"), tmp_path / "out", days=1, events=6000, prevalence=0.02, rotate_mib=1.0)
    sizes = [len(gzip.decompress(file.read_bytes())) for file in report.archives]
    assert len(sizes) > 3
    assert all(1 << 20 <= size < 3 << 20 for size in sizes[:-1])
    assert sum(sizes) == report.bytes
    assert sum(file.stat().st_size for file in report.archives) == report.bytes_on_disk
    assert len(set(report.archives)) == len(report.archives)


def test_stages_of_a_request_stay_together(simulated: Simulated) -> None:
    stages: dict[str, list[str]] = {}
    for cluster, line in simulated.lines:
        if cluster == "cluster-01":
            record = json.loads(line)
            stages.setdefault(record["auditID"], []).append(record["stage"])
    several = [found for found in stages.values() if len(found) > 1]
    assert several
    assert all(found in (["RequestReceived", "ResponseComplete"], ["ResponseStarted", "ResponseComplete"]) for found in several)


def test_the_incident_file_is_one(simulated: Simulated) -> None:
    incidents = read_incidents(simulated.out / "incidents.jsonl")
    assert incidents.height == simulated.report.n_incidents + simulated.report.n_look_alikes == len(simulated.incidents)
    assert incidents["malicious"].sum() == simulated.report.n_incidents
    known = set(simulated.events["event_id"])
    assert all(set(incident["audit_ids"]) <= known for incident in simulated.incidents)
    assert all(incident["reason"] for incident in simulated.incidents if not incident["malicious"])
    users = dict(simulated.events.select("event_id", pl.col("user").fill_null("")).iter_rows())
    for incident in simulated.incidents:
        assert {users[audit_id] for audit_id in incident["audit_ids"]} == set(incident["users"])


def test_people_work_by_day_and_rest_at_weekends(simulated: Simulated) -> None:
    starts = simulated.truth.filter(pl.col("actor").str.contains("@") & (pl.col("kind") == "benign")).with_columns(
        hour=pl.col("start").dt.hour(), weekday=pl.col("start").dt.weekday())
    assert starts.filter(pl.col("hour").is_between(8, 18)).height > 0.7 * starts.height
    weekend = starts.filter(pl.col("weekday") > 5).height / 4
    assert weekend < 0.25 * starts.filter(pl.col("weekday") <= 5).height / 10
    machines = simulated.truth.filter(~pl.col("actor").str.contains("@|deployer|sa-") & (pl.col("kind") == "benign"))["start"].dt.hour()
    assert 0.25 < ((machines < 6) | (machines > 19)).mean() < 0.6


def test_teams_deploy_on_two_days_of_the_week(simulated: Simulated) -> None:
    templates = templates_of(simulated)
    deploys = simulated.truth.filter(pl.col("template_id").is_in([template_id for template_id, template in templates.items() if template.deploys])
                                     & (pl.col("kind") == "benign"))
    by_weekday = dict(deploys.group_by(pl.col("start").dt.weekday()).len().iter_rows())
    assert deploys.height > 100
    assert by_weekday[2] + by_weekday[4] > 2 * (by_weekday[1] + by_weekday[3] + by_weekday[5]) * 2 / 3


def test_truth_of_a_folder_without_simulation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no simulation in"):
        read_truth(tmp_path)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"days": 0}, "days is 0"), ({"events": 0}, "events is 0"), ({"prevalence": 0.9}, "prevalence is 0.9"), ({"stretch": 0.0}, "stretch is 0"),
    ({"start": "soon"}, "no date 'soon'"), ({"spans": {"a": 1, "b": 1, "c": 1, "d": 1}}, "4 spans do not fit into 2 days"),
    ({"variants": {"louder": 1.0}}, "cannot be used"), ({"events": 90_000_000}, "events do not fit into 2 days"),
    ({"clusters": 0}, "clusters is 0"), ({"teams": 0}, "teams is 0"),
])
def test_bad_arguments_are_named(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    source = write_recording(tmp_path / "recording")
    with pytest.raises(InputError, match=message):
        simulate(source, tmp_path / "out", **{"days": 2, "events": 2000, **wrong})  # type: ignore[arg-type]


def test_bad_sources_are_named(tmp_path: Path) -> None:
    asked = {"days": 1, "events": 500}
    with pytest.raises(InputError, match="no file or folder"):
        simulate(tmp_path / "nowhere", tmp_path / "out", **asked)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no archive in folder"):
        simulate(tmp_path / "empty", tmp_path / "out", **asked)
    (tmp_path / "empty" / "x.log").write_text("nothing\n")
    with pytest.raises(InputError, match="no audit event"):
        simulate(tmp_path / "empty", tmp_path / "out", **asked)
    source = write_recording(tmp_path / "recording")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        simulate(source, tmp_path / "full", **asked)
    (source / "incidents.jsonl").write_text('{"incident_id": "x"}\n')
    with pytest.raises(InputError, match="line 1 is no incident"):
        simulate(source, tmp_path / "out", **asked)
    (source / "incidents.jsonl").unlink()
    with pytest.raises(InputError, match="no malicious incident"):
        simulate(source, tmp_path / "out", **asked)
    assert simulate(source, tmp_path / "out", prevalence=0, **asked).n_incidents == 0
    (source / "audit-1.log.gz").write_bytes((source / "audit-1.log.gz").read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be read"):
        simulate(source, tmp_path / "out2", **asked)


def test_progress_goes_forward(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "recording")
    seen: list[tuple[int, int]] = []
    simulate(source, tmp_path / "out", days=3, events=2000, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {2000}
    assert len(seen) >= 3
