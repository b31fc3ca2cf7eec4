"""Cut a recording into templates: benign sessions, and incidents with their sessions.

A session is what one actor does from one source without a longer pause. Events of a labelled incident form sessions of
their own, kept together with their distances; what the same actor did besides is benign. Actors that never pause are cut
into pieces. Templates are dealt to time spans, so that no span ever sees a template of another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import polars as pl

from audit_lab.classes import actor_kind
from audit_lab.hashing import short_id
from audit_lab.kubernetes import WORKLOADS, WRITE_VERBS
from audit_lab.simulate.aliases import digest
from audit_lab.simulate.recording import Incident, Recording

T = TypeVar("T")
SECOND = 1_000_000
_SMALLEST_PIECE = 5  # events: a session is not cut into pieces smaller than this
_CAP_SHARE = 0.95    # of the longest session: room for rounding


@dataclass(frozen=True)
class Lane:
    """Who acts from where, as recorded."""

    user: str
    impersonated: str
    source: str

    @property
    def kind(self) -> str:
        """One of classes.ACTOR_KINDS."""
        return actor_kind(self.user)


@dataclass(frozen=True)
class Template:
    """One recorded session."""

    template_id: str
    kind: str                 # benign, malicious, look-alike
    lane: Lane
    rows: tuple[int, ...]     # rows of the recording's index, all stages, in order of time
    offsets_us: np.ndarray    # per event (distinct audit ID): microseconds after the first
    event_of_row: np.ndarray  # per row: which event
    deploys: bool             # it writes workloads, and no controller did so

    @property
    def n_events(self) -> int:
        """Distinct audit IDs."""
        return len(self.offsets_us)

    @property
    def duration_us(self) -> int:
        """From first to last event, as recorded."""
        return int(self.offsets_us[-1])


@dataclass(frozen=True)
class Episode:
    """One recorded incident: its sessions and when each began, microseconds after the first."""

    incident: Incident
    sessions: tuple[Template, ...]
    starts_us: tuple[int, ...]

    @property
    def kind(self) -> str:
        """'malicious' or 'look-alike'."""
        return "malicious" if self.incident.malicious else "look-alike"


@dataclass(frozen=True)
class Library:
    """All templates of one time span."""

    span: str
    benign: dict[Lane, tuple[Template, ...]]
    episodes: tuple[Episode, ...]

    def templates(self) -> list[Template]:
        """Every template of the span."""
        return [*(template for group in self.benign.values() for template in group),
                *(template for episode in self.episodes for template in episode.sessions)]


def make_libraries(
    recording: Recording, spans: Sequence[tuple[str, float]], seed: int, *,
    gap_s: float, max_length_s: float, max_session_events: int, max_template_events: int,
) -> list[Library]:
    """Cut, deal and thin the templates of a recording.

    Parameters
    ----------
    spans
        Name and share of each time span: a span gets about its share of every actor's templates, and at least one
        where there are enough.
    gap_s, max_length_s
        Pause that ends a recorded session, and longest piece, seconds of the recording.
    max_session_events
        Largest piece of an actor that never pauses.
    max_template_events
        Events of all benign templates together; beyond it each actor keeps a share of its templates.
    """
    events = _events(recording.index)
    incident_of = {audit_id: number for number, incident in enumerate(recording.incidents) for audit_id in incident.audit_ids}
    labelled = np.array([incident_of.get(audit_id, -1) for audit_id in events.audit_ids])
    cap_us = int(max_length_s * SECOND * _CAP_SHARE)
    cutter = _Cutter(events, int(gap_s * SECOND), cap_us, max_session_events)
    benign: dict[Lane, list[Template]] = defaultdict(list)
    for template in cutter.cut(np.flatnonzero(labelled < 0), "benign"):
        benign[template.lane].append(template)
    episodes = []
    for number, incident in enumerate(recording.incidents):
        sessions = cutter.cut(np.flatnonzero(labelled == number), "malicious" if incident.malicious else "look-alike")
        if sessions:
            first = [int(events.times[cutter.first_event[session.template_id]]) for session in sessions]
            episodes.append(_episode(incident, sessions, first))
    shares = [share for _, share in spans]
    dealt = _deal_lanes(benign, shares, seed)
    dealt = _thin(dealt, max_template_events, seed)
    episodes_of = _deal_episodes(episodes, shares, seed)
    return [
        Library(name, {lane: tuple(parts[number]) for lane, parts in dealt.items() if parts[number]}, tuple(episodes_of[number]))
        for number, (name, _) in enumerate(spans)
    ]


def _episode(incident: Incident, sessions: list[Template], times: list[int]) -> Episode:
    order = sorted(range(len(sessions)), key=lambda place: (times[place], sessions[place].template_id))
    return Episode(incident, tuple(sessions[place] for place in order), tuple(times[place] - min(times) for place in order))


@dataclass(frozen=True)
class _Events:
    """Events (distinct audit IDs) in order of time, and the rows of each."""

    audit_ids: list[str]
    times: np.ndarray
    lanes: list[Lane]
    rows: list[list[int]]
    deploys: np.ndarray


def _events(index: pl.DataFrame) -> _Events:
    grouped = (
        index.with_row_index("row")
        .group_by("audit_id", maintain_order=True)
        .agg(pl.col("time_us").min(), pl.col("row"), pl.first("user", "impersonated", "source", "verb", "resource"))
        .sort("time_us", "audit_id")
    )
    deploys = grouped.select(
        pl.col("resource").is_in(WORKLOADS).fill_null(value=False) & pl.col("verb").is_in(WRITE_VERBS)
    ).to_series().to_numpy()
    lanes: dict[tuple[str, str, str], Lane] = {}
    keys = grouped.select("user", "impersonated", "source").rows()
    return _Events(
        grouped["audit_id"].to_list(), grouped["time_us"].to_numpy(), [lanes.setdefault(key, Lane(*key)) for key in keys],
        grouped["row"].to_list(), deploys,
    )


class _Cutter:
    """Cuts chosen events into sessions."""

    def __init__(self, events: _Events, gap_us: int, cap_us: int, max_events: int) -> None:
        self.events, self.gap_us, self.cap_us, self.max_events = events, gap_us, cap_us, max_events
        self.first_event: dict[str, int] = {}

    def cut(self, chosen: np.ndarray, kind: str) -> list[Template]:
        """Return the sessions of the chosen events."""
        by_lane: dict[Lane, list[int]] = defaultdict(list)
        for event in chosen:
            by_lane[self.events.lanes[event]].append(int(event))
        return [
            self._template(piece, kind)
            for lane in sorted(by_lane, key=lambda lane: (lane.user, lane.impersonated, lane.source))
            # Only routine is cut by size: its pieces are used apart, while those of an incident stay beside each other.
            for piece in self._pieces(by_lane[lane], self.max_events if kind == "benign" else len(chosen))
        ]

    def _pieces(self, numbers: list[int], most: int) -> list[list[int]]:
        pieces: list[list[int]] = []
        for number in numbers:
            time = self.events.times[number]
            here = pieces[-1] if pieces else None
            if (
                here is None
                or time - self.events.times[here[-1]] > self.gap_us
                or time - self.events.times[here[0]] > self.cap_us
                or len(here) >= most
            ):
                pieces.append([number])
            else:
                here.append(number)
        return pieces

    def _template(self, numbers: list[int], kind: str) -> Template:
        events = self.events
        template_id = short_id("p", kind, *(events.audit_ids[number] for number in numbers))
        self.first_event[template_id] = numbers[0]
        pairs = sorted((row, place) for place, number in enumerate(numbers) for row in events.rows[number])
        lane = events.lanes[numbers[0]]
        return Template(
            template_id, kind, lane, tuple(row for row, _ in pairs), events.times[numbers] - events.times[numbers[0]],
            np.array([place for _, place in pairs]), bool(events.deploys[numbers].any()) and lane.kind != "controller",
        )


def split_template(template: Template, at: int) -> tuple[Template, Template]:
    """Cut a template before event number `at`."""
    parts = []
    for name, inside in (("1", template.event_of_row < at), ("2", template.event_of_row >= at)):
        first = 0 if name == "1" else at
        offsets = template.offsets_us[:at] if name == "1" else template.offsets_us[at:]
        rows = tuple(row for row, keep in zip(template.rows, inside, strict=True) if keep)
        parts.append(replace(
            template, template_id=short_id("p", template.template_id, name), rows=rows, offsets_us=offsets - offsets[0],
            event_of_row=template.event_of_row[inside] - first,
        ))
    return parts[0], parts[1]


def _deal_lanes(lanes: dict[Lane, list[Template]], shares: Sequence[float], seed: int) -> dict[Lane, list[list[Template]]]:
    """Give each span its share of every lane's templates; too few are cut at their longest pauses first."""
    dealt = {}
    for lane, found in lanes.items():
        templates = list(found)
        while len(templates) < len(shares):
            largest = max(templates, key=lambda template: (template.n_events, template.template_id))
            if largest.n_events < 2 * _SMALLEST_PIECE:
                break
            pauses = np.diff(largest.offsets_us)[_SMALLEST_PIECE - 1 : largest.n_events - _SMALLEST_PIECE]
            templates.remove(largest)
            templates.extend(split_template(largest, int(np.argmax(pauses)) + _SMALLEST_PIECE))
        templates.sort(key=lambda template: digest(seed, template.template_id))
        dealt[lane] = _deal(templates, shares)
    return dealt


