"""Which case may be shown to which endpoint: sensitive ones stay in the house, whatever happens.

A case is sensitive by its namespaces, its identities, or what was done in it (categories of predicates), as the profile
says; a profile that says nothing keeps everything in. Only a case that is not sensitive and whose fused score is low may
go to the cloud. When the on-premises endpoint is down, sensitive cases wait: they are never sent elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import polars as pl

from audit_lab.judge import facts as fact
from audit_lab.predicates import PREDICATES
from audit_lab.profile import JudgeSettings

WAITS = "waits: the on-premises endpoint gave no answer, and this case is not sent elsewhere"
# What an endpoint in the cloud says of a case that it was handed although nobody permitted it: nothing was sent.
STAYS = "not sent: this case may not leave the house"
NO_HOUSE = "waits: no on-premises endpoint is set, and this case is not sent elsewhere"


def route_cases(
    candidates: pl.DataFrame, session_events: fact.Frame, events: fact.Frame, settings: JudgeSettings,
) -> pl.DataFrame:
    """Return where each case may be judged.

    Parameters
    ----------
    candidates, session_events, events
        Tables of those names.
    settings
        `sensitive_namespaces`, `sensitive_users`, `sensitive_categories`, `cloud_below`.

    Returns
    -------
    pl.DataFrame
        `case_id`, `role` (onprem or cloud), `why` (one line; it names no namespace and no identity).
    """
    inside = fact.case_events(candidates, session_events, events)
    wanted = [name for name, predicate in PREDICATES.items() if predicate.category in settings.sensitive_categories]
    touched = set(fact.matches(inside, wanted)["case_id"])
    spaces = _by_case(inside, ["namespace"], settings.sensitive_namespaces)
    people = _by_case(inside, ["user", "impersonated_user"], settings.sensitive_users)
    everywhere = "*" in settings.sensitive_namespaces
    rows = []
    for case_id, score in candidates.select("case_id", "score").iter_rows():
        reasons = [
            (everywhere, "every namespace is sensitive"), (case_id in spaces, "it touches a sensitive namespace"),
            (case_id in people, "a sensitive identity acts in it"), (case_id in touched, "what was done in it is sensitive"),
            (score >= settings.cloud_below, f"its score is not below {settings.cloud_below:g}"),
        ]
        why = [text for holds, text in reasons if holds]
        rows.append((case_id, "onprem" if why else "cloud", why[0] if why else "not sensitive and only lightly suspicious"))
    return pl.DataFrame(rows, schema={"case_id": pl.String, "role": pl.String, "why": pl.String}, orient="row")


def _by_case(inside: pl.DataFrame, columns: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Return the cases that hold a value which fits a pattern; a cluster-wide list of objects touches every namespace."""
    found: set[str] = set()
    for column in columns:
        values = inside[column].drop_nulls().unique().to_list()
        hits = [value for value in values if any(fnmatchcase(value, pattern) for pattern in patterns)]
        found |= set(inside.filter(pl.col(column).is_in(hits))["case_id"])
    if patterns and "namespace" in columns:
        wide = pl.col("namespace").is_null() & pl.col("name").is_null() & pl.col("verb").is_in(["list", "watch", "deletecollection"])
        found |= set(inside.filter(wide)["case_id"])
    return found
