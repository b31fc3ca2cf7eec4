"""Rule files with slips: what is lost is named, what is sound runs, and nothing but the reason is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit_lab.signals.rulebook import load_rules

RULE = "title: Rule {name}\nname: {name}\nlogsource: {{product: kubernetes}}\ndetection: {{s: {{{what}}}, condition: s}}\n"


def good(name: str, what: str = "verb: get") -> str:
    return RULE.format(name=name, what=what)


@pytest.mark.parametrize("slip", ["level: [high", "date: 2026-13-45", "tags:\n\t- x", "? {a: 1}\n: 2\n&a: *a"])
def test_a_slip_costs_its_own_document(tmp_path: Path, slip: str) -> None:
    (tmp_path / "r.yml").write_text("---\n" + "---\n".join([good("one"), good("two") + slip + "\n", good("three")]), encoding="utf-8")
    rules = {rule.rule_id: rule for rule in load_rules([tmp_path], pack=False)}
    assert set(rules) == {"one", "two", "three"}
    assert rules["one"].unusable is None and rules["three"].unusable is None
    assert "not readable as YAML" in str(rules["two"].unusable) and rules["two"].title == "Rule two"


def test_the_line_of_a_slip_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(good("one") + "---\n" + good("two") + "level: [high\n", encoding="utf-8")
    assert "line 11, column" in str(load_rules([tmp_path], pack=False)[-1].unusable)


def test_several_slips_keep_their_reasons(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_bytes(b"a: [\n---\nb: \xff\n---\nname: two\nc: {\n---\n" + good("one").encode())
    rules = load_rules([tmp_path], pack=False)
    assert len(rules) == 4 and sum(rule.unusable is None for rule in rules) == 1
    assert all("not readable as YAML" in rule.unusable for rule in rules if rule.unusable) and "two" in {rule.rule_id for rule in rules}


def test_nothing_takes_the_name_of_a_rule_of_the_pack(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(good("many-secrets-read") + "---\n" + "name: secrets-and-exec\nx: [", encoding="utf-8")
    rules = load_rules([tmp_path])
    assert [rule.built_in for rule in rules if rule.rule_id in ("many-secrets-read", "secrets-and-exec") and not rule.unusable] == [True, True]
    assert [rule.unusable is None for rule in rules if not rule.built_in] == [False, False]


def test_a_bad_regular_expression_says_its_reason_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.yml").write_text(good("one", "verb|re: '(?=g)'") + "---\n" + good("two", "verb|re|i: '(?<=g)'"), encoding="utf-8")
    assert all("invalid" in str(rule.unusable) for rule in load_rules([tmp_path], pack=False))
    assert capfd.readouterr().err == ""
