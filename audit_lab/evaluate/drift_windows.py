"""Which blocks of time are compared with which: the periods after the reference, each with what it is like."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from audit_lab.errors import InputError
from audit_lab.evaluate.distances import Exchange, deal_blocks
from audit_lab.profile import DriftSettings


class Window(NamedTuple):
    """A period and what it is compared with: blocks in order of time, which are the period's, and what may change places."""

    period: datetime
    blocks: list[datetime]
    exchange: Exchange
    strata: list[object]
    reference: list[datetime]  # all its blocks, also those that the period has nothing like
    since: list[datetime]      # all blocks from the reference to the period, those between included
    since_strata: list[object]


def windows_of(blocks: list[datetime], settings: DriftSettings, by: str, since: datetime | None = None) -> list[Window]:
    """Return the periods that are compared, in order of time.

    Parameters
    ----------
    blocks
        Blocks with data, in order of time: days where weeks are compared, hours where days are.
    settings
        Length of the reference, weekend, dealings.
    by, since
        As in `drift_periods`.
    """
    lies_in = {block: period_of(block, by) for block in blocks}
    periods = sorted(set(lies_in.values()))
    wanted = settings.reference_weeks if by == "week" else settings.reference_days
    if since is None:
        first = min(wanted, 2 * len(periods) // 3)
    else:
        first = sum(period < period_of(since, by) for period in periods)
        if periods and (first == 0 or first == len(periods)):
            raise InputError(
                f"nothing to compare: no data {'before' if first == 0 else 'from'} {since:%Y-%m-%d} {'' if first == 0 else 'on'}".rstrip(),
                f"the data go from {blocks[0]:%Y-%m-%d} to {blocks[-1]:%Y-%m-%d}; give a date between",
            )
    reference = set(periods[max(0, first - wanted) : first])
    windows = []
    for period in periods[first:] if first else []:
        current = [block for block in blocks if lies_in[block] == period]
        kinds = {_stratum(block, by, settings) for block in current}
        used = [block for block in blocks
                if block in current or (lies_in[block] in reference and _stratum(block, by, settings) in kinds)]
        strata: list[object] = [_stratum(block, by, settings) for block in used]
        mine = np.array([lies_in[block] == period for block in used])
        through = [block for block in blocks if lies_in[block] >= min(reference) and block <= current[-1]]
        windows.append(Window(
            period, used, deal_blocks(mine, strata, settings.rounds, settings.seed), strata,
            [block for block in blocks if lies_in[block] in reference], through, [_stratum(block, by, settings) for block in through],
        ))
    return windows


def period_of(block: datetime, by: str) -> datetime:
    """Return the start of the week (from Monday) or day that a block lies in.

    >>> period_of(datetime(2027, 2, 10, 13), "week")
    datetime.datetime(2027, 2, 8, 0, 0)
    """
    day = block.replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday()) if by == "week" else day


def _stratum(block: datetime, by: str, settings: DriftSettings) -> tuple[bool, int]:
    return block.isoweekday() in settings.weekend, block.hour if by == "day" else 0
