"""The verbs of a Lab as words on the command line; nothing but argument handling and printing."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.markup import escape
from typer.core import TyperGroup

from audit_lab import __version__, cli_beside, cli_review
from audit_lab.cli_drift import drift
from audit_lab.cli_evaluate import EVALUATION_WORDS
from audit_lab.cli_judge import JUDGE_WORDS
from audit_lab.cli_options import JsonOption, LabOption, ProfileOption
from audit_lab.cli_rules import rules_app
from audit_lab.cli_show import emit, ingest_with_bars, naming_profile, odd_sessions, print_case, print_summary, run_with_bars
from audit_lab.counting import counted
from audit_lab.errors import AuditLabError, InputError, LedgerError
from audit_lab.lab import Lab
from audit_lab.printing import err, out, print_frame, to_csv, to_json, visible, write
from audit_lab.private import private_file
from audit_lab.profile_files import load_profile
from audit_lab.signals import expired_note, load_exceptions, load_rules

# The words as the help page shows them: in the order of the flow, by what one wants.
PANELS = {
    "The flow": ("demo", "ingest", "run", "judge", "report", "watch"),
    "What is there": ("ledger", "blind", "volume", "sql", "show", "drift"),
    "People": ("review", "label", "export", "release"),
    "How well it works": ("evaluate", "calibrate", "compare", "experiment", "simulate"),
    "Rules and settings": ("rules", "profile"),
}
_PLACES = {word: place for place, word in enumerate(word for words in PANELS.values() for word in words)}


class _InOrder(TyperGroup):
    """The words in the order of `PANELS`, whichever module they come from."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda word: _PLACES.get(word, len(_PLACES)))


app = typer.Typer(
    cls=_InOrder, name="audit-lab", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Find the few Kubernetes audit sessions that matter, and show how well that works. Nothing is ever blocked: a person decides.",
)
profiles = typer.Typer(no_args_is_help=True, help="Settings: show, check.")
app.add_typer(profiles, name="profile")
app.add_typer(rules_app, name="rules")
app.add_typer(cli_review.export_app, name="export")
app.add_typer(cli_review.release_app, name="release")
for word in (*JUDGE_WORDS, *EVALUATION_WORDS, *cli_beside.WORDS, drift, *cli_review.WORDS):
    app.command()(word)

# The base of typer's complaints about words and options; typer exports only some of its children.
_USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]
_LAB, _PROFILE = Path("lab"), None


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"audit-lab {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Take the options that stand before any word."""


@app.command()
def demo(
    data: Annotated[Path, typer.Option(help="Folder of the sample archive.")] = Path("data"),
    lab: LabOption = _LAB, report_dir: Annotated[Path, typer.Option("--out", help="Folder of the report.")] = Path("reports"),
) -> None:
    """Run the whole flow on the sample archive, print what was found, and say where the report is."""
    from audit_lab.calibrating import LIMITS  # noqa: PLC0415 - scikit-learn takes a second to import
    from audit_lab.evaluate import choose_threshold  # noqa: PLC0415

    if not (data / "labels.jsonl").is_file():
        raise InputError(f"no sample in '{data}'", "run it in the project's folder, or give --data")
    work = Lab(lab, "sample")
    started = time.monotonic()
    ingest_with_bars(work, [data], "sample")
    run_with_bars(work)
    evaluation = work.evaluate(data / "labels.jsonl")
    path = work.report(report_dir, period="sample")
    print_summary(work, evaluation.as_dict())
    for limit in LIMITS:
        said = choose_threshold(evaluation, max_fpr=limit).says()
        out.print(f"\nat most {limit:.1%} of benign actors flagged, 95 % sure: {said}", soft_wrap=True)
    out.print(f"\nReport: {path}   ({time.monotonic() - started:.0f} s)", soft_wrap=True)


@app.command()
def ingest(
    sources: Annotated[list[str], typer.Argument(help="Archives: files, folders or quoted globs; plain or gzip JSON lines.")],
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
    cluster: Annotated[str | None, typer.Option(help="Name of the cluster these archives come from.")] = None,
) -> None:
    """Read archives into the lab: masked, typed, accounted for. Reading a file again changes nothing."""
    work = Lab(lab, profile)
    refused = ingest_with_bars(work, list(sources), cluster)
    account = work.ledger()
    events, strange = int(account["n_events"].sum()), int(account["n_quarantined"].sum())
    out.print(f"{counted(events, 'event')} from {counted(account.height, 'archive')} in lab '{lab}'; every record is accounted for")
    if strange:
        out.print(f"{counted(strange, 'record')} not understood: audit-lab sql 'SELECT * FROM quarantine'")
    if refused or events == 0:
        if not refused:
            hint = "audit-lab sql 'SELECT * FROM quarantine' says why"
            err.print(f"[red]error:[/] not one record is an audit event (hint: {hint})", soft_wrap=True)
        raise typer.Exit(2)


@app.command()
def run(
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
    until: Annotated[str | None, typer.Option(help="Last stage: sessions, signals, candidates, verdicts.")] = None,
    force: Annotated[bool, typer.Option(help="Run every stage, stale or not.")] = False,
) -> None:
    """Run every stale stage, in order; exit 1 where a judge left cases without an answer."""
    work = Lab(lab, profile)
    with naming_profile(work, profile):
        done = run_with_bars(work, until=until, force=force)
    out.print(f"ran {', '.join(done.made)}" if done.made else "nothing to do: every stage is up to date")
    if done.unanswered:
        raise typer.Exit(1)


