"""The words of the command line, run as a user runs them; every mistake is one line and exit code 2."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .archive.conftest import lines, record

PROGRAM = [sys.executable, "-m", "audit_lab"]


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run([*PROGRAM, *map(str, words)], capture_output=True, text=True, env=env, check=False)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Path:
    """A lab with the sample, run to the end."""
    folder = tmp_path_factory.mktemp("cli") / "lab"
    assert run("ingest", sample, "--lab", folder, "--cluster", "sample").returncode == 0
    done = run("run", "--lab", folder, "--profile", "sample")
    assert done.returncode == 0, done.stderr
    return folder


def test_ledger_balances_and_json_is_json(lab: Path) -> None:
    shown = run("ledger", "--lab", lab)
    assert (shown.returncode, "balanced" in shown.stdout, "DOES NOT" in shown.stdout) == (0, True, False)
    rows = json.loads(run("ledger", "--lab", lab, "--json").stdout)
    assert sum(row["n_records"] for row in rows) == 64_368
    assert all(row["balanced"] for row in rows)


def test_reading_again_and_running_again_change_nothing(lab: Path, sample: Path) -> None:
    before = (lab / "manifest.json").read_text()
    assert run("ingest", sample, "--lab", lab, "--cluster", "sample").returncode == 0
    again = run("run", "--lab", lab, "--profile", "sample")
    assert "nothing to do" in again.stdout
    assert (lab / "manifest.json").read_text() == before


def test_evaluate_prints_the_object_that_tools_rely_on(lab: Path, sample: Path) -> None:
    result = json.loads(run("evaluate", "--incidents", sample / "labels.jsonl", "--lab", lab, "--profile", "sample", "--json").stdout)
    assert {"threshold", "sessions", "average_precision", "incidents", "benign_suspicious", "by_detector", "curve"} <= set(result)
    assert {"n", "malicious", "flagged", "tp", "fp", "fn", "tn", "recall", "fpr", "precision"} <= set(result["sessions"])
    assert set(result["sessions"]["fpr"]) >= {"value", "low", "high", "n"}
    assert {"rules", "outliers", "judge", "all"} <= set(result["by_detector"])
    counts = result["sessions"]
    assert counts["tp"] + counts["fn"] == counts["malicious"]
    assert counts["tp"] + counts["fp"] + counts["fn"] + counts["tn"] == counts["n"]
    assert result["incidents"]["n"] == 14
    assert result["incidents"]["found"] + len(result["incidents"]["missed"]) == 14
    # The demo must do its job: most incidents found while most harmless sessions are left alone.
    assert result["incidents"]["found"] >= 11
    assert result["sessions"]["fpr"]["value"] < 0.15


def test_sql_show_blind_and_volume(lab: Path) -> None:
    counted = json.loads(run("sql", "SELECT count(*) AS n FROM events", "--lab", lab, "--format", "json").stdout)
    assert counted == [{"n": 60226}]
    case = json.loads(run("sql", "SELECT case_id FROM candidates ORDER BY rank LIMIT 1", "--lab", lab, "--format", "json").stdout)[0]["case_id"]
    shown = run("show", case, "--lab", lab)
    assert shown.returncode == 0
    assert "judge baseline" in shown.stdout
    assert re.search(r"≈ s-\w+ reads like s-\w+ \(another user, distance 0\.\d+\)", shown.stdout)
    prompt = run("show", case, "--lab", lab, "--prompt")
    assert prompt.returncode == 0
    assert "corp.example" not in prompt.stdout
    originals = run("show", case, "--lab", lab, "--original")
    assert '"auditID"' in originals.stdout
    assert "CANARY" not in originals.stdout
    assert "without their body" in run("blind", "--lab", lab).stdout
    assert run("volume", "--lab", lab).returncode == 0


def test_report_and_label(lab: Path, sample: Path, tmp_path: Path) -> None:
    assert "malicious" in run("label", sample / "labels.jsonl", "--lab", lab, "--profile", "sample").stdout
    made = run("report", "--lab", lab, "--profile", "sample", "--out", tmp_path, "--period", "2026-11")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "audit-lab-2026-11.html").stat().st_size > 50_000


def test_a_run_that_failed_does_not_become_the_settings_of_the_lab(lab: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text('[signals]\nrules = ["no-such-folder/"]\n')
    failed = run("run", "--lab", lab, "--profile", tmp_path / "wrong.toml")
    assert (failed.returncode, "no folder of rules" in failed.stderr) == (2, True)
    again = run("run", "--lab", lab)
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in run("run", "--lab", lab, "--profile", "sample").stdout


def test_profile_check_reads_the_rules_and_exceptions_that_a_profile_names(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[signals]\nexceptions = ["mine-exceptions.toml"]\n')
    (tmp_path / "mine-exceptions.toml").write_text(
        '[[exception]]\nid = "x"\nusers = ["jane"]\nowner = "us"\nreason = ""\nexpires = 2027-01-31\n')
    env = {**os.environ, "COLUMNS": "200"}
    for words, text in ((["mine.toml"], "'x' has no reason"), (["rules.toml"], "no folder of rules 'none'")):
        (tmp_path / "rules.toml").write_text('[signals]\nrules = ["none/"]\n')
        done = subprocess.run([*PROGRAM, "profile", "check", *words], capture_output=True, text=True, env=env, check=False, cwd=tmp_path)
        assert (done.returncode, text in done.stderr) == (2, True), done.stderr
    (tmp_path / "mine-exceptions.toml").write_text(
        '[[exception]]\nid = "x"\nusers = ["jane"]\nowner = "us"\nreason = "ours"\nexpires = 2026-01-31\n')
    done = subprocess.run([*PROGRAM, "profile", "check", "mine.toml"], capture_output=True, text=True, env=env, check=False, cwd=tmp_path)
    assert (done.returncode, "hide nothing: 'x' (2026-01-31, us)" in done.stdout) == (0, True), done.stdout


def test_a_word_waits_for_no_library_that_it_does_not_use() -> None:
    """Each of these takes half a second or more to import; every word, and `from audit_lab import Lab`, would wait for it."""
    heavy = ("scipy.stats", "scipy.linalg", "sklearn", "altair", "pandas", "torch", "sentence_transformers", "openai", "anywidget")
    code = f"import sys, audit_lab.cli; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sql_can_neither_read_elsewhere_nor_write(lab: Path, tmp_path: Path) -> None:
    for query in (
        "SELECT * FROM read_text('/etc/hostname')", f"COPY events TO '{tmp_path}/x.parquet'", "ATTACH '/tmp/x.db'", "INSTALL httpfs",
        "SET enable_external_access = true",
    ):
        tried = run("sql", query, "--lab", lab)
        assert (tried.returncode, tried.stderr.count("\n")) == (2, 1), query
    assert not list(tmp_path.iterdir())


def _archive(folder: Path, kind: str) -> Path:
    good = lines(record(), record("id-2"))
    content = {
        "empty": b"", "binary": bytes(range(256)) * 40, "zip": b"PK\x03\x04rest",
    }
    path = folder / f"{kind}.log"
    path.write_bytes(content.get(kind, good))
    return path


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("ingest", "nowhere.log"), "no file or folder 'nowhere.log'"),
        (("ingest", "*.nothing"), "no file fits"),
        (("ingest", "{empty}"), "is empty"),
        (("ingest", "{binary}"), "is binary"),
        (("ingest", "{zip}"), "is a zip file"),
        (("ingest", "{folder}"), "no audit archive in folder"),
        (("run",), "holds no events"),
        (("run", "--profile", "nope"), "no profile 'nope'"),
        (("run", "--until", "dinner"), "no stage 'dinner'"),
        (("evaluate", "--incidents", "nowhere.jsonl"), "nowhere.jsonl"),
        (("report",), "no verdicts yet"),
        (("sql", "SELECT nothing FROM nowhere"), "SQL:"),
        (("show", "c-1"), "no case or session 'c-1'"),
        (("demo", "--data", "nowhere"), "no sample in 'nowhere'"),
        (("profile", "check", "nowhere.toml"), "no profile"),
        (("judge", "--judge", "oracle"), "no judge 'oracle'"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint_and_exit_2(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    (tmp_path / "folder").mkdir()
    places = {kind: _archive(tmp_path, kind) for kind in ("empty", "binary", "zip")} | {"folder": tmp_path / "folder"}
    filled = [str(word).format(**places) for word in words]
    lab = () if words[0] == "profile" else ("--lab", str(tmp_path / "lab"))
    tried = run(*filled, *lab)
    assert tried.returncode == 2, tried.stdout + tried.stderr
    said = [line for line in tried.stderr.splitlines() if "error:" in line or "refused:" in line]
    assert len(said) == 1
    assert says in said[0]
    assert "hint:" in said[0]
    assert "Traceback" not in tried.stderr


def test_a_cut_gzip_keeps_what_came_before_and_says_so(tmp_path: Path) -> None:
    import random

    rng = random.Random(3)
    whole = lines(*(record(f"id-{n}", requestURI=f"/api/{rng.getrandbits(64)}") for n in range(3000)))
    path = tmp_path / "audit.log.gz"
    path.write_bytes(gzip.compress(whole)[:-3000])
    done = run("ingest", path, "--lab", tmp_path / "lab")
    assert done.returncode == 0, done.stderr
    row = json.loads(run("ledger", "--lab", tmp_path / "lab", "--json").stdout)[0]
    assert row["damage"] == "gzip ends early"
    assert row["balanced"] is True
    assert 1000 < row["n_events"] < 3000


def test_a_line_of_garbage_goes_to_quarantine(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(lines(record(), b"garbage password=hunter2", record("id-2")))
    done = run("ingest", path, "--lab", tmp_path / "lab")
    assert done.returncode == 0
    assert "2 events from 1 archive in lab" in done.stdout
    assert "1 record not understood" in done.stdout
    shown = run("sql", "SELECT * FROM quarantine", "--lab", tmp_path / "lab", "--format", "csv")
    assert "not JSON" in shown.stdout
    assert "hunter2" not in shown.stdout


def test_control_characters_of_an_archive_never_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(lines(record(userAgent="\x1b[2J\x1b]0;owned\x07 \u202e evil", user={"username": "eve\x1b[31m"})))
    run("ingest", path, "--lab", tmp_path / "lab")
    shown = run("sql", "SELECT user_agent, actor FROM events", "--lab", tmp_path / "lab").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\u001b" in shown


def test_a_notebook_may_hold_the_lab_while_it_runs(lab: Path) -> None:
    from audit_lab import Lab

    open_lab = Lab(lab, "sample")
    held = open_lab.sessions
    assert run("run", "--lab", lab, "--profile", "sample", "--force").returncode == 0
    assert held.collect().height > 100


def test_help_names_every_word() -> None:
    shown = run("--help").stdout
    for word in ("demo", "ingest", "run", "ledger", "blind", "volume", "sql", "show", "judge", "label", "evaluate", "report", "profile", "rules"):
        assert word in shown


def test_the_help_page_shows_every_word_in_the_order_of_the_flow() -> None:
    from audit_lab.cli import PANELS, app

    words = [word for panel in PANELS.values() for word in panel]
    named = [info.name or info.callback.__name__ for info in (*app.registered_commands, *app.registered_groups)]
    assert sorted(words) == sorted(named)
    page = run("--help").stdout
    places = [page.index(f"\u2502 {word} ") for word in words]
    assert places == sorted(places) and all(panel in page for panel in PANELS)


def test_exporting_questions_asks_nobody(lab: Path, tmp_path: Path) -> None:
    work = tmp_path / "lab"
    shutil.copytree(lab, work)
    profile = tmp_path / "dead.toml"
    profile.write_text('base = "sample"\n[judge]\njudge = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n')
    done = run("judge", "--lab", work, "--profile", profile, "--export-prompts", tmp_path / "questions.jsonl")
    assert done.returncode == 0, done.stderr
    questions = [json.loads(line) for line in (tmp_path / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(questions) > 30 and set(questions[0]) == {"prompt_sha256", "messages", "schema"}
    # A question is the same whether the stored evidence is shown or made anew for the file.
    case = json.loads(run("sql", "SELECT case_id FROM candidates ORDER BY rank LIMIT 1", "--lab", lab, "--format", "json").stdout)[0]["case_id"]
    asked = run("show", case, "--prompt", "--lab", lab).stdout
    assert any(question["messages"][-1]["content"][:400] in asked for question in questions)


def test_what_is_counted_is_in_the_singular_for_one() -> None:
    """Numbers with what they count come from `counted`: '1 cases' cannot be written."""
    counts = re.compile(r"\}(?: [a-z-]+)? (?:" + "|".join((
        "actors", "alarms", "answers", "archives", "cases", "days", "duplicates", "events", "features", "files", "findings", "incidents", "labels",
        "periods", "proposals", "questions", "records", "rows", "rules", "sessions", "stages", "times")) + r")\b")
    package = Path(__file__).parent.parent / "audit_lab"
    printed = [*package.glob("cli*.py"), package / "printing.py", package / "proposing.py", package / "limits.py", package / "signals" / "tuning.py"]
    wrong = [f"{path.name}: {found[0]}" for path in printed for found in counts.finditer(path.read_text(encoding="utf-8"))]
    assert wrong == []
