"""Which behaviours the rules cover: the matrix that `audit-lab rules coverage` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from audit_lab.signals.behaviours import BEHAVIOURS
from audit_lab.signals.rulebook import LEVELS, Rule

MATRIX: dict[str, Any] = {
    "behaviour_id": pl.String, "behaviour": pl.String, "status": pl.String, "rules": pl.List(pl.String),
    "base_rules": pl.List(pl.String), "n_rules": pl.Int64,
    "highest_level": pl.String, "has_floor": pl.Boolean, "techniques": pl.List(pl.String), "why": pl.String,
}


def coverage_matrix(rules: Sequence[Rule], checks: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return one row per behaviour: the rules that look for it, and whether they can see it.

    Parameters
    ----------
    rules
        From `load_rules`. Rules of others count for the behaviours they state in `audit_lab.behaviours`.
    checks
        From `check_rules`: then a behaviour whose rules are all blind on these data is `blind`.

    Returns
    -------
    polars.DataFrame
        `status`: covered, blind, open (no rule) or not visible (no audit log shows it; `why` says where to look). `rules` are
        those that alert; `base_rules` only serve correlations, and cover nothing by themselves.

    Examples
    --------
    >>> from audit_lab.signals.rulebook import load_rules
    >>> coverage_matrix(load_rules()).filter(pl.col("status") == "open").height
    0
    """
    seeing = {row["rule_id"]: row for row in checks.to_dicts()} if checks is not None else {}
    rows = []
    for behaviour_id, (behaviour, invisible) in BEHAVIOURS.items():
        named = [rule for rule in rules if behaviour_id in rule.behaviours and not rule.unusable]
        mine, base = [rule for rule in named if rule.emits], [rule for rule in named if not rule.emits]
        blind = [rule for rule in mine if seeing.get(rule.rule_id, {}).get("status") == "blind"]
        if not mine and base:
            status, why = "open", "only rules that serve correlations name it; they never alert by themselves"
        elif not mine:
            status, why = ("not visible", invisible) if invisible else ("open", "no rule looks for it")
        elif len(blind) == len(mine):
            status, why = "blind", str(seeing[blind[0].rule_id]["why"])
        else:
            status, why = "covered", ""
        rows.append({
            "behaviour_id": behaviour_id, "behaviour": behaviour, "status": status, "rules": [rule.rule_id for rule in mine],
            "base_rules": [rule.rule_id for rule in base], "n_rules": len(mine),
            "highest_level": max((rule.level for rule in mine), key=LEVELS.index, default=None),
            "has_floor": any(rule.floor is not None for rule in mine),
            "techniques": sorted({technique for rule in mine for technique in rule.techniques}), "why": why,
        })
    return pl.DataFrame(rows, schema=MATRIX)


def coverage_markdown(rules: Sequence[Rule]) -> str:
    """Return the matrix as a Markdown table, for docs/rules.md."""
    lines = ["| id | behaviour | rules | highest level | floor |", "|---|---|---|---|---|"]
    for row in coverage_matrix(rules).to_dicts():
        names = ", ".join([*row["rules"], *(f"({name})" for name in row["base_rules"])]) or f"*{row['why']}*"
        floor = "yes" if row["has_floor"] else ""
        lines.append(f"| {row['behaviour_id']} | {row['behaviour']} | {names} | {row['highest_level'] or ''} | {floor} |")
    return "\n".join(lines) + "\n"
