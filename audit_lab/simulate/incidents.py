"""Which incidents happen, how often and in which variant.

The number follows from the prevalence: the share of sessions, as the default profile finds them, that hold events of a malicious
incident. Variants change how an incident is carried out, never what is done:

recorded  as it was · slower  with longer pauses, so that it falls apart into many sessions · split  each session's requests
come in turns from two to four addresses · mixed  from the actor's usual address, amid one of its benign sessions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audit_lab.errors import InputError
from audit_lab.simulate.load import Load
from audit_lab.simulate.templates import SECOND, Episode, Library, Template

VARIANTS = {"recorded": 0.4, "slower": 0.2, "split": 0.2, "mixed": 0.2}
_SLOWER = (4.0, 8.0)             # by which times a slower incident is slower
_LONGEST_US = 12 * 3600 * SECOND  # a slower incident still happens within half a day
_BLOCK = 2                       # requests that come from one address before the next takes its turn
_SMALLEST_SPLIT = 4              # sessions with fewer events are not split over sources


@dataclass(frozen=True)
class Move:
    """A part of an incident: some events of one recorded session, from one source.

    `source` is '' for the recorded one, 'partner' for the actor's usual one, else a key from which a new address is made.
    """

    template: Template
    start_us: int            # microseconds after the incident's first event
    events: np.ndarray       # which events of the template
    offsets_us: np.ndarray   # of each, microseconds after `start_us`
    source: str = ""


@dataclass(frozen=True)
class PlannedIncident:
    """An incident that will happen on a day in a cluster."""

    incident_id: str
    episode: Episode
    variant: str
    cluster: int
    day: int
    moves: tuple[Move, ...]
    partner: Template | None


@dataclass(frozen=True)
class Splitting:
    """How sessions are found again: gap and longest session, microseconds of simulated time."""

    gap_us: int
    cap_us: int

    def cuts(self, times: np.ndarray) -> list[np.ndarray]:
        """Return the positions of `times` (sorted) session by session.

        A pause above the gap ends a session; a run that lasts longer than the cap is cut on the clock, at its multiples.
        """
        runs = np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > self.gap_us) + 1)
        found: list[np.ndarray] = []
        for run in runs:
            if times[run[-1]] - times[run[0]] <= self.cap_us:
                found.append(run)
                continue
            found.extend(np.split(run, np.flatnonzero(np.diff(times[run] // self.cap_us)) + 1))
        return found


@dataclass(frozen=True)
class Mixture:
    """Of what a simulation is made: shares of sessions, shares of incident variants, stretch, and how sessions are found again."""

    prevalence: float
    look_alikes: float
    variants: Mapping[str, float]
    stretch: float
    splitting: Splitting

    def __post_init__(self) -> None:
        unknown = [name for name in self.variants if name not in VARIANTS]
        if unknown or any(weight < 0 for weight in self.variants.values()) or sum(self.variants.values()) <= 0:
            raise InputError(f"incident variants {dict(self.variants)} cannot be used", f"give shares of: {', '.join(VARIANTS)}")


def plan_incidents(
    libraries: Sequence[Library], load: Load, mixture: Mixture, seed: Sequence[int], n_sessions: float
) -> list[PlannedIncident]:
    """Draw the incidents of a simulation of about `n_sessions` sessions, benign ones included.

    They fall on clusters and days in proportion to the benign sessions there; malicious ones more often where such a drift is planted.

    Raises
    ------
    InputError
        When a prevalence above 0 is asked for and a span has no template of that kind.
    """
    calendar, rng = load.calendar, np.random.default_rng(seed)
    benign = load.expected_sessions()
    planned: list[PlannedIncident] = []
    owed = {"malicious": 0.0, "look-alike": 0.0}  # sessions that earlier spans had too few of
    for number, library in enumerate(libraries):
        days = [day for day, span in enumerate(calendar.span_of_day) if span == number]
        usual = benign[:, days] / benign[:, days].sum()
        denser = usual * _attack_factors(load, days)
        chances = {"malicious": (denser / denser.sum()).ravel(), "look-alike": usual.ravel()}
        share = float(benign[:, days].sum() / benign.sum())
        for kind, rate in (("malicious", mixture.prevalence), ("look-alike", mixture.look_alikes)):
            owed[kind] += rate * n_sessions * share
            for episode, variant, moves, partner in _draw(library, kind, owed[kind], mixture, rng):
                owed[kind] -= count_sessions(moves, mixture.splitting)
                place = int(rng.choice(usual.size, p=chances[kind]))
                incident_id = f"sim-{len(planned) + 1:05d}"
                planned.append(PlannedIncident(incident_id, episode, variant, place // len(days), days[place % len(days)], moves, partner))
    return planned


def _attack_factors(load: Load, days: Sequence[int]) -> np.ndarray:
    """Return how many times as frequent malicious incidents are, an array of shape (clusters, days)."""
    factors = np.ones((load.clusters, len(days)))
    for drift in load.drifts:
        if drift.kind == "attacks":
            holds = [[drift.holds(cluster, day) for day in days] for cluster in range(load.clusters)]
            factors = np.where(np.array(holds, dtype=bool), factors * drift.factor, factors)
    return factors


def make_moves(episode: Episode, variant: str, stretch: float, rng: np.random.Generator) -> tuple[Move, ...]:
    """Return the moves of an incident in a variant, stretched."""
    pace = stretch
    if variant == "slower":
        length = max(start + session.duration_us for start, session in zip(episode.starts_us, episode.sessions, strict=True)) * stretch
        pace = stretch * max(1.0, min(float(rng.choice(_SLOWER)), _LONGEST_US / max(length, 1)))
    moves: list[Move] = []
    for place, (session, start) in enumerate(zip(episode.sessions, episode.starts_us, strict=True)):
        offsets = np.round(session.offsets_us * pace).astype(np.int64)
        start_us = round(start * pace)
        numbers = np.arange(session.n_events)
        if variant == "split" and session.n_events >= _SMALLEST_SPLIT:
            ways = int(rng.integers(2, 5))
            for way in range(ways):
                mine = (numbers // _BLOCK) % ways == way
                if mine.any():
                    moves.append(Move(session, start_us, numbers[mine], offsets[mine], f"{place}/{way}"))
        else:
            moves.append(Move(session, start_us, numbers, offsets, "partner" if variant == "mixed" and place == 0 else ""))
    return tuple(moves)


def count_sessions(moves: Sequence[Move], splitting: Splitting) -> int:
    """Return how many sessions the moves make, each actor and source on its own."""
    times: dict[tuple[object, ...], list[np.ndarray]] = defaultdict(list)
    for move in moves:
        times[move.template.lane, move.source].append(move.start_us + move.offsets_us)
    return sum(len(splitting.cuts(np.sort(np.concatenate(parts)))) for parts in times.values())


def _draw(
    library: Library, kind: str, wanted: float, mixture: Mixture, rng: np.random.Generator
) -> list[tuple[Episode, str, tuple[Move, ...], Template | None]]:
    """Draw incidents until their sessions are as near to `wanted` as they get; every template is used before one is used again."""
    episodes = [episode for episode in library.episodes if episode.kind == kind]
    if wanted > 0 and not episodes:
        raise InputError(f"the recording has no {kind} incident for span '{library.span}'", "give labels, fewer spans, or a share of 0")
    variants = mixture.variants if kind == "malicious" else {"recorded": 1.0}
    names, weights = list(variants), np.array(list(variants.values()), dtype=float)
    drawn: list[tuple[Episode, str, tuple[Move, ...], Template | None]] = []
    have, misses = 0, 0
    deck: list[int] = []
    while have < wanted and misses < len(episodes):
        deck = deck or rng.permutation(len(episodes)).tolist()
        episode = episodes[deck.pop()]
        variant = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        partner = _partner(episode, library, rng) if variant == "mixed" else None
        if variant == "mixed" and partner is None:
            variant = "recorded"
        moves = make_moves(episode, variant, mixture.stretch, rng)
        sessions = count_sessions(moves, mixture.splitting)
        if abs(have + sessions - wanted) < abs(have - wanted):
            drawn.append((episode, variant, moves, partner))
            have, misses = have + sessions, 0
        else:
            misses += 1
    return drawn


def _partner(episode: Episode, library: Library, rng: np.random.Generator) -> Template | None:
    """Return a benign session of the same actor, from wherever it usually comes."""
    lane = episode.sessions[0].lane
    found = [template for other, templates in library.benign.items()
             if lane.user and (other.user, other.impersonated) == (lane.user, lane.impersonated) for template in templates]
    return found[int(rng.integers(len(found)))] if found else None
