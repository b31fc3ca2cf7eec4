"""When an incident did its first damage: the moment before which it should have been found.

Damage is what NIST SP 800-61 (revision 2, 3.2.6) calls functional and information impact, ATT&CK the tactics Credential Access, Execution
in somebody's container, and Impact: a secret was read or written or a token issued, a command was run in a container, a workload or
storage was destroyed. Which categories of predicates count is a setting (`evaluate.impact`); a request that was refused did none.
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from audit_lab.errors import InputError
from audit_lab.predicates import CATEGORIES, COLUMNS, PREDICATES, SUCCEEDED, match_predicates


def first_impacts(events: pl.DataFrame, placed: pl.DataFrame, categories: Collection[str]) -> dict[str, float] | None:
    """Return the time of each incident's first damage.

    Parameters
    ----------
    events
        Table `events`, or those of incidents only; with fewer columns than predicates need, nothing can be said.
    placed
        Frame with target_id (incident) and event_ids (list).
    categories
        Categories of predicates that do damage, e.g. secret, execution, destruction.

    Returns
    -------
    Incident -> µs since 1970, without those that did none; None when the events lack columns.

    Raises
    ------
    InputError
        When there is no such category.
    """
    unknown = sorted(set(categories) - set(CATEGORIES))
    if unknown:
        raise InputError(f"evaluate.impact: no category '{unknown[0]}'", f"one of: {', '.join(CATEGORIES)}")
    if not set(COLUMNS) <= set(events.columns):
        return None
    wanted = [name for name, predicate in PREDICATES.items() if predicate.category in categories]
    named = placed.select("target_id", event_id="event_ids").explode("event_id", empty_as_null=False)
    own = events.join(named, on="event_id", how="semi").filter(SUCCEEDED)
    harmful = match_predicates(own, wanted).select("event_id").unique()
    times = named.join(own.select("event_id", "time"), on="event_id", how="inner").join(harmful, on="event_id", how="semi")
    return dict(times.group_by("target_id").agg(pl.col("time").min().dt.epoch("us").cast(pl.Float64)).iter_rows())
