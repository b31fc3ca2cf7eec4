"""Turn staged sessions into lines of audit log, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from audit_lab.simulate.aliases import json_text
from audit_lab.simulate.compile import Compiled
from audit_lab.simulate.identities import Identities
from audit_lab.simulate.session import Session

_WINDOW_EVENTS = 20_000  # events that are rendered before lines are put in order and handed on: bounds memory


class Renderer:
    """Renders sessions. `compiled` maps template id to compiled template."""

    def __init__(self, compiled: Mapping[str, Compiled], identities: Identities, seed: int, stretch: float) -> None:
        self.compiled, self.identities, self.seed, self.stretch = compiled, identities, seed, stretch

    def lines(self, sessions: Sequence[Session], keys: Sequence[str] = ()) -> Iterator[tuple[list[str], np.ndarray, int]]:
        """Yield (lines, their stage times in µs since 1970, number of events begun) batch by batch; lines are in order of stage time.

        `keys` are top-level keys that every record gets besides its own.
        """
        ordered = sorted(sessions, key=lambda session: (session.start_us, session.number))
        waiting: list[str] = []
        times = np.zeros(0, dtype=np.int64)
        begun: list[Session] = []
        n_events = 0
        for place, session in enumerate(ordered):
            begun.append(session)
            n_events += len(session.events)
            last = place + 1 == len(ordered)
            if not last and n_events < _WINDOW_EVENTS:
                continue
            fresh_times = [times]
            for each in begun:
                lines, moments = self._session(each, keys)
                waiting.extend(lines)
                fresh_times.append(moments)
            times = np.concatenate(fresh_times)
            order = np.argsort(times, kind="stable")
            # Nothing that begins later can come before the next session's start.
            ready = len(order) if last else int(np.searchsorted(times[order], ordered[place + 1].start_us, "left"))
            yield [waiting[number] for number in order[:ready]], times[order[:ready]], n_events
            waiting, times = [waiting[number] for number in order[ready:]], times[order[ready:]]
            begun, n_events = [], 0

    def _session(self, session: Session, keys: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """Return the lines of a session and their stage times."""
        compiled = self.compiled[session.template.template_id]
        event_of_row = session.template.event_of_row
        n_all = session.template.n_events
        requested = np.full(n_all, session.start_us, dtype=np.int64)
        requested[session.events] += session.offsets_us
        staged = requested[event_of_row] + compiled.latency_us
        chosen: Sequence[int] = range(len(event_of_row))
        ids = session.audit_ids(self.seed)
        if len(session.events) < n_all:
            inside = np.isin(event_of_row, session.events)
            chosen = np.flatnonzero(inside).tolist()
            every = [""] * n_all
            for number, audit_id in zip(session.events.tolist(), ids, strict=True):
                every[number] = audit_id
            ids = every
        table = [
            *compiled.literals, *ids, *_moments(requested), *_moments(staged),
            *self._body_times(compiled, session.start_us), *self._names(compiled, session),
        ]
        fetch = table.__getitem__
        tail = "".join(f',"{json_text(key)}":true' for key in keys)
        codes = compiled.codes
        if tail:
            lines = [f"{''.join(map(fetch, codes[row]))[:-1]}{tail}}}" for row in chosen]
        else:
            lines = ["".join(map(fetch, codes[row])) for row in chosen]
        return lines, staged[chosen] if len(chosen) < len(staged) else staged

    def _body_times(self, compiled: Compiled, start_us: int) -> list[str]:
        if not compiled.times:
            return []
        offsets = np.array([offset for offset, _ in compiled.times])
        texts = _moments(start_us + np.round(offsets * self.stretch).astype(np.int64))
        return [_with_digits(text, digits) for text, (_, digits) in zip(texts, compiled.times, strict=True)]

    def _names(self, compiled: Compiled, session: Session) -> list[str]:
        names = session.names
        values = [names[slot] for slot in compiled.identities]
        if session.agent is None and session.source_slot is None:
            return values
        for place, number in enumerate(compiled.identities):
            slot = self.identities.slots[number]
            if session.agent is not None and slot.kind == "agent":
                values[place] = json_text(session.agent)
            elif session.source_slot is not None and slot == ("ip", session.source_slot[0]):
                values[place] = session.source_slot[1]
        return values


def _moments(times: np.ndarray) -> list[str]:
    texts: list[str] = np.datetime_as_string(times.view("M8[us]"), unit="us", timezone="UTC").tolist()
    return texts


def _with_digits(text: str, digits: int) -> str:
    """Return a time of six digits with as many as the record had.

    >>> _with_digits("2026-01-01T00:00:00.123456Z", 0)
    '2026-01-01T00:00:00Z'
    """
    return f"{text[:19]}Z" if not digits else f"{text[: 20 + min(digits, 6)].ljust(20 + digits, '0')}Z"
