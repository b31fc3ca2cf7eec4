"""The verbs of a Lab as words on the command line; nothing but argument handling and printing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from audit_lab import __version__
from audit_lab.errors import AuditLabError, InputError, LedgerError
from audit_lab.lab import Lab, to_json
from audit_lab.printing import err, out, print_frame, visible, write

app = typer.Typer(
    name="audit-lab", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Find the few Kubernetes audit sessions that matter, and show how well that works. Nothing is ever blocked: a person decides.",
)
profiles = typer.Typer(no_args_is_help=True, help="Settings: show, check.")
rules_app = typer.Typer(no_args_is_help=True, help="Sigma rules: check them on the lab's data, coverage of known behaviours.")
app.add_typer(profiles, name="profile")
app.add_typer(rules_app, name="rules")

LabOption = Annotated[Path, typer.Option("--lab", envvar="AUDIT_LAB_HOME", help="Folder of the lab.")]
ProfileOption = Annotated[str, typer.Option("--profile", help="Settings: 'default', 'sample' or a TOML file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
_LAB, _PROFILE = Path("lab"), "default"


@app.callback()
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        out.print(f"audit-lab {__version__}")
        raise typer.Exit


@app.command()
def demo(
    data: Annotated[Path, typer.Option(help="Folder of the sample archive.")] = Path("data"),
    lab: LabOption = _LAB, report_dir: Annotated[Path, typer.Option("--out", help="Folder of the report.")] = Path("reports"),
) -> None:
    """Run the whole flow on the sample archive, print what was found, and say where the report is."""
    if not (data / "labels.jsonl").is_file():
        raise InputError(f"no sample in '{data}'", "run it in the project's folder, or give --data")
    work = Lab(lab, "sample")
    started = time.monotonic()
    _ingest(work, [data], "sample")
    _run(work)
    evaluation = work.evaluate(data / "labels.jsonl").as_dict()
    path = work.report(report_dir, period="sample")
    _print_summary(work, evaluation)
    out.print(f"\nReport: {path}   ({time.monotonic() - started:.0f} s)", soft_wrap=True)


@app.command()
def ingest(
    sources: Annotated[list[str], typer.Argument(help="Archives: files, folders or quoted globs; plain or gzip JSON lines.")],
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
    cluster: Annotated[str | None, typer.Option(help="Name of the cluster these archives come from.")] = None,
) -> None:
    """Read archives into the lab: masked, typed, accounted for. Reading a file again changes nothing."""
    work = Lab(lab, profile)
    refused = _ingest(work, list(sources), cluster)
    account = work.ledger()
    out.print(f"{account['n_events'].sum():,} events from {account.height} archives in lab '{lab}'; every record is accounted for")
    if account["n_quarantined"].sum():
        out.print(f"{account['n_quarantined'].sum():,} records were not understood: audit-lab sql 'SELECT * FROM quarantine'")
    if refused:
        raise typer.Exit(2)


@app.command()
def run(
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
    until: Annotated[str | None, typer.Option(help="Last stage: sessions, signals, candidates, verdicts.")] = None,
    force: Annotated[bool, typer.Option(help="Run every stage, stale or not.")] = False,
) -> None:
    """Run every stale stage, in order."""
    work = Lab(lab, profile)
    made = _run(work, until=until, force=force)
    out.print(f"ran {', '.join(made)}" if made else "nothing to do: every stage is up to date")


@app.command()
def judge(
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
    name: Annotated[str | None, typer.Option("--judge", help="baseline or openai; the profile says where.")] = None,
    max_usd: Annotated[float | None, typer.Option(help="Hard limit for this run, US dollars.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Hard limit for this run, tokens.")] = None,
) -> None:
    """Judge the candidates (again) with the judge of the profile or the one named."""
    work = Lab(lab, profile)
    changes = {"judge": name, "max_usd": max_usd, "max_tokens": max_tokens}
    settings = type(work.profile.judge).model_validate(
        work.profile.judge.model_dump() | {key: value for key, value in changes.items() if value is not None}
    ) if name in (None, "baseline", "openai") else None
    if settings is None:
        raise InputError(f"no judge '{name}'", "one of: baseline, openai")
    work.profile = work.profile.model_copy(update={"judge": settings})
    _run(work, until="verdicts")
    print_frame(work.verdicts.select("case_id", "judge_id", "score", "usable", "grounded_share", "action", "abstain").collect())


@app.command()
def evaluate(
    incidents: Annotated[Path, typer.Option(help="Incident file, JSON lines.")],
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE, as_json: JsonOption = False,
) -> None:
    """Compare what was flagged with labelled incidents: rates with intervals, per session and per incident."""
    work = Lab(lab, profile)
    result = work.evaluate(incidents).as_dict()
    if as_json:
        sys.stdout.write(to_json(result) + "\n")
    else:
        _print_summary(work, result)


@app.command()
def label(
    file: Annotated[Path, typer.Argument(help="Incident file, JSON lines.")], lab: LabOption = _LAB, profile: ProfileOption = _PROFILE
) -> None:
    """Label sessions from an incident file."""
    labels = Lab(lab, profile).label(file)
    counts = dict(labels.unique("session_id")["verdict"].value_counts().iter_rows())
    said = ", ".join(f"{n} sessions {verdict}" for verdict, n in sorted(counts.items()))
    out.print(said or "no session holds an event of these incidents")


@app.command()
def report(
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
    period: Annotated[str | None, typer.Option(help="Period in the title and file name, e.g. 2026-11.")] = None,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder of the report.")] = Path("reports"),
    lang: Annotated[str, typer.Option(help="en or ko.")] = "en",
) -> None:
    """Write the report: one HTML file that works offline."""
    if lang not in ("en", "ko"):
        raise InputError(f"no language '{lang}'", "en or ko")
    out.print(f"Report: {Lab(lab, profile).report(out_dir, period=period, lang=lang)}", soft_wrap=True)


@app.command()
def ledger(lab: LabOption = _LAB, as_json: JsonOption = False) -> None:
    """Show the account of everything that was read; exit 1 when it does not balance."""
    account = Lab(lab).ledger()
    if as_json:
        sys.stdout.write(to_json(account) + "\n")
    else:
        shown = account.select(
            pl.col("path").map_elements(lambda path: Path(path).name, return_dtype=pl.String).alias("archive"),
            "n_records", "n_events", "n_duplicates", "n_superseded", "n_quarantined", "bytes", "bytes_left", "damage", "balanced",
        )
        print_frame(shown)
        totals = account.select(pl.col("n_records", "n_events", "n_duplicates", "n_superseded", "n_quarantined").sum()).row(0, named=True)
        out.print(
            f"{totals['n_records']:,} records = {totals['n_events']:,} events + {totals['n_duplicates']:,} duplicates + "
            f"{totals['n_superseded']:,} superseded stages + {totals['n_quarantined']:,} quarantined: "
            + ("balanced" if account["balanced"].all() else "DOES NOT BALANCE")
        )
    if not account["balanced"].all():
        raise typer.Exit(LedgerError.exit_code)


@app.command()
def blind(lab: LabOption = _LAB, as_json: JsonOption = False) -> None:
    """Show what these archives cannot show, and why."""
    _emit(Lab(lab).blind(), as_json)


@app.command()
def volume(lab: LabOption = _LAB, top: Annotated[int, typer.Option(min=1)] = 20, as_json: JsonOption = False) -> None:
    """Show what makes the volume."""
    _emit(Lab(lab).volume(top), as_json)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="DuckDB SQL over the lab's tables.")], lab: LabOption = _LAB,
    shape: Annotated[str, typer.Option("--format", help="table, csv, json or parquet (needs --out).")] = "table",
    to: Annotated[Path | None, typer.Option("--out", help="File to write instead of printing.")] = None,
) -> None:
    """Ask the lab's tables in SQL."""
    frame = Lab(lab).sql(query)
    if shape == "table":
        print_frame(frame)
    elif shape == "json":
        write(to_json(frame) + "\n", to)
    elif shape == "csv":
        nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
        write(frame.with_columns(pl.col(nested).map_elements(str, return_dtype=pl.String)).write_csv(), to)
    elif shape == "parquet" and to is not None:
        frame.write_parquet(to)
    else:
        raise InputError(f"format '{shape}' cannot be printed", "--format table, csv or json; parquet needs --out FILE")


