"""Drift of a lab: what changed is told with its week, in words, as JSON and as a table; what cannot be compared says why."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from audit_lab import InputError, Lab, govern
from audit_lab.cli import app
from audit_lab.cli_drift import chance_of_alarm
from audit_lab.drifting import drift_alarms, judged_cases, session_vectors
from audit_lab.evaluate import error_changes
from audit_lab.profile import Profile
from audit_lab.review import append_labels, new_label
from audit_lab.signals import StaticModel, save_static

from .archive.conftest import lines, record

MONDAY = datetime(2026, 10, 5, 9, tzinfo=UTC)
CHANGED = 37  # a Wednesday: from then on half of the people use k9s, and every record has a key more
DAYS = 49


def two_months(folder: Path) -> Path:
    """Eight people; each has a session on every weekday and some at weekends; one file a day."""
    archive = folder / "archives"
    archive.mkdir()
    generator = np.random.default_rng(7)
    for day in range(DAYS):
        events = []
        for person in range(8):
            if day % 7 >= 5 and generator.random() < 0.6:
                continue
            start = MONDAY + timedelta(days=day, minutes=int(generator.integers(0, 400)))
            late = day >= CHANGED
            for number in range(3):
                stamp = (start + timedelta(seconds=number * 20)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
                events.append(record(
                    f"{day}-{person}-{number}", requestReceivedTimestamp=stamp, stageTimestamp=stamp, sourceIPs=[f"10.0.0.{person}"],
                    user={"username": f"person-{person}@example.org", "groups": ["developers"]},
                    userAgent="k9s/v0.50.9" if late and person < 4 else "kubectl/v1.33.1 (linux/amd64) kubernetes/abc",
                    **({"providerTrace": "x"} if late else {}),
                ))
        events.sort(key=lambda event: event["stageTimestamp"])
        (archive / f"audit-{day:02d}.log").write_bytes(lines(*events))
    return archive


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    home = tmp_path_factory.mktemp("drift")
    lab = Lab(home / "lab")
    lab.ingest(two_months(home))
    lab.run(detectors=["rules"])
    return lab


def test_what_was_planted_is_told_with_its_day(changed: Lab) -> None:
    table = changed.drift()
    assert changed.store.read("drifts").equals(table)
    alarms = drift_alarms(table)
    told = {(row["feature"], row["value"]): row for row in alarms.iter_rows(named=True)}
    planted = datetime(2026, 11, 11, tzinfo=UTC)
    for feature, value in (("new key", "providerTrace"), ("new client version", "k9s/v0.50.9"), ("client family", "")):
        assert told[feature, value]["since"] == planted, feature
        assert told[feature, value]["first_period"] == datetime(2026, 11, 9, tzinfo=UTC)
        assert told[feature, value]["is_on"]
    assert not {feature for feature, _ in told} & {"actor kind", "identity", "new verb"}
    assert table.filter("alarm")["period"].min() == datetime(2026, 11, 9, tzinfo=UTC)


def test_what_cannot_be_compared_says_why(changed: Lab) -> None:
    why = dict(changed.drift().filter(pl.col("reason").is_not_null()).select("family", "reason").unique().iter_rows())
    assert why["embeddings"].startswith("no session embeddings: the extra 'embed' was not installed")
    assert why["labels"] == "no labels yet: audit-lab label FILE"


def test_the_word_prints_what_changed_and_checks_it(changed: Lab) -> None:
    where = ["--lab", str(changed.store.root)]
    shown = CliRunner().invoke(app, ["drift", *where], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "3 weeks from 2026-11-02 on compared with the time before" in shown.output
    assert "providerTrace" in shown.output and "k9s" in shown.output and "2026-11-11" in shown.output
    assert "not compared: labels (no labels yet: audit-lab label FILE)" in shown.output
    assert CliRunner().invoke(app, ["drift", *where, "--check"]).exit_code == 1
    found = json.loads(CliRunner().invoke(app, ["drift", *where, "--json"]).output)
    assert {row["feature"] for row in found["alarms"]} >= {"new key", "client family"}
    assert len(found["drift"]) == changed.store.rows("drifts")


def test_a_wrong_date_or_period_is_one_line(changed: Lab) -> None:
    result = CliRunner().invoke(app, ["drift", "--lab", str(changed.store.root), "--since", "yesterday"])
    assert isinstance(result.exception, InputError) and str(result.exception) == "no date 'yesterday' (hint: write it as 2026-11-02)"
    with pytest.raises(InputError, match="no drift by 'month'"):
        changed.drift("month")
    with pytest.raises(InputError, match="no data before 2026-01-01"):
        changed.drift(since=date(2026, 1, 1))


def test_days_can_be_compared_too(changed: Lab) -> None:
    table = changed.drift("day")
    assert table["by"].unique().to_list() == ["day"] and table["period"].n_unique() == DAYS - 14


def test_one_day_is_nothing_to_compare(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    path = tmp_path / "audit.log"
    path.write_bytes(lines(record("a-1"), record("a-2")))
    lab.ingest(path)
    lab.run(detectors=["rules"])
    table = lab.drift()
    assert set(table["reason"]) == {"all data lie within one day: two are needed to compare"}
    assert drift_alarms(table).is_empty()


def test_a_persons_word_stands_beside_the_verdict(changed: Lab) -> None:
    cases = changed.candidates.sort("rank").collect()
    store = changed.store
    kept = store.read("labels")
    said = [("case", cases["case_id"][0], "malicious", None), ("session", cases["session_ids"][1][0], "benign", None),
            ("case", cases["case_id"][2], "unsure", cases["session_ids"][2][0])]
    labels = pl.concat([
        new_label(kind, target, verdict, "jo", MONDAY, session_id=session or (cases["session_ids"][0][0] if kind == "case" else None))
        for kind, target, verdict, session in said
    ])
    with store.writing():
        store.replace("labels", append_labels(kept, labels))
    found = dict(judged_cases(store, Profile().evaluate).select("case_id", "malicious").iter_rows())
    assert [found[cases["case_id"][place]] for place in range(3)] == [True, False, None]
    with store.writing():
        store.replace("labels", kept)


def test_vectors_of_only_some_sessions_are_no_centroid(changed: Lab) -> None:
    sessions = changed.sessions.collect()
    some = sessions.select("summary_digest").unique().sort("summary_digest").head(1)
    rows = some.with_columns(model=pl.lit("all-MiniLM-L6-v2"), vector=pl.lit([1.0, 0.0], pl.List(pl.Float32)))
    store = changed.store
    with store.writing():
        store.replace("embeddings", rows)
    vectors, why = session_vectors(store, changed.profile, sessions)
    assert vectors is None and why is not None and why.endswith("of sessions have a vector: run the signals again")
    with store.writing():
        store.replace("embeddings", rows.clear())


def test_where_a_static_model_did_the_bulk_it_embeds_all(changed: Lab) -> None:
    """The exact vectors of a few sessions beside quick ones of the others would look like a shift."""
    pytest.importorskip("sentence_transformers", reason="needs the extra 'embed'")
    sessions, store = changed.sessions.collect(), changed.store
    words = tuple(sorted({word for text in sessions["summary"] for word in text.split()}))
    static = StaticModel("teacher", words, np.zeros((0, 2), dtype=np.int64), np.random.default_rng(1).normal(size=(len(words), 8)).astype(np.float32))
    (store.root / "models").mkdir()
    save_static(static, store.root / "models" / f"{static.digest}.npz")
    with store.writing():
        store.remember("static_model", {"digest": static.digest, "lesson": ""})
    signals = changed.profile.signals.model_copy(update={"static_above": 0})
    vectors, why = session_vectors(store, changed.profile.model_copy(update={"signals": signals}), sessions)
    assert why is None and vectors is not None
    assert vectors.shape == (sessions.height, 8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_a_report_keeps_what_was_asked_and_follows_the_profile(changed: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(govern, "write_report", lambda data, path: seen.append(data) or path)
    asked = changed.drift("week", date(2026, 11, 9))
    changed.report(tmp_path)
    assert changed.store.read("drifts").equals(asked), "the table that somebody asked for stays"
    assert seen[0].drifts["period"].min() < asked["period"].min()
    settings = changed.profile.drift.model_copy(update={"since": date(2026, 11, 9)})
    mine = Lab(changed.store.root, changed.profile.model_copy(update={"drift": settings}))
    mine.report(tmp_path)
    assert seen[1].drifts.equals(asked)
    assert mine.drift().equals(asked)
    changed.report(tmp_path)
    assert changed.store.read("drifts").equals(seen[2].drifts), "what nobody asked for in other words is kept as the report shows it"


def test_settings_of_change_points_are_the_profiles(changed: Lab) -> None:
    judged = judged_cases(changed.store, Profile().evaluate).with_columns(malicious=pl.Series([n % 9 == 0 for n in range(184)]))
    strict = error_changes(judged, settings=Profile().drift.model_copy(update={"change_segment": 100}))
    assert "200 needed" in strict["reason"][0]
    assert "needed" not in str(error_changes(judged)["reason"][0])


def test_the_word_says_how_often_chance_alone_alarms(changed: Lab) -> None:
    shown = CliRunner().invoke(app, ["drift", "--lab", str(changed.store.root)], env={"COLUMNS": "200"}).output
    assert "chance alone: at most 5.0% of weeks alarm, 14.3% of stretches of 3 weeks" in shown
    apart = Profile().drift.model_copy(update={"days_together": False})
    assert "at most 0.1% of days alarm, 5.0% of stretches of 42 days" in chance_of_alarm("day", 42, Profile().drift)
    assert "at most 5.0% of days alarm, 88.4% of stretches of 42 days" in chance_of_alarm("day", 42, apart)
