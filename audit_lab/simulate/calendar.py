"""When things happen: days, spans, working hours, weekends, deploy days, and the drifts that are planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from audit_lab.errors import InputError

DAY_US = 86_400_000_000
# Share of people's work per hour of a day: two halves around lunch, little before eight and after seven in the evening.
_WORK = np.array([0.2, 0.1, 0.1, 0.1, 0.1, 0.2, 0.5, 2, 6, 10, 11, 10, 5, 8, 10, 11, 10, 8, 4, 2, 1, 0.6, 0.4, 0.3])
WORKING_HOURS = _WORK / _WORK.sum()
WEEKEND = {"people": 0.08, "machine": 0.9}   # activity relative to a working day
DEPLOY_WEEKDAYS = (1, 3)                      # Tuesday and Thursday
DEPLOYS = {True: 3.0, False: 0.6}             # sessions that write workloads, on deploy days and on others
SPANS = {"learn": 0.5, "calibrate": 0.25, "test": 0.25}
PLANTED_BY_DEFAULT = ("new_team", "new_client", "new_operator", "volume", "new_key")
DRIFT_KINDS = (*PLANTED_BY_DEFAULT, "attacks")


@dataclass(frozen=True)
class Drift:
    """One planted change. It takes effect at 00:00 UTC of day number `day` (from 0) and stays.

    kind
        new_team: a further team works in the cluster · new_client: `share` of the people change to client `agent` ·
        new_operator: an operator acts that was not there before · volume: one machine actor does `factor` times as much ·
        new_key: every record gets the top-level key `key` · attacks: malicious incidents are `factor` times as frequent (their number in
        all stays what the prevalence makes it).
    cluster
        Number of the cluster, from 0; None for all.
    """

    kind: str
    day: int
    cluster: int | None = None
    share: float = 0.5
    agent: str = "k9s/v0.50.9"
    factor: float = 4.0
    key: str = "providerTrace"

    def __post_init__(self) -> None:
        if self.kind not in DRIFT_KINDS:
            raise InputError(f"no drift '{self.kind}'", f"one of: {', '.join(DRIFT_KINDS)}")

    def holds(self, cluster: int, day: int) -> bool:
        """Tell whether the change is in effect."""
        return day >= self.day and self.cluster in (None, cluster)


def default_drifts(days: int, clusters: int) -> tuple[Drift, ...]:
    """Return one drift of each kind, spread over the second half of a simulation of at least ten days; none in a shorter one.

    >>> [(drift.kind, drift.day) for drift in default_drifts(30, 1)]
    [('new_team', 15), ('new_client', 18), ('new_operator', 21), ('volume', 24), ('new_key', 27)]
    """
    if days < 10:
        return ()
    when = zip(PLANTED_BY_DEFAULT, (0.5, 0.6, 0.7, 0.8, 0.9), strict=True)
    return tuple(Drift(kind, round(days * share), number % clusters) for number, (kind, share) in enumerate(when))


@dataclass(frozen=True)
class Calendar:
    """The days of a simulation and the span each belongs to."""

    first_day: date
    span_names: tuple[str, ...]
    span_of_day: tuple[int, ...]

    @property
    def days(self) -> int:
        """Number of days."""
        return len(self.span_of_day)

    def start_us(self, day: int) -> int:
        """Return 00:00 UTC of a day, microseconds since 1970."""
        moment = datetime(self.first_day.year, self.first_day.month, self.first_day.day, tzinfo=UTC) + timedelta(days=day)
        return int(moment.timestamp()) * 1_000_000

    def is_weekend(self, day: int) -> bool:
        """Tell whether a day is a Saturday or Sunday."""
        return self._weekday(day) >= 5

    def is_deploy_day(self, day: int) -> bool:
        """Tell whether teams deploy on a day."""
        return self._weekday(day) in DEPLOY_WEEKDAYS

    def factor(self, *, people: bool, deploys: bool, day: int) -> float:
        """Return the activity of a kind of session on a day, relative to a working day."""
        usual = WEEKEND["people" if people else "machine"] if self.is_weekend(day) else 1.0
        return usual * (DEPLOYS[self.is_deploy_day(day)] if deploys else 1.0)

    def span_days(self, number: int) -> tuple[int, int]:
        """Return first and last day of a span."""
        inside = [day for day, span in enumerate(self.span_of_day) if span == number]
        return inside[0], inside[-1]

    def _weekday(self, day: int) -> int:
        return (self.first_day + timedelta(days=day)).weekday()


def make_calendar(start: str | date, days: int, spans: Mapping[str, float] | Sequence[tuple[str, float]] | None) -> Calendar:
    """Return the calendar: whole days, each in one span, spans in order with about their share of the days.

    Raises
    ------
    InputError
        When the date is none, or there are more spans than days.
    """
    try:
        first = start if isinstance(start, date) else date.fromisoformat(start)
    except ValueError:
        raise InputError(f"no date '{start}'", "write it as 2027-01-04") from None
    given = list(spans.items() if isinstance(spans, Mapping) else spans or ())
    if not given:
        given = list(SPANS.items()) if days >= len(SPANS) else [("all", 1.0)]
    if len(given) > days or any(share <= 0 for _, share in given) or len({name for name, _ in given}) < len(given):
        raise InputError(f"{len(given)} spans do not fit into {days} days", "each span needs a name, a share above 0 and at least one day")
    total = sum(share for _, share in given)
    ends = np.round(np.cumsum([share / total for _, share in given]) * days).astype(int)
    for number in range(len(given)):  # at least one day each, and as many left for those that follow
        ends[number] = min(max(ends[number], (ends[number - 1] if number else 0) + 1), days - (len(given) - 1 - number))
    span_of_day = tuple(int(np.searchsorted(ends, day, "right")) for day in range(days))
    return Calendar(first, tuple(name for name, _ in given), span_of_day)
