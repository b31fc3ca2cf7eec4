"""The account of law 3: nothing that was read is lost."""

from __future__ import annotations

import polars as pl

from audit_lab.errors import LedgerError

FATES = ("n_events", "n_duplicates", "n_superseded", "n_quarantined", "n_foreign", "n_sampled_out")
_LEFT = ("records_left", "bytes_left", "events_left", "quarantine_left")


def make_ledger(archives: pl.DataFrame, events: pl.DataFrame, quarantine: pl.DataFrame) -> pl.DataFrame:
    """Balance every archive: its records, its bytes, and what the tables really hold.

    Parameters
    ----------
    archives
        Table archives.
    events
        Column `archive_id` of table events, one row per event.
    quarantine
        Column `archive_id` of table quarantine.

    Returns
    -------
    pl.DataFrame
        One row per archive: its counts, `records_left` (records − their fates), `bytes_left` (bytes − records −
        separators − blanks), `events_left` and `quarantine_left` (counted − stored), and `balanced`.
    """
    stored = events.group_by("archive_id").len("stored_events")
    kept = quarantine.group_by("archive_id").len("stored_quarantine")
    joined = archives.join(stored, on="archive_id", how="left").join(kept, on="archive_id", how="left")
    return joined.select(
        "archive_id", "path", "cluster", "shape", "bytes", "n_records", *FATES, "damage",
        (pl.col("n_records") - pl.sum_horizontal(FATES)).alias("records_left"),
        (pl.col("bytes") - pl.sum_horizontal("record_bytes", "separator_bytes", "blank_bytes")).alias("bytes_left"),
        (pl.col("n_events") - pl.col("stored_events").fill_null(0)).alias("events_left"),
        (pl.col("n_quarantined") - pl.col("stored_quarantine").fill_null(0)).alias("quarantine_left"),
    ).with_columns(pl.all_horizontal(pl.col(column) == 0 for column in _LEFT).alias("balanced")).sort("path", "archive_id")


def require_balance(account: pl.DataFrame) -> None:
    """Raise LedgerError when an archive of `account` (from `make_ledger`) does not balance."""
    bad = account.filter(~pl.col("balanced"))
    if bad.height:
        row = bad.row(0, named=True)
        raise LedgerError(
            f"{bad.height} of {account.height} archives do not balance; first '{row['path']}': {row['records_left']} records, "
            f"{row['bytes_left']} bytes, {row['events_left']} events, {row['quarantine_left']} quarantined unaccounted for",
            "audit-lab ledger shows all; ingest into a fresh lab and report it",
        )
