"""A time axis that leaves out silence: bursts stay readable however long nothing happened between them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

BREAK = 46.0         # width of a break, pixels
MAX_BREAKS = 8
LONG_SILENCE = 0.25  # a silence longer than this share of the time still shown is cut out
LEAST_SILENCE_S = 20.0
LEAST_S = 1.0        # a burst is drawn at least this long, seconds
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600)
_LABEL_APART = 74.0  # pixels between labels


class Axis(NamedTuple):
    """Where times lie: bursts (first and last second since 1970) with their first and last pixel."""

    bursts: tuple[tuple[float, float, float, float], ...]

    def place(self, time: datetime) -> float:
        """Return the pixel of a time; what lies in a break or outside is put at the nearest border."""
        second = time.timestamp()
        for number, (start, end, left, right) in enumerate(self.bursts):
            if second <= end or number == len(self.bursts) - 1:
                share = (min(max(second, start), end) - start) / (end - start)
                return left + share * (right - left)
        return self.bursts[-1][3]

    def labels(self) -> list[tuple[float, str]]:
        """Return pixel and text (UTC) of the marks, none too near the next."""
        found: list[tuple[float, str]] = []
        for start, end, left, right in self.bursts:
            per_s = (right - left) / (end - start)
            step = next((step for step in _STEPS_S if step * per_s >= _LABEL_APART), _STEPS_S[-1])
            mark = -(-start // step) * step
            marks = []
            while mark <= end:
                marks.append(mark)
                mark += step
            for second in marks or [start]:
                pixel = left + (second - start) * per_s
                if not found or pixel - found[-1][0] >= _LABEL_APART * 0.75:
                    found.append((pixel, _clock(second, step)))
        return found

    def breaks(self) -> list[tuple[float, str]]:
        """Return the middle pixel of each break, and how long the silence is."""
        return [((before[3] + after[2]) / 2, duration(after[0] - before[1])) for before, after in pairwise(self.bursts)]


def make_axis(times: Sequence[datetime], left: float, right: float) -> Axis:
    """Lay out an axis over all `times` (at least one) between two pixels.

    >>> day = datetime(2026, 1, 5, tzinfo=UTC)
    >>> axis = make_axis([day, day + timedelta(seconds=10), day + timedelta(hours=5)], 0, 546)
    >>> axis.breaks()[0][1]
    '4 h 59 min'
    """
    seconds = sorted({time.timestamp() for time in times})
    gaps = sorted(((after - before, before) for before, after in pairwise(seconds)), reverse=True)
    shown = seconds[-1] - seconds[0]
    cuts: list[float] = []
    for gap, before in gaps[:MAX_BREAKS]:
        if gap <= max(LONG_SILENCE * shown, LEAST_SILENCE_S):
            break
        cuts.append(before)
        shown -= gap
    starts = [seconds[0], *(min(second for second in seconds if second > cut) for cut in sorted(cuts))]
    ends = [*sorted(cuts), seconds[-1]]
    spans = [(start, max(end, start + LEAST_S)) for start, end in zip(starts, ends, strict=True)]
    room = right - left - BREAK * len(cuts)
    # Half of the room is shared evenly, so that a short burst beside a long one can still be read.
    total = sum(end - start for start, end in spans)
    bursts, pixel = [], left
    for start, end in spans:
        width = room * (0.5 / len(spans) + 0.5 * (end - start) / total)
        bursts.append((start, end, pixel, pixel + width))
        pixel += width + BREAK
    return Axis(tuple(bursts))


def duration(seconds: float) -> str:
    """Return a length of time in the two largest units that matter.

    >>> duration(7384), duration(75), duration(90_000)
    ('2 h 3 min', '1 min 15 s', '1 d 1 h')
    """
    whole = int(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((number for number, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first:first + 2] if count) or "0 s"


def _clock(second: float, step: float) -> str:
    time = datetime.fromtimestamp(0, UTC) + timedelta(seconds=round(second, 3))
    return f"{time:%H:%M}" if step >= 60 else f"{time:%H:%M:%S}" if step >= 1 else f"{time:%H:%M:%S}.{time.microsecond // 100_000}"
