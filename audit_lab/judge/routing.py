"""Which case may be shown to which endpoint: sensitive ones stay in the house, whatever happens.

A case is sensitive by its namespaces, its identities, or what was done in it (categories of predicates), as the profile
says, and when its evidence tells of another session that is; a profile that says nothing keeps everything in. Only a case
that is not sensitive and whose fused score is low may go to the cloud. When the on-premises endpoint is down, sensitive
cases wait: they are never sent elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import polars as pl

from audit_lab.judge import facts as fact
from audit_lab.judge.evidence import outside_sessions
from audit_lab.predicates import PREDICATES
from audit_lab.profile import JudgeSettings

_WHO = ("user", "impersonated_user")
# A service account acts with the rights of its namespace, wherever it acts.
_ACCOUNT = r"^system:serviceaccount:([^:]+):"
_SUBJECT = r"^(?:ServiceAccount/|User/system:serviceaccount:|Group/system:serviceaccounts:)([^/:]+)"
# A list over all namespaces reaches every one; so does a node's kubelet, whose path names the pods (exec/NAMESPACE/POD) and
# whose records carry no namespace.
_EVERYWHERE = (
    pl.col("namespace").is_null() & pl.col("name").is_null() & pl.col("verb").is_in(["list", "watch", "deletecollection"])
) | ((pl.col("resource") == "nodes") & (pl.col("subresource") == "proxy"))
WAITS = "waits: the on-premises endpoint gave no answer, and this case is not sent elsewhere"
# What an endpoint in the cloud says of a case that it was handed although nobody permitted it: nothing was sent.
STAYS = "not sent: this case may not leave the house"
NO_HOUSE = "waits: no on-premises endpoint is set, and this case is not sent elsewhere"


def route_cases(
    candidates: pl.DataFrame, session_events: fact.Frame, events: fact.Frame, settings: JudgeSettings, *,
    sessions: pl.DataFrame | None = None, links: pl.DataFrame | None = None, labels: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return where each case may be judged.

    Parameters
    ----------
    candidates, session_events, events
        Tables of those names.
    settings
        `sensitive_namespaces`, `sensitive_users`, `sensitive_categories`, `cloud_below`.
    sessions, links, labels
        Tables of those names, as the evidence is built from: a pack tells what sessions outside the case did, and these count like its
        own. Without `sessions` only the case's own events do.

    Returns
    -------
    pl.DataFrame
        `case_id`, `role` (onprem or cloud), `why` (one line; it names no namespace and no identity): the first reason of
        namespaces, identities, categories, score, sessions outside.
    """
    everywhere = "*" in settings.sensitive_namespaces
    # Where everything stays in the house, nothing need be looked at.
    own = [] if everywhere else _sensitive(fact.case_events(candidates, session_events, events), settings)
    outside: set[str] = set()
    if sessions is not None and not everywhere:
        told = outside_sessions(candidates, sessions, links, labels)
        others = told.group_by("case_id", maintain_order=True).agg(pl.col("session_id").alias("session_ids"))
        outside = set().union(*(cases for cases, _ in _sensitive(fact.case_events(others, session_events, events), settings)))
    rows = []
    for case_id, score in candidates.select("case_id", "score").iter_rows():
        reasons = [
            (everywhere, "every namespace is sensitive"), *((case_id in cases, why) for cases, why in own),
            (score >= settings.cloud_below, f"its score is not below {settings.cloud_below:g}"),
            (case_id in outside, "its evidence tells of another session that is sensitive"),
        ]
        why = [text for holds, text in reasons if holds]
        rows.append((case_id, "onprem" if why else "cloud", why[0] if why else "not sensitive and only lightly suspicious"))
    return pl.DataFrame(rows, schema={"case_id": pl.String, "role": pl.String, "why": pl.String}, orient="row")


def sensitivity_notes(settings: JudgeSettings) -> list[str]:
    """Return what to say to whoever named an endpoint in the cloud and, by the profile, holds everything sensitive, or nothing."""
    if "*" in settings.sensitive_namespaces:
        return ["no case may go to the cloud: every namespace is sensitive until judge.sensitive_namespaces lists those that are"]
    if not (settings.sensitive_namespaces or settings.sensitive_users or settings.sensitive_categories):
        return [f"nothing is sensitive by this profile: every case with a score below {settings.cloud_below:g} may leave the house"]
    return []


def leaving(routes: pl.DataFrame) -> set[str]:
    """Return the cases that may leave the house, of what `route_cases` returned."""
    return set(routes.filter(pl.col("role") == "cloud")["case_id"])


def _sensitive(inside: pl.DataFrame, settings: JudgeSettings) -> list[tuple[set[str], str]]:
    """Return the cases whose events are sensitive by each of the profile's rules, in their order, with the reason."""
    wanted = [name for name, predicate in PREDICATES.items() if predicate.category in settings.sensitive_categories]
    touched = set(fact.matches(inside, wanted)["case_id"]) if wanted else set()
    spaces = _fitting(inside, ["namespace"], settings.sensitive_namespaces)
    if settings.sensitive_namespaces:
        spaces |= set(inside.filter(_EVERYWHERE)["case_id"])
        named = inside.with_columns(pl.when(pl.col("resource") == "namespaces").then("name").alias("named"), *(
            pl.col(column).str.extract(_ACCOUNT, 1).alias(f"home_{column}") for column in _WHO))
        spaces |= _fitting(named, ["named", *(f"home_{column}" for column in _WHO)], settings.sensitive_namespaces)
        # Whoever gives rights to an account tells of its namespace, wherever the binding stands.
        given = inside.select("case_id", pl.col("subjects").list.eval(pl.element().str.extract(_SUBJECT, 1)).alias("subject"))
        spaces |= _fitting(given.explode("subject"), ["subject"], settings.sensitive_namespaces)
    people = _fitting(inside, _WHO, settings.sensitive_users)
    return [
        (spaces, "it touches a sensitive namespace"), (people, "a sensitive identity acts in it"),
        (touched, "what was done in it is sensitive"),
    ]


def _fitting(inside: pl.DataFrame, columns: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Return the cases that hold a value which fits a pattern."""
    found: set[str] = set()
    for column in columns:
        values = inside[column].drop_nulls().unique().to_list()
        hits = [value for value in values if any(fnmatchcase(value, pattern) for pattern in patterns)]
        found |= set(inside.filter(pl.col(column).is_in(hits))["case_id"])
    return found
