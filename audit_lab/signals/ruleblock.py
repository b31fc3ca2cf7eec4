"""What a rule file says beyond its detection: our own `audit_lab` block, its log source, and what of it makes its version."""

from __future__ import annotations

from typing import Any

from sigma.rule import SigmaRule

KEYS = ("behaviours", "floor", "base", "tests")


def wrong_block(ours: Any) -> str:
    """Return what is wrong with a rule's `audit_lab` block, '' if nothing: a floor that is passed over would be a false promise.

    >>> wrong_block({"floor": 3})
    "its floor '3' is no number from 0 to 1"
    """
    if ours is None:
        return ""
    if not isinstance(ours, dict):
        return "'audit_lab' is no mapping"
    unknown = sorted(str(key) for key in set(ours) - set(KEYS))
    floor, tests = ours.get("floor"), ours.get("tests", {})
    if unknown:
        return f"'audit_lab' has an unknown key '{unknown[0]}': {', '.join(KEYS)} are known"
    if floor is not None and (isinstance(floor, bool) or not isinstance(floor, int | float) or not 0 <= floor <= 1):
        return f"its floor '{floor}' is no number from 0 to 1"
    if not isinstance(ours.get("behaviours", []), list):
        return "its behaviours are no list"
    sound = isinstance(tests, dict) and not set(tests) - {"positive", "negative"} and all(isinstance(kind, list) for kind in tests.values())
    return "" if sound else "its tests are no lists of events under 'positive' and 'negative'"


def what_it_means(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out a rule's examples: its version says what it does."""
    ours = document.get("audit_lab")
    return {**document, "audit_lab": {k: v for k, v in ours.items() if k != "tests"}} if isinstance(ours, dict) else document


def foreign(rule: SigmaRule) -> str | None:
    """Return why a rule is not about Kubernetes audit logs, or None."""
    product, service = (rule.logsource.product or "").lower(), (rule.logsource.service or "").lower()
    if product in ("", "kubernetes", "k8s") and service in ("", "audit", "kube-apiserver", "kubernetes"):
        return None
    return f"its log source is '{'/'.join(part for part in (product, service) if part)}', not kubernetes/audit"
