"""The verbs of a Lab on a small archive: what is stale, own detectors, missing extras, same inputs same digests."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from audit_lab import DEFAULT_DETECTORS, InputError, Lab, LabError, load_profile
from audit_lab.signals import embeddings
from audit_lab.tables import TABLES

from .archive.conftest import lines, record
from .small_lab import small_archive


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path / "lab")
    made.ingest(small_archive(tmp_path))
    return made


def many_secrets(sessions: pl.DataFrame, events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    return sessions.filter(pl.col("n_secrets") >= 10).select("session_id", strength=pl.lit(0.9), reason=pl.lit("many secrets"))


def test_every_table_is_a_lazy_frame_of_the_contract(lab: Lab) -> None:
    lab.run(detectors=["rules"])
    for name, table in TABLES.items():
        assert isinstance(getattr(lab, name), pl.LazyFrame)
        assert getattr(lab, name).collect_schema() == pl.Schema(table.schema), name
    with pytest.raises(AttributeError, match="a lab has no 'sesions'"):
        _ = lab.sesions


def test_only_what_changed_runs_again(lab: Lab) -> None:
    assert lab.run(detectors=["rules"]).made == ["sessions", "signals", "candidates", "verdicts"]
    assert lab.run(detectors=["rules"]).made == []
    assert "signals" in lab.run(detectors=["rules", many_secrets]).made
    other = Lab(lab.store.root, lab.profile.model_copy(update={"judge": lab.profile.judge.model_copy(update={"evidence_tokens": 300})}))
    assert other.run(detectors=["rules", many_secrets]).made == ["verdicts"]


def test_a_detector_of_ones_own_reaches_the_candidates(lab: Lab) -> None:
    lab.run(detectors=["rules", many_secrets])
    signal = lab.signals.filter(pl.col("detector_id") == "many_secrets").collect().row(0, named=True)
    assert (signal["kind"], signal["strength"], signal["reason"]) == ("custom", 0.9, "many secrets")
    assert lab.candidates.filter(pl.col("session_ids").list.contains(signal["session_id"])).collect().height == 1


def test_an_unknown_detector_is_told(lab: Lab) -> None:
    with pytest.raises(InputError, match="no detector 'magic'.*rules, outliers"):
        lab.run(detectors=["magic"])


def test_a_stage_that_is_not_there_is_told(lab: Lab) -> None:
    with pytest.raises(LabError, match="has no verdicts yet"):
        lab.report()
    with pytest.raises(InputError, match="no stage 'lunch'"):
        lab.run(until="lunch")


def test_without_the_embed_extra_one_line_says_what_adds_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    # A test before this one may have loaded the model.
    embeddings._load.cache_clear()
    run = lab.run(detectors=DEFAULT_DETECTORS)
    assert run.notes == ["no session embeddings: embeddings need the extra 'embed' (hint: pip install 'audit-lab[embed]')"]
    assert lab.store.rows("verdicts") > 0


def test_same_inputs_same_digests(tmp_path: Path) -> None:
    digests = []
    archive = small_archive(tmp_path)
    for name in ("one", "two"):
        lab = Lab(tmp_path / name)
        lab.ingest(archive)
        lab.run(detectors=["rules", many_secrets])
        digests.append({table: lab.store.digest(table) for table in TABLES})
    assert digests[0] == digests[1]


def test_a_late_archive_makes_the_rest_stale_and_the_ledger_still_balances(lab: Lab, tmp_path: Path) -> None:
    lab.run(detectors=["rules"])
    before = lab.sessions.collect().height
    late = tmp_path / "late.log"
    late.write_bytes(lines(record("c-1", requestReceivedTimestamp="2026-01-01T12:00:00Z", stageTimestamp="2026-01-01T12:00:00Z")))
    lab.ingest(late)
    assert lab.ledger()["balanced"].all()
    assert lab.run(detectors=["rules"]).made[0] == "sessions"
    assert lab.sessions.collect().height == before + 1


def test_case_prompt_and_originals(lab: Lab) -> None:
    lab.run(detectors=["rules", many_secrets])
    case_id = lab.candidates.sort("rank").collect()["case_id"][0]
    found = lab.case(case_id[:8])
    assert found["events"].height >= 12
    assert "bob" not in lab.prompt(case_id)
    assert lab.originals(case_id, 3)[0]["kind"] == "Event"
    with pytest.raises(InputError, match="no case or session 'zzz'"):
        lab.case("zzz")


def test_evaluate_against_an_incident_file(lab: Lab, tmp_path: Path) -> None:
    lab.run(detectors=["rules", many_secrets])
    incidents = tmp_path / "incidents.jsonl"
    incidents.write_text('{"incident_id": "i-1", "title": "secrets read", "malicious": true, "technique_ids": [], "users": ["bob@example.org"], '
                         '"source_ips": ["203.0.113.9"], "start": "2026-01-01T10:29:00Z", "end": "2026-01-01T10:31:00Z"}\n')
    result = lab.evaluate(incidents).as_dict()
    assert (result["incidents"]["n"], result["sessions"]["malicious"]) == (1, 1)
    assert lab.metrics.collect().height > 0


def test_where_summaries_are_many_a_static_model_is_kept_in_the_lab(tmp_path: Path, sample: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra 'embed'")
    profile = load_profile("sample", {})
    many = profile.model_copy(update={"signals": profile.signals.model_copy(update={"static_above": 40})})
    lab = Lab(tmp_path / "lab", many)
    lab.ingest(sample)
    lab.run(until="signals")
    kept = lab.store.remembered("static_model")
    assert (lab.store.root / "models" / f"{kept['digest']}.npz").is_file()
    assert lab.signals.filter(pl.col("detector_id") == "far-summary").collect().height > 0
    # Nearest sessions come from the static model's vectors, all of one sort; labels of earlier time beside them.
    found = lab.sessions.sort("start").collect()
    first, last = found["session_id"][0], found["session_id"][-1]
    assert lab.nearest(first).is_empty()
    lab.label(sample / "labels.jsonl")
    near = lab.nearest(last, 3).join(found.select("session_id", "end"), on="session_id")
    assert near["sort"].to_list() == ["earlier"] * 3 + ["labelled"] * 3
    assert near.filter(pl.col("sort") == "labelled")["verdict"].is_not_null().all()
    assert (near["end"] < found["start"][-1]).all() and near["distance"].is_between(0, 2).all()
    before = lab.store.digest("signals")
    lab.run(until="signals", force=True)
    assert lab.store.digest("signals") == before
    assert lab.store.remembered("static_model") == kept
    assert set(lab.store.read("embeddings")["model"]) == {"all-MiniLM-L6-v2 bfloat16"}


def test_a_kept_static_model_is_used_again_and_never_when_it_is_not_the_one_that_was_kept(
    tmp_path: Path, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sentence_transformers", reason="needs the extra 'embed'")
    profile = load_profile("sample", {})
    lab = Lab(tmp_path / "lab", profile.model_copy(update={"signals": profile.signals.model_copy(update={"static_above": 40})}))
    lab.ingest(sample)
    whole = lab.store.read("events")
    # The first run knows two thirds; what comes later is embedded by the same static model.
    with lab.store.writing():
        lab.store.replace("events", whole.filter(pl.col("time") < pl.col("time").quantile(0.67)), "cut")
    lab.run(until="signals")
    file = lab.store.root / "models" / f"{lab.store.remembered('static_model')['digest']}.npz"

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("distilled again")

    monkeypatch.setattr("audit_lab.signals.bulk.distil_static", refuse)
    with lab.store.writing():
        lab.store.replace("events", whole, "whole")
    lab.run(until="signals")
    with np.load(file) as stored:
        parts = dict(stored)
    np.savez(file, **(parts | {"vectors": parts["vectors"][::-1]}))
    with pytest.raises(InputError, match=r"static model '.*' has digest .*… \(hint: delete it: it is distilled anew\)"):
        lab.run(until="signals", force=True)
    monkeypatch.undo()
    file.unlink()
    lab.run(until="signals", force=True)
    # Taught anew on all that is known by now.
    assert (lab.store.root / "models" / f"{lab.store.remembered('static_model')['digest']}.npz").is_file()


def test_a_single_outlier_detector_can_be_named_and_asks_for_no_embeddings_it_does_not_need(lab: Lab) -> None:
    lab.run(detectors=["isolation", "new-deed"])
    assert set(lab.signals.collect()["detector_id"]) <= {"isolation", "new-deed"}
    assert lab.store.rows("embeddings") == 0
