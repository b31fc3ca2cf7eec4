"""Who belongs together: teams of people, namespaces of accounts, and the peers that a habit is compared with."""

from __future__ import annotations

import polars as pl

from audit_lab.classes import map_distinct

_BUILT_IN = "system:"


def team_of(user: str | None, groups: list[str] | None) -> str:
    """Return the team of an identity: the namespace of a service account, or the first own group of a person, 'none' without one.

    Identity providers list the narrowest group first as a rule; groups of Kubernetes itself say nothing about a team.

    >>> team_of("ann", ["team-a", "developers", "system:authenticated"]), team_of("system:serviceaccount:shop:app", None)
    ('team-a', 'shop')
    """
    parts = (user or "").split(":")
    if parts[:2] == ["system", "serviceaccount"] and len(parts) == 4:
        return parts[2]
    return next((group for group in groups or [] if not group.startswith(_BUILT_IN)), "none")


def add_teams(events: pl.DataFrame) -> pl.DataFrame:
    """Add `team` to events; columns in: `user`, `user_groups`."""
    identity = events.select(pl.struct("user", "user_groups").alias("identity"))["identity"]
    return events.with_columns(
        map_distinct(identity, lambda row: team_of(row["user"], row["user_groups"]), pl.String).alias("team")
    )
