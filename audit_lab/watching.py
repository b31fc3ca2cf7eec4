"""Rules in near real time: events arrive in micro-batches, hits go out; no model is asked.

Each batch of lines is read, masked and classed as in an ingest. Plain rules look at what is new; for correlations the watcher
keeps the events that a later one may still complete, each for as long as the longest window that it could begin, so that a chain
of a day is seen across thousands of batches while a busy hour does not fill the memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from sigma.correlations import SigmaCorrelationType

from audit_lab import tables
from audit_lab.archive.files import Lines
from audit_lab.archive.reader import Reading, read_batch
from audit_lab.archive.stages import RECORD, classify_records
from audit_lab.duck import connect
from audit_lab.hashing import short_id
from audit_lab.profile import Profile
from audit_lab.signals import Rule
from audit_lab.signals.exceptions import ROUTINE, RuleException
from audit_lab.signals.hits import find_hits
from audit_lab.signals.planned import with_references
from audit_lab.signals.rulebook import usable
from audit_lab.signals.sigma.engine import numbered

# Requests whose other stages may still come, and hits that must not be told twice.
RECENT_RECORDS = 50_000
# Events kept for correlations: when there are more, those go first that could begin the shortest windows.
KEPT_EVENTS = 30_000
MAX_EVENT_IDS = 50


def retention_s(rules: Sequence[Rule]) -> dict[str, float]:
    """Return, for each rule that a correlation builds on, how many seconds its events must be kept.

    The last rule of an ordered chain needs no past: its events only complete what others began.
    """
    by_id = {rule.rule_id: rule for rule in rules}
    kept: dict[str, float] = {}

    def visit(rule: Rule, later_s: float) -> None:
        if rule.correlation is None:
            kept[rule.rule_id] = max(kept.get(rule.rule_id, 0.0), later_s)
            return
        span = float(rule.correlation.timespan.seconds)
        ordered = rule.correlation.type == SigmaCorrelationType.TEMPORAL_ORDERED
        for place, name in enumerate(rule.references):
            last = ordered and place == len(rule.references) - 1 and rule.references.count(name) == 1
            visit(by_id[name], later_s if last else later_s + span)

    for rule in rules:
        if rule.correlation is not None:
            visit(rule, 0.0)
    return kept


class Watcher:
    """Holds what correlations may need and which hits were told; both are bounded.

    Parameters
    ----------
    rules
        From `load_rules`; unusable ones are passed over.
    profile
        Settings: cluster name, networks, masking.
    exceptions
        Noise rules; they expire by the time of the events.
    """

    def __init__(self, rules: Sequence[Rule], profile: Profile, exceptions: Sequence[RuleException] = ROUTINE) -> None:
        ready = usable(rules)
        self.profile, self.exceptions = profile, exceptions
        self.retention = retention_s(ready)
        # What an exception covers is still of use to a correlation with a floor that it does not name.
        by_id = {rule.rule_id: rule for rule in ready}
        self.floored = {
            below.rule_id for rule in ready if rule.correlation is not None and rule.floor is not None
            for below in with_references(rule, by_id)
        }
        self.plain = [rule for rule in ready if rule.correlation is None]
        self.chains = [rule for rule in ready if rule.correlation is not None or rule.rule_id in self.retention]
        self.kept = tables.empty("events").with_columns(until=pl.lit(None, pl.Datetime("us", "UTC")), span=pl.lit(None, pl.Float64))
        self.told: dict[tuple[str, str], None] = {}
        self.n_events = self.n_rejected = self.n_dropped = 0
        self._records = tables.empty("events").select(list(RECORD))
        self._position = 0
        self._connection = connect()

    def feed(self, lines: Iterable[bytes]) -> list[dict[str, Any]]:
        """Read a batch of lines and return the hits that are new, in order of time; what is no event is counted as rejected."""
        kept = [line.strip() for line in lines if line.strip()]
        if not kept:
            return []
        places = np.arange(self._position, self._position + len(kept), dtype=np.int64)
        self._position += len(kept)
        reading = Reading()
        read = read_batch(
            self._connection, Lines(kept, places, places + 1, terminated=True), self.profile.archive, self.profile.archive.cluster, reading
        )
        self.n_rejected += len(reading.quarantine)
        self.n_events += read.height
        fresh = self._newest_stages(read)
        return self._hits(fresh) if fresh.height else []

    def _newest_stages(self, read: pl.DataFrame) -> pl.DataFrame:
        """Leave out records of requests of which a later stage was seen already."""
        records = pl.concat([self._records, read.select(list(RECORD))])
        known = classify_records(records).filter(pl.col("fate") == "event")
        self._records = records.join(known.select("position"), on="position", how="semi").sort("position").tail(RECENT_RECORDS)
        return read.join(known.select("position"), on="position", how="semi").sort("time", "event_id")

    def _hits(self, fresh: pl.DataFrame) -> list[dict[str, Any]]:
        newest = fresh["time"].max()
        today = newest.date() if newest is not None else None  # type: ignore[union-attr]
        found, covered = find_hits(self.plain, fresh, self.exceptions, today)
        names = {place: rule.rule_id for place, rule in enumerate(self.plain)}
        hits = []
        for (place, _, _), rows in found.join(
            numbered(fresh.select("actor", "source_ip")), on="i", maintain_order="left"
        ).group_by("rule", "actor", "source_ip", maintain_order=True):
            if self.plain[int(place)].emits:
                hits += self._told(self.plain[int(place)], fresh, rows["i"].to_list(), set(fresh["event_id"]))
        kept = covered.filter(pl.col("rule").replace_strict(names, return_dtype=pl.String).is_in(list(self.floored)))
        based = pl.concat([found.select("rule", "i"), kept.select("rule", "i")]).with_columns(
            span=pl.col("rule").replace_strict(names).replace_strict(self.retention, default=None))
        spans = based.drop_nulls("span").group_by("i").agg(pl.col("span").max()).sort("i")
        if spans.height:
            begun = fresh[spans["i"].to_list()].with_columns(spans["span"])
            until = pl.col("time") + pl.duration(microseconds=pl.col("span") * 1e6)
            hits += self._correlated(begun.with_columns(until=until), today, newest)
        return sorted(hits, key=lambda hit: (hit["time"], hit["rule"]))

    def _correlated(self, begun: pl.DataFrame, today: Any, newest: Any) -> list[dict[str, Any]]:
        """Run the correlations over what was kept and what is new, then keep what a later event may complete."""
        columns = self.kept.columns
        pool = pl.concat([self.kept.join(begun.select("event_id"), on="event_id", how="anti"), begun.select(columns)])
        pool = pool.filter(pl.col("until") >= newest).sort("time", "event_id") if newest is not None else pool
        events = pool.drop("until", "span")
        found = find_hits(self.chains, events, self.exceptions, today).kept
        fresh, hits = set(begun["event_id"]), []
        for (place, _), rows in found.group_by("rule", "hit", maintain_order=True):
            rule = self.chains[int(place)]
            if rule.correlation is not None and rule.emits:
                hits += self._told(rule, events, rows["i"].to_list(), fresh)
        lasting = pool.filter(pl.col("span") > 0)
        self.n_dropped += max(0, lasting.height - KEPT_EVENTS)
        self.kept = lasting.sort("span", "time", descending=True).head(KEPT_EVENTS)
        return hits

    def _told(self, rule: Rule, events: pl.DataFrame, rows: Sequence[int], fresh: set[str]) -> list[dict[str, Any]]:
        """Return the hit if it holds something new, as one row for the output."""
        members = events[sorted(set(rows))].select("event_id", "time", "actor", "source_ip", "namespace")
        ids = members["event_id"].to_list()
        new = [event for event in ids if event in fresh and (rule.rule_id, event) not in self.told]
        if not new:
            return []
        self.told |= dict.fromkeys((rule.rule_id, event) for event in ids)
        while len(self.told) > 4 * RECENT_RECORDS:
            self.told.pop(next(iter(self.told)))
        last = members.filter(pl.col("event_id").is_in(new)).sort("time", "event_id").row(-1, named=True)
        return [{
            "hit_id": short_id("h", rule.rule_id, *new), "time": last["time"].isoformat(), "rule": rule.rule_id, "kind": rule.kind,
            "severity": rule.level, "reason": rule.title, "actor": last["actor"], "source_ip": last["source_ip"],
            "namespace": last["namespace"], "event_ids": ids[-MAX_EVENT_IDS:],
        }]
