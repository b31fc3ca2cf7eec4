"""Put the sessions of one day into one cluster: who, when, from where; and write down what is true about them.

A day of a cluster depends on the seed and on nothing that happened before, so days can be made in any order. Sessions of one
actor and source keep more than the gap apart, so that each template is found again as one session.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audit_lab.classes import source_class
from audit_lab.simulate.aliases import IncidentNames, Names, digest, public_address
from audit_lab.simulate.calendar import DAY_US, WORKING_HOURS, Drift
from audit_lab.simulate.incidents import Move, PlannedIncident, Splitting
from audit_lab.simulate.load import Load
from audit_lab.simulate.session import Session
from audit_lab.simulate.templates import Lane, Template
from audit_lab.simulate.truth import Truth

_TRIES = 40  # starts that are tried for an incident before it is given up
_HOUR_US = DAY_US // 24
_WORKED_BY = np.cumsum(WORKING_HOURS)[:-1].tolist()  # share of a day's work that is done by the end of each hour but the last


@dataclass
class StagedDay:
    """One day of one cluster."""

    sessions: list[Session]
    truth: list[dict[str, Any]]      # lines of sessions.jsonl
    incidents: list[dict[str, Any]]  # lines of incidents.jsonl
    n_given_up: int                  # sessions and incidents that found no place


@dataclass
class _Seats:
    """Who is busy when: (actor, source) -> intervals, in order."""

    pause_us: int
    busy: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))

    def is_free(self, seat: tuple[str, str], start: int, end: int) -> bool:
        return all(end + self.pause_us <= first or last + self.pause_us <= start for first, last in self.busy[seat])

    def take(self, seat: tuple[str, str], start: int, end: int) -> None:
        insort(self.busy[seat], (start, end))

    def nearest(self, seat: tuple[str, str], wanted: int, length: int, first: int, last: int) -> int | None:
        """Return the start nearest to `wanted` at which `length` fits between `first` and `last`; None where there is none."""
        best: int | None = None
        free_from = first
        # The end of the day counts as busy: the next day may begin with the same seat.
        for start, end in [*self.busy[seat], (last, last)]:
            latest = start - self.pause_us - length
            if latest >= free_from:
                place = min(max(wanted, free_from), latest)
                if best is None or abs(place - wanted) < abs(best - wanted):
                    best = place
            free_from = max(free_from, end + self.pause_us)
        return best


class Stage:
    """Stages days.

    Parameters
    ----------
    incidents
        All planned incidents of the simulation.
    """

    def __init__(
        self, load: Load, names: Names, incidents: Sequence[PlannedIncident], drifts: Sequence[Drift], splitting: Splitting, stretch: float
    ) -> None:
        self.load, self.names, self.drifts, self.splitting, self.stretch = load, names, tuple(drifts), splitting, stretch
        self.truth = Truth(names, load.calendar, splitting)
        self.by_day: dict[tuple[int, int], list[PlannedIncident]] = defaultdict(list)
        for incident in incidents:
            self.by_day[incident.cluster, incident.day].append(incident)

    def day(self, cluster: int, day: int) -> StagedDay:
        """Return what happens in a cluster on a day."""
        rng = np.random.default_rng([self.names.seed, cluster, day])
        seats = _Seats(2 * self.splitting.gap_us)
        staged = StagedDay([], [], [], 0)
        for incident in self.by_day.get((cluster, day), []):
            sessions = self._incident(incident, seats, rng, len(staged.sessions))
            if not sessions:
                staged.n_given_up += 1
                continue
            staged.sessions.extend(sessions)
            staged.truth.extend(self.truth.of_incident(incident, sessions))
            staged.incidents.append(self.truth.incident(incident, [session for session in sessions if session.incident]))
        for lane, team, template in self._drawn(cluster, day, rng):
            session = self._benign(lane, team, template, cluster, day, seats, rng, len(staged.sessions))
            if session is None:
                staged.n_given_up += 1
                continue
            staged.sessions.append(session)
            staged.truth.append(self.truth.of_benign(session))
        staged.truth.sort(key=lambda row: (row["start"], row["actor"], row["first_audit_id"]))
        return staged

    def _drawn(self, cluster: int, day: int, rng: np.random.Generator) -> list[tuple[Lane, int, Template]]:
        """Draw benign sessions: systematic sampling over cells in order of size, so that their number and size hardly vary."""
        cells, wanted = self.load.expected(cluster, day)
        order = np.argsort(cells.n_events, kind="stable")
        flat = wanted[order].ravel()
        ends = np.floor(np.cumsum(flat) + rng.random()).astype(np.int64)
        counts = np.diff(ends, prepend=0)
        teams = wanted.shape[1]
        active = self.load.active_teams(cluster, day)
        drawn = []
        for place in np.flatnonzero(counts):
            cell = order[place // teams]
            lane = cells.lanes[cells.lane_of[cell]]
            for _ in range(int(counts[place])):
                # What a cluster has once serves all its teams.
                team = int(rng.integers(active)) if cells.common[cell] else int(place % teams)
                drawn.append((lane, team, cells.templates[cell]))
        return [drawn[number] for number in rng.permutation(len(drawn))]

    def _benign(
        self, lane: Lane, team: int, template: Template, cluster: int, day: int, seats: _Seats, rng: np.random.Generator, number: int
    ) -> Session | None:
        offsets = np.round(template.offsets_us * self.stretch).astype(np.int64)
        names = self.names.of_day(cluster, team, day)
        session = Session(
            template, cluster, team, day, number, 0, np.arange(template.n_events), offsets, names,
            _actor(self.names, names, lane), self.names.text(names, lane.source), agent=self._agent(lane, cluster, team, day),
        )
        midnight = self.load.calendar.start_us(day)
        latest = DAY_US - seats.pause_us - int(offsets[-1])
        wanted = midnight + _moment(rng, latest, at_work=lane.kind == "human" or template.deploys)
        start = seats.nearest(session.seat, wanted, int(offsets[-1]), midnight, midnight + DAY_US)
        if start is None:
            return None
        session.start_us = start
        seats.take(session.seat, start, session.end_us)
        return session

    def _incident(self, incident: PlannedIncident, seats: _Seats, rng: np.random.Generator, first_number: int) -> list[Session]:
        cluster, day = incident.cluster, incident.day
        team = int(rng.integers(self.load.active_teams(cluster, day)))
        base = self.names.of_day(cluster, team, day)
        names = IncidentNames(base, f"{self.names.seed}/{incident.incident_id}")
        sessions = [self._session(incident, move, names, team, first_number + place) for place, move in enumerate(incident.moves)]
        if incident.partner:
            sessions.append(self._partner_session(incident, base, team, first_number + len(sessions), rng))
        relative = [session.start_us for session in sessions]
        earliest, latest = min(relative), max(session.end_us for session in sessions)
        midnight, longest = self.load.calendar.start_us(day), DAY_US - seats.pause_us
        if latest - earliest > longest:
            return []
        insider = incident.episode.sessions[0].lane.kind == "human" and source_class(sessions[0].source) == "private"
        for _ in range(_TRIES):
            start = midnight + _moment(rng, longest - (latest - earliest), at_work=insider) - earliest
            if all(seats.is_free(session.seat, start + session.start_us, start + session.end_us) for session in sessions):
                for session in sessions:
                    session.start_us += start
                for session in sessions:
                    seats.take(session.seat, session.start_us, session.end_us)
                return sessions
        return []

    def _session(self, incident: PlannedIncident, move: Move, names: IncidentNames, team: int, number: int) -> Session:
        lane = move.template.lane
        source = self.names.text(names, lane.source)
        slot = None
        if move.source:
            usual = incident.partner.lane.source if incident.partner and move.source == "partner" else ""
            new = self.names.text(names.names, usual) if usual else _other_source(source, names.key, move.source)
            slot, source = (lane.source, new), new
        return Session(
            move.template, incident.cluster, team, incident.day, number, move.start_us, move.events, move.offsets_us, names,
            _actor(self.names, names, lane), source, slot, incident=incident,
        )

    def _partner_session(
        self, incident: PlannedIncident, names: dict[int, str], team: int, number: int, rng: np.random.Generator
    ) -> Session:
        template = incident.partner
        assert template is not None  # noqa: S101 - for the type checker: only called where there is one
        offsets = np.round(template.offsets_us * self.stretch).astype(np.int64)
        # The incident begins somewhere within the benign session.
        start = -int(rng.integers(int(offsets[-1]) + 1))
        return Session(
            template, incident.cluster, team, incident.day, number, start, np.arange(template.n_events), offsets, names,
            _actor(self.names, names, template.lane), self.names.text(names, template.lane.source),
        )

    def _agent(self, lane: Lane, cluster: int, team: int, day: int) -> str | None:
        for drift in self.drifts:
            if drift.kind == "new_client" and drift.holds(cluster, day) and lane.kind == "human":
                draw = int.from_bytes(digest(self.names.seed, "client", cluster, team, lane.user, size=4), "big") / 2**32
                if draw < drift.share:
                    return drift.agent
        return None


def _actor(names: Names, filled: dict[int, str], lane: Lane) -> str:
    user = names.text(filled, lane.user)
    return f"{user} as {names.text(filled, lane.impersonated)}" if lane.impersonated else user


def _moment(rng: np.random.Generator, latest: int, *, at_work: bool) -> int:
    """Return a time of day up to `latest`, microseconds: any time, or by working hours."""
    hour = bisect(_WORKED_BY, rng.random()) if at_work else int(rng.random() * 24)
    moment = hour * _HOUR_US + int(rng.random() * _HOUR_US)
    # What does not fit before midnight happens at any other time: not all at the last moment.
    return moment if moment <= latest else int(rng.random() * max(latest, 1))


def _other_source(source: str, *key: str) -> str:
    """Return another address of the same class: public stays public, private stays in its /16."""
    if source_class(source) != "private" or "." not in source:
        return public_address(*key)
    first, second, *_ = source.split(".")
    low = digest(*key, size=2)
    return f"{first}.{second}.{low[0]}.{low[1]}"
