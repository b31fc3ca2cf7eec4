"""Mutants of a rule's detection: each is the rule with one thing taken away or turned round. Good examples notice every one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any


def mutants(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (what was done, the changed rule)."""
    if "correlation" in document:
        yield from _of_correlation(document)
        return
    detection = document["detection"]
    for name, selection in detection.items():
        if name == "condition":
            continue
        maps = [selection] if isinstance(selection, dict) else []
        for fields in maps:
            for key, value in fields.items():
                if len(fields) > 1:
                    yield f"{name}: without {key}", _with(document, name, {k: v for k, v in fields.items() if k != key})
                if isinstance(value, list) and len(value) > 1:
                    for one in value:
                        yield f"{name}: {key} without {one}", _with(document, name, {**fields, key: [v for v in value if v != one]})
        yield f"{name} never holds", _with(document, name, {"event_id": "nothing-like-it"})
        if name != "selection" or len(detection) > 2:
            yield f"{name} always holds", _with(document, name, {"event_id|exists": True})


def _with(document: dict[str, Any], name: str, selection: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    changed["detection"][name] = selection
    return changed


def _of_correlation(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    body = document["correlation"]

    def changed(what: str, **parts: Any) -> tuple[str, dict[str, Any]]:
        made = copy.deepcopy(document)
        made["correlation"] = {key: value for key, value in {**made["correlation"], **parts}.items() if value is not None}
        return what, made

    for field in body.get("group-by", []):
        yield changed(f"group-by without {field}", **{"group-by": [other for other in body["group-by"] if other != field] or None})
    if body["type"] == "temporal_ordered":
        yield changed("in any order", type="temporal")
        yield changed("the other way round", rules=body["rules"][::-1])
    if len(body["rules"]) > 1 and body["type"].startswith("temporal"):
        for rule in body["rules"]:
            yield changed(f"without {rule}", rules=[other for other in body["rules"] if other != rule])
    condition = body.get("condition")
    if isinstance(condition, dict):
        for step in (1, -1):
            yield changed(f"threshold {step:+}", condition={k: v + step if isinstance(v, int) else v for k, v in condition.items()})
        if body["type"] == "value_count":
            yield changed("events instead of values", type="event_count", condition={k: v for k, v in condition.items() if k != "field"})
    yield changed("a window a thousand times as long", timespan="10000d")
    yield changed("a window of a second", timespan="1s")
