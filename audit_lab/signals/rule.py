"""What a rule is once it is read: all that the other modules of this folder need to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sigma.correlations import SigmaCorrelationRule
from sigma.rule import SigmaRule

from audit_lab.signals.sigma.leaves import FALSE


@dataclass(frozen=True)
class Rule:
    """One rule, ready to run, or kept with the reason why it cannot.

    `rule_id` is the rule's name where it has one, else its UUID, else the file's name. `condition` is SQL over
    `audit_fields`; `relevance` the condition of the events it looks at, whatever their bodies say; `available`
    tells on which of those the body can be judged (None: on all).
    """

    rule_id: str
    title: str
    kind: str
    level: str
    version: str
    source: str
    built_in: bool
    behaviours: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    floor: float | None = None
    author: str = ""
    description: str = ""
    falsepositives: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    unknown_fields: tuple[str, ...] = ()
    condition: str = FALSE
    relevance: str = FALSE
    available: str | None = None
    references: tuple[str, ...] = ()
    emits: bool = True
    unusable: str | None = None
    tests: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    correlation: SigmaCorrelationRule | None = field(default=None, compare=False, repr=False)
    parsed: SigmaRule | None = field(default=None, compare=False, repr=False)


def usable(rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules that can run."""
    return [rule for rule in rules if not rule.unusable]
