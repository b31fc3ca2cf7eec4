"""What these archives cannot show, and what makes their volume."""

from __future__ import annotations

import polars as pl

_WRITES = ("create", "update", "patch")
_BODY_NEEDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("privileged pods, host paths, images, commands", ("pods", "deployments", "daemonsets", "statefulsets", "jobs", "cronjobs")),
    ("who a binding binds to which role", ("rolebindings", "clusterrolebindings")),
    ("what a role grants", ("roles", "clusterroles")),
    ("where a webhook sends requests", ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")),
    ("what a certificate request asks for", ("certificatesigningrequests",)),
    ("type of a secret (long-lived tokens)", ("secrets",)),
)
_SIGHT = {"what": pl.String, "why": pl.String, "n": pl.Int64}


def blind_spots(events: pl.DataFrame) -> pl.DataFrame:
    """Return what cannot be seen in `events` (table events), why, and for how many events.

    Columns out: what (String), why (String), n (Int64: events concerned; null where it is the absence itself).
    """
    rows: list[dict[str, object]] = []
    verbs = set(events["verb"].drop_nulls().unique())
    if not verbs & {"get", "list", "watch"}:
        why = "no get, list or watch in these archives: the policy or the export leaves them out"
        rows.append({"what": "reads, of secrets too", "why": why, "n": None})
    if "secrets" not in events["resource"]:
        rows.append({"what": "use of secrets", "why": "no event on secrets at all", "n": None})
    done = pl.col("status").is_null() | (pl.col("status") < 400)
    own = events.filter(pl.col("verb").is_in(_WRITES) & pl.col("subresource").is_null() & done)
    for what, resources in _BODY_NEEDS:
        n = own.filter(pl.col("resource").is_in(resources) & ~pl.col("has_body") & ~pl.col("truncated")).height
        if n:
            rows.append({"what": what, "why": f"writes of {resources[0]} were logged without their body (level Metadata)", "n": n})
    minted = events.filter((pl.col("resource") == "serviceaccounts") & (pl.col("subresource") == "token") & ~pl.col("has_body")).height
    if minted:
        why = "token requests were logged without their body (level Metadata)"
        rows.append({"what": "audience and lifetime of minted tokens", "why": why, "n": minted})
    cut = int(events["truncated"].sum())
    if cut:
        rows.append({"what": "bodies of very large requests", "why": "the API server cut them (audit.k8s.io/truncated)", "n": cut})
    proxied = events.filter(pl.col("subresource").is_in(["exec", "attach"]) & pl.col("commands").is_null()).height
    if proxied:
        rows.append({"what": "what was typed in interactive sessions", "why": "exec and attach log the first command only", "n": proxied})
    return pl.DataFrame(rows, schema=_SIGHT)


def volume(events: pl.DataFrame, top: int = 20) -> pl.DataFrame:
    """Return what makes the volume: the largest groups of actor, verb and resource.

    Columns out: actor, verb, resource (String, null for non-resource requests), n (events), share (0–1 of all events).
    """
    target = pl.concat_str(["resource", "subresource"], separator="/", ignore_nulls=True)
    named = pl.when(pl.col("resource").is_not_null()).then(target).alias("resource")
    grouped = events.group_by("actor", "verb", named).agg(pl.len().cast(pl.Int64).alias("n"))
    return (
        grouped.with_columns((pl.col("n") / max(events.height, 1)).alias("share"))
        .sort(["n", "actor", "verb", "resource"], descending=[True, False, False, False], nulls_last=True).head(top)
    )
