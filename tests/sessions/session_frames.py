"""Small event frames for the tests of the sessions stage."""

from datetime import UTC, datetime, timedelta

import polars as pl

from audit_lab import tables

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
DEFAULTS = {
    "cluster": "c1", "archive_id": "a-1", "position": 0, "n_stages": 1, "user": "ann", "actor_kind": "human", "source_ip": "10.0.0.1",
    "source_class": "private", "client_family": "kubectl", "verb": "get", "api_group": "", "resource": "pods", "truncated": False,
    "has_body": False, "status": 200, "decision": "allow",
}


def make_events(*rows: dict) -> pl.DataFrame:
    """Return a frame of table events; `at` is the time in seconds after START, everything else has a default."""
    full = []
    for number, row in enumerate(rows):
        values = {**DEFAULTS, "event_id": f"e{number:04d}", **row}
        user, other = values["user"], values.get("impersonated_user")
        values.setdefault("actor", "" if user is None else f"{user} as {other}" if other else user)
        values["time"] = START + timedelta(seconds=values.pop("at", number))
        full.append(values)
    schema = tables.TABLES["events"].schema
    return tables.conform(pl.DataFrame(full, schema={name: schema[name] for name in {key for row in full for key in row}}), "events")
