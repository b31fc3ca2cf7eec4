"""How much everybody does: expected sessions per actor and template on each day, fitted to the number of events asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from audit_lab.errors import InputError
from audit_lab.simulate.aliases import MAX_TEAMS, digest
from audit_lab.simulate.calendar import Calendar, Drift
from audit_lab.simulate.templates import SECOND, Lane, Library, Template

_MOST_OF_PEOPLE = 8       # sessions a day that one person has from one place
_BUSY_SHARE = 0.6         # of a day that a machine's sessions may fill, so that each finds its place
_RECORDED_WEIGHT = 8      # an actor with more recorded sessions than this counts no more


@dataclass(frozen=True)
class Cells:
    """Actor × template of one span, as columns: what can be drawn."""

    lanes: tuple[Lane, ...]
    lane_of: np.ndarray       # cell -> place in `lanes`
    templates: tuple[Template, ...]
    n_events: np.ndarray
    people: np.ndarray
    deploys: np.ndarray
    weight: np.ndarray        # relative number of sessions on a working day
    common: np.ndarray        # the actor exists once per cluster, not once per team
    most: np.ndarray          # sessions a day that the cell's actor can have at most


class Load:
    """Expected numbers of sessions.

    Parameters
    ----------
    is_common
        Tells whether a lane looks the same in every team of a cluster.
    separation_s
        Least pause between two sessions of one actor from one source, seconds of simulated time.
    """

    def __init__(
        self, libraries: Sequence[Library], calendar: Calendar, clusters: int, drifts: Sequence[Drift],
        is_common: Callable[[Lane], bool], *, seed: int, stretch: float, separation_s: float, people_share: float, teams: int | None,
    ) -> None:
        self.calendar, self.clusters, self.drifts, self.seed = calendar, clusters, tuple(drifts), seed
        recorded: dict[Lane, int] = {}
        for library in libraries:
            for lane, templates in library.benign.items():
                recorded[lane] = recorded.get(lane, 0) + len(templates)
        self.cells = [_cells(library, recorded, is_common, stretch=stretch, separation_s=separation_s) for library in libraries]
        at_home = "system:serviceaccount:kube-system:"
        self.operator = self._choose(
            lambda lane: is_common(lane) and lane.kind == "service_account" and not lane.user.startswith(at_home), "operator"
        )
        self.loud = self._choose(lambda lane: lane.kind == "service_account" and lane != self.operator, "volume")
        self._fixed_teams = teams
        self._people_share = people_share
        self.teams = teams or 1
        self.rate = 1.0
        # Days that differ in nothing that counts are worked out once.
        self._alike: dict[tuple[object, ...], list[tuple[int, int]]] = {}
        for cluster in range(clusters):
            for day in range(calendar.days):
                state = tuple((drift.holds(cluster, day), drift.cluster in (None, cluster)) for drift in self.drifts)
                key = (calendar.span_of_day[day], calendar.is_weekend(day), calendar.is_deploy_day(day), state)
                self._alike.setdefault(key, []).append((cluster, day))

    def fit(self, events: float) -> None:
        """Choose the number of teams per cluster and the rate so that `events` benign events are expected.

        Raises
        ------
        InputError
            When the actors of the recording cannot do so much in so few days.
        """
        for teams in [self._fixed_teams] if self._fixed_teams else [*range(1, 8), *range(8, MAX_TEAMS, 4), MAX_TEAMS - 1]:
            self.teams = int(teams)
            # With as many teams as needed, nobody but the actors that a cluster has once is near the most they can do.
            self.rate = self._rate_for(events)
            if self.expected_events() >= 0.995 * events and (self._fixed_teams or self._crowded() < 0.05):
                return
        if self.expected_events() < 0.995 * events:
            possible = int(self.expected_events())
            raise InputError(
                f"{int(events)} events do not fit into {self.calendar.days} days and {self.clusters} clusters",
                f"at most about {possible} do: give more days or clusters",
            )

    def missing(self, drift: Drift) -> bool:
        """Tell whether the recording has nobody whom a drift could be about."""
        return (drift.kind == "new_operator" and self.operator is None) or (drift.kind == "volume" and self.loud is None)

    def change(self, drift: Drift, cluster: int) -> tuple[float, float]:
        """Return the expected sessions of the drift's actor on its first day, without and with the drift."""
        lane = self.operator if drift.kind == "new_operator" else self.loud
        sums = []
        for drifts in ([other for other in self.drifts if other != drift], self.drifts):
            cells, wanted = self.expected(cluster, drift.day, drifts)
            sums.append(float(wanted[self._is_lane(cells, lane)].sum()))
        return (0.0, sums[1]) if drift.kind == "new_operator" else (sums[0], sums[1])

    def expected(self, cluster: int, day: int, drifts: Sequence[Drift] | None = None) -> tuple[Cells, np.ndarray]:
        """Return the cells of a day and, per cell and team, the expected sessions: an array of shape (cells, teams)."""
        cells = self.cells[self.calendar.span_of_day[day]]
        wanted = self._weights(cells, cluster, day, self.drifts if drifts is None else drifts) * self.rate
        per_lane = np.bincount(cells.lane_of, wanted, len(cells.lanes))[cells.lane_of]
        wanted = wanted * np.minimum(1.0, cells.most / np.maximum(per_lane, 1e-12))
        active = self.active_teams(cluster, day)
        shape = np.zeros((len(wanted), self.teams_of_cluster(cluster)))
        shape[~cells.common, :active] = 1.0
        shape[cells.common, 0] = 1.0
        return cells, wanted[:, None] * shape

    def teams_of_cluster(self, cluster: int) -> int:
        """Return how many teams a cluster has in the end."""
        return self.teams + sum(1 for drift in self.drifts if drift.kind == "new_team" and drift.cluster in (None, cluster))

    def active_teams(self, cluster: int, day: int) -> int:
        """Return how many teams work in a cluster on a day; new ones have the highest numbers."""
        return self.teams + sum(1 for drift in self.drifts if drift.kind == "new_team" and drift.holds(cluster, day))

    def expected_events(self) -> float:
        """Return the expected benign events of the whole simulation."""
        total = 0.0
        for places in self._alike.values():
            cells, wanted = self.expected(*places[0])
            total += float(wanted.sum(axis=1) @ cells.n_events) * len(places)
        return total

    def expected_sessions(self) -> np.ndarray:
        """Return the expected benign sessions, an array of shape (clusters, days)."""
        sessions = np.zeros((self.clusters, self.calendar.days))
        for places in self._alike.values():
            sessions[tuple(zip(*places, strict=True))] = self.expected(*places[0])[1].sum()
        return sessions

    def _weights(self, cells: Cells, cluster: int, day: int, drifts: Sequence[Drift]) -> np.ndarray:
        teams = np.where(cells.common, 1, self.teams)
        weights = cells.weight.copy()
        for people, share in ((True, self._people_share), (False, 1 - self._people_share)):
            group = cells.people == people
            if group.any() and not group.all():
                weights[group] *= share / (cells.weight * teams)[group].sum()
            for deploys in (True, False):
                weights[group & (cells.deploys == deploys)] *= self.calendar.factor(people=people, deploys=deploys, day=day)
        for drift in drifts:
            if drift.kind == "new_operator" and drift.cluster in (None, cluster) and not drift.holds(cluster, day):
                weights[self._is_lane(cells, self.operator)] = 0.0
            if drift.kind == "volume" and drift.holds(cluster, day):
                weights[self._is_lane(cells, self.loud)] *= drift.factor
        return weights

    def _rate_for(self, events: float) -> float:
        low, high = 0.0, 1.0
        self.rate = high
        while self.expected_events() < events and high < 1e6:
            high *= 4
            self.rate = high
        for _ in range(18):
            self.rate = (low + high) / 2
            if self.expected_events() < events:
                low = self.rate
            else:
                high = self.rate
        return high

    def _crowded(self) -> float:
        """Return the share of team members' cells that reach the most they can do, on the busiest kind of day."""
        shares = []
        for number, cells in enumerate(self.cells):
            first, last = self.calendar.span_days(number)
            weights = np.max([self._weights(cells, 0, day, ()) for day in range(first, min(last, first + 6) + 1)], axis=0) * self.rate
            per_lane = np.bincount(cells.lane_of, weights, len(cells.lanes))[cells.lane_of]
            team = ~cells.common & (cells.weight > 0)
            shares.append(float((per_lane > cells.most)[team].mean()) if team.any() else 0.0)
        return max(shares)

    def _choose(self, fits: Callable[[Lane], bool], purpose: str) -> Lane | None:
        """Return the lane that a drift is about: one that occurs in every span."""
        everywhere = set(self.cells[0].lanes).intersection(*(cells.lanes for cells in self.cells))
        chosen = sorted((lane for lane in everywhere if fits(lane)), key=lambda lane: digest(self.seed, purpose, lane))
        return chosen[0] if chosen else None

    @staticmethod
    def _is_lane(cells: Cells, lane: Lane | None) -> np.ndarray:
        return cells.lane_of == (cells.lanes.index(lane) if lane in cells.lanes else -1)


