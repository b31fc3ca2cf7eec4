"""Labels from incident files: which events an incident consists of, and which sessions hold them."""

from __future__ import annotations

import polars as pl

from audit_lab import tables
from audit_lab.hashing import short_id

# Columns of `events` that matching needs; a projection of the table is enough.
EVENT_COLUMNS = ("event_id", "time", "user", "actor", "source_ip", "source_ips")


def match_incidents(incidents: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Return which events belong to which incident.

    An incident with `audit_ids` consists of these events. One without is matched by what its file gives: events of one
    of its users (as `user` or as `actor`; "" = failed authentication), from one of its addresses (any entry of
    sourceIPs), between start and end, both included.

    Parameters
    ----------
    incidents
        Table `incidents`.
    events
        Table `events`, or its columns event_id, time, user, actor, source_ip, source_ips.

    Returns
    -------
    Frame with incident_id, event_id and time (µs, UTC), one row per pair, in order of incident and time.
    """
    times = events.select("event_id", "time")
    by_id = (
        incidents.select("incident_id", event_id=pl.col("audit_ids")).explode("event_id", empty_as_null=False).unique()
        .join(times, on="event_id", how="inner")
    )
    parts = [by_id.select("incident_id", "event_id", "time")]
    for row in incidents.filter(pl.col("audit_ids").list.len() == 0).iter_rows(named=True):
        wanted = pl.col("time").is_between(row["start"], row["end"])
        if row["users"]:
            wanted &= pl.col("user").fill_null("").is_in(row["users"]) | pl.col("actor").is_in(row["users"])
        if row["source_ips"]:
            listed = pl.col("source_ips").list.eval(pl.element().is_in(row["source_ips"])).list.any()
            wanted &= pl.col("source_ip").is_in(row["source_ips"]).fill_null(False) | listed.fill_null(False)
        parts.append(events.filter(wanted).select(incident_id=pl.lit(row["incident_id"]), event_id="event_id", time="time"))
    return pl.concat(parts).unique().sort("incident_id", "time", "event_id")


def label_sessions(
    incidents: pl.DataFrame,
    sessions: pl.DataFrame,
    session_events: pl.DataFrame,
    events: pl.DataFrame,
    author: str = "incident file",
) -> pl.DataFrame:
    """Label the sessions that hold events of an incident.

    Parameters
    ----------
    incidents
        Table `incidents`.
    sessions, session_events
        Tables of these names (of `sessions` only session_id is read).
    events
        Table `events`, or the columns that `match_incidents` names.
    author
        Who says so: the incident file's name.

    Returns
    -------
    Table `labels`, one row per incident × session; verdict malicious or benign-but-suspicious; `event_ids` are the
    events of the incident in that session, in order of time. A session may hold both kinds: see `session_classes`.
    `at` stays null: an incident file does not say when it was written.
    """
    matched = match_incidents(incidents, events).join(session_events, on="event_id", how="inner")
    matched = matched.join(sessions.select("session_id"), on="session_id", how="semi")
    rows = (
        matched.sort("incident_id", "session_id", "time", "event_id")
        .group_by("incident_id", "session_id", maintain_order=True)
        .agg(pl.col("event_id").alias("event_ids"))
        .join(incidents.select("incident_id", "malicious", "reason", "title"), on="incident_id", how="left")
        .with_columns(
            verdict=pl.when("malicious").then(pl.lit("malicious")).otherwise(pl.lit("benign-but-suspicious")),
            reason=pl.coalesce("reason", "title"),
        )
    )
    ids = [
        short_id("y", "incident", incident, session, verdict, author, *event_ids)
        for incident, session, verdict, event_ids in rows.select("incident_id", "session_id", "verdict", "event_ids").iter_rows()
    ]
    return tables.conform(
        rows.with_columns(
            pl.Series("label_id", ids, dtype=pl.String),
            target_kind=pl.lit("incident"),
            target_id=pl.col("incident_id"),
            author=pl.lit(author),
        ),
        "labels",
    )


def spread_case_labels(labels: pl.DataFrame, members: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    """Say of which sessions the labels of cases speak, for a person judges a case and figures count sessions.

    Parameters
    ----------
    labels
        Table `labels`, those that stand.
    members
        Frame with case_id and session_id: the cases that there are now.
    session_events
        Table of that name.

    Returns
    -------
    Table `labels`: a label of a case with several sessions becomes one row for each session that it speaks of, `event_ids` only those
    that lie in it. `malicious` speaks of the sessions that hold its events, for the rest of a story may be ordinary work; the
    other verdicts, and a label without events, speak of all sessions of the case. A label of a case that is no longer there (windows
    were cut anew) speaks of the sessions that hold its events now. All other labels stay as they are.
    """
    is_case = pl.col("target_kind") == "case"
    present = pl.col("target_id").is_in(members["case_id"].unique().implode())
    sessions_now = pl.col("session_id").is_in(session_events["session_id"].unique().implode())
    open_case = is_case & ~(pl.col("session_id").is_not_null() & sessions_now)
    of_cases = labels.filter(open_case.fill_null(False))
    held = (
        of_cases.select("label_id", event_id="event_ids").explode("event_id", empty_as_null=False)
        .join(session_events, on="event_id").group_by("label_id", "session_id").agg(held="event_id")
    )
    whole = of_cases.filter(present & ((pl.col("verdict") != "malicious") | (pl.col("event_ids").list.len() == 0)))
    everywhere = whole.select("label_id", "target_id").join(members.unique(), left_on="target_id", right_on="case_id")
    spoken = pl.concat([held.select("label_id", "session_id"), everywhere.select("label_id", "session_id")]).unique()
    rows = (
        of_cases.drop("session_id").join(spoken, on="label_id", how="left", maintain_order="left")
        .join(held, on=["label_id", "session_id"], how="left", maintain_order="left")
        .with_columns(
            event_ids=pl.col("held").fill_null([]),
            label_id=pl.concat_str("label_id", "session_id", separator=":", ignore_nulls=True),
        )
        .sort("label_id", maintain_order=True)
    )
    return tables.conform(pl.concat([labels.filter(~open_case.fill_null(False)), tables.conform(rows.drop("held"), "labels")]), "labels")


def session_classes(labels: pl.DataFrame) -> pl.DataFrame:
    """Return the one class of each labelled session: malicious wins over benign-but-suspicious, that over benign.

    Parameters
    ----------
    labels
        Table `labels`; rows without a session or with verdict unsure say nothing about a session.

    Returns
    -------
    Frame with session_id and verdict, one row per session, in order of session_id.
    """
    order = {"malicious": 0, "benign-but-suspicious": 1, "benign": 2}
    return (
        labels.filter(pl.col("session_id").is_not_null() & pl.col("verdict").is_in(list(order)))
        .select("session_id", "verdict", strength=pl.col("verdict").replace_strict(order, return_dtype=pl.Int8))
        .sort("session_id", "strength")
        .unique("session_id", keep="first", maintain_order=True)
        .select("session_id", "verdict")
    )
