"""The pack itself: every rule finds its own positive events and leaves its negative ones alone."""

from __future__ import annotations

import re

import polars as pl
import pytest

from audit_lab.signals.behaviours import BEHAVIOURS
from audit_lab.signals.coverage import coverage_matrix
from audit_lab.signals.examples import run_examples
from audit_lab.signals.rulebook import LEVELS, PACK, Rule, load_rules

RULES = load_rules()


@pytest.fixture(scope="module")
def examples() -> pl.DataFrame:
    return run_examples(RULES)


def test_every_rule_can_run() -> None:
    assert [(rule.rule_id, rule.unusable) for rule in RULES if rule.unusable] == []


def test_every_example_comes_out_as_it_says(examples: pl.DataFrame) -> None:
    assert examples.filter(pl.col("expected") != pl.col("found")).rows() == []
    assert examples.height > 2 * len(RULES)


def test_every_rule_has_both_kinds_of_examples(examples: pl.DataFrame) -> None:
    kinds = examples.group_by("rule_id").agg(pl.col("expected").n_unique())
    assert set(kinds.filter(pl.col("expected") == 2)["rule_id"]) == {rule.rule_id for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=[rule.rule_id for rule in RULES])
def test_every_rule_says_what_it_is(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.rule_id)
    assert rule.level in LEVELS
    assert rule.description.endswith(".") and rule.description != rule.title
    assert rule.behaviours and set(rule.behaviours) <= set(BEHAVIOURS)
    assert len(rule.title) <= 70 and not rule.title.endswith(".")
    if rule.emits:
        assert rule.falsepositives and rule.techniques


def test_ids_are_unique() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PACK.glob("*.yml"))
    uuids = re.findall(r"^id: (\S+)$", text, re.MULTILINE)
    assert len(set(uuids)) == len(uuids) == len({rule.rule_id for rule in RULES}) == len(RULES)
    assert len({rule.title for rule in RULES}) == len(RULES)


def test_floors_are_few_and_belong_to_grave_rules() -> None:
    with_floor = [rule for rule in RULES if rule.floor is not None]
    assert len(with_floor) <= len(RULES) * 0.2
    assert {rule.level for rule in with_floor} <= {"high", "critical"}


def test_the_pack_is_broad_enough() -> None:
    matrix = coverage_matrix(RULES)
    assert matrix.filter(pl.col("status") == "covered").height >= 45
    assert matrix.filter(pl.col("status") == "open").height == 0
    not_visible = matrix.filter(pl.col("status") == "not visible")
    assert not_visible["why"].str.len_chars().min() > 10


def test_rules_name_nothing_of_a_recording() -> None:
    """Detection is judged on clusters never seen: addresses, users and namespaces of a recording have no place in a rule."""
    for path in sorted(PACK.glob("*.yml")):
        rules_only = re.sub(r"(?ms)^  tests:\n.*?(?=^---|\Z)", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"\d+\.\d+\.\d+\.\d+|corp\.example|jenkins|gke-|mallory|platform-portal", rules_only), path.name

