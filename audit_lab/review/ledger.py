"""The ledger of labels: what people said, only ever added to.

A correction is a new label that names the one it replaces; taking back is a label with verdict 'withdrawn'. So what was
believed at any moment can be read again, and nobody's judgement disappears.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from audit_lab import tables
from audit_lab.errors import InputError
from audit_lab.hashing import short_id
from audit_lab.masking import mask_text

VERDICTS = ("malicious", "benign", "benign-but-suspicious", "unsure")
TARGET_KINDS = ("incident", "session", "case")
WITHDRAWN = "withdrawn"


def new_label(
    target_kind: str,
    target_id: str,
    verdict: str,
    author: str,
    at: datetime,
    *,
    reason: str | None = None,
    session_id: str | None = None,
    event_ids: list[str] | None = None,
    minutes: float | None = None,
    blind: bool | None = None,
    replaces: str | None = None,
    checks_done: list[str] | None = None,
    sampling_probability: float | None = None,
) -> pl.DataFrame:
    """Return one label as a row of table `labels`.

    Parameters
    ----------
    target_kind, target_id
        What it speaks of: incident, session or case, and its id.
    verdict
        malicious, benign, benign-but-suspicious, unsure, or withdrawn (then `replaces` says what is taken back).
    author, at
        Who says so, and when (with its time zone); the caller reads the clock.
    reason, minutes, blind
        Why, how long it took, whether the score was hidden.
    session_id
        Session that it speaks of; the target itself where that is a session.
    event_ids
        Events that carry the judgement.
    replaces
        Label that this one corrects or takes back.
    checks_done
        Checks that the author ticked, as they were worded.
    sampling_probability
        Probability with which an un-flagged target was drawn for review; None where it was not drawn.

    Returns
    -------
    Table `labels` with one row; author and reason masked, for people paste what they saw.

    Raises
    ------
    InputError
        When a word is not one of the known ones, the author is empty, the time has no zone, or minutes are negative.
    """
    allowed = (*VERDICTS, WITHDRAWN)
    if target_kind not in TARGET_KINDS:
        raise InputError(f"a label for a '{target_kind}'", f"one of: {', '.join(TARGET_KINDS)}")
    if verdict not in allowed:
        raise InputError(f"no verdict '{verdict}'", f"one of: {', '.join(VERDICTS)}")
    if verdict == WITHDRAWN and not replaces:
        raise InputError("a withdrawal that names no label", "give the label that is taken back as `replaces`")
    if not author.strip() or not target_id:
        raise InputError("a label without author or target", "say who judges and what is judged")
    if at.tzinfo is None:
        raise InputError("a label's time without a time zone", "give it in UTC")
    if minutes is not None and minutes < 0:
        raise InputError(f"{minutes:g} minutes spent on a label", "give 0 or more")
    author, reason = mask_text(author.strip()), mask_text(reason.strip()) or None if reason else None
    session = session_id or (target_id if target_kind == "session" else None)
    row = {
        "label_id": short_id("y", target_kind, target_id, session, verdict, author, at.isoformat(), reason, replaces),
        "target_kind": target_kind, "target_id": target_id, "session_id": session, "verdict": verdict, "author": author, "at": at,
        "reason": reason, "event_ids": event_ids or [], "replaces": replaces, "minutes": minutes, "blind": blind,
        "checks_done": checks_done, "sampling_probability": sampling_probability,
    }
    return tables.check(pl.DataFrame([row], schema=tables.TABLES["labels"].schema), "labels")


def append_labels(ledger: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """Return the ledger with the new labels after the old ones.

    Parameters
    ----------
    ledger, new
        Tables `labels`.

    Returns
    -------
    Table `labels`: every old row unchanged, then the new ones. A label that is there already is not added again.

    Raises
    ------
    InputError
        When a new label has the id of an old one but says something else, or replaces a label that is not there or was replaced
        before.
    """
    tables.check(ledger, "labels")
    tables.check(new, "labels")
    said = ledger.drop("at", "minutes")
    same = new.drop("at", "minutes").join(said, on="label_id", how="inner", suffix="_old")
    for column in said.columns:
        if column != "label_id" and not same[column].equals(same[f"{column}_old"].rename(column), null_equal=True):
            raise InputError(
                "a new label has the id of an old one and says something else", "labels are never changed: add one that replaces it"
            )
    added = new.join(ledger.select("label_id"), on="label_id", how="anti", maintain_order="left")
    added = added.unique("label_id", keep="first", maintain_order=True)
    known = pl.concat([ledger["label_id"], added["label_id"]]).implode()
    replaced = added["replaces"].drop_nulls()
    unknown = replaced.filter(~replaced.is_in(known))
    if unknown.len():
        raise InputError(f"label '{unknown[0]}' cannot be replaced: it is not in the ledger", "see the label ids of the ledger")
    twice = pl.concat([ledger["replaces"].drop_nulls(), replaced])
    twice = twice.filter(twice.is_duplicated())
    if twice.len():
        raise InputError(f"label '{twice[0]}' was replaced before", "replace the label that stands in its place")
    return tables.check(pl.concat([ledger, added]), "labels")


def current_labels(ledger: pl.DataFrame) -> pl.DataFrame:
    """Return the labels that stand: not replaced, not withdrawn, and each author's latest word on a target.

    Parameters
    ----------
    ledger
        Table `labels`, in the order in which it was written.

    Returns
    -------
    Table `labels`, in the same order; the latest by `at`, then by place in the ledger.
    Different authors may contradict each other: see `disagreements`.
    """
    standing = ledger.filter(
        ~pl.col("label_id").is_in(ledger["replaces"].drop_nulls().implode()) & (pl.col("verdict") != WITHDRAWN)
    )
    # What was said later counts, also where it was written down earlier: labels said elsewhere are imported afterwards.
    latest = standing.with_row_index("_row").sort("at", nulls_last=False, maintain_order=True)
    latest = latest.unique(["target_kind", "target_id", "session_id", "author"], keep="last", maintain_order=True)
    return latest.sort("_row").drop("_row")


def disagreements(ledger: pl.DataFrame) -> pl.DataFrame:
    """Return targets on which authors differ, unsure left out.

    Returns
    -------
    Frame: target_kind, target_id, authors, verdicts (in the order said), one row per target.
    """
    return (
        current_labels(ledger).filter(pl.col("verdict") != "unsure")
        .group_by("target_kind", "target_id", maintain_order=True)
        .agg(authors=pl.col("author"), verdicts=pl.col("verdict"))
        .filter(pl.col("verdicts").list.n_unique() > 1)
    )
