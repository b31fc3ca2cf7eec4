"""Evaluation of a lab: earlier figures stay, time order is enforced, promises and probabilities are learnt from earlier time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from audit_lab import InputError, Lab, MissingExtraError, tables, vectors
from audit_lab.calibrating import promised_thresholds
from audit_lab.evaluating import gather, history, split_name
from audit_lab.profile_files import load_profile

from .archive.conftest import lines, record

START = datetime(2026, 1, 1, 10, tzinfo=UTC)
N_ACTORS = 70


def archive(folder: Path) -> Path:
    """Seventy people who list pods, one after the other; every seventh reads secrets from a public address, which is the incident."""
    events = []
    for n in range(N_ACTORS):
        bad = n % 7 == 6
        for step in range(12 if bad else 2):
            stamp = (START + timedelta(minutes=n, seconds=step)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            more = {
                "verb": "get", "sourceIPs": ["203.0.113.9"], "userAgent": "curl/8", "requestURI": f"/api/v1/namespaces/ns-{step}/secrets/s",
                "objectRef": {"resource": "secrets", "namespace": f"ns-{step}", "name": "s", "apiVersion": "v1"},
            } if bad else {}
            events.append(record(
                f"e-{n}-{step}", requestReceivedTimestamp=stamp, stageTimestamp=stamp, user={"username": f"user-{n}@example.org", "groups": ["g"]}, **more))
    path = folder / "audit.log"
    path.write_bytes(lines(*events))
    incidents = [
        {"incident_id": f"i-{n}", "title": "secrets", "malicious": True, "audit_ids": [f"e-{n}-{step}" for step in range(12)]}
        for n in range(6, N_ACTORS, 7)
    ]
    (folder / "incidents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in incidents))
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("evaluating")
    with pytest.MonkeyPatch.context() as patch:

        def without_extra(*_: object) -> None:
            raise MissingExtraError.for_extra("embeddings", "embed")

        patch.setattr(vectors, "embed_sessions", without_extra)
        made = Lab(folder / "lab", load_profile())
        made.ingest(archive(folder))
        made.run()
    made.evaluate(folder / "incidents.jsonl")
    return made


def test_every_figure_is_a_row_with_its_versions(lab: Lab) -> None:
    result = lab.evaluate()
    rows = lab.metrics.collect().filter(pl.col("evaluation_id") == result.evaluation_id)
    assert rows.select(tables.TABLES["metrics"].key).is_unique().all()
    assert rows.filter(pl.col("value").is_null() & pl.col("reason").is_null()).is_empty(), "null without a reason"
    for column in ("code", "rules", "profile", "judge", "prompt", "data_start", "data_end", "threshold", "confidence", "at"):
        assert rows[column].null_count() == 0, column
    assert set(rows["unit"]) == {"event", "session", "case", "incident"}
    measures = set(rows["measure"])
    assert {
        "recall", "fpr", "precision", "average_precision", "brier", "calibration_error", "cited", "found_before_impact", "median_time_to_detect_s",
        "fpr_at_recall_0.8", "recall_at_10_a_day", "precision_at_10_a_day", "precision_at_prevalence_0.001", "grounded_share", "schema_valid_share",
        "cost_per_finding_usd",
    } <= measures
    own = rows.filter(pl.col("scorer").str.starts_with("rule "))
    assert own.height and own["rules"].n_unique() > 1, "each rule has its own version"
    assert result.as_dict()["versions"]["judge"].startswith("baseline@")


def test_earlier_evaluations_stay_and_history_follows_the_versions(lab: Lab) -> None:
    first = lab.evaluate().evaluation_id
    changed = Lab(lab.store.root, lab.profile.model_copy(update={"evaluate": lab.profile.evaluate.model_copy(update={"threshold": 0.95})}))
    second = changed.evaluate().evaluation_id
    seen = lab.history()
    assert {first, second} <= set(seen["evaluation_id"])
    assert dict(seen.select("evaluation_id", "threshold").iter_rows())[second] == 0.95
    assert seen["at"].is_sorted()
    assert seen["fpr"].null_count() == 0
    assert history(tables.empty("metrics")).is_empty()


def test_a_part_of_the_time_is_evaluated_alone(lab: Lab) -> None:
    half = START + timedelta(minutes=35)
    early, late = lab.evaluate(until=half), lab.evaluate(since=half)
    assert early.data_end < half <= late.data_start
    assert early.scored.classes.size + late.scored.classes.size == N_ACTORS
    assert early.as_dict()["incidents"]["n"] + late.as_dict()["incidents"]["n"] == 10
    assert late.split == split_name(half, None) == "from 2026-01-01 10:35:00"
    with pytest.raises(InputError, match=r"no session in that time .*2026-01-01 10:00:00 and"):
        lab.evaluate(since=START + timedelta(days=3))


def test_a_session_across_the_cut_is_on_neither_side(lab: Lab) -> None:
    across = START + timedelta(minutes=6, seconds=5)
    ids = [set(gather(lab.store, **limits).sessions["session_id"]) for limits in ({"until": across}, {"since": across})]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == N_ACTORS - 1


def test_a_learnt_threshold_counts_on_later_sessions_only(lab: Lab) -> None:
    half = START + timedelta(minutes=62)
    promise = lab.calibrate(0.1, 0.9, before=half)
    assert promise.threshold is not None
    assert promise.until < half
    learnt = Lab(lab.store.root, lab.profile.model_copy(update={"evaluate": lab.profile.evaluate.model_copy(
        update={"threshold": promise.threshold, "learnt_until": promise.until})}))
    assert learnt.evaluate().data_start > promise.until
    # Where everything taught it there is no figure, but still a report.
    all_taught = Lab(lab.store.root, lab.profile.model_copy(update={"evaluate": lab.profile.evaluate.model_copy(
        update={"learnt_until": START + timedelta(days=1)})}))
    with pytest.raises(InputError, match=r"every session is among those that taught the threshold .*ingest later archives"):
        all_taught.evaluate()
    assert all_taught._evaluation() is None
    # The next threshold may be learnt from all of it again.
    assert learnt.calibrate(0.1, 0.9).n > promise.n


def test_probabilities_come_from_labels_of_earlier_time_and_stand_beside_the_raw_scores(lab: Lab) -> None:
    nothing = lab.evaluate().as_dict()["calibration"]
    assert nothing["calibrated"] is None
    assert "audit-lab calibrate --probabilities" in nothing["reason"]
    few = lab.calibration(before=START + timedelta(minutes=20))
    assert few.calibrator is None
    assert "are needed" in few.reason
    assert lab.store.remembered("calibration") is None
    small = lab.calibration(before=START + timedelta(minutes=65), scorer="fused")
    assert small.calibrator is None, "nine incidents are below the floor of ten"
    learnt = lab.calibration(scorer="fused")
    assert learnt.calibrator.method == "platt"
    case = lab.candidates.collect().row(0, named=True)
    assert 0 < lab.case(case["case_id"])["probability"] <= 1
    same = lab.evaluate().as_dict()["calibration"]
    assert "no session starts after" in same["reason"], "it may not be tested on what it was learnt from"


def test_a_report_says_what_the_labels_promise_with_figures_on_the_sessions_they_came_from(lab: Lab, tmp_path: Path) -> None:
    wide, narrow = promised_thresholds(lab.store, lab.profile, lab._evaluation())
    direct = lab.calibrate(0.05)
    assert direct.threshold is not None
    assert {name: wide[name] for name in direct.as_dict()} == direct.as_dict()
    seen = lab.at_threshold(direct.threshold)
    assert {name: wide["there"][name] for name in seen} == seen
    assert wide["there"]["fpr"]["value"] == pytest.approx(seen["fp"] / (lab.store.rows("sessions") - N_ACTORS // 7))
    assert (narrow["threshold"], narrow["there"], narrow["needed"]) == (None, None, 598)
    page = lab.report(tmp_path / "all", period="all").read_text(encoding="utf-8")
    assert f"{direct.threshold:g}<span" in page
    assert f"{narrow['n']} independent benign actors, 598 needed" in page
    # Where everything taught the threshold, the next one may still be promised from it, and its figures are those of the same sessions.
    taught = lab.profile.evaluate.model_copy(update={"learnt_until": START + timedelta(days=1)})
    bound = Lab(lab.store.root, lab.profile.model_copy(update={"evaluate": taught}))
    assert promised_thresholds(bound.store, bound.profile, None) == [wide, narrow]
    page = bound.report(tmp_path / "taught", period="taught").read_text(encoding="utf-8")
    assert "Every session here taught the threshold in force" in page
    assert "learnt from sessions until 2026-01-02 10:00:00 UTC" in page
    assert f"{direct.threshold:g}<span" in page


def test_warm_up_tightens_with_labels_and_groups_are_shrunk(lab: Lab) -> None:
    found = lab.warm_up(0.005)
    assert found.needed == 598
    assert lab.profile.evaluate.warm_up_threshold <= found.threshold < found.target == lab.profile.evaluate.threshold
    groups = lab.group_thresholds("actor_kind", 0.1, 0.9)
    assert groups["group"].to_list() == ["human"]
    teams = lab.group_thresholds({"user-1@example.org": "blue"}, 0.1, 0.9)
    assert sorted(teams["group"]) == ["blue", "other"]
    assert teams["threshold"].is_between(0, 1).all()
    with pytest.raises(InputError, match="no group 'planet'"):
        lab.group_thresholds("planet")


def test_a_cluster_may_have_a_threshold_of_its_own(lab: Lab) -> None:
    own = lab.profile.evaluate.model_copy(update={"thresholds": {"default": 1.0}, "threshold": 0.01})
    strict = Lab(lab.store.root, lab.profile.model_copy(update={"evaluate": own})).evaluate()
    other = lab.profile.evaluate.model_copy(update={"thresholds": {"elsewhere": 1.0}, "threshold": 0.01})
    loose = Lab(lab.store.root, lab.profile.model_copy(update={"evaluate": other})).evaluate()
    assert strict.blocks["fused"].sessions.flagged == 0 < loose.blocks["fused"].sessions.flagged


def test_the_ladder_names_every_stage_and_models_stay_null(lab: Lab) -> None:
    rungs = lab.ladder(10)
    assert rungs["rung"].to_list() == ["raw rules", "with exceptions", "+ outliers", "+ baseline judge", "+ model", "+ cascade"]
    models = rungs.filter(pl.col("rung").is_in(["+ model", "+ cascade"]))
    assert models["recall"].null_count() == 2
    assert models["reason"].to_list() == ["no model run"] * 2
    assert rungs["alerts"].drop_nulls().max() <= 10
    kept = lab.metrics.filter(pl.col("scorer").str.starts_with("rung ")).collect()
    assert kept.height == 6
    lab.evaluate()
    assert lab.metrics.filter(pl.col("scorer").str.starts_with("rung ")).collect().height == 6, "a later evaluation keeps it"


def test_injected_text_does_not_talk_the_baseline_out_of_a_finding_and_a_gullible_judge_is_caught(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = lab.injection()
    assert found.n == lab.verdicts.filter(pl.col("score") >= 0.5).collect().height > 0
    assert found.value == 0.0
    kept = lab.metrics.filter(pl.col("measure") == "injection_success").collect().filter(pl.col("value").is_not_null())
    assert kept.height == 1
    lab.evaluate()
    assert lab.metrics.filter((pl.col("measure") == "injection_success") & pl.col("value").is_not_null()).collect().height == 1

    def gullible(candidates: pl.DataFrame, evidence: pl.DataFrame, signals: pl.DataFrame) -> pl.DataFrame:
        return candidates.select("case_id", score=pl.lit(0.0))

    from audit_lab import cases

    monkeypatch.setattr(cases, "make_judge", lambda *_: gullible)
    assert lab.injection().value == 1.0


def test_injected_text_reaches_every_field_that_a_client_writes(lab: Lab) -> None:
    from audit_lab.injecting import TEXTS, inject

    events = lab.events.collect()
    for text in TEXTS:
        planted = inject(events, text)
        assert planted.filter(pl.col("user_agent").str.contains(text, literal=True)).height == events.height
        assert planted.schema == events.schema
        assert planted["event_id"].equals(events["event_id"])


def test_reviews_alone_are_enough_to_evaluate(lab: Lab, tmp_path: Path) -> None:
    copy = Lab(tmp_path / "reviewed", lab.profile)
    known = lab.store.manifest()["tables"]
    entries = {name: {**entry, "files": [{**item, "file": str((lab.store.root / item["file"]).resolve())} for item in entry["files"]]}
               for name, entry in known.items() if name not in ("incidents", "labels", "metrics")}
    with copy.store.writing():
        copy.store.set_entries(entries)
    with pytest.raises(InputError, match="no incidents to compare with"):
        copy.evaluate()
    chosen = copy.candidates.collect().head(6)["case_id"].to_list()
    said = pl.DataFrame({"label_id": [f"y{n}" for n in range(6)], "target_kind": "case", "target_id": chosen, "verdict": ["malicious"] * 3 + ["benign"] * 3,
                         "author": "ann", "event_ids": [[]] * 6}, schema_overrides={"event_ids": tables.TEXTS})
    with copy.store.writing():
        copy.store.replace("labels", tables.conform(said, "labels"))
    found = copy.evaluate().as_dict()
    assert found["incidents"]["recall"]["reason"] == "no malicious incidents"
    assert "recall" in found["audits"]
    assert found["audits"]["recall"]["value"] is None or found["audits"]["recall"]["n"] > 0
