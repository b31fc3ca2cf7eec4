"""Proposals for a release: what follows from people's decisions, written down with its evidence. Nothing here changes anything.

The table is only added to: where the evidence changes, a new row replaces the old one; what no longer follows is withdrawn by a row. A
release (who approved and activated what) refers to these rows by their ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.hashing import short_id

KINDS = ("example", "exception", "threshold", "rule", "prompt")
OPEN, WITHDRAWN = "open", "withdrawn"


def make_proposal(
    kind: str, target: str, title: str, reason: str, content: Mapping[str, Any], evidence: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return one proposal.

    Parameters
    ----------
    kind
        One of KINDS.
    target
        What would change: a setting, a rule, a judge's version, a case. Two proposals of one kind for one target replace each other.
    title, reason
        What is proposed, and why, one line each. All words come from tables, which are masked, or from us.
    content
        What would be put in force, JSON values.
    evidence
        The figures behind it, JSON values.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind of proposal '{kind}'")
    return {
        "kind": kind, "target": target, "title": title, "reason": reason, "content": _json(content), "evidence": _json(evidence or {}),
    }


def add_proposals(
    ledger: pl.DataFrame, proposed: Sequence[Mapping[str, Any]], author: str, at: datetime, asked: Sequence[str] = KINDS
) -> pl.DataFrame:
    """Return the table with what is proposed now after what was proposed before.

    Parameters
    ----------
    ledger
        Table `proposals`.
    proposed
        What `make_proposal` returned.
    author, at
        Who had them computed, and when.
    asked
        Kinds that were computed: an open proposal of these kinds that does not follow any more is withdrawn; others stay.

    Returns
    -------
    Table `proposals`: every old row unchanged, then the new ones. A proposal that stands with the same words is not added again.
    """
    standing = {(row["kind"], row["target"]): row for row in standing_proposals(ledger, withdrawn=True).iter_rows(named=True)}
    rows = []
    for item in proposed:
        old = standing.pop((item["kind"], item["target"]), None)
        if old is None or old["state"] == WITHDRAWN or any(old[name] != item[name] for name in ("title", "reason", "content", "evidence")):
            rows.append(_row(item, OPEN, old, author, at))
    for old in standing.values():
        if old["state"] == OPEN and old["kind"] in asked:
            rows.append(_row({**old, "reason": "it no longer follows from what people said"}, WITHDRAWN, old, author, at))
    added = pl.DataFrame(rows, schema=tables.TABLES["proposals"].schema)
    return tables.check(pl.concat([tables.check(ledger, "proposals"), added]), "proposals")


def standing_proposals(ledger: pl.DataFrame, *, withdrawn: bool = False) -> pl.DataFrame:
    """Return the latest row of each proposal; those that were withdrawn only where asked for.

    Returns
    -------
    Table `proposals`, in the order written.
    """
    latest = ledger.filter(~pl.col("proposal_id").is_in(ledger["replaces"].drop_nulls().implode()))
    return latest if withdrawn else latest.filter(pl.col("state") == OPEN)


def _row(item: Mapping[str, Any], state: str, old: Mapping[str, Any] | None, author: str, at: datetime) -> dict[str, Any]:
    words = {name: item[name] for name in ("kind", "target", "title", "reason", "content", "evidence")}
    replaces = None if old is None else old["proposal_id"]
    name = short_id("p", *words.values(), state, replaces)
    return {"proposal_id": name, **words, "state": state, "replaces": replaces, "author": author, "at": at}


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), ensure_ascii=False, sort_keys=True, default=str)
