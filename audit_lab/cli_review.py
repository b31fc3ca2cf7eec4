"""Words for people: review, and what becomes of what they said."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.text import Text

from audit_lab.cli_desk import review_lines, review_screen
from audit_lab.cli_evaluate import moment
from audit_lab.cli_options import JsonOption, LabOption, ProfileOption
from audit_lab.counting import counted
from audit_lab.errors import InputError
from audit_lab.lab import Lab
from audit_lab.printing import err, out, print_frame, to_json, visible

_LAB, _PROFILE = Path("lab"), None
_LISTED = ["place", "case_id", "priority", "priority_reason", "score", "state", "n_events", "actors", "summary"]


def review(
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
    author: Annotated[str | None, typer.Option(envvar="AUDIT_LAB_AUTHOR", help="Who judges; when not given, your login name.")] = None,
    blind_share: Annotated[float | None, typer.Option(min=0, max=1, help="Share of cases whose score is hidden.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many cases.")] = None,
    case: Annotated[list[str] | None, typer.Option("--case", help="This case first, even if it was judged before; repeatable.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also the chosen cases below the line, at the end.")] = False,
    as_list: Annotated[bool, typer.Option("--list", help="Print the queue and end.")] = False,
    feedback: Annotated[bool, typer.Option("--feedback", help="Say how rules and judges did against people's word, and end.")] = False,
    agreement: Annotated[bool, typer.Option("--agreement", help="Say how far reviewers agree, and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Judge the cases of the queue with single keys (? shows them); from a pipe, one command a line."""
    work = Lab(lab, profile)
    if agreement:
        _print_agreement(work.agreement(), as_json)
        return
    if feedback:
        _print_feedback(work.feedback(), as_json)
        return
    if blind_share is not None:
        settings = work.profile.review.model_copy(update={"blind_share": blind_share})
        work.profile = work.profile.model_copy(update={"review": settings})
    if as_list:
        queue = work.review_queue(author, cases=case or [], everything=everything).head(limit if limit is not None else sys.maxsize)
        if as_json:
            sys.stdout.write(to_json(queue) + "\n")
        else:
            print_frame(queue.select(pl.col(name).list.join(", ") if name == "actors" else name for name in _LISTED))
        return
    if as_json:
        raise InputError("a review is no JSON", "--list --json prints the queue, --agreement --json how far reviewers agree")
    desk = work.desk(author or getpass.getuser(), cases=case or [], everything=everything, limit=limit)
    try:
        if sys.stdin.isatty() and sys.stdout.isatty():
            review_screen(desk)
        else:
            review_lines(desk, sys.stdin)
    finally:
        desk.close()
    said = desk.progress
    out.print(Text(visible(f"{desk.author}: {said['n_done']} labelled, {said['n_left']} left, {said['minutes']:.1f} minutes")))


def _print_agreement(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(to_json(found) + "\n")
        return
    rows = [{"who": " and ".join(pair["authors"]), "measure": "Cohen's kappa", **pair} for pair in found["pairs"]]
    rows.append({"who": f"all {found['n_people']}", "measure": "Krippendorff's alpha", **found["alpha"]})
    columns = ("who", "measure", "value", "low", "high", "n", "reason")
    kinds = {"value": pl.Float64, "low": pl.Float64, "high": pl.Float64, "n": pl.Int64}
    print_frame(pl.DataFrame([{name: row[name] for name in columns} for row in rows], schema={
        name: kinds.get(name, pl.String) for name in columns}))
    for item in found["disagreements"]:
        said = ", ".join(f"{who} {verdict}" for who, verdict in zip(item["authors"], item["verdicts"], strict=True))
        out.print(Text(visible(f"{item['target_id']}: {said}")), soft_wrap=True)


def _print_feedback(found: dict[str, pl.DataFrame], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(to_json({name: frame.to_dicts() for name, frame in found.items()}) + "\n")
        return
    titles = {
        "rules": "False alarms of rules, among decided cases", "judges": "False alarms of judges, among decided cases that they flagged",
        "mistakes": "Mistakes of judges that came again", "wrong_grounds": "Grounds that did not hold",
        "pull": "People who agreed with an alert, score hidden and shown",
    }
    for name, title in titles.items():
        out.print(Text(f"\n{title}", style="bold"))
        frame = found[name].drop("case_ids", strict=False)
        if frame.is_empty():
            out.print("none")
        else:
            print_frame(frame)


export_app = typer.Typer(no_args_is_help=True, help="Hand findings over to other systems; nothing is blocked.")


@export_app.command("findings")
def export_findings(
    shape: Annotated[str, typer.Option("--format", help="ocsf (Detection Finding, JSON lines), tickets-md or tickets-json.")],
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
    to: Annotated[Path | None, typer.Option("--out", help="File, or folder; when not given, it is printed.")] = None,
    closed: Annotated[bool | None, typer.Option("--closed/--open", help="With those that people called benign (ocsf: yes).")] = None,
) -> None:
    """Write the flagged cases, and those that people called malicious, with their priority and its reason."""
    text, files, n = Lab(lab, profile).export_findings(shape, to, closed=closed)
    if to is None:
        sys.stdout.write(text)
    else:
        where = files[0] if len(files) == 1 else f"{counted(len(files), 'file')} in {to}"
        out.print(Text(f"{counted(n, 'finding')}: {where}"), soft_wrap=True)


release_app = typer.Typer(no_args_is_help=True, help="Proposals for a release, from what people decided. Nothing changes by itself.")


@release_app.command("propose")
def propose(
    lab: LabOption = _LAB, profile: ProfileOption = _PROFILE,
    author: Annotated[str | None, typer.Option(envvar="AUDIT_LAB_AUTHOR", help="Who proposes; else your login name.")] = None,
    until: Annotated[str | None, typer.Option(help="Learn from sessions that ended before this time (UTC), test on later ones.")] = None,
    max_fpr: Annotated[float, typer.Option(min=0, max=1, help="Promise of the threshold: share of benign actors flagged.")] = 0.05,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Probability with which that holds.")] = 0.95,
    as_json: JsonOption = False,
) -> None:
    """Write down what follows from people's decisions: examples, exceptions, a threshold, rules and prompts to look at."""
    found, notes = Lab(lab, profile).propose_release(
        author or getpass.getuser(), until=moment(until), max_fpr=max_fpr, confidence=confidence)
    _print_proposals(found, as_json)
    for note in notes:
        err.print(Text(visible(f"note: {note}"), style="yellow"), soft_wrap=True)


@release_app.command("list")
def list_proposals(lab: LabOption = _LAB, as_json: JsonOption = False) -> None:
    """Print the proposals that stand."""
    _print_proposals(Lab(lab).standing_proposals(), as_json)


def _print_proposals(found: pl.DataFrame, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(to_json(found) + "\n")
    elif found.is_empty():
        out.print("nothing is proposed")
    else:
        print_frame(found.select("proposal_id", "kind", "title", "reason"))


WORDS = (review,)
