"""Words of the judge: judge, compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.markup import escape

from audit_lab.cli_options import JsonOption, LabOption, ProfileOption
from audit_lab.cli_show import emit, naming_profile, run_with_bars
from audit_lab.counting import counted
from audit_lab.errors import InputError
from audit_lab.lab import Lab
from audit_lab.printing import err, out, print_frame, to_json

_LAB, _PROFILE = Path("lab"), None


def judge(
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
    name: Annotated[str | None, typer.Option("--judge", help="baseline, openai or replay; the profile says where.")] = None,
    max_usd: Annotated[float | None, typer.Option(help="Hard limit for this run, US dollars.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Hard limit for this run, tokens.")] = None,
    lang: Annotated[str | None, typer.Option(help="Language of a model's summary: en or ko.")] = None,
    export_prompts: Annotated[Path | None, typer.Option(help="Write the questions to this file instead of asking.")] = None,
    batch_model: Annotated[str, typer.Option(help="With --export-prompts: lines as batch services take them, for this model.")] = "",
    for_cloud: Annotated[bool, typer.Option("--for-cloud", help="With --export-prompts: only cases that may leave the house.")] = False,
    import_answers: Annotated[Path | None, typer.Option(help="Take answers from this file, then judge with 'replay'.")] = None,
    probe: Annotated[bool, typer.Option("--probe", help="Ask the model fixed questions; exit 1 when it changed.")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="With --probe: from now on compare with the model as it is now.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Judge the candidates (again) with the judge of the profile or the one named, or elsewhere; exit 1 where a case has no answer."""
    work = Lab(lab, profile)
    # The judge named here counts for what is exported and probed, too.
    work.profile = work.with_judge(judge=name, max_usd=max_usd, max_tokens=max_tokens, lang=lang)
    if (batch_model or for_cloud) and export_prompts is None:
        raise InputError("--batch-model and --for-cloud go with --export-prompts", "audit-lab judge --export-prompts FILE --for-cloud")
    if accept and not probe:
        raise InputError("--accept goes with --probe", "audit-lab judge --probe --accept")
    if probe:
        with naming_profile(work, profile):
            found = work.probe(accept=accept)
        emit(found, as_json)
        if found["changed"].any() and not accept:
            raise typer.Exit(1)
        return
    if export_prompts is not None:
        run_with_bars(work, until="candidates")  # further on the profile's judge would be asked
        n = work.export_prompts(export_prompts, batch_model=batch_model, for_cloud=for_cloud)
        out.print(f"{counted(n, 'question')} in {export_prompts}", soft_wrap=True)
        return
    if import_answers is not None:
        work.import_answers(import_answers)
        work.profile = work.with_judge(judge=name or "replay")
    with naming_profile(work, profile):
        done = run_with_bars(work, until="verdicts")
    if import_answers is not None:
        err.print(f"[yellow]note:[/] {work.imported_fit(import_answers).says()}", soft_wrap=True)
    columns = ("case_id", "judge_id", "score", "usable", "grounded_share", "action", "abstain")
    emit(work.verdicts.select(columns).collect(), as_json)
    if done.unanswered:
        raise typer.Exit(1)


def compare(
    first: Annotated[str, typer.Argument(help="champion (the lab's verdicts), challenger, or a judge's name.")] = "champion",
    second: Annotated[str, typer.Argument(help="Another; without names: the lab's verdicts and those in shadow.")] = "challenger",
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE, as_json: JsonOption = False,
) -> None:
    """Compare two judges on the same candidates: agreement, flips, cost, and with labels which is better."""
    work = Lab(lab, profile)
    with naming_profile(work, profile):
        numbers, cases = work.compare(first, second)
    if as_json:
        sys.stdout.write(to_json(numbers | {"by_case": cases.to_dicts()}) + "\n")
        return
    differing = cases.filter(pl.col("difference").is_null() | (pl.col("difference") != 0))
    if differing.height:
        print_frame(differing.head(20))
    paired, bills = numbers.pop("paired"), {letter: numbers.pop(letter) for letter in ("a", "b")}
    for letter, bill in bills.items():
        print_pairs(f"judge {letter}", bill)
    print_pairs("side by side", {**numbers, "differ in score": differing.height})
    if paired and paired["n_only_one"]:
        left_out = f"{counted(paired['n_only_one'], 'labelled case')}: left out"
        out.print(f"only one of them gave a verdict that may be used on {left_out}")
    for name in ("recall", "fpr", "average_precision") if paired else ():
        rate = paired[f"{name}_difference"]
        chance = f", p {paired[f'{name}_p']:.3f}" if paired.get(f"{name}_p") is not None else ""
        said = f"unknown ({rate['reason']})" if rate["value"] is None else f"{rate['value']:+.3f}{_interval(rate)}{chance}"
        out.print(f"{name}, second less first, on {counted(paired['n'], 'labelled case')}: {said}", soft_wrap=True)


def print_pairs(title: str, facts: dict[str, Any]) -> None:
    """Print facts that are known as one line."""
    known = [f"{name.replace('_', ' ')} {value:.3g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
             for name, value in facts.items() if value is not None]
    out.print(escape(f"{title}: {', '.join(known)}"), soft_wrap=True)


def _interval(rate: dict[str, Any]) -> str:
    return "" if rate["low"] is None else f" ({rate['low']:+.3f} to {rate['high']:+.3f})"


JUDGE_WORDS = (judge, compare)
