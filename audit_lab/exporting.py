"""Findings of a lab for other systems: SIEM (OCSF) and trackers (tickets). They are told what was found; nothing is blocked."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab import __version__, tables
from audit_lab.errors import InputError
from audit_lab.private import private_file, private_folder
from audit_lab.profile import Profile
from audit_lab.review import build_queue, choose_findings, current_labels, detection_finding, make_finding, ticket, ticket_markdown
from audit_lab.reviewing import prioritised_cases, view_case
from audit_lab.signals import load_rules
from audit_lab.store import Store

FORMATS = ("ocsf", "tickets-json", "tickets-md")
FILES = {"ocsf": "findings.ocsf.jsonl", "tickets-json": "tickets.json", "tickets-md": "tickets.md"}


def lab_findings(store: Store, profile: Profile, *, closed: bool = True) -> list[dict[str, Any]]:
    """Return the lab's findings (`review.make_finding`) in order of priority: flagged cases, and those that people called malicious.

    Parameters
    ----------
    closed
        Also those that people called benign.
    """
    cases, labels = prioritised_cases(store, profile), current_labels(store.read("labels"))
    chosen = choose_findings(cases, labels)
    # A finding is for others than reviewers: nothing is hidden in it.
    open_eyed = profile.review.model_copy(update={"blind_share": 0.0, "reviewers": []})
    sessions = store.read("sessions")
    queue = build_queue(cases, sessions, tables.empty("labels"), open_eyed, kinds=("alert", "audit", "below"))
    rows = {row["case_id"]: row for row in queue.iter_rows(named=True)}
    rules = {
        rule.rule_id: {"title": rule.title, "version": rule.version, "techniques": rule.techniques}
        for rule in load_rules(profile.signals.rules)
    }
    found = []
    for case_id, _, verdict in chosen.iter_rows():
        clusters = sessions.filter(pl.col("session_id").is_in(rows[case_id]["session_ids"]))["cluster"].unique().sort().to_list()
        said = labels.filter((pl.col("target_kind") == "case") & (pl.col("target_id") == case_id))
        finding = make_finding(view_case(store, rows[case_id]), verdict, said, rules, clusters)
        if closed or finding["status"] != "closed":
            found.append(finding)
    return found


def export_findings(
    store: Store, profile: Profile, shape: str, to: Path | None, now: datetime, *, closed: bool | None = None
) -> tuple[str, list[Path], int]:
    """Write the lab's findings for another system.

    Parameters
    ----------
    shape
        ocsf (JSON lines, one Detection Finding each), tickets-json (one list), or tickets-md.
    to
        A file; or a folder, which gets one file (tickets-md: one for each ticket, named by its case); or None: nothing is written.
    now
        When the findings are told.
    closed
        Also cases that people called benign; None = in ocsf yes, so that what was told before is closed there as well, else no.

    Returns
    -------
    (the whole text, the files that were written, number of findings)

    Raises
    ------
    InputError
        When there is no such format, or the files cannot be written.
    """
    if shape not in FORMATS:
        raise InputError(f"no format '{shape}'", f"one of: {', '.join(FORMATS)}")
    found = lab_findings(store, profile, closed=shape == "ocsf" if closed is None else closed)
    texts = [_TEXT[shape](finding, now) for finding in found]
    whole = _whole(shape, texts)
    files: dict[Path, str] = {}
    if to is not None and (to.is_dir() or not to.suffix):
        each = {to / f"{finding['case_id']}.md": text for finding, text in zip(found, texts, strict=True)}
        files = each if shape == "tickets-md" else {to / FILES[shape]: whole}
    elif to is not None:
        files = {to: whole}
    for path, text in files.items():
        try:
            private_folder(path.parent)
            private_file(path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"'{path}' cannot be written: {error.strerror}", "give a folder or a file as --out") from None
    return whole, list(files), len(found)


def _whole(shape: str, texts: list[str]) -> str:
    if shape == "ocsf":
        return "".join(f"{text}\n" for text in texts)
    if shape == "tickets-json":
        return "[" + ",\n".join(texts) + "]\n"
    return "\n---\n\n".join(texts)


_TEXT: dict[str, Callable[[dict[str, Any], datetime], str]] = {
    "ocsf": lambda finding, now: json.dumps(detection_finding(finding, now, __version__), ensure_ascii=False),
    "tickets-json": lambda finding, _: json.dumps(ticket(finding), ensure_ascii=False, indent=1),
    "tickets-md": lambda finding, _: ticket_markdown(finding),
}
