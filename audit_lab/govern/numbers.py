"""How numbers, times and rates are written for a reader. Unknown is a word, never 0 (law 8)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

UNKNOWN = "–"
_MINUTE = 60
_HOUR = 3600
_DAY = 86_400


def count(value: float | None) -> str:
    """Return a whole number with separators.

    >>> count(132949), count(None)
    ('132,949', '–')
    """
    return UNKNOWN if value is None else f"{round(value):,}"


def percent(value: float | None) -> str:
    """Return a share as percent, with as many digits as a reader can use.

    >>> percent(0.0123), percent(0.5), percent(0), percent(0.00041)
    ('1.2 %', '50 %', '0 %', '0.041 %')
    >>> percent(0.929), percent(0.9991)
    ('93 %', '99.9 %')
    """
    if value is None:
        return UNKNOWN
    scaled = 100 * value
    if scaled == 0 or scaled >= 99.95:
        return f"{scaled:.0f} %"
    digits = 0 if 10 <= scaled <= 99 else 1 if scaled >= 0.1 else 3
    return f"{scaled:.{digits}f} %"


def score(value: float | None) -> str:
    """Return a score of 0–1 with two digits."""
    return UNKNOWN if value is None else f"{value:.2f}"


def rate(value: Any) -> Rate:
    """Return anything that states a rate (a mapping of value, low, high, n, reason; a number; None) as a `Rate`."""
    return Rate(value)


class Rate:
    """A rate as the report writes it: value, interval, denominator, or why there is none."""

    def __init__(self, given: Any) -> None:
        fields: Mapping[str, Any] = given if isinstance(given, Mapping) else {"value": given}
        self.value: float | None = fields.get("value")
        self.low: float | None = fields.get("low")
        self.high: float | None = fields.get("high")
        self.n: int | None = fields.get("n")
        self.reason: str = str(fields.get("reason") or "")

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return self.low is not None and self.high is not None

    def __str__(self) -> str:
        return percent(self.value)

    @property
    def interval(self) -> str:
        """The interval, e.g. '0.5–1.6 %', that no line break splits; '' where there is none."""
        if not self.has_interval:
            return ""
        return f"{percent(self.low).removesuffix(' %')}–{percent(self.high)}".replace(" ", "\u00a0")


def size(n_bytes: float | None) -> str:
    """Return bytes for a reader.

    >>> size(4_300_000)
    '4.1 MiB'
    """
    if n_bytes is None:
        return UNKNOWN
    value = float(n_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return UNKNOWN


def duration(seconds: float | None) -> str:
    """Return seconds for a reader.

    >>> duration(0.42), duration(75), duration(7260)
    ('0.4 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def clock(moment: datetime | None, with_date: bool = True, with_fraction: bool = False) -> str:
    """Return a time (UTC) as `2026-11-23 05:34:27`, or its time of day alone."""
    if moment is None:
        return UNKNOWN
    text = moment.strftime("%Y-%m-%d %H:%M:%S" if with_date else "%H:%M:%S")
    return f"{text}.{moment.microsecond // 1000:03d}" if with_fraction else text


def money(usd: float | None) -> str:
    """Return US dollars; small sums keep their digits."""
    if usd is None:
        return UNKNOWN
    return f"${usd:,.2f}" if usd == 0 or usd >= 0.1 else f"${usd:.4f}"
