"""Run compiled rules over a frame of events: all plain rules first, then the correlations over their hits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import duckdb
import polars as pl
from sigma.correlations import SigmaCorrelationRule, SigmaRuleReference

from audit_lab.duck import connect
from audit_lab.signals.sigma.correlations import compile_correlation
from audit_lab.signals.sigma.fields import Field, identifier

HITS = pl.Schema([("rule", pl.Int64), ("i", pl.Int64)])
EPISODES = pl.Schema(
    [("start_us", pl.Int64), ("end_us", pl.Int64), ("metric", pl.Float64), ("last", pl.Int64), ("members", pl.List(pl.Int64))]
)


def numbered(events: pl.DataFrame) -> pl.DataFrame:
    """Return `events` with their rows numbered from 0 in the column `i`, as hits name them."""
    return events.with_row_index("i").with_columns(pl.col("i").cast(pl.Int64))


@contextmanager
def opened(events: pl.DataFrame) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an in-memory DuckDB that holds `events` as the table `source`, rows numbered from 0 in the column `i`."""
    # Rules come from files that others write: `connect` lets them compute, but read and write nothing outside.
    connection = connect()
    try:
        connection.register("frame", numbered(events).to_arrow())
        # A hundred rules scan it: DuckDB's own table is read several times faster than Arrow.
        connection.execute("CREATE TEMP TABLE source AS SELECT * FROM frame")
        connection.unregister("frame")
        connection.execute("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()


def match_rules(connection: duckdb.DuckDBPyConnection, conditions: Mapping[int, str]) -> pl.DataFrame:
    """Return the hits of plain rules: columns `rule` (number of the condition) and `i` (row of `source`).

    The table `hits` stays in the connection for `run_correlation`.
    """
    connection.execute("CREATE OR REPLACE TEMP TABLE hits (rule BIGINT, i BIGINT)")
    selects = [f"SELECT {number}, i FROM source WHERE {condition}" for number, condition in conditions.items()]
    for start in range(0, len(selects), 100):
        connection.execute(f"INSERT INTO hits {' UNION ALL '.join(selects[start:start + 100])}")
    return connection.sql("SELECT rule, i FROM hits ORDER BY rule, i").pl().cast(HITS)


def replace_hits(connection: duckdb.DuckDBPyConnection, hits: pl.DataFrame) -> None:
    """Let correlations see `hits` (columns `rule` and `i`) instead of all that was matched."""
    connection.register("kept", hits.select("rule", "i").to_arrow())
    connection.execute("CREATE OR REPLACE TEMP TABLE hits AS SELECT rule, i FROM kept")
    connection.unregister("kept")


def run_correlation(
    connection: duckdb.DuckDBPyConnection,
    rule: SigmaCorrelationRule,
    fields: Mapping[str, Field],
    number_of: Callable[[SigmaRuleReference], int],
    time_column: str = "time",
) -> pl.DataFrame:
    """Return the hits of a correlation: `start_us`, `end_us`, `metric`, `last` (row of the last event), `members` (rows in order)."""
    return connection.sql(correlation_query(rule, fields, number_of, time_column)).pl().cast(EPISODES)


def correlation_query(
    rule: SigmaCorrelationRule, fields: Mapping[str, Field], number_of: Callable[[SigmaRuleReference], int], time_column: str = "time"
) -> str:
    """Return the SELECT of `run_correlation`, over the tables `source` and `hits`."""

    def matches(reference: SigmaRuleReference) -> str:
        return f"SELECT source.* FROM source SEMI JOIN (SELECT i FROM hits WHERE rule = {number_of(reference)}) h USING (i)"

    query = compile_correlation(rule, fields, matches, "i", f"epoch_us({identifier(time_column)})")
    return (
        f"SELECT start_us, end_us, CAST(metric AS DOUBLE) AS metric, CAST(last_event_id AS BIGINT) AS last, "
        f"CAST(event_ids AS BIGINT[]) AS members FROM ({query})"
    )
