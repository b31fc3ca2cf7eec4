"""A case as lines of a terminal. Untrusted text stands in `Text`, which obeys no markup, and its hidden characters show as marks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit_lab.counting import counted
from audit_lab.printing import visible

MARKS = {"holds": ("✓", "green", "holds"), "wrong": ("✗", "red", "does not hold"), "unchecked": ("?", "yellow", "not checked")}
_SEVERITY = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}
_PRIORITY = {"P1": "bold red", "P2": "red", "P3": "yellow", "P4": "dim"}
_BAR = 32  # characters of the time axis of a story
SIGNALS_SHOWN = 8

HELP = (
    ("m b s u", "malicious, benign, benign-but-suspicious, unsure: then a reason and Enter (empty: the last one again)"),
    ("1 … 9", "tick a check, or take the tick back; ticked checks are kept with the label"),
    ("t", "events in order of time; those that a ground cites are marked"),
    ("o", "the records as they stand in the archive, masked"),
    ("l", "the queue"),
    ("n", "put the case aside; it comes again at the end"),
    ("g", "go to a case by its id (the beginning is enough) or its place"),
    ("z", "take the last label of this sitting back; as often as you like"),
    ("space j k arrows", "scroll"),
    ("Enter Esc", "back to the case"),
    ("q", "end; every label is kept already"),
)


def say(value: Any, style: str = "") -> Text:
    """Return a text that a terminal obeys in nothing."""
    return Text(visible(str(value)), style=style)


def case_page(view: dict[str, Any], ticked: set[int]) -> list[Any]:
    """Return the page of a case: where we are, summary, story, signals, grounds with marks, checks to tick."""
    return [
        *_head(view), _title("Story" if view["n_sessions"] > 1 else "Session"), *_story(view), _title("Grounds"), *_grounds(view),
        _title("Signals"), *_signals(view), _title("To check"), *_checks(view, ticked),
    ]


def _hanging(mark: Text, body: Text) -> Table:
    """Return a mark and a text beside it: where the text takes several lines, they stand below each other."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(mark, body)
    return grid


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _head(view: dict[str, Any]) -> list[Any]:
    progress = view["progress"]
    line = Text.assemble(("Case ", "bold"), (f"{view['place']} of {view['n']}", "bold"), "  ")
    if view["is_blind"]:
        line.append("score hidden: this case is read blind", style="magenta")
    else:
        line.append(f"{view['priority']} ", style=_PRIORITY.get(view["priority"], ""))
        line.append_text(say(f"{view['kind']}, {view['priority_reason']}"))
        if view["action"]:
            line.append_text(say(f"; proposed: {view['action'].replace('_', ' ')}"))
    second = "  second look: somebody else judged it too" if view["state"] == "second" else ""
    where = f"{view['case_id']}  {progress['n_done']} labelled, {progress['n_left']} left, {progress['minutes']:.1f} min{second}"
    parts: list[Any] = [line, say(where, "dim"), Text("")]
    if view["claim"]:
        until = _time(view["claim"]["until"])
        parts.insert(2, say(f"{view['claim']['author']} has this case open as well, until {until:%H:%M} UTC", "yellow"))
    if view["label"]:
        parts.append(say(f"You said: {view['label']['verdict']} ({view['label']['reason'] or 'no reason'})", "bold cyan"))
    parts.append(say(view["summary"] or "", "bold"))
    if view["summary_by"] == "model":
        parts.append(Text("written by a model, not verified: the grounds below are", style="yellow"))
    if view["summary_wrong"]:
        parts.append(say(f"contradicted by the tables: {view['summary_wrong']}", "red"))
    if view["omitted"]:
        parts.append(say(f"not mentioned: {view['omitted']}", "yellow"))
    if view["abstain"]:
        parts.append(say(f"the judge abstained: {view['abstain']}", "yellow"))
    return parts


def _story(view: dict[str, Any]) -> list[Any]:
    """One line per session with its place on the case's time axis, its deeds below; then what links them."""
    start, end = _time(view["start"]), _time(view["end"])
    span = max((end - start).total_seconds(), 1e-6)
    names = {session["session_id"]: f"{number}" for number, session in enumerate(view["sessions"], start=1)}
    parts: list[Any] = []
    for session in view["sessions"]:
        first, last = ((_time(session[key]) - start).total_seconds() / span for key in ("start", "end"))
        left = min(int(first * _BAR), _BAR - 1)
        width = max(1, round((last - first) * _BAR))
        bar = f"{'·' * left}{'█' * min(width, _BAR - left)}".ljust(_BAR, "·")
        mark = Text.assemble((f"{names[session['session_id']]:>3} ", "bold"), f"{_time(session['start']):%m-%d %H:%M:%S}")
        if len(view["sessions"]) > 1:
            mark.append(f" {bar}", style="blue")
        line = say(session["actor"] or "(no user)", "bold")
        denied = f", {session['n_denied']} denied" if session["n_denied"] else ""
        role = f", {session['role'].replace('_', ' ')}" if session["role"] else ""
        source = session["source_ip"] or "no address"
        line.append_text(say(f" from {source} ({session['source_class']}), {counted(session['n_events'], 'event')}{denied}{role}"))
        parts += [_hanging(mark, line), Padding(say(session["summary"], "dim"), (0, 0, 0, 4))]
    if view["n_left"]["sessions"]:
        parts.append(Text(f"   … and {counted(view['n_left']['sessions'], 'more session')}", style="dim"))
    for link in view["links"]:
        if link["from_session"] in names and link["to_session"] in names:
            thing = f" ({link['object']})" if link["object"] else ""
            parts.append(say(f"   {names[link['from_session']]} → {names[link['to_session']]}  {link['kind'].replace('_', ' ')}{thing}"))
    return parts


