"""Recall and false-positive rate when most labels exist only for what was flagged.

Who looks only at alerts sees no misses: recall among the labelled cases is close to 1 whatever the truth. So some un-flagged
cases are drawn for review with a known probability, more of them where scores are high, and counted with the inverse
of that probability (Horvitz & Thompson 1952). The bounds are exact for the draw: in each stratum the number of malicious cases is
bounded by the hypergeometric distribution, all strata together at the stated confidence (Bonferroni). The population is taken as it
is, the draw alone is random: that sessions of one actor are alike does no harm here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy

from audit_lab.errors import InputError
from audit_lab.evaluate.intervals import Rate

MAX_HALF_WIDTH = 0.20
# Strata of the un-flagged by score, from the top: shares of them. The first ones are where misses are likely.
STRATA = (0.05, 0.15, 0.30, 0.50)


@dataclass(frozen=True)
class AuditEstimate:
    """What audits say about all cases; `needed` is the number of un-flagged audits that would give a recall, None if it is there."""

    recall: Rate
    fpr: Rate
    precision: Rate
    malicious: Rate
    n_cases: int
    n_audited: int
    needed: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {name: value.as_dict() if isinstance(value, Rate) else value for name, value in vars(self).items()}


def plan_audits(cases: pl.DataFrame, budget: int, seed: int = 7, strata: tuple[float, ...] = STRATA) -> pl.DataFrame:
    """Draw un-flagged cases for review, stratified by score.

    Parameters
    ----------
    cases
        Frame with case_id, score and flagged, one row per case of the period, chosen or not.
    budget
        Un-flagged cases to review; shared equally among the strata, so that high scores are drawn with a higher probability.
    seed
        Seed of the draw.
    strata
        Shares of the un-flagged, from the highest score down.

    Returns
    -------
    `cases` in order of case_id with stratum ('flagged', '1', '2' …), sampling_probability (of being reviewed; 1 for flagged) and drawn.
    """
    if budget < 0:
        raise InputError(f"a budget of {budget} audits", "give 0 or more")
    generator = np.random.default_rng(seed)
    ordered = cases.sort("case_id")
    flagged = ordered["flagged"].to_numpy()
    # Ties in score are broken by case_id, which is a hash: as good as chance and the same every time.
    rest = np.flatnonzero(~flagged)
    rest = rest[np.argsort(-ordered["score"].to_numpy()[rest], kind="stable")]
    ends = np.round(np.cumsum(strata) / sum(strata) * rest.size).astype(int)
    members = [rest[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    sizes = _share_out(budget, [part.size for part in members])
    stratum = np.where(flagged, "flagged", "").astype(object)
    probability = np.where(flagged, 1.0, 0.0)
    drawn = flagged.copy()
    for number, (part, size) in enumerate(zip(members, sizes, strict=True), start=1):
        stratum[part] = str(number)
        probability[part] = size / part.size if part.size else 0.0
        drawn[generator.choice(part, size=size, replace=False)] = True
    return ordered.with_columns(
        stratum=pl.Series(stratum.tolist(), dtype=pl.String), sampling_probability=pl.Series(probability), drawn=pl.Series(drawn)
    )


def _share_out(budget: int, sizes: list[int]) -> list[int]:
    """Share a budget equally among strata, what a small one cannot take going to the others."""
    given = [0] * len(sizes)
    left = min(budget, sum(sizes))
    while left:
        open_strata = [number for number, size in enumerate(sizes) if given[number] < size]
        each = max(left // len(open_strata), 1)
        for number in open_strata[:left]:
            extra = min(each, sizes[number] - given[number])
            given[number] += extra
            left -= extra
    return given


def estimate_from_audits(cases: pl.DataFrame, confidence: float = 0.95, max_half_width: float = MAX_HALF_WIDTH) -> AuditEstimate:
    """Estimate recall, false-positive rate and precision over all cases from those that were reviewed.

    Parameters
    ----------
    cases
        Frame, one row per case of the period: flagged (bool), sampling_probability (of being reviewed, as recorded when it was
        drawn; null or 0 for cases that could not be drawn), malicious (bool; null = not reviewed). `stratum` where
        there is one; else cases with equal flag and probability form a stratum, and must have been drawn alike.
    confidence
        Confidence of the bounds, all together.
    max_half_width
        Widest half interval with which a value is still given.

    Returns
    -------
    AuditEstimate. A rate whose bounds are wider is null, with its bounds, the reason and the audits that would be needed.

    Raises
    ------
    InputError
        When a reviewed un-flagged case has no sampling probability: it was found by other ways and says nothing about the rest.
    """
    stray = cases.filter(pl.col("malicious").is_not_null() & ~pl.col("flagged") & ~(pl.col("sampling_probability").fill_null(0.0) > 0))
    if stray.height:
        raise InputError(
            f"{stray.height} reviewed un-flagged cases have no sampling probability",
            "leave out labels that did not come from a recorded draw",
        )
    group = ["flagged", "stratum"] if "stratum" in cases.columns else ["flagged", "sampling_probability"]
    strata = (
        cases.group_by(group).agg(
            size=pl.len(), audited=pl.col("malicious").count(), found=pl.col("malicious").sum()
        ).sort(group, nulls_last=True)
    )
    table = _Strata(
        flagged=strata["flagged"].to_numpy(), size=strata["size"].to_numpy().astype(np.int64),
        audited=strata["audited"].to_numpy().astype(np.int64), found=strata["found"].to_numpy().astype(np.int64),
    )
    bounds = _positives(table, confidence)
    figures = _rates(table, bounds)
    n_audited = int(table.audited[~table.flagged].sum())
    needed = None if figures["recall"].half_width <= max_half_width else _needed(table, confidence, max_half_width)
    rates = {name: figure.rate(max_half_width, needed if name == "recall" else None) for name, figure in figures.items()}
    return AuditEstimate(**rates, n_cases=int(table.size.sum()), n_audited=n_audited, needed=needed)


@dataclass(frozen=True)
class _Strata:
    flagged: np.ndarray
    size: np.ndarray
    audited: np.ndarray
    found: np.ndarray

    @property
    def estimate(self) -> np.ndarray:
        """Malicious cases per stratum: reviewed ones weighted with the inverse of the share that was reviewed."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.audited > 0, self.found * self.size / np.maximum(self.audited, 1), 0.0)


