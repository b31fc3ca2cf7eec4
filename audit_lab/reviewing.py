"""Review in a lab: the queue of its cases, a desk over them, and labels that come back. Here the stages meet for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.cases import read_originals_of
from audit_lab.errors import InputError, LabError
from audit_lab.lines import case_lines
from audit_lab.profile import Profile, ReviewSettings
from audit_lab.review import (
    Desk,
    Held,
    append_labels,
    audit_budget,
    build_queue,
    case_view,
    cohen_kappa,
    current_labels,
    disagreements,
    freed,
    held_by_others,
    krippendorff_alpha,
    new_label,
    people_asked,
    prioritise,
    ratings,
    read_label_file,
    taken,
    utc_now,
)
from audit_lab.store import Store

CLAIM_PATIENCE_S = 0.5  # a claim is a courtesy: who labels must not wait for one


def prioritised_cases(store: Store, profile: Profile) -> pl.DataFrame:
    """Return every candidate with the score that counts, its priority and the reason (`review.prioritise`)."""
    candidates = store.read("candidates")
    lines = case_lines(candidates, store.scan("sessions"), profile.evaluate)
    return prioritise(candidates, store.read("verdicts"), store.read("signals"), profile.review, lines)


def review_queue(
    store: Store, profile: Profile, author: str | None = None, *, include: Sequence[str] = (), everything: bool = False
) -> pl.DataFrame:
    """Return the queue of the lab's cases in the order of looking (`review.build_queue`); nothing is hidden in it.

    Parameters
    ----------
    author
        Whose queue; None = what anybody still has to look at.
    include
        Cases (ids or their beginnings) that come first, whatever was said of them.
    everything
        Also the chosen cases below the line that were not drawn, at the end.

    Raises
    ------
    InputError
        When the author is not one of the reviewers, or a case is unknown.
    """
    from audit_lab.evaluate import plan_audits  # noqa: PLC0415 - scikit-learn takes a second to import

    cases = prioritised_cases(store, profile)
    below = cases.filter(~pl.col("is_flagged") & (pl.col("selected_by") != "exploration"))
    # One stratum: the estimate counts the chosen cases below the line as one (`evaluate.reviewed_cases`).
    plan = plan_audits(
        below.select("case_id", "score", flagged=pl.lit(False)), audit_budget(cases, profile.review), profile.review.seed, strata=(1.0,)
    )
    chosen = [_case_id(cases, item) for item in include]
    queue = build_queue(
        cases, store.read("sessions"), current_labels(store.read("labels")), profile.review, author=author, drawn=plan.filter("drawn"),
        include=chosen, kinds=("alert", "audit", "below") if everything else ("alert", "audit"),
    )
    if not chosen:
        return queue
    first = queue.sort(~pl.col("case_id").is_in(chosen), maintain_order=True)
    return first.with_columns(place=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))


def open_desk(
    store: Store,
    profile: Profile,
    author: str,
    *,
    include: Sequence[str] = (),
    everything: bool = False,
    limit: int | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> Desk:
    """Return a desk of `author` over the lab's queue; each label is in the lab as soon as it is said.

    Parameters
    ----------
    include, everything
        As in `review_queue`.
    limit
        At most so many cases.
    """
    queue = review_queue(store, profile, author, include=include, everything=everything)
    queue = queue if limit is None else queue.head(limit)
    claims = LabClaims(store, profile.review, author, queue, clock) if profile.review.claim_minutes else None
    rows = {row["case_id"]: row for row in queue.iter_rows(named=True)}
    desk = Desk(
        queue, lambda case_id: view_case(store, rows[case_id]), author, clock,
        keep=lambda frame: add_labels(store, frame), originals=lambda event_ids: read_originals_of(store, event_ids),
        labels=current_labels(store.read("labels")), idle_minutes=profile.review.idle_minutes, claims=claims,
    )
    if include:  # asked for by name: whoever has it open
        desk.go(queue["case_id"][0])
    return desk


class LabClaims:
    """Claims in a lab's table `claims` (`review.claims.Claims`): a claim that cannot be kept is none, and nothing waits for one."""

    def __init__(self, store: Store, settings: ReviewSettings, author: str, queue: pl.DataFrame, clock: Callable[[], datetime]) -> None:
        self._store, self._minutes, self._author, self._clock = store, settings.claim_minutes, author.strip(), clock
        self._room = {case_id: people_asked(case_id, settings) - n for case_id, n in queue.select("case_id", "n_labels").iter_rows()}
        self._mine: tuple[str, datetime] | None = None

    def take(self, case_id: str) -> None:
        """Claim a case, and give up the one before; while it lies there the claim is renewed when half of it has passed."""
        now = self._clock()
        if self._mine and self._mine[0] == case_id and now < self._mine[1]:
            return
        self._mine = (case_id, now + timedelta(minutes=self._minutes / 2))
        self._keep(lambda claims: taken(claims, case_id, self._author, now, self._minutes))

    def free(self) -> None:
        """Give up what is claimed."""
        if self._mine:
            self._mine = None
            self._keep(lambda claims: freed(claims, self._author, self._clock()))

    def others(self) -> dict[str, Held]:
        """Return what others have open."""
        return held_by_others(self._store.read("claims"), self._author, self._clock(), self._room)

    def _keep(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        try:
            with self._store.appending("claims", CLAIM_PATIENCE_S):
                self._store.replace("claims", change(self._store.read("claims")), "review")
        except LabError:
            self._mine = None  # tried again at the next act


def view_case(store: Store, row: dict[str, Any]) -> dict[str, Any]:
    """Return the view (`review.case_view`) of a case, given its row of the queue."""
    members: list[str] = row["session_ids"]

    def of_members(name: str) -> pl.DataFrame:
        return store.scan(name).filter(pl.col("session_id").is_in(members)).collect()

    inside = of_members("session_events")
    # The time span lets the reader leave out most of the files' row groups.
    wanted = pl.col("time").is_between(row["start"], row["end"]) & pl.col("event_id").is_in(inside["event_id"].implode())
    events = store.scan("events").filter(wanted).collect().join(inside, on="event_id")
    among = pl.col("from_session").is_in(members) & pl.col("to_session").is_in(members)
    why = store.scan("candidates").filter(pl.col("case_id") == row["case_id"]).select("why").collect()["why"].to_list()
    return case_view(
        {**row, "why": why[0] if why else None}, of_members("sessions"), events, of_members("signals"),
        store.scan("links").filter(among).collect(), of_members("stories"),
        store.scan("verdicts").filter(pl.col("case_id") == row["case_id"]).collect(),
    )


def add_labels(store: Store, labels: pl.DataFrame) -> pl.DataFrame:
    """Add labels to the lab's ledger and return the ledger; safe beside a run and beside other reviewers.

    Raises
    ------
    LabError
        When another process holds the ledger for too long: nothing was kept.
    InputError
        When a label contradicts the ledger (see `append_labels`).
    """
    with store.appending("labels"):
        kept = append_labels(store.read("labels"), labels)
        store.replace("labels", kept, "review")
    return kept


def import_labels(store: Store, path: str | Path) -> pl.DataFrame:
    """Add the labels of a CSV file (`review.read_label_file`) to the ledger and return them; a file read again changes nothing.

    A label of an incident speaks of the sessions that hold its events, as the incident file does. An author's later word on a target
    counts, whatever the order of the rows.

    Raises
    ------
    InputError
        When a row is no label, or speaks of a case, session or incident that the lab does not have.
    """
    said = read_label_file(path)
    members = store.scan("scores").select("case_id", "session_id").unique().collect()
    of_case = dict(members.group_by("case_id").agg("session_id").iter_rows())
    sessions = set(store.scan("sessions").select("session_id").collect()["session_id"])
    spoken = store.scan("labels").filter(pl.col("target_kind") == "incident").unique(
        ["target_id", "session_id"], keep="last", maintain_order=True).collect()
    of_incident: dict[str, list[tuple[str, list[str]]]] = {}
    for incident, session_id, event_ids in spoken.select("target_id", "session_id", "event_ids").iter_rows():
        of_incident.setdefault(incident, []).append((session_id, event_ids))
    held = {"case": of_case, "session": sessions, "incident": of_incident}
    rows = [tables.empty("labels")]
    for item in sorted(said, key=lambda row: row.at):
        if item.target_id not in held[item.target_kind]:
            of_file = item.target_kind == "incident"
            hint = "label the incident file first" if of_file else "audit-lab review --list shows cases; ids change when windows do"
            raise InputError(f"{item.where}: the lab has no {item.target_kind} '{item.target_id[:60]}'", hint)
        alone = of_case[item.target_id][0] if item.target_kind == "case" and len(of_case[item.target_id]) == 1 else None
        places = of_incident[item.target_id] if item.target_kind == "incident" else [(alone, None)]
        rows += [
            new_label(item.target_kind, item.target_id, item.verdict, item.author, item.at, reason=item.reason, session_id=session_id,
                      event_ids=event_ids, minutes=item.minutes)
            for session_id, event_ids in places
        ]
    labels = pl.concat(rows)
    add_labels(store, labels)
    return labels


def review_agreement(store: Store) -> dict[str, Any]:
    """Say how far people agree who judged the same cases or sessions; labels of incident files are nobody's judgement here.

    Returns
    -------
    `pairs`: per pair of people with a target in common Cohen's kappa, `alpha`: Krippendorff's alpha over all of them (each with value, low,
    high, n, reason), `n_targets` that at least two judged, `n_people`, and `disagreements`: target_id, authors, verdicts.
    """
    said = current_labels(store.read("labels")).filter(pl.col("target_kind").is_in(["case", "session"]))
    table, authors, _ = ratings(said)
    pairs = []
    for one, other in combinations(range(len(authors)), 2):
        both = int(((table[one] >= 0) & (table[other] >= 0)).sum())
        if both:
            pairs.append({"authors": [authors[one], authors[other]], **cohen_kappa(table[one], table[other]).as_dict()})
    return {
        "pairs": pairs, "alpha": krippendorff_alpha(table).as_dict(),
        "n_targets": int(((table >= 0).sum(axis=0) >= 2).sum()) if table.size else 0, "n_people": len(authors),
        "disagreements": disagreements(said).select("target_id", "authors", "verdicts").to_dicts(),
    }


def _case_id(cases: pl.DataFrame, beginning: str) -> str:
    found = [item for item in cases["case_id"] if item.startswith(beginning)]
    if len(found) != 1:
        some = ", ".join(cases["case_id"].head(3)) or "none yet; audit-lab run"
        raise InputError(f"{'more than one' if found else 'no'} case '{beginning}'", f"cases are, for example: {some}")
    return str(found[0])
