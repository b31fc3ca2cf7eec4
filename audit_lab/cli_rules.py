"""Words about rules: check, coverage, tune."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from audit_lab.cli_options import JsonOption, LabOption, ProfileOption
from audit_lab.cli_show import emit
from audit_lab.counting import counted
from audit_lab.errors import InputError, LedgerError
from audit_lab.lab import Lab
from audit_lab.printing import err, out, visible, write

# As an account that does not balance: what was asked for was done, and a problem was found.
PROBLEM = LedgerError.exit_code

rules_app = typer.Typer(no_args_is_help=True, help="Sigma rules: check them on the lab's data, coverage of known behaviours, proposals.")


@rules_app.command("check")
def check(
    lab: LabOption = Path("lab"), profile: ProfileOption = None,
    allow_unusable: Annotated[bool, typer.Option("--allow-unusable", help="Exit 0 although rules cannot be used.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say per rule whether it is evaluable or blind on these data and why, its hits and who it fires on; exit 1 when one is unusable."""
    found = Lab(lab, profile).check_rules()
    columns = ["rule_id", "status", "n_hits", "n_events", "n_sessions", "evaluable_share", "runtime_ms", "actor_kinds", "actors", "why"]
    emit(found if as_json else found.select(columns), as_json)
    if not as_json:
        _print_statuses(found)
    unusable = found.filter(pl.col("status") == "unusable")
    if not as_json:
        for rule_id, source, why in unusable.select("rule_id", "source", "why").iter_rows():
            out.print(visible(f"unusable: {rule_id} ({source}): {why}"), soft_wrap=True, markup=False)
    if unusable.height and not allow_unusable:
        hint = "correct them or move them away; --allow-unusable accepts them"
        err.print(f"[red]error:[/] {counted(unusable.height, 'rule')} of {found.height} cannot be used (hint: {hint})", soft_wrap=True)
        raise typer.Exit(PROBLEM)


@rules_app.command("coverage")
def coverage(lab: LabOption = Path("lab"), profile: ProfileOption = None, as_json: JsonOption = False) -> None:
    """Print the matrix of known behaviours and the rules that cover them; with a lab, which of them are blind on its data."""
    found = Lab(lab, profile).rule_coverage()
    # In brackets what only serves correlations.
    both = pl.concat_list("rules", pl.col("base_rules").list.eval(pl.format("({})", pl.element())))
    shown = found.select("behaviour_id", "behaviour", "status", both.list.join(", ").alias("rules"), "highest_level",
                         pl.when("has_floor").then(pl.lit("yes")).otherwise(pl.lit("")).alias("floor"), "why")
    emit(found if as_json else shown, as_json)
    if not as_json:
        _print_statuses(found)


def _print_statuses(found: pl.DataFrame) -> None:
    counts = dict(found["status"].value_counts().iter_rows())
    out.print(", ".join(f"{n} {status}" for status, n in sorted(counts.items())))


@rules_app.command("tune")
def tune(
    until: Annotated[str, typer.Option(help="Only sessions and labels before this time count, e.g. 2026-11-23T05:45:00 (UTC).")],
    lab: LabOption = Path("lab"), profile: ProfileOption = None,
    to: Annotated[Path | None, typer.Option("--out", help="TOML file for the proposals; owner and reason are yours to fill in.")] = None,
    min_sessions: Annotated[int, typer.Option(min=1, help="Fewer sessions are no habit.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Propose exceptions from history; refuse any that would hide a labelled incident. Nothing changes by itself."""
    try:
        moment = datetime.fromisoformat(until)
    except ValueError:
        raise InputError(f"'{until}' is no time", "for example 2026-11-23T05:45:00") from None
    work = Lab(lab, profile)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    proposals, toml = work.tune_rules(moment, min_sessions)
    unchecked = work.why_unchecked(moment)
    if to is not None:
        write(toml, to)
    if as_json:
        emit(proposals, as_json)
    else:
        emit(proposals.select("exception_id", "scope", "n_sessions", "n_events", "share_of_rule", "status", "why", "expires"), as_json)
        out.print(f"{(proposals['status'] == 'proposed').sum()} proposed, {(proposals['status'] != 'proposed').sum()} refused")
    if unchecked:
        err.print(f"[yellow]note:[/] {unchecked}", soft_wrap=True)