@dataclass(frozen=True)
class _Figure:
    value: float | None
    low: float
    high: float
    n: int
    nothing: str

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def rate(self, limit: float, needed: int | None) -> Rate:
        if self.value is None:
            return Rate(None, None, None, self.n, self.nothing)
        if self.half_width > limit:
            more = f", about {needed} audits of un-flagged cases are needed" if needed is not None else ""
            return Rate(None, self.low, self.high, self.n, (
                f"bounds {self.low:.2f} to {self.high:.2f} are wider than ±{limit * 100:.0f} points{more}"
            ))
        return Rate(min(max(self.value, self.low), self.high), self.low, self.high, self.n)


def hypergeometric_bounds(size: int, drawn: int, found: int, alpha: float) -> tuple[int, int]:
    """Return the smallest and largest number of malicious cases among `size` that `found` in `drawn` do not contradict.

    Each end is wrong with probability at most alpha / 2 (inversion of the exact test, as Clopper–Pearson without replacement).

    >>> hypergeometric_bounds(100, 20, 0, 0.05)
    (0, 15)
    """
    if drawn == size:
        return found, found
    if drawn == 0:
        return 0, size
    low, high = found, size - (drawn - found)
    # P(X >= found | K) rises with K, P(X <= found | K) falls: two binary searches.
    bottom, top = low, high
    while bottom < top:
        middle = (bottom + top) // 2
        if scipy.stats.hypergeom.sf(found - 1, size, middle, drawn) > alpha / 2:
            top = middle
        else:
            bottom = middle + 1
    lowest = bottom
    bottom, top = low, high
    while bottom < top:
        middle = (bottom + top + 1) // 2
        if scipy.stats.hypergeom.cdf(found, size, middle, drawn) > alpha / 2:
            bottom = middle
        else:
            top = middle - 1
    return lowest, bottom


