"""Are the pack's examples worth anything? Every rule is changed in every small way; its own examples must notice.

A fifth of the mutants in the quick suite, all of them with AUDIT_LAB_MUTANTS=all.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from mutants import mutants

from audit_lab.signals.examples import example_events, run_examples, spread
from audit_lab.signals.hits import find_hits
from audit_lab.signals.rulebook import PACK, load_rules

DOCUMENTS = {
    document["name"]: document for path in sorted(PACK.glob("*.yml")) for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
}
ALL = os.environ.get("AUDIT_LAB_MUTANTS") == "all"
FAR = 10_500 * 86_400  # seconds between two examples: longer than the longest window of a mutant


def chosen(name: str, what: str) -> bool:
    return ALL or zlib.crc32(f"{name} {what}".encode()) % 5 == 0


def written(folder: Path, documents: list[dict[str, Any]]) -> Path:
    path = folder / "mutants.yml"
    path.write_text("\n---\n".join(yaml.safe_dump(document, sort_keys=False, allow_unicode=True) for document in documents), encoding="utf-8")
    return path


def test_examples_notice_every_change_of_a_plain_rule(tmp_path: Path) -> None:
    todo = [(name, what, mutant) for name, document in DOCUMENTS.items() if "correlation" not in document
            for what, mutant in mutants(document) if chosen(name, what)]
    changed = [{**{k: v for k, v in mutant.items() if k != "id"}, "name": f"m{n}"} for n, (_, _, mutant) in enumerate(todo)]
    rules = load_rules([written(tmp_path, changed)], pack=False)
    noticed = set(run_examples(rules).filter(pl.col("expected") != pl.col("found"))["rule_id"]) | {rule.rule_id for rule in rules if rule.unusable}
    assert len(todo) > 250
    assert [(name, what) for n, (name, what, _) in enumerate(todo) if f"m{n}" not in noticed] == []


def below(name: str) -> list[str]:
    names = DOCUMENTS[name].get("correlation", {}).get("rules", [])
    return list(dict.fromkeys(other for direct in names for other in (*below(direct), direct)))


def test_examples_notice_every_change_of_a_correlation(tmp_path: Path) -> None:
    survivors, n_mutants = [], 0
    for name, document in DOCUMENTS.items():
        if "correlation" not in document:
            continue
        todo = [(what, mutant) for what, mutant in mutants(document) if chosen(name, what)]
        parts = [{k: v for k, v in DOCUMENTS[other].items() if k not in ("id", "audit_lab")} for other in below(name)]
        changed = [{**{k: v for k, v in mutant.items() if k not in ("id", "audit_lab")}, "name": f"m{n}"} for n, (_, mutant) in enumerate(todo)]
        rules = [rule for rule in load_rules([written(tmp_path, [*parts, *changed])], pack=False) if not rule.unusable]
        examples = [(kind == "positive", [event for spec in example for event in spread(spec)])
                    for kind, several in document["audit_lab"]["tests"].items() for example in several]
        placed = [(place, {**event, "at": event.get("at", n) + (place + 1) * FAR}) for place, (_, events) in enumerate(examples)
                  for n, event in enumerate(events)]
        hits = find_hits(rules, example_events([event for _, event in placed])).kept
        found = {(rules[rule].rule_id, placed[row][0]) for rule, row in hits.select("rule", "i").iter_rows()}
        ready = {rule.rule_id for rule in rules}
        for n, (what, _) in enumerate(todo):
            n_mutants += 1
            if f"m{n}" in ready and all(((f"m{n}", place) in found) == expected for place, (expected, _) in enumerate(examples)):
                survivors.append((name, what))
    assert n_mutants > 20 and survivors == []


def test_a_list_in_an_example_stands_for_several_events() -> None:
    assert [event["verb"] for event in spread({"verb": ["create", "patch"], "resource": "pods"})] == ["create", "patch"]
    assert spread({"images": ["a", "b"], "times": 2}) == [{"images": ["a", "b"]}] * 2
    assert [event["images"] for event in spread({"images": [["a"], ["b", "c"]]})] == [["a"], ["b", "c"]]
    assert spread({"verb": ["a", "b", "c"], "user": ["x", "y"]})[2] == {"verb": "c", "user": "x"}
