"""Proposals for exceptions, from history: what keeps firing on the same work and never was an incident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from audit_lab import tables
from audit_lab.counting import counted
from audit_lab.hashing import short_id
from audit_lab.signals.exceptions import RuleException
from audit_lab.signals.hits import find_hits
from audit_lab.signals.planned import number_in, with_references
from audit_lab.signals.rulebook import Rule, usable
from audit_lab.signals.sigma.engine import numbered

PROPOSALS: dict[str, Any] = {
    "exception_id": pl.String, "rule_id": pl.String, "user": pl.String, "source": pl.String, "client": pl.String, "namespace": pl.String,
    "scope": pl.String, "n_sessions": pl.Int64, "n_events": pl.Int64, "share_of_rule": pl.Float64, "status": pl.String, "why": pl.String,
    "expires": pl.Date,
}


def propose_exceptions(
    rules: Sequence[Rule],
    signals: pl.DataFrame,
    events: pl.DataFrame,
    sessions: pl.DataFrame,
    session_events: pl.DataFrame,
    labels: pl.DataFrame,
    until: datetime,
    min_sessions: int = 5,
    lifetime: timedelta = timedelta(days=90),
) -> pl.DataFrame:
    """Propose exceptions from sessions that ended before `until`, and refuse those that would hide a labelled incident.

    Parameters
    ----------
    signals, events, sessions, session_events, labels
        The tables of these names. Only sessions that ended before `until` count, and only labels of such sessions:
        what tunes must be earlier than what it is tested on.
    min_sessions
        Fewer sessions are no habit.
    lifetime
        How long a proposed exception holds after `until`.

    Returns
    -------
    polars.DataFrame
        One row per rule, actor, class of source address, client family and namespace that keeps coming: `status` is
        `proposed` or `refused`, and `why` says what it would have hidden or how often it fired; `share_of_rule` is the share of
        the rule's sessions that it would have had a part in. Refused is what would hide a labelled incident or could take
        a signal from it, also by a leg of a chain that belongs to somebody else, and what anybody can be: no exception for
        requests without a credential. Rules with a floor are never proposed. Habits are those of the events that signals
        name, at most 50 each; for chains the rules are run again over `events` before `until`.
    """
    tables.check(signals, "signals")
    tables.check(labels, "labels")
    earlier = sessions.filter(pl.col("end") < until).select("session_id")
    touchable = {rule.rule_id: rule for rule in rules if rule.floor is None and not rule.unusable}
    named = (
        signals.filter(pl.col("detector_id").is_in(list(touchable))).join(earlier, on="session_id", how="semi")
        .select("detector_id", "session_id", pl.col("event_ids").alias("event_id")).explode("event_id")
        .join(session_events, on=["event_id", "session_id"], how="semi")
        .join(events.select("event_id", "actor", "actor_kind", "source_class", "client_family", "namespace"), on="event_id")
    )
    sessions_of_rule = named.group_by("detector_id").agg(pl.col("session_id").n_unique().alias("n_of_rule"))
    habits = (
        named.group_by("detector_id", "actor", "actor_kind", "source_class", "client_family", "namespace")
        .agg(pl.col("session_id").n_unique().cast(pl.Int64).alias("n_sessions"),
             pl.col("event_id").n_unique().cast(pl.Int64).alias("n_events"))
        .filter((pl.col("n_sessions") >= min_sessions) & (pl.col("actor") != ""))
        .join(sessions_of_rule, on="detector_id")
        .sort("n_sessions", "detector_id", "actor", "source_class", "client_family", "namespace", descending=[True] + [False] * 5)
    )
    incidents = _incident_events(labels, earlier, session_events, events)
    earlier_events = events.filter(pl.col("time") < until)
    needed = _needed_hits(rules, earlier_events, session_events, labels.join(earlier, on="session_id", how="semi"))
    expires = (until + lifetime).date()
    rows = [_proposal(habit, touchable[habit["detector_id"]], incidents, needed, expires) for habit in habits.to_dicts()]
    return pl.DataFrame(rows, schema=PROPOSALS)


def _incident_events(labels: pl.DataFrame, earlier: pl.DataFrame, session_events: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Return the events of incidents: those that the label names, or all of its session where it names none."""
    malicious = labels.filter(pl.col("verdict") == "malicious").join(earlier, on="session_id", how="semi")
    names_some = pl.col("event_ids").list.len() > 0
    stated = malicious.filter(names_some).select("target_id", pl.col("event_ids").alias("event_id")).explode("event_id")
    whole = malicious.filter(~names_some).join(session_events, on="session_id").select("target_id", "event_id")
    return pl.concat([stated, whole]).unique().join(events, on="event_id")


