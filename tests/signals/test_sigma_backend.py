"""Conditions of plain rules on a typed table: every modifier, every kind of column, null and quoting."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import duckdb
import polars as pl
import pytest
import yaml
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError, SigmaFeatureNotSupportedByBackendError
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import ValueListPlaceholderTransformation

from audit_lab.duck import connect
from audit_lab.signals.sigma import DuckDBBackend, fields_of

ROWS: list[dict[str, Any]] = [
    # n     text             status  share  flag   tags                 address               moment
    {"n": 0, "text": "Alpha", "status": 200, "share": 0.5, "flag": True, "tags": ["Red", "blue"], "address": "10.1.2.3", "other": "alpha"},
    {"n": 1, "text": "beta%x", "status": 401, "share": 2.0, "flag": False, "tags": [], "address": "172.16.9.1", "other": "beta"},
    {"n": 2, "text": None, "status": None, "share": None, "flag": None, "tags": None, "address": None, "other": None},
    {"n": 3, "text": "401", "status": 403, "share": -1.0, "flag": True, "tags": ["green"], "address": "2001:db8::1", "other": "GREEN"},
    {"n": 4, "text": "it's a \\ path\nline two", "status": 500, "share": 0.0, "flag": False, "tags": ["gr*en"], "address": "::ffff:10.1.2.9",
     "other": "PATH"},
    {"n": 5, "text": "", "status": 0, "share": 401.0, "flag": True, "tags": ["x", None], "address": "host", "other": ""},
]
SCHEMA = {
    "n": pl.Int64, "text": pl.String, "status": pl.Int64, "share": pl.Float64, "flag": pl.Boolean, "tags": pl.List(pl.String),
    "address": pl.String, "other": pl.String, "moment": pl.Datetime("us", "UTC"),
}
FRAME = pl.DataFrame(
    [{**row, "moment": datetime(2026, 1, 5 + row["n"], 7, 30, tzinfo=UTC)} for row in ROWS], schema=SCHEMA
)


def backend() -> DuckDBBackend:
    return DuckDBBackend(fields=fields_of(FRAME.schema), table="t")


def found(detection: dict[str, Any], made: DuckDBBackend | None = None) -> list[int]:
    """Rows of FRAME that a rule with this detection matches."""
    rule = {"title": "t", "logsource": {"product": "kubernetes"}, "detection": {"condition": "s", **detection}}
    query = (made or backend()).convert(SigmaCollection.from_dicts([rule]))[0]
    with connect() as connection:
        connection.register("t", FRAME.to_arrow())
        return [n for (n,) in connection.sql(f"SELECT n FROM ({query}) ORDER BY n").fetchall()]


@pytest.mark.parametrize(("selection", "rows"), [
    # text: upper and lower case are the same, wildcards, escapes
    ({"text": "ALPHA"}, [0]), ({"text": "alp*"}, [0]), ({"text": "*A"}, [0]), ({"text": "?lpha"}, [0]), ({"text": "a*h?"}, [0]),
    ({"text": "beta%x"}, [1]), ({"text": "beta%*"}, [1]), ({"text": "b_ta*"}, []), ({"text": ["alpha", "401"]}, [0, 3]),
    ({"text": ""}, [5]), ({"text": "*"}, [0, 1, 3, 4, 5]), ({"text": 401}, [3]), ({"text": "*\\\\ path*"}, [4]), ({"text": "it's*"}, [4]),
    ({"text": "it*two"}, [4]),
    ({"text|contains": "ET"}, [1]), ({"text|startswith": "BET"}, [1]), ({"text|endswith": "X"}, [1]),
    ({"text|contains|all": ["a", "line"]}, [4]), ({"text|contains": ["zzz", "lph"]}, [0]),
    ({"text|cased": "Alpha"}, [0]), ({"text|cased": "alpha"}, []), ({"text|contains|cased": "lph"}, [0]), ({"text|contains|cased": "LPH"}, []),
    # regular expressions
    ({"text|re": "^Al.*a$"}, [0]), ({"text|re": "^al"}, []), ({"text|re|i": "^al"}, [0]), ({"text|re": "path.line"}, []),
    ({"text|re|s": "path.line"}, [4]), ({"text|re|m": "^line"}, [4]), ({"text|re": "it's"}, [4]), ({"status|re": "^40"}, [1, 3]),
    # a text against a number, a truth value or a list is no error
    ({"status": "401"}, [1]), ({"status": "ALLOW"}, []), ({"status": "40?"}, [1, 3]), ({"status": "4*"}, [1, 3]), ({"status": 401}, [1]),
    ({"share": 401}, [5]), ({"share": "0.5"}, [0]), ({"status": ""}, []), ({"flag": "true"}, [0, 3, 5]), ({"flag": "maybe"}, []),
    ({"flag": True}, [0, 3, 5]), ({"flag": False}, [1, 4]), ({"flag": 1}, [0, 3, 5]), ({"flag": 7}, []), ({"flag": "*"}, [0, 1, 3, 4, 5]),
    ({"text": True}, []), ({"status": True}, []),
    # lists match when any element does
    ({"tags": "RED"}, [0]), ({"tags|contains": "ree"}, [3]), ({"tags": "*"}, [0, 3, 4, 5]), ({"tags|cased": "Red"}, [0]),
    ({"tags|cased": "red"}, []), ({"tags|all": ["red", "blue"]}, [0]), ({"tags|all": ["red", "green"]}, []), ({"tags|re": "^gr"}, [3, 4]),
    ({"tags": "gr\\*en"}, [4]), ({"tags|cased": "gr\\*en"}, [4]),
    # null and existence; an empty list has no value
    ({"text": None}, [2]), ({"tags": None}, [1, 2]), ({"status": None}, [2]), ({"flag": None}, [2]),
    ({"text|exists": True}, [0, 1, 3, 4, 5]), ({"text|exists": False}, [2]), ({"tags|exists": True}, [0, 3, 4, 5]), ({"tags|exists": False}, [1, 2]),
    # numbers
    ({"status|gt": 401}, [3, 4]), ({"status|gte": 401}, [1, 3, 4]), ({"status|lt": 200}, [5]), ({"status|lte": 200}, [0, 5]),
    ({"share|gt": 0.25}, [0, 1, 5]), ({"status|neq": 401}, [0, 2, 3, 4, 5]), ({"text|gte": 400}, [3]), ({"flag|gt": 0}, [0, 3, 5]),
    # networks
    ({"address|cidr": "10.0.0.0/8"}, [0, 4]), ({"address|cidr": "10.1.2.0/24"}, [0, 4]), ({"address|cidr": "10.1.2.3/32"}, [0]),
    ({"address|cidr": "172.16.0.0/12"}, [1]), ({"address|cidr": "172.32.0.0/12"}, []), ({"address|cidr": "0.0.0.0/0"}, [0, 1, 4]),
    ({"address|cidr": "2001:db8::/32"}, [3]), ({"address|cidr": "2001:db8::/33"}, [3]), ({"address|cidr": "2001:db8:8000::/33"}, []),
    ({"address|cidr": ["10.0.0.0/8", "2001:db8::/32"]}, [0, 3, 4]), ({"status|cidr": "10.0.0.0/8"}, []),
    # another field of the same event
    ({"text|fieldref": "other"}, [0, 5]), ({"text|fieldref|startswith": "other"}, [0, 1, 5]), ({"text|fieldref|contains": "other"}, [0, 1, 4, 5]),
    ({"tags|fieldref": "other"}, [3]), ({"other|fieldref": "tags"}, [3]), ({"status|fieldref": "share"}, []),
    # encodings and parts of a time
    ({"text|base64": "x"}, []), ({"text|windash|contains": " -path"}, []), ({"moment|hour": 7}, [0, 1, 2, 3, 4, 5]), ({"moment|day": 6}, [1]),
    ({"moment|hour": 8}, []),
])
def test_every_modifier_on_every_kind_of_column(selection: dict[str, Any], rows: list[int]) -> None:
    assert found({"s": selection}) == rows


@pytest.mark.parametrize(("condition", "rows"), [
    ("not a", [1, 2, 3, 4, 5]), ("not b", [0, 1, 2, 4, 5]), ("a or b", [0, 3]), ("a and b", []), ("not (a or b)", [1, 2, 4, 5]),
    ("not (a and b)", [0, 1, 2, 3, 4, 5]), ("1 of a*", [0]), ("all of them", []), ("not 1 of them", [1, 2, 4, 5]), ("not not a", [0]),
])
def test_conditions_are_true_or_false_even_over_nulls(condition: str, rows: list[int]) -> None:
    assert found({"a": {"text": "alpha"}, "b": {"status": 403}, "condition": condition}) == rows


def test_encoded_values_are_found() -> None:
    text = "ZZZ aHR0cDov xx"
    frame = FRAME.head(1).with_columns(text=pl.lit(text))
    rule = {"title": "t", "logsource": {"product": "x"}, "detection": {"s": {"text|base64offset|contains": "http:/"}, "condition": "s"}}
    query = backend().convert(SigmaCollection.from_dicts([rule]))[0]
    with connect() as connection:
        connection.register("t", frame.to_arrow())
        assert connection.sql(f"SELECT count(*) FROM ({query})").fetchall() == [(1,)]


def test_a_search_without_field_looks_into_all_texts() -> None:
    assert found({"s": ["PATH"]}) == [4]
    assert found({"s": ["green"]}) == [3]
    assert found({"s": [401]}) == [3]
    assert found({"s": {"|re": "^bl.e$"}}) == [0]


@pytest.mark.parametrize("hostile", [
    "'; DROP TABLE t; --", '" OR 1=1 --', "a' || (SELECT 1) || '", "\\'; --", "%' ESCAPE 'x", "*/ 1 /*", "$1 ? :x",
])
def test_values_and_names_cannot_leave_their_quotes(hostile: str) -> None:
    assert found({"s": {"text": hostile.replace("*", "\\*").replace("?", "\\?")}}) == []
    assert found({"s": {"text|contains": hostile}}) == []
    assert found({"s": {"text|cased": hostile}}) == []
    assert found({"s": {"tags": hostile}}) == []
    odd = DuckDBBackend(fields=fields_of({hostile: pl.String()}), table=hostile)
    frame = pl.DataFrame({hostile: ["Yes", "no"]})
    rule = {"title": "t", "logsource": {"product": "x"}, "detection": {"s": {hostile.replace("|", ""): "yes"}, "condition": "s"}}
    query = odd.convert(SigmaCollection.from_dicts([rule]))[0]
    with connect() as connection:
        connection.execute(f'CREATE VIEW "{hostile.replace(chr(34), chr(34) * 2)}" AS SELECT * FROM (VALUES (1)) AS v(x)')
        connection.register("plain", frame.to_arrow())
        if "|" in hostile:  # the bar separates modifiers, so such a field cannot be named at all
            assert "FALSE" in query
            return
        quoted = '"' + hostile.replace('"', '""') + '"'
        connection.execute(f"CREATE OR REPLACE VIEW {quoted} AS SELECT * FROM plain")
        assert len(connection.sql(query).fetchall()) == 1


def test_a_field_that_is_not_there_never_has_a_value() -> None:
    made = backend()
    assert found({"s": {"nowhere": "x"}}, made) == []
    assert found({"s": {"text": "alpha"}, "f": {"nowhere": "x"}, "condition": "s and not f"}, made) == [0]
    assert found({"s": {"nowhere": None}}, made) == [0, 1, 2, 3, 4, 5]
    assert made.unknown_fields == {"nowhere"}


def test_what_the_engine_cannot_do_is_said() -> None:
    with pytest.raises(SigmaError, match="invalid perl operator"):
        found({"s": {"text|re": "a(?=b)"}})
    with pytest.raises(SigmaFeatureNotSupportedByBackendError, match="NUL"):
        found({"s": {"text": "a\x00b"}})


def test_a_placeholder_that_nobody_filled_in_is_said() -> None:
    with pytest.raises(SigmaFeatureNotSupportedByBackendError, match="%admins%"):
        found({"s": {"text|expand": "%admins%"}})
    filled = ProcessingPipeline(
        items=[ProcessingItem(ValueListPlaceholderTransformation(["admins"]))], vars={"admins": ["alpha", "401"]},
    )
    assert found({"s": {"text|expand": "%admins%"}}, DuckDBBackend(filled, fields=fields_of(FRAME.schema), table="t")) == [0, 3]


def test_a_dash_is_any_dash() -> None:
    frame = pl.DataFrame({"text": ["run -x", "run /x", "run \u2013x", "run x"]})
    rule = {"title": "t", "logsource": {"product": "x"}, "detection": {"s": {"text|windash|contains": " -x"}, "condition": "s"}}
    query = DuckDBBackend(fields=fields_of(frame.schema), table="t").convert(SigmaCollection.from_dicts([rule]))[0]
    with connect() as connection:
        connection.register("t", frame.to_arrow())
        assert connection.sql(f"SELECT text FROM ({query})").fetchall() == [("run -x",), ("run /x",), ("run \u2013x",)]


def test_long_names_of_the_flags_mean_the_same() -> None:
    assert found({"s": {"text|re|ignorecase": "^ALP"}}) == [0]
    assert found({"s": {"text|re|dotall": "path.line"}}) == [4] and found({"s": {"text|re|multiline": "^line"}}) == [4]


@pytest.mark.parametrize(("selection", "rows"), [
    ({"moment": "2026-01-06T07:30:00Z"}, [1]), ({"moment": "2026-01-06T08:30:00+01:00"}, [1]), ({"moment": "yesterday"}, []),
    ({"moment|startswith": "2026-01-06T07"}, [1]), ({"moment|re": "^2026-01-0[67]T"}, [1, 2]),
    ({"address|cidr": "::/0"}, [3, 4]), ({"status": "4.01e2"}, [1]), ({"n|fieldref": "share"}, []), ({"text|fieldref": "status"}, []),
])
def test_times_addresses_and_numbers_as_people_write_them(selection: dict[str, Any], rows: list[int]) -> None:
    assert found({"s": selection}) == rows


@pytest.mark.parametrize(("text", "network", "inside"), [
    ("300.1.1.1", "0.0.0.0/0", False), ("10.1.2", "10.0.0.0/8", False), ("10.1.2.3.4", "10.0.0.0/8", False), ("010.1.2.3", "10.0.0.0/8", False),
    ("10.255.255.255", "10.0.0.0/8", True), ("11.0.0.0", "10.0.0.0/8", False), ("10.1.2.3:443", "10.0.0.0/8", False),
    ("2001:db8::1", "2001:db8::/32", True), ("2001:DB8:0:0:0:0:0:1", "2001:db8::/32", True), ("2001:db8:1::2::3", "2001:db8::/32", False),
    ("2001:db80::1", "2001:db8::/32", False), ("2001:db8:::1", "2001:db8::/32", False), ("2001:db8:0:0:0:0:0", "2001:db8::/32", False),
    ("2001:db8:0:0:0:0:0:0:1", "2001:db8::/32", False), ("2001:12345::1", "2001:1234::/32", False), ("::", "::/128", True), ("::1", "::/128", False),
    ("::ffff:10.1.2.3", "::ffff:0:0/96", True), ("fe80::", "fe80::/10", True), ("a:b", "::/0", False), ("", "::/0", False),
])
def test_only_addresses_lie_in_networks(text: str, network: str, inside: bool) -> None:
    frame = pl.DataFrame({"text": [text]})
    rule = {"title": "t", "logsource": {"product": "x"}, "detection": {"s": {"text|cidr": network}, "condition": "s"}}
    query = DuckDBBackend(fields=fields_of(frame.schema), table="t").convert(SigmaCollection.from_dicts([rule]))[0]
    with connect() as connection:
        connection.register("t", frame.to_arrow())
        assert connection.sql(f"SELECT count(*) = 1 FROM ({query})").fetchall() == [(inside,)]


def test_a_search_without_field_keeps_its_modifiers() -> None:
    assert found({"s": {"|cased": "Alpha"}}) == [0] and found({"s": {"|cased": "ALPHA"}}) == []
    assert found({"s": {"|windash": "ALPHA"}}) == [0]
    for odd in ({"s": [None]}, {"s": [True]}, {"s": {"|cidr": "10.0.0.0/8"}}):
        with pytest.raises(SigmaFeatureNotSupportedByBackendError, match="without a field"):
            found(odd)


def test_the_hour_is_utc_whatever_the_connection_says() -> None:
    rule = {"title": "t", "logsource": {"product": "x"}, "detection": {"s": {"moment|hour": 7, "moment|startswith": "2026-01-05T07"}, "condition": "s"}}
    query = backend().convert(SigmaCollection.from_dicts([rule]))[0]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Seoul'")
        connection.register("t", FRAME.to_arrow())
        assert connection.sql(f"SELECT count(*) FROM ({query})").fetchall() == [(1,)]


def test_the_query_is_one_select() -> None:
    text = yaml.safe_dump({"title": "t", "logsource": {"product": "x"}, "detection": {"s": {"text": "a"}, "condition": "s"}})
    assert backend().convert(SigmaCollection.from_yaml(text)) == ['SELECT * FROM "t" WHERE lower("text") = \'a\'']
    assert json.dumps(backend().convert(SigmaCollection.from_yaml(text), output_format="condition")) == '["lower(\\"text\\") = \'a\'"]'
