"""DuckDB at the edges (law 2): one way to open it, and one way to ask it about frames."""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl

THREADS = 2


def connect(*, memory: str = "2GB", files: bool = False) -> duckdb.DuckDBPyConnection:
    """Return an in-memory database in UTC that installs nothing and, unless `files`, opens no file or address."""
    connection = duckdb.connect(config={
        "threads": THREADS, "memory_limit": memory, "autoinstall_known_extensions": False, "autoload_known_extensions": False,
    })
    connection.execute("SET TimeZone = 'UTC'")
    if not files:
        connection.execute("SET enable_external_access = false")
    return connection


def query(connection: duckdb.DuckDBPyConnection, sql: str, /, **frames: Any) -> pl.DataFrame:
    """Return the result of `sql`, in which each keyword names a Polars frame or Arrow table.

    >>> query(connect(), "SELECT sum(a) AS s FROM numbers", numbers=pl.DataFrame({"a": [1, 2]})).item()
    3
    """
    names = []
    try:
        for name, frame in frames.items():
            connection.register(name, frame.to_arrow() if isinstance(frame, pl.DataFrame) else frame)
            names.append(name)
        result = connection.sql(sql).pl()
    finally:
        for name in names:
            connection.unregister(name)
    # Sums of whole numbers come back as 128-bit integers or decimals without places: counts, as people expect them.
    whole = [name for name, dtype in result.schema.items()
             if dtype == pl.Int128 or (isinstance(dtype, pl.Decimal) and dtype.scale == 0)]
    return result.with_columns(pl.col(whole).cast(pl.Int64)) if whole else result
