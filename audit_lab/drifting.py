"""Drift of a lab: what its tables say week by week, counted, compared, and kept in table drifts."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl

from audit_lab import tables
from audit_lab.errors import MissingExtraError
from audit_lab.evaluate import FAMILIES, DriftCounts, count_drift, drift_periods, error_changes
from audit_lab.holdings import standing_labels
from audit_lab.lines import case_lines, reaches
from audit_lab.profile import EvaluateSettings, Profile
from audit_lab.review import session_classes
from audit_lab.signals import distinct_texts, embed_static, load_static, model_key
from audit_lab.store import Store

# Below this share of sessions with a vector their mean would be the mean of some kinds of sessions only.
MOST_SESSIONS = 0.99
NAMED = 5  # new values named where many appear at once


def lab_drift(store: Store, profile: Profile, by: str | None = None, since: date | None = None) -> pl.DataFrame:
    """Compare the later periods of a lab with its first ones; weeks where there are two or more of them, else days.

    `by` and `since` are the profile's (section drift) where they are not given.

    Returns
    -------
    Table `drifts`; where nothing can be compared its rows say why.

    Raises
    ------
    InputError
        When `by` is neither week nor day, or no data lie before or after `since`.
    """
    since = since or profile.drift.since
    if by is None and profile.drift.by != "auto":
        by = profile.drift.by
    if by is None:
        weeks = store.scan("sessions").select(pl.col("start").dt.truncate("1w").n_unique()).collect().item()
        by = "week" if weeks > 1 else "day"
    moment = datetime(since.year, since.month, since.day, tzinfo=UTC) if since is not None else None
    judged = judged_cases(store, profile.evaluate)
    found = drift_periods(drift_counts(store, profile, judged, "1h" if by == "day" else "1d"), profile.drift, by, moment)
    compared = found.filter(pl.col("kind") != "none").height > 0
    return tables.check(pl.concat([found, error_changes(judged, by, profile.drift)]) if compared else found, "drifts")


def drift_alarms(table: pl.DataFrame) -> pl.DataFrame:
    """Return what is alarming, once for each feature, the largest first within a family; new values that are told together are one.

    Parameters
    ----------
    table
        Table `drifts`.

    Returns
    -------
    Frame: family, feature, value (new ones, at most five of them named), n_values, kind, since, first_period, last_period (with an alarm),
    is_on (in the last period that was compared), and of the last alarm before, after, size (of the measure that decides: PSI, standard
    deviations, or the factor between rates), q_value, detail.
    """
    last = table["period"].max()
    decides = (
        pl.when(pl.col("kind") == "category").then("psi").when(pl.col("kind").is_in(["number", "vector"])).then("wasserstein")
        .when(pl.col("kind").is_in(["rate", "volume"])).then("ratio")
    )
    found = table.filter("alarm").with_columns(size=decides).sort("period", "value").group_by(
        "family", "feature", "value", "kind", maintain_order=True
    ).agg(
        pl.col("since").last(), first_period=pl.col("period").min(), last_period=pl.col("period").max(),
        **{name: pl.col(name).last() for name in ("before", "after", "size", "q_value", "detail")},
    )
    order = {family: place for place, family in enumerate(FAMILIES)}
    more = pl.when(pl.len() > NAMED).then(pl.format(" and {} more", pl.len() - NAMED)).otherwise(pl.lit(""))
    apart = pl.when(pl.col("kind") == "presence").then(pl.lit("")).otherwise("value").alias("apart")
    together = found.group_by("family", "feature", "kind", "first_period", apart, maintain_order=True).agg(
        value=pl.col("value").head(NAMED).str.join(", ") + more.first(), n_values=pl.len().cast(pl.Int64), since=pl.col("since").min(),
        last_period=pl.col("last_period").max(), is_on=pl.col("last_period").max() == last, before=pl.col("before").first(),
        after=pl.col("after").max(), size=pl.col("size").first(), q_value=pl.col("q_value").min(), detail=pl.col("detail").first(),
    )
    large = pl.max_horizontal(pl.col("size"), 1 / pl.col("size"))
    return (
        together.with_columns(place=pl.col("family").replace_strict(order, return_dtype=pl.Int64), large=large)
        .sort(pl.col("place"), "kind", -pl.col("large"), "feature", "first_period", "value", nulls_last=True)
        .select(
            "family", "feature", "value", "n_values", "kind", "since", "first_period", "last_period", "is_on", "before", "after", "size",
            "q_value", "detail",
        )
    )


def drift_counts(store: Store, profile: Profile, judged: pl.DataFrame, every: str) -> DriftCounts:
    """Count what is watched for drift in a lab, block by block ('1d' or '1h')."""
    sessions = store.scan("sessions").select(
        "session_id", "start", "actor", "actor_kind", "client_families", "summary", "summary_digest"
    ).collect()
    vectors, why = session_vectors(store, profile, sessions)
    return count_drift(
        store.scan("events").select("time", "actor", "user_agent", "verb", "api_group", "resource"), sessions,
        store.scan("signals").select("session_id", "detector_id", "kind").collect(),
        store.scan("scores").filter(pl.col("detector_id") == "fused").select("session_id", "detector_id", "score").collect(),
        store.scan("archives").select("first_time", "unknown_keys").collect(), judged, session_classes(standing_labels(store)), vectors,
        every, why,
    )


def judged_cases(store: Store, settings: EvaluateSettings) -> pl.DataFrame:
    """Return the judged cases beside what people said of them; `settings` is section evaluate of the profile.

    Returns
    -------
    Frame, one row per candidate: case_id, start (of its first session), score (highest of its usable verdicts, null where there is
    none), flagged, malicious (of the labels on the case or its sessions the strongest; null where there is none but 'unsure'), opinion
    (the incident that the label comes from, else the case: ten cases of one incident are one judgement).
    """
    candidates = store.read("candidates")
    lines = case_lines(candidates, store.scan("sessions"), settings)
    cases = candidates.select("case_id", session_id="session_ids").explode("session_id", empty_as_null=False)
    usable = store.scan("verdicts").filter(pl.col("usable")).group_by("case_id").agg(pl.col("score").max()).collect()
    labels = standing_labels(store).filter(pl.col("verdict") != "unsure")
    of_sessions = session_classes(labels).select("session_id", of_session=pl.col("verdict") == "malicious")
    of_cases = labels.filter(pl.col("target_kind") == "case").group_by(case_id="target_id").agg(
        of_case=(pl.col("verdict") == "malicious").any()
    )
    of_incidents = labels.filter(pl.col("target_kind") == "incident").group_by("session_id").agg(opinion=pl.col("target_id").min())
    started = store.scan("sessions").select("session_id", "start").collect()
    return (
        cases.join(started, on="session_id", how="inner").join(of_sessions, on="session_id", how="left")
        .join(of_incidents, on="session_id", how="left")
        .group_by("case_id").agg(pl.col("start").min(), pl.col("of_session").max(), pl.col("opinion").min())
        .join(of_cases, on="case_id", how="left").join(usable, on="case_id", how="left")
        .select(
            "case_id", "start", "score", flagged=reaches(pl.col("score"), lines).fill_null(False),
            malicious=pl.max_horizontal("of_session", "of_case"), opinion=pl.coalesce("opinion", "case_id"),
        ).sort("start", "case_id")
    )


def session_vectors(store: Store, profile: Profile, sessions: pl.DataFrame) -> tuple[np.ndarray | None, str | None]:
    """Return one unit vector per session, all of one model, or why there are none.

    Where a static model did the bulk, it embeds all of them: beside it the exact vectors of a few would look like a shift.
    """
    texts = distinct_texts(sessions)
    kept = store.remembered("static_model")
    if kept and len(texts) > profile.signals.static_above:
        try:
            made = embed_static(list(texts.values()), load_static(store.root / "models" / f"{kept['digest']}.npz", kept["digest"]))
        except MissingExtraError as error:
            return None, str(error)
        return _in_order(sessions, pl.Series("summary_digest", list(texts)), np.asarray(made, np.float32)), None
    try:
        key = model_key(profile.signals.model)
    except MissingExtraError as error:
        return None, str(error)
    stored = store.scan("embeddings").filter(pl.col("model") == key).select("summary_digest", "vector").collect()
    if stored.is_empty():
        return None, "no session embeddings: the extra 'embed' was not installed at the last run (hint: pip install 'audit-lab[embed]')"
    known = stored["summary_digest"]
    share = sessions["summary_digest"].is_in(known.implode()).sum() / max(sessions.height, 1)
    if share < MOST_SESSIONS:
        return None, f"only {share:.0%} of sessions have a vector: run the signals again"
    vectors = stored["vector"].explode(empty_as_null=False).to_numpy().reshape(stored.height, -1)
    return _in_order(sessions, known, vectors), None


def _in_order(sessions: pl.DataFrame, digests: pl.Series, vectors: np.ndarray) -> np.ndarray:
    """Return the vector of each session by the digest of its summary, all zeros where it has none."""
    places = digests.to_frame().with_row_index("place")
    found = sessions.select("summary_digest").join(places, on="summary_digest", how="left", maintain_order="left")["place"]
    padded = np.vstack([vectors, np.zeros((1, vectors.shape[1]), vectors.dtype)])
    return np.asarray(padded[found.fill_null(len(vectors)).to_numpy()])
