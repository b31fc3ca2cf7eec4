"""How far two rows of counts are from each other, and how far apart chance alone would put them.

Every function takes many pairs at once (one row of `old` and `new` per pair): the exchange test asks for thousands. Counts are all
they need, so what was counted partition by partition is added up and compared as if it had been counted at once (law 10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# Two rows of counts per pair in, one distance per pair out.
Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Half a case more everywhere: a value that one side lacks is rare, not impossible.
HALF = 0.5
# Equal distances may differ in their last digit, depending on the order of a sum.
TIE = 1e-12
# Dealings made at first, and how many of them must differ as much for chance to be plain.
FIRST = 999
ENOUGH = 50


class Exchange(NamedTuple):
    """Blocks of time dealt out to two periods.

    `current` tells for each block whether it belongs to the current period; `dealt` (draws × blocks, 0 or 1) which blocks are the
    current period in each random dealing.
    """

    current: np.ndarray
    dealt: np.ndarray


def deal_blocks(current: np.ndarray, strata: Sequence[object], rounds: int, seed: int) -> Exchange:
    """Deal blocks out at random, within strata: a weekend day changes places with weekend days only.

    Parameters
    ----------
    current
        One flag per block: it lies in the current period.
    strata
        One value per block; blocks are exchanged only where it is the same, so each dealing has as many of each as the real one.
    rounds, seed
        Number of dealings, and their seed.

    >>> deal_blocks(np.array([False, True, False, True]), ["a", "a", "b", "b"], 3, 7).dealt.sum(axis=1).tolist()
    [2.0, 2.0, 2.0]
    """
    current = np.asarray(current, dtype=bool)
    generator = np.random.default_rng(seed)
    dealt = np.zeros((rounds, current.size))
    names = {name: place for place, name in enumerate(dict.fromkeys(strata))}
    codes = np.array([names[name] for name in strata], dtype=np.int64)
    for code in range(len(names)):
        places = np.flatnonzero(codes == code)
        order = generator.random((rounds, places.size)).argsort(axis=1)
        dealt[:, places] = order < int(current[places].sum())
    return Exchange(current, dealt)


def exchange_test(counts: np.ndarray, exchange: Exchange, statistic: Statistic) -> float:
    """Return the p-value of a difference between two periods: the share of dealings that differ as much.

    Most differences are plainly chance: where fifty of the first thousand dealings differ as much, no more are made (Besag & Clifford
    1991).

    Parameters
    ----------
    counts
        Blocks × places (or blocks × dimensions of summed vectors).
    exchange
        The blocks of `counts`, dealt out.
    statistic
        Distance of two rows; larger is further.
    """
    observed = statistic(counts[~exchange.current].sum(axis=0)[None, :], counts[exchange.current].sum(axis=0)[None, :])[0]
    extreme = done = 0
    for dealt in (exchange.dealt[:FIRST], exchange.dealt[FIRST:]):
        drawn = _dealt_out(counts, dealt, statistic)
        extreme, done = extreme + int((drawn >= observed - TIE).sum()), done + drawn.size
        if extreme >= ENOUGH:
            break
    return (1 + extreme) / (1 + done)


def by_chance(counts: np.ndarray, exchange: Exchange, statistic: Statistic) -> float:
    """Return the distance that chance between blocks gives: the median over dealings."""
    drawn = _dealt_out(counts, exchange.dealt[:FIRST], statistic)
    return float(np.median(drawn)) if drawn.size else 0.0


def _dealt_out(counts: np.ndarray, dealt: np.ndarray, statistic: Statistic) -> np.ndarray:
    new = dealt @ counts
    drawn = statistic(counts.sum(axis=0) - new, new)
    return drawn[np.isfinite(drawn)]


def population_stability(reference: np.ndarray, current: np.ndarray) -> float:
    """Return the population stability index of two rows of counts; half a case is added everywhere so that empty bins have one.

    >>> round(population_stability(np.array([50, 50]), np.array([50, 50])), 6)
    0.0
    """
    return float(stability_rows(np.asarray(reference)[None, :], np.asarray(current)[None, :])[0])


def stability_rows(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the population stability index of each pair of rows: Σ (p′ − p) ln(p′ / p)."""
    first = (old + HALF) / (old + HALF).sum(axis=1, keepdims=True)
    second = (new + HALF) / (new + HALF).sum(axis=1, keepdims=True)
    return np.asarray(((second - first) * np.log(second / first)).sum(axis=1))


