"""A small table and its base rules, for the correlation tests: `kind` a, b or c; user, address and a number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from sigma.collection import SigmaCollection

from audit_lab.duck import connect
from audit_lab.signals.sigma import DuckDBBackend, fields_of

START = datetime(2026, 1, 5, tzinfo=UTC)
SCHEMA = {
    "event_id": pl.String, "time": pl.Datetime("us", "UTC"), "kind": pl.String, "user": pl.String, "address": pl.String,
    "number": pl.Float64, "subjects": pl.List(pl.String),
}
BASE = [
    {"title": kind, "name": kind, "logsource": {"product": "x"}, "detection": {"s": {"kind": kind}, "condition": "s"}} for kind in "abc"
]


def table(events: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Events as (seconds, kind[, user[, address[, number[, subjects]]]]); ids are e0, e1 … in the order given."""
    rows = []
    for place, event in enumerate(events):
        at, kind, user, address, number, subjects = (*event, *(None,) * (6 - len(event)))
        rows.append({
            "event_id": f"e{place}", "time": START + timedelta(seconds=at), "kind": kind, "user": user if len(event) > 2 else "u",
            "address": address or "1", "number": number, "subjects": subjects,
        })
    return pl.DataFrame(rows, schema=SCHEMA)


def correlation(name: str = "x", **spec: Any) -> dict[str, Any]:
    """A correlation rule; `group_by` stands for group-by, the window is a minute unless it is said."""
    body = {"timespan": "60s", "group-by": spec.pop("group_by", ["user"]), **spec}
    return {"title": name, "name": name, "correlation": body}


def hits(rules: Sequence[dict[str, Any]], events: pl.DataFrame, method: str | None = None) -> list[dict[str, Any]]:
    """Hits of the LAST rule: its rows as dicts, in order of time."""
    made = DuckDBBackend(fields=fields_of(events.schema), table="t")
    queries = made.convert(SigmaCollection.from_dicts([*BASE, *rules]), correlation_method=method)
    with connect() as connection:
        connection.register("t", events.to_arrow())
        return connection.sql(queries[-1]).pl().to_dicts()


def ids(rules: Sequence[dict[str, Any]], events: Sequence[tuple[Any, ...]]) -> list[str]:
    """Event ids of each hit, joined: 'e0 e2'."""
    return [" ".join(hit["event_ids"]) for hit in hits(rules, table(events))]