def _positives(strata: _Strata, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    open_strata = int((strata.audited < strata.size).sum())
    alpha = (1 - confidence) / max(open_strata, 1)
    ends = [hypergeometric_bounds(int(size), int(drawn), int(found), alpha)
            for size, drawn, found in zip(strata.size, strata.audited, strata.found, strict=True)]
    return np.array([end[0] for end in ends], dtype=float), np.array([end[1] for end in ends], dtype=float)


def _rates(strata: _Strata, bounds: tuple[np.ndarray, np.ndarray]) -> dict[str, _Figure]:
    low, high = bounds
    above, below = strata.flagged, ~strata.flagged
    n, n_flagged = float(strata.size.sum()), float(strata.size[above].sum())
    hit, missed = float(strata.estimate[above].sum()), float(strata.estimate[below].sum())
    hit_low, hit_high = float(low[above].sum()), float(high[above].sum())
    missed_low, missed_high = float(low[below].sum()), float(high[below].sum())

    def share(part: float, whole: float, otherwise: float = 0.0) -> float:
        return part / whole if whole > 0 else otherwise

    known = bool((strata.audited > 0).any())
    nobody = "no case was reviewed"
    # The rate of false alerts falls with malicious flagged cases and rises with malicious un-flagged ones.
    return {
        "recall": _Figure(
            share(hit, hit + missed) if hit + missed > 0 and known else None, share(hit_low, hit_low + missed_high),
            share(hit_high, hit_high + missed_low, 1.0), int(strata.audited.sum()), nobody if not known else "no malicious case was found"),
        "fpr": _Figure(
            share(n_flagged - hit, n - hit - missed) if known else None, share(n_flagged - hit_high, n - hit_high - missed_low),
            share(n_flagged - hit_low, n - hit_low - missed_high, 1.0), int(strata.audited.sum()), nobody),
        "precision": _Figure(
            share(hit, n_flagged) if n_flagged and strata.audited[above].any() else None, share(hit_low, n_flagged),
            share(hit_high, n_flagged), int(strata.audited[above].sum()), "no flagged case was reviewed"),
        "malicious": _Figure(
            share(hit + missed, n) if known and n else None, share(hit_low + missed_low, n), share(hit_high + missed_high, n),
            int(strata.audited.sum()), nobody),
    }


def _needed(strata: _Strata, confidence: float, limit: float) -> int:
    """Return how many un-flagged audits would give a recall.

    What further audits find is not known. Both are tried, that they go on finding what they found so far, and half a case more
    of each kind (Jeffreys: where few were reviewed and none found, planning with none would be hope); the larger number is told.
    """
    observed = strata.found / np.maximum(strata.audited, 1)
    cautious = (strata.found + 0.5) / (strata.audited + 1)
    return max(_needed_at(strata, share, confidence, limit) for share in (observed, cautious))


def _needed_at(strata: _Strata, share: np.ndarray, confidence: float, limit: float) -> int:
    below = ~strata.flagged
    bottom, top = int(strata.audited[below].sum()), int(strata.size[below].sum())
    while bottom < top:
        middle = (bottom + top) // 2
        sizes = strata.audited.copy()
        sizes[below] = _share_out(middle, strata.size[below].tolist())
        found = np.where(below, np.round(share * sizes), strata.found).astype(np.int64)
        trial = _Strata(strata.flagged, strata.size, sizes, np.minimum(found, sizes))
        if _rates(trial, _positives(trial, confidence))["recall"].half_width <= limit:
            top = middle
        else:
            bottom = middle + 1
    return bottom