def jensen_shannon(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the Jensen–Shannon distance (root of the divergence, base 2, 0–1) of each pair of rows; nan where a row is empty."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = old / old.sum(axis=1, keepdims=True), new / new.sum(axis=1, keepdims=True)
        middle = (first + second) / 2
        divergence = [np.where(part > 0, part * np.log2(part / middle), 0.0).sum(axis=1) for part in (first, second)]
        empty = (old.sum(axis=1) == 0) | (new.sum(axis=1) == 0)
    return np.where(empty, np.nan, np.sqrt(np.clip((divergence[0] + divergence[1]) / 2, 0, None)))


def wasserstein_rows(widths: np.ndarray) -> Statistic:
    """Return the Wasserstein distance of ordered places that lie `widths` apart (the last width is not used)."""

    def distance(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = (old / old.sum(axis=1, keepdims=True)).cumsum(axis=1) - (new / new.sum(axis=1, keepdims=True)).cumsum(axis=1)
        return np.asarray((np.abs(gap[:, : widths.size]) * widths).sum(axis=1))

    return distance


def log_ratio(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the absolute natural logarithm of the ratio of two rates; a row is (count, exposure): hits and sessions, events and days.

    >>> round(float(np.exp(log_ratio(np.array([[99.5, 10.0]]), np.array([[199.5, 10.0]]))[0])), 6)
    2.0
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = [(part[:, 0] + HALF) / part[:, 1] for part in (old, new)]
        return np.asarray(np.abs(np.log(rates[1] / rates[0])))


def rate_deviance(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return how badly one common rate explains two (rows as in `log_ratio`): twice the Poisson log-likelihood ratio.

    Unlike the ratio it knows that no hit in a week is nothing where hits are rare.

    >>> rate_deviance(np.array([[10.0, 100.0], [2.0, 100.0]]), np.array([[0.0, 25.0], [8.0, 25.0]])).round(2).tolist()
    [4.46, 16.64]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        common = (old[:, 0] + new[:, 0]) / (old[:, 1] + new[:, 1])
        parts = [np.where(side[:, 0] > 0, side[:, 0] * np.log(side[:, 0] / (side[:, 1] * common)), 0.0) for side in (old, new)]
    return np.asarray(2 * (parts[0] + parts[1]))


def mean_shift(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return how far the mean of unit vectors moved, in standard deviations of the old ones.

    The last column of each row is the number of vectors, the others their sum. For vectors of length 1 the total variance is
    1 − |mean|², so sums are all that is needed. The Wasserstein distance of the two clouds is never smaller than this.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = old[:, :-1] / old[:, -1:], new[:, :-1] / new[:, -1:]
        spread = np.sqrt(np.clip(1 - (first**2).sum(axis=1), TIE, None))
        return np.asarray(np.linalg.norm(second - first, axis=1) / spread)


def cosine_distance(old: np.ndarray, new: np.ndarray) -> float:
    """Return the cosine distance of two sums of vectors (rows as in `mean_shift`)."""
    first, second = old[:-1], new[:-1]
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(1 - first @ second / lengths) if lengths else 0.0


def likeliest_change(counts: np.ndarray, strata: Sequence[object], exposure: np.ndarray | None = None) -> int:
    """Return the block (from 1) from which on counts are best explained by other shares than before.

    Parameters
    ----------
    counts
        Blocks in order of time × places.
    strata
        As in `deal_blocks`: weekdays are compared with weekdays.
    exposure
        Per block: then rates (counts per exposure, Poisson) are looked at instead of shares of places.
    """
    gains = np.zeros(counts.shape[0])
    for name in dict.fromkeys(strata):
        inside = np.array([other == name for other in strata])[:, None]
        part = np.where(inside, counts, 0.0)
        size = part.sum(axis=1, keepdims=True) if exposure is None else np.where(inside, exposure[:, None], 0.0)
        left, left_size = part.cumsum(axis=0), size.cumsum(axis=0)
        gains += _likelihood(left, left_size) + _likelihood(left[-1] - left, left_size[-1] - left_size)
    return int(gains[:-1].argmax()) + 1


def _likelihood(counts: np.ndarray, size: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(counts > 0, counts * np.log(counts / np.maximum(size, TIE)), 0.0).sum(axis=1))


def likeliest_shift(sums: np.ndarray) -> int:
    """Return the block (from 1) from which on vectors are best explained by another mean (least squares; rows as in `mean_shift`)."""
    left = sums.cumsum(axis=0)
    right = left[-1] - left
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = [np.nan_to_num((part[:, :-1] ** 2).sum(axis=1) / part[:, -1]) for part in (left, right)]
    return int((gains[0] + gains[1])[:-1].argmax()) + 1
