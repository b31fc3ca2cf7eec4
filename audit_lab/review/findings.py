"""Findings for other systems: what is flagged, or was called malicious, in one form from which every export is written.

An export tells; it blocks nothing. It holds what a reviewer sees: masked, every hidden character visible, capped in size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from audit_lab.review.view import plain
from audit_lab.visible import clean

# What people said, from the strongest down: who calls a case malicious is not overruled by who does not.
_STRONGEST = ("malicious", "unsure", "benign-but-suspicious", "benign")
STATES = {None: "new", "malicious": "confirmed", "unsure": "in review", "benign-but-suspicious": "closed", "benign": "closed"}


def choose_findings(prioritised: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Return the cases that are findings: flagged ones, and those that a person called malicious.

    Parameters
    ----------
    prioritised
        What `prioritise` returned.
    labels
        Table `labels`, those that stand.

    Returns
    -------
    Frame: case_id, is_flagged, verdict (what people said; the strongest word where they differ; null where nobody did), in order of
    priority, then score.
    """
    order = {verdict: place for place, verdict in enumerate(_STRONGEST)}
    said = (
        labels.filter((pl.col("target_kind") == "case") & pl.col("verdict").is_in(list(order)))
        .with_columns(place=pl.col("verdict").replace_strict(order, return_dtype=pl.Int64)).sort("place")
        .unique("target_id", keep="first", maintain_order=True).select(case_id="target_id", verdict="verdict")
    )
    return (
        prioritised.join(said, on="case_id", how="left")
        .filter(pl.col("is_flagged") | (pl.col("verdict") == "malicious").fill_null(value=False))
        .sort("priority", "score", "case_id", descending=[False, True, False]).select("case_id", "is_flagged", "verdict")
    )


def cited_events(finding: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    """Return at most `limit` events of a finding in order of time: those that grounds cite first, then those of signals."""
    events = finding["events"]
    chosen = sorted((event for event in events if event["is_cited"] or event["is_hit"]), key=lambda event: not event["is_cited"])[:limit]
    kept = {event["event_id"] for event in chosen}
    return [event for event in events if event["event_id"] in kept]


def make_finding(
    view: Mapping[str, Any], verdict: str | None, labels: pl.DataFrame, rules: Mapping[str, Mapping[str, Any]], clusters: Sequence[str]
) -> dict[str, Any]:
    """Return a finding as JSON values.

    Parameters
    ----------
    view
        The case as `case_view` gives it, not blinded.
    verdict
        What people said of it (`choose_findings`).
    labels
        Labels of this case that stand, in order.
    rules
        Per rule id its `title`, `version` and `techniques`.
    clusters
        Clusters of its sessions.

    Returns
    -------
    The view's keys, and `title`, `status` (new, in review, confirmed, closed), `verdict`, `clusters`, `sources`, `rules` (id, title,
    version, severity), `techniques` (MITRE ATT&CK ids), `labels` (verdict, author, at, reason).
    """
    matched = [signal for signal in view["signals"] if signal["detector_id"] in rules]
    techniques = {technique for signal in matched for technique in rules[signal["detector_id"]]["techniques"]}
    who = view["actors"][0] if view["actors"] else ""
    held = [ground["sentence"] for ground in view["grounds"] if ground["mark"] == "holds"]
    first = held[0] if held else matched[0]["reason"] if matched else "Unusual session"
    more = f" and {len(view['actors']) - 1} more" if len(view["actors"]) > 1 else ""
    said = labels.select("verdict", "author", "at", "reason").to_dicts()
    return {
        **view,
        "title": first.rstrip("."), "who": f"{who or 'unauthenticated'}{more}", "status": STATES[verdict], "verdict": verdict,
        "clusters": list(clean(list(clusters))),
        "sources": list(dict.fromkeys(session["source_ip"] for session in view["sessions"] if session["source_ip"])),
        "rules": [
            {"id": signal["detector_id"], "title": clean(rules[signal["detector_id"]]["title"]),
             "version": rules[signal["detector_id"]]["version"], "severity": signal["severity"]}
            for signal in matched
        ],
        "techniques": sorted(techniques), "labels": clean(plain(said)),
    }
