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