def _needed_hits(
    rules: Sequence[Rule], events: pl.DataFrame, session_events: pl.DataFrame, labels: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    """Return, by rule, the events that signals of sessions labelled malicious are made of: rows of `events` with a `target_id`.

    Of a rule, its hits in these sessions; of all that a correlation builds on, and of itself, every member of a hit that touches
    one of them, whoever it belongs to. Exceptions that leave these alone take no signal from a labelled incident.
    """
    malicious = labels.filter(pl.col("verdict") == "malicious").select("session_id", "target_id").unique()
    if malicious.is_empty():
        return {}
    ready = usable(rules)
    hits = find_hits(ready, events).kept
    rows_of = numbered(events)
    placed = rows_of.select("event_id", "i").join(session_events, on="event_id")
    struck = placed.join(malicious, on="session_id").select("i", "target_id").unique()
    chained = [place for place, rule in enumerate(ready) if rule.correlation is not None]
    plain = hits.filter(~pl.col("rule").is_in(chained))
    # What has a floor loses nothing to an exception that does not name it, and none is proposed that does.
    chains = hits.filter(pl.col("rule").is_in([place for place in chained if ready[place].floor is None]))
    touched = chains.join(struck, on="i").select("rule", "hit", "target_id").unique()
    members = chains.join(touched, on=["rule", "hit"]).select("rule", "i", "target_id").unique()
    by_id, places = {rule.rule_id: rule for rule in ready}, number_in(ready)
    pairs = [(place, places[other.rule_id]) for place in chained for other in with_references(ready[place], by_id)[1:]]
    below = pl.DataFrame(pairs, schema={"rule": pl.Int64, "below": pl.Int64}, orient="row")
    legs = members.join(below, on="rule").select(pl.col("below").alias("rule"), "i", "target_id")
    base = legs.join(plain, on=["rule", "i"], how="semi")
    between = legs.filter(pl.col("rule").is_in(chained))
    own = plain.join(struck, on="i").select("rule", "i", "target_id")
    needed = pl.concat([own, members, base, between]).unique().join(rows_of, on="i")
    return {ready[int(place)].rule_id: rows for (place,), rows in needed.group_by("rule")}


def _proposal(
    habit: dict[str, str | int | None], rule: Rule, incidents: pl.DataFrame, needed: Mapping[str, pl.DataFrame], expires: date
) -> dict[str, object]:
    actor, client, namespace, source = str(habit["actor"]), str(habit["client_family"]), habit["namespace"], str(habit["source_class"])
    exception = RuleException(
        short_id("x", rule.rule_id, actor, source, client, namespace), "", "", expires, rules=(rule.rule_id,), users=(_exact(actor),),
        sources=(source,), clients=(client,), namespaces=(_exact(str(namespace)),) if namespace is not None else (),
    )
    hidden = _covered(incidents, exception)
    lost = _covered(needed[rule.rule_id], exception) if rule.rule_id in needed else []
    status, why = "proposed", f"{counted(int(habit['n_sessions'] or 0), 'session')}, part of no labelled incident"
    if habit["actor_kind"] in ("anonymous", "unauthenticated"):
        status, why = "refused", "anybody can come without a credential"
    if lost:
        status, why = "refused", f"it could take a signal from the labelled incident {', '.join(lost[:3])}"
    if hidden:
        status, why = "refused", f"it would hide events of the labelled incident {', '.join(hidden[:3])}"
    return {
        "exception_id": exception.exception_id, "rule_id": rule.rule_id, "user": actor, "source": source, "client": client,
        "namespace": namespace, "scope": exception.scope, "n_sessions": habit["n_sessions"], "n_events": habit["n_events"],
        "share_of_rule": int(habit["n_sessions"] or 0) / int(habit["n_of_rule"] or 1), "status": status, "why": why,
        "expires": expires,
    }


def _covered(events: pl.DataFrame, exception: RuleException) -> list[str]:
    return events.filter(exception.matches())["target_id"].unique().sort().to_list()


def exceptions_toml(proposals: pl.DataFrame) -> str:
    """Return the proposed rows as TOML for `load_exceptions`; owner and reason are for a person to fill in."""
    blocks = []
    for row in proposals.filter(pl.col("status") == "proposed").to_dicts():
        lines = [
            "[[exception]]", f"id = {_quoted(row['exception_id'])}", f"rules = [{_quoted(row['rule_id'])}]",
            f"users = [{_quoted(_exact(row['user']))}]", f"sources = [{_quoted(row['source'])}]", f"clients = [{_quoted(row['client'])}]",
            *([f"namespaces = [{_quoted(_exact(row['namespace']))}]"] if row["namespace"] is not None else []),
            'owner = ""', 'reason = ""', f"expires = {row['expires'].isoformat()}", f"# {row['why']}",
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + ("\n" if blocks else "")


def _exact(text: str) -> str:
    """Write a name so that its own wildcards mean themselves: as a single character each, which is the narrowest there is."""
    return text.replace("*", "?")


def _quoted(text: str) -> str:
    escaped = "".join(
        c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04X}" if ord(c) < 0x10000 else f"\\U{ord(c):08X}" for c in text
    )
    return f'"{escaped}"'
