"""Which cases somebody looks at: one ranked list under a daily budget of cases, tokens and money, part of it drawn at random.

Each calendar day (UTC) has its own budget: a quiet day lends nothing to a noisy one. A case belongs to the day on which its highest
session began. The scarcest of the three limits decides how many cases a day may have; rules with a floor pass in any case.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.profile import SignalSettings


class Limits(NamedTuple):
    """What a day may take beside its cases: tokens and US dollars, and what one case takes. None: no such limit, or nobody knows."""

    tokens: int | None = None
    usd: float | None = None
    tokens_per_case: int | None = None
    usd_per_case: float | None = None

    def cases(self, budget_cases: int) -> tuple[int, str]:
        """Return how many cases a day may have, and which limit says so: 'cases', 'tokens' or 'money'.

        >>> Limits(tokens=100_000, tokens_per_case=8_000).cases(40)
        (12, 'tokens')
        >>> Limits(tokens=100_000, tokens_per_case=8_000, usd=1.0).cases(10)
        (10, 'cases')
        """
        allowed = [(budget_cases, "cases")]
        if self.tokens is not None and self.tokens_per_case:
            allowed.append((self.tokens // self.tokens_per_case, "tokens"))
        if self.usd is not None and self.usd_per_case:
            # A hair more than the quotient: ten cases at 0.1 dollars fit into one dollar.
            allowed.append((math.floor(self.usd / self.usd_per_case + 1e-9), "money"))
        return min(allowed, key=lambda limit: limit[0])


class Choice(NamedTuple):
    """Table candidates, and one row per day: how its budget was spent, and on what it ended."""

    candidates: pl.DataFrame
    days: pl.DataFrame


DAYS = pl.Schema({
    "day": pl.Date, "limit": pl.String, "allowed": pl.Int64, "n_floor": pl.Int64, "n_rank": pl.Int64, "n_exploration": pl.Int64,
    "n_left": pl.Int64, "loudest": pl.String, "n_loudest": pl.Int64, "tokens": pl.Int64, "usd": pl.Float64,
})


def choose_cases(
    cases: pl.DataFrame, signals: pl.DataFrame, sessions: pl.DataFrame, settings: SignalSettings, limits: Limits | None = None
) -> Choice:
    """Choose the cases that people or models will look at.

    Parameters
    ----------
    cases
        One row per session: `session_id`, `case_id`, `n_case` (sessions of the case), `fused`.
    signals, sessions
        The tables of those names.
    settings
        `budget_cases` a day, `exploration_share` of it drawn at random, `seed`.
    limits
        What a day may spend besides, and what a case takes; nothing when not given.

    Returns
    -------
    candidates
        Per day every case with a rule's floor, then the highest fused scores, then the random share, within the budget (floors pass
        even beyond it). `sampling_probability` is 1 for chosen cases, and for drawn ones the chance they had.
    days
        `day`, `limit` ('cases', 'tokens', 'money': the scarcest), `allowed` (cases it allows), `n_floor`, `n_rank`, `n_exploration`
        (cases chosen by each), `n_left` (cases with a fused score above 0 that nobody will see), `loudest` and `n_loudest` (the rule whose
        floor passed most cases, and how many), `tokens`, `usd` (what asking about the chosen ones can cost; null where unknown).
    """
    limits = limits or Limits()
    floors = signals.group_by("session_id").agg(pl.col("floor").max())
    order = pl.max_horizontal("fused", pl.col("floor").fill_null(0.0))
    ordered = (
        cases.join(floors, on="session_id", how="left")
        .join(sessions.select("session_id", day=pl.col("start").dt.date()), on="session_id", how="left")
        .sort(order, "fused", "session_id", descending=[True, True, False])
        .group_by("case_id", maintain_order=True)
        .agg(pl.col("session_id", "n_case", "day").first(), pl.col("fused", "floor").max(), session_ids=pl.col("session_id"))
        .sort(order, "fused", "session_id", descending=[True, True, False])
    )
    ruled = signals.filter(pl.col("floor").is_not_null()).select("session_id", "detector_id")
    per_day = [
        _choose_day(part, ruled, settings, limits)
        for _, part in ordered.sort("day", maintain_order=True).group_by("day", maintain_order=True)
    ]
    first = pl.col("selected_by") != "exploration"
    candidates = tables.conform(
        pl.concat([chosen for chosen, _ in per_day])
        .sort(first, order, "fused", "session_id", descending=[True, True, True, False])
        .with_row_index("rank", offset=1)
        .join(_reasons(signals), on="session_id", how="left", maintain_order="left")
        .with_columns(
            score="fused",
            why=pl.when(pl.col("n_case") > 1).then(pl.format("story of {} sessions | ", "n_case")).otherwise(pl.lit(""))
            + pl.when(first).then(pl.col("why").fill_null("highest fused score")).otherwise(
                pl.format("drawn at random, 1 in {}", (1 / pl.col("sampling_probability")).round(0).cast(pl.Int64))),
        ),
        "candidates",
    )
    return Choice(candidates, pl.DataFrame([row for _, row in per_day], schema=DAYS, orient="row"))


def _choose_day(
    ordered: pl.DataFrame, ruled: pl.DataFrame, settings: SignalSettings, limits: Limits
) -> tuple[pl.DataFrame, dict[str, object]]:
    """Return the chosen cases of one day, and how its budget was spent; `ruled` are the hits of rules with a floor."""
    budget, limit = limits.cases(settings.budget_cases)
    n_random = _n_random(budget, settings.exploration_share)
    day = ordered["day"][0]
    held = ordered.filter(pl.col("floor").is_not_null())
    room = max(0, budget - n_random - held.height)
    ranked = ordered.filter(pl.col("floor").is_null() & (pl.col("fused") > 0)).head(room)
    rest = ordered.join(pl.concat([held, ranked]), on="case_id", how="anti", maintain_order="left")
    # The day is part of the seed: days that are added later change no draw of earlier ones.
    drawn = _explore(rest, n_random, [settings.seed, day.toordinal()], settings.exploration_strata)
    chosen = pl.concat([
        held.with_columns(selected_by=pl.lit("floor"), sampling_probability=pl.lit(1.0)),
        ranked.with_columns(selected_by=pl.lit("rank"), sampling_probability=pl.lit(1.0)),
        drawn.with_columns(selected_by=pl.lit("exploration")),
    ], how="diagonal")
    loud = (
        held.select("case_id", session_id="session_ids").explode("session_id", empty_as_null=False)
        .join(ruled, on="session_id", how="inner").group_by("detector_id")
        .agg(n=pl.col("case_id").n_unique()).sort("n", "detector_id", descending=[True, False])
    )
    return chosen, {
        "loudest": loud["detector_id"][0] if loud.height else None, "n_loudest": loud["n"][0] if loud.height else 0,
        "day": day, "limit": limit, "allowed": budget, "n_floor": held.height, "n_rank": ranked.height, "n_exploration": drawn.height,
        "n_left": int((rest["fused"] > 0).sum()) - int((drawn["fused"] > 0).sum()),
        "tokens": None if limits.tokens_per_case is None else chosen.height * limits.tokens_per_case,
        "usd": None if limits.usd_per_case is None else round(chosen.height * limits.usd_per_case, 6),
    }


def _n_random(budget: int, share: float) -> int:
    """How many of a day's cases are drawn: the share rounded half up, and one at least where two cases fit: none would tell nothing.

    >>> [_n_random(budget, 0.1) for budget in (40, 15, 4, 2, 1)]
    [4, 2, 1, 1, 0]
    """
    return max(math.floor(budget * share + 0.5), 1 if budget > 1 and share > 0 else 0)


def _explore(rest: pl.DataFrame, n: int, seed: list[int], strata: list[float]) -> pl.DataFrame:
    """Draw `n` cases, equally many from each stratum of score as far as they last, without replacement.

    Where there are fewer draws than strata the lowest ones are one: every case that is left has a chance.
    """
    stratum = np.digitize(rest["fused"].to_numpy(), sorted(strata))
    found = np.unique(stratum)
    if 0 < n < len(found):
        stratum = np.maximum(stratum, found[-n])
    present, sizes = np.unique(stratum, return_counts=True)
    quota = dict.fromkeys(present.tolist(), 0)
    room = dict(zip(present.tolist(), sizes.tolist(), strict=True))
    for _ in range(min(n, rest.height)):
        # The stratum that got least so far, the highest first among equals.
        level = min((key for key in room if quota[key] < room[key]), key=lambda key: (quota[key], -key))
        quota[level] += 1
    draw = np.random.default_rng(seed)
    picked: list[int] = []
    chance: list[float] = []
    for level, wanted in sorted(quota.items()):
        members = np.flatnonzero(stratum == level)
        picked += sorted(draw.choice(members, size=wanted, replace=False).tolist())
        chance += [wanted / len(members)] * wanted
    return rest[picked].with_columns(sampling_probability=pl.Series(chance, dtype=pl.Float64))


def _reasons(signals: pl.DataFrame) -> pl.DataFrame:
    """One line per session: its strongest rule, its newest deed and its access, whichever are there."""
    ordered = signals.with_columns(_rule=pl.col("kind").is_in(["rule", "correlation"])).sort(
        "session_id", "strength", "detector_id", descending=[False, True, False]
    )
    rules = ordered.filter("_rule").group_by("session_id", maintain_order=True).agg(
        rule=pl.col("reason").first(), n=pl.len()
    ).with_columns(rule=pl.when(pl.col("n") > 1).then(pl.format("{} and {} more rules", "rule", pl.col("n") - 1)).otherwise("rule"))
    other = (
        ordered.filter(~pl.col("_rule")).group_by("session_id", maintain_order=True).agg(pl.col("reason").head(2))
        .with_columns(other=pl.col("reason").list.join(" | "))
    )
    return (
        signals.select("session_id").unique(maintain_order=True)
        .join(rules, on="session_id", how="left").join(other.select("session_id", "other"), on="session_id", how="left")
        .select("session_id", why=pl.concat_str("rule", "other", separator=" | ", ignore_nulls=True))
    )
