"""Small worlds of linked sessions: events from short rows, sessions by the real stage."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
from session_frames import make_events

from audit_lab.classes import actor_kind
from audit_lab.profile_files import load_profile
from audit_lab.sessions import build_sessions
from audit_lab.sessions.lineage import link_sessions
from audit_lab.sessions.stories import build_stories

PROFILE = load_profile("sample", environ={})
GAP_S = PROFILE.sessions.gap_s
RBAC = "rbac.authorization.k8s.io"
HOME, AWAY = "10.0.0.1", "203.0.113.9"


class World(NamedTuple):
    """What the stage makes of some events."""

    events: pl.DataFrame
    sessions: pl.DataFrame
    session_events: pl.DataFrame
    links: pl.DataFrame
    stories: pl.DataFrame

    def kinds(self, least: float = 0.0) -> set[tuple[str, str, str]]:
        """Links of at least that score as (kind, actor who makes, actor who uses), with '@' and source where a user has several."""
        name = {key: f"{actor}@{source}" for key, actor, source in self.sessions.select("session_id", "actor", "source_ip").iter_rows()}
        strong = self.links.filter(pl.col("score") >= least)
        return {(kind, name[maker], name[user]) for kind, maker, user in strong.select("kind", "from_session", "to_session").iter_rows()}

    def groups(self, *, follow_ups: bool = False) -> list[set[str]]:
        """The stories as sets of 'actor@source'."""
        held = self.stories if follow_ups else self.stories.filter(pl.col("role") != "follow_up")
        named = held.join(self.sessions, on="session_id").select("story_id", pl.format("{}@{}", "actor", "source_ip").alias("who"))
        return sorted((set(who) for who in named.group_by("story_id").agg("who")["who"].to_list()), key=sorted)


def world(*rows: dict) -> World:
    """Build everything from rows as `make_events` takes them; `actor_kind` follows from the user."""
    events = make_events(*({"actor_kind": actor_kind(row.get("user", "ann")), **row} for row in rows))
    sessions, session_events = build_sessions(events, PROFILE)
    links = link_sessions(events, sessions, session_events, near_s=GAP_S)
    return World(events, sessions, session_events, links, build_stories(links, sessions))


def account(name: str, namespace: str = "dev") -> str:
    """User name of a service account."""
    return f"system:serviceaccount:{namespace}:{name}"


def creates(resource: str, name: str, namespace: str | None = "dev", **more: object) -> dict:
    """A successful create."""
    return {"verb": "create", "resource": resource, "name": name, "namespace": namespace, "status": 201, **more}


def mints(name: str, namespace: str = "dev", **more: object) -> dict:
    """A TokenRequest for a service account."""
    return creates("serviceaccounts", name, namespace, subresource="token", **more)


def binds(name: str, *subjects: str, role: str = "ClusterRole/edit", **more: object) -> dict:
    """A new RoleBinding in namespace dev."""
    return creates("rolebindings", name, api_group=RBAC, subjects=list(subjects), role_ref=role, **more)


def writes_role(name: str, *rules: str, verb: str = "patch", **more: object) -> dict:
    """A write of a Role in namespace dev; rules as in events.granted."""
    return {"verb": verb, "resource": "roles", "name": name, "namespace": "dev", "api_group": RBAC, "granted": list(rules), **more}
