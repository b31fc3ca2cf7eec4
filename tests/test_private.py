"""What holds the archives' content is made for its owner alone, whatever the umask; a shared folder is shared with its group only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit_lab import Lab
from audit_lab.cli import app
from audit_lab.govern import report as reports
from audit_lab.judge.cache import LineFile
from audit_lab.printing import write
from audit_lab.private import private_file, private_folder

from .small_lab import small_archive


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """The worst umask there is: every file would be everybody's."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}


def test_lab_prompts_findings_and_report_are_their_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    made.mkdir(0o755)
    work = Lab(made / "deep" / "lab")
    work.ingest(small_archive(tmp_path))
    work.run(detectors=["rules"])
    work.export_prompts(made / "prompts.jsonl")
    work.export_findings("tickets-json", made / "tickets")
    work.export_findings("ocsf", made / "findings.jsonl")
    for to in ("events.csv", "events.parquet"):
        CliRunner().invoke(app, [
            "sql", "SELECT * FROM events", "--lab", str(work.store.root), "--format", to.split(".")[1], "--out", str(made / to)], catch_exceptions=False)
    monkeypatch.setattr(reports, "render_report", lambda _: "<html></html>")
    reports.write_report(None, made / "reports" / "r.html")  # type: ignore[arg-type]
    found = modes(made)
    del found["."]
    assert {"deep", "deep/lab", "deep/lab/manifest.json", "deep/lab/.lock", "prompts.jsonl",
            "tickets/tickets.json", "findings.jsonl", "events.csv", "events.parquet",
            "reports/r.html"} <= set(found)
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


def test_answers_of_models_are_their_owners(tmp_path: Path) -> None:
    LineFile(tmp_path / "answers" / "answers.jsonl").append({"a": 1})
    assert modes(tmp_path / "answers") == {".": 0o700, "answers.jsonl": 0o600}


def test_a_shared_folder_is_shared_with_its_group_and_with_nobody_else(tmp_path: Path) -> None:
    shared = tmp_path / "lab"
    shared.mkdir()
    shared.chmod(0o2777)
    os.umask(0o077)  # what a careful member of the group has set does not lock the others out
    write("x", private_folder(shared / "events") / "one.csv")
    assert modes(shared) == {".": 0o2777, "events": 0o2770, "events/one.csv": 0o660}
    shared.chmod(0o2750)
    private_file(shared / "readable")
    assert modes(shared)["readable"] == 0o640


def test_what_is_there_keeps_its_mode_and_content(tmp_path: Path) -> None:
    path = tmp_path / "given.csv"
    path.write_text("old")
    path.chmod(0o644)
    assert private_file(path).read_text() == "old"
    assert modes(tmp_path)["given.csv"] == 0o644
    assert private_folder(tmp_path) == tmp_path
    with pytest.raises(FileExistsError):
        private_folder(path)


def test_nothing_is_written_past_the_door() -> None:
    """A new place that writes files has to say for whom."""
    package = Path(__file__).parent.parent / "audit_lab"
    writes = ('.write_text(', '.write_bytes(', '.write_parquet(', '.open("w', '.open("a', '.mkdir(')
    wrong = [
        f"{path.relative_to(package)}: {line.strip()}" for path in sorted(package.rglob("*.py")) if path.name != "private.py"
        for line in path.read_text(encoding="utf-8").splitlines() if any(word in line for word in writes) and "private_" not in line
    ]
    # These two write under a name that was made private a line before.
    assert [line.split(":")[0] for line in wrong] == ["archive/ingest.py", "store.py", "store.py"]
