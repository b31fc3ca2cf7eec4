"""A small cluster in code: ordinary developers, one of whom is taken over; used by the judge's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

from audit_lab import tables
from audit_lab.hashing import short_id

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Story(NamedTuple):
    candidates: pl.DataFrame
    sessions: pl.DataFrame
    session_events: pl.DataFrame
    events: pl.DataFrame
    signals: pl.DataFrame


def event(at_s: float, user: str | None, verb: str, resource: str | None, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "time": START + timedelta(seconds=at_s), "user": user, "verb": verb, "resource": resource, "api_group": "" if resource else None,
        "cluster": "c", "archive_id": "a", "position": 0, "n_stages": 1, "actor": user or "", "source_class": "private", "source_ip": "10.0.0.7",
        "actor_kind": "human" if user else "unauthenticated", "client_family": "kubectl", "status": 200, "decision": "allow",
        "truncated": False, "has_body": False, "uri": "/api/v1/x", "user_agent": "kubectl/v1.30",
    }
    row.update(more)
    row.setdefault("event_id", short_id("x", at_s, user, verb, resource, str(more)))
    return row


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = tables.TABLES["events"].schema
    return tables.conform(pl.DataFrame(rows, schema={name: schema[name] for name in {key for row in rows for key in row}}), "events")


def events_of_story(n_peers: int = 12) -> list[dict[str, Any]]:
    """Peers and mallory read pods and config all morning; then mallory lists secrets, is refused, and gets cluster-admin."""
    rows: list[dict[str, Any]] = []
    for number in range(n_peers):
        for step in range(4):
            rows.append(event(number * 40 + step, f"dev-{number}", "list", "pods", namespace=f"team-{number % 3}"))
        rows.append(event(number * 40 + 5, f"dev-{number}", "get", "configmaps", namespace=f"team-{number % 3}", name="settings"))
    for step in range(3):
        rows.append(event(600 + step, "mallory", "list", "pods", namespace="team-1"))
    late = 7200
    rows.append(event(late, "mallory", "list", "secrets", source_ip="198.51.100.9", source_class="public"))
    for step in range(3):
        rows.append(event(late + 1 + step, "mallory", "get", "secrets", namespace="kube-system", name=f"token-{step}", status=403,
                          decision="forbid", source_ip="198.51.100.9", source_class="public"))
    for step in range(2):
        rows.append(event(late + 5 + step, "mallory", "get", "secrets", namespace="team-1", name=f"db-{step}",
                          source_ip="198.51.100.9", source_class="public"))
    rows.append(event(late + 9, "mallory", "create", "clusterrolebindings", api_group="rbac.authorization.k8s.io", name="x", status=201,
                      role_ref="ClusterRole/cluster-admin", subjects=["User/mallory"], source_ip="198.51.100.9", source_class="public"))
    rows.append(event(late + 12, "mallory", "create", "pods", subresource="exec", namespace="team-1", name="web", status=101,
                      commands=["cat /var/run/secrets/kubernetes.io/serviceaccount/token"], command_classes=["token_read"],
                      source_ip="198.51.100.9", source_class="public"))
    return rows


def story(rows: list[dict[str, Any]] | None = None, chosen: tuple[str, ...] | None = ("mallory",)) -> Story:
    """Return the tables; a session is a user and source with pauses below five minutes, and cases are late sessions of `chosen` users."""
    events = frame(events_of_story() if rows is None else rows).sort("time", "event_id")
    key = ["cluster", "user", "source_ip"]
    numbered = events.with_columns(
        (pl.col("time").diff().over(key).dt.total_seconds().fill_null(10**6) > 300).cum_sum().over(key).alias("n"))
    named = pl.format("s-{}-{}-{}", pl.col("user").fill_null("none"), "source_ip", "n")
    numbered = numbered.with_columns(pl.when(pl.col("cluster") == "c").then(named).otherwise(pl.format("{}-{}", named, "cluster")).alias("session_id"))
    from audit_lab.actions import action_token

    sessions = numbered.with_columns(action_token().alias("action")).group_by("session_id", maintain_order=True).agg(
        *(pl.col(name).first() for name in ("cluster", "actor", "user", "actor_kind", "source_ip", "source_class")),
        pl.col("client_family").unique(maintain_order=True).alias("client_families"), pl.col("time").min().alias("start"),
        pl.col("time").max().alias("end"), pl.len().alias("n_events"), (pl.col("status") == 403).sum().alias("n_denied"),
        (pl.col("status") == 401).sum().alias("n_unauthenticated"),
        pl.col("verb").is_in(["create", "update", "patch", "delete"]).sum().alias("n_writes"),
        pl.col("action").unique(maintain_order=True).alias("actions"),
    ).with_columns((pl.col("end") - pl.col("start")).dt.total_seconds().alias("duration_s"), pl.lit("").alias("summary"),
                   pl.lit("").alias("summary_digest"))
    for name, column in tables.TABLES["sessions"].columns.items():
        if name not in sessions.columns and not column.nullable:
            sessions = sessions.with_columns(pl.lit(0 if column.dtype == pl.Int64 else False).cast(column.dtype).alias(name))
    sessions = tables.conform(sessions, "sessions")
    members = numbered.select("event_id", "session_id")
    wanted = pl.lit(True) if chosen is None else pl.col("user").is_in(chosen)
    picked = sessions.filter(wanted & (pl.col("start") > START + timedelta(hours=1)))
    candidates = picked.with_row_index("rank", 1).select(
        pl.format("c-{}", "session_id").alias("case_id"), "rank", pl.concat_list("session_id").alias("session_ids"),
        pl.lit(0.9).alias("score"), pl.lit(None).alias("floor"), pl.lit("rank").alias("selected_by"),
        pl.lit(1.0).alias("sampling_probability"), pl.lit("rank").alias("why"))
    signals = [
        {"session_id": item["session_ids"][0], "detector_id": "r1", "detector_version": "1", "kind": "rule", "strength": 1.0, "severity": "high",
         "floor": 0.7, "p_value": None, "reason": "rule hit", "event_ids": []}
        for item in candidates.iter_rows(named=True)
    ]
    return Story(tables.conform(candidates, "candidates"), sessions, members, events,
                 tables.conform(pl.DataFrame(signals, schema=tables.TABLES["signals"].schema), "signals"))
