"""Sixty rules and ten correlations over a million events: our DuckDB backend beside sqlite3 with pysigma-backend-sqlite.

    python benchmarks/bench_rules.py [--events 1000000] [--limit-s 600]

Both start from the same frame in memory and the same rule files, and are asked which events each rule finds. Loading and
rule compilation are included, as totals and apart. A correlation that sqlite3 does not finish within the limit is stopped
and counted with the time it took: the ratio is then too small, and the output says so. Hits of both are compared.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from typing import Any

import numpy as np
import polars as pl
import yaml
from sigma.backends.sqlite import sqliteBackend
from sigma.backends.sqlite.runtime import execute_plan
from sigma.collection import SigmaCollection

from audit_lab import classes, tables
from audit_lab.signals.hits import find_hits
from audit_lab.signals.rulebook import PACK, load_rules
from audit_lab.signals.sigma.mapping import audit_fields

CORRELATIONS = (
    "authentication-failure-burst", "permission-enumeration", "forbidden-burst", "reconnaissance-sweep", "secrets-and-exec",
    "rbac-then-workload", "actions-then-traces-removed", "mass-deletion", "broad-deletion", "secrets-across-namespaces",
)
N_RULES = 60


def make_events(n: int, seed: int = 7) -> pl.DataFrame:
    """Return n events of a day: mostly controllers and kubelets, some people, some of everything that rules look for."""
    rng = np.random.default_rng(seed)
    users = [*(f"system:node:n{i}" for i in range(40)), *(f"system:serviceaccount:ns{i % 20}:app{i}" for i in range(120)),
             "system:kube-controller-manager", "system:kube-scheduler", *(f"person{i}" for i in range(60)), "system:anonymous", ""]
    weights = np.array([8.0] * 40 + [5.0] * 120 + [150.0, 60.0] + [0.6] * 60 + [1.0, 1.0])
    who = rng.choice(len(users), n, p=weights / weights.sum())
    verbs = ["get", "list", "watch", "update", "patch", "create", "delete", "deletecollection"]
    resources = ["pods", "secrets", "configmaps", "leases", "nodes", "services", "deployments", "events", "serviceaccounts", "clusterroles",
                 "clusterrolebindings", "roles", "rolebindings", "cronjobs", "daemonsets", "namespaces", "endpoints", "jobs"]
    share = np.array([25, 2, 8, 30, 6, 4, 4, 6, 1, 0.3, 0.3, 0.3, 0.3, 0.5, 0.5, 1, 10, 1])
    agents = ["kubelet/v1.30", "kubectl/v1.30.0 (linux/amd64)", "kube-controller-manager/v1.30", "argocd-application-controller/v2",
              "Prometheus/2.5", "okhttp/4", "curl/8"]
    kinds = {user: classes.actor_kind(user) for user in users}
    families = {agent: classes.client_family(agent) for agent in agents}
    names = np.array(users, dtype=object)[who]
    agent = np.where(np.char.startswith(names.astype(str), "person"), agents[1], rng.choice(agents, n))
    resource = rng.choice(resources, n, p=share / share.sum())
    exec_like = (resource == "pods") & (rng.random(n) < 0.003)
    status = rng.choice([200, 201, 401, 403, 404, 409], n, p=[0.9, 0.06, 0.004, 0.006, 0.02, 0.01])
    namespace = rng.choice([*(f"ns{i}" for i in range(30)), "kube-system", "default", ""], n)
    frame = pl.DataFrame({
        "event_id": [f"e{i}" for i in range(n)], "cluster": pl.Series(["bench"] * n), "archive_id": pl.Series(["a"] * n),
        "position": np.arange(n), "time": pl.Series(np.sort(rng.integers(0, 86_400_000_000, n))).cast(pl.Datetime("us", "UTC")),
        "n_stages": pl.Series(np.ones(n, dtype=np.int64)), "user": names.tolist(), "actor": names.tolist(),
        "source_ip": [f"10.0.{u % 250}.{u % 7}" for u in who], "user_agent": agent.tolist(),
        "verb": rng.choice(verbs, n, p=[0.5, 0.12, 0.05, 0.15, 0.08, 0.07, 0.028, 0.002]).tolist(), "resource": resource.tolist(),
        "subresource": np.where(exec_like, "exec", "").tolist(), "namespace": namespace.tolist(),
        "name": [f"o{i}" for i in rng.integers(0, 5000, n)],
        "uri": [f"/api/v1/{kind}/{i}" for kind, i in zip(resource, rng.integers(0, 9000, n), strict=True)],
        "decision": np.where(status == 403, "forbid", "allow").tolist(), "status": status,
        "truncated": np.zeros(n, bool), "has_body": rng.random(n) < 0.2,
        "privileged": rng.random(n) < 0.0005, "host_pid": rng.random(n) < 0.0002, "source_class": pl.Series(["private"] * n),
    })
    blank = [pl.when(pl.col(name) == "").then(None).otherwise(pl.col(name)).alias(name) for name in ("user", "subresource", "namespace")]
    return tables.conform(frame.with_columns(
        *blank, pl.col("actor").replace_strict(kinds).alias("actor_kind"),
        pl.col("user_agent").replace_strict(families).alias("client_family"),
    ), "events")


def chosen() -> tuple[list[str], list[str]]:
    """Names of sixty plain rules that both can run (single values, no regular expressions), and of the ten correlations."""
    fields, columns = audit_fields(), set(tables.TABLES["events"].columns)
    rules = {rule.rule_id: rule for rule in load_rules()}
    below = list(dict.fromkeys(name for correlation in CORRELATIONS for name in rules[correlation].references))
    simple = [rule.rule_id for rule in rules.values() if rule.kind == "rule" and "regexp" not in rule.condition and all(
        name in columns and fields[name].kind in ("text", "integer", "boolean") for name in rule.fields)]
    if not set(below) <= set(simple):
        raise SystemExit(f"not single-valued: {set(below) - set(simple)}")
    return [*below, *(name for name in simple if name not in below)][:N_RULES], list(CORRELATIONS)


def documents(names: list[str]) -> list[dict[str, Any]]:
    found = {}
    for path in sorted(PACK.glob("*.yml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            document.pop("audit_lab", None)
            found[document["name"]] = document
    return [found[name] for name in names]


def run_ours(events: pl.DataFrame, names: list[str]) -> tuple[dict[str, float], dict[str, int]]:
    begun = time.perf_counter()
    rules = [rule for rule in load_rules() if rule.rule_id in names]
    compiled = time.perf_counter()
    hits = find_hits(rules, events).kept
    done = time.perf_counter()
    counts = {rules[place].rule_id: n for place, n in hits.group_by("rule").agg(pl.col("i").n_unique()).iter_rows()}
    return {"compile": compiled - begun, "load and run": done - compiled, "total": done - begun}, counts


def run_theirs(
    events: pl.DataFrame, plain: list[str], correlations: list[str], limit_s: float
) -> tuple[dict[str, float], dict[str, int], list[str]]:
    fields = audit_fields()
    stopped: list[str] = []
    begun = time.perf_counter()
    backend = sqliteBackend(
        collate_nocase=True, table="events", timestamp_field="ts", event_id_field="event_id", timestamp_format="unix_us"
    )
    every = [{**document, "generate": True} for document in documents([*plain, *correlations])]
    for document in every:
        if "correlation" in document:
            document["correlation"] = {**document["correlation"], "generate": True}
    collection = SigmaCollection.from_dicts(every)
    answer = backend.convert(collection, output_format="zircolite")
    queries = [json.loads(item) if isinstance(item, str) else item for item in ([answer] if isinstance(answer, str) else answer)]
    queries = [item for part in queries for item in (part if isinstance(part, list) else [part])]
    compiled = time.perf_counter()
    rules = [rule for rule in load_rules() if rule.rule_id in plain]
    needed = sorted({name for rule in rules for name in rule.fields} | {"actor", "source_ip", "user", "resource", "namespace"})
    connection = sqlite3.connect(":memory:")
    types = {"text": "TEXT COLLATE NOCASE", "integer": "INTEGER", "boolean": "INTEGER"}
    declared = ", ".join(f"`{name}` {types[fields[name].kind]}" for name in needed)
    connection.execute(f"CREATE TABLE events (event_id TEXT, ts INTEGER, {declared})")
    rows = events.select("event_id", pl.col("time").dt.epoch("us"), *(
        pl.col(name).cast(pl.Int64) if fields[name].kind == "boolean" else pl.col(name) for name in needed)).iter_rows()
    connection.executemany(f"INSERT INTO events VALUES ({', '.join('?' * (len(needed) + 2))})", rows)
    connection.commit()
    loaded = time.perf_counter()
    counts: dict[str, int] = {}
    plans = []
    for item in queries:
        name = item["title"]
        if item["result_type"] == "correlation":
            plans.append(item)
            continue
        (query,) = item["rule"]
        ids = connection.execute(query.replace("SELECT *", "SELECT event_id", 1)).fetchall()
        counts[name] = len(ids)
    matched = time.perf_counter()
    for item in plans:
        deadline = time.perf_counter() + limit_s
        connection.set_progress_handler(lambda deadline=deadline: int(time.perf_counter() > deadline), 100_000)
        try:
            alerts, _ = execute_plan(connection, item["correlation_plan"], include_events=False)
            counts[item["title"]] = len({name for alert in alerts for name in alert["event_ids"]})
        except sqlite3.OperationalError:
            stopped.append(item["title"])
    done = time.perf_counter()
    marks = {"compile": (begun, compiled), "load": (compiled, loaded), "rules": (loaded, matched), "correlations": (matched, done)}
    times = {name: end - start for name, (start, end) in marks.items()} | {"total": done - begun}
    return times, counts, stopped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--limit-s", type=float, default=600.0)
    options = parser.parse_args()
    events = make_events(options.events)
    plain, correlations = chosen()
    titles = {rule.title: rule.rule_id for rule in load_rules()}
    ours, our_counts = run_ours(events, [*plain, *correlations])
    theirs, their_counts, stopped = run_theirs(events, plain, correlations, options.limit_s)
    by_id = {titles[title]: n for title, n in their_counts.items()}
    differ = {name: (our_counts.get(name, 0), n) for name, n in by_id.items() if our_counts.get(name, 0) != n}
    print(json.dumps({
        "events": options.events, "rules": len(plain), "correlations": len(correlations),
        "ours_s": {name: round(value, 2) for name, value in ours.items()},
        "sqlite_s": {name: round(value, 2) for name, value in theirs.items()},
        "ratio": round(theirs["total"] / ours["total"], 1),
        "ratio_is_a_lower_bound_because_stopped": [titles[title] for title in stopped],
        "hits_ours": sum(our_counts.values()), "events_in_hits_that_differ": differ,
    }, indent=1))


if __name__ == "__main__":
    main()
