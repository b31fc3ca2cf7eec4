"""`audit-lab review` as a person uses it: keys on a real pseudo-terminal, and lines from a pipe."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from audit_lab import Lab
from audit_lab.store import Store

from .archive.conftest import lines, record
from .small_lab import small_archive

HOSTILE = "x\u202egnp\x1b[2J\x1b]0;owned\x07[bold red]</script><b>"


def reviewable(folder: Path) -> Lab:
    """Sessions with attackers' text wherever an attacker can write, beside the small archive's."""
    small_archive(folder)
    events = []
    for n in range(14):
        stamp = f"2026-01-01T11:00:{n:02d}.000000Z"
        events.append(record(
            f"h-{n}", verb="get", requestReceivedTimestamp=stamp, stageTimestamp=stamp, sourceIPs=["203.0.113.66"], userAgent=HOSTILE,
            user={"username": f"mallory{HOSTILE}", "groups": ["g"]}, requestURI=f"/api/v1/namespaces/{HOSTILE}/secrets/{HOSTILE}{n}",
            objectRef={"resource": "secrets", "namespace": f"ns{HOSTILE}", "name": f"s{HOSTILE}{n}", "apiVersion": "v1"},
        ))
    (folder / "hostile.log").write_bytes(lines(*events))
    made = Lab(folder / "lab")
    made.ingest(folder / "audit.log", folder / "hostile.log")
    made.run(detectors=["rules"])
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reviewable(tmp_path_factory.mktemp("made")).store.root


@pytest.fixture
def lab(made: Path, tmp_path: Path) -> Lab:
    return Lab(shutil.copytree(made, tmp_path / "lab"))


def command(lab: Lab, *words: str) -> list[str]:
    return [sys.executable, "-m", "audit_lab", "review", "--lab", str(lab.store.root), "--all", *words]


def piped(lab: Lab, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(lab, *words), input=text, capture_output=True, text=True, check=False, timeout=120)


# The program's own terminal, as a shell would give it: Ctrl-C reaches it.
OWN_TERMINAL = (
    "import fcntl, runpy, signal, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('audit_lab', run_name='__main__', alter_sys=True)"
)


class Terminal:
    """A program on a pseudo-terminal: what it drew, and keys for it."""

    def __init__(self, words: list[str], rows: int = 45, columns: int = 120) -> None:
        self.master, slave = pty.openpty()
        os.set_inheritable(slave, True)
        environment = os.environ | {"TERM": "xterm-256color", "LINES": str(rows), "COLUMNS": str(columns)}
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            [words[0], "-c", OWN_TERMINAL, *words[3:]], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
        os.close(slave)
        self.raw = ""

    def keys(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, wanted: str, seconds: float = 40) -> str:
        """Read what is drawn until `wanted` stands in it; return all that was drawn since the last call."""
        drawn, end = "", time.monotonic() + seconds
        while wanted not in plain(drawn):
            assert time.monotonic() < end, f"waited for {wanted!r}, saw:\n{plain(drawn)}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    drawn += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:
                    break
        self.raw += drawn
        assert wanted in plain(drawn), f"ended before {wanted!r}, saw:\n{plain(drawn)}"
        return drawn

    def close(self) -> int:
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            os.close(self.master)


def plain(drawn: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)


@pytest.fixture
def terminal(lab: Lab) -> Iterator[Terminal]:
    made = Terminal(command(lab, "--author", "kim"))
    yield made
    made.process.kill()


def said(lab: Lab) -> list[tuple[str, str | None]]:
    return Store(lab.store.root).read("labels").select("verdict", "reason").rows()


def test_a_review_with_single_keys(lab: Lab, terminal: Terminal) -> None:
    terminal.until("To check")
    terminal.keys("1")
    terminal.until("checked: 1")
    terminal.keys("m")
    terminal.until("malicious, because")
    terminal.keys("tokkk\x7f\x7fen read, café\r")
    terminal.until("1 labelled")
    assert said(lab) == [("malicious", "token read, café")]
    assert len(Store(lab.store.root).read("labels")["checks_done"][0]) == 1
    terminal.keys("z")
    terminal.until("is open again")
    assert [verdict for verdict, _ in said(lab)] == ["malicious", "withdrawn"]
    terminal.keys("b")
    terminal.until("benign, because")
    terminal.keys("\x1b")  # broken off: nothing is said
    terminal.until("0 labelled")
    terminal.keys("b")
    terminal.until("benign, because")
    terminal.keys("\x03")
    terminal.until("0 labelled")
    terminal.keys("u\r")
    terminal.until("1 labelled")
    terminal.keys("s")
    terminal.until("because")
    terminal.keys("\r")
    terminal.until("without a reason")
    terminal.keys("q")
    terminal.until("kim: 1 labelled")
    assert terminal.close() == 0
    assert [verdict for verdict, _ in said(lab)] == ["malicious", "withdrawn", "unsure"]


def test_events_originals_list_and_help_are_one_key_away(lab: Lab, terminal: Terminal) -> None:
    terminal.until("To check")
    terminal.keys("t")
    terminal.until("cited by a ground")
    terminal.keys("o")
    terminal.until("records as archived, masked")
    terminal.keys("l")
    terminal.until("actors")
    terminal.keys("?")
    terminal.until("take the last label of this sitting back")
    terminal.keys("\x1b")
    terminal.until("To check")
    terminal.keys("g")
    terminal.until("go to case or place")
    terminal.keys("2\r")
    terminal.until("Case 2 of")
    terminal.keys("n")
    terminal.until("Case 3 of") if len(lab.review_queue("kim", everything=True)) > 2 else terminal.until("Case 1 of")
    terminal.keys("q")
    assert terminal.close() == 0


def test_the_screen_of_before_comes_back_whatever_ends_the_review(lab: Lab, terminal: Terminal) -> None:
    terminal.until("To check")
    terminal.keys("q")
    drawn = terminal.until("0 labelled, ")
    assert "\x1b[?1049l" in drawn
    assert "\x1b[?25h" in drawn
    assert terminal.close() == 0


def test_a_terminal_obeys_nothing_that_an_attacker_wrote(lab: Lab, terminal: Terminal) -> None:
    terminal.until("To check")
    for number in range(len(lab.review_queue("kim", everything=True))):
        terminal.keys("g")
        terminal.until("go to case or place")
        terminal.keys(f"{number + 1}\r")
        terminal.until(f"Case {number + 1} of")
        terminal.keys("t")
        terminal.until("cited by a ground")
        terminal.keys("o")
        terminal.until("as archived")
        terminal.keys("l")
        terminal.until("summary")
        terminal.keys("\r")
        terminal.until("To check")
    terminal.keys("q")
    terminal.close()
    assert "mallory" in terminal.raw, "the hostile case was shown"
    assert "\u202e" not in terminal.raw
    assert "\x1b[2J" not in terminal.raw
    assert "\x1b]0;" not in terminal.raw
    assert "[bold red]" in plain(terminal.raw), "markup is shown, not obeyed"


def test_from_a_pipe_one_command_a_line(lab: Lab) -> None:
    done = piped(lab, "x 1\nm read all secrets, password=hunter2\nu\nz\nnonsense\n99\nb\nq\n", "--author", "kim")
    assert done.returncode == 0, done.stderr
    assert said(lab) == [("malicious", "read all secrets, password=***"), ("unsure", None), ("withdrawn", None)]
    for text in ("checked: 1", "malicious; z takes it back", "taken back:", "no key 'nonsense'", "no check '99'", "'benign' without a reason",
                 "kim: 1 labelled"):
        assert text in done.stdout, text
    assert "\x1b" not in done.stdout
    assert "hunter2" not in done.stdout


def test_the_end_of_the_input_ends_the_review_and_labels_are_kept(lab: Lab) -> None:
    done = piped(lab, "b nightly backup", "--author", "kim", "--limit", "1")
    assert (done.returncode, said(lab)) == (0, [("benign", "nightly backup")])
    assert "Nothing is left in this queue" in done.stdout


def test_the_queue_as_json_hides_what_is_blind(lab: Lab) -> None:
    done = subprocess.run(command(lab, "--list", "--json", "--blind-share", "1"), capture_output=True, text=True, check=True, timeout=120)
    rows = json.loads(done.stdout)
    assert rows
    assert {row["score"] for row in rows} == {None}
    assert {row["is_blind"] for row in rows} == {True}
    wide = os.environ | {"COLUMNS": "200"}
    shown = subprocess.run(command(lab, "--list", "--limit", "1"), capture_output=True, text=True, check=True, timeout=120, env=wide)
    assert rows[0]["case_id"] in shown.stdout
    assert "priority_reason" in shown.stdout


def test_agreement_of_two_people(lab: Lab) -> None:
    cases = lab.review_queue(everything=True)["case_id"].to_list()
    for author, verdicts in (("kim", "mb"), ("lee", "mm")):
        for case_id, key in zip(cases, verdicts, strict=False):
            assert piped(lab, f"{key} because\nq\n", "--author", author, "--case", case_id).returncode == 0
    done = subprocess.run(command(lab, "--agreement", "--json"), capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(done.stdout)
    assert (found["n_people"], found["n_targets"], found["pairs"][0]["n"]) == (2, 2, 2)
    assert [item["target_id"] for item in found["disagreements"]] == [cases[1]]
    wide = os.environ | {"COLUMNS": "200"}
    shown = subprocess.run(command(lab, "--agreement"), capture_output=True, text=True, check=True, timeout=120, env=wide).stdout
    assert "Cohen's kappa" in shown
    assert "Krippendorff's alpha" in shown
    assert f"{cases[1]}: kim benign, lee malicious" in shown


def test_bad_input_is_one_line(lab: Lab, tmp_path: Path) -> None:
    for words, wanted in (
        (["--case", "c-zzz"], "no case 'c-zzz'"), (["--json"], "--list --json"), (["--author", " "], "without a name"),
    ):
        done = piped(lab, "", *words)
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr
        assert wanted in done.stderr
    empty = subprocess.run([sys.executable, "-m", "audit_lab", "review", "--lab", str(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert (empty.returncode, "has no verdicts yet" in empty.stderr) == (2, True)


def test_labels_of_a_review_count_in_the_figures(lab: Lab) -> None:
    piped(lab, "m secrets of twelve namespaces\nq\n", "--author", "kim")
    standing = lab.standing_labels()
    assert standing["author"].to_list() == ["kim"] * standing.height
    assert standing.filter(pl.col("verdict") == "malicious").height >= 1
