"""What people decided, held against what rules and judges said: false alarms, misses, and the mistakes that come again.

Everything here counts and nothing changes: what follows from it is proposed (`govern.proposals`), and a person decides.
A case on which people differ about malicious or not is nobody's mistake: it is left out, and counted.
"""

from __future__ import annotations

import polars as pl

from audit_lab.lines import Lines, reaches

DECIDED = ("malicious", "benign-but-suspicious", "benign")


def decided_cases(labels: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
    """Return what people decided of each candidate.

    Parameters
    ----------
    labels
        Table `labels`, those that stand. Labels of cases count, and those of a session that is a case of its own; incident files do not,
        nor does 'unsure'.
    candidates
        Table of that name.

    Returns
    -------
    Frame, one row per decided case in order of case_id: case_id, verdict (benign-but-suspicious where some say that and others benign),
    is_malicious, is_disputed (some say malicious, others not: `is_malicious` is null), n_people, reason (the last one given), blind
    (True when all decided without seeing the score).
    """
    single = candidates.filter(pl.col("session_ids").list.len() == 1).select("case_id", session_id=pl.col("session_ids").list.first())
    spoken = labels.filter(pl.col("verdict").is_in(list(DECIDED)))
    of_case = spoken.filter(pl.col("target_kind") == "case").join(candidates, left_on="target_id", right_on="case_id", how="semi")
    of_session = spoken.filter(pl.col("target_kind") == "session").join(single, on="session_id")
    columns = ("case_id", "verdict", "author", "reason", "blind", "at")
    said = pl.concat([of_case.rename({"target_id": "case_id"}).select(columns), of_session.select(columns)])
    bad, suspicious = pl.col("verdict") == "malicious", pl.col("verdict") == "benign-but-suspicious"
    return (
        said.sort("at", nulls_last=False, maintain_order=True).group_by("case_id").agg(
            is_disputed=bad.any() & ~bad.all(), some_bad=bad.any(), some_suspicious=suspicious.any(), n_people=pl.col("author").n_unique(),
            reason=pl.col("reason").drop_nulls().last(), blind=pl.col("blind").fill_null(value=False).all())
        .with_columns(
            is_malicious=pl.when(~pl.col("is_disputed")).then("some_bad"),
            verdict=pl.when("some_bad").then(pl.lit("malicious")).when("some_suspicious").then(pl.lit("benign-but-suspicious"))
            .otherwise(pl.lit("benign")))
        .select("case_id", "verdict", "is_malicious", "is_disputed", pl.col("n_people").cast(pl.Int64), "reason", "blind").sort("case_id")
    )


def rule_decisions(decided: pl.DataFrame, candidates: pl.DataFrame, signals: pl.DataFrame) -> pl.DataFrame:
    """Return in which decided cases each rule fired, and whether that was a false alarm.

    Returns
    -------
    Frame: what (rule id), version, case_id, is_false, one row per rule version × decided case; disputed cases left out.
    """
    members = candidates.select("case_id", session_id="session_ids").explode("session_id", empty_as_null=False)
    rules = signals.filter(pl.col("kind").is_in(["rule", "correlation"]))
    fired = rules.select("session_id", what="detector_id", version="detector_version")
    sure = decided.filter(~pl.col("is_disputed"))
    return (
        fired.join(members, on="session_id").select("what", "version", "case_id").unique().join(sure, on="case_id")
        .select("what", "version", "case_id", is_false=~pl.col("is_malicious")).sort("what", "version", "case_id")
    )


def judge_decisions(decided: pl.DataFrame, verdicts: pl.DataFrame, threshold: Lines) -> pl.DataFrame:
    """Return how each judge version stood in each decided case; its version is the digest of prompt, model and parameters.

    Returns
    -------
    Frame: what (judge id), version, case_id, is_flagged (its score reaches the line), is_false (flagged, people said not malicious),
    is_missed (not flagged, people said malicious), patterns (names of the predicates that its holding grounds speak of), one row
    per judge version × decided case that it answered; disputed cases left out.
    """
    ground = pl.element().struct
    patterns = pl.col("grounds").list.eval(
        pl.when(ground.field("holds")).then(ground.field("claim").struct.field("predicate")).otherwise(None)
    ).list.drop_nulls().list.unique().list.sort()
    flagged = reaches(pl.col("score"), threshold)
    return (
        verdicts.filter(pl.col("score").is_not_null()).join(decided.filter(~pl.col("is_disputed")), on="case_id")
        .select(
            "case_id", what="judge_id", version="judge_version", is_flagged=flagged, is_false=flagged & ~pl.col("is_malicious"),
            is_missed=~flagged & pl.col("is_malicious"), patterns=patterns)
        .select("what", "version", "case_id", "is_flagged", "is_false", "is_missed", "patterns").sort("what", "version", "case_id")
    )


def repeated_mistakes(decisions: pl.DataFrame, min_repeats: int) -> pl.DataFrame:
    """Return the mistakes that a judge version made again and again: same direction, same deed in its grounds.

    Parameters
    ----------
    decisions
        What `judge_decisions` returned.
    min_repeats
        Fewer mistakes of a kind are no pattern.

    Returns
    -------
    Frame: what, version, direction (false alarm, or miss), pattern (a predicate's name), n_wrong, n (decided cases of that pattern which it
    flagged, or, of misses, did not flag), case_ids of the mistakes; most frequent first.
    """
    long = decisions.explode("patterns", empty_as_null=True).drop_nulls("patterns").rename({"patterns": "pattern"})
    parts = []
    for direction, among, wrong in (("false alarm", pl.col("is_flagged"), "is_false"), ("miss", ~pl.col("is_flagged"), "is_missed")):
        parts.append(
            long.filter(among).group_by("what", "version", "pattern")
            .agg(n_wrong=pl.col(wrong).sum().cast(pl.Int64), n=pl.len().cast(pl.Int64), case_ids=pl.col("case_id").filter(wrong).sort())
            .with_columns(direction=pl.lit(direction))
        )
    return (
        pl.concat(parts).filter(pl.col("n_wrong") >= min_repeats)
        .select("what", "version", "direction", "pattern", "n_wrong", "n", "case_ids")
        .sort("n_wrong", "what", "version", "direction", "pattern", descending=[True, False, False, False, False])
    )


def wrong_grounds(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return how often grounds of a kind did not hold, per judge version: no label is needed for that, the tables say it.

    Returns
    -------
    Frame: what, version, pattern (kind of claim and predicate), n_wrong, n (checked grounds), one row per judge version × pattern with
    at least one that does not hold; most frequent first.
    """
    grounds = verdicts.select("judge_id", "judge_version", "grounds").explode("grounds", empty_as_null=True).drop_nulls("grounds")
    field = pl.col("grounds").struct
    claim = field.field("claim").struct
    return (
        grounds.select(
            what="judge_id", version="judge_version", holds=field.field("holds"),
            pattern=pl.concat_str(claim.field("kind"), claim.field("predicate"), separator=" "))
        .drop_nulls("holds").group_by("what", "version", "pattern")
        .agg(n_wrong=(~pl.col("holds")).sum().cast(pl.Int64), n=pl.len().cast(pl.Int64))
        .filter(pl.col("n_wrong") > 0).sort("n_wrong", "what", "version", "pattern", descending=[True, False, False, False])
    )


def pull_of_the_score(decided: pl.DataFrame, prioritised: pl.DataFrame) -> pl.DataFrame:
    """Return how often people said what the flag says, with the score hidden and with it shown.

    Returns
    -------
    Frame: shown (blind or open), n (decided alerts), n_agree (called malicious). Audits are always blind and no alerts: they are left out.
    """
    alerts = prioritised.filter("is_flagged").select("case_id")
    return (
        decided.filter(~pl.col("is_disputed")).join(alerts, on="case_id", how="semi")
        .group_by(shown=pl.when("blind").then(pl.lit("blind")).otherwise(pl.lit("open")))
        .agg(n=pl.len().cast(pl.Int64), n_agree=pl.col("is_malicious").sum().cast(pl.Int64)).sort("shown")
    )
