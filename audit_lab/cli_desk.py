"""A desk in a terminal: keys on a screen, or one command a line where the input is no terminal, so that it can be scripted.

What a command does is said once (`Reviewer.act`); screen and lines differ only in where commands come from and how much is shown.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from audit_lab.cli_case import case_page, events_page, help_page, list_page
from audit_lab.counting import counted
from audit_lab.errors import AuditLabError
from audit_lab.printing import out, visible
from audit_lab.review import Desk

VERDICT_KEYS = {"m": "malicious", "b": "benign", "s": "benign-but-suspicious", "u": "unsure"}
PAGES = {"t": "timeline", "o": "originals", "l": "list", "?": "help"}
KEYS = "m malicious  b benign  s suspicious  u unsure  t events  l list  z undo  ? help  q quit  n skip  1-9 check  o originals"
_SCROLL = {"j": 1, "\x1b[B": 1, "k": -1, "\x1b[A": -1, " ": 10, "\x1b[6~": 10, "\x1b[5~": -10}
# How long the rest of an arrow key may take after its first byte; a lone Escape is told by its absence.
ESCAPE_S = 0.05
LOOK_UP_S = 0.2
_FOOT = 3  # lines under the page: message, keys, and the line where a reason is typed


class Reviewer:
    """A desk, what is ticked, which page is open, and the last message."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.page = "case"
        self.message = ""
        self.is_done = False
        self._ticked: dict[str, set[int]] = {}
        self._reasons: dict[str, str] = {}
        self._records: dict[str, list[str]] = {}

    def act(self, key: str, rest: str = "") -> None:
        """Do what a key says; `rest` is what was typed with it: a reason, the numbers of checks, a case. Errors become the message."""
        self.message = ""
        try:
            self._act(key, rest.strip())
        except AuditLabError as error:
            self.message = f"error: {error}"

    def _act(self, key: str, rest: str) -> None:
        if key in VERDICT_KEYS:
            self._judge(VERDICT_KEYS[key], rest)
        elif _is_number(key):
            self._tick(key)
        elif key == "x":
            for word in rest.replace(",", " ").split():
                self._tick(word)
        elif key in PAGES:
            self.page = "case" if self.page == PAGES[key] else PAGES[key]
        elif key == "z":
            back = self.desk.undo()
            self.message = f"taken back: {back} is open again" if back else "nothing to take back in this sitting"
            self.page = "case"
        elif key == "n":
            self.desk.skip()
            self.page = "case"
        elif key == "g":
            self.desk.go(rest)
            self.page = "case"
        elif key == "q":
            self.is_done = True
        elif key in ("", "\x1b"):
            self.page = "case"
        else:
            self.message = f"no key '{visible(key)}': ? shows what there is"

    def reason_for(self, verdict: str) -> str:
        """Return the reason given last with this verdict in this sitting: Enter takes it again."""
        return self._reasons.get(verdict, "")

    def page_of(self, view: dict[str, Any]) -> list[Any]:
        """Return what the open page shows, as rich renderables; untrusted text is in `Text`, which obeys no markup."""
        if self.page == "help":
            return help_page()
        if self.page == "list":
            return list_page(self.desk.items(), self.desk.current)
        if view["case_id"] is None:
            return [Text("Nothing is left in this queue.", style="bold"), Text("z takes the last label back, q ends.")]
        if self.page == "timeline":
            return events_page(view)
        if self.page == "originals":
            if view["case_id"] not in self._records:  # reading the archive takes a moment: once per case
                self._records = {view["case_id"]: self._originals()}
            return [Text(line) for line in self._records[view["case_id"]]]
        return case_page(view, self._ticked.get(view["case_id"], set()))

    def _judge(self, verdict: str, rest: str) -> None:
        case_id = self.desk.current
        reason = rest or self.reason_for(verdict)
        if reason:  # before it is said: where the lab is busy, Enter says it again
            self._reasons[verdict] = reason
        self.desk.label(verdict, reason, sorted(self._ticked.get(case_id or "", set())))
        self.page = "case"
        self.message = f"{case_id}: {verdict}; z takes it back"

    def _tick(self, number: str) -> None:
        checks = self.desk.view().get("checks", [])
        if not _is_number(number) or not 1 <= int(number) <= len(checks):
            self.message = f"no check '{visible(number)}': the case has {len(checks)}"
            return
        ticked = self._ticked.setdefault(str(self.desk.current), set())
        ticked.symmetric_difference_update({int(number) - 1})
        self.message = f"checked: {', '.join(str(place + 1) for place in sorted(ticked)) or 'none'}"

    def _originals(self) -> list[str]:
        try:
            records = self.desk.originals()
        except AuditLabError as error:
            return [f"error: {error}"]
        shown = [f"{counted(len(records), 'record')} as archived, masked; those that the grounds cite first", ""]
        for record in records:
            shown += [visible(line) for line in json.dumps(record, indent=1, ensure_ascii=False).split("\n")]
        return shown


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 4


# ---- one command a line ----------------------------------------------------------------------------------------


def review_lines(desk: Desk, source: IO[str]) -> None:
    """Review by lines such as `m read all secrets`, `x 1 3`, `n`, `z`, `t`: print each case, say what each line did."""
    reviewer = Reviewer(desk)
    shown: tuple[str | None, str] = ("", "")
    while not reviewer.is_done:
        view = desk.view()
        if (view["case_id"], reviewer.page) != shown:
            shown = (view["case_id"], reviewer.page)
            for part in reviewer.page_of(view):
                out.print(part)
        line = source.readline()
        if not line:
            break
        key, _, rest = line.strip().partition(" ")
        reviewer.act(key, rest)
        if reviewer.message:
            out.print(Text(reviewer.message), soft_wrap=True)


