"""Random events and random rules, compared with pysigma-backend-sqlite and sqlite3 where both support the rule."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection

from audit_lab.duck import connect
from audit_lab.signals.sigma import DuckDBBackend, fields_of

SCHEMA = {"event_id": pl.String, "ts": pl.Int64, "kind": pl.String, "user": pl.String, "text": pl.String, "number": pl.Int64}
WORDS = ["alpha", "Alpha", "ALPHABET", "beta", "be%ta", "b_ta", "401", "a b", "it's", "", "x*y", "[z]", "back\\slash"]
TEXTS = ["alpha", "ALPHA", "al*", "*ta", "*l*", "?eta", "be%ta", "b_ta", "401", "it's", "*%*", "x\\*y", "[z]", "*_ta", "*\\\\slash"]
# The same examples each time, so that the quick suite is steady; AUDIT_LAB_EXAMPLES=2000 looks further.
EXAMPLES = settings(
    max_examples=int(os.environ.get("AUDIT_LAB_EXAMPLES", "60")), derandomize="AUDIT_LAB_EXAMPLES" not in os.environ, deadline=None,
    suppress_health_check=[HealthCheck.too_slow], database=None,
)
CONNECTION = connect()

rows = st.lists(
    st.fixed_dictionaries({
        "ts": st.integers(0, 60),
        "kind": st.sampled_from(["a", "b", "c", "d", None]),
        "user": st.sampled_from(["u", "U", "v", None]),
        "text": st.sampled_from([*WORDS, None]),
        "number": st.one_of(st.none(), st.integers(-3, 6), st.just(401)),
    }),
    max_size=25,
)
items = st.one_of(
    st.tuples(st.sampled_from(["text", "kind", "user"]), st.one_of(st.sampled_from(TEXTS), st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3))),
    st.tuples(st.sampled_from(["text|contains", "text|startswith", "text|endswith", "user|contains"]), st.sampled_from(["al", "TA", "%", "_", "'", "b", "\\\\"])),
    st.tuples(st.just("text|contains|all"), st.lists(st.sampled_from(["a", "l", "B", "t"]), min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["text|cased", "user|cased"]), st.sampled_from(["alpha", "Alpha", "A*", "u", "[z]", "x\\*y", "?lpha"])),
    st.tuples(st.just("text|contains|cased"), st.sampled_from(["lph", "LPH", "[", "%"])),
    st.tuples(st.just("text|re"), st.sampled_from(["^al", "ta$", "[A-Z]+", "b.t", "it's"])),
    st.tuples(st.just("text|re|i"), st.sampled_from(["^AL", "beta", "TA$"])),
    st.tuples(st.sampled_from(["number", "text"]), st.sampled_from([401, 0, 3])),
    st.tuples(st.just("number"), st.sampled_from(["401", "3", "abc", "4*", "?"])),
    st.tuples(st.sampled_from(["number|lt", "number|lte", "number|gt", "number|gte", "number|neq"]), st.integers(-3, 6)),
    st.tuples(st.sampled_from(["text", "number", "user"]), st.none()),
    st.tuples(st.sampled_from(["text|exists", "number|exists"]), st.booleans()),
    st.tuples(st.sampled_from(["text|fieldref", "kind|fieldref"]), st.sampled_from(["user", "kind", "text"])),
    st.tuples(st.just("text|fieldref|startswith"), st.just("user")),
)
selections = st.one_of(
    st.lists(items, min_size=1, max_size=3).map(dict),
    st.lists(items.map(lambda item: dict([item])), min_size=1, max_size=2),
)
conditions = st.sampled_from([
    "p", "not p", "p and q", "p or q", "p and not q", "not (p or q)", "not (p and not q)", "1 of *", "all of *", "not 1 of *", "p or not q",
])


def frame(events: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{"event_id": f"e{place}", **event} for place, event in enumerate(events)], schema=SCHEMA)


def ours(rules: list[dict[str, Any]], events: pl.DataFrame) -> list[dict[str, Any]]:
    backend = DuckDBBackend(fields=fields_of(SCHEMA), table="logs", time_sql="ts * 1000000")
    queries = backend.convert(SigmaCollection.from_dicts(rules), correlation_method="windows")
    CONNECTION.register("logs", events.to_arrow())
    return CONNECTION.sql(queries[-1]).pl().to_dicts()


def theirs(rules: list[dict[str, Any]], events: pl.DataFrame) -> list[dict[str, Any]]:
    backend = sqliteBackend(collate_nocase=True, timestamp_field="ts", event_id_field="event_id", timestamp_format="unix")
    queries = backend.convert(SigmaCollection.from_dicts(rules))
    connection = sqlite3.connect(":memory:")
    try:
        connection.row_factory = sqlite3.Row
        connection.create_function("REGEXP", 2, lambda pattern, value: value is not None and re.search(pattern, str(value)) is not None)
        # Like the log shippers that the backend is made for: text columns that compare without case.
        connection.execute(
            "CREATE TABLE logs (event_id TEXT, ts INTEGER, kind TEXT COLLATE NOCASE, user TEXT COLLATE NOCASE, "
            "text TEXT COLLATE NOCASE, number INTEGER)"
        )
        connection.executemany("INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?)", events.rows())
        return [dict(row) for row in connection.execute(queries[-1])]
    finally:
        connection.close()


@EXAMPLES
@given(rows, selections, selections, conditions)
def test_plain_rules_agree(events: list[dict[str, Any]], p: Any, q: Any, condition: str) -> None:
    rule = {"title": "t", "logsource": {"product": "x"}, "detection": {"p": p, "q": q, "condition": condition}}
    table = frame(events)
    assert {row["event_id"] for row in ours([rule], table)} == {row["event_id"] for row in theirs([rule], table)}


def _base() -> list[dict[str, Any]]:
    return [{"title": k, "name": k, "logsource": {"product": "x"}, "detection": {"s": {"kind": k}, "condition": "s"}} for k in "abc"]


def _windows(found: list[dict[str, Any]], oracle: bool) -> dict[tuple[Any, ...], tuple[float, tuple[str, ...]]]:
    windows = {}
    for hit in found:
        if oracle:
            group = tuple(str(value) for value in json.loads(hit["group_keys"]).values())
            key = (group, round(hit["window_end"] * 1e6))
            names = tuple(sorted(name.split(":", 1)[1] for name in json.loads(hit["event_ids"])))
            windows[key] = (float(hit["metric_value"]), names)
        else:
            windows[tuple(hit["group_values"]), hit["end_us"]] = (float(hit["metric"]), tuple(sorted(hit["event_ids"])))
    return windows


correlations = st.fixed_dictionaries({
    "timespan": st.sampled_from(["1s", "5s", "10s", "30s"]),
    "group-by": st.sampled_from([["user"], ["user", "text"], []]),
})
counts = st.one_of(
    st.builds(lambda op, n: {"type": "event_count", "condition": {op: n}}, st.sampled_from(["gte", "gt", "lt", "lte", "eq"]), st.integers(1, 4)),
    st.builds(lambda op, n, f: {"type": "value_count", "condition": {op: n, "field": f}},
              st.sampled_from(["gte", "gt", "lt", "eq"]), st.integers(1, 3), st.sampled_from(["text", "number"])),
    st.builds(lambda kind, op, n: {"type": kind, "condition": {op: n, "field": "number"}},
              st.sampled_from(["value_sum", "value_avg", "value_median"]), st.sampled_from(["gte", "lt"]), st.integers(-1, 5)),
    st.builds(lambda n, p: {"type": "value_percentile", "condition": {"gte": n, "field": "number", "percentile": p}},
              st.integers(-1, 5), st.sampled_from([10, 50, 90])),
)


@EXAMPLES
@given(rows, correlations, counts, st.sampled_from([["a"], ["a", "b"], ["b", "c"]]))
def test_counts_and_values_agree(events: list[dict[str, Any]], frame_of: dict[str, Any], kind: dict[str, Any], named: list[str]) -> None:
    rules = [*_base(), {"title": "x", "name": "x", "correlation": {**frame_of, **kind, "rules": named}}]
    table = frame(events)
    mine, oracle = _windows(ours(rules, table), False), _windows(theirs(rules, table), True)
    assert mine.keys() == oracle.keys()
    for key, (metric, names) in mine.items():
        assert metric == pytest.approx(oracle[key][0]) and names == oracle[key][1]


@EXAMPLES
@given(rows, correlations, st.sampled_from([None, {"gte": 1}, {"gte": 2}, {"eq": 2}, {"lt": 2}]), st.sampled_from([["a", "b"], ["a", "b", "c"]]))
def test_temporal_agrees(events: list[dict[str, Any]], frame_of: dict[str, Any], condition: Any, named: list[str]) -> None:
    body = {**frame_of, "type": "temporal", "rules": named, **({"condition": condition} if condition else {})}
    rules = [*_base(), {"title": "x", "name": "x", "correlation": body}]
    table = frame(events)
    assert _windows(ours(rules, table), False) == _windows(theirs(rules, table), True)


@EXAMPLES
@given(rows, correlations, st.sampled_from([["a", "b"], ["a", "b", "c"], ["b", "a"], ["c", "a", "b"]]), st.booleans())
def test_order_agrees(events: list[dict[str, Any]], frame_of: dict[str, Any], named: list[str], partly: bool) -> None:
    """They name a window for every event after a chain, we name the tightest chain that ends at its last event.

    A rule named twice in a chain is left out: they take its two places for one (the golden suite has that case).
    """
    body = {**frame_of, "type": "temporal_ordered", "rules": named, **({"condition": {"gte": 2}} if partly else {})}
    rules = [*_base(), {"title": "x", "name": "x", "correlation": body}]
    table = frame(events)
    mine, oracle = ours(rules, table), theirs(rules, table)
    their_windows = {
        (tuple(str(v) for v in json.loads(hit["group_keys"]).values()), round(hit["window_start"] * 1e6), round(hit["window_end"] * 1e6))
        for hit in oracle
    }
    for hit in mine:
        assert any(group == tuple(hit["group_values"]) and end == hit["end_us"] and start <= hit["start_us"] for group, start, end in their_windows)
    for group, start, end in their_windows:
        assert any(group == tuple(hit["group_values"]) and start <= hit["start_us"] and hit["end_us"] <= end for hit in mine)


@EXAMPLES
@given(rows, st.sampled_from(["5s", "10s"]), st.integers(1, 3), st.sampled_from([
    {"type": "event_count", "rules": ["below"], "condition": {"gte": 2}}, {"type": "event_count", "rules": ["below", "c"], "condition": {"gte": 2}},
    {"type": "temporal", "rules": ["below", "b"]}, {"type": "temporal", "rules": ["b", "below", "c"], "condition": {"gte": 2}},
]), st.sampled_from(["event_count", "value_count"]))
def test_correlations_of_correlations_agree(events: list[dict[str, Any]], span: str, least: int, above: dict[str, Any], below: str) -> None:
    low = {"type": below, "rules": ["a"], "timespan": span, "group-by": ["user"],
           "condition": {"gte": least, **({"field": "text"} if below == "value_count" else {})}}
    rules = [*_base(), {"title": "l", "name": "below", "correlation": low},
             {"title": "x", "name": "x", "correlation": {"timespan": "20s", "group-by": ["user"], **above}}]
    table = frame(events)
    assert _windows(ours(rules, table), False) == _windows(theirs(rules, table), True)
