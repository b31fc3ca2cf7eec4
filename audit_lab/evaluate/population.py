"""Who was drawn for review, and with which probability: from the tables of a run to what `estimate_from_audits` needs."""

from __future__ import annotations

import polars as pl

from audit_lab.errors import InputError
from audit_lab.lines import Lines, reaches

NEVER_DRAWN = "not drawn"


def reviewed_cases(
    scores: pl.DataFrame, candidates: pl.DataFrame, verdicts: pl.DataFrame, labels: pl.DataFrame, threshold: Lines
) -> pl.DataFrame:
    """Return every case of a run with its stratum of review and what a person said of it.

    A case is flagged when it was chosen by rank or floor and its score (its usable verdict's, else the fused one, never below
    its floor) reaches the threshold. Cases of the exploration share count as un-flagged, whatever a judge said: they stand for
    those that were not drawn, so the estimate is about the way of choosing, without the luck of the draw.

    Parameters
    ----------
    scores, candidates, verdicts, labels
        Tables of these names. Of `labels` those count that people gave to cases and sessions; unsure is no review.
    threshold
        Score from which a case is flagged, or the lines of the cases.

    Returns
    -------
    Frame, one row per case in order of case_id: case_id, flagged, stratum, sampling_probability (1 for chosen cases; the recorded one for
    drawn cases and as many others as they stand for; 0 for the rest), malicious (null = not reviewed; a label of a chosen case below the
    line counts only when the case was drawn for review, `labels.sampling_probability`).

    Raises
    ------
    InputError
        When the recorded probabilities do not fit the number of cases.
    """
    everything = scores.filter(pl.col("detector_id") == "fused").select("case_id").unique()
    usable = verdicts.filter(pl.col("usable") & pl.col("score").is_not_null()).group_by("case_id").agg(verdict=pl.col("score").max())
    chosen = candidates.join(usable, on="case_id", how="left").select(
        "case_id", "selected_by", "sampling_probability", "session_ids",
        flagged=(pl.col("selected_by") != "exploration")
        & reaches(pl.max_horizontal(pl.coalesce("verdict", "score"), "floor"), threshold),
    )
    cases = pl.concat([everything, chosen.select("case_id")]).unique().join(chosen, on="case_id", how="left").sort("case_id")
    drawn = pl.col("selected_by") == "exploration"
    stratum = (
        pl.when(pl.col("selected_by").is_null()).then(None)
        .when(drawn).then(pl.format("drawn at {}", pl.col("sampling_probability").round(6)))
        .otherwise(pl.lit("chosen"))
    )
    cases = cases.with_columns(stratum=stratum, flagged=pl.col("flagged").fill_null(False))
    said = _stand_for(cases).join(_said(chosen, labels), on="case_id", how="left", maintain_order="left")
    # Below the line people also look where they please: only what was drawn with a known probability stands for the rest.
    by_choice = (pl.col("stratum") == "chosen") & ~pl.col("flagged") & ~pl.col("drawn").fill_null(value=False)
    return (
        said.with_columns(malicious=pl.when(by_choice).then(None).otherwise("malicious"))
        .select("case_id", "flagged", "stratum", "sampling_probability", "malicious")
    )


def _stand_for(cases: pl.DataFrame) -> pl.DataFrame:
    """Give each stratum of the draw as many cases that were not drawn as its probability says.

    Which ones does not matter: all are un-flagged and unreviewed, only their number enters the estimate.
    """
    sizes = (
        cases.filter(pl.col("selected_by") == "exploration")
        .group_by("stratum", "sampling_probability").agg(drawn=pl.len())
        .with_columns(others=(pl.col("drawn") / pl.col("sampling_probability")).round().cast(pl.Int64) - pl.col("drawn")).sort("stratum")
    )
    unseen = cases.filter(pl.col("selected_by").is_null())
    wanted = int(sizes["others"].sum())
    if wanted > unseen.height:
        raise InputError(
            f"the recorded probabilities stand for {wanted} cases that were not drawn, there are {unseen.height}",
            "evaluate candidates together with the scores of the same run",
        )
    names = sizes.select(pl.col("stratum", "sampling_probability").repeat_by("others").explode(empty_as_null=False))
    n_rest = unseen.height - wanted
    rest = pl.DataFrame({"stratum": [NEVER_DRAWN] * n_rest, "sampling_probability": [0.0] * n_rest}, schema=names.schema)
    filled = pl.concat([names, rest])
    others = unseen.drop("stratum", "sampling_probability").hstack(filled).select(cases.columns)
    return pl.concat([cases.filter(pl.col("selected_by").is_not_null()), others]).sort("case_id")


def _said(chosen: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Return what people said of each candidate: malicious when one of them said so of it or one of its sessions."""
    members = chosen.select("case_id", session_id="session_ids").explode("session_id", empty_as_null=False)
    spoken = labels.filter(pl.col("verdict").is_in(["malicious", "benign", "benign-but-suspicious"]))
    told = ("case_id", "verdict", "sampling_probability")
    of_case = spoken.filter(pl.col("target_kind") == "case").with_columns(case_id="target_id").select(told)
    of_session = spoken.filter(pl.col("target_kind") == "session").join(members, on="session_id", how="inner").select(told)
    return pl.concat([of_case, of_session]).group_by("case_id").agg(
        malicious=(pl.col("verdict") == "malicious").any(), drawn=pl.col("sampling_probability").is_not_null().any())