@app.command()
def show(
    what: Annotated[str, typer.Argument(help="Case or session id; its beginning is enough.")], lab: LabOption = _LAB,
    original: Annotated[bool, typer.Option(help="Also print the masked records from the archive.")] = False,
    prompt: Annotated[bool, typer.Option(help="Print exactly what a language model would see.")] = False,
) -> None:
    """Show all that is known of a case or session."""
    work = Lab(lab)
    if prompt:
        sys.stdout.write(work.prompt(what) + "\n")
        return
    _print_case(work.case(what))
    if original:
        sys.stdout.write(to_json(work.originals(what)) + "\n")


@profiles.command("show")
def profile_show(profile: ProfileOption = _PROFILE) -> None:
    """Print every setting with its value."""
    sys.stdout.write(Lab(profile=profile).profile.model_dump_json(indent=2) + "\n")


@profiles.command("check")
def profile_check(profile: Annotated[str, typer.Argument(help="Profile to check.")]) -> None:
    """Say whether a profile is fine."""
    checked = Lab(profile=profile).profile
    out.print(f"profile '{checked.name}' is fine ({checked.digest[:16]})")


# ---- printing ------------------------------------------------------------------------------------------------


def _ingest(work: Lab, sources: list[Any], cluster: str | None) -> bool:
    """Ingest with a progress bar; print what was refused and return whether anything was."""
    with _progress() as bars:
        tasks: dict[Path, TaskID] = {}

        def advance(path: Path, done: int, total: int) -> None:
            if path not in tasks:
                tasks[path] = bars.add_task(f"read {path.name}", total=max(total >> 20, 1))
            bars.update(tasks[path], completed=max(done >> 20, 1) if done >= total else done >> 20)

        result = work.ingest(*sources, cluster=cluster, progress=advance)
    for error in result.refused:
        err.print(f"[yellow]refused:[/] {escape(str(error))}", soft_wrap=True)
    return bool(result.refused)