def _grounds(view: dict[str, Any]) -> list[Any]:
    if not view["grounds"]:
        return [Text("   none: nothing that could be checked was said", style="dim")]
    parts: list[Any] = []
    for ground in view["grounds"]:
        mark, colour, word = MARKS[ground["mark"]]
        line = say(ground["sentence"])
        line.append(f"  [{counted(len(ground['event_ids']), 'event')}]", style="dim")
        if ground["wrong"]:
            line.append_text(say(f" {ground['wrong']}", "red"))
        if ground["note"]:
            line.append_text(say(f"  ({ground['note']})", "dim"))
        parts.append(_hanging(Text(f"   {mark} {word}:", style=colour), line))
    return parts


def _signals(view: dict[str, Any]) -> list[Any]:
    if not view["signals"]:
        return [Text("   none", style="dim")]
    parts: list[Any] = []
    for signal in view["signals"][:SIGNALS_SHOWN]:
        strength = "" if signal["strength"] is None else f" {signal['strength']:.2f}"
        mark = say(f"   {signal['severity'] or signal['kind']:<13}", _SEVERITY.get(signal["severity"] or "", "dim"))
        parts.append(_hanging(mark, say(signal["reason"]).append_text(say(f"  {signal['detector_id']}{strength}", "dim"))))
    left = len(view["signals"]) - SIGNALS_SHOWN + view["n_left"]["signals"]
    if left > 0:
        parts.append(Text(f"   … and {counted(left, 'weaker one')}", style="dim"))
    return parts


def _checks(view: dict[str, Any], ticked: set[int]) -> list[Any]:
    if not view["checks"]:
        return [Text("   nothing in particular", style="dim")]
    return [
        _hanging(Text.assemble("   ", ("☑" if place in ticked else "☐", "green"), f" {place + 1}"), say(check))
        for place, check in enumerate(view["checks"])
    ]


def events_page(view: dict[str, Any]) -> list[Any]:
    """Return the page of events: time, session, what was done to what, how it ended; a mark where a ground or a signal cites it."""
    names = {session["session_id"]: str(number) for number, session in enumerate(view["sessions"], start=1)}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "time", "session", "verb", "what", "where", "status", "command", "event"):
        table.add_column(name, overflow="fold", no_wrap=name not in ("what", "where", "command"), min_width=len(name))
    for event in view["events"]:
        mark = ("●", "green") if event["is_cited"] else ("○", "yellow") if event["is_hit"] else (" ", "")
        denied = event["decision"] == "forbid" or event["status"] in (401, 403)
        table.add_row(
            Text(*mark), say(f"{_time(event['time']):%H:%M:%S.%f}"[:-3]), say(names.get(event["session_id"], "–")),
            say(event["verb"] or "–"), say(event["target"][:80]), say(event["place"][:80]),
            say(event["status"] or "–", "red" if denied else ""), say((event["command"] or "")[:80]), say(event["event_id"][:13], "dim"),
        )
    left = view["n_left"]["events"]
    more = f"  ({counted(left, 'further event')} not shown)" if left else ""
    return [Text(f"● cited by a ground  ○ by a signal{more}", style="dim"), table]


def list_page(items: list[dict[str, Any]], current: str | None) -> list[Any]:
    """Return the page of the queue: what lies ahead, and what was said."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    # On a narrow screen names and summaries give way; what tells cases apart and what they are worth does not.
    for name, width in (("", 1), ("place", 5), ("case", 10), ("priority", 8), ("score", 5), ("events", 7)):
        table.add_column(
            name, width=width, min_width=width, no_wrap=True, justify="right" if name in ("place", "score", "events") else "left")
    table.add_column("actors", max_width=24, no_wrap=True)
    table.add_column("said", max_width=21, no_wrap=True)
    table.add_column("summary", ratio=1, no_wrap=True, overflow="ellipsis")
    for item in items:
        said = item["verdict"] or ("put aside" if item["is_skipped"] else "")
        score = "blind" if item["is_blind"] else f"{item['score']:.2f}"
        table.add_row(
            "▶" if item["case_id"] == current else "", str(item["place"]), say(item["case_id"][:10]), say(item["priority"] or "–"), score,
            f"{item['n_events']:,}", say(", ".join(actor or "(no user)" for actor in item["actors"])[:40]), say(said), say(item["summary"]),
        )
    return [table]


def help_page() -> list[Any]:
    """Return the page that says what each key does."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for keys, text in HELP:
        table.add_row(Text(keys, style="bold"), Text(text))
    return [Text("Keys", style="bold"), table]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
