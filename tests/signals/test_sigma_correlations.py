"""The golden suite of correlations: what each kind must find, what it must not, and which events it must name."""

from __future__ import annotations

import time
from typing import Any

import pytest
from correlation_story import correlation, hits, ids, table
from sigma.exceptions import SigmaError

ORDERED = [correlation(type="temporal_ordered", rules=["a", "b"])]
THREE = [correlation(type="temporal_ordered", rules=["a", "b", "c"])]
TOGETHER = [correlation(type="temporal", rules=["a", "b"])]
COUNT = [correlation(type="event_count", rules=["a"], condition={"gte": 3})]
VALUES = [correlation(type="value_count", rules=["a"], condition={"field": "address", "gte": 3})]


def numbers(kind: str, condition: dict[str, Any]) -> list[dict[str, Any]]:
    return [correlation(type=kind, rules=["a"], condition={"field": "number", **condition})]


def a(*times: float) -> list[tuple[Any, ...]]:
    return [(at, "a") for at in times]


def n(*pairs: tuple[float, float | None]) -> list[tuple[Any, ...]]:
    return [(at, "a", "u", "1", number) for at, number in pairs]


CASES: list[tuple[str, list[dict[str, Any]], list[tuple[Any, ...]], list[str]]] = [
    # ---- order
    ("a pair in order", ORDERED, [(0, "a"), (10, "b")], ["e0 e1"]),
    ("the other order is none", ORDERED, [(0, "b"), (10, "a")], []),
    ("equal times are in no order", ORDERED, [(5, "a"), (5, "b")], []),
    ("an old event before a true pair does not hide it", ORDERED, [(0, "a"), (500, "a"), (510, "b")], ["e1 e2"]),
    ("a pair too far apart", ORDERED, [(0, "a"), (61, "b")], []),
    ("a pair at the very end of the window", ORDERED, [(0, "a"), (60, "b")], ["e0 e1"]),
    ("a microsecond too late", ORDERED, [(0, "a"), (60.000001, "b")], []),
    ("another user's event is no part", ORDERED, [(0, "a", "u"), (10, "b", "v")], []),
    ("an event without user is no part", ORDERED, [(0, "a", None), (10, "b", None)], []),
    ("two users, two hits", ORDERED, [(0, "a", "u"), (1, "a", "v"), (10, "b", "u"), (11, "b", "v")], ["e0 e2", "e1 e3"]),
    ("upper and lower case are one user", ORDERED, [(0, "a", "U"), (10, "b", "u")], ["e0 e1"]),
    ("noise between does not matter", ORDERED, [(0, "a"), (1, "c"), (2, "c"), (3, "b")], ["e0 e3"]),
    ("several ends of one beginning are one hit", ORDERED, [(0, "a"), (10, "b"), (20, "b")], ["e0 e1 e2"]),
    ("two pairs are two hits", ORDERED, [(0, "a"), (10, "b"), (20, "a"), (30, "b")], ["e0 e1", "e2 e3"]),
    ("three in order", THREE, [(0, "a"), (10, "b"), (20, "c")], ["e0 e1 e2"]),
    ("three, the middle one missing", THREE, [(0, "a"), (20, "c")], []),
    ("three, the first two swapped", THREE, [(0, "b"), (10, "a"), (20, "c")], []),
    ("three, a late middle one closes the chain", THREE, [(0, "a"), (5, "b"), (50, "a"), (55, "b"), (100, "c")], ["e2 e3 e4"]),
    ("three, the whole chain must fit", THREE, [(0, "a"), (40, "b"), (80, "c")], []),
    ("three, a first event after the middle one does not help", THREE, [(0, "a"), (10, "b"), (15, "a"), (20, "c")], ["e0 e1 e3"]),
    ("the same rule twice", [correlation(type="temporal_ordered", rules=["a", "a"])], a(0, 10), ["e0 e1"]),
    ("the same rule twice needs two events", [correlation(type="temporal_ordered", rules=["a", "a"])], a(0), []),
    ("two of three in order", [correlation(type="temporal_ordered", rules=["a", "b", "c"], condition={"gte": 2})],
     [(0, "a"), (10, "c")], ["e0 e1"]),
    ("ordered without group", [correlation(type="temporal_ordered", rules=["a", "b"], group_by=[])], [(0, "a", "u"), (9, "b", "v")], ["e0 e1"]),
    ("grouped by two fields", [correlation(type="temporal_ordered", rules=["a", "b"], group_by=["user", "address"])],
     [(0, "a", "u", "1"), (5, "b", "u", "2"), (6, "b", "u", "1")], ["e0 e2"]),
    ("a pair without group value beside one with it", ORDERED, [(0, "a", None), (1, "a", "u"), (2, "b", None), (3, "b", "u")], ["e1 e3"]),
    ("two beginnings at one moment are both named", ORDERED, [(5, "a"), (5, "a"), (6, "b")], ["e0 e1 e2"]),
    ("two ends at one moment are both named", ORDERED, [(5, "a"), (6, "b"), (6, "b")], ["e0 e1 e2"]),
    ("the nearest beginning is named, not every one", ORDERED, [(0, "a"), (10, "a"), (20, "b")], ["e1 e2"]),
    ("three, with the first again at the end", [correlation(type="temporal_ordered", rules=["a", "b", "a"])],
     [(0, "a"), (10, "b"), (20, "a")], ["e0 e1 e2"]),
    ("three, with the first again, needs it after the middle", [correlation(type="temporal_ordered", rules=["a", "b", "a"])],
     [(0, "a"), (1, "a"), (10, "b")], []),
    ("three of one kind in order", [correlation(type="temporal_ordered", rules=["a", "a", "a"])], a(0, 10, 20), ["e0 e1 e2"]),
    ("three of one kind need three moments", [correlation(type="temporal_ordered", rules=["a", "a", "a"])], a(0, 10, 10), []),
    ("a chain of three exactly as long as the window", THREE, [(0, "a"), (30, "b"), (60, "c")], ["e0 e1 e2"]),
    ("a chain of three a microsecond too long", THREE, [(0, "a"), (30, "b"), (60.000001, "c")], []),
    ("three, where the nearest middle one has no near beginning", THREE, [(0, "a"), (10, "b"), (65, "b"), (68, "c")], []),
    ("three, equal times in the middle are in no order", THREE, [(0, "a"), (10, "b"), (10, "c")], []),
    ("three in order, one in another's group", THREE, [(0, "a", "u"), (10, "b", "v"), (20, "c", "u")], []),
    ("more than two of three in order", [correlation(type="temporal_ordered", rules=["a", "b", "c"], condition={"gt": 2})],
     [(0, "a"), (10, "b"), (20, "c")], ["e0 e1 e2"]),
    # ---- together
    ("together exactly at the window's length", TOGETHER, [(0, "b"), (60, "a")], ["e0 e1"]),
    ("together a microsecond too late", TOGETHER, [(0, "b"), (60.000001, "a")], []),
    ("together, a chain of overlaps is one hit", TOGETHER, [(0, "a"), (50, "b"), (100, "a")], ["e0 e1 e2"]),
    ("together, groups apart", TOGETHER, [(0, "a", "u"), (1, "b", "v")], []),
    ("two of three together", [correlation(type="temporal", rules=["a", "b", "c"], condition={"gte": 2})], [(0, "c"), (10, "a")], ["e0 e1"]),
    ("either order", TOGETHER, [(0, "b"), (10, "a")], ["e0 e1"]),
    ("equal times are together", TOGETHER, [(5, "a"), (5, "b")], ["e0 e1"]),
    ("too far apart to be together", TOGETHER, [(0, "a"), (61, "b")], []),
    ("one kind alone is not together", TOGETHER, [(0, "a"), (1, "a")], []),
    ("one of two is enough when so stated", [correlation(type="temporal", rules=["a", "b"], condition={"gte": 1})], [(0, "a")], ["e0"]),
    ("a condition in words", [correlation(type="temporal", rules=["a", "b", "c"], condition="a and (b or c)")],
     [(0, "a"), (10, "c")], ["e0 e1"]),
    ("a condition in words that fails", [correlation(type="temporal", rules=["a", "b", "c"], condition="a and (b or c)")],
     [(0, "b"), (10, "c")], []),
    ("an ordered condition in words", [correlation(type="temporal_ordered", rules=["a", "b", "c"], condition="a and (b or c)")],
     [(0, "b"), (10, "a"), (20, "c")], ["e1 e2"]),
    # ---- counts
    ("three within a minute", COUNT, a(0, 30, 60), ["e0 e1 e2"]),
    ("three in more than a minute", COUNT, a(0, 30, 60.5), []),
    ("three that lie across a full minute of the clock", COUNT, a(50, 60, 70), ["e0 e1 e2"]),
    ("three at one moment", COUNT, a(5, 5, 5), ["e0 e1 e2"]),
    ("overlapping windows are one hit with all their events", COUNT, a(0, 20, 40, 60, 80), ["e0 e1 e2 e3 e4"]),
    ("two bursts are two hits", COUNT, a(0, 1, 2, 1000, 1001, 1002), ["e0 e1 e2", "e3 e4 e5"]),
    ("an old event is left out of the evidence", COUNT, a(0, 100, 110, 120), ["e1 e2 e3"]),
    ("counts are kept apart by user", COUNT, [(0, "a", "u"), (1, "a", "v"), (2, "a", "u"), (3, "a", "v")], []),
    ("fewer than three", [correlation(type="event_count", rules=["a"], condition={"lt": 3})], a(0, 1), ["e0 e1"]),
    ("more than two", [correlation(type="event_count", rules=["a"], condition={"gt": 2})], a(0, 1, 2), ["e0 e1 e2"]),
    ("exactly two, and then no more", [correlation(type="event_count", rules=["a"], condition={"eq": 2})], a(0, 100, 101), ["e1 e2"]),
    ("two rules counted as one", [correlation(type="event_count", rules=["a", "b"], condition={"gte": 3})],
     [(0, "a"), (1, "b"), (2, "a")], ["e0 e1 e2"]),
    ("a count needs distinct events in its window, not in the group", COUNT, a(0, 61, 122), []),
    ("a count exactly at both ends of the window", COUNT, a(0, 60, 60), ["e0 e1 e2"]),
    ("windows that touch at one event are one hit", COUNT, a(0, 1, 60, 119, 120), ["e0 e1 e2 e3 e4"]),
    ("events without group are not counted together", COUNT, [(0, "a", None), (1, "a", None), (2, "a", None)], []),
    # ---- values
    ("values without value are not counted", VALUES, [(0, "a", "u", "1"), (1, "a", "u", "2"), (2, "a", None, "3")], []),
    ("a value beyond the window does not count", VALUES, [(0, "a", "u", "1"), (30, "a", "u", "2"), (60.000001, "a", "u", "3")], []),
    ("a sum below", numbers("value_sum", {"lt": 0}), n((0, 5), (100, -1), (101, -2)), ["e1 e2"]),
    ("a sum that is exactly so", numbers("value_sum", {"eq": 3}), n((0, 1), (1, 2)), ["e0 e1"]),
    ("an average of nothing is no value", numbers("value_avg", {"lt": 5}), n((0, None), (1, None)), []),
    ("an average slides", numbers("value_avg", {"gte": 9}), n((0, 1), (61, 9)), ["e1"]),
    ("a median of an even number lies between", numbers("value_median", {"eq": 3}), n((0, 1), (0, 5)), ["e0 e1"]),
    ("a percentile slides", numbers("value_percentile", {"gte": 9, "percentile": 50}), n((0, 10), (61, 1)), ["e0"]),
    ("three addresses", VALUES, [(0, "a", "u", "1"), (1, "a", "u", "2"), (2, "a", "u", "3")], ["e0 e1 e2"]),
    ("three events of two addresses", VALUES, [(0, "a", "u", "1"), (1, "a", "u", "2"), (2, "a", "u", "1")], []),
    ("three addresses, one of them too old", VALUES, [(0, "a", "u", "1"), (61, "a", "u", "2"), (62, "a", "u", "3")], []),
    ("pairs of values", [correlation(type="value_count", rules=["a"], condition={"field": ["address", "number"], "gte": 3})],
     [(0, "a", "u", "1", 1), (1, "a", "u", "1", 2), (2, "a", "u", "2", 1)], ["e0 e1 e2"]),
    ("pairs of values, one without its half", [correlation(type="value_count", rules=["a"], condition={"field": ["address", "number"], "gte": 3})],
     [(0, "a", "u", "1", 1), (1, "a", "u", "1", 2), (2, "a", "u", "2", None)], []),
    ("values differ by more than case", VALUES, [(0, "a", "u", "x"), (1, "a", "u", "X"), (2, "a", "u", "y")], []),
    ("a sum", numbers("value_sum", {"gte": 10}), n((0, 4), (1, 5), (2, 1)), ["e0 e1 e2"]),
    ("a sum that slides", numbers("value_sum", {"gte": 10}), n((0, 9), (61, 1), (62, 2)), []),
    ("a sum skips what has no value", numbers("value_sum", {"gte": 9}), n((0, 4), (1, None), (2, 5)), ["e0 e2"]),
    ("an average", numbers("value_avg", {"gt": 4}), n((0, 2), (1, 8)), ["e0 e1"]),
    ("a median", numbers("value_median", {"gte": 5}), n((0, 1), (1, 5), (2, 9)), ["e0 e1 e2"]),
    ("a percentile", numbers("value_percentile", {"gte": 9, "percentile": 90}), n((0, 1), (1, 10), (2, 10)), ["e0 e1 e2"]),
]


