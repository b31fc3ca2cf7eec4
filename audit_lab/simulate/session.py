"""A simulated session: which events of which template, in whose name, at which times."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from audit_lab.simulate.aliases import uuid
from audit_lab.simulate.incidents import PlannedIncident
from audit_lab.simulate.templates import Template


@dataclass
class Session:
    """One session that will be rendered: some events of a template, at their times."""

    template: Template
    cluster: int
    team: int
    day: int
    number: int              # within the cluster and day: its audit IDs follow from it
    start_us: int            # microseconds since 1970
    events: np.ndarray       # numbers of the template's events
    offsets_us: np.ndarray   # per event, microseconds after the start
    names: dict[int, str]    # slot -> value
    actor: str
    source: str
    source_slot: tuple[str, str] | None = None  # (recorded, new) address where the session comes from elsewhere
    agent: str | None = None                    # client that takes the place of all recorded ones
    incident: PlannedIncident | None = None

    @property
    def end_us(self) -> int:
        """Time of the last event."""
        return self.start_us + int(self.offsets_us[-1])

    @property
    def seat(self) -> tuple[str, str]:
        """Actor and source: what sessions are told apart by."""
        return self.actor, self.source

    def audit_ids(self, seed: int) -> list[str]:
        """Return one audit ID per event: a stream of hash output, so that any part of a simulation can be made alone."""
        raw = self._raw(seed)
        return [uuid(raw[place : place + 16]) for place in range(0, len(raw), 16)]

    def first_and_last_audit_id(self, seed: int) -> tuple[str, str]:
        """Return the first and the last of `audit_ids`."""
        raw = self._raw(seed)
        return uuid(raw[:16]), uuid(raw[-16:])

    def _raw(self, seed: int) -> bytes:
        return hashlib.shake_128(f"{seed}/{self.cluster}/{self.day}/{self.number}".encode()).digest(16 * len(self.events))
