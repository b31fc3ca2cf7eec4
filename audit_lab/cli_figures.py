"""How figures look on a terminal: an evaluation, a promise, a ladder."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.markup import escape
from rich.table import Table

from audit_lab.counting import counted
from audit_lab.lab import Lab
from audit_lab.printing import out, print_frame, to_json

if TYPE_CHECKING:
    from audit_lab.evaluate import Calibration, Promise


def rate_text(rate: dict[str, Any], percent: bool = True) -> str:
    """Return a rate with its interval and denominator, or why there is none.

    >>> rate_text({"value": 0.5, "low": 0.25, "high": 0.75, "n": 8})
    '50.0% (25.0–75.0, n 8)'
    >>> rate_text({"value": None, "low": None, "high": None, "n": 0, "reason": "no flagged sessions"})
    'unknown: no flagged sessions'
    """
    if rate["value"] is None:
        return f"unknown: {rate.get('reason') or 'too few data'}"
    scale, sign, digits = (100, "%", 1) if percent else (1, "", 3)
    said = f"{rate['value'] * scale:.{digits}f}{sign}"
    if rate["low"] is None:
        return f"{said} (n {rate['n']:,}; {rate.get('reason') or 'no interval'})"
    return f"{said} ({rate['low'] * scale:.{digits}f}–{rate['high'] * scale:.{digits}f}, n {rate['n']:,})"


def print_evaluation(result: dict[str, Any]) -> None:
    """Print the JSON object of an evaluation for people: levels, operating points, probabilities, judges, audits, versions."""
    confidence = f"{result['confidence']:.0%}"
    out.print(f"\n[bold]Levels[/]  at score ≥ {result['threshold']}, {confidence} intervals over actors, exact ones over incidents")
    _table(("unit", "recall", "false-positive rate", "precision"), [
        (unit, *(rate_text(block[name]) for name in ("recall", "fpr", "precision")))
        for unit, block in (("event", result["events"]), ("session", result["sessions"]), ("case", result["cases"]))
    ])
    incidents, delay, lead = result["incidents"], result["incidents"]["time_to_detect_s"], result["incidents"]["lead_s"]
    _table(None, [
        ("incidents found", rate_text(incidents["recall"])),
        ("  a verdict cites one of its events", rate_text(incidents["cited"])),
        ("  found before the first damage", rate_text(incidents["before_impact"])),
        ("time to detect, median", _seconds(delay)),
        ("from detection to damage, median", _seconds(lead)),
        ("average precision over cases", rate_text(result["cases"]["average_precision"], percent=False)),
    ])
    out.print("\n[bold]Operating points[/]")
    _table(("at most so many cases a day", "cases", "recall", "precision", "incidents found"), [
        (f"{point['alerts_per_day']}", f"{point['alerts']}" if point["alerts"] is not None else "–",
         *(rate_text(point[name]) for name in ("recall", "precision", "incidents")))
        for point in result["alerts_per_day"]
    ])
    _table(None, [
        *((f"false-positive rate at recall {point['recall']:g}", rate_text(point["fpr"])) for point in result["fpr_at_recall"]),
        *((f"precision where 1 session in {1 / point['prevalence']:,.0f} is malicious", rate_text(point["precision"]))
          for point in result["precision_at_prevalence"]),
    ])
    _probabilities(result)
    for name, judge in result["judges"].items():
        cost = "unknown: " + judge["cost_reason"] if judge["cost_per_finding_usd"] is None else f"{judge['cost_per_finding_usd']:.4f} USD"
        out.print(f"\n[bold]Judge {escape(name)}[/]  {judge['n_answered']} of {counted(judge['n_cases'], 'case')} answered")
        _table(None, [
            *((label, rate_text(judge[key])) for label, key in (
                ("recall over its cases", "recall"), ("false-positive rate", "fpr"), ("answers that fit the schema", "schema_valid_share"),
                ("answers that are usable", "usable_share"), ("grounds that hold, by relevance", "grounded_share"))),
            ("cost per confirmed finding", cost),
        ])
    _rules(result)
    _audits(result)
    if len({row["period"] for row in result["by_week"]}) > 1:
        out.print("\n[bold]By week[/]")
        _table(("week of", "measure", "value"), [(row["period"][:10], row["measure"], rate_text(row)) for row in result["by_week"]])
    said = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    out.print(f"\n[dim]{escape(result['evaluation_id'])}, split {escape(result['split'])}; {escape(said)}[/]", soft_wrap=True)


def _probabilities(result: dict[str, Any]) -> None:
    out.print("\n[bold]Scores as probabilities[/]  (0 is best)")
    rows = [("raw, all sessions that were shown", result["probability"])]
    found = result["calibration"]
    if found["calibrated"]:
        rows = [("raw, later sessions", found["raw"]), (f"calibrated ({found['method']}), later sessions", found["calibrated"])]
    _table(("", "Brier score", "calibration error"), [
        (name, rate_text(block["brier"], percent=False), rate_text(block["calibration_error"], percent=False)) for name, block in rows])
    if found["reason"]:
        out.print(f"  {escape(found['reason'])}", soft_wrap=True)


def _rules(result: dict[str, Any]) -> None:
    worst = sorted(
        (rule for rule in result["rules"] if rule["precision"]["value"] is not None and rule["precision"]["value"] < 0.5),
        key=lambda rule: (-rule["fpr"]["value"], rule["rule"]))
    if worst:
        out.print(f"\n[bold]Rules that hit mostly benign sessions[/]  {len(worst)} of {len(result['rules'])}, the noisiest first")
        _table(("rule", "version", "sessions", "malicious", "false-positive rate"), [
            (rule["rule"], rule["version"][:12], str(rule["sessions"]), str(rule["malicious"]), rate_text(rule["fpr"]))
            for rule in worst[:8]
        ])


def _audits(result: dict[str, Any]) -> None:
    found = result["audits"]
    if "recall" not in found:
        return
    audited = f"{found['n_audited']} un-flagged of {counted(found['n_cases'], 'case')} audited"
    out.print(f"\n[bold]From people's reviews[/]  {audited}, exact bounds")
    _table(None, [(name, rate_text(found[key])) for name, key in (
        ("recall over all cases", "recall"), ("false-positive rate", "fpr"), ("precision", "precision"))])


def _seconds(delay: dict[str, Any]) -> str:
    if delay["median"] is None:
        return f"unknown: {delay['reason']}"
    bounds = f"{delay['low']:,.0f} to {delay['high']:,.0f}, " if delay["low"] is not None else ""
    return f"{delay['median']:,.0f} s ({bounds}n {delay['n']})"


def _table(head: tuple[str, ...] | None, rows: list[tuple[str, ...]]) -> None:
    width = len(head) if head else len(rows[0])
    table = Table(box=None, pad_edge=False, show_header=head is not None, header_style="dim", padding=(0, 2, 0, 0))
    for place in range(width):
        table.add_column(head[place] if head else "", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    out.print(table)


def print_ladder(rungs: pl.DataFrame) -> None:
    """Print what each stage adds, one block per budget."""
    for (budget,), part in rungs.group_by("alerts_per_day", maintain_order=True):
        out.print(f"\n[bold]Ladder at {counted(budget, 'case')} a day[/]")
        _table(("stage", "incidents found", "precision", "compared with the stage before"), [
            (row["rung"],
             "–" if row["incidents_found"] is None else f"{row['incidents_found']} of {row['incidents']}",
             "–" if row["precision"] is None else f"{row['precision']:.0%} of {row['alerts']}",
             row["says"] + ("" if row["p_value"] is None else f" (+{row['gained']} −{row['lost']}, p {row['p_value']:.2g})"))
            for row in part.iter_rows(named=True)
        ])


def print_runs(runs: pl.DataFrame) -> None:
    """Print the runs of a grid side by side, each figure with its interval in one column."""
    figures = [name for name in runs.columns if f"{name}_low" in runs.columns]
    settings = [name for name in runs.columns if name != "run_id" and not any(name.startswith(figure) for figure in figures)]

    def said(row: dict[str, Any], name: str) -> str:
        value, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
        return "–" if value is None else f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f}–{high:.3f})"

    rows = [(*(str(row[name]) for name in settings), *(said(row, name) for name in figures)) for row in runs.iter_rows(named=True)]
    _table((*settings, *figures), rows)
    out.print("all figures: audit-lab sql 'SELECT * FROM experiments JOIN metrics USING (evaluation_id)'", soft_wrap=True)


def print_promise(work: Lab, promise: Promise, before: datetime | None, as_json: bool) -> None:
    """Print a promise, what it costs on the data at hand, what later data say of it, and the lines that would put it in force."""
    from audit_lab.evaluate import profile_lines, threshold_proposal  # noqa: PLC0415 - SciPy's statistics take a second to import

    proposal = threshold_proposal(promise, work.profile) if promise.threshold is not None else None
    if as_json:
        sys.stdout.write(to_json(promise.as_dict() | {"proposal": proposal}) + "\n")
        return
    out.print(promise.says(), soft_wrap=True)
    if promise.threshold is None or proposal is None:
        return
    seen = work.at_threshold(promise.threshold, promise.scorer, until=before)
    out.print(f"  there: {_found_there(seen)}")
    if before is not None:
        later = work.at_threshold(promise.threshold, promise.scorer, since=before)
        actors = f"{later['actors_flagged']} of {counted(later['actors'], 'benign actor')}"
        out.print(f"  tested on later sessions: {_found_there(later)}, {actors}", soft_wrap=True)
    out.print("to put it in force, in your profile (it then counts on later sessions only):\n")
    out.print(escape("\n".join("    " + line for line in profile_lines(proposal).splitlines())))


def _found_there(seen: dict[str, Any]) -> str:
    found = f"{seen['incidents_found']} of {counted(seen['incidents'], 'incident')} found"
    return f"{found}, {counted(seen['flagged'], 'session')} flagged"


def print_calibration(made: Calibration, as_json: bool) -> None:
    """Print what was learnt of scores as probabilities, or why nothing was."""
    known = made.calibrator
    if as_json:
        sys.stdout.write(to_json(vars(made) | {"calibrator": known and known.as_dict()}) + "\n")
    elif known is None:
        out.print(f"no calibrator: {made.reason}", soft_wrap=True)
    else:
        taught = f"{counted(known.n, 'session')}, {known.positives} malicious"
        out.print(f"{known.method}, learnt from {taught}; evaluations of later ones show both")
        print_frame(pl.DataFrame({"score": _MARKS, "probability": known.apply(pl.Series(_MARKS).to_numpy()).tolist()}))


_MARKS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