def _deal_episodes(episodes: list[Episode], shares: Sequence[float], seed: int) -> list[list[Episode]]:
    """Give each span its share of the incidents, alike ones to different spans."""
    dealt: list[list[Episode]] = [[] for _ in shares]
    for kind in ("malicious", "look-alike"):
        chosen = [episode for episode in episodes if episode.kind == kind]
        chosen.sort(key=lambda episode: (
            episode.incident.category or ",".join(episode.incident.technique_ids), digest(seed, episode.incident.incident_id)
        ))
        for number, part in enumerate(_deal(chosen, shares)):
            dealt[number].extend(part)
    return dealt


def _deal(items: Sequence[T], shares: Sequence[float]) -> list[list[T]]:
    """Deal items in order: each goes to the span that is furthest behind its share."""
    dealt: list[list[T]] = [[] for _ in shares]
    total = sum(shares)
    for count, item in enumerate(items, 1):
        behind = [(count * share / total - len(part), -number) for number, (share, part) in enumerate(zip(shares, dealt, strict=True))]
        if count <= len(shares):  # nobody twice before everybody once
            behind = [(gap if not dealt[number] else -1.0, -number) for number, (gap, _) in enumerate(behind)]
        dealt[-max(behind)[1]].append(item)
    return dealt


def _thin(dealt: dict[Lane, list[list[Template]]], most: int, seed: int) -> dict[Lane, list[list[Template]]]:
    """Keep what fits into `most` events: the same number of events per lane and span, so that rare actors keep all they did."""

    def kept(part: list[Template], limit: float) -> list[Template]:
        sizes = np.cumsum([template.n_events for template in part])
        return part[: max(1, int(np.searchsorted(sizes, limit, "right")))]

    limit = float(most)
    while sum(template.n_events for parts in dealt.values() for part in parts for template in kept(part, limit)) > most and limit > 1:
        limit *= 0.9
    return {
        lane: [sorted(kept(part, limit), key=lambda template: digest(seed, "order", template.template_id)) for part in parts]
        for lane, parts in dealt.items()
    }
