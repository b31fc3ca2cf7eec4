"""A case as a front end shows it: one JSON object, masked, every hidden character visible, capped in size.

Terminal and widget show the same object, so what a reviewer saw does not depend on where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import polars as pl

from audit_lab.review.queue import HIDDEN_WHEN_BLIND
from audit_lab.visible import clean

# A reader scrolls no further; the counts beside them say what was left out.
SESSIONS_SHOWN, EVENTS_SHOWN, SIGNALS_SHOWN, LINKS_SHOWN, IDS_SHOWN = 50, 60, 30, 50, 50
TEXT_SHOWN = 600
SEVERITIES = ("critical", "high", "medium", "low", "informational")
MARKS = {True: "holds", False: "wrong", None: "unchecked"}


def case_view(
    row: Mapping[str, Any],
    sessions: pl.DataFrame,
    events: pl.DataFrame,
    signals: pl.DataFrame,
    links: pl.DataFrame,
    stories: pl.DataFrame,
    verdicts: pl.DataFrame,
) -> dict[str, Any]:
    """Return all that a reviewer is shown of a case.

    Parameters
    ----------
    row
        The case's row of the queue (`build_queue`).
    sessions, events, signals, links, stories, verdicts
        The rows of these tables that belong to the case; `events` with their session_id.

    Returns
    -------
    A dict of JSON values (times in ISO form, UTC): the columns of the queue, and
    `why`; `judge`, `summary`, `summary_by` (template: ours, from checked facts; model: unverified prose; facts: no verdict),
    `summary_wrong`, `omitted`, `abstain`;
    `sessions` in order of time: session_id, actor, actor_kind, source_ip, source_class, clients, start, end, duration_s, n_events,
    n_denied, role (in the story), summary;
    `links`: kind, from_session, to_session, object;
    `signals`, strongest first: detector_id, kind, severity, strength, reason, n_sessions, event_ids;
    `grounds`: sentence, mark (holds, wrong, unchecked), wrong, note, event_ids;
    `checks`: what a person should check, sentences;
    `events` in order of time: event_id, time, session_id, actor, source_ip, verb, target, place, status, decision, command, is_cited (by
    a ground), is_hit (by a signal); those cited come first where there are too many;
    `n_left`: what was left out of sessions, signals and events.
    Every string is made visible (`audit_lab.visible`); tables hold masked text only.
    """
    verdict = _verdict(verdicts)
    grounds = verdict.get("grounds") or []
    ordered = sessions.sort("start", "session_id")
    merged = _merged(signals)
    cited, hits = _cited(grounds), _hits(merged)
    shown = choose_events(events.sort("time", "event_id"), cited, hits)
    causes = links.filter(pl.col("kind") != "follow_up")  # what controllers did because of somebody is plenty and says little
    roles = dict(stories.select("session_id", "role").iter_rows())
    view: dict[str, Any] = {
        **{name: row.get(name) for name in row},
        "judge": verdict.get("judge_id"),
        "summary": verdict.get("summary") or row.get("summary"),
        "summary_by": verdict.get("summary_by") or "facts",
        "summary_wrong": verdict.get("summary_wrong"),
        "omitted": verdict.get("omitted"),
        "abstain": verdict.get("abstain"),
        "sessions": [_session(item, roles) for item in ordered.head(SESSIONS_SHOWN).iter_rows(named=True)],
        "links": causes.head(LINKS_SHOWN).select("kind", "from_session", "to_session", "object").to_dicts(),
        "signals": merged[:SIGNALS_SHOWN],
        "grounds": [
            {"sentence": ground["sentence"] or "", "mark": MARKS[ground["holds"]], "wrong": ground["wrong"], "note": ground["note"],
             "event_ids": (ground["event_ids"] or [])[:IDS_SHOWN]}
            for ground in grounds
        ],
        "checks": list(verdict.get("checks") or []),
        "events": [_event(item, cited, set(hits)) for item in shown.iter_rows(named=True)],
        "n_left": {
            "sessions": max(0, sessions.height - SESSIONS_SHOWN), "signals": max(0, len(merged) - SIGNALS_SHOWN),
            "events": events.height - shown.height,
        },
    }
    return dict(clean(plain(view)))


def blinded(view: Mapping[str, Any], facts: str) -> dict[str, Any]:
    """Return a view without the score and all that follows from it; `facts` takes the place of the summary, which quotes the score."""
    hidden = dict.fromkeys((*HIDDEN_WHEN_BLIND, "why", "judge", "summary_wrong", "omitted", "abstain"))
    signals = [{**signal, "strength": None} for signal in view["signals"]]
    return {**view, **hidden, "summary": facts, "summary_by": "facts", "signals": signals}


def important_events(signals: pl.DataFrame, verdicts: pl.DataFrame) -> tuple[set[str], dict[str, int]]:
    """Return the events that the grounds of the verdict that counts cite, and those of signals with their weights, for `choose_events`."""
    return _cited(_verdict(verdicts).get("grounds") or []), _hits(_merged(signals))


def _cited(grounds: Iterable[Mapping[str, Any]]) -> set[str]:
    return {event_id for ground in grounds for event_id in ground["event_ids"] or []}


def _hits(merged: list[dict[str, Any]]) -> dict[str, int]:
    return {event_id: -place for place, signal in reversed(list(enumerate(merged))) for event_id in signal["event_ids"]}


def choose_events(events: pl.DataFrame, cited: set[str], hits: Mapping[str, int], limit: int = EVENTS_SHOWN) -> pl.DataFrame:
    """Return at most `limit` events in their order: those that grounds cite first, then those of signals, then the earliest.

    `hits` gives an event's weight among those of signals, higher first: what a severe rule cites must not be crowded out by discovery.
    """
    lowest = min(hits.values(), default=0) - 1
    weight = pl.Series([1 if item in cited else hits.get(item, lowest) for item in events["event_id"]], dtype=pl.Int64)
    numbered = events.with_row_index("_at").with_columns(_weight=weight)
    return numbered.sort("_weight", "_at", descending=[True, False]).head(limit).sort("_at").drop("_at", "_weight")


def _verdict(verdicts: pl.DataFrame) -> dict[str, Any]:
    """Return the verdict that counts: the usable one with the highest score; else the last that there is."""
    if verdicts.is_empty():
        return {}
    ordered = verdicts.sort("usable", "score", "judge_id", "judge_version", descending=[True, True, False, False], nulls_last=True)
    return ordered.row(0, named=True)


def _merged(signals: pl.DataFrame) -> list[dict[str, Any]]:
    """Return one item per detector: its strongest signal, with the events of all its sessions."""
    rank = {name: place for place, name in enumerate(SEVERITIES)}
    found: dict[str, dict[str, Any]] = {}
    for item in signals.sort("strength", "session_id", descending=[True, False]).iter_rows(named=True):
        known = found.setdefault(item["detector_id"], {
            **{name: item[name] for name in ("detector_id", "kind", "severity", "strength", "reason")}, "n_sessions": 0, "event_ids": []})
        known["n_sessions"] += 1
        known["event_ids"] = [*known["event_ids"], *item["event_ids"]][:IDS_SHOWN]
    return sorted(found.values(), key=lambda item: (rank.get(item["severity"] or "", 9), -item["strength"], item["detector_id"]))


def _session(item: Mapping[str, Any], roles: Mapping[str, str]) -> dict[str, Any]:
    same = (
        "session_id", "actor", "actor_kind", "source_ip", "source_class", "start", "end", "duration_s", "n_events", "n_denied", "summary",
    )
    return {**{name: item[name] for name in same}, "clients": item["client_families"] or [], "role": roles.get(item["session_id"])}


def _event(item: Mapping[str, Any], cited: set[str], hit: set[str]) -> dict[str, Any]:
    what = "/".join(part for part in (item["resource"], item["subresource"]) if part) or item["uri"] or ""
    same = ("event_id", "time", "session_id", "actor", "source_ip", "verb", "status", "decision")
    return {
        **{name: item[name] for name in same},
        "target": what, "place": "/".join(part for part in (item["namespace"], item["name"]) if part),
        "command": item["commands"][0] if item["commands"] else None,
        "is_cited": item["event_id"] in cited, "is_hit": item["event_id"] in hit,
    }


def plain(value: Any) -> Any:
    """Return JSON values only: times as text, long texts cut."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return value if len(value) <= TEXT_SHOWN else f"{value[:TEXT_SHOWN]}… (+{len(value) - TEXT_SHOWN:,})"
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return value