# ---- keys on a screen ------------------------------------------------------------------------------------------


def review_screen(desk: Desk) -> None:
    """Review with single keys on the whole terminal; what was there before is there again afterwards."""
    screen = _Screen(Reviewer(desk))
    with _single_keys(), _whole_screen():
        previous = signal.signal(signal.SIGWINCH, lambda *_: screen.draw())
        try:
            while not screen.reviewer.is_done:
                screen.draw()
                screen.press(_read_key())
        finally:
            signal.signal(signal.SIGWINCH, previous)


class _Screen:
    """What is drawn: a window over the page, a message, the keys."""

    def __init__(self, reviewer: Reviewer) -> None:
        self.reviewer = reviewer
        self._top = 0
        self._n_lines = 0
        self._at: tuple[str | None, str] = (None, "")

    def draw(self) -> None:
        width, height = os.get_terminal_size(sys.stdout.fileno())
        console = Console(width=max(width, 20), highlight=False, force_terminal=True, no_color=out.no_color)
        view = self.reviewer.desk.view()
        if self._at != (view["case_id"], self.reviewer.page):
            self._at, self._top = (view["case_id"], self.reviewer.page), 0
        with console.capture() as captured:
            for part in self.reviewer.page_of(view):
                console.print(part)
        lines = captured.get().rstrip("\n").split("\n")
        room = max(height - _FOOT, 1)
        self._n_lines = len(lines)
        self._top = max(0, min(self._top, len(lines) - room))
        more = len(lines) - room - self._top
        with console.capture() as captured:
            said = self.reviewer.message or (f"… {counted(more, 'more line')} (space)" if more > 0 else "")
            console.print(Text(said, style="red" if said.startswith("error") else "cyan"), no_wrap=True, overflow="ellipsis")
            console.print(Text(KEYS, style="dim"), no_wrap=True, overflow="ellipsis", end="")
        shown = [*lines[self._top:self._top + room], *[""] * (room - len(lines)), *captured.get().split("\n")]
        # Home, then each line with the rest of its row cleared: no flicker of a cleared screen.
        sys.stdout.write("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in shown) + "\x1b[J")
        sys.stdout.flush()

    def press(self, key: str) -> None:
        if key in _SCROLL:
            self._top = max(0, self._top + _SCROLL[key])
        elif key in VERDICT_KEYS and self.reviewer.desk.current is not None:
            self._judge(key)
        elif key == "g":
            case = self._ask("go to case or place: ")
            if case:
                self.reviewer.act(key, case)
        elif key in ("\r", "\n"):
            self.reviewer.act("")
        else:
            self.reviewer.act(key)

    def _judge(self, key: str) -> None:
        verdict = VERDICT_KEYS[key]
        last = self.reviewer.reason_for(verdict)
        again = f" [Enter: {last[:40]}]" if last else " [Enter: none]" if verdict == "unsure" else ""
        reason = self._ask(f"{verdict}, because{again}: ")
        if reason is not None:
            self.reviewer.act(key, reason)

    def _ask(self, question: str) -> str | None:
        """Ask on the last line; None when the answer was broken off (Ctrl-C or Escape)."""
        height = os.get_terminal_size(sys.stdout.fileno()).lines
        typed: list[str] = []
        try:
            sys.stdout.write(f"\x1b[{height};1H\x1b[K{visible(question)}\x1b[?25h")
            sys.stdout.flush()
            while True:
                key = _read_key()
                if key in ("\r", "\n"):
                    return "".join(typed).strip()
                if key in ("\x1b", "\x04"):
                    return None
                if key in ("\x7f", "\x08"):
                    typed = typed[:-1]
                elif key == "\x15":  # Ctrl-U: begin again
                    typed = []
                elif key.isprintable():
                    typed.append(key)
                # A long reason scrolls to the left: its end is what is being typed.
                room = os.get_terminal_size(sys.stdout.fileno()).columns - len(question) - 1
                sys.stdout.write(f"\x1b[{height};1H\x1b[K{visible(question)}{''.join(typed)[-max(room, 10):]}")
                sys.stdout.flush()
        except KeyboardInterrupt:
            return None
        finally:
            sys.stdout.write("\x1b[?25l")


def _read_key() -> str:
    """Return one key: a character, or the whole sequence of an arrow or page key. End of input quits."""
    descriptor = sys.stdin.fileno()
    # The system may hand Ctrl-C to another thread, and then no read of this one is interrupted: it has to look up now and then.
    while not select.select([descriptor], [], [], LOOK_UP_S)[0]:
        pass
    data = os.read(descriptor, 1)
    if not data:
        return "q"
    if data == b"\x1b":
        while select.select([descriptor], [], [], ESCAPE_S)[0] and len(data) < 8:
            data += os.read(descriptor, 1)
            if data[-1:].isalpha() or data.endswith(b"~"):
                break
        return data.decode("ascii", "replace")
    n_more = 3 if data[0] >= 0xF0 else 2 if data[0] >= 0xE0 else 1 if data[0] >= 0xC0 else 0
    for _ in range(n_more):
        data += os.read(descriptor, 1)
    return data.decode("utf-8", "replace")


@contextmanager
def _single_keys() -> Iterator[None]:
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _whole_screen() -> Iterator[None]:
    sys.stdout.write("\x1b[?1049h\x1b[?25l")
    try:
        yield
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