@pytest.mark.parametrize(("rules", "events", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_golden(rules: list[dict[str, Any]], events: list[tuple[Any, ...]], expected: list[str]) -> None:
    assert ids(rules, events) == expected


def test_the_suite_is_large_enough() -> None:
    assert len(CASES) >= 25


def test_a_group_can_have_other_names_in_other_rules() -> None:
    aliased = correlation(type="temporal_ordered", rules=["a", "b"], group_by=["who"], aliases={"who": {"a": "user", "b": "address"}})
    assert ids([aliased], [(0, "a", "eve", "1"), (5, "b", "bob", "Eve"), (6, "b", "eve", "other")]) == ["e0 e1"]


def test_a_list_belongs_to_the_group_of_each_element() -> None:
    aliased = correlation(type="temporal_ordered", rules=["a", "b"], group_by=["who"], aliases={"who": {"a": "subjects", "b": "user"}})
    events = [(0, "a", "root", "1", None, ["Eve", "mal", "eve"]), (5, "b", "eve"), (6, "b", "mal"), (7, "b", "root")]
    assert ids([aliased], events) == ["e0 e1", "e0 e2"]


def test_a_correlation_can_build_on_another_in_time_of_the_burst() -> None:
    burst = correlation("burst", type="event_count", rules=["a"], condition={"gte": 3})
    chain = correlation("chain", type="temporal_ordered", rules=["burst", "b"], timespan="10m")
    # The burst goes on after b, yet it was one before b came.
    assert ids([burst, chain], [(0, "a"), (1, "a"), (2, "a"), (3, "b"), (4, "a")]) == ["e0 e1 e2 e3"]
    assert ids([burst, chain], [(0, "a"), (1, "a"), (2, "b"), (3, "a")]) == []


BURST = correlation("burst", type="event_count", rules=["a"], condition={"gte": 3})


@pytest.mark.parametrize("above", [
    {"type": "temporal_ordered", "rules": ["burst", "b"]}, {"type": "temporal", "rules": ["burst", "b"]},
    {"type": "event_count", "rules": ["burst"], "condition": {"gte": 2}},
])
def test_a_long_burst_below_is_listed_once_and_in_one_hit(above: dict[str, Any]) -> None:
    """Every window of the burst holds hundreds of its events: all windows together hold each event a hundred times."""
    events = [(place / 10, "a") for place in range(5000)] + [(place + 0.05, "b") for place in range(0, 500, 5)]
    found = hits([BURST, correlation("above", timespan="10m", **above)], table(events))
    assert len(found) == 1
    named = found[0]["event_ids"]
    assert len(named) == len(set(named)) and 4990 <= len(named) <= 5100


def test_two_bursts_below_are_two_beginnings() -> None:
    chain = correlation("chain", type="temporal_ordered", rules=["burst", "b"], timespan="10m")
    events = [(0, "a"), (1, "a"), (2, "a"), (5, "b"), (200, "a"), (201, "a"), (202, "a"), (205, "b")]
    assert ids([BURST, chain], events) == ["e0 e1 e2 e3", "e4 e5 e6 e7"]


def test_three_floors_of_correlations_name_the_events_of_the_lowest() -> None:
    pair = correlation("pair", type="temporal_ordered", rules=["burst", "b"], timespan="2m")
    top = correlation("top", type="temporal_ordered", rules=["pair", "c"], timespan="10m")
    assert ids([BURST, pair, top], [(0, "a"), (1, "a"), (2, "a"), (3, "b"), (200, "c")]) == ["e0 e1 e2 e3 e4"]
    assert ids([BURST, pair, top], [(0, "a"), (1, "a"), (2, "a"), (200, "c"), (201, "b")]) == []


def test_a_burst_of_another_user_is_no_beginning() -> None:
    chain = correlation("chain", type="temporal_ordered", rules=["burst", "b"], timespan="10m")
    assert ids([BURST, chain], [(0, "a", "u"), (1, "a", "u"), (2, "a", "v"), (3, "a", "v"), (4, "b", "u")]) == []
    everybody = correlation("chain", type="temporal_ordered", rules=["burst", "b"], timespan="10m", group_by=[])
    assert ids([BURST, everybody], [(0, "a", "u"), (1, "a", "u"), (2, "a", "u"), (4, "b", "v")]) == ["e0 e1 e2 e3"]


def test_one_event_of_two_rules_is_one_event_and_no_order() -> None:
    both = {"title": "both", "name": "both", "logsource": {"product": "x"}, "detection": {"s": {"kind": ["a", "b"]}, "condition": "s"}}
    assert ids([both, correlation(type="event_count", rules=["a", "both"], condition={"gte": 2})], [(0, "a")]) == []
    assert ids([both, correlation(type="event_count", rules=["a", "both"], condition={"gte": 2})], [(0, "a"), (1, "b")]) == ["e0 e1"]
    assert ids([both, correlation(type="temporal", rules=["a", "both"])], [(0, "a")]) == ["e0"]
    assert ids([both, correlation(type="temporal_ordered", rules=["a", "both"])], [(0, "a")]) == []


def test_an_event_of_two_rules_fills_no_window_twice() -> None:
    both = {"title": "both", "name": "both", "logsource": {"product": "x"}, "detection": {"s": {"kind": ["a", "b"]}, "condition": "s"}}
    three = correlation(type="event_count", rules=["a", "both"], condition={"gte": 3})
    assert ids([both, three], [(0, "a"), (1, "a"), (200, "a")]) == []


def test_an_event_of_a_burst_and_of_the_rule_beside_it_is_named_once() -> None:
    assert ids([BURST, correlation("above", type="temporal", rules=["burst", "a"])], [(0, "a"), (1, "a"), (2, "a")]) == ["e0 e1 e2"]


def test_a_large_group_takes_time_in_proportion() -> None:
    """Many episodes in one group, each looked up rather than compared with every event: 120,000 events in seconds, not hours."""
    events = table([(place * 10 + extra, "a") for place in range(0, 400_000, 10) for extra in (0, 1, 2)])
    begun = time.process_time()
    found = hits(COUNT, events)
    assert len(found) == 40_000 and all(len(hit["event_ids"]) == 3 for hit in found[:100])
    assert time.process_time() - begun < 30


def test_hits_of_a_correlation_count_once_each() -> None:
    pair = correlation("pair", type="temporal_ordered", rules=["a", "b"], timespan="10s")
    pairs = correlation("pairs", type="event_count", rules=["pair"], timespan="1h", condition={"gte": 2})
    assert ids([pair, pairs], [(0, "a"), (1, "b"), (100, "a"), (101, "b")]) == ["e0 e1 e2 e3"]
    assert ids([pair, pairs], [(0, "a"), (1, "b")]) == []


def test_a_hit_tells_its_window_its_measure_and_its_last_event() -> None:
    hit, = hits(COUNT, table(a(0, 20, 40, 60)))
    assert (hit["metric"], hit["n_windows"], hit["group_values"], hit["last_event_id"]) == (4, 2, ["u"], "e3")
    assert (hit["end_us"] - hit["start_us"]) == 80_000_000
    first, second = hits(COUNT, table(a(0, 20, 40, 60)), method="windows")
    assert (first["event_ids"], second["event_ids"]) == (["e0", "e1", "e2"], ["e0", "e1", "e2", "e3"])


def test_a_burst_of_thousands_is_one_hit_that_names_them_all() -> None:
    hit, = hits(COUNT, table([(place / 100, "a") for place in range(5000)]))
    assert len(hit["event_ids"]) == 5000 == len(set(hit["event_ids"]))


@pytest.mark.parametrize(("spec", "words"), [
    ({"type": "temporal", "rules": ["a", "b"], "condition": "a and not b"}, "'not'"),
    ({"type": "temporal_ordered", "rules": ["a", "b"], "condition": {"lt": 2}}, "gte"),
    ({"type": "temporal_ordered", "rules": ["a", "b"], "condition": {"gte": 3}}, "cannot be met"),
    ({"type": "value_percentile", "rules": ["a"], "condition": {"field": "number", "gte": 1}}, "percentile"),
    ({"type": "value_sum", "rules": ["a"], "condition": {"field": ["number", "address"], "gte": 1}}, "several value fields"),
    ({"type": "event_count", "rules": ["a"], "group_by": ["nowhere"], "condition": {"gte": 1}}, "nowhere"),
])
def test_what_cannot_be_done_is_said(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(SigmaError, match=words):
        hits([correlation(**spec)], table([(0, "a")]))
