"""Words of the command line that tell a user what to do next: unusable rules, unchecked proposals, a failed judge, unknown cases, hidden events."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

from audit_lab import AuditLabError, InputError, Lab, MissingExtraError, cli_rules, cli_show, vectors
from audit_lab.cli import app
from audit_lab.errors import JudgeError
from audit_lab.review import new_label, utc_now

from .archive.conftest import lines, record

# A search that no backend can make: the rule is kept, and cannot be used.
BROKEN = "title: Broken\nname: broken\nlogsource: {product: kubernetes}\ndetection: {s: {verb: get}, condition: nothing}\n"


def say(work: Lab, *words: str | Path, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*map(str, words), "--lab", str(work.store.root)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that receives what the words say beside their output."""
    path = tmp_path / "stderr.txt"
    for module in (cli_rules, cli_show):
        monkeypatch.setattr(module, "err", Console(file=path.open("a", buffering=1), width=400))
    return path


@pytest.fixture(autouse=True)
def without_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise MissingExtraError.for_extra("embeddings", "embed")

    monkeypatch.setattr(vectors, "embed_sessions", missing)


def test_unusable_rules_are_a_problem_unless_one_says_otherwise(
    lab: Lab, tmp_path: Path, stderr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "broken.yml").write_text(BROKEN)
    (tmp_path / "mine.toml").write_text(f'[signals]\nrules = ["{tmp_path}/rules"]\n')
    mine = ("rules", "check", "--profile", tmp_path / "mine.toml")
    checked = Lab(lab.store.root, tmp_path / "mine.toml").check_rules()
    monkeypatch.setattr(Lab, "check_rules", lambda _: checked)
    assert "unusable: broken" in say(lab, *mine, code=1)
    assert re.search(r"error: 1 rule of \d+ cannot be used \(hint: .*--allow-unusable", stderr.read_text())
    assert {row["status"] for row in json.loads(say(lab, *mine, "--json", code=1))} >= {"unusable"}
    said = stderr.read_text()
    assert "unusable: broken" in say(lab, *mine, "--allow-unusable")
    checked = checked.filter(pl.col("status") != "unusable")
    say(lab, *mine)
    assert stderr.read_text() == said


def test_tune_says_when_nothing_could_be_checked(lab: Lab, stderr: Path) -> None:
    tune = ("rules", "tune", "--until", "2026-01-01T12:00:00", "--min-sessions", "1")
    say(lab, *tune)
    note, = stderr.read_text().splitlines()
    for text in ("there are no labels of earlier time", "nothing could be checked against labelled incidents", "audit-lab label FILE"):
        assert text in note
    bob, = lab.sessions.filter(pl.col("actor") == "bob@example.org").collect()["session_id"]
    lab.add_labels(new_label("session", bob, "benign", "kim", utc_now(), reason="planned"))
    say(lab, *tune)
    assert "no label of earlier time says malicious" in stderr.read_text().splitlines()[-1]
    _, notes = lab.propose_release("kim")
    assert any(note.startswith("exceptions: there are no labels of earlier time") for note in notes)
    lab.add_labels(new_label("session", bob, "malicious", "lee", utc_now(), reason="token stolen"))
    n = len(stderr.read_text().splitlines())
    say(lab, *tune)
    assert len(stderr.read_text().splitlines()) == n


def test_a_failed_judge_names_the_profile_where_the_next_run_would_not_know_it(lab: Lab, tmp_path: Path) -> None:
    profile = tmp_path / "my model.toml"
    profile.write_text('[judge]\njudge = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\nretries = 0\n')
    for words in (("run",), ("judge",)):
        with pytest.raises(JudgeError, match=re.escape(f"run again with --profile '{profile}'")):
            say(lab, *words, "--profile", profile)
    with pytest.raises(JudgeError) as caught:
        say(lab, "judge", "--judge", "openai")
    assert "give it as --profile FILE" in caught.value.hint
    lab.store.remember("profile", Lab(tmp_path / "other", profile).profile.model_dump(mode="json"))
    with pytest.raises(JudgeError) as caught:
        say(lab, "run", "--profile", profile)
    assert "--profile" not in str(caught.value)


def test_the_queue_puts_a_case_first_and_knows_which_there_are(lab: Lab) -> None:
    with pytest.raises(InputError, match="no case 'c-zzz'") as caught:
        say(lab, "review", "--list", "--case", "c-zzz")
    assert "cases are, for example: c-" in caught.value.hint
    queue = lab.review_queue(everything=True)["case_id"].to_list()
    rows = json.loads(say(lab, "review", "--list", "--all", "--json", "--case", queue[-1]))
    assert [(row["place"], row["case_id"]) for row in rows] == list(enumerate([queue[-1], *queue[:-1]], start=1))


@pytest.mark.parametrize(("words", "wanted"), [
    ((), "give exactly one of --max-fpr, --min-recall"), (("--max-fpr", "0.1", "--min-recall", "0.9"), "give exactly one of --max-fpr"),
    (("--max-usd-per-day", "5"), "--review-minute-usd and --missed-incident-usd"),
])
def test_hints_of_calibrate_name_options(lab: Lab, words: tuple[str, ...], wanted: str) -> None:
    with pytest.raises(AuditLabError) as caught:
        say(lab, "calibrate", *words)
    assert wanted in caught.value.hint
    assert "_" not in str(caught.value)


def test_what_matters_of_a_case_is_shown_however_many_events_it_has(tmp_path: Path) -> None:
    """One session: ninety harmless calls, then one that a rule matches."""
    events = []
    for n in range(91):
        stamp = f"2026-01-01T10:{n // 60:02d}:{n % 60:02d}.000000Z"
        grave = {"verb": "create", "requestURI": "/api/v1/namespaces/shop/pods/web/exec?command=sh",
                 "objectRef": {"resource": "pods", "namespace": "shop", "name": "web", "subresource": "exec", "apiVersion": "v1"}}
        events.append(record(f"a-{n:02d}", requestReceivedTimestamp=stamp, stageTimestamp=stamp, **(grave if n == 90 else {})))
    (tmp_path / "audit.log").write_bytes(lines(*events))
    work = Lab(tmp_path / "lab")
    work.ingest(tmp_path / "audit.log")
    work.run(detectors=["rules"])
    hit, = set(work.signals.collect()["event_ids"].explode().to_list())
    session, = work.sessions.collect()["session_id"]
    shown = say(work, "show", session)
    assert re.search(rf"[●○] 10:01:30 .*{hit[:13]}", shown)
    assert "… and 41 more events: --all shows every one" in shown
    assert len(re.findall(r"^. 10:0", say(work, "show", session, "--all"), re.MULTILINE)) == 91


def test_labels_are_counted_in_the_singular(lab: Lab, tmp_path: Path) -> None:
    case = lab.review_queue(everything=True)["case_id"][0]
    (tmp_path / "said.csv").write_text(f"target_id,verdict,author,at,reason\n{case},benign,kim,2026-02-01T09:00:00Z,planned\n")
    assert say(lab, "label", tmp_path / "said.csv").startswith("1 case benign")
