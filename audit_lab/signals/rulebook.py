"""Load Sigma rules: our own pack and a user's folders, mapped to the `events` table and compiled to SQL.

A rule that cannot be used is kept with the reason, so that nobody believes it is watching.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule
from sigma.rule.base import check_alias_expansion

from audit_lab.errors import InputError
from audit_lab.hashing import text_digest
from audit_lab.signals.planned import planned
from audit_lab.signals.rule import Rule, usable
from audit_lab.signals.ruleblock import foreign, what_it_means, wrong_block
from audit_lab.signals.rulefiles import one_line, read_documents
from audit_lab.signals.sigma import DuckDBBackend, Field, audit_fields, audit_pipeline
from audit_lab.signals.sigma.correlations import compile_correlation
from audit_lab.signals.sigma.leaves import FALSE
from audit_lab.signals.sigma.quiet import QUIET

__all__ = ["LEVELS", "PACK", "Rule", "load_rules", "usable"]

PACK = Path(__file__).parent / "pack"
ENGINE_VERSION = "2"  # raise it when the same rule may match other events than before
LEVELS = ("informational", "low", "medium", "high", "critical")


def load_rules(folders: Iterable[str | Path] = (), *, pack: bool = True, strict: bool = False) -> list[Rule]:
    """Return the rules of the built-in pack and of further folders or files, in order of file name.

    Parameters
    ----------
    folders
        Folders (searched for `*.yml` and `*.yaml`) or files with Sigma rules.
    pack
        Include the built-in pack.
    strict
        Raise on the first rule that cannot be used, instead of keeping it with its reason.

    Raises
    ------
    InputError
        When a folder does not exist or holds no rule; with `strict`, when a rule cannot be used.

    Examples
    --------
    >>> [rule.title for rule in load_rules() if rule.rule_id == "exec-into-pod"]
    ['Command run in a pod']
    """
    book = _Book()
    if pack:
        for path in sorted(PACK.glob("*.yml")):
            book.read(path, path.name, built_in=True)
    for folder in folders:
        for path in _files(Path(folder)):
            book.read(path, str(path), built_in=False)
    rules = book.compile()
    if strict:
        for rule in rules:
            if rule.unusable:
                raise InputError(f"rule '{rule.rule_id}' in {rule.source}: {rule.unusable}", "correct the rule or move it away")
    return rules


def _files(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError(f"no folder of rules '{folder}'", "give a folder or file with Sigma rules (*.yml)")
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".yml", ".yaml") and path.is_file())
    if not found:
        raise InputError(f"no rule (*.yml) in '{folder}'", "give a folder or file with Sigma rules")
    return found


class _Book:
    """Rules while they are being read: correlations may name rules of other files."""

    def __init__(self) -> None:
        self.entries: list[tuple[SigmaRule | SigmaCorrelationRule | None, dict[str, Any]]] = []

    def read(self, path: Path, source: str, built_in: bool) -> None:
        base = {"source": source, "built_in": built_in, "stem": path.stem}
        for document, unreadable, title, name in read_documents(path):
            if unreadable:
                self._reject(base, unreadable, title, name)
                continue
            if document is None:
                continue
            if not isinstance(document, dict) or not ({"detection", "correlation"} & set(document)):
                filters = isinstance(document, dict) and "filter" in document
                self._reject(base, "a Sigma filter: write an exception instead, which has an owner and an expiry" if filters
                             else "not a Sigma rule: it has neither 'detection' nor 'correlation'")
                continue
            self._parse(document, base)

    def _reject(self, base: dict[str, Any], reason: str, title: str = "", name: str = "") -> None:
        words = " ".join((title or base["stem"]).split())
        self.entries.append((None, {**base, "unusable": reason, "title": words, "stem": name or base["stem"]}))

    def _parse(self, document: dict[str, Any], base: dict[str, Any]) -> None:
        title, name = str(document.get("title") or base["stem"]), str(document.get("name") or document.get("id") or "")
        wrong = wrong_block(document.get("audit_lab"))
        if wrong:
            self._reject(base, wrong, title, name)
            return
        try:
            check_alias_expansion(document)
            digest = text_digest(ENGINE_VERSION + json.dumps(what_it_means(document), default=str))
            kind = SigmaCorrelationRule if "correlation" in document else SigmaRule
            parsed = kind.from_dict(document, policy=QUIET)
            if isinstance(parsed, SigmaRule):
                _ = [condition.parsed for condition in parsed.detection.parsed_condition]
        except (SigmaError, yaml.YAMLError, TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
            self._reject(base, one_line(error), title, name)
            return
        self.entries.append((parsed, {**base, "title": title, "version": digest[:16]}))

    def compile(self) -> list[Rule]:
        """Resolve references, map the fields and compile every rule."""
        good: list[SigmaRule | SigmaCorrelationRule | SigmaFilter] = [rule for rule, _ in self.entries if rule is not None]
        collection = SigmaCollection(good, resolve_references=False)
        fields = audit_fields()
        done: dict[int, Rule] = {}
        seen: set[str] = set()
        for rule, facts in self.entries:
            if isinstance(rule, SigmaCorrelationRule):
                try:
                    rule.resolve_rule_references(collection)
                except SigmaError as error:
                    facts["unusable"] = one_line(error)
        rules = []
        # Correlations come after what they are built on, and what cannot be read takes no name from another.
        ordered = sorted(
            self.entries,
            key=lambda entry: (entry[0] is None, not entry[1]["built_in"], isinstance(entry[0], SigmaCorrelationRule)),
        )
        for rule, facts in ordered:
            made = _unusable(facts) if rule is None else self._one(rule, facts, fields, done)
            if made.rule_id in seen:
                why = made.unusable if rule is None else f"a rule '{made.rule_id}' was already read"
                made = _unusable({**facts, "unusable": why}, made.rule_id)
            seen.add(made.rule_id)
            if rule is not None:
                done[id(rule)] = made
            rules.append(made)
        return planned(rules)

    def _one(
        self, rule: SigmaRule | SigmaCorrelationRule, facts: dict[str, Any], fields: dict[str, Field], done: dict[int, Rule]
    ) -> Rule:
        common = _common(rule, facts)
        if facts.get("unusable"):
            return Rule(**common, unusable=facts["unusable"])
        backend = DuckDBBackend(audit_pipeline(), fields=fields)
        backend.init_processing_pipeline()
        try:
            backend.last_processing_pipeline.apply(rule)
            if isinstance(rule, SigmaCorrelationRule):
                return self._correlation(rule, common, fields, done)
            problem = foreign(rule)
            if problem:
                return Rule(**common, unusable=problem)
            condition = backend.condition(rule)
            relevance = backend.relevance(rule)
        except (SigmaError, NotImplementedError, RecursionError, TypeError, ValueError, AttributeError, KeyError) as error:
            # pySigma meets some odd values with errors of its own making; one odd rule must not stop the others.
            return Rule(**common, unusable=one_line(error))
        unknown = tuple(sorted(backend.unknown_fields))
        used = tuple(sorted(backend.used_fields))
        checks = sorted({known.available for name in used if (known := fields[name]).available})
        return Rule(
            **common, fields=used, unknown_fields=unknown, condition=condition, relevance=relevance, parsed=rule,
            available=" AND ".join(f"({check})" for check in checks) or None,
            unusable=f"it can never match: audit events have no field {', '.join(unknown)}" if condition == FALSE and unknown
            else "its condition can never hold" if condition == FALSE else None,
        )

    def _correlation(
        self, rule: SigmaCorrelationRule, common: dict[str, Any], fields: dict[str, Field], done: dict[int, Rule]
    ) -> Rule:
        missing = [r.reference for r in rule.referenced_rules if id(r.rule) not in done]
        broken = [done[id(r.rule)] for r in rule.referenced_rules if id(r.rule) in done and done[id(r.rule)].unusable]
        if broken:
            return Rule(**common, unusable=f"it builds on '{broken[0].rule_id}', which cannot be used: {broken[0].unusable}")
        if missing:
            return Rule(**common, unusable=f"it builds on '{missing[0]}', which comes after it or refers back to it")
        compile_correlation(rule, fields, lambda reference: "SELECT 1", "1", "1")
        return Rule(**common, references=tuple(done[id(r.rule)].rule_id for r in rule.referenced_rules), correlation=rule)


def _common(rule: SigmaRule | SigmaCorrelationRule, facts: dict[str, Any]) -> dict[str, Any]:
    ours = rule.custom_attributes.get("audit_lab")
    ours = ours if isinstance(ours, dict) else {}
    tags = [str(tag).lower() for tag in rule.tags]
    return {
        "rule_id": rule.name or (str(rule.id) if rule.id else facts["stem"]),
        # A title is one line wherever it is shown, whatever its file says.
        "title": " ".join((rule.title or facts["title"]).split()),
        "kind": "correlation" if isinstance(rule, SigmaCorrelationRule) else "rule",
        "level": str(rule.level).lower() if rule.level is not None else "low",
        "version": facts["version"],
        "source": facts["source"],
        "built_in": facts["built_in"],
        "behaviours": tuple(str(item) for item in ours.get("behaviours", ())),
        "techniques": tuple(tag.removeprefix("attack.").upper() for tag in tags if re.fullmatch(r"attack\.t\d{4}(\.\d{3})?", tag)),
        "floor": float(ours["floor"]) if ours.get("floor") is not None else None,
        "author": rule.author or "",
        "description": rule.description or "",
        "falsepositives": tuple(str(item) for item in rule.falsepositives),
        "emits": rule._output and ours.get("base") is not True,
        "tests": ours.get("tests", {}),
    }


def _unusable(facts: dict[str, Any], rule_id: str | None = None) -> Rule:
    return Rule(
        rule_id=f"{rule_id or facts['stem']}@{facts['source']}" if rule_id else facts["stem"], title=facts["title"], kind="rule",
        level="low", version=facts.get("version", "none"), source=facts["source"], built_in=facts["built_in"], unusable=facts["unusable"],
    )
