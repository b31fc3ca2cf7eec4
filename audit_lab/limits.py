"""What a day's cases may take: where the budget of the list meets the price of asking about a case."""

from __future__ import annotations

import polars as pl

from audit_lab.counting import counted
from audit_lab.judge import estimate_case
from audit_lab.profile import Profile
from audit_lab.signals import Limits


def case_limits(profile: Profile) -> tuple[Limits, str]:
    """Return what a day's cases may take of tokens and money, and one line where the money cannot limit them ('' where it can).

    Limits of section signals always hold; where they are null the judge's own daily ones hold, if it asks a model.
    """
    settings, judge = profile.signals, profile.judge
    asks = judge.judge == "openai"
    tokens = settings.budget_tokens if settings.budget_tokens is not None else judge.max_tokens_per_day if asks else None
    usd = settings.budget_usd if settings.budget_usd is not None else judge.max_usd_per_day if asks else None
    if tokens is None and usd is None:
        return Limits(), ""
    cost = estimate_case(judge)
    unknown = "" if usd is None or cost.usd is not None else (
        f"money does not limit the candidates: no price is known for model '{judge.model}' (judge.prices)"
    )
    return Limits(tokens, usd, cost.tokens, cost.usd), unknown


def budget_notes(days: pl.DataFrame, limits: Limits, share: float = 0.0) -> list[str]:
    """One line for each day on which tokens or money ended the list and left something out, or floors took most of it.

    And one for all days whose budget is too small for `share`, the exploration share.
    """
    words = {"tokens": f"{limits.tokens:,} tokens, {limits.tokens_per_case:,} a case at most" if limits.tokens_per_case else "",
             "money": f"{limits.usd:g} US dollars, {limits.usd_per_case:.4g} a case at most" if limits.usd_per_case else ""}
    ended = days.filter((pl.col("limit") != "cases") & (pl.col("n_left") > 0))
    loud = days.filter((pl.col("n_floor") * 2 > pl.col("allowed")) & (pl.col("n_left") > 0))
    tight = days.filter((pl.col("allowed") > 0) & (pl.col("allowed") * share < 0.5)) if share else days.clear()
    least, most = (int(tight["allowed"].to_numpy().min()), int(tight["allowed"].to_numpy().max())) if tight.height else (0, 0)
    small = [
        f"{counted(tight.height, 'day')} with a budget of {least} to {counted(most, 'case')}, too small for an exploration share of "
        f"{share:g}: "
        f"{tight['n_exploration'].sum()} were drawn at random, one a day at most and none where one case is all"
    ] if tight.height else []
    return small + [
        f"{row['day']}: rules with a floor took {row['n_floor']} of {counted(row['allowed'], 'case')}, "
        f"'{row['loudest']}' alone {row['n_loudest']}: see audit-lab rules tune"
        for row in loud.iter_rows(named=True)
    ] + [
        f"{row['day']}: the budget of {row['limit']} allows {counted(row['allowed'], 'case')} ({words[row['limit']]}); "
        f"{row['n_left']} that scored were left out"
        for row in ended.iter_rows(named=True)
    ]
