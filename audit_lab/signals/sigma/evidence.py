"""The events of correlation hits, as SQL stages: which input lies in an interval, and which events stand behind a hit below.

Stages are added through `add(name, select)`, which returns the name; `nodes` gives the stem of each compiled correlation,
whose stages `<stem>_input`, `<stem>_hits` and, for chains, `<stem>_links` exist already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sigma.correlations import SigmaCorrelationRule, SigmaCorrelationType

from audit_lab.signals.sigma.thresholds import numeric

Add = Callable[[str, str], str]


def inside(add: Add, rule: SigmaCorrelationRule, stem: str, intervals: str, name: str) -> str:
    """List the input of a correlation that lies inside `intervals` (hit, g0…, start_us, end_us) as the stage (hit, id, ts).

    The rows of a group are numbered, and each interval looks up its first and last number instead of meeting every row:
    the time is linear in rows and answer, however large the group and however many the intervals.
    """
    gs, own, same = _groups(rule)
    only = " WHERE v IS NOT NULL" if numeric(rule) else ""
    rows = f"SELECT DISTINCT {gs}id, ts FROM {stem}_input{only}"
    ranked = add(f"{name}_rows", f"SELECT {gs}id, ts, row_number() OVER (PARTITION BY {gs}1 ORDER BY ts) AS n FROM ({rows})")
    moments = add(f"{name}_moments", f"SELECT {gs}ts, min(n) AS first, max(n) AS last FROM {ranked} GROUP BY {gs}ts")
    ends = f"SELECT {own}a.hit, a.start_us, b.last FROM ({intervals}) a ASOF JOIN {moments} b ON {same}a.end_us >= b.ts"
    both = f"SELECT {own}a.hit, b.first, a.last FROM ({ends}) a ASOF JOIN {moments} b ON {same}a.start_us <= b.ts"
    numbers = add(f"{name}_numbers", f"SELECT {gs}hit, unnest(range(first, last + 1)) AS n FROM ({both})")
    return add(name, f"SELECT a.hit, b.id, b.ts FROM {numbers} a JOIN {ranked} b ON {same}a.n = b.n")


def resolved(add: Add, nodes: Mapping[int, str], rule: SigmaCorrelationRule, direct: str) -> str:
    """Put the events of a correlation below in the place of its windows, down to plain events, each once per hit.

    Overlapping windows of one hit are merged first, so that a long burst is listed once and not once per window.
    """
    below = {id(r.rule): r.rule for r in rule.referenced_rules if isinstance(r.rule, SigmaCorrelationRule)}
    parts = []
    for number, child in below.items():
        stem = nodes[number]
        hits, name = f"{stem}_hits", f"{direct}_{stem}"
        if child.type == SigmaCorrelationType.TEMPORAL_ORDERED:
            found = add(name, f"SELECT DISTINCT d.hit, e.id, e.ts FROM {direct} d JOIN {stem}_links e ON d.id = '{hits}:' || e.hit")
        else:
            found = inside(add, child, stem, _merged(add, child, hits, direct, name), name)
        parts.append(f"SELECT * FROM {resolved(add, nodes, child, found)}")
    if len(below) < len({id(r.rule) for r in rule.referenced_rules}):
        prefixes = "".join(f" AND NOT starts_with(CAST(id AS VARCHAR), '{nodes[number]}_hits:')" for number in below)
        parts.append(f"SELECT hit, id, ts FROM {direct} WHERE TRUE{prefixes}")
    return add(f"{direct}_events", f"SELECT DISTINCT * FROM ({' UNION ALL '.join(parts)})")


def _merged(add: Add, child: SigmaCorrelationRule, hits: str, direct: str, name: str) -> str:
    gs = _groups(child)[0]
    own = "".join(f"c.g{i}, " for i in range(len(child.group_by or [])))
    joined = f"{direct} d JOIN {hits} c ON d.id = '{hits}:' || c.hit"
    spans = add(f"{name}_spans", f"SELECT DISTINCT d.hit, {own}c.start_us, c.end_us FROM {joined}")
    over = f"PARTITION BY hit, {gs}1 ORDER BY end_us"
    fresh = f"SELECT *, start_us > COALESCE(lag(end_us) OVER ({over}), start_us - 1) AS fresh FROM {spans}"
    island = f"SELECT *, max(start_us) FILTER (fresh) OVER ({over}) AS island FROM ({fresh})"
    return f"SELECT hit, {gs}min(start_us) AS start_us, max(end_us) AS end_us FROM ({island}) GROUP BY hit, {gs}island"


def _groups(rule: SigmaCorrelationRule) -> tuple[str, str, str]:
    """Return the group columns for a SELECT list, the same of table `a`, and their equality between `a` and `b`."""
    places = range(len(rule.group_by or []))
    return "".join(f"g{i}, " for i in places), "".join(f"a.g{i}, " for i in places), "".join(f"a.g{i} = b.g{i} AND " for i in places)