def _cells(library: Library, recorded: dict[Lane, int], is_common: Callable[[Lane], bool], *, stretch: float, separation_s: float) -> Cells:
    if not library.benign:
        raise InputError(f"the recording has no benign session for span '{library.span}'", "record more, or ask for fewer spans")
    lanes = tuple(library.benign)
    pairs = [(place, template) for place, lane in enumerate(lanes) for template in library.benign[lane]]
    lane_of = np.array([place for place, _ in pairs], dtype=np.int64)
    templates = tuple(template for _, template in pairs)
    people = np.array([lanes[place].kind == "human" for place in lane_of], dtype=bool)
    weight = np.array([min(recorded[lanes[place]], _RECORDED_WEIGHT) / len(library.benign[lanes[place]]) for place in lane_of], dtype=float)
    length = np.array([template.duration_us / SECOND * stretch + separation_s for template in templates])
    mean_length = np.bincount(lane_of, length, len(lanes)) / np.maximum(np.bincount(lane_of, minlength=len(lanes)), 1)
    most = np.maximum(1.0, 86_400 * _BUSY_SHARE / mean_length)[lane_of]
    return Cells(
        lanes, lane_of, templates, np.array([template.n_events for template in templates]), people,
        np.array([template.deploys for template in templates], dtype=bool), weight,
        np.array([is_common(lanes[place]) for place in lane_of], dtype=bool), np.where(people, np.minimum(most, _MOST_OF_PEOPLE), most),
    )
