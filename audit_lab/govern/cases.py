"""The alert list: each case with everything a person needs to decide, and links to the original events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from audit_lab.govern.inputs import ReportInput
from audit_lab.lines import reaches
from audit_lab.phrases import CHECKS

EVENTS_SHOWN = 40  # of a case; those that grounds and signals cite come first
CITED_SHOWN = 8  # links to events per ground
SEVERITIES = ("critical", "high", "medium", "low", "informational")
_CHECKS_KO = dict(CHECKS.values())
LABEL_ORDER = {"malicious": 0, "benign-but-suspicious": 1, "benign": 2, "unsure": 3}


@dataclass(frozen=True)
class Ground:
    """A ground of a verdict: its sentence, whether it holds, why not, how common it is where it is, and the anchors of its events."""

    sentence: str
    holds: bool | None
    wrong: str
    common: float | None
    anchors: list[str]
    n_events: int


@dataclass(frozen=True)
class Case:
    """One case as the report shows it; `anchor` is its id on the page."""

    anchor: str
    case_id: str
    rank: int
    score: float
    judged: bool
    flagged: bool
    floor: float | None
    selected_by: str
    probability: float
    why: str
    sessions: list[dict[str, Any]]
    start: datetime | None
    end: datetime | None
    duration_s: float
    n_events: int
    rules: list[dict[str, Any]]
    others: list[dict[str, Any]]
    grounds: list[Ground]
    verdict: dict[str, Any]
    checks: list[str]
    label: str
    incidents: list[str]
    events: list[dict[str, Any]]
    story_id: str

    @property
    def lead(self) -> dict[str, Any]:
        """The session that names the case: its first."""
        return self.sessions[0] if self.sessions else {}

    @property
    def reason(self) -> str:
        """The strongest part of why it is here; the other parts stand among its signals."""
        parts = self.why.split(" | ")
        return ": ".join(parts[:2]) if parts[0].startswith("story of") else parts[0]

    @property
    def actors(self) -> list[str]:
        """Its distinct actors, in order of their sessions."""
        return list(dict.fromkeys(member["actor"] for member in self.sessions))


def case_scores(data: ReportInput) -> pl.DataFrame:
    """Return case_id, score, judged, flagged for every candidate: the best usable verdict's score, else the fused one.

    A rule's floor holds in both cases: no judge puts a case below it (law 6). The evaluation counts in the same way.
    """
    verdicts = data.verdicts.group_by("case_id").agg(
        verdict=pl.col("score").filter(pl.col("usable")).max(),
        judged=pl.lit(True),
    )
    merged = data.candidates.select("case_id", "floor", fused="score").join(verdicts, on="case_id", how="left")
    return merged.select(
        "case_id",
        score=pl.max_horizontal(pl.coalesce("verdict", "fused"), pl.col("floor").fill_null(0.0)),
        judged=pl.col("judged").fill_null(False),
    ).with_columns(flagged=reaches(pl.col("score"), data.lines))


def build_cases(data: ReportInput) -> list[Case]:
    """Return the cases in order: flagged ones first, by score, then the rest by rank."""
    scores = {row["case_id"]: row for row in case_scores(data).iter_rows(named=True)}
    verdicts = {row["case_id"]: row for row in _best_last(data.verdicts).iter_rows(named=True)}
    known = _Known(
        sessions={row["session_id"]: row for row in _of_candidates(data, data.sessions).iter_rows(named=True)},
        signals=_grouped(data.signals, "session_id"),
        labels=_grouped(data.labels.filter(pl.col("session_id").is_not_null()), "session_id"),
        events=_events_by_session(data),
        story_of=dict(data.stories.select("session_id", "story_id").iter_rows()),
        lang=data.lang,
    )
    ordered = sorted(
        data.candidates.iter_rows(named=True),
        key=lambda row: (not scores[row["case_id"]]["flagged"], -scores[row["case_id"]]["score"], row["rank"]),
    )
    return [
        _case(place, row, scores[row["case_id"]], verdicts.get(row["case_id"], {}), known) for place, row in enumerate(ordered, start=1)
    ]


class _Known(NamedTuple):
    """What is known of each session, by session id."""

    sessions: dict[str, dict[str, Any]]
    signals: dict[str, list[dict[str, Any]]]
    labels: dict[str, list[dict[str, Any]]]
    events: dict[str, list[dict[str, Any]]]
    story_of: dict[str, str]
    lang: str


def _best_last(verdicts: pl.DataFrame) -> pl.DataFrame:
    # Where several judges spoke of a case, the best usable verdict is shown: it is the one that counts.
    return verdicts.sort("usable", "score", descending=False, nulls_last=False, maintain_order=True)


def _of_candidates(data: ReportInput, frame: pl.DataFrame) -> pl.DataFrame:
    chosen = data.candidates.explode("session_ids").select(session_id="session_ids").unique()
    return frame.join(chosen, on="session_id", how="semi")


def _of_sessions(rows: Mapping[str, list[dict[str, Any]]], session_ids: list[str]) -> list[dict[str, Any]]:
    return [row for key in session_ids for row in rows.get(key, [])]


def _case(place: int, row: Mapping[str, Any], scored: Mapping[str, Any], verdict: dict[str, Any], known: _Known) -> Case:
    anchor = f"case-{place}"
    ids = row["session_ids"]
    members = sorted((known.sessions[key] for key in ids if key in known.sessions), key=lambda item: (item["start"], item["session_id"]))
    own_signals, own_labels = _of_sessions(known.signals, ids), _of_sessions(known.labels, ids)
    own_events = sorted(_of_sessions(known.events, ids), key=lambda item: (item["time"], item["event_id"]))
    grounds = verdict.get("grounds") or []
    cited = {event_id for ground in grounds for event_id in ground["event_ids"] or []}
    cited_by_signals = {event_id for signal in own_signals for event_id in signal["event_ids"]}
    shown = choose_events(own_events, cited, cited_by_signals)
    anchors = {event["event_id"]: f"{anchor}-e{number}" for number, event in enumerate(shown, start=1)}
    classes = sorted({label["verdict"] for label in own_labels}, key=lambda name: LABEL_ORDER.get(name, 9))
    starts = [member["start"] for member in members]
    ends = [member["end"] for member in members]
    return Case(
        anchor=anchor,
        case_id=row["case_id"],
        rank=row["rank"],
        score=scored["score"],
        judged=scored["judged"],
        flagged=scored["flagged"],
        floor=row["floor"],
        selected_by=row["selected_by"],
        probability=row["sampling_probability"],
        why=row["why"],
        sessions=members,
        start=min(starts, default=None),
        end=max(ends, default=None),
        duration_s=(max(ends) - min(starts)).total_seconds() if starts else 0.0,
        n_events=sum(member["n_events"] for member in members),
        rules=_distinct(signal for signal in own_signals if signal["kind"] in ("rule", "correlation")),
        others=_distinct(signal for signal in own_signals if signal["kind"] not in ("rule", "correlation")),
        grounds=[
            Ground(
                sentence=(ground["sentence_ko"] if known.lang == "ko" else None) or ground["sentence"] or "",
                holds=ground["holds"],
                wrong=ground["wrong"] or "",
                common=1 - ground["relevance"] if (ground["note"] or "").startswith("common") and ground["relevance"] is not None else None,
                anchors=[anchors[key] for key in ground["event_ids"] or [] if key in anchors][:CITED_SHOWN],
                n_events=len(ground["event_ids"] or []),
            )
            for ground in grounds
        ],
        verdict=verdict | {"summary": (known.lang == "ko" and verdict.get("summary_ko")) or verdict.get("summary")},
        checks=[_CHECKS_KO.get(check, check) if known.lang == "ko" else check for check in verdict.get("checks") or []],
        label=classes[0] if classes else "",
        incidents=sorted({label["target_id"] for label in own_labels if label["target_kind"] == "incident"}),
        events=[
            {
                **event,
                "anchor": anchors[event["event_id"]],
                "cited": event["event_id"] in cited,
                "hit": event["event_id"] in cited_by_signals,
            }
            for event in shown
        ],
        story_id=next((known.story_of[key] for key in ids if key in known.story_of), "") if len(ids) > 1 else "",
    )


def choose_events(events: list[dict[str, Any]], cited: set[str], hit: set[str], limit: int = EVENTS_SHOWN) -> list[dict[str, Any]]:
    """Return at most `limit` events in order of time: those that grounds cite first, then those of signals, then the earliest.

    >>> rows = [{"event_id": name} for name in "abcd"]
    >>> [row["event_id"] for row in choose_events(rows, {"d"}, {"c"}, limit=3)]
    ['a', 'c', 'd']
    """
    weight = {event["event_id"]: 0 if event["event_id"] in cited else 1 if event["event_id"] in hit else 2 for event in events}
    chosen = sorted(range(len(events)), key=lambda place: (weight[events[place]["event_id"]], place))[:limit]
    return [events[place] for place in sorted(chosen)]


def _distinct(signals: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per detector, the strongest; most severe first."""
    best: dict[str, dict[str, Any]] = {}
    for signal in signals:
        known = best.get(signal["detector_id"])
        if known is None or signal["strength"] > known["strength"]:
            best[signal["detector_id"]] = signal
    rank = {name: place for place, name in enumerate(SEVERITIES)}
    return sorted(best.values(), key=lambda signal: (rank.get(signal["severity"] or "", 9), -signal["strength"], signal["detector_id"]))


def _events_by_session(data: ReportInput) -> dict[str, list[dict[str, Any]]]:
    columns = [
        "event_id",
        "archive_id",
        "position",
        "time",
        "user",
        "actor",
        "impersonated_user",
        "source_ip",
        "client_family",
        "user_agent",
        "verb",
        "uri",
        "api_group",
        "resource",
        "subresource",
        "namespace",
        "name",
        "decision",
        "status",
        "grant_binding",
        "commands",
    ]
    frame = _of_candidates(data, data.session_events).join(data.events.select(columns), on="event_id", how="inner")
    return _grouped(frame, "session_id")


def _grouped(frame: pl.DataFrame, key: str) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in frame.iter_rows(named=True):
        groups.setdefault(row[key], []).append(row)
    return groups
