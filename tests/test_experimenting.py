"""Grids over a lab: only what changed is computed again, the lab stays as it was, runs are kept and logged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audit_lab import InputError, Lab, MissingExtraError, tracking, vectors
from audit_lab.profile_files import load_profile

from .small_lab import small_archive


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A small lab without embeddings, with one incident: bob's twelve secrets."""

    def without_extra(*_: object) -> None:
        raise MissingExtraError.for_extra("embeddings", "embed")

    monkeypatch.setattr(vectors, "embed_sessions", without_extra)
    made = Lab(tmp_path / "lab", load_profile())
    made.ingest(small_archive(tmp_path))
    made.run()
    incident = {"incident_id": "i-1", "title": "secrets", "malicious": True, "audit_ids": [f"b-{n}" for n in range(12)]}
    (tmp_path / "incidents.jsonl").write_text(json.dumps(incident) + "\n")
    made.label(tmp_path / "incidents.jsonl")
    return made


def test_a_run_does_again_only_what_its_settings_change(lab: Lab) -> None:
    before = {name: lab.store.digest(name) for name in ("sessions", "signals", "candidates", "verdicts", "labels")}
    runs = lab.experiment({"name": "fusion", "signals.repeat": [0.6, 0.1], "evaluate.threshold": [0.5, 0.9]})
    kept = lab.experiments.collect()
    assert runs["run_id"].to_list() == kept["run_id"].to_list()
    assert kept["stages"].to_list() == [[], ["verdicts"], ["candidates", "verdicts"], ["verdicts"]]
    assert kept["first_stage"].to_list() == ["none", "verdicts", "candidates", "verdicts"]
    assert {name: lab.store.digest(name) for name in before} == before
    first = json.loads(kept["metrics"][0])
    assert first["incident recall"] == lab.evaluate().as_dict()["incidents"]["recall"]["value"]


def test_runs_stay_comparable_after_later_evaluations(lab: Lab) -> None:
    lab.experiment({"evaluate.threshold": [0.5, 0.9]})
    lab.evaluate()
    joined = lab.sql("SELECT run_id, value FROM experiments JOIN metrics USING (evaluation_id) WHERE scorer = 'all' AND unit = 'incident' AND measure = 'recall'")
    assert joined["run_id"].n_unique() == 2
    lab.experiment({"evaluate.threshold": [0.5, 0.9]})
    assert lab.experiments.collect().height == 2  # the same runs again are the same rows


def test_other_windows_label_other_sessions(lab: Lab) -> None:
    runs = lab.experiment({"sessions.mode": ["gap", "window"], "sessions.window_s": [5.0]})
    assert lab.experiments.collect()["stages"].to_list()[1] == ["sessions", "signals", "candidates", "verdicts"]
    assert runs["all incident recall"].null_count() == 0


def test_a_lab_without_labels_or_a_missing_package_is_one_line(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Lab(tmp_path / "other", load_profile())
    bare.ingest(small_archive(tmp_path))
    with pytest.raises(InputError, match="no incidents to compare with"):
        bare.experiment({"evaluate.threshold": [0.5]})
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda _: None)
    lab.profile = lab.profile.model_copy(update={"experiments": lab.profile.experiments.model_copy(update={"mlflow": "sqlite:///x.db"})})
    with pytest.raises(MissingExtraError, match=r"audit-lab\[mlflow\]"):
        lab.experiment({"evaluate.threshold": [0.5]})
    assert lab.experiments.collect().is_empty()


def test_runs_are_logged_to_mlflow_once(lab: Lab, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow.tracking")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    lab.profile = lab.profile.model_copy(update={"experiments": lab.profile.experiments.model_copy(update={"mlflow": uri})})
    for _ in range(2):
        lab.experiment({"name": "lines", "evaluate.threshold": [0.5, 0.9]})
    client = mlflow.MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("lines").experiment_id])
    assert sorted(run.data.params["evaluate.threshold"] for run in found) == ["0.5", "0.9"]
    kept = {row["run_id"]: row for row in lab.experiments.collect().iter_rows(named=True)}
    for run in found:
        row = kept[run.data.tags["audit_lab.run_id"]]
        assert run.data.tags["audit_lab.profile_digest"] == row["profile_digest"]
        assert run.data.metrics["all incident recall"] == json.loads(row["metrics"])["incident recall"]


def test_a_tracking_uri_that_cannot_be_used_is_one_line(lab: Lab) -> None:
    pytest.importorskip("mlflow.tracking")
    lab.profile = lab.profile.model_copy(update={"experiments": lab.profile.experiments.model_copy(update={"mlflow": "nonsense://x"})})
    with pytest.raises(InputError, match="MLflow at 'nonsense://x' refuses"):
        lab.experiment({"evaluate.threshold": [0.5]})
