"""Random rules of every modifier over typed rows, compared with a second reading of the specification in plain Python."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sigma.collection import SigmaCollection
from sigma.modifiers import modifier_mapping
from sigma_reference import condition, condition_text

from audit_lab.duck import connect
from audit_lab.signals.sigma import DuckDBBackend, fields_of

SCHEMA = {
    "n": pl.Int64, "text": pl.String, "other": pl.String, "tags": pl.List(pl.String), "more": pl.List(pl.String), "status": pl.Int64,
    "share": pl.Float64, "flag": pl.Boolean, "address": pl.String, "moment": pl.Datetime("us", "UTC"),
}
TEXTS = ["", "alpha", "Alpha", "ALPHABET", "be%ta", "b_ta", "401", "401.0", "4e2", "nan", "inf", "a*b", "a?b", "back\\slash", "\\", "it's",
         'say "x"', "two\nlines", "Ärger", "ärger", "true", "False", "1", "tool -x", "tool /x", "tool —x", "2026-01-05T07:30:00Z",
         "10.1.2.3", "YWxwaGE=", "xYWxwaGEy", "hbHBoYQ", "YQBsAHAAaABhAA==", "{x}", "$1", ":x", "--", "/* x */"]
ADDRESSES = ["10.1.2.3", "10.2.0.0", "172.16.0.1", "::ffff:10.1.2.3", "2001:db8::1", "2001:DB8:0:0::1", "::", "host", "300.1.1.1", "010.1.2.3", ""]
EXAMPLES = settings(
    max_examples=int(os.environ.get("AUDIT_LAB_EXAMPLES", "300")), derandomize="AUDIT_LAB_EXAMPLES" not in os.environ, deadline=None,
    suppress_health_check=[HealthCheck.too_slow], database=None,
)
CONNECTION = connect()


def either(values: list[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.sampled_from(values))


ROWS = st.lists(st.fixed_dictionaries({
    "text": either(TEXTS), "other": either(TEXTS), "tags": st.one_of(st.none(), st.lists(st.sampled_from(TEXTS), max_size=3)),
    "more": st.one_of(st.none(), st.lists(either(TEXTS), max_size=2)), "status": either([0, 1, 200, 401, 403, -5]),
    "share": either([0.0, 1.0, 0.5, 401.0, -1.5]), "flag": st.one_of(st.none(), st.booleans()), "address": either(ADDRESSES),
    "moment": either([datetime(2026, 1, 5, 7, 30, tzinfo=UTC), datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC)]),
}), min_size=1, max_size=8)
FIELDS = ["text", "other", "tags", "more", "status", "share", "flag", "moment", "nowhere"]
PATTERNS = ["alpha", "AL*", "*a", "?lpha", "a\\*b", "a\\?b", "*\\\\*", "back\\slash", "back\\\\slash", "*%*", "b_ta", "it's", "401", "40?", "4*",
            "401.0", "4e2", "true", "*", "**", "", "*\n*", "Ä*", "ÄRGER", "2026-01-05T07:30:00Z", "2026-01-05T*", "nan", "-5", " 401 ", "0.5"]
PIECES = ["a", "AL", "%", "_", "'", "\\", "\\*", "4", "", "\n", "Ä", "*x", "?"]
ALL = st.sampled_from(["", "|all", "|neq", "|all|neq"])


def some(values: list[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(values), st.lists(st.sampled_from(values), min_size=1, max_size=3))


def items(fields: list[str], modifiers: list[str], values: list[Any], how: st.SearchStrategy[str] = ALL) -> st.SearchStrategy[Any]:
    return st.builds(lambda field, modifier, more, value: (field + modifier + more, value), st.sampled_from(fields), st.sampled_from(modifiers), how, some(values))


ITEM = st.one_of(
    items(FIELDS, ["", "|cased"], PATTERNS),
    items(FIELDS, ["|contains", "|startswith", "|endswith", "|contains|cased", "|startswith|cased", "|endswith|cased"], PIECES),
    items(FIELDS, [""], [401, 0, 1, -5, 0.5, 401.0, True, False, None, "401", "ALLOW"]),
    items(FIELDS, ["|re", "|re|i", "|re|s", "|re|m", "|re|i|m|s"], ["^al", "^AL.*a$", "a.b", "two.lines", "^lines", "it's", "[Ää]", "\\\\", "^$", "40[13]", "(?:x|y)"]),
    items(FIELDS, ["|lt", "|lte", "|gt", "|gte"], [0, 401, -1.5, 0.5]),
    items(FIELDS, ["|exists"], [True, False], st.sampled_from(["", "|neq"])),
    items(["address", "text", "tags", "status"], ["|cidr"], ["10.0.0.0/8", "10.1.2.3/32", "10.1.2.2/31", "172.16.0.0/12", "0.0.0.0/0", "2001:db8::/33", "2001:db8::/127", "::/0", "10.1.2.3"]),
    items(FIELDS[:-1], ["|fieldref", "|fieldref|contains", "|fieldref|startswith", "|fieldref|endswith"],
          ["text", "other", "tags", "more", "status", "share", "flag", "moment"], st.sampled_from(["", "|neq"])),
    items(["moment", "text", "tags", "status", "flag"], ["|minute", "|hour", "|day", "|week", "|month", "|year"], [30, 7, 5, 1, 2, 2026, 59]),
    items(["text", "tags"], ["|base64", "|base64|contains", "|base64offset|contains", "|wide|base64offset|contains", "|utf16|base64|contains",
                             "|utf16be|base64offset|contains"], ["alpha", "ALP", "a", "pha"]),
)
SELECTION = st.one_of(
    st.lists(ITEM, min_size=1, max_size=3).map(dict),
    st.lists(ITEM.map(lambda pair: dict([pair])), min_size=1, max_size=2),
    st.lists(st.sampled_from(["alpha", "it's", "b*t", "\\*", "ÄRG", 401, "%", "\\\\"]), min_size=1, max_size=2),
)
TREE = st.recursive(
    st.one_of(st.sampled_from([("sel", "a1"), ("sel", "a2"), ("sel", "b")]), st.builds(lambda how, to: ("of", how, to), st.sampled_from(["1", "all"]), st.sampled_from(["a", ""]))),
    lambda inner: st.one_of(st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or"]), inner, inner)),
    max_leaves=5,
)


def matched(rows: list[dict[str, Any]], selections: dict[str, Any], tree: Any) -> tuple[list[int], list[int], str]:
    frame = pl.DataFrame([{"n": n, **row} for n, row in enumerate(rows)], schema=SCHEMA)
    rule = {"title": "t", "logsource": {"product": "x"}, "detection": {**selections, "condition": condition_text(tree)}}
    query = DuckDBBackend(fields=fields_of(SCHEMA), table="t").convert(SigmaCollection.from_dicts([rule]))[0]
    CONNECTION.register("t", frame.to_arrow())
    try:
        ours = [n for (n,) in CONNECTION.sql(f"SELECT n FROM ({query}) ORDER BY n").fetchall()]
    finally:
        CONNECTION.unregister("t")
    return ours, [n for n, row in enumerate(rows) if condition(row, tree, selections)], query


@EXAMPLES
@given(ROWS, SELECTION, SELECTION, SELECTION, TREE)
def test_rules_mean_what_a_second_reading_says(rows: list[dict[str, Any]], a1: Any, a2: Any, b: Any, tree: Any) -> None:
    ours, theirs, query = matched(rows, {"a1": a1, "a2": a2, "b": b, "_unused": {"text": "alpha"}}, tree)
    assert ours == theirs, query


@EXAMPLES
@given(ROWS, ITEM)
def test_every_single_comparison_means_what_a_second_reading_says(rows: list[dict[str, Any]], pair: tuple[str, Any]) -> None:
    ours, theirs, query = matched(rows, {"s": dict([pair])}, ("sel", "s"))
    assert ours == theirs, query


def test_the_two_readings_know_every_modifier_of_pysigma() -> None:
    """A modifier that a new pySigma brings is either drawn above or tested by hand in test_sigma_backend.py."""
    drawn = {"all", "neq", "base64", "base64offset", "cased", "cidr", "contains", "day", "endswith", "exists", "fieldref", "gt", "gte", "hour", "i", "lt",
             "lte", "m", "minute", "month", "re", "s", "startswith", "utf16", "utf16be", "week", "wide", "year"}
    by_hand = {"expand", "windash", "dotall", "ignorecase", "multiline"}
    assert set(modifier_mapping) == drawn | by_hand
