"""One request, several records: keep the most complete, and account for the others exactly.

The same request may be logged in several stages, in several files, and several times. Which record is kept
is the maximum of a total order over records, so the result does not depend on the order of reading.
"""

from __future__ import annotations

import polars as pl

# Panic ends a request that never completed; ResponseComplete knows most.
STAGE_RANK = {"ResponseComplete": 4, "Panic": 3, "ResponseStarted": 2, "RequestReceived": 1}
RECORD = ("event_id", "archive_id", "position", "stage", "stage_time")


def classify_records(records: pl.DataFrame) -> pl.DataFrame:
    """Say of every record of some requests what becomes of it.

    Parameters
    ----------
    records
        Columns `RECORD`; all records known of each request.

    Returns
    -------
    pl.DataFrame
        `records` plus `n_stages` (records of the request) and `fate`: 'event' (kept), 'duplicate' (same stage
        as the kept one), 'superseded' (another stage).
    """
    rank = pl.col("stage").replace_strict(STAGE_RANK, default=0, return_dtype=pl.Int8)
    ordered = records.with_columns(rank.alias("_rank")).sort(
        ["event_id", "_rank", "stage_time", "archive_id", "position"], descending=[False, True, False, False, False], nulls_last=True
    )
    kept_stage = pl.col("stage").first().over("event_id")
    first = pl.int_range(pl.len()).over("event_id") == 0
    return ordered.with_columns(
        pl.len().over("event_id").cast(pl.Int64).alias("n_stages"),
        pl.when(first).then(pl.lit("event")).when(pl.col("stage").eq_missing(kept_stage)).then(pl.lit("duplicate"))
        .otherwise(pl.lit("superseded")).alias("fate"),
    ).drop("_rank")


def count_fates(classified: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return archive_id -> {'event': n, 'duplicate': n, 'superseded': n}."""
    counts: dict[str, dict[str, int]] = {}
    for archive_id, fate, n in classified.group_by("archive_id", "fate").len().iter_rows():
        counts.setdefault(archive_id, {})[fate] = n
    return counts
