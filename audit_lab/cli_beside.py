"""Words that stand beside the flow: watch, simulate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from audit_lab.cli_options import ProfileOption
from audit_lab.cli_show import bars
from audit_lab.counting import counted
from audit_lab.printing import err, to_json
from audit_lab.profile_files import load_profile

_LAB, _PROFILE = Path("lab"), None


def watch(
    source: Annotated[str, typer.Argument(help="A file that grows, '-', or kafka://host:port/topic.")],
    profile: ProfileOption = _PROFILE,
    from_start: Annotated[bool, typer.Option(help="Begin with what is there already, not only with what comes.")] = True,
    once: Annotated[bool, typer.Option("--once", help="Stop when nothing more comes.")] = False,
) -> None:
    """Run the rules on events as they come: one JSON line for each hit, within seconds; no model is asked."""
    from audit_lab.following import follow  # noqa: PLC0415
    from audit_lab.signals import ROUTINE, load_exceptions, load_rules  # noqa: PLC0415
    from audit_lab.watching import Watcher  # noqa: PLC0415

    settings = load_profile(profile)
    noise = [*ROUTINE, *(item for path in settings.signals.exceptions for item in load_exceptions(path, routine=False))]
    watcher = Watcher(load_rules(settings.signals.rules), settings, noise)
    if not source.startswith("kafka://") and source != "-" and not once and not Path(source).exists():
        err.print(f"waiting for '{source}'")
    for batch in follow(source, from_start=from_start, wait=not once):
        for hit in watcher.feed(batch):
            sys.stdout.write(json.dumps(hit) + "\n")  # names of actors are untrusted: a terminal gets ASCII only
        sys.stdout.flush()
        if once and not batch and source != "-":
            break
    err.print(f"{counted(watcher.n_events, 'event')} read, {counted(watcher.n_rejected, 'record')} not understood")


def simulate(
    days: Annotated[int, typer.Option(min=1, help="Days to simulate.")], events: Annotated[int, typer.Option(min=1, help="Events in all.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for archives, incidents and truth.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 7,
    source: Annotated[Path, typer.Option("--from", help="Recording to resample: archives, labels beside them.")] = Path("data"),
    clusters: Annotated[int, typer.Option(min=1)] = 1,
    prevalence: Annotated[float, typer.Option(help="Share of sessions that belong to an attack.")] = 0.01,
    stretch: Annotated[float, typer.Option(help="Factor by which recorded time is stretched.")] = 5.0,
) -> None:
    """Resample a recording into long labelled archives, for scale and drift; they prove nothing about accuracy."""
    from audit_lab.simulate import simulate as make  # noqa: PLC0415 - no other word needs it

    with bars() as progress:
        task = progress.add_task("simulate", total=events)
        made = make(
            source, out_dir, days=days, events=events, seed=seed, clusters=clusters, prevalence=prevalence, stretch=stretch,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    sys.stdout.write(to_json(made.as_dict()) + "\n")


WORDS = (watch, simulate)
