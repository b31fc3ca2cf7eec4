"""What the words of the command line print: progress, the summary, a case."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from audit_lab.counting import counted
from audit_lab.errors import JudgeError
from audit_lab.lab import Lab
from audit_lab.phrases import CHECKS
from audit_lab.pipeline import Run
from audit_lab.printing import err, out, print_frame, to_json, visible
from audit_lab.profile_files import load_profile
from audit_lab.review import choose_events, important_events

EVENTS_SHOWN = 50
_CHECKS_KO = dict(CHECKS.values())


def ingest_with_bars(work: Lab, sources: list[Any], cluster: str | None) -> bool:
    """Ingest with a progress bar; print what was refused and return whether anything was."""
    with bars() as shown:
        tasks: dict[Path, TaskID] = {}

        def advance(path: Path, done: int, total: int) -> None:
            if path not in tasks:
                tasks[path] = shown.add_task(f"read {path.name}", total=max(total >> 20, 1))
            shown.update(tasks[path], completed=max(done >> 20, 1) if done >= total else done >> 20)

        result = work.ingest(*sources, cluster=cluster, progress=advance)
    for error in result.refused:
        err.print(f"[yellow]refused:[/] {escape(str(error))}", soft_wrap=True)
    return bool(result.refused)


def run_with_bars(work: Lab, *, until: str | None = None, force: bool = False) -> Run:
    """Run the stale stages with progress bars, print the notes, return the run."""
    with bars() as shown:
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(stage, total=total)
            shown.update(tasks[stage], completed=done, total=total)

        result = work.run(until=until, force=force, progress=advance)
    for note in result.notes:
        err.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    return result


@contextmanager
def naming_profile(work: Lab, profile: str | None) -> Iterator[None]:
    """Let the hint after a judge's failure name `--profile`: where the next run would not know it, or a setting is missing.

    What failed does not become the settings of a lab, so a plain `audit-lab run` after it would take those of the run before.
    """
    try:
        yield
    except JudgeError as error:
        hint = error.hint
        if profile is not None and work.store.remembered("profile") != load_profile(profile).model_dump(mode="json"):
            again = f"run again with --profile {shlex.quote(profile)}"
            hint = hint.replace("run again", again) if "run again" in hint else f"{hint}; {again}".removeprefix("; ")
        elif profile is None and "judge." in f"{error.what} {hint}":
            hint = f"{hint}; settings stand in a TOML file: give it as --profile FILE".removeprefix("; ")
        raise JudgeError(error.what, hint) from None


@contextmanager
def bars() -> Iterator[Progress]:
    """Show progress bars on standard error."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as shown:
        yield shown


def emit(frame: pl.DataFrame, as_json: bool) -> None:
    """Print a frame as a table or as JSON."""
    if as_json:
        sys.stdout.write(to_json(frame) + "\n")
    else:
        print_frame(frame)


def _rate(rate: dict[str, Any]) -> str:
    if rate["value"] is None:
        return f"unknown ({rate.get('reason') or 'too few data'})"
    if rate["low"] is None:
        return f"{rate['value']:.1%}"
    return f"{rate['value']:.1%}  ({rate['low']:.1%} to {rate['high']:.1%})"


def print_summary(work: Lab, evaluation: dict[str, Any]) -> None:
    """Print the flow as numbers and how well it did."""
    flow = work.summary()
    found, missed = evaluation["incidents"]["found"], evaluation["incidents"]["missed"]
    rows = [
        *((name, f"{flow[name]:,}") for name in ("events", "sessions", "signals", "candidates", "verdicts")),
        ("flagged sessions", f"{evaluation['sessions']['flagged']:,} at score ≥ {evaluation['threshold']}"),
        ("incidents found", f"{found} of {evaluation['incidents']['n']}"),
        ("incidents missed", ", ".join(missed) or "none"),
        ("look-alikes flagged", f"{evaluation['benign_suspicious']['flagged']} of {evaluation['benign_suspicious']['n']}"),
        ("false-positive rate", _rate(evaluation["sessions"]["fpr"])),
        ("tokens", f"{flow['tokens']:,}"),
        ("cost", "unknown: no price in the profile" if flow["cost_usd"] is None else f"{flow['cost_usd']:.2f} USD"),
    ]
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(name, escape(value))
    out.print(table)


def odd_sessions(found: dict[str, Any]) -> list[str]:
    """Return the sessions of a case that outlier detectors say most of, three at most."""
    odd = found["signals"].filter(pl.col("kind") == "outlier").group_by("session_id").agg(pl.col("strength").max())
    return odd.sort("strength", "session_id", descending=[True, False])["session_id"].head(3).to_list()


def _print_likeness(likeness: dict[str, pl.DataFrame]) -> None:
    """Print what each session reads like: the nearest earlier sessions of its kind, and the nearest that people judged."""
    for session_id, near in likeness.items():
        for row in near.iter_rows(named=True):
            whose = "the same user" if row["is_same_user"] else "another user"
            said = f"labelled {row['verdict']}" if row["sort"] == "labelled" else whose
            line = f"  ≈ {session_id[:10]} reads like {row['session_id'][:10]} ({said}, distance {row['distance']:.3f}): {row['summary']}"
            out.print(escape(visible(line)), style="dim", soft_wrap=True)