@app.command()
def label(
    file: Annotated[Path, typer.Argument(help="Incident file (JSON lines), or labels of people (.csv with a header).")],
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
) -> None:
    """Add labels from an incident file, or from a CSV file of what people said, with author and time."""
    labels = Lab(lab, profile).label(file)
    of_people = file.suffix.lower() == ".csv"
    counts = dict(labels.unique("target_id" if of_people else "session_id")["verdict"].value_counts().iter_rows())
    said = ", ".join(f"{counted(n, 'case' if of_people else 'session')} {verdict}" for verdict, n in sorted(counts.items()))
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
            f"{counted(totals['n_records'], 'record')} = {counted(totals['n_events'], 'event')} + "
            f"{counted(totals['n_duplicates'], 'duplicate')} + {counted(totals['n_superseded'], 'superseded stage')} + "
            f"{totals['n_quarantined']:,} quarantined: "
            + ("balanced" if account["balanced"].all() else "DOES NOT BALANCE")
        )
    if not account["balanced"].all():
        raise typer.Exit(LedgerError.exit_code)


@app.command()
def blind(lab: LabOption = _LAB, as_json: JsonOption = False) -> None:
    """Show what these archives cannot show, and why."""
    emit(Lab(lab).blind(), as_json)


@app.command()
def volume(lab: LabOption = _LAB, top: Annotated[int, typer.Option(min=1)] = 20, as_json: JsonOption = False) -> None:
    """Show what makes the volume."""
    emit(Lab(lab).volume(top), as_json)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="DuckDB SQL over the lab's tables.")], lab: LabOption = _LAB,
    shape: Annotated[str, typer.Option("--format", help="table, csv (safe in a spreadsheet), json or parquet (needs --out).")] = "table",
    to: Annotated[Path | None, typer.Option("--out", help="File to write instead of printing.")] = None,
) -> None:
    """Ask the lab's tables in SQL."""
    frame = Lab(lab).sql(query)
    if shape == "table":
        print_frame(frame)
    elif shape == "json":
        write(to_json(frame) + "\n", to)
    elif shape == "csv":
        write(to_csv(frame), to)
    elif shape == "parquet" and to is not None:
        frame.write_parquet(private_file(to))
    else:
        raise InputError(f"format '{shape}' cannot be printed", "--format table, csv or json; parquet needs --out FILE")


@app.command()
def show(
    what: Annotated[str, typer.Argument(help="Case or session id; its beginning is enough.")], lab: LabOption = _LAB,
    original: Annotated[bool, typer.Option(help="Also print the masked records from the archive.")] = False,
    prompt: Annotated[bool, typer.Option(help="Print exactly what a language model would see.")] = False,
    lang: Annotated[str | None, typer.Option(help="Language of summary, grounds and checks: en or ko.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every event, not only the most important ones.")] = False,
    profile: ProfileOption = _PROFILE,
) -> None:
    """Show all that is known of a case or session."""
    work = Lab(lab, profile)
    work.profile = work.with_judge(lang=lang)
    if prompt:
        if "candidates" in work.stale():
            err.print("[yellow]note:[/] the cases were made with other settings or data: audit-lab run makes them anew", soft_wrap=True)
        sys.stdout.write(work.prompt(what) + "\n")
        return
    found = work.case(what)
    likeness = {name: work.nearest(name, 2) for name in odd_sessions(found)}
    print_case(found, work.profile.judge.lang, everything=everything, likeness=likeness)
    if original:
        sys.stdout.write(to_json(work.originals(what)) + "\n")


@profiles.command("show")
def profile_show(profile: ProfileOption = _PROFILE) -> None:
    """Print every setting with its value."""
    sys.stdout.write(load_profile(profile).model_dump_json(indent=2) + "\n")


@profiles.command("check")
def profile_check(profile: Annotated[str, typer.Argument(help="Profile to check.")]) -> None:
    """Say whether a profile is fine, with the rules and exceptions that it names."""
    checked = load_profile(profile)
    load_rules(checked.signals.rules)
    known = [item for path in checked.signals.exceptions for item in load_exceptions(path, routine=False)]
    out.print(f"profile '{checked.name}' is fine ({checked.digest[:16]})")
    if note := expired_note(known, datetime.now(UTC).date()):
        out.print(escape(f"note: {visible(note)}"))


for _panel, _words in PANELS.items():
    _infos: list[Any] = [*app.registered_commands, *app.registered_groups]
    for _info in _infos:
        if (_info.name or getattr(getattr(_info, "callback", None), "__name__", "")) in _words:
            _info.rich_help_panel = _panel


# ---- the way out ---------------------------------------------------------------------------------------------


def main() -> None:
    """Run the command line; every expected error is one line on stderr and exit code 1 or 2."""
    try:
        raise SystemExit(app(standalone_mode=False) or 0)
    except _USAGE_ERROR as error:
        if "NoArgs" in type(error).__name__:  # called without a word: the message is the help page
            error.show()
        else:
            err.print(f"[red]error:[/] {escape(visible(error.format_message()))} (hint: audit-lab --help)", soft_wrap=True)
        raise SystemExit(2) from None
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
