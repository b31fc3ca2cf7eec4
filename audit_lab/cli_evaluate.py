"""Words of evaluation: evaluate, calibrate, experiment."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from audit_lab.cli_figures import print_calibration, print_evaluation, print_ladder, print_promise, print_runs, rate_text
from audit_lab.cli_options import JsonOption, LabOption, ProfileOption
from audit_lab.cli_show import bars, emit, print_summary
from audit_lab.errors import InputError
from audit_lab.lab import Lab
from audit_lab.printing import out, to_json

_LAB, _PROFILE = Path("lab"), None


def moment(text: str | None) -> datetime | None:
    """Return a time of the command line, UTC where it names no zone.

    >>> moment("2026-11-23 05:40")
    datetime.datetime(2026, 11, 23, 5, 40, tzinfo=datetime.timezone.utc)
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"'{text}' is no time", "for example 2026-11-23 or 2026-11-23T05:40:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def evaluate(
    incidents: Annotated[Path | None, typer.Option(help="Incident file, JSON lines; when not given, the last one.")] = None,
    since: Annotated[str | None, typer.Option(help="Only sessions that start at this time or later (UTC).")] = None,
    until: Annotated[str | None, typer.Option(help="Only sessions that end before this time (UTC).")] = None,
    ladder: Annotated[bool, typer.Option("--ladder", help="Also compare the stages at equal budgets: raw rules to cascade.")] = False,
    injection: Annotated[bool, typer.Option("--injection", help="Also judge the findings again with injected text in the log.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Show earlier evaluations instead, with the versions behind each.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Show the figures at many thresholds instead, from the stored scores.")] = False,
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE, as_json: JsonOption = False,
) -> None:
    """Compare what was flagged with labelled incidents: figures with intervals per event, session, case and incident."""
    work = Lab(lab, profile)
    if history:
        emit(work.history().drop("evaluation_id") if not as_json else work.history(), as_json)
        return
    found = work.evaluate(incidents, since=moment(since), until=moment(until))
    if sweep:
        emit(found.sweep()[::1 if as_json else 5], as_json)
        return
    result = found.as_dict()
    rungs = work.ladder() if ladder else None
    tried = work.injection() if injection else None
    if as_json:
        more = ({"ladder": rungs.to_dicts()} if rungs is not None else {}) | ({"injection_success": tried.as_dict()} if tried else {})
        sys.stdout.write(to_json(result | more) + "\n")
        return
    print_summary(work, result)
    print_evaluation(result)
    if tried is not None:
        out.print(f"\nfindings that injected text talked the judge out of: {rate_text(tried.as_dict())}")
    if rungs is not None:
        print_ladder(rungs)


def calibrate(
    max_fpr: Annotated[float | None, typer.Option(help="Goal: at most this share of benign actors is flagged.")] = None,
    min_recall: Annotated[float | None, typer.Option(help="Goal: at least this share of malicious incidents is found.")] = None,
    min_precision: Annotated[float | None, typer.Option(help="Goal: at least this share of the flagged actors is malicious.")] = None,
    alerts_per_day: Annotated[int | None, typer.Option(help="Goal: at most so many alerts a day.")] = None,
    max_usd_per_day: Annotated[float | None, typer.Option(help="Goal: a day costs at most this, with the two prices below.")] = None,
    review_minute_usd: Annotated[float | None, typer.Option(help="What a minute of review costs.")] = None,
    missed_incident_usd: Annotated[float | None, typer.Option(help="What a missed incident costs.")] = None,
    minutes_per_alert: Annotated[float | None, typer.Option(help="Minutes a look takes; when not given, as people recorded.")] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Learn what scores mean, and remember it.")] = False,
    confidence: Annotated[float, typer.Option(help="Probability with which the goal is kept.")] = 0.95,
    max_share_of_days: Annotated[float, typer.Option(help="Share of days that may exceed a daily goal.")] = 0.05,
    before: Annotated[str | None, typer.Option(help="Learn from sessions that end before this time (UTC); the rest tests it.")] = None,
    by: Annotated[str | None, typer.Option(help="With --max-fpr: a threshold per cluster, actor_kind or source_class.")] = None,
    warm_up: Annotated[bool, typer.Option("--warm-up", help="With --max-fpr: the threshold to use while labels come in.")] = False,
    method: Annotated[str, typer.Option(help="Of --max-fpr: 'order statistic' or 'learn then test'; of --probabilities: auto …")] = "",
    scorer: Annotated[str, typer.Option(help="Whose score: all, fused, rules, outliers …")] = "all",
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE, as_json: JsonOption = False,
) -> None:
    """Choose a threshold with a stated guarantee; exit 1 and the needed number where the labels cannot carry one."""
    work, split = Lab(lab, profile), moment(before)
    if probabilities:
        made = work.calibration(before=split, scorer=scorer, method=method or "auto")
        print_calibration(made, as_json)
        raise typer.Exit(0 if made.calibrator else 1)
    if by is not None:
        emit(work.group_thresholds(by, _needed(max_fpr, "--by"), confidence, before=split), as_json)
        return
    if warm_up:
        found = work.warm_up(_needed(max_fpr, "--warm-up"), confidence, before=split)
        out.print(to_json(found.as_dict()) if as_json else found.says(), soft_wrap=True)
        return
    goals: dict[str, Any] = {
        "max_fpr": max_fpr, "min_recall": min_recall, "min_precision": min_precision, "alerts_per_day": alerts_per_day,
        "max_usd_per_day": max_usd_per_day,
    }
    chosen = [name for name, value in goals.items() if value is not None]
    priced = review_minute_usd is not None and missed_incident_usd is not None
    if priced and not chosen:
        choice = work.cheapest(
            review_minute_usd or 0, missed_incident_usd or 0, minutes_per_alert=minutes_per_alert, scorer=scorer, before=split)
        out.print(to_json(choice.as_dict()) if as_json else choice.says(), soft_wrap=True)
        raise typer.Exit(1 if choice.threshold is None else 0)
    if len(chosen) != 1:
        raise InputError(f"{len(chosen)} goals for a threshold", f"give exactly one of {', '.join(map(_option, goals))}")
    if max_usd_per_day is not None and not priced:
        raise InputError("--max-usd-per-day without prices", "give --review-minute-usd and --missed-incident-usd as well")
    if priced:
        goals["costs"] = work.costs(review_minute_usd or 0, missed_incident_usd or 0, minutes_per_alert)
    goals["method"] = method or "order statistic"
    promise = work.calibrate(confidence=confidence, scorer=scorer, before=split, max_share_of_days=max_share_of_days, **goals)
    print_promise(work, promise, split, as_json)
    if promise.threshold is None:
        raise typer.Exit(1)


def _option(name: str) -> str:
    """Return an argument of Python as the option of the command line.

    >>> _option("max_fpr")
    '--max-fpr'
    """
    return "--" + name.replace("_", "-")


def _needed(max_fpr: float | None, option: str) -> float:
    if max_fpr is None:
        raise InputError(f"{option} without --max-fpr", "for example --max-fpr 0.05")
    return max_fpr


def experiment(
    grid: Annotated[Path, typer.Argument(help="Grid file: TOML with lists of settings.")],
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE, as_json: JsonOption = False,
) -> None:
    """Run a grid of settings on the lab's events and labels, and put the runs side by side."""
    with bars() as progress:
        task = progress.add_task("experiment", total=None)
        found = Lab(lab, profile).experiment(grid, lambda done, total: progress.update(task, completed=done, total=total))
    if as_json:
        emit(found, as_json)
    else:
        print_runs(found)


EVALUATION_WORDS = (evaluate, calibrate, experiment)
