"""Case level: what a judge said of the cases it saw, how often it answered, and what that cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from audit_lab.evaluate.intervals import Rate, bootstrap_actors, exact
from audit_lab.evaluate.probability import probability_figures
from audit_lab.evaluate.ranking import average_precision_rate
from audit_lab.lines import Lines, reaches


@dataclass(frozen=True)
class JudgeFigures:
    """How well a judge did on the cases that it answered, and how it answered. Rates over cases resample actors."""

    n_cases: int
    n_answered: int
    prevalence: float | None
    recall: Rate
    fpr: Rate
    precision: Rate
    average_precision: Rate
    brier: Rate
    calibration_error: Rate
    answered_share: Rate
    schema_valid_share: Rate
    usable_share: Rate
    grounded_share: Rate
    tokens: int
    cost_usd: float | None
    cost_per_finding_usd: float | None
    cost_reason: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {name: value.as_dict() if isinstance(value, Rate) else value for name, value in vars(self).items()}


def case_truth(candidates: pl.DataFrame, sessions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Return what is known of each case.

    Parameters
    ----------
    candidates, sessions, labels
        Tables of these names.

    Returns
    -------
    Frame, one row per case in order of case_id: case_id, actor (of its first session, with its cluster), class (malicious wins over
    benign-but-suspicious over benign) and malicious.
    """
    strength = {"benign": 0, "benign-but-suspicious": 1, "malicious": 2}
    names = {code: name for name, code in strength.items()}
    known = (
        labels.filter(pl.col("verdict").is_in(list(strength)) & pl.col("session_id").is_not_null())
        .group_by("session_id").agg(code=pl.col("verdict").replace_strict(strength, return_dtype=pl.Int64).max())
    )
    members = candidates.select("case_id", session_id="session_ids").explode("session_id", empty_as_null=False)
    actors = sessions.select("session_id", "start", actor=pl.col("cluster") + "\x1f" + pl.col("actor"))
    return (
        members.join(actors, on="session_id", how="inner")
        .join(known, on="session_id", how="left").sort("case_id", "start", "session_id")
        .group_by("case_id", maintain_order=True).agg(pl.col("actor").first(), code=pl.col("code").fill_null(0).max())
        .with_columns(pl.col("code").replace_strict(names, return_dtype=pl.String).alias("class"))
        .with_columns(malicious=pl.col("class") == "malicious")
        .drop("code")
    )


def judge_figures(
    truth: pl.DataFrame, verdicts: pl.DataFrame, threshold: Lines = 0.5, resamples: int = 1000, confidence: float = 0.95, seed: int = 7
) -> JudgeFigures:
    """Return the figures of one judge over the cases it was asked about.

    Parameters
    ----------
    truth
        Frame of `case_truth`.
    verdicts
        Table `verdicts` of one judge version; rows without a score were not answered.
    threshold
        Score from which a case counts as called malicious, or the lines of the cases.
    resamples, confidence, seed
        Of the bootstrap over actors.

    Returns
    -------
    JudgeFigures. Recall, false-positive rate and precision are over answered cases; what was not answered is in `answered_share`.
    `usable_share` is over answered ones too; `grounded_share` is the mean one over answers with grounds;
    `schema_valid_share` is over all answers that came. Costs are null where no price is known.
    """
    asked = truth.join(verdicts, on="case_id", how="inner").sort("case_id")
    answered = asked.filter(pl.col("score").is_not_null())
    scores, malicious = answered["score"].to_numpy().astype(float), answered["malicious"].to_numpy().astype(bool)
    draw = bootstrap_actors(answered["actor"].to_numpy(), resamples, confidence, seed)
    flagged = answered.select(reaches(pl.col("score"), threshold)).to_series().to_numpy().astype(bool)
    # A verdict for which nothing was sent costs nothing.
    paid = asked.filter(pl.col("tokens_in") + pl.col("tokens_out") > 0)["cost_usd"]
    cost = None if not asked.height or paid.null_count() else float(paid.sum())
    found = int((flagged & malicious).sum())
    reason = "no price is known for every call" if cost is None else None if found else "no malicious case was called so"
    # An answer that fits the schema has a score, or abstains and names an action; one that does not was paid for all the same.
    fits = pl.col("score").is_not_null() | pl.col("action").is_not_null()
    spoken = asked.filter(fits | (pl.col("tokens_out") > 0))
    grounded = answered["grounded_share"].fill_null(0.0).to_numpy().astype(float)
    has_grounds = answered["grounded_share"].is_not_null().to_numpy().astype(float)
    probability = probability_figures(malicious, scores, draw, unit="answered cases")
    return JudgeFigures(
        n_cases=asked.height,
        n_answered=answered.height,
        prevalence=float(malicious.mean()) if malicious.size else None,
        recall=draw.rate(flagged, malicious, "malicious cases"),
        fpr=draw.rate(flagged, ~malicious, "cases that are not malicious"),
        precision=draw.rate(malicious, flagged, "cases called malicious"),
        average_precision=average_precision_rate(malicious, scores, draw, "malicious cases"),
        brier=probability.brier,
        calibration_error=probability.calibration_error,
        answered_share=exact(answered.height, asked.height, confidence, "cases"),
        schema_valid_share=exact(spoken.filter(fits).height, spoken.height, confidence, "answers"),
        usable_share=exact(int(answered["usable"].sum()), answered.height, confidence, "answered cases"),
        grounded_share=draw.ratio(grounded * has_grounds, has_grounds, "answers with grounds"),
        tokens=int(asked["tokens_in"].sum()) + int(asked["tokens_out"].sum()),
        cost_usd=cost,
        cost_per_finding_usd=cost / found if cost is not None and found else None,
        cost_reason=reason,
    )
