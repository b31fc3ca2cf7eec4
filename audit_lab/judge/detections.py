"""Evidence from the signals: which rules and outlier detectors fired, and on what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from audit_lab.judge.facts import MAX_IDS
from audit_lab.judge.queries import Facts
from audit_lab.judge.rows import Row, is_shown

# What says least is cut first.
_RULE_PRIORITY = {"critical": 80, "high": 90, "medium": 125, "low": 255, "informational": 480}
_MAX_TITLES = 8
MAX_OUTLIERS = 3


def rules(facts: Facts) -> list[Row]:
    """Say which rules fired: a row per severity, as titles, those whose floor holds first; a title is shown only where it is closed."""
    hits = facts.members.join(facts.signals, on="session_id").sort(
        "case_id", "floor", "strength", "detector_id", descending=[False, True, True, False], nulls_last=True)
    titles: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    ids: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for item in hits.iter_rows(named=True):
        if item["kind"] not in ("rule", "correlation"):
            continue
        key = (item["case_id"], item["severity"] or "unknown")
        titles[key][item["reason"] if is_shown(item["reason"]) else "other rule"] = None
        ids[key].update(dict.fromkeys(item["event_ids"]))
    rows = []
    for place, severity in enumerate((*_RULE_PRIORITY, "unknown")):
        for (case_id, found), held in titles.items():
            if found == severity:
                more = f"; {len(held) - _MAX_TITLES} more" if len(held) > _MAX_TITLES else ""
                text = f"rules of severity {severity}: {'; '.join(list(held)[:_MAX_TITLES])}{more}"
                priority, cited = _RULE_PRIORITY.get(severity, 130), list(ids[case_id, severity])
                rows.append(Row(case_id, "rules", 800 + place, priority, text, cited[:MAX_IDS], n_events=len(cited)))
    return rows


def outliers(facts: Facts) -> list[Row]:
    """Say which outlier detectors and detectors of your own fired, with strength, p-value and, where it is closed, the reason."""
    hits = facts.members.join(facts.signals, on="session_id").sort(
        "case_id", "strength", "detector_id", descending=[False, True, False])
    merged: dict[tuple[str, str], tuple[str, dict[str, None]]] = {}
    for item in hits.iter_rows(named=True):
        if item["kind"] in ("rule", "correlation"):
            continue
        chance = f", p {item['p_value']:.3f}" if item["p_value"] is not None else ""
        reason = f": {item['reason']}" if is_shown(item["reason"]) else ""
        # Of detectors that give the same reason the strongest speaks.
        _, held = merged.setdefault((item["case_id"], reason), (f"outlier of strength {item['strength']:.2f}{chance}{reason}", {}))
        held.update(dict.fromkeys(item["event_ids"]))
    rows: list[Row] = []
    count: dict[str, int] = defaultdict(int)
    for (case_id, _), (text, found) in merged.items():
        count[case_id] += 1
        if count[case_id] <= MAX_OUTLIERS:
            # The strongest one is worth more than a weak rule; the rest goes early.
            priority = 235 if count[case_id] == 1 else 340 + count[case_id]
            rows.append(Row(case_id, "outliers", 810, priority, text, list(found)[:MAX_IDS], n_events=len(found)))
    return rows + [
        Row(case_id, "outliers", 811, 349, f"{n - MAX_OUTLIERS} more outliers") for case_id, n in count.items() if n > MAX_OUTLIERS]


SIGNAL_QUERIES: tuple[Callable[[Facts], list[Row]], ...] = (rules, outliers)
