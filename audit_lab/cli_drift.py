"""The word drift: what changed between weeks, how much, since when, and whether it is alarming."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from audit_lab.cli_options import JsonOption, LabOption, ProfileOption
from audit_lab.counting import counted
from audit_lab.drifting import drift_alarms
from audit_lab.errors import InputError
from audit_lab.lab import Lab
from audit_lab.printing import out, print_frame, to_json, visible
from audit_lab.profile import DriftSettings

_LAB, _PROFILE = Path("lab"), None
MEASURES = {"category": "PSI", "number": "SD", "vector": "SD", "rate": "×", "volume": "×"}


def drift(
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
    by: Annotated[str | None, typer.Option(help="week or day; when not given, weeks where there are two or more.")] = None,
    since: Annotated[str | None, typer.Option(help="Compare from this date on with the time before, e.g. 2026-11-02.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when something alarms in the last period.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what changed between weeks: clients, actors, rules, scores, labels; how much, since when, and whether it is alarming."""
    work = Lab(lab, profile)
    table = work.drift(by, _date(since))
    alarms = drift_alarms(table)
    if as_json:
        sys.stdout.write(to_json({"alarms": alarms.to_dicts(), "drift": table.to_dicts()}) + "\n")
    else:
        _print(table, alarms, work.profile.drift)
    if check and alarms["is_on"].any():
        raise typer.Exit(1)


def _date(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"no date '{text}'", "write it as 2026-11-02") from None


def chance_of_alarm(by: str, periods: int, settings: DriftSettings) -> str:
    """Say how often chance alone alarms, for one period and for all that are compared, and what that rests on.

    >>> print(chance_of_alarm("week", 4, DriftSettings()))
    chance alone: at most 5.0% of weeks alarm, 18.5% of stretches of 4 weeks; as far as days are alike in nothing but their weekday
    """
    a = settings.alpha
    together = by == "day" and settings.days_together
    each = 1 - (1 - a) ** (1 / periods) if together else a
    whole = a if together else 1 - (1 - a) ** periods
    alike = "days are alike in nothing but their weekday" if by == "week" else "hours of a day are no more alike than others: look twice"
    return f"chance alone: at most {each:.1%} of {by}s alarm, {whole:.1%} of stretches of {counted(periods, by)}; as far as {alike}"


def _print(table: pl.DataFrame, alarms: pl.DataFrame, settings: DriftSettings) -> None:
    compared = table.filter(pl.col("kind") != "none")
    if compared.height:
        starts = compared["period"].unique().sort().dt.strftime("%Y-%m-%d").to_list()
        periods, word = len(starts), compared["by"][0]
        watched = compared.filter(pl.col("kind") != "presence").select("feature").n_unique()
        out.print(
            f"{counted(periods, word)} from {starts[0]} on compared with the time before: {counted(watched, 'feature')} and all new "
            f"values, {counted(alarms.height, 'alarm') if alarms.height else 'no alarm'}", soft_wrap=True,
        )
        out.print(chance_of_alarm(word, periods, settings), style="dim", soft_wrap=True)
    if alarms.height:
        print_frame(pl.DataFrame([_row(alarm) for alarm in alarms.iter_rows(named=True)]))
    for feature, reason in table.filter(pl.col("reason").is_not_null()).select("feature", "reason").unique(maintain_order=True).iter_rows():
        out.print(visible(f"not compared: {feature} ({reason})"), soft_wrap=True, markup=False)


def _row(alarm: dict[str, Any]) -> dict[str, str]:
    kind, size = alarm["kind"], alarm["size"]
    return {
        "since": f"{alarm['since']:%Y-%m-%d}", "told": f"{alarm['first_period']:%Y-%m-%d}", "on": "yes" if alarm["is_on"] else "no",
        "feature": alarm["feature"], "what": alarm["value"] or alarm["detail"] or _from_to(alarm),
        "size": "new" if kind == "presence" else "–" if size is None else f"{MEASURES[kind]} {size:.2f}",
        "q": "–" if alarm["q_value"] is None else f"{alarm['q_value']:.2g}",
    }


def _from_to(alarm: dict[str, Any]) -> str:
    shape = "{:.1%} → {:.1%}" if alarm["kind"] in ("rate", "change point") else "{:,.3g} → {:,.3g}"
    return shape.format(alarm["before"], alarm["after"])
