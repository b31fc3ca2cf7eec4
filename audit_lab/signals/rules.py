"""Run rules on events: the step of the flow, events and sessions in, the table `signals` out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import polars as pl

from audit_lab import tables
from audit_lab.signals.exceptions import ROUTINE, RuleException
from audit_lab.signals.hits import find_hits
from audit_lab.signals.rulebook import Rule, usable
from audit_lab.signals.sigma.engine import numbered

# Strength of a hit by level: comparable within the rules; fusion sets the weight of rules against other detectors.
STRENGTH = {"informational": 0.1, "low": 0.25, "medium": 0.5, "high": 0.75, "critical": 0.95}
# A session that only took part in a correlation, without its last event, is a little less sure to be the place to look.
INVOLVED = 0.8
MAX_EVENT_IDS = 50


class RuleTables(NamedTuple):
    """`signals` that are left, those that exceptions `hidden` (same columns), and the table `exceptions` with its counts."""

    signals: pl.DataFrame
    hidden: pl.DataFrame
    exceptions: pl.DataFrame


def run_rules(
    rules: Sequence[Rule],
    events: pl.DataFrame,
    session_events: pl.DataFrame,
    exceptions: Sequence[RuleException] = ROUTINE,
    today: date | None = None,
) -> pl.DataFrame:
    """Return the signals of all usable rules that no exception hides; see `run_rules_aside` for the hidden ones.

    Parameters
    ----------
    rules
        From `load_rules`; unusable ones are passed over.
    events, session_events
        The tables of these names. Events without a session give no signal.
    exceptions, today
        Noise rules, and the day that their expiry is compared with (None: nothing has expired).

    Returns
    -------
    polars.DataFrame
        Table `signals`: one row per session and rule, `strength` by the rule's level, `reason` the rule's title,
        `event_ids` the first 50 events in order of time. A correlation speaks for the session of its last event with
        full strength and for every other session that took part with 0.8 of it; its `event_ids` name the session's own first.
    """
    return run_rules_aside(rules, events, session_events, exceptions, today).signals


def run_rules_aside(
    rules: Sequence[Rule],
    events: pl.DataFrame,
    session_events: pl.DataFrame,
    exceptions: Sequence[RuleException] = ROUTINE,
    today: date | None = None,
) -> RuleTables:
    """Return the signals as `run_rules` does, and beside them what the exceptions hid: nothing is deleted for noise.

    A signal counts as hidden when exceptions cover all the events that it would have had, or events without which a
    correlation does not come about; it counts for each exception that had a part in that.
    """
    tables.check(session_events, "session_events")
    ready = usable(rules)
    found = find_hits(ready, tables.check(events, "events"), exceptions, today)
    signals = tables.conform(_signals(ready, found.kept, events, session_events), "signals")
    covered = found.hidden.select("rule", pl.lit(0, pl.Int64).alias("hit"), "i", pl.lit(True).alias("is_last")).unique(maintain_order=True)
    aside = _signals(ready, covered, events, session_events)
    hidden = tables.conform(aside.join(signals, on=["session_id", "detector_id"], how="anti", maintain_order="left"), "signals")
    return RuleTables(signals, hidden, _counted(exceptions, ready, found.hidden, hidden, events, session_events))


def _counted(
    exceptions: Sequence[RuleException], rules: Sequence[Rule], covered: pl.DataFrame, hidden: pl.DataFrame, events: pl.DataFrame,
    session_events: pl.DataFrame,
) -> pl.DataFrame:
    """Return the table `exceptions`: how many of the hidden signals each exception had a part in."""
    names = pl.DataFrame({"rule": range(len(rules)), "detector_id": [rule.rule_id for rule in rules]},
                         schema={"rule": pl.Int64, "detector_id": pl.String})
    keyed = numbered(events.select("event_id"))
    counts = (
        covered.join(names, on="rule").join(keyed, on="i").join(session_events, on="event_id")
        .join(hidden.select("session_id", "detector_id"), on=["session_id", "detector_id"], how="semi")
        .select("exception_id", "session_id", "detector_id").unique()
        .group_by("exception_id").agg(pl.len().cast(pl.Int64).alias("n_hidden"))
    )
    listed = pl.DataFrame(
        [{name: getattr(exception, name) for name in ("exception_id", "scope", "owner", "reason", "expires")} for exception in exceptions],
        schema={name: dtype for name, dtype in tables.TABLES["exceptions"].schema.items() if name != "n_hidden"},
    )
    joined = listed.join(counts, on="exception_id", how="left", maintain_order="left")
    return tables.conform(joined.with_columns(pl.col("n_hidden").fill_null(0)), "exceptions")


def _signals(rules: Sequence[Rule], hits: pl.DataFrame, events: pl.DataFrame, session_events: pl.DataFrame) -> pl.DataFrame:
    facts = pl.DataFrame(
        [
            {
                "rule": place, "detector_id": rule.rule_id, "detector_version": rule.version, "kind": rule.kind, "severity": rule.level,
                "full": STRENGTH.get(rule.level, STRENGTH["low"]), "floor": rule.floor, "reason": rule.title,
            }
            for place, rule in enumerate(rules) if rule.emits
        ],
        schema={
            "rule": pl.Int64, "detector_id": pl.String, "detector_version": pl.String, "kind": pl.String, "severity": pl.String,
            "full": pl.Float64, "floor": pl.Float64, "reason": pl.String,
        },
    )
    keyed = numbered(events.select("event_id", "time"))
    placed = (
        hits.join(facts.select("rule", "kind"), on="rule")
        .join(keyed, on="i")
        .join(session_events.select("event_id", "session_id"), on="event_id", how="inner")
        .sort("rule", "time", "event_id", "hit")
    )
    own = placed.group_by("rule", "session_id", maintain_order=True).agg(
        pl.col("event_id").unique(maintain_order=True).head(MAX_EVENT_IDS).alias("own_ids"), pl.col("is_last").any()
    )
    others = (
        placed.filter(pl.col("kind") == "correlation").select("rule", "hit", "session_id").unique()
        .join(placed.group_by("rule", "hit", maintain_order=True).agg(pl.col("event_id").head(MAX_EVENT_IDS).alias("hit_ids")),
              on=["rule", "hit"])
        .sort("rule", "session_id", "hit")
        .group_by("rule", "session_id", maintain_order=True).agg(pl.col("hit_ids").explode().head(2 * MAX_EVENT_IDS))
    )
    strength = pl.col("full") * pl.when("is_last").then(1.0).otherwise(INVOLVED)
    return (
        own.join(others, on=["rule", "session_id"], how="left")
        .join(facts, on="rule")
        .with_columns(
            strength.alias("strength"),
            pl.concat_list("own_ids", pl.col("hit_ids").fill_null([])).list.unique(maintain_order=True).list.head(MAX_EVENT_IDS)
            .alias("event_ids"),
        )
        .sort("detector_id", "session_id")
        .drop("rule", "own_ids", "hit_ids", "is_last", "full")
    )
