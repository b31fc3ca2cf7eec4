"""The stage: events in, sessions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from audit_lab import tables
from audit_lab.classes import map_distinct
from audit_lab.hashing import text_digest
from audit_lab.profile import Profile
from audit_lab.sessions import features, summary, windows
from audit_lab.vocabulary import action_token


class SessionTables(NamedTuple):
    """What the stage makes: tables sessions and session_events."""

    sessions: pl.DataFrame
    session_events: pl.DataFrame


def build_sessions(events: pl.DataFrame, profile: Profile) -> SessionTables:
    """Group events into sessions, and say of each what was done and what was new.

    Columns in: table events. Columns out: tables sessions (one row per session, sorted by start) and session_events (one row
    per event). Novelty looks only at events before a session's start; the order of the rows does not matter.

    >>> tables_ = build_sessions(tables.empty("events"), Profile())
    >>> tables_.sessions.height, tables_.session_events.height
    (0, 0)
    """
    events = tables.check(events, "events")
    session_events = windows.split_sessions(events, profile.sessions)
    joined = with_actions(events, session_events, features.COLUMNS)
    counted = features.count_sessions(joined)
    news = features.newness(joined, counted)
    actions = features.mark_new(features.count_actions(joined), counted)
    described = counted.join(news, on="session_id", how="left").join(
        actions.group_by("session_id").agg(
            n_new_actions=pl.col("new_for_user").sum().cast(pl.Int64), actions=pl.col("action").sort_by("place")
        ),
        on="session_id", how="left",
    )
    texts = summary.summarize_sessions(described, actions)
    texts = texts.with_columns(summary_digest=map_distinct(texts["summary"], text_digest, pl.String))
    sessions = described.drop("is_known_user").join(texts, on="session_id", how="left").sort("start", "session_id")
    held = session_events.sort("session_id", "event_id")
    return SessionTables(tables.conform(sessions, "sessions"), tables.conform(held, "session_events"))


def with_actions(events: pl.DataFrame, session_events: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Return some `columns` of events with `session_id` and `action` (vocabulary.action_token), sorted by time and event id."""
    # Only then join and sort: the lists of an events table are many times heavier than what is counted.
    narrow = events.select("event_id", *columns, action_token())
    return narrow.join(session_events, on="event_id", how="inner").sort("time", "event_id")
