"""What a body would say is unknown where it was cut or never logged: no match, and no match of the negation either."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from audit_lab.signals.checks import check_rules
from audit_lab.signals.examples import example_events
from audit_lab.signals.hits import find_hits
from audit_lab.signals.rulebook import Rule, load_rules

POD = {"verb": "create", "resource": "pods"}
SEEN = [{**POD, "images": ["corp/x"]}, {**POD, "images": ["evil/x"], "host_paths": ["/"]}]
UNSEEN = [{**POD, "truncated": True}, {**POD, "has_body": False, "level": "Metadata"}]


def rule(folder: Path, detection: str) -> list[Rule]:
    (folder / "r.yml").write_text(f"title: x\nname: x\nlogsource: {{product: kubernetes}}\ndetection: {{{detection}}}", encoding="utf-8")
    rules = load_rules([folder], pack=False)
    assert rules[0].unusable is None
    return rules


def rows(rules: list[Rule], specs: list[dict[str, Any]]) -> list[int]:
    return find_hits(rules, example_events(specs)).kept["i"].to_list()


@pytest.mark.parametrize(("detection", "hits"), [
    ("s: {resource: pods}, f: {images|startswith: corp/}, condition: s and not f", [1]),
    ("s: {resource: pods}, f: {images|startswith: corp/}, condition: s and not (not f)", [0]),
    ("s: {resource: pods, hostPath: null}, condition: s", [0]),
    ("s: {resource: pods}, f: {hostPath: null}, condition: s and not f", [1]),
    ("s: {resource: pods, hostPath|exists: false}, condition: s", [0]),
    ("s: {resource: pods}, f: {hostPath|exists: true}, condition: s and not f", [0]),
    ("s: {resource: pods, images|neq: corp/x}, condition: s", [1]),
    ("s: {resource: pods}, f_a: {images: corp/x}, f_b: {verb: get}, condition: s and not 1 of f_*", [1]),
    ("s: {resource: pods}, f_a: {images: corp/x}, f_b: {verb: get}, condition: s and not all of f_*", [0, 1, 2, 3]),
    ("s: {resource: pods}, f_a: {images: corp/x}, f_b: {verb: create}, condition: s and not all of f_*", [1]),
    ("s: {resource: pods}, f: {name|fieldref: pod_service_account}, condition: s and not f", [0, 1]),
    ("s: {resource: pods}, f: {pod_service_account|fieldref: name}, condition: s and not f", [0, 1]),
    ("s: {resource: pods}, f: ['*corp/*'], condition: s and not f", [1]),
    ("s: {verb: create}, f: {images: 5}, condition: s and not f", [0, 1]),
    ("s: {verb: create}, condition: s", [0, 1, 2, 3]),
])
def test_a_body_that_cannot_be_seen_is_neither_match_nor_no_match(tmp_path: Path, detection: str, hits: list[int]) -> None:
    rules = rule(tmp_path, detection)
    assert rows(rules, [*SEEN, *UNSEEN]) == hits
    checked = check_rules(rules, events := example_events([*SEEN, *UNSEEN]), pl.DataFrame({"event_id": events["event_id"], "session_id": "s"}))
    share = 0.5 if rules[0].available else 1.0
    assert (checked["n_relevant"].item(), checked["evaluable_share"].item(), checked["n_events"].item()) == (4, share, len(hits))


@pytest.mark.parametrize("condition", [
    "s and not (f and not g)", "s and (f or not (g or not h))", "not (f or (g and not (h and not f)))", "s and not (f or g)",
    "s and not (all of f* or not g)",
])
def test_a_match_on_the_unseen_is_one_whatever_the_body_says(tmp_path: Path, condition: str) -> None:
    """An unseen event may only match when it would with any body: the three values never say more than the two do."""
    rules = rule(tmp_path, f"s: {{resource: pods}}, f: {{images: a}}, g: {{hostPath: null}}, h: {{verb: [get, create]}}, condition: {condition}")
    for resource, verb in product(("pods", "jobs"), ("create", "delete")):
        bodies = [{"resource": resource, "verb": verb, "images": images, "host_paths": paths}
                  for images, paths in product((["a"], ["b"], None), (["/"], None))]
        unseen = {"resource": resource, "verb": verb, "truncated": True}
        found = rows(rules, [*bodies, unseen])
        assert len(bodies) not in found or len(found) == len(bodies) + 1


def test_a_value_that_shows_is_seen(tmp_path: Path) -> None:
    """A cut body may still show something: what is there can match."""
    assert rows(rule(tmp_path, "s: {images|contains: evil}, condition: s"), [{**POD, "images": ["evil/x"], "truncated": True}]) == [0]
