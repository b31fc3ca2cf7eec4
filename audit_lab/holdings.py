"""What a lab holds that more than one table tells: labels that stand, calls that left the machine, links that evidence tells of."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from audit_lab import tables
from audit_lab.judge import read_calls
from audit_lab.review import current_labels, spread_case_labels
from audit_lab.store import Store


def merged_egress(store: Store, fresh: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return every call that ever left the machine: of this run, of earlier ones, and of runs that were cut short."""
    answers = answers_folder(store)
    kept = read_calls(answers) if answers.is_dir() else tables.empty("egress")
    parts = [store.read("egress"), kept, *([] if fresh is None else [fresh])]
    # The last word counts: a call that was known as sent may have an outcome by now.
    return pl.concat(parts).unique("egress_id", keep="last", maintain_order=True)


def evidence_links(store: Store) -> pl.DataFrame:
    """Return the links that evidence tells of: what controllers did because of somebody is plenty and says little."""
    return store.read("links").filter(pl.col("kind") != "follow_up")


def standing_labels(store: Store) -> pl.DataFrame:
    """Return the labels that stand, speak of sessions that the lab has now, and, if of incidents, of those of the last file."""
    of_file = pl.col("target_id").is_in(store.read("incidents")["incident_id"].implode())
    standing = current_labels(store.read("labels")).filter((pl.col("target_kind") != "incident") | of_file)
    if (standing["target_kind"] == "case").any():
        members = store.scan("scores").select("case_id", "session_id").unique().collect()
        standing = spread_case_labels(standing, members, store.read("session_events"))
    return standing.join(store.scan("sessions").select("session_id").collect(), on="session_id", how="semi")


def answers_folder(store: Store) -> Path:
    """Return where answers of models are kept, so that none is paid for twice."""
    return store.root / "answers"
