"""docs/rules.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from audit_lab.signals.coverage import coverage_markdown
from audit_lab.signals.examples import run_examples
from audit_lab.signals.exceptions import load_exceptions
from audit_lab.signals.rulebook import load_rules
from audit_lab.signals.sigma.mapping import audit_fields

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_matrix_is_fresh() -> None:
    matrix = re.search(r"<!-- coverage -->\n(.*)<!-- /coverage -->", TEXT, re.DOTALL)
    assert matrix is not None
    assert matrix.group(1) == coverage_markdown(load_rules()), "run: python tools/make_docs.py"


def test_the_rule_of_the_page_works(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None and yaml.safe_load(block.group(1))["name"] == "exec-in-production"
    (tmp_path / "rule.yml").write_text(block.group(1), encoding="utf-8")
    rules = load_rules([tmp_path], pack=False, strict=True)
    examples = run_examples(rules)
    assert examples.height == 2 and examples["expected"].to_list() == examples["found"].to_list()


def test_the_exception_of_the_page_works(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    (tmp_path / "exceptions.toml").write_text(block.group(1), encoding="utf-8")
    assert load_exceptions(tmp_path / "exceptions.toml")[-1].exception_id == "nightly-inventory"


def test_the_fields_of_the_page_exist() -> None:
    paragraph = TEXT[TEXT.index("Some fields exist"):TEXT.index("What the backend promises")]
    named = re.findall(r"`([a-z_]+)`", paragraph)
    assert len(named) >= 10 and set(named) <= set(audit_fields())


def test_the_backend_works_on_its_own_as_the_page_says() -> None:
    block = re.search(r"<!-- standalone -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    names: dict[str, object] = {}
    exec(compile(block.group(1), "docs/rules.md", "exec"), names)  # noqa: S102 - the page's own example
    hit = names["hit"]
    assert isinstance(hit, tuple) and hit[0] == ["eve"] and hit[5] == [2, 3]
    assert "`hit[5]` is `[2, 3]`" in TEXT