def _run(work: Lab, *, until: str | None = None, force: bool = False) -> list[str]:
    with _progress() as bars:
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        result = work.run(until=until, force=force, progress=advance)
    for note in result.notes:
        err.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    return result.made


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as bars:
        yield bars


def _emit(frame: pl.DataFrame, as_json: bool) -> None:
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


def _print_summary(work: Lab, evaluation: dict[str, Any]) -> None:
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


def _print_case(found: dict[str, Any]) -> None:
    case = found["case"]
    if case:
        place = f"rank {case['rank']}, score {case['score']:.2f}, {case['selected_by']}"
        out.print(f"[bold]{case['case_id']}[/]  {place}: {escape(case['why'])}")
    for session in found["sessions"].iter_rows(named=True):
        out.print(f"\n[bold]{session['session_id']}[/]  {escape(visible(session['actor']) or '(no user)')} from {session['source_ip']}, "
                  f"{session['start']:%Y-%m-%d %H:%M:%S} UTC, {session['n_events']} events")
        out.print(f"  {escape(session['summary'])}", soft_wrap=True)
    for signal in found["signals"].sort("strength", descending=True).iter_rows(named=True):
        line = f"  • {signal['kind']} {signal['detector_id']} ({signal['strength']:.2f}): {signal['reason']}"
        out.print(escape(line), soft_wrap=True)
    for verdict in found["verdicts"].iter_rows(named=True):
        score = "abstained" if verdict["score"] is None else f"score {verdict['score']:.2f}"
        out.print(f"\n[bold]judge {verdict['judge_id']}[/]: {score}, {verdict['action'] or 'no action'}")
        for ground in verdict["grounds"]:
            mark = "[green]✓[/]" if ground["holds"] else "[red]✗[/]"
            wrong = f" — {ground['wrong']}" if ground["wrong"] else ""
            out.print(f"  {mark} {escape((ground['sentence'] or '') + wrong)}", soft_wrap=True)
        for check in verdict["checks"]:
            out.print(f"  □ {escape(check)}", soft_wrap=True)
    columns = ["time", "verb", "resource", "subresource", "namespace", "name", "status", "source_ip", "user_agent", "event_id"]
    out.print()
    print_frame(found["events"].select(columns).head(50))
    if found["events"].height > 50:
        out.print(f"… and {found['events'].height - 50:,} more events")


def main() -> None:
    """Run the command line; every expected error is one line on stderr and exit code 1 or 2."""
    try:
        app()
    except AuditLabError as error:
        err.print(f"[red]error:[/] {escape(visible(str(error)))}", soft_wrap=True)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        err.print("stopped; nothing half-done is kept")
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(0) from None
    except Exception as error:
        if os.environ.get("AUDIT_LAB_TRACEBACK"):
            raise
        what = escape(visible(f"{type(error).__name__}: {error}".splitlines()[0][:300]))
        err.print(f"[red]internal error:[/] {what} (hint: AUDIT_LAB_TRACEBACK=1 shows where; please report it)", soft_wrap=True)
        raise SystemExit(70) from None


if __name__ == "__main__":
    main()
