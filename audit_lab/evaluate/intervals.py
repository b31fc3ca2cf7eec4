"""Rates with intervals: Wilson and exact ones for independent counts, a bootstrap over actors for sessions.

Sessions of one actor are alike, so they are no independent trials: resampling sessions would promise more than the
data hold. Resampling whole actors keeps that dependence (Davison & Hinkley 1997, section 3.8; Field & Welsh 2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

# Below this share of resamples in which a figure exists, its percentiles would speak of the lucky ones only.
MIN_DEFINED = 0.5


@dataclass(frozen=True)
class Rate:
    """A figure, its interval and its denominator; `reason` says why a part of it is null.

    >>> Rate(0.5, 0.2, 0.8, 10).as_dict()
    {'value': 0.5, 'low': 0.2, 'high': 0.8, 'n': 10}
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object; the key `reason` is there only when something is null."""
        values: dict[str, Any] = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        return values | {"reason": self.reason} if self.reason else values


def wilson(successes: int, n: int, confidence: float = 0.95, unit: str = "cases") -> Rate:
    """Return a rate with its Wilson score interval (Wilson 1927; Brown, Cai & DasGupta 2001), for independent units.

    >>> rate = wilson(9, 10)
    >>> round(rate.low, 4), round(rate.high, 4)
    (0.5958, 0.9821)
    """
    if n == 0:
        return Rate(None, None, None, 0, f"no {unit}")
    z = float(scipy.stats.norm.ppf(0.5 + confidence / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Rate(share, low, high, n)


def exact(successes: int, n: int, confidence: float = 0.95, unit: str = "cases") -> Rate:
    """Return a rate with its exact interval (Clopper & Pearson 1934): never less than the stated coverage.

    >>> rate = exact(0, 10)
    >>> round(rate.low, 4), round(rate.high, 4)
    (0.0, 0.3085)
    """
    if n == 0:
        return Rate(None, None, None, 0, f"no {unit}")
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(scipy.stats.beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(scipy.stats.beta.ppf(1 - tail, successes + 1, n - successes))
    return Rate(successes / n, low, high, n)


@dataclass(frozen=True)
class ActorBootstrap:
    """How often each actor is drawn in each resample; made once, so that all figures share their resamples.

    `codes` gives the actor of each session, from 0; `weights` has one row per resample and one column per actor.
    """

    codes: np.ndarray
    weights: np.ndarray
    confidence: float = 0.95

    @property
    def n_actors(self) -> int:
        """Number of actors."""
        return int(self.weights.shape[1])

    def per_actor(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of `values` (one per session) for each actor."""
        return np.bincount(self.codes, weights=values.astype(float), minlength=self.n_actors)

    def rate(self, hits: np.ndarray, among: np.ndarray, unit: str = "sessions") -> Rate:
        """Return the share of `hits` among the sessions of `among`, with a percentile interval over actors.

        Parameters
        ----------
        hits, among
            One boolean per session; hits outside `among` do not count.
        unit
            What is counted, for the reason when there is none.
        """
        return self.ratio((hits & among).astype(float), among.astype(float), unit)

    def ratio(self, part: np.ndarray, whole: np.ndarray, unit: str = "events") -> Rate:
        """Return the sum of `part` over that of `whole` (counts per session), with a percentile interval over actors.

        n is the sum of `whole`. Where the ratio is 0 or 1 every resample says the same and the bootstrap would claim certainty: there
        the exact interval over the actors that have any of `whole` is given instead.
        """
        n = int(whole.sum())
        if n == 0:
            return Rate(None, None, None, 0, f"no {unit}")
        sums = np.column_stack([self.per_actor(part), self.per_actor(whole)])
        value = float(sums[:, 0].sum() / n)
        actors = int((sums[:, 1] > 0).sum())
        if actors < 2:
            return Rate(value, None, None, n, f"all {unit} come from one actor: no interval over actors")
        if value in (0.0, 1.0):
            bound = exact(actors if value else 0, actors, self.confidence)
            return Rate(value, bound.low, bound.high, n)
        # Sums below 16 million are exact in single precision; beyond it the error is far below an interval's width.
        drawn = (self.weights @ sums.astype(np.float32)).astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.interval(value, drawn[:, 0] / drawn[:, 1], n)

    def interval(self, value: float, resampled: np.ndarray, n: int) -> Rate:
        """Return `value` with the percentiles of its resampled figures (nan = did not exist in that resample)."""
        defined = resampled[np.isfinite(resampled)]
        if defined.size < MIN_DEFINED * resampled.size:
            return Rate(value, None, None, n, "too few actors: the figure does not exist in most resamples")
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(defined, [tail, 1 - tail])
        return Rate(value, min(float(low), value), max(float(high), value), n)


def bootstrap_actors(actors: np.ndarray, resamples: int = 1000, confidence: float = 0.95, seed: int = 7) -> ActorBootstrap:
    """Draw `resamples` resamples of whole actors.

    Parameters
    ----------
    actors
        Actor of each session (any values; equal means same actor).
    resamples, confidence, seed
        Number of resamples, confidence of the intervals, seed of the draw.

    Returns
    -------
    ActorBootstrap; the same arguments give the same resamples.

    >>> draw = bootstrap_actors(np.array(["a", "a", "b"]), resamples=100)
    >>> draw.weights.shape, bool((draw.weights.sum(axis=1) == 2).all())
    ((100, 2), True)
    """
    _, codes = np.unique(actors, return_inverse=True)
    n_actors = int(codes.max()) + 1 if codes.size else 0
    generator = np.random.default_rng(seed)
    if n_actors == 0:
        return ActorBootstrap(codes, np.zeros((resamples, 0), dtype=np.float32), confidence)
    weights = np.empty((resamples, n_actors), dtype=np.float32)
    for row in weights:  # drawing and counting is ten times faster than numpy's multinomial with many actors
        row[:] = np.bincount(generator.integers(0, n_actors, n_actors), minlength=n_actors)
    return ActorBootstrap(codes, weights, confidence)