def print_case(
    found: dict[str, Any], lang: str = "en", *, everything: bool = False, likeness: dict[str, pl.DataFrame] | None = None
) -> None:
    """Print a case as `Lab.case` gives it; summary, grounds and checks in `lang` (en or ko); every event, or the important ones first.

    `likeness`: for some of its sessions what `Lab.nearest` gives.
    """
    case = found["case"]
    if case:
        chance = "" if found["probability"] is None else f" (probability {found['probability']:.2f})"
        place = f"rank {case['rank']}, score {case['score']:.2f}{chance}, {case['selected_by']}"
        out.print(f"[bold]{case['case_id']}[/]  {place}: {escape(case['why'])}")
    for session in found["sessions"].iter_rows(named=True):
        out.print(f"\n[bold]{session['session_id']}[/]  {escape(visible(session['actor']) or '(no user)')} from {session['source_ip']}, "
                  f"{session['start']:%Y-%m-%d %H:%M:%S} UTC, {counted(session['n_events'], 'event')}")
        out.print(f"  {escape(session['summary'])}", soft_wrap=True)
    for signal in found["signals"].sort("strength", descending=True).iter_rows(named=True):
        chance = "" if signal["p_value"] is None else f", p {signal['p_value']:.2g}"
        line = f"  • {signal['kind']} {signal['detector_id']} ({signal['strength']:.2f}{chance}): {signal['reason']}"
        out.print(escape(line), soft_wrap=True)
    _print_likeness(likeness or {})
    for verdict in found["verdicts"].iter_rows(named=True):
        _print_verdict(verdict, lang)
    _print_events(found, everything)


def _print_events(found: dict[str, Any], everything: bool) -> None:
    """Print events in order of time; where not all are shown, those that grounds cite and signals are made of come before others."""
    events: pl.DataFrame = found["events"]
    cited, hits = important_events(found["signals"], found["verdicts"])
    # What a ground cites is always shown: it is what the verdict rests on.
    shown = events if everything else choose_events(events, cited, hits, max(EVENTS_SHOWN, len(cited)))
    out.print("\n● cited by a ground  ○ by a signal", style="dim")
    for event in shown.iter_rows(named=True):
        mark = "●" if event["event_id"] in cited else "○" if event["event_id"] in hits else " "
        out.print(escape(visible(f"{mark} {_event_line(event)}")), soft_wrap=True)
    left = events.join(shown, on="event_id", how="anti")["event_id"]
    if len(left):
        of_signals = left.is_in(list(hits)).sum()
        some = f", {of_signals:,} of them of signals" if of_signals else ""
        out.print(f"… and {counted(len(left), 'more event')}{some}: --all shows every one", soft_wrap=True)


def _print_verdict(verdict: dict[str, Any], lang: str) -> None:
    """Print what an analyst reads first: score, a sentence or two, grounds with what is true of them, what to check."""
    korean = lang == "ko"
    score = "abstained" if verdict["score"] is None else f"score {verdict['score']:.2f}"
    floored = verdict["score"] is not None and verdict["raw_score"] is not None and verdict["raw_score"] < verdict["score"]
    raised = f" (a rule's floor decides; the judge said {verdict['raw_score']:.2f})" if floored else ""
    why = escape(visible(verdict["set_aside"] or "its grounds do not hold"))
    used = "" if verdict["usable"] or verdict["score"] is None else f" [red](not used: {why})[/]"
    judge, action = escape(visible(verdict["judge_id"])), verdict["action"] or "no action"
    out.print(f"\n[bold]judge {judge}[/]: {score}{raised}, {action}{used}", soft_wrap=True)
    if verdict["abstain"]:
        out.print(f"  {escape(visible(verdict['abstain']))}", soft_wrap=True)
    if verdict["summary"]:
        mark = " [dim](the model's own words, unverified)[/]" if verdict["summary_by"] == "model" else ""
        out.print(f"  {escape(visible((korean and verdict['summary_ko']) or verdict['summary']))}{mark}", soft_wrap=True)
    for label, column in (("the tables contradict it", "summary_wrong"), ("it does not mention", "omitted")):
        if verdict[column]:
            out.print(f"  [yellow]{label}:[/] {escape(visible(verdict[column]))}", soft_wrap=True)
    for ground in verdict["grounds"]:
        mark = "[green]✓[/]" if ground["holds"] else "[red]✗[/]"
        said = (korean and ground["sentence_ko"]) or ground["sentence"] or ""
        more = f" — {ground['wrong'] or ground['note']}" if ground["wrong"] or ground["note"] else ""
        out.print(f"  {mark} {escape(visible(said + more))}", soft_wrap=True)
    for check in verdict["checks"]:
        out.print(f"  □ {escape(_CHECKS_KO.get(check, check) if korean else check)}", soft_wrap=True)


def _event_line(event: dict[str, Any]) -> str:
    """Return an event as one line: time, what, where, how it ended, and its id."""
    target = "/".join(part for part in (event["resource"], event["subresource"]) if part) or event["uri"] or ""
    place = "/".join(part for part in (event["namespace"], event["name"]) if part)
    ended = "" if event["status"] is None else f" {event['status']}"
    command = f" «{event['commands'][0][:60]}»" if event["commands"] and event["subresource"] in ("exec", "attach", "proxy") else ""
    return f"{event['time']:%H:%M:%S} {event['verb']} {target[:60]} {place}{ended}{command}  {event['event_id'][:13]}"
